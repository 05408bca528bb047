"""Salesforce outbound messages: SOAP 1.1 with up to 100 notifications, each a record's chosen fields.

Signs: nothing (https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_om_outboundmessaging_security.htm).
What proves a message is a token in the address that Salesforce was given, so use https; and the message must name the
organization. A sandbox is a copy of its organization, the address included: only the id tells the two apart.
Batches: 1 to 100 notifications of one kind of object
(https://developer.salesforce.com/docs/platform/api/guide/sforce-api-om-outboundmessaging-wsdl.html). One answer covers
them all, so they are kept all or none.
Orders: not promised
(https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_om_outboundmessaging_notifications.htm).
A record is sent as it is when it is sent: what it was in between never arrives. ``LastModifiedDate`` orders, else
``SystemModstamp``; where neither is among the chosen fields, arrival does.
Repeats: whatever is not answered within 60 s by 200 with an ``Ack`` of true is sent again, at growing distances of up
to two hours, for 24 hours, then dropped. ``Notification/Id`` stays the same, and may come again in spite of an answer.

A field that is empty, or that the sending user may not see, is left out of what others have captured: absent is not
cleared, nil is. Nothing says what changed, nor that a record was created, deleted or merged. A record whose two dates
are the same counts as created. Of a record that was deleted before it was sent there is no data
(https://help.salesforce.com/s/articleView?id=platform.workflow_om_considerations.htm&type=5).

A record's id has two forms: 15 characters whose case counts, and 18 where the last three tell that case
(https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/field_types.htm). All become the 18.

``SessionId`` may be a live session of the sending user: it is never kept, and neither is the token.
"""

import hmac
import re
from datetime import datetime
from typing import Annotated, ClassVar, Final
from urllib.parse import quote

from pydantic import AfterValidator, Field

from service.errors import VerificationError
from service.model import Change, InboundRequest, Record, Reply
from service.sources.base import (
    Exported,
    Sample,
    Secrets,
    Source,
    Strict,
    matches,
    query_values,
    secret_bytes,
    within_limits,
    without_query,
)
from service.sources.salesforce.envelope import OUTBOUND, SOAP, read, stripped, without_session
from service.sources.salesforce.records import change_of, long_id
from service.sources.salesforce.samples import message

__all__ = ["SalesforceAuth", "SalesforceSource"]

HEAD_MAX: Final = 8192
"""Bytes in which the organization's id must stand; it comes first in every message."""

_TOKEN: Final = "token"  # noqa: S105  # the name of the query parameter
_ORGANIZATION: Final = re.compile(
    rb"<(?:[A-Za-z_][\w.-]*:)?OrganizationId(?:\s[^<>]*)?>\s*([A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?)\s*<"
)
_ORGANIZATION_ID: Final = re.compile(r"00D[A-Za-z0-9]{12}(?:[A-Z0-5]{3})?")
_SHORT: Final = 15
_XML: Final = {"content-type": "text/xml; charset=utf-8"}
_ENVELOPE: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    f'<soapenv:Envelope xmlns:soapenv="{SOAP}"><soapenv:Body>'
    f'<notificationsResponse xmlns="{OUTBOUND}"><Ack>%s</Ack></notificationsResponse>'
    "</soapenv:Body></soapenv:Envelope>"
)
_ACCEPTED: Final = (_ENVELOPE % "true").encode()
_REFUSED: Final = (_ENVELOPE % "false").encode()
_SAMPLE_ORGANIZATION: Final = "00D5e000000KQ2eEAG"


def _organization(text: str) -> str:
    if not _ORGANIZATION_ID.fullmatch(text) or long_id(text[:_SHORT]) != long_id(text):
        raise ValueError("an organization's id has 15 or 18 characters and begins with 00D; upper and lower case count")
    return long_id(text)


class SalesforceAuth(Strict):
    """The organization that sends, and the token in the address that it was given."""

    organization_id: Annotated[
        str,
        AfterValidator(_organization),
        Field(description="The organization's id, 00D…, of Setup > Company Information."),
    ]
    token: Secrets


