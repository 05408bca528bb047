"""Whatever ChartMogul, or anyone on the way, does with a call, there is one outcome and no exception."""

import asyncio
import base64
import gzip
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson
import pytest
from pydantic import SecretStr

from service import __version__
from service import chartmogul as room
from service.chartmogul import Account, is_contact_uuid
from service.errors import Postponed
from service.model import Json, Outcome, OutcomeKind
from service.sandbox import Fault, FaultKind, Limits, Settings, Switches
from tests.support.sandbox import RunningSandbox, contact_uuid, running_sandbox, seed_of
from tests.support.sink import put_off, sink
from tests.support.wire import answering, http_answer

pytestmark = pytest.mark.anyio

UUID: Final = contact_uuid(1)
EMAIL: Final = "person-1@nordwind-logistik.example"
SHORT_S: Final = 0.15


@pytest.fixture(scope="module")
def served() -> Iterator[RunningSandbox]:
    with running_sandbox(seed_of(3)) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(served: RunningSandbox) -> RunningSandbox:
    served.reset()
    return served


async def patch(sandbox: RunningSandbox, body: dict[str, Json], *, uuid: str = UUID, **how: Any) -> Outcome:  # noqa: ANN401  # as sink takes them
    async with sink(sandbox.base_url, **how) as chartmogul:
        return await chartmogul.patch(uuid, body)


async def test_a_patch_changes_the_contact_and_brings_it_back(sandbox: RunningSandbox) -> None:
    outcome = await patch(
        sandbox,
        {"title": "Disponentin", "custom": [{"key": "Lifecycle", "value": "Lead"}, {"key": "Plan", "value": 1}]},
    )
    assert (outcome.kind, outcome.status, outcome.detail) == (OutcomeKind.APPLIED, 200, "")
    assert outcome.answer is not None
    assert (outcome.answer["title"], outcome.answer["custom"]) == ("Disponentin", {"Lifecycle": "Lead"})
    assert sandbox.contact(UUID)["title"] == "Disponentin"


async def test_a_wrong_key_is_the_accounts_affair(sandbox: RunningSandbox) -> None:
    outcome = await patch(sandbox, {"title": "CFO"}, key="bad-key")
    assert outcome == Outcome(OutcomeKind.ACCOUNT_REFUSED, 401, "No valid API key provided")


async def test_a_read_only_key_is_the_accounts_affair(sandbox: RunningSandbox) -> None:
    outcome = await patch(sandbox, {"title": "CFO"}, key="readonly-key")
    assert outcome == Outcome(OutcomeKind.ACCOUNT_REFUSED, 403, "This API key is read-only")


async def test_an_expired_trial_is_the_accounts_affair(sandbox: RunningSandbox) -> None:
    sandbox.configure(Settings(switches=Switches(trial_expired=True)))
    outcome = await patch(sandbox, {"title": "CFO"})
    assert (outcome.kind, outcome.status) == (OutcomeKind.ACCOUNT_REFUSED, 403)


async def test_a_contact_that_was_merged_away_is_gone(sandbox: RunningSandbox) -> None:
    outcome = await patch(sandbox, {"title": "CFO"}, uuid=contact_uuid(99))
    bare = contact_uuid(99).removeprefix("con_")
    assert outcome == Outcome(OutcomeKind.CONTACT_GONE, 404, f'Contact "{bare}" does not exist (contact_uuid)')


async def test_a_value_that_chartmogul_refuses_is_told_without_the_value(sandbox: RunningSandbox) -> None:
    outcome = await patch(sandbox, {"email": "petra.vogel at nordwind"})
    assert (outcome.kind, outcome.status) == (OutcomeKind.REJECTED, 422)
    assert outcome.detail == "The value provided does not appear to be a valid email address. (email)"
    assert sandbox.contact(UUID)["email"] == EMAIL


