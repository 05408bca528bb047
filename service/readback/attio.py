"""Attio's read-back: one person by the id of its record, with all attributes.

``GET /v2/objects/{object}/records/{record_id}`` (https://docs.attio.com/rest-api/endpoint-reference/records/get-a-record)
with an access token of the workspace: scopes ``record_permission:read`` and ``object_configuration:read``. What is no
record of the object is not found, so that the id of a company is gone as a person, and so is what a merge ended.

Events carry no values, so the layout is Attio's own: each attribute, by its slug, is a list of values, such as
``email_addresses[0].email_address`` (https://docs.attio.com/docs/attribute-types/attribute-types). An attribute without
a value is an empty list there and null here, so that a path into it is null as well, and ``on_null`` holds.

No answer says when a record last changed, only when each value was set: the time of the read counts.

Attio allows 100 reads a second (https://docs.attio.com/rest-api/guides/rate-limiting).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Final
from urllib.parse import quote

from pydantic import Field

from service.model import Json, Record
from service.readback.base import Call, ReadBackSpec, Reader, ReadError, Reading, TokenSpec

_HOST: Final = "https://api.attio.com"


class AttioReadBack(TokenSpec):
    """A workspace's access token, and which of its objects is people."""

    object: Annotated[
        str,
        Field(pattern=r"^[A-Za-z0-9_-]{1,100}$", description="The slug or id of the object that people are kept in."),
    ] = "people"


class AttioReader(Reader[AttioReadBack]):
    """The people of an Attio workspace, one a call."""

    preset: ClassVar[str] = "attio"
    Spec: ClassVar[type[ReadBackSpec]] = AttioReadBack
    rate_per_s: ClassVar[float] = 20.0

    @property
    def host(self) -> str:
        """Attio's only address."""
        return _HOST

    def call(self, object_ids: Sequence[str], fields: Sequence[str]) -> Call:  # noqa: ARG002  # all attributes come
        """Ask for one record, with everything that it has."""
        return Call("GET", f"{self._object_path}/records/{_segment(object_ids[0])}")

    def read(self, document: Json, object_ids: Sequence[str]) -> Mapping[str, Reading]:  # noqa: ARG002  # it says its own
        """Return the record by the id that it says it has. Raises ReadError, nothing else."""
        data = _object(_object(document, "the answer").get("data"), "data")
        record_id = _object(data.get("id"), "data.id").get("record_id")
        if not isinstance(record_id, str) or not record_id:
            raise ReadError("data.id.record_id is not an id")
        return {record_id: Reading(_filled(_object(data.get("values"), "data.values")))}

    def probe(self) -> Call | None:
        """Ask what the object of people is: that needs the token and the object, but no record."""
        return Call("GET", self._object_path)

    @property
    def _object_path(self) -> str:
        return f"/v2/objects/{self.spec.object}"


def _segment(text: str) -> str:
    """Return text as one segment of a path: dots too, since two of them would lead elsewhere."""
    return quote(text, safe="").replace(".", "%2E")


def _object(value: Json, what: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise ReadError(f"{what} is not an object")
    return value


def _filled(values: dict[str, Json]) -> Record:
    return {slug: None if value == [] else value for slug, value in values.items()}
