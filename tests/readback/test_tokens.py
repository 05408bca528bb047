"""Access tokens: got once, kept as long as they last, and anew when they are refused."""

import asyncio
from typing import Any

import pytest

from service.model import OutcomeKind
from service.readback.base import Grant
from service.readback.tokens import Token
from tests.readback.directory import CALL_S, Api, Directory, outcome_of, reading
from tests.support.apis.server import Served
from tests.support.clock import START, Clock

pytestmark = pytest.mark.anyio


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
