"""HubSpot's read-back: up to a hundred contacts a call, with the properties that are asked for.

``POST /crm/v3/objects/contacts/batch/read`` (https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide)
with an access token of a private app, scope ``crm.objects.contacts.read``; the same host serves every region. Contacts
that are not there make the answer a 207 that lists them among ``errors``; the others come all the same. A contact that
was merged away may be answered under the id of its survivor: under its own it is gone.

Values are text by the property's name as in events, but one that was cleared is null here and blank there: a rule that
clears says both ``on_null: clear`` and ``on_blank: clear``. Names that are no property are passed over in silence.

HubSpot allows 100 calls in 10 seconds to the smallest account
(https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines).
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from service.model import Json
from service.readback.base import Call, ReadBackSpec, Reader, ReadError, Reading, TokenSpec
from service.times import parse_instant

BATCH_MAX: Final = 100

_HOST: Final = "https://api.hubapi.com"
_CONTACTS: Final = "/crm/v3/objects/contacts"
_NOT_FOUND: Final = "OBJECT_NOT_FOUND"


class HubSpotReader(Reader[TokenSpec]):
    """The contacts of a HubSpot account, a hundred a call."""

    preset: ClassVar[str] = "hubspot"
    Spec: ClassVar[type[ReadBackSpec]] = TokenSpec
    batch_max: ClassVar[int] = BATCH_MAX
    rate_per_s: ClassVar[float] = 5.0

    @property
    def host(self) -> str:
        """HubSpot's only address."""
        return _HOST

    def call(self, object_ids: Sequence[str], fields: Sequence[str]) -> Call:
        """Ask for a batch of contacts, each with the properties of those names."""
        inputs: list[Json] = [{"id": object_id} for object_id in object_ids]
        return Call("POST", f"{_CONTACTS}/batch/read", body={"inputs": inputs, "properties": list(fields)})

    def read(self, document: Json, object_ids: Sequence[str]) -> Mapping[str, Reading]:  # noqa: ARG002  # they say their own
        """Return the contacts by the ids that they say they have. Raises ReadError, nothing else."""
        answer = _object(document, "the answer")
        if answer.get("status", "COMPLETE") != "COMPLETE":
            raise ReadError("status is not COMPLETE")
        errors = answer.get("errors")
        for error in [] if errors is None else _list(errors, "errors"):
            if _object(error, "errors[]").get("category") != _NOT_FOUND:
                raise ReadError("errors has more than contacts that were not found")
        records = [_object(record, "results[]") for record in _list(answer.get("results"), "results")]
        return dict(_reading(record) for record in records if record.get("archived") is not True)

    def probe(self) -> Call | None:
        """Ask for one contact's id: that needs the token and its scope."""
        return Call("GET", _CONTACTS, {"limit": "1", "properties": "hs_object_id"})


def _reading(record: dict[str, Json]) -> tuple[str, Reading]:
    record_id = record.get("id")
    if not isinstance(record_id, str) or not record_id:
        raise ReadError("results[].id is not an id")
    try:
        updated_at = parse_instant(record.get("updatedAt"))
    except ValueError:
        raise ReadError("results[].updatedAt is not a time") from None
    return record_id, Reading(_object(record.get("properties"), "results[].properties"), updated_at)


def _object(value: Json, what: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise ReadError(f"{what} is not an object")
    return value


def _list(value: Json, what: str) -> list[Json]:
    if not isinstance(value, list):
        raise ReadError(f"{what} is not a list")
    return value
