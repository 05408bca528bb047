"""Intercom's read-back: one contact by its id, with all that it has.

``GET /contacts/{id}`` (https://developers.intercom.com/docs/references/rest-api/api.intercom.io/contacts/showcontact)
with the access token of an app of the workspace, at the host of the workspace's region. A contact that was deleted is
not found. Of an answer about another record than the asked one nothing is believed.

The layout is that of the notifications, but for times: those of Intercom's own fields are seconds here and text there,
so that they are written as text. Custom attributes stay as they are, in both.

Intercom allows an app 10,000 calls a minute (https://developers.intercom.com/docs/references/rest-api/errors/rate-limiting).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import quote

from pydantic import Field

from service.model import Json
from service.readback.base import Call, ReadBackSpec, Reader, ReadError, Reading, TokenSpec
from service.times import parse_instant

VERSION: Final = "2.11"
"""Of the API; the layout of a contact hangs on it."""

_HOSTS: Final = {
    "us": "https://api.intercom.io",
    "eu": "https://api.eu.intercom.io",
    "au": "https://api.au.intercom.io",
}


class IntercomReadBack(TokenSpec):
    """An app's access token, and where the workspace is."""

    region: Annotated[Literal["us", "eu", "au"], Field(description="Where the workspace's data is kept.")] = "us"


class IntercomReader(Reader[IntercomReadBack]):
    """The contacts of an Intercom workspace, one a call."""

    preset: ClassVar[str] = "intercom"
    Spec: ClassVar[type[ReadBackSpec]] = IntercomReadBack
    rate_per_s: ClassVar[float] = 20.0

    @property
    def host(self) -> str:
        """The API's address in the region."""
        return _HOSTS[self.spec.region]

    def headers(self, token: str) -> Mapping[str, str]:
        """Return the token, and the version that is spoken: without it, the app's settings choose one."""
        return {**super().headers(token), "intercom-version": VERSION}

    def call(self, object_ids: Sequence[str], fields: Sequence[str]) -> Call:  # noqa: ARG002  # all fields come
        """Ask for one contact, with everything that it has."""
        # Dots too, since two of them would lead elsewhere.
        return Call("GET", f"/contacts/{quote(object_ids[0], safe='').replace('.', '%2E')}")

    def read(self, document: Json, object_ids: Sequence[str]) -> Mapping[str, Reading]:
        """Return the contact if it is the one that was asked for. Raises ReadError, nothing else."""
        if not isinstance(document, dict):
            raise ReadError("the answer is not an object")
        if document.get("id") != object_ids[0]:
            raise ReadError("id is not the one that was asked for")
        values = {name: _as_notified(name, value) for name, value in document.items()}
        return {object_ids[0]: Reading(values, _instant(document.get("updated_at")))}

    def probe(self) -> Call | None:
        """Ask whose token it is."""
        return Call("GET", "/me")


def _instant(value: Json) -> datetime | None:
    try:
        return None if value is None else parse_instant(value)
    except ValueError:
        raise ReadError("updated_at is not a time") from None


def _as_notified(name: str, value: Json) -> Json:
    """Return a time in seconds as the text that notifications have for it, anything else as it is."""
    if not name.endswith("_at") or not isinstance(value, int) or isinstance(value, bool):
        return value
    try:
        return parse_instant(value).isoformat(timespec="milliseconds")
    except ValueError:
        return value
