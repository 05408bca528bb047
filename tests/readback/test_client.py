"""The client of CRMs' APIs: few calls, at their pace, and one outcome for each record; over real HTTP."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import orjson
import pytest

from service.errors import DeliveryError, Postponed
from service.model import Json, OutcomeKind
from service.readback.base import Call, Grant, ReadBackSpec, Reader, ReadError, Reading, TokenSpec
from service.readback.client import (
    HOLD_S_MAX,
    KNOWN_FOR,
    LIMITED_HOLD_S,
    REFUSED_HOLD_S,
    WAIT_S_MAX,
    ReadBack,
)
from service.readback.tokens import Token
from tests.support.apis.base import ApiAnswer, ApiRequest
from tests.support.apis.server import Served, serving
from tests.support.clock import START, Clock
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

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


@pytest.fixture
def api() -> Api:
    return Api({str(number): {"firstname": f"Amara {number}"} for number in range(20)})


@pytest.fixture
def served(api: Api) -> Iterator[Served]:
    with serving(api) as served:
        yield served


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


async def test_a_record_is_read_with_the_fields_that_are_needed_and_our_credentials(served: Served) -> None:
    async with reading(served) as client:
        found = await client.read("1")
    assert found == Reading({"firstname": "Amara 1"}, START)
    (call,) = served.calls
    assert (call.method, call.path, call.query) == ("POST", "/read", {"limit": "3"})
    assert orjson.loads(call.body) == {"ids": ["1"], "fields": ["email", "firstname"]}
    assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert call.headers["user-agent"].startswith("crm-to-chartmogul/")
    assert "Amara" not in repr(found)


async def test_what_waits_at_the_same_time_shares_calls(served: Served) -> None:
    async with reading(served) as client:
        found = await asyncio.gather(*(client.read(str(number)) for number in range(9)))
    assert [one and one.values["firstname"] for one in found] == [f"Amara {number}" for number in range(9)]
    assert sorted(map(len, asked(served))) == [3, 3, 3]


async def test_a_call_that_took_everybody_along_leaves_nothing_to_ask(served: Served) -> None:
    async with reading(served) as client:
        await asyncio.gather(client.read("1"), client.read("2"))
        await client.read("3")
    assert asked(served) == [["1", "2"], ["3"]]


async def test_a_record_that_the_crm_has_no_more_is_gone_and_the_others_are_not(served: Served) -> None:
    async with reading(served) as client:
        found = await asyncio.gather(client.read("1"), client.read("none"), client.read("2"))
    assert [one is None for one in found] == [False, True, False]


@pytest.mark.parametrize("status", [404, 410])
async def test_a_404_in_json_says_that_all_that_was_asked_for_is_gone(served: Served, status: int) -> None:
    served.refuse(status, document={"message": "not found"})
    async with reading(served) as client:
        assert await client.read("1") is None
        assert client.trouble is None


async def test_nothing_is_taken_for_gone_at_a_place_where_nothing_ever_was(served: Served) -> None:
    """A wrong name in the configuration must not end every change as that of a record that is gone."""
    clock = Clock()
    async with reading(served, clock=clock) as client:
        served.refuse(404, document={"message": "no such object"}, times=2)
        assert await outcome_of(client) is OutcomeKind.CRM_REJECTED
        assert client.trouble is not None
        assert [call.path for call in served.calls] == ["/read", "/me"]
        await client.read("1")
        served.refuse(404, document={"message": "not found"})
        assert await client.read("1") is None
        assert [call.path for call in served.calls][2:] == ["/read", "/read"], "there was something a moment ago"
        clock.advance(KNOWN_FOR.total_seconds())
        served.refuse(404, document={"message": "this version is no more"}, times=2)
        assert await outcome_of(client) is OutcomeKind.CRM_REJECTED


async def test_a_404_that_is_not_json_is_somebody_elses(served: Served) -> None:
    """A wrong address must not make every contact look deleted."""
    served.say(b"<h1>Not here</h1>", status=404, content_type="text/html")
    async with reading(served) as client:
        assert await outcome_of(client) is OutcomeKind.CRM_UNREACHABLE


async def test_the_time_of_a_record_is_its_own_or_that_of_the_read(served: Served, api: Api) -> None:
    api.records["1"]["at"] = (START - timedelta(days=3)).timestamp()
    api.records["2"]["at"] = (START + timedelta(days=300)).timestamp()
    async with reading(served) as client:
        own, impossible = await client.read("1"), await client.read("2")
    assert own is not None
    assert impossible is not None
    assert (own.updated_at, impossible.updated_at) == (START - timedelta(days=3), START)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, OutcomeKind.CRM_REJECTED),
        (422, OutcomeKind.CRM_REJECTED),
        (408, OutcomeKind.CRM_UNREACHABLE),
        (302, OutcomeKind.CRM_UNREACHABLE),
        (500, OutcomeKind.CRM_UNREACHABLE),
        (503, OutcomeKind.CRM_UNREACHABLE),
    ],
)
async def test_each_refusal_has_its_outcome_and_the_next_read_works(
    served: Served, status: int, kind: OutcomeKind
) -> None:
    served.refuse(status, document={"message": "Amara"}, headers={"location": "http://127.0.0.1:9/"})
    async with reading(served) as client:
        assert await outcome_of(client) is kind
        assert client.trouble is not None
        assert client.trouble.status == status
        assert await client.read("1") is not None
        assert client.trouble is None


async def test_what_never_ends_breaks_off_or_is_no_json_is_unreachable(served: Served) -> None:
    served.hang()
    served.close()
    served.cut()
    served.say(b"[[[")
    served.say(b'"no object"')
    async with reading(served) as client:
        for _ in range(5):
            assert await outcome_of(client) is OutcomeKind.CRM_UNREACHABLE


async def test_an_answer_past_every_bound_is_not_read_to_its_end(served: Served) -> None:
    served.say(b'{"1":"' + b"a" * (9 * 1024 * 1024) + b'"}')
    async with reading(served) as client:
        assert await outcome_of(client) is OutcomeKind.CRM_UNREACHABLE


async def test_nobody_listening_is_unreachable(served: Served) -> None:
    nowhere = Directory(TokenSpec(base_url="http://127.0.0.1:9", token=TOKEN))
    async with ReadBack(nowhere, fields=[], connect_timeout_s=1, clock=Clock()) as client:
        assert await outcome_of(client) is OutcomeKind.CRM_UNREACHABLE
    assert served.calls == []


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_credentials_are_not_tried_again_for_a_minute(served: Served, status: int) -> None:
    served.refuse(status, document={"message": "no"})
    clock = Clock()
    async with reading(served, clock=clock) as client:
        assert await outcome_of(client) is OutcomeKind.CRM_REFUSED
        with pytest.raises(Postponed) as postponed:
            await client.read("2")
        assert postponed.value.until == clock.after(REFUSED_HOLD_S)
        clock.advance(REFUSED_HOLD_S)
        assert await client.read("2") is not None
    assert len(served.calls) == 2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({}, LIMITED_HOLD_S), ({"retry-after": "7"}, 7), ({"retry-after": "999999"}, HOLD_S_MAX)],
)
async def test_a_429_holds_every_call_back_for_as_long_as_it_asks(
    served: Served, headers: dict[str, str], seconds: float
) -> None:
    served.refuse(429, headers=headers, document={"message": "slow down"})
    clock = Clock()
    async with reading(served, clock=clock) as client:
        assert await outcome_of(client) is OutcomeKind.CRM_RATE_LIMITED
        with pytest.raises(Postponed) as postponed:
            await client.read("2")
        assert postponed.value.until == clock.after(seconds)


async def test_of_several_answers_the_one_that_asks_for_the_longest_wait_counts(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Directory, "batch_max", 1)
    served.refuse(429, headers={"retry-after": "60"}, document={"message": "slow down"})
    served.refuse(429, document={"message": "slow down"})
    clock = Clock()
    async with reading(served, clock=clock) as client:
        await asyncio.gather(client.read("1"), client.read("2"), return_exceptions=True)
        with pytest.raises(Postponed) as postponed:
            await client.read("3")
        assert postponed.value.until == clock.after(60)


async def test_one_id_that_the_crm_does_not_take_costs_the_others_nothing(served: Served) -> None:
    async with reading(served) as client:
        found = await asyncio.gather(client.read("1"), client.read("?"), client.read("2"), return_exceptions=True)
    assert isinstance(found[1], DeliveryError)
    assert found[1].outcome.kind is OutcomeKind.CRM_REJECTED
    assert [isinstance(one, Reading) for one in found] == [True, False, True]


async def test_a_hold_that_begins_while_ids_are_asked_one_by_one_puts_the_rest_off(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Directory, "parallel", 1)
    served.refuse(400, document={"message": "one of them is wrong"})
    served.refuse(429, document={"message": "slow down"})
    async with reading(served) as client:
        found = await asyncio.gather(client.read("1"), client.read("2"), client.read("3"), return_exceptions=True)
    kinds = [type(one) for one in found]
    assert kinds == [DeliveryError, Postponed, Postponed]


async def test_calls_keep_to_the_pace(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Directory, "rate_per_s", 20.0)
    monkeypatch.setattr(Directory, "batch_max", 1)
    loop = asyncio.get_running_loop()
    async with reading(served) as client:
        began = loop.time()
        await asyncio.gather(*(client.read(str(number)) for number in range(5)))
        assert loop.time() - began >= 4 / 20
    assert len(served.calls) == 5


async def test_who_would_wait_too_long_for_the_pace_is_put_off_at_once(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Directory, "rate_per_s", 1.0)
    async with reading(served) as client:
        fit = int(WAIT_S_MAX) * Directory.batch_max + 1
        waiting = [asyncio.create_task(client.read(str(number))) for number in range(fit)]
        await asyncio.sleep(0)
        with pytest.raises(Postponed) as postponed:
            await client.read("9")
        assert postponed.value.until > START + timedelta(seconds=WAIT_S_MAX)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_who_finds_every_call_taken_by_what_hangs_is_put_off_in_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads has a lease that runs out, and a lease that runs out ten times is a dead letter."""
    monkeypatch.setattr(Directory, "batch_max", 1)
    served.hang(times=2)
    async with reading(served, wait_s=0.1) as client:
        found = await asyncio.gather(*(client.read(str(number)) for number in range(4)), return_exceptions=True)
        assert [type(one) for one in found] == [DeliveryError, DeliveryError, Postponed, Postponed]
        assert len(served.calls) == 2
        assert await client.read("3") is not None