async def test_the_real_limits_are_told_apart(sandbox: RunningSandbox) -> None:
    sandbox.configure(Settings(limits=Limits(rate_per_s=0.001, burst=1, parallel=None)))
    async with sink(sandbox.base_url) as chartmogul:
        kinds = [(await chartmogul.patch(UUID, {"title": title})).kind for title in ("CFO", "COO")]
    assert kinds == [OutcomeKind.APPLIED, OutcomeKind.RATE_LIMITED]
    sandbox.configure(Settings(limits=Limits(rate_per_s=None, parallel=0, retry_after_s=7)))
    assert await patch(sandbox, {"title": "CEO"}) == Outcome(
        OutcomeKind.OVERLOADED, 503, "Too many parallel connections.", 7.0
    )


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, OutcomeKind.REJECTED),
        (401, OutcomeKind.ACCOUNT_REFUSED),
        (402, OutcomeKind.ACCOUNT_REFUSED),
        (403, OutcomeKind.ACCOUNT_REFUSED),
        (407, OutcomeKind.UNREACHABLE),
        (408, OutcomeKind.UNREACHABLE),
        (413, OutcomeKind.REJECTED),
        (422, OutcomeKind.REJECTED),
        (429, OutcomeKind.RATE_LIMITED),
        (500, OutcomeKind.SERVER_ERROR),
        # Behind a gateway the call may have been applied: the field proves nothing any more.
        (502, OutcomeKind.UNKNOWN),
        (503, OutcomeKind.OVERLOADED),
        (504, OutcomeKind.UNKNOWN),
        (520, OutcomeKind.UNKNOWN),
        (599, OutcomeKind.UNKNOWN),
    ],
)
@pytest.mark.parametrize(
    ("body", "detail"), [("json", "Please wait"), ("html", "an answer that is not JSON"), ("empty", "")]
)
async def test_each_status_has_its_outcome_whatever_the_body_is(
    sandbox: RunningSandbox, status: int, kind: OutcomeKind, body: Literal["json", "html", "empty"], detail: str
) -> None:
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=status, body=body, message="Please wait", count=1))
    assert await patch(sandbox, {"title": "CFO"}) == Outcome(kind, status, detail)
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=status, body=body, retry_after_s=17, count=1))
    assert (await patch(sandbox, {"title": "CFO"})).retry_after_s == 17.0


@pytest.mark.parametrize(
    ("body", "kind"),
    [("json", OutcomeKind.CONTACT_GONE), ("html", OutcomeKind.UNREACHABLE), ("empty", OutcomeKind.UNREACHABLE)],
)
async def test_a_404_is_believed_only_in_chartmogul_s_own_form(
    sandbox: RunningSandbox, body: Literal["json", "html", "empty"], kind: OutcomeKind
) -> None:
    """A proxy or a wrong address must not unlink every contact."""
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=404, body=body, count=1))
    assert (await patch(sandbox, {"title": "CFO"})).kind is kind


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 0", 0.0),
        ("Retry-After: 2.5", 2.5),
        ("Retry-After: 999999", 999_999.0),
        ("Retry-After: 1000000", None),
        ("Retry-After: -3", None),
        ("Retry-After: soon", None),
        ("Retry-After: Mon, 02 Mar 2026 09:31:00 GMT", None),
        ("X-Other: 3", None),
    ],
)
async def test_retry_after_is_read_in_seconds(header: str, seconds: float | None) -> None:
    answer = http_answer(b"", header, status="429 Too Many Requests")
    async with answering(answer) as wire, sink(wire.base_url) as chartmogul:
        assert (await chartmogul.patch(UUID, {})).retry_after_s == seconds


async def test_a_sign_in_page_instead_of_the_api_is_of_unknown_outcome(sandbox: RunningSandbox) -> None:
    sandbox.add_faults(Fault(kind=FaultKind.GARBAGE))
    assert await patch(sandbox, {"title": "CFO"}) == Outcome(
        OutcomeKind.UNKNOWN, 200, "the answer is not a JSON object"
    )


@pytest.mark.parametrize(
    ("kind", "detail", "applied"),
    [
        (FaultKind.TRUNCATED_JSON, "RemoteProtocolError", True),
        (FaultKind.RESET_BEFORE, "ReadError", False),
        (FaultKind.RESET_AFTER, "ReadError", True),
        (FaultKind.CLOSE_BEFORE, "RemoteProtocolError", False),
        (FaultKind.CLOSE_AFTER, "RemoteProtocolError", True),
    ],
)
async def test_a_connection_that_breaks_leaves_the_outcome_unknown(
    sandbox: RunningSandbox, kind: FaultKind, detail: str, *, applied: bool
) -> None:
    sandbox.add_faults(Fault(kind=kind, count=1))
    async with sink(sandbox.base_url) as chartmogul:
        assert await chartmogul.patch(UUID, {"title": "CFO"}) == Outcome(OutcomeKind.UNKNOWN, detail=detail)
        assert (sandbox.contact(UUID)["title"] == "CFO") is applied
        assert (await chartmogul.patch(UUID, {"title": "CFO"})).kind is OutcomeKind.APPLIED


