"""HubSpot: an app's events, one for each changed property, in signed batches; or a workflow's whole record.

Signs (https://developers.hubspot.com/docs/api/webhooks/validating-requests), the key is the app's client secret:
v3 ``X-HubSpot-Signature-v3``: base64 HMAC-SHA256 of method, URL, body and ``X-HubSpot-Request-Timestamp`` (ms, 5 min);
v2 ``X-HubSpot-Signature``: hex SHA-256 of secret, method, URL and body; v1 the same header: of secret and body.
v3 is found by its header: ``X-HubSpot-Signature-Version`` says v1 on requests that carry v3 as well. v1 and v2 sign no
time, so that whoever sees a request can repeat it: they count only where ``versions`` names them, and never beside a v3
signature where v3 counts too. The URL is the public one; some of its percent codes are decoded for v3, by the vendor's
list, though the vendor's own libraries do not: either form is accepted.
Batches: an array of at most 100 events (https://developers.hubspot.com/docs/api/webhooks), rarely one object.
Orders: not promised. Events of one save share ``occurredAt``, and a creation may stand after its own properties:
changes are put creation first, then by time.
Repeats: any 4xx, 5xx or timeout is sent again, up to 10 times in 24 hours, with a higher ``attemptNumber``. ``eventId``
may repeat between different events, so that the dedup key has portal, subscription, event, record, time and property.

Events carry at most one value, sensitive ones none, and are thin: the rest must be read back. Type names are
``contact.propertyChange`` and the like, or ``object.propertyChange`` with ``objectTypeId`` on the newer platform.
A merge or restore says only that the record is another now, so that it must be read back; where a merge made a new
record, ``newObjectId`` is its id. A privacy deletion comes with a deletion, in any order. An import says ``IMPORT``.

The workflow action "Send a webhook" (https://knowledge.hubspot.com/workflows/how-do-i-use-webhooks-with-hubspot-workflows)
sends one record as the object API has it, not an event: ``properties`` with each value, or with ``value`` and its
history. It is signed with v2 where an app's request signature is chosen. Failures are tried again for three days, but
after a 4xx other than 429 they are not. Nothing identifies a sending: the same values of a record are the same change.
"""

import base64
import hashlib
import hmac
import re
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import unquote

import orjson
from pydantic import Field

from service.errors import VerificationError
from service.model import Action, Change, InboundRequest, Json, Record, to_micros
from service.sources.base import (
    IGNORED,
    Exported,
    Sample,
    Secrets,
    Source,
    Strict,
    attempt_number,
    dedup_key,
    detail,
    fresh,
    header,
    identifier,
    instant,
    mapping_at,
    matches,
    optional_identifier,
    raw,
    read_json,
    secret_bytes,
    whole_number,
    within_limits,
)