async def test_who_waits_for_a_place_while_others_ask_for_it_gets_its_record(served: Served) -> None:
    served.delay(0.3, times=2)
    async with reading(served, wait_s=0.1) as client:
        found = await asyncio.gather(*(client.read(str(number)) for number in range(6)))
        assert None not in found
    assert sorted(map(len, asked(served))) == [3, 3]


async def test_who_is_broken_off_while_asking_for_others_puts_them_off(served: Served) -> None:
    served.hang()
    async with reading(served) as client:
        asking = asyncio.create_task(client.read("1"))
        with_it = asyncio.create_task(client.read("2"))
        await eventually(lambda: bool(served.calls))
        asking.cancel()
        with pytest.raises(Postponed):
            await with_it
        assert await client.read("2") is not None


async def test_who_goes_while_others_ask_for_it_is_not_waited_for(served: Served) -> None:
    served.delay(0.2)
    async with reading(served) as client:
        asking = asyncio.create_task(client.read("1"))
        with_it = asyncio.create_task(client.read("2"))
        await eventually(lambda: bool(served.calls))
        with_it.cancel()
        assert await asking is not None


async def test_a_stop_asks_for_nothing_more(served: Served) -> None:
    async with reading(served) as client:
        client.stop()
        with pytest.raises(Postponed):
            await client.read("1")
    assert served.calls == []