@pytest.mark.parametrize(("kind", "applied"), [(FaultKind.TIMEOUT_BEFORE, False), (FaultKind.TIMEOUT_AFTER, True)])
async def test_an_answer_that_does_not_come_leaves_the_outcome_unknown_and_the_connections_free(
    sandbox: RunningSandbox, kind: FaultKind, *, applied: bool
) -> None:
    sandbox.add_faults(Fault(kind=kind, count=4))
    async with sink(sandbox.base_url, parallel=2, read_s=SHORT_S) as chartmogul:
        for _ in range(2):
            late = await asyncio.gather(*(chartmogul.patch(UUID, {"title": "CFO"}) for _ in range(2)))
            assert late == [Outcome(OutcomeKind.UNKNOWN, detail="ReadTimeout")] * 2
    assert (sandbox.contact(UUID)["title"] == "CFO") is applied
    async with sink(sandbox.base_url, parallel=2) as chartmogul:
        assert (await chartmogul.patch(UUID, {"title": "COO"})).kind is OutcomeKind.APPLIED


async def test_a_body_that_trickles_is_bounded_by_the_whole_call(sandbox: RunningSandbox) -> None:
    """Each piece comes in time for the read timeout, so that alone would wait for ever."""
    sandbox.add_faults(Fault(kind=FaultKind.SLOW_BODY, delay_s=1, count=2))
    async with sink(sandbox.base_url, parallel=1, connect_s=SHORT_S, read_s=SHORT_S) as chartmogul:
        for _ in range(2):
            assert await chartmogul.patch(UUID, {"title": "CFO"}) == Outcome(OutcomeKind.UNKNOWN, detail="TimeoutError")


async def test_nobody_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with sink(f"http://127.0.0.1:{port}") as chartmogul:
        assert await chartmogul.patch(UUID, {"title": "CFO"}) == Outcome(OutcomeKind.UNREACHABLE, detail="ConnectError")
        assert await chartmogul.ping() == Outcome(OutcomeKind.UNREACHABLE, detail="ConnectError")
        assert (await chartmogul.search({"email": EMAIL})).failure == Outcome(
            OutcomeKind.UNREACHABLE, detail="ConnectError"
        )


@pytest.mark.parametrize("zipped", [False, True])
async def test_an_answer_without_end_is_not_read(*, zipped: bool) -> None:
    body = b'{"notes":"%s"}' % (b"x" * room.ANSWER_BYTES_MAX)
    headers = ("Content-Encoding: gzip",) if zipped else ()
    answer = http_answer(gzip.compress(body) if zipped else body, *headers)
    async with answering(answer) as wire, sink(wire.base_url) as chartmogul:
        outcome = await chartmogul.patch(UUID, {"title": "CFO"})
    assert outcome == Outcome(OutcomeKind.UNKNOWN, 200, "the answer is not a JSON object")


async def test_an_answer_just_within_the_limit_is_read() -> None:
    body = b'{"notes":"%s"}' % (b"x" * (room.ANSWER_BYTES_MAX - 12))
    async with answering(http_answer(body)) as wire, sink(wire.base_url) as chartmogul:
        assert (await chartmogul.patch(UUID, {"title": "CFO"})).kind is OutcomeKind.APPLIED


async def test_a_redirect_is_not_followed_with_our_key(sandbox: RunningSandbox) -> None:
    """It is a wrong base URL or a gateway's page; either way nobody but ChartMogul is to see the key."""
    location = f"Location: {sandbox.base_url}/v1/contacts/{UUID}"
    answer = http_answer(b"", location, status="307 Temporary Redirect")
    async with answering(answer) as wire, sink(wire.base_url) as chartmogul:
        assert await chartmogul.patch(UUID, {"title": "CFO"}) == Outcome(OutcomeKind.UNREACHABLE, 307)
    assert sandbox.requests() == []


