"""Refusals: listed within bounds, counted all, and kept until they are written."""

import asyncio

import pytest
from sqlalchemy import text

from service.errors import StoreError
from service.schema import refusals, source_marks
from service.store import Store
from service.store.refusals import KEPT_MAX, WAITING_MAX, Refusal
from tests.support.clock import Clock
from tests.support.log import SOURCE, by_hand, change, receive, rows

pytestmark = pytest.mark.anyio


def refusal(clock: Clock, number: int = 0, source: str = SOURCE) -> Refusal:
    reason = "not_verified: the signature does not match"
    return Refusal(clock.after(number), source, reason, "content-type host", number)


async def sizes(store: Store) -> list[int]:
    return [one.size for one in await store.refusals.newest(KEPT_MAX)]


async def counts(store: Store) -> dict[str, int]:
    return {mark["source"]: mark["refused"] for mark in await store.ledger.source_marks()}


async def test_a_refusal_is_listed_once_it_is_flushed(store: Store, clock: Clock) -> None:
    store.refusals.add(refusal(clock))
    assert await store.refusals.newest(5) == []
    await store.refusals.flush()
    assert await store.refusals.newest(5) == [refusal(clock)]
    (mark,) = await rows(store, source_marks)
    assert (mark["source"], mark["refused"], mark["refused_at"], mark["received_at"]) == (SOURCE, 1, clock(), None)


async def test_the_newest_come_first(store: Store, clock: Clock) -> None:
    for number in range(5):
        store.refusals.add(refusal(clock, number))
    await store.refusals.flush()
    assert [one.size for one in await store.refusals.newest(3)] == [4, 3, 2]


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_below_one_lists_nothing(store: Store, clock: Clock, limit: int) -> None:
    store.refusals.add(refusal(clock))
    await store.refusals.flush()
    assert await store.refusals.newest(limit) == []


async def test_refusals_are_counted_for_each_source_beside_what_it_received(store: Store, clock: Clock) -> None:
    await receive(store, clock, change())
    for number, source in enumerate([SOURCE, "hubspot", SOURCE]):
        store.refusals.add(refusal(clock, number, source))
    await store.refusals.flush()
    store.refusals.add(refusal(clock, 9))
    await store.refusals.flush()
    assert await counts(store) == {SOURCE: 3, "hubspot": 1}
    marks = {mark["source"]: mark for mark in await store.ledger.source_marks()}
    assert (marks[SOURCE]["received_at"], marks[SOURCE]["refused_at"]) == (clock(), clock.after(9))


async def test_beyond_the_limit_of_waiting_they_are_counted_and_the_newest_listed(store: Store, clock: Clock) -> None:
    """A stranger's flood must cost neither memory nor disk."""
    for number in range(WAITING_MAX + 50):
        store.refusals.add(refusal(clock, number))
    await store.refusals.flush()
    assert await sizes(store) == list(reversed(range(50, WAITING_MAX + 50)))
    assert await counts(store) == {SOURCE: WAITING_MAX + 50}


async def test_the_log_keeps_a_bounded_number(store: Store, clock: Clock) -> None:
    total = KEPT_MAX + WAITING_MAX
    for start in range(0, total, WAITING_MAX):
        for number in range(start, start + WAITING_MAX):
            store.refusals.add(refusal(clock, number))
        await store.refusals.flush()
    assert len(await rows(store, refusals)) == KEPT_MAX
    assert (await sizes(store))[:1] == [total - 1]
    assert await counts(store) == {SOURCE: total}


async def test_marks_of_made_up_sources_are_bounded_and_those_that_received_stay(store: Store, clock: Clock) -> None:
    """Anyone may post to any name: names must not fill the log."""
    await receive(store, clock, change())
    for start in range(0, KEPT_MAX + 40, WAITING_MAX):
        for number in range(start, start + WAITING_MAX):
            store.refusals.add(refusal(clock, number, f"wp-{number}"))
        await store.refusals.flush()
    marked = await counts(store)
    assert len(marked) == KEPT_MAX + 1
    assert SOURCE in marked
    assert "wp-0" not in marked


async def test_made_up_names_are_counted_together_once_too_many_wait(store: Store, clock: Clock) -> None:
    for number in range(KEPT_MAX + 5):
        store.refusals.add(refusal(clock, number, f"wp-{number}"))
    assert len(store.refusals._counts) == KEPT_MAX + 1
    assert store.refusals._counts["?"] == 5


async def test_what_cannot_be_written_waits(store: Store, clock: Clock) -> None:
    store.refusals.add(refusal(clock, 1))
    await by_hand(store, text("ALTER TABLE refusals RENAME TO refusals_away"))
    with pytest.raises(StoreError):
        await store.refusals.flush()
    store.refusals.add(refusal(clock, 2))
    await by_hand(store, text("ALTER TABLE refusals_away RENAME TO refusals"))
    await store.refusals.flush()
    await store.refusals.flush()
    assert await sizes(store) == [2, 1]
    assert await counts(store) == {SOURCE: 2}


async def test_a_flood_during_a_flush_is_neither_lost_nor_told_twice(store: Store, clock: Clock) -> None:
    for number in range(WAITING_MAX):
        store.refusals.add(refusal(clock, number))
    flushing = asyncio.create_task(store.refusals.flush())
    await asyncio.sleep(0)
    for number in range(WAITING_MAX, 2 * WAITING_MAX):
        store.refusals.add(refusal(clock, number))
    await flushing
    await store.refusals.flush()
    assert await sizes(store) == list(reversed(range(2 * WAITING_MAX)))
    assert await counts(store) == {SOURCE: 2 * WAITING_MAX}


async def test_a_flush_that_is_broken_off_keeps_what_it_had(store: Store, clock: Clock) -> None:
    store.refusals.add(refusal(clock, 1))
    flushing = asyncio.create_task(store.refusals.flush())
    await asyncio.sleep(0)
    flushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushing
    await store.refusals.flush()
    assert 1 in await sizes(store)


async def test_what_a_stranger_calls_itself_cannot_stop_the_list(store: Store, clock: Clock) -> None:
    store.refusals.add(refusal(clock, 1, "crm\x00" + "x" * 100))
    store.refusals.add(refusal(clock, 2))
    await store.refusals.flush()
    shown, _ = sorted((one.source for one in await store.refusals.newest(5)), reverse=True)
    assert shown == SOURCE
    assert len(await counts(store)) == 2


async def test_nothing_to_flush_writes_nothing(store: Store) -> None:
    await store.refusals.flush()
    assert await rows(store, refusals) == []
