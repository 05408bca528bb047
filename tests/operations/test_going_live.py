"""Going live comes to an end, whatever becomes meanwhile of what it set going."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from service.model import EventState
from service.operations.going_live import go_live
from service.pipeline import ConfiguredSource
from service.schema import deliveries, events
from service.store import Store
from service.store.shadow import RECORDS
from service.upkeep import beside
from tests.support.clock import Clock
from tests.support.log import by_hand, change, receive, rows
from tests.support.service import configure
from tests.support.webhooks import CONFIGURATION

pytestmark = pytest.mark.anyio

WATCHED = CONFIGURATION.replace("preset: pipedrive\n", "preset: pipedrive\n    deliver: shadow\n")
SHADOWED = update(events).values(state=EventState.SHADOWED.value, reason="would be sent")
MANY = RECORDS + 50


async def shadowed(store: Store, clock: Clock) -> None:
    """Let more people's changes wait than one batch takes, without the tries that it takes."""
    await receive(store, clock, *(change(f"key-{number}", str(number)) for number in range(MANY)))
    await by_hand(store, SHADOWED.values(decided_at=clock()), delete(deliveries))


async def waiting(store: Store) -> int:
    return [row["state"] for row in await rows(store, events)].count("shadowed")


async def test_a_source_that_is_only_watched_again_keeps_what_is_left(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    """Its operator saw the first of it, and thought better of it."""
    await shadowed(store, clock)
    live, watched = configure(tmp_path).sources, configure(tmp_path, WATCHED).sources
    asked = 0

    def sources() -> Mapping[str, ConfiguredSource]:
        nonlocal asked
        asked += 1
        return live if asked <= 2 else watched

    assert await go_live(store, sources, clock=clock) == RECORDS
    assert await waiting(store) == MANY - RECORDS
    assert await go_live(store, lambda: watched, clock=clock) == 0


async def test_what_a_replica_shadows_again_is_left_to_the_next_time(
    store: Store, clock: Clock, tmp_path: Path
) -> None:
    """It has the former configuration still: else both would be at it without end."""
    await shadowed(store, clock)
    live = configure(tmp_path).sources
    pending = events.c.state == EventState.PENDING.value

    async def other() -> None:
        while True:
            await by_hand(store, SHADOWED.values(decided_at=clock.after(1)).where(pending))
            await asyncio.sleep(0.001)

    async with beside(other()), asyncio.timeout(20):
        assert await go_live(store, lambda: live, clock=clock) == MANY
    assert await waiting(store) == MANY
    clock.advance(1)
    assert await go_live(store, lambda: live, clock=clock) == MANY
