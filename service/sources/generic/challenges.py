"""Handshakes: before it sends anything, a CRM asks whoever answers at the address to give back what it sent.

Answered before any proof, so that little is done for strangers: only where it is configured, only a short printable
text is given back, and nothing that could be read as a page.
"""

import re
from typing import Annotated, Final

import orjson
from pydantic import Field, model_validator

from service.errors import RequestError
from service.model import InboundRequest, Reply
from service.paths import Path
from service.sources.base import Strict
from service.sources.generic.bodies import Format, read_body
from service.sources.generic.places import KeysPath, put
from service.sources.generic.schemes import HeaderName

CHALLENGE_MAX: Final = 256
"""Characters of what is given back."""
BODY_MAX: Final = 2048
"""Bytes of a body that can be a challenge: it has nothing else in it."""

_PRINTABLE: Final = re.compile(rf"[ -~]{{1,{CHALLENGE_MAX}}}")
_HEADERS: Final = {"content-type": "application/json", "x-content-type-options": "nosniff"}


class Challenge(Strict):
    """Where the CRM's question stands: alone in a body, or in a header."""

    field: Annotated[
        KeysPath | None, Field(description='A body of nothing but this, as {"challenge": "…"}, is sent back as it is.')
    ] = None
    header: Annotated[HeaderName | None, Field(description="A request with this header gets it back.")] = None

    @model_validator(mode="after")
    def _agrees(self) -> "Challenge":
        if (self.field is None) == (self.header is None):
            raise ValueError("a challenge stands in exactly one of field and header")
        return self

    def answer(self, request: InboundRequest, kind: Format) -> Reply | None:
        """Return the answer to a challenge, None where the request is none; raises nothing."""
        if self.field is not None:
            return _in_body(request.body, kind, self.field)
        name = self.header or ""
        value = request.headers.get(name, "")
        return Reply(200, {**_HEADERS, name: value}, b"{}") if _PRINTABLE.fullmatch(value) else None


def _in_body(body: bytes, kind: Format, field: Path) -> Reply | None:
    if len(body) > BODY_MAX:
        return None
    try:
        document = read_body(body, kind)
    except RequestError:
        return None
    value = field.get(document)
    if not isinstance(value, str) or not _PRINTABLE.fullmatch(value):
        return None
    alone = put({}, field.steps, value)
    return Reply(200, _HEADERS, orjson.dumps(alone)) if document == alone else None
