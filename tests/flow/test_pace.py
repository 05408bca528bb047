"""How fast an account is called: slower once ChartMogul said so, as before after a while, not at all when paused."""

from datetime import datetime
from typing import Any

import pytest

from service.sandbox import Fault, FaultKind
from tests.flow.steps import T0, Started, books_close, later, patched, states
from tests.support.sandbox import RunningSandbox, seed_of
from tests.support.service import Shifted
from tests.support.wait import eventually
from tests.support.webhooks import helpdesk, pipedrive

pytestmark = pytest.mark.anyio

RATE_PER_S = 20
CALLS = 15
"""Of which a stretch is measured."""
AHEAD = 4
"""Calls that may have their turn already when something changes."""


def took_s(requests: list[dict[str, Any]]) -> float:
    """Return how long it took from the first of them to the last."""
    first, last = (datetime.fromisoformat(str(requests[at]["at"])) for at in (0, -1))
    return (last - first).total_seconds()


async def test_after_a_429_the_account_is_called_at_half_its_rate_until_time_gives_it_back(
    start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    """Others use the same limit: to come back as fast as before would be refused again."""
    sandbox.load(seed_of(40))
    settings = {"CHARTMOGUL_RATE_PER_S": str(RATE_PER_S), "CHARTMOGUL_PARALLEL": str(AHEAD)}
    async with start(**settings) as service:
        for number in range(40):
            email = f"person-{number}@nordwind-logistik.example"
            await service.accepted(pipedrive(number, f"evt-{number}", T0, email=email, job_title="CEO"))
        await eventually(lambda: len(patched(sandbox)) > 1)
        sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=429, count=1, method="PATCH"))
        await eventually(lambda: sandbox.answered("PATCH", 429) == 1)
        refused = len(sandbox.requests())
        await eventually(lambda: len(sandbox.requests()) >= refused + AHEAD + CALLS)
        account = (await service.health())["accounts"]["default"]
        assert 0.5 <= account["share_of_rate"] < 0.6
        slowed = sandbox.requests()[refused + AHEAD : refused + AHEAD + CALLS]
        assert took_s(slowed) > (CALLS - 1) / RATE_PER_S * 1.6, "twice, less what came back by then"
        shifted.advance(60)
        given_back = len(sandbox.requests())
        await eventually(lambda: len(sandbox.requests()) >= given_back + AHEAD + CALLS)
        recovered = sandbox.requests()[given_back + AHEAD : given_back + AHEAD + CALLS]
        assert took_s(recovered) < (CALLS - 1) / RATE_PER_S * 1.6
        assert (await service.health())["accounts"]["default"]["share_of_rate"] == 1
        later(service, shifted)
        await service.settled()
        assert await states(service) == ["delivered"] * 40
        assert await books_close(service)


async def test_an_account_that_a_person_paused_sends_nothing_until_a_person_lets_it_go_on(
    start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    async with start() as service:
        await service.store.accounts.pause("default", reason="the mapping is being mended", now=shifted())
        await service.accepted(
            pipedrive(101, "9d1c2b8f", T0, job_title="CEO"), helpdesk("u-301", "evt-1", T0, title="Head of Finance")
        )
        for _ in range(3):  # whatever looks after accounts and leases has its turn
            later(service, shifted, 6)
            await service.store.accounts.key_works("default")
            backlog = await service.store.ledger.backlog()
            assert (backlog.pending, backlog.leased) == (2, 0)
        assert sandbox.requests() == [], "no probe either: nobody doubts the key"
        account = (await service.health())["accounts"]["default"]
        assert account["reason"] == "the mapping is being mended"
        assert (await service.client.get("/health/ready")).status_code == 200, "webhooks are still taken"
        await service.store.accounts.resume("default")
        later(service, shifted, 6)
        await service.settled()
        assert await states(service) == ["delivered", "delivered"]
        assert [delivery["attempts"] for delivery in await service.deliveries()] == [0, 0]
        assert await books_close(service)
