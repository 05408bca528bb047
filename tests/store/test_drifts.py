"""What is noticed of drift is kept, counted up and forgotten again, and no value is in it."""

import asyncio
from datetime import timedelta
from typing import Final

import pytest

from service.model import Cause, Drift, DriftKind, Noticed, Sighting
from service.schema import drifts
from service.store import Store
from service.store.drifts import DRIFTS_MAX
from tests.support.clock import START, Clock
from tests.support.log import SOURCE, rows

pytestmark = pytest.mark.anyio

GONE: Final = Cause(SOURCE, DriftKind.PATH_GONE, "title", "job_title")
TURNED: Final = Cause(SOURCE, DriftKind.TYPE_CHANGED, "title", "job_title")
TITLE: Final = Sighting(SOURCE, "job_title", "text", 20, 0, START)


def drift(
    cause: Cause, at: float = 0, *, count: int = 1, detail: str | None = None, version: str = "v1", event: int = 7
) -> Drift:
    """A drift that was met so many times, for the first and last time so long after the start."""
    met = START + timedelta(seconds=at)
    return Drift(cause, detail, met, met, count, version, event)


async def test_nothing_is_there_at_first_and_nothing_can_be_written(store: Store) -> None:
    await store.drifts.write(Noticed())
    assert (await store.drifts.sightings(), await store.drifts.standing()) == ([], [])


async def test_a_sighting_comes_back_as_it_was_written_last(store: Store) -> None:
    never = Sighting("hubspot", "jobtitle")
    await store.drifts.write(Noticed(sightings=(TITLE, never)))
    gone = Sighting(SOURCE, "job_title", None, 20, 25, None)
    await store.drifts.write(Noticed(sightings=(gone,)))
    assert sorted(await store.drifts.sightings(), key=lambda one: one.source) == [never, gone]


async def test_a_drift_is_counted_up_and_keeps_when_it_was_met_first(store: Store) -> None:
    await store.drifts.write(Noticed(drifts=(drift(TURNED, count=2, detail="text → list"),)))
    await store.drifts.write(
        Noticed(drifts=(drift(TURNED, 60, count=5, detail="text → number", version="v2", event=8),))
    )
    assert await store.drifts.standing() == [
        Drift(TURNED, "text → number", START, START + timedelta(seconds=60), 7, "v2", 8)
    ]


async def test_the_drifts_that_were_met_last_come_first_and_old_ones_not_at_all(store: Store, clock: Clock) -> None:
    await store.drifts.write(Noticed(drifts=(drift(GONE), drift(TURNED, 60))))
    assert [one.cause for one in await store.drifts.standing()] == [TURNED, GONE]
    assert [one.cause for one in await store.drifts.standing(since=clock.after(1))] == [TURNED]
    assert [one.cause for one in await store.drifts.standing(limit=1)] == [TURNED]
    assert await store.drifts.standing(limit=-1) == []


async def test_what_is_over_or_not_read_any_more_is_forgotten(store: Store) -> None:
    await store.drifts.write(Noticed(sightings=(TITLE,), drifts=(drift(GONE), drift(TURNED))))
    await store.drifts.write(Noticed(healed=frozenset({GONE}), forgotten=frozenset({(SOURCE, "job_title")})))
    assert await store.drifts.sightings() == []
    assert [one.cause for one in await store.drifts.standing()] == [TURNED]


async def test_what_was_over_and_is_met_again_begins_afresh(store: Store) -> None:
    await store.drifts.write(Noticed(sightings=(TITLE,), drifts=(drift(GONE, count=40),)))
    again = Noticed((TITLE,), (drift(GONE, 60),), frozenset({GONE}), frozenset({(SOURCE, "job_title")}))
    await store.drifts.write(again)
    assert await store.drifts.standing() == [drift(GONE, 60)]
    assert await store.drifts.sightings() == [TITLE]


async def test_a_name_with_any_character_is_kept(store: Store) -> None:
    cause = Cause(SOURCE, DriftKind.SKIPPED_ERROR, "custom.Größe \U0001f4a1 'x'", "ключ." * 51)
    await store.drifts.write(Noticed(drifts=(drift(cause, detail="to_int: found text"),)))
    assert [one.cause for one in await store.drifts.standing()] == [cause]


async def test_two_replicas_count_together(store: Store, other_store: Store) -> None:
    """In the same order of rows, so that neither waits for the other for ever."""
    causes = [Cause(SOURCE, DriftKind.NO_ENTRY, f"custom.{number}", "label") for number in range(20)]
    first, second = tuple(map(drift, causes)), tuple(map(drift, reversed(causes)))
    await asyncio.gather(
        *(one.drifts.write(Noticed(drifts=met)) for one, met in ((store, first), (other_store, second)) * 5)
    )
    assert {row["count"] for row in await rows(store, drifts)} == {10}


async def test_a_start_reads_a_bounded_number(store: Store) -> None:
    many = [Cause(SOURCE, DriftKind.NO_ENTRY, f"custom.{number}", "label") for number in range(DRIFTS_MAX + 5)]
    await store.drifts.write(Noticed(drifts=tuple(map(drift, many))))
    assert len(await store.drifts.standing(limit=DRIFTS_MAX * 2)) == DRIFTS_MAX
