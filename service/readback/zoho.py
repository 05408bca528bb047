"""Zoho CRM's read-back: up to a hundred contacts a call, with the fields that are needed.

``GET /crm/v8/Contacts?ids=…&fields=…`` (https://www.zoho.com/crm/developer/docs/api/v8/get-records.html), at the host
of the organization's data centre. At most 50 fields may be named, and none need be where ids are: for more, none are
named and all come. What is deleted is left out, and an answer without any record has no body.

Access tokens last an hour. They are got with a refresh token of scope ``ZohoCRM.modules.contacts.READ``, at most ten in
ten minutes (https://www.zoho.com/crm/developer/docs/api/v8/token-validity.html).

The layout is that of the notifications: fields by their API names, lookups as objects with ``name`` and ``id``.

Each call costs a credit, of which the free edition has 5,000 in 24 hours
(https://www.zoho.com/crm/developer/docs/api/v8/api-limits.html): a hundred contacts cost as much as one.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, SecretStr

from service.model import Json
from service.readback.base import Call, Grant, ReadBackSpec, Reader, ReadError, Reading
from service.times import parse_instant

FIELDS_MAX: Final = 50
"""Fields that one call may name."""

_PATH: Final = "/crm/v8/Contacts"
_MODIFIED: Final = "Modified_Time"
_API: Final = {
    "us": "https://www.zohoapis.com",
    "eu": "https://www.zohoapis.eu",
    "in": "https://www.zohoapis.in",
    "au": "https://www.zohoapis.com.au",
    "jp": "https://www.zohoapis.jp",
    "ca": "https://www.zohoapis.ca",
    "cn": "https://www.zohoapis.com.cn",
    "sa": "https://www.zohoapis.sa",
}
# https://www.zoho.com/accounts/protocol/oauth/multi-dc.html
_ACCOUNTS: Final = {
    "us": "https://accounts.zoho.com",
    "eu": "https://accounts.zoho.eu",
    "in": "https://accounts.zoho.in",
    "au": "https://accounts.zoho.com.au",
    "jp": "https://accounts.zoho.jp",
    "ca": "https://accounts.zohocloud.ca",
    "cn": "https://accounts.zoho.com.cn",
    "sa": "https://accounts.zoho.sa",
}

_Secret = Annotated[SecretStr, Field(min_length=1, description="Write it as ${NAME}.")]


class ZohoReadBack(ReadBackSpec):
    """A client of the organization, its refresh token, and where the organization is."""

    client_id: Annotated[str, Field(min_length=1, description="Of the client in Zoho's API console.")]
    client_secret: _Secret
    refresh_token: _Secret
    region: Annotated[
        Literal["us", "eu", "in", "au", "jp", "ca", "cn", "sa"], Field(description="The organization's data centre.")
    ] = "us"


class ZohoReader(Reader[ZohoReadBack]):
    """The contacts of a Zoho CRM organization, by the hundred."""

    preset: ClassVar[str] = "zoho"
    Spec: ClassVar[type[ReadBackSpec]] = ZohoReadBack
    batch_max: ClassVar[int] = 100
    rate_per_s: ClassVar[float] = 5.0

    @property
    def host(self) -> str:
        """The API's address in the data centre."""
        return _API[self.spec.region]

    @property
    def grant(self) -> Grant | None:
        """The refresh of an access token, at the data centre that the refresh token is from."""
        form = {
            "grant_type": "refresh_token",
            "client_id": self.spec.client_id,
            "client_secret": self.spec.client_secret.get_secret_value(),
            "refresh_token": self.spec.refresh_token.get_secret_value(),
        }
        return Grant(f"{_ACCOUNTS[self.spec.region]}/oauth/v2/token", form)

    def headers(self, token: str) -> Mapping[str, str]:
        """Return the token in Zoho's own scheme."""
        return {"authorization": f"Zoho-oauthtoken {token}"}

    def call(self, object_ids: Sequence[str], fields: Sequence[str]) -> Call:
        """Ask for the records with those fields and the time of their last change, or with all fields."""
        names = tuple(dict.fromkeys([*fields, _MODIFIED]))
        chosen = {"fields": ",".join(names)} if len(names) <= FIELDS_MAX else {}
        return Call("GET", _PATH, {"ids": ",".join(object_ids), **chosen})

    def read(self, document: Json, object_ids: Sequence[str]) -> Mapping[str, Reading]:
        """Return the records that were asked for and are there. Raises ReadError, nothing else."""
        if document is None:
            return {}
        data = document.get("data") if isinstance(document, dict) else None
        if not isinstance(data, list):
            raise ReadError("data is not a list")
        found = dict(_reading(record) for record in data)
        return {one: found[one] for one in object_ids if one in found}

    def probe(self) -> Call | None:
        """Ask for one contact's id: that needs the scope, too."""
        return Call("GET", _PATH, {"fields": "id", "per_page": "1"})


def _reading(record: Json) -> tuple[str, Reading]:
    if not isinstance(record, dict):
        raise ReadError("a record is not an object")
    record_id = record.get("id")
    if not isinstance(record_id, str):
        raise ReadError("the id of a record is not text")
    return record_id, Reading(record, _instant(record.get(_MODIFIED)))


def _instant(value: Json) -> datetime | None:
    try:
        return None if value is None else parse_instant(value)
    except ValueError:
        raise ReadError(f"{_MODIFIED} is not a time") from None