async def test_an_access_token_is_got_once_and_anew_before_it_runs_out(served: Served, api: Api) -> None:
    clock = Clock()
    async with reading(served, guarded=True, clock=clock) as client:
        await asyncio.gather(*(client.read(str(number)) for number in range(6)))
        assert api.tokens == 1
        clock.advance(3541)
        await client.read("1")
    assert api.tokens == 2
    assert [call.headers["authorization"] for call in served.calls if call.path == "/read"][-1] == "Bearer at-2"
    assert served.calls[0].headers["content-type"] == "application/x-www-form-urlencoded"


async def test_a_token_that_is_refused_before_its_time_is_got_anew_at_once(served: Served, api: Api) -> None:
    async with reading(served, guarded=True) as client:
        await client.read("1")
        api.refused.add("at-1")
        assert await client.read("2") is not None
        api.refused.update({"at-2", "at-3"})
        assert await outcome_of(client, "3") is OutcomeKind.CRM_REFUSED
    assert api.tokens == 3


async def test_a_token_that_nobody_gives_is_told_with_the_reason(served: Served) -> None:
    """Else the operator looks for wrong credentials where a network or a host is wrong."""
    async with reading(served, guarded=True) as client:
        served.close()
        assert (await client.probe()).detail == "no access token: RemoteProtocolError"
        served.refuse(400, document={"error": "invalid_client"})
        refused = await client.probe()
        assert (refused.status, refused.detail) == (400, "no access token")