class SalesforceSource(Source[SalesforceAuth]):
    """A Salesforce organization's outbound messages. Contacts count; the rest is logged and ignored."""

    preset: ClassVar[str] = "salesforce"
    Auth: ClassVar[type[Strict]] = SalesforceAuth
    usual_email: ClassVar[str | None] = "Email"
    usual_mapping: ClassVar[Record] = {
        "first_name": {"from": "FirstName", "transform": ["trim"]},
        "last_name": {"from": "LastName", "transform": ["trim"]},
        "email": {"from": "Email", "transform": ["trim", "lower"]},
        "phone": {"from": ["MobilePhone", "Phone"], "transform": ["trim"], "on_error": "skip"},
        "title": {"from": "Title", "transform": ["trim"]},
    }
    # https://developer.salesforce.com/docs/platform/object-reference/guide/sforce-api-objects-contact.html
    exported: ClassVar[Exported] = Exported(object_id="Id", updated_at="LastModifiedDate")
    leaves_out_empty: ClassVar[bool] = True

    def __init__(self, name: str, auth: SalesforceAuth | None, parse: Strict | None = None) -> None:
        super().__init__(name, auth, parse)
        self._organization = None if auth is None else auth.organization_id
        self._tokens = () if auth is None else secret_bytes(auth.token)

    def verify(self, request: InboundRequest, *, now: datetime) -> None:  # noqa: ARG002  # nothing here is signed by time
        """Return only if the token and the organization are right; else raise VerificationError and nothing else."""
        if self._organization is None:
            return
        known = matches(query_values(request.url, _TOKEN), self._tokens)
        if not (_names(request.body, self._organization) & known):
            raise VerificationError(
                "the token or the organization is wrong",
                hint="check the outbound message's endpoint URL, and that it is not a sandbox that sends",
            )

    def parse(self, request: InboundRequest) -> tuple[Change, ...]:
        """Read the notifications of a message in its order; raise ParseError or TooLarge, nothing else."""
        organization, notifications = read(stripped(request.body))
        return within_limits([change_of(one, long_id(organization)) for one in notifications], len(request.body))

    def record_id(self, text: str) -> str:
        """Return the form with 18 characters: reports export 15."""
        return long_id(text)

    def redact(self, request: InboundRequest) -> InboundRequest:
        """Take the token out of the address and the session out of the message; what is no XML goes with it."""
        body = without_session(stripped(request.body))
        return super().redact(InboundRequest(request.method, without_query(request.url, _TOKEN), request.headers, body))

    def accept(self, *, accepted: int, duplicates: int) -> Reply:  # noqa: ARG002  # Salesforce is told yes or no
        """Tell Salesforce that all of its message is safe."""
        return Reply(200, _XML, _ACCEPTED)

    def refuse(self, status: int) -> Reply | None:
        """Tell Salesforce that nothing of its message was kept, so that it sends it again."""
        return Reply(status, _XML, _REFUSED)

    def sample(self, sample: Sample, *, url: str, now: datetime) -> InboundRequest:  # noqa: ARG002  # as verify
        """Make the message that Salesforce would send for the sample change."""
        if self._tokens:
            url += f"{'&' if '?' in url else '?'}{_TOKEN}={quote(self._tokens[0].decode(), safe='')}"
        body = message(sample, self._organization or _SAMPLE_ORGANIZATION)
        return InboundRequest("POST", url, {**_XML, "soapaction": '""'}, body.encode())


def _names(body: bytes, organization: str) -> bool:
    """Say in constant time whether a message names the organization, in either form of its id.

    It is looked for and not parsed: nobody signed the body, so a parser would prove no more.
    """
    found = _ORGANIZATION.search(stripped(body), 0, HEAD_MAX)
    given = found.group(1).decode() if found else ""
    return hmac.compare_digest(long_id(given), organization)