async def test_a_call_carries_the_key_our_name_and_the_exact_body() -> None:
    async with answering(http_answer(b"{}")) as wire, sink(wire.base_url, key="4f1d8a") as chartmogul:
        await chartmogul.patch(UUID, {"title": "Geschäftsführerin", "notes": None})
    credentials = base64.b64encode(b"4f1d8a:").decode()
    head = [line.lower() if not line.startswith("Authorization") else line for line in wire.lines]
    assert head[0] == f"PATCH /v1/contacts/{UUID} HTTP/1.1".lower()
    assert f"Authorization: Basic {credentials}" in head
    assert f"user-agent: crm-to-chartmogul/{__version__}" in head
    assert {"content-type: application/json", "accept: application/json"} <= set(head)
    body = wire.requests[-1].partition(b"\r\n\r\n")[2]
    assert orjson.loads(body) == {"title": "Geschäftsführerin", "notes": None}


async def test_a_read_has_no_body_and_says_no_content_type() -> None:
    async with answering(http_answer(b"{}")) as wire, sink(wire.base_url) as chartmogul:
        await chartmogul.ping()
    assert wire.lines[0] == "GET /v1/ping HTTP/1.1"
    assert not any(line.lower().startswith("content-") for line in wire.lines)


async def test_proxies_of_the_environment_are_not_used(
    sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where calls go is said by settings alone."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await patch(sandbox, {"title": "CFO"})).kind is OutcomeKind.APPLIED


async def test_a_proxy_of_the_settings_is_used(sandbox: RunningSandbox) -> None:
    async with answering(http_answer(b'{"title":"CFO"}')) as wire:
        outcome = await patch(sandbox, {"title": "CFO"}, proxy=wire.base_url)
    assert outcome.answer == {"title": "CFO"}
    assert wire.lines[0] == f"PATCH {sandbox.base_url}/v1/contacts/{UUID} HTTP/1.1"
    assert sandbox.requests() == []


async def test_every_call_has_a_turn_of_its_own_that_lasts_as_long_as_it(sandbox: RunningSandbox) -> None:
    """Searches and probes count against the account's limits too, and a search for each of its pages."""
    sandbox.load(seed_of(201))
    turns: list[int] = []

    @asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        before = len(sandbox.requests())
        yield
        turns.append(len(sandbox.requests()) - before)

    async with sink(sandbox.base_url, turn=turn) as chartmogul:
        await chartmogul.patch(UUID, {"title": "CFO"})
        await chartmogul.ping()
        assert turns == [1, 1]
        assert len((await chartmogul.search({"customer_external_id": "cus_011"})).contacts) == 201
    assert turns == [1, 1, 1, 1]


async def test_a_call_that_is_put_off_sends_nothing(sandbox: RunningSandbox) -> None:
    until = datetime(2026, 3, 2, 9, 31, tzinfo=UTC)
    async with sink(sandbox.base_url, parallel=1, turn=put_off(until, until, None)) as chartmogul:
        for _ in range(2):
            with pytest.raises(Postponed):
                await chartmogul.patch(UUID, {"title": "CFO"})
        assert sandbox.requests() == []
        assert (await chartmogul.ping()).kind is OutcomeKind.APPLIED


@pytest.mark.parametrize(
    "uuid",
    [
        "",
        "con_",
        f"{UUID}/merge/{contact_uuid(2)}",
        f"../customers/{UUID}",
        f"{UUID}?",
        f"{UUID}\n",
        f" {UUID}",
        UUID.upper(),
        UUID.replace("con_", "cus_"),
        "con_00000001-7686-11ee-86f6-8727560009c٢",
    ],
)
async def test_only_a_contacts_uuid_reaches_the_path(sandbox: RunningSandbox, uuid: str) -> None:
    outcome = await patch(sandbox, {"title": "CFO"}, uuid=uuid)
    assert outcome == Outcome(OutcomeKind.REJECTED, detail="the contact's uuid is not one of ChartMogul's")
    assert sandbox.requests() == []


def test_what_is_no_text_is_no_uuid() -> None:
    assert is_contact_uuid(UUID)
    for other in (None, 7, b"con_", [UUID]):
        assert not is_contact_uuid(other)


async def test_a_ping_tells_a_good_key_from_a_bad_one(sandbox: RunningSandbox) -> None:
    async with sink(sandbox.base_url) as chartmogul:
        assert await chartmogul.ping() == Outcome(OutcomeKind.APPLIED, 200, answer={"data": "pong!"})
    async with sink(sandbox.base_url, key="bad-key") as chartmogul:
        assert (await chartmogul.ping()).kind is OutcomeKind.ACCOUNT_REFUSED


def test_a_key_is_in_no_text() -> None:
    assert "4f1d8a" not in repr(Account("default", SecretStr("4f1d8a"), 4))