@pytest.mark.parametrize(
    "grant",
    [
        {"error": "invalid_code"},
        {"access_token": "at-1"},
        {"access_token": "at-1", "expires_in": True},
        {"access_token": "at-1", "expires_in": 30},
        {"access_token": "at-1", "expires_in": -1e300},
        {"access_token": "", "expires_in": 3600},
        {"access_token": "a\nb", "expires_in": 3600},
        ["at-1"],
    ],
)
async def test_a_grant_without_a_lasting_token_is_refused(served: Served, api: Api, grant: Any) -> None:  # noqa: ANN401  # any JSON
    api.grant = grant
    async with reading(served, guarded=True) as client:
        assert await outcome_of(client) is OutcomeKind.CRM_REFUSED
        assert client.trouble is not None


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, OutcomeKind.CRM_REFUSED), (401, OutcomeKind.CRM_REFUSED), (503, OutcomeKind.CRM_UNREACHABLE)],
)
async def test_what_the_token_endpoint_says_counts_for_the_read(served: Served, status: int, kind: OutcomeKind) -> None:
    served.refuse(status, document={"error": "invalid_client"})
    async with reading(served, guarded=True) as client:
        assert await outcome_of(client) is kind
    assert [call.path for call in served.calls] == ["/oauth/token"]


async def test_a_slow_token_takes_the_time_of_a_call_and_not_of_each_that_waits_for_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Directory, "batch_max", 1)
    monkeypatch.setattr(Directory, "parallel", 8)
    served.drip(0.3, times=8)
    async with reading(served, guarded=True) as client:
        async with asyncio.timeout(4 * CALL_S):  # one after the other they would take eight times as long as one
            kinds = await asyncio.gather(*(outcome_of(client, str(number)) for number in range(8)))
        assert set(kinds) == {OutcomeKind.CRM_UNREACHABLE}


def test_a_token_that_was_got_since_is_not_forgotten_with_the_one_before() -> None:
    """Of several calls that are refused at once, one gets the new token; Zoho gives ten of them in ten minutes."""
    token = Token(Grant("https://accounts.example/oauth/token", {}))
    token.take({"access_token": "at-2", "expires_in": 3600}, now=START)
    token.forget("at-1")
    assert token.valid(START) == "at-2"
    token.forget("at-2")
    assert token.valid(START) is None
    token.forget("at-2")


async def test_a_token_that_cannot_be_renewed_after_a_refusal_ends_the_read(served: Served, api: Api) -> None:
    async with reading(served, guarded=True) as client:
        await client.read("1")
        api.refused.add("at-1")
        api.grant = {"error": "revoked"}
        assert await outcome_of(client) is OutcomeKind.CRM_REFUSED


async def test_a_probe_says_whether_the_credentials_work(served: Served) -> None:
    async with reading(served) as client:
        assert (await client.probe()).kind is OutcomeKind.APPLIED
        served.refuse(404, document={"message": "no such object"})
        assert (await client.probe()).kind is OutcomeKind.CRM_REJECTED
        served.refuse(401, document={"message": "no"})
        assert (await client.probe()).kind is OutcomeKind.CRM_REFUSED


async def test_without_a_call_that_only_probes_nothing_is_tried(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Directory, "probe", lambda _self: None)
    async with reading(served) as client:
        assert (await client.probe()).kind is OutcomeKind.UNCHANGED
    assert served.calls == []


@pytest.mark.parametrize(
    "url",
    [
        *("https://api.hubapi.com", "http://10.0.0.1", "http://127.0.0.1.evil.example", "http://127.0.0.1/x"),
        *("file:///etc", "", "http://[::1", "http://127.0.0.1:abc", "http://127.0.0.1:99999", "http://127.0.0.1:0"),
        *("http://me@127.0.0.1", "http://127.0.0.1?x=1", "http://127.0.0.1/?x=1", "http://127.0.0.1#x"),
    ],
)
def test_a_base_url_leads_to_this_machine_alone(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        TokenSpec(base_url=url, token=TOKEN)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8090", "http://localhost/", "http://[::1]:8090"])
def test_a_base_url_of_this_machine_is_taken(url: str) -> None:
    assert TokenSpec(base_url=url, token=TOKEN).base_url == url.rstrip("/")


@pytest.mark.parametrize("token", ["", "pat eu1", "pat-eu1\n", "pat-é", "pat\x00"])
def test_a_token_that_no_header_can_carry_is_refused_at_once(token: str) -> None:
    """Else every read of a record would be a fault of ours, and a dead letter in the end."""
    with pytest.raises(ValueError, match="token") as refused:
        TokenSpec(token=token)
    assert "pat" not in str(refused.value)
