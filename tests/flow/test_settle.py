"""A burst of changes becomes one PATCH where the source lets its changes settle, and none of it is lost."""

import asyncio
from datetime import timedelta

import pytest

from service.main import real_clock
from service.sandbox import Settings
from service.sandbox.settings import UNLIMITED
from tests.flow.steps import T0, Started, books_close, patched, states
from tests.support.sandbox import RunningSandbox
from tests.support.wait import eventually
from tests.support.webhooks import CONFIGURATION, GRACE_UUID, Webhook, pipedrive

pytestmark = pytest.mark.anyio


def settling(settle: str) -> str:
    """Return the configuration in which Pipedrive's changes settle."""
    return CONFIGURATION.replace("    preset: pipedrive\n", f"    preset: pipedrive\n    settle: {settle}\n")


def draft(number: int) -> Webhook:
    return pipedrive(101, f"evt-{number}", T0 + timedelta(milliseconds=number), job_title=f"Draft {number}")


@pytest.mark.parametrize("settle", ["1", "{window_s: 1, longest_s: 30}"])
async def test_a_burst_within_the_window_becomes_one_patch(
    start: Started, sandbox: RunningSandbox, store_url: str, settle: str
) -> None:
    async with start(settling(settle), DATABASE_URL=store_url) as service:
        for number in range(20):
            await service.accepted(draft(number))
        assert sandbox.requests() == [], "nobody was even searched for"
        await service.settled()
        assert patched(sandbox) == [{"title": "Draft 19"}]
        assert await states(service) == ["merged"] * 19 + ["delivered"]
        assert await books_close(service)


async def test_changes_that_never_cease_are_delivered_at_the_latest_when_the_longest_is_over(
    start: Started, sandbox: RunningSandbox
) -> None:
    async with start(settling("{window_s: 0.5, longest_s: 0.8}")) as service:
        began, number = real_clock(), 0
        while not patched(sandbox):
            await service.accepted(draft(number))
            number += 1
            assert (real_clock() - began).total_seconds() < 5
        await service.settled()
        assert sandbox.contact(GRACE_UUID)["title"] == f"Draft {number - 1}"
        assert len(patched(sandbox)) < number
        assert await books_close(service)


async def test_what_comes_during_a_patch_settles_anew_and_the_last_change_is_never_lost(
    start: Started, sandbox: RunningSandbox
) -> None:
    sandbox.configure(Settings(limits=UNLIMITED, latency_ms=150))
    async with start(settling("0.3")) as service:
        await service.accepted(draft(0))
        await eventually(lambda: bool(sandbox.requests("PATCH")))
        await asyncio.gather(*(service.send(draft(number)) for number in range(1, 9)))
        await service.settled()
        assert patched(sandbox) == [{"title": "Draft 0"}, {"title": "Draft 8"}]
        assert await books_close(service)


async def test_a_restart_while_changes_settle_loses_none(start: Started, sandbox: RunningSandbox) -> None:
    async with start(settling("1")) as service:
        await service.accepted(draft(0), draft(1))
    assert sandbox.requests() == []
    async with start(settling("1")) as service:
        await service.settled()
        assert patched(sandbox) == [{"title": "Draft 1"}]
        assert await states(service) == ["merged", "delivered"]


async def test_another_source_of_the_same_file_is_delivered_at_once(start: Started, sandbox: RunningSandbox) -> None:
    from_desk = pipedrive(102, "evt-102", T0, email="ana.ferreira@kite-and-co.example", source="desk", job_title="CFO")
    both = settling("60") + "  desk:\n" + CONFIGURATION.split("  pipedrive:\n")[1].split("  hubspot:\n")[0]
    async with start(both) as service:
        await service.accepted(draft(0), from_desk)
        await eventually(lambda: patched(sandbox) == [{"title": "CFO"}])
        await service.until(lambda backlog: (backlog.pending, backlog.leased) == (1, 0))