_V3: Final = "x-hubspot-signature-v3"
_V1_OR_V2: Final = "x-hubspot-signature"
_TIMESTAMP: Final = "x-hubspot-request-timestamp"
_DECODED: Final = re.compile("%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
"""The percent codes of a query that HubSpot decodes before it signs; all others stay."""

_OBJECT_TYPES: Final[Mapping[str, str]] = {"0-1": "contact", "0-2": "company", "0-3": "deal"}
_ACTIONS: Final[Mapping[str, Action]] = {
    "creation": Action.CREATED,
    "propertyChange": Action.UPDATED,
    "deletion": Action.DELETED,
    "privacyDeletion": Action.PRIVACY_DELETED,
    "merge": Action.MERGED,
    "restore": Action.RESTORED,
    "associationChange": Action.OTHER,
}
_NAMED_ELSEWHERE: Final[Mapping[str, tuple[str, ...]]] = {
    "merge": ("newObjectId", "primaryObjectId", "objectId"),
    "associationChange": ("objectId", "fromObjectId"),
}
_EVENT_TYPES: Final = frozenset({"subscriptionType", "eventType"})
_DELIVERED: Final = frozenset({Action.CREATED, Action.UPDATED, Action.MERGED, Action.RESTORED})
_RECORD_IDS: Final = ("vid", "objectId", "id")
_PROPERTIES: Final = {"first_name": "firstname", "last_name": "lastname", "title": "jobtitle"}

Version = Literal["v1", "v2", "v3"]


class HubSpotAuth(Strict):
    """The app's client secret, and the signature versions that count."""

    secret: Secrets
    versions: Annotated[
        tuple[Version, ...],
        Field(
            min_length=1, max_length=3, description="v1 and v2 sign no time and can be replayed; name them if needed."
        ),
    ] = ("v3",)


class HubSpotSource(Source[HubSpotAuth]):
    """A HubSpot app's subscriptions, or workflows. Contacts count; deletions and the rest are logged and ignored."""

    preset: ClassVar[str] = "hubspot"
    Auth: ClassVar[type[Strict]] = HubSpotAuth
    usual_email: ClassVar[str | None] = "email"
    usual_mapping: ClassVar[Record] = {
        "first_name": {"from": "firstname", "transform": ["trim"]},
        "last_name": {"from": "lastname", "transform": ["trim"]},
        "email": {"from": "email", "transform": ["trim", "lower"]},
        "phone": {"from": ["mobilephone", "phone"], "transform": ["trim"], "on_error": "skip"},
        "title": {"from": "jobtitle", "transform": ["trim"]},
        "linked_in": {"from": "hs_linkedin_url", "transform": ["url"], "on_error": "skip"},
        "twitter": {"from": "twitterhandle", "transform": ["trim"], "on_error": "skip"},
    }
    # https://developers.hubspot.com/docs/api/crm/contacts
    exported: ClassVar[Exported] = Exported(updated_at="updatedAt", values="properties")
    leaves_out_empty: ClassVar[bool] = True

    def __init__(self, name: str, auth: HubSpotAuth | None, parse: Strict | None = None) -> None:
        super().__init__(name, auth, parse)
        self._keys = () if auth is None else secret_bytes(auth.secret)
        self._versions: frozenset[Version] = frozenset(() if auth is None else auth.versions)

    @property
    def signs_url(self) -> bool:
        """Say whether signatures are checked: v2 and v3 cover the address."""
        return self.auth is not None

    def verify(self, request: InboundRequest, *, now: datetime) -> None:
        """Return only if a signature of an accepted version is right; else raise VerificationError and nothing else."""
        if self.auth is None:
            return
        if "v3" in self._versions and (_V3 in request.headers or len(self._versions) == 1):
            self._verify_v3(request, now)
        else:
            self._verify_unaged(request)

    def parse(self, request: InboundRequest) -> tuple[Change, ...]:
        """Read the changes of a request, creations first, then by time; raise ParseError or TooLarge, nothing else."""
        document = read_json(request.body)
        if isinstance(document, dict) and "properties" in document and not _EVENT_TYPES & document.keys():
            return within_limits([_sent_by_workflow(document)], len(request.body))
        events = document if isinstance(document, list) else [document]
        changes = [_change(mapping_at(event, "an event")) for event in events]
        return within_limits(sorted(changes, key=_rank), len(request.body))

    def sample(self, sample: Sample, *, url: str, now: datetime) -> InboundRequest:
        """Make the batch that HubSpot would send for the sample change, signed with v3 or else the version accepted."""
        body = orjson.dumps(_sample_events(sample))
        headers = {"content-type": "application/json", "user-agent": "HubSpot Connect 2.0"}
        request = InboundRequest("POST", url, headers, body)
        return InboundRequest("POST", url, headers | self._sign(request, now), body)

    def _verify_v3(self, request: InboundRequest, now: datetime) -> None:
        given = header(request, _V3).encode()
        timestamp = header(request, _TIMESTAMP)
        fresh(whole_number(timestamp, f"the header {_TIMESTAMP}") * 1000, now=now)
        if not matches(
            [given], (_v3(key, request, url, timestamp) for url in _forms(request.url) for key in self._keys)
        ):
            raise VerificationError(
                "the v3 signature is wrong",
                hint="check the client secret, and that PUBLIC_URL is the address HubSpot sends to",
            )

    def _verify_unaged(self, request: InboundRequest) -> None:
        given = header(request, _V1_OR_V2).lower().encode()
        expected = [_v1(key, request) for key in self._keys] if "v1" in self._versions else []
        if "v2" in self._versions:
            expected += [_v2(key, request) for key in self._keys]
        if not matches([given], expected):
            raise VerificationError("the v1 or v2 signature is wrong", hint="check the client secret and PUBLIC_URL")

    def _sign(self, request: InboundRequest, now: datetime) -> dict[str, str]:
        if not self._keys:
            return {}
        if "v3" in self._versions:
            timestamp = str(to_micros(now) // 1000)
            return {_V3: _v3(self._keys[0], request, request.url, timestamp).decode(), _TIMESTAMP: timestamp}
        sign = _v2 if "v2" in self._versions else _v1
        return {_V1_OR_V2: sign(self._keys[0], request).decode()}


def _v3(key: bytes, request: InboundRequest, url: str, timestamp: str) -> bytes:
    signed = b"".join((raw(request.method), raw(url), request.body, timestamp.encode()))
    return base64.b64encode(hmac.digest(key, signed, "sha256"))


def _v2(key: bytes, request: InboundRequest) -> bytes:
    signed = b"".join((key, raw(request.method), raw(request.url), request.body))
    return hashlib.sha256(signed).hexdigest().encode()


def _v1(key: bytes, request: InboundRequest) -> bytes:
    return hashlib.sha256(key + request.body).hexdigest().encode()


def _forms(url: str) -> tuple[str, ...]:
    """Return the URL as it came and, where that differs, with its query decoded as HubSpot documents."""
    path, mark, query = url.partition("?")
    if "%" not in query:
        return (url,)
    return url, path + mark + _DECODED.sub(lambda code: unquote(code.group()), query)


def _rank(change: Change) -> tuple[bool, int]:
    return change.action is not Action.CREATED, sys.maxsize if change.order_key is None else change.order_key


def _change(event: Record) -> Change:
    """Say in our words what one event says happened."""
    object_type, verb = _kind(event)
    action = _ACTIONS.get(verb, Action.OTHER)
    ignored = _why_ignored(object_type, verb, action)
    object_id = _object_id(event, verb, needed=ignored is None or action is not Action.OTHER)
    name = optional_identifier(event.get("propertyName"), "propertyName")
    contact_property = action is Action.UPDATED and object_type == "contact" and name is not None
    return Change(
        dedup_key=dedup_key(*_identity(event, object_id)),
        crm_event_id=optional_identifier(event.get("eventId"), "eventId"),
        object_type=object_type,
        object_id=object_id,
        action=action,
        occurred_at=instant(event.get("occurredAt"), "occurredAt"),
        changed_fields=(name,) if contact_property and name is not None else None,
        values={name: event["propertyValue"]} if contact_property and name and "propertyValue" in event else {},
        merged_from=_absorbed(event, object_id) if action is Action.MERGED else (),
        origin=detail(event.get("changeSource")),
        actor=detail(event.get("sourceId")),
        tenant=detail(event.get("portalId")),
        attempt=attempt_number(event.get("attemptNumber")),
        thin=True,
        ignored=ignored,
    )


def _kind(event: Record) -> tuple[str, str]:
    """Return the object type and the verb, by either generation of names; ``unknown`` for what is neither."""
    subscription = detail(event.get("subscriptionType", event.get("eventType"))) or "unknown"
    object_type, _, verb = subscription.partition(".")
    if object_type == "object":
        type_id = detail(event.get("objectTypeId")) or "unknown"
        object_type = _OBJECT_TYPES.get(type_id, type_id)
    return object_type or "unknown", verb or "unknown"


def _why_ignored(object_type: str, verb: str, action: Action) -> str | None:
    if object_type != "contact":
        return f"object type {object_type}"
    if action in _DELIVERED:
        return None
    return f"event type {verb}" if action is Action.OTHER else IGNORED[action]


def _sent_by_workflow(record: Record) -> Change:
    """Say in our words what a workflow sent of a record: nothing tells what of it changed, or who changed it."""
    type_id = detail(record.get("objectTypeId")) or "0-1"
    object_type = _OBJECT_TYPES.get(type_id, type_id)
    key = next((key for key in _RECORD_IDS if record.get(key) is not None), "vid")
    object_id = identifier(record.get(key), key)
    properties = {name: _bare(value) for name, value in mapping_at(record["properties"], "properties").items()}
    modified = properties.get("lastmodifieddate", record.get("updatedAt"))
    fingerprint = hashlib.sha256(orjson.dumps(properties, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return Change(
        dedup_key=dedup_key("workflow", object_type, object_id, fingerprint),
        object_type=object_type,
        object_id=object_id,
        action=Action.UPDATED,
        occurred_at=instant(modified, "lastmodifieddate"),
        values=properties if object_type == "contact" else {},
        tenant=detail(record.get("portal-id", record.get("portalId"))),
        ignored=None if object_type == "contact" else f"object type {object_type}",
    )


def _bare(value: Json) -> Json:
    """Return a property's value without its history."""
    return value.get("value") if isinstance(value, dict) else value


def _object_id(event: Record, verb: str, *, needed: bool) -> str:
    """Return the record's id, the survivor's in a merge. An event of a kind we do not know may have none."""
    for name in _NAMED_ELSEWHERE.get(verb, ("objectId",)):
        value = event.get(name)
        if value is not None:
            return identifier(value, name)
    return identifier(None, "objectId") if needed else "unknown"


def _absorbed(event: Record, survivor: str) -> tuple[str, ...]:
    """Return the ids that a merge ended, each once; where it made a new record, the former primary is one of them."""
    merged = event.get("mergedObjectIds")
    given = [event.get("primaryObjectId"), *(merged if isinstance(merged, list) else [merged])]
    ids = (optional_identifier(value, "mergedObjectIds") for value in given)
    return tuple(dict.fromkeys(one for one in ids if one is not None and one != survivor))


def _identity(event: Record, object_id: str) -> tuple[str, ...]:
    """Return what makes an event unique, which its own id does not; ``attemptNumber`` is no part of it."""
    names = ("portalId", "subscriptionId", "eventId", "occurredAt", "propertyName")
    portal, subscription, event_id, at, name = (optional_identifier(event.get(key), key) or "" for key in names)
    return portal, subscription, event_id, object_id, at, name


def _sample_events(sample: Sample) -> list[Json]:
    """Return one event for each property, and the creation after them as HubSpot may have it."""
    number = int.from_bytes(hashlib.sha256(sample.event_id.encode()).digest()[:4])
    shared: dict[str, Json] = {
        "portalId": 24519873,
        "appId": 3087416,
        "occurredAt": to_micros(sample.at) // 1000,
        "attemptNumber": 0,
        "objectId": int(sample.object_id) if sample.object_id.isdecimal() else sample.object_id,
        "changeSource": "CRM_UI",
        "sourceId": "userId:63543153",
    }
    events: list[Json] = [
        shared
        | {
            "eventId": (number + index) % 2**32,
            "subscriptionId": 2871300 + index,
            "subscriptionType": "contact.propertyChange",
            "propertyName": _PROPERTIES.get(field, field),
            "propertyValue": "" if value is None else str(value),
        }
        for index, (field, value) in enumerate(sample.fields.items())
    ]
    if sample.created:
        creation: dict[str, Json] = {"subscriptionType": "contact.creation", "changeFlag": "CREATED"}
        events.append(shared | {"eventId": (number + len(events)) % 2**32, "subscriptionId": 2871299} | creation)
    return events
