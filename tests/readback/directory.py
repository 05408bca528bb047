"""A made-up CRM that is read back: what the client does whoever answers, over real HTTP."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar

import orjson
import pytest

from service.errors import DeliveryError
from service.model import Json, OutcomeKind
from service.readback.base import Call, Grant, ReadBackSpec, Reader, ReadError, Reading, TokenSpec
from service.readback.client import (
    WAIT_S_MAX,
    ReadBack,
)
from tests.support.apis.base import ApiAnswer, ApiRequest
from tests.support.apis.server import Served
from tests.support.clock import Clock

CONNECT_S, READ_S = 1.0, 0.5
CALL_S = CONNECT_S + READ_S
TOKEN = "pat-eu1-7c0f2d9e-5b3a"


class Directory(Reader[TokenSpec]):
    """A CRM with nothing of its own: records by their ids, a list at a time."""

    preset: ClassVar[str] = "directory"
    Spec: ClassVar[type[ReadBackSpec]] = TokenSpec
    batch_max: ClassVar[int] = 3
    rate_per_s: ClassVar[float] = 200.0
    parallel: ClassVar[int] = 2

    @property
    def host(self) -> str:
        """Where it is."""
        return "https://directory.example"

    def call(self, object_ids: Sequence[str], fields: Sequence[str]) -> Call:
        """Ask for a list of ids."""
        return Call("POST", "/read", {"limit": "3"}, {"ids": list(object_ids), "fields": list(fields)})

    def read(self, document: Json, object_ids: Sequence[str]) -> Mapping[str, Reading]:
        """Read an object of records."""
        if not isinstance(document, dict):
            raise ReadError("the answer is not an object")
        found: dict[str, Reading] = {}
        for object_id in object_ids:
            record = document.get(object_id)
            if isinstance(record, dict):
                at = record.get("at")
                found[object_id] = Reading(record, None if at is None else datetime.fromtimestamp(float(str(at)), UTC))
        return found

    def probe(self) -> Call | None:
        """Ask who we are."""
        return Call("GET", "/me")


class Guarded(Directory):
    """The same behind a grant."""

    Spec: ClassVar[type[ReadBackSpec]] = ReadBackSpec

    @property
    def grant(self) -> Grant | None:
        """Renew with what lasts."""
        return Grant("https://accounts.example/oauth/token", {"refresh_token": "rt-1", "client_secret": "cs-1"})


class Api:
    """What the directory answers."""

    def __init__(self, records: dict[str, dict[str, Any]]) -> None:
        self.credentials: Mapping[str, str] = {"token": TOKEN}
        self.records = records
        self.tokens = 0
        self.refused: set[str] = set()
        self.grant: Any = None

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer a call."""
        if request.path == "/oauth/token":
            assert request.body == b"refresh_token=rt-1&client_secret=cs-1"
            self.tokens += 1
            return ApiAnswer(200, self.grant or {"access_token": f"at-{self.tokens}", "expires_in": 3600})
        token = request.headers["authorization"].removeprefix("Bearer ")
        if token in self.refused or not token.startswith(("at-", TOKEN)):
            return ApiAnswer(401, {"message": "no valid token"})
        if request.path == "/me":
            return ApiAnswer(200, {"id": "me"})
        asked = orjson.loads(request.body)["ids"]
        if "?" in asked:
            return ApiAnswer(400, {"message": "Amara is not an id"})
        return ApiAnswer(200, {one: self.records[one] for one in asked if one in self.records})


@asynccontextmanager
async def reading(
    served: Served, *, guarded: bool = False, clock: Clock | None = None, wait_s: float = WAIT_S_MAX
) -> AsyncIterator[ReadBack]:
    made = Clock() if clock is None else clock
    if guarded:
        reader: Reader[Any] = Guarded(ReadBackSpec(base_url=served.base_url))  # type: ignore[arg-type]  # it has no token
    else:
        reader = Directory(TokenSpec(base_url=served.base_url, token=TOKEN))
    async with ReadBack(
        reader,
        fields=["email", "firstname"],
        connect_timeout_s=CONNECT_S,
        read_timeout_s=READ_S,
        clock=made,
        wait_s=wait_s,
    ) as client:
        yield client


async def outcome_of(client: ReadBack, object_id: str = "1") -> OutcomeKind:
    with pytest.raises(DeliveryError) as failed:
        await client.read(object_id)
    assert "Amara" not in f"{failed.value} {failed.value.outcome}"
    return failed.value.outcome.kind


def asked(served: Served) -> list[list[str]]:
    """The ids of each call."""
    return [orjson.loads(call.body)["ids"] for call in served.calls if call.path == "/read"]
