"""What a replay takes up: exactly what its conditions mean, batch by batch, and what can be read."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from service.model import EventState, Next, OutcomeKind, Verdict
from service.schema import deliveries, events
from service.store import Store
from service.store.replay import BATCH, Batch, Selection
from tests.support.clock import START, Clock
from tests.support.log import (
    bury,
    by_hand,
    change,
    claim,
    claim_one,
    conclusion,
    ends,
    finish,
    pending_ids,
    receive,
    rows,
)

pytestmark = pytest.mark.anyio

ALL = Selection(dead_only=False)


async def five(store: Store, clock: Clock) -> None:
    """Log a, b and c, which died, and d and e, which did not, an hour apart each, the first at the clock's start."""
    unknown = Verdict(Next.DEAD, "contact unknown: no contact by link, email")
    await receive(store, clock, change("a"))
    await bury(store, clock, await claim_one(store, clock))
    clock.advance(3600)
    await receive(store, clock, change("b", "982"))
    await bury(store, clock, await claim_one(store, clock))
    clock.advance(3600)
    await receive(store, clock, change("c"), source="hubspot")
    delivery = await claim_one(store, clock)
    dead = ends(*await pending_ids(store, delivery), state=EventState.DEAD, reason=unknown.reason)
    nobody = conclusion(clock, dead, kind=OutcomeKind.CONTACT_UNKNOWN, verdict=unknown, uuid=None)
    await store.deliveries.record(delivery, nobody, now=clock())
    for key in ("d", "e"):
        clock.advance(3600)
        await receive(store, clock, change(key))
        await finish(store, clock, await claim_one(store, clock), config_version="9f2c1ab04d7e")


async def keys_in(store: Store, state: str) -> list[str]:
    """Return the keys of the events in a state, oldest first."""
    return [row["dedup_key"] for row in await rows(store, events) if row["state"] == state]


def hours(count: float) -> datetime:
    """Return the instant so long after the first of the five."""
    return START + timedelta(hours=count)


@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        (Selection(), "abc"),
        (ALL, "abcde"),
        (Selection(letters=(1, 3)), "ac"),
        (Selection(events=(1, 2, 4)), "ab"),
        (Selection(events=(1, 2, 4), dead_only=False), "abd"),
        (Selection(source="hubspot"), "c"),
        (Selection(source="pipedrive", dead_only=False), "abde"),
        (Selection(object_id="451"), "ac"),
        (Selection(object_id="451", source="pipedrive"), "a"),
        (Selection(cause=OutcomeKind.CONTACT_UNKNOWN), "c"),
        (Selection(cause=OutcomeKind.REJECTED), "ab"),
        (Selection(cause=OutcomeKind.APPLIED), ""),
        (Selection(cause=OutcomeKind.APPLIED, dead_only=False), "de"),
        (Selection(since=hours(1)), "bc"),
        (Selection(until=hours(1)), "a"),
        (Selection(since=hours(1), until=hours(3), dead_only=False), "bc"),
        (Selection(since=hours(1), source="pipedrive", dead_only=False), "bde"),
        (Selection(source="attio"), ""),
        (Selection(events=(99,)), ""),
    ],
)
async def test_a_selection_means_what_fits_all_its_conditions(
    store: Store, clock: Clock, selection: Selection, meant: str
) -> None:
    await five(store, clock)
    assert await store.replays.count(selection) == len(meant)
    batch = await store.replays.batch(selection, now=clock())
    assert "".join(await keys_in(store, "pending")) == meant
    assert (batch.events, batch.unreadable, batch.last_id) == (len(meant), 0, None)
    assert (await store.ledger.audit()).findings == ()
    while claimed := await claim(store, clock):
        for delivery in claimed:
            await finish(store, clock, delivery)
    assert await keys_in(store, "pending") == []
    assert (await store.ledger.audit()).findings == ()


async def test_a_replay_of_everything_puts_the_dead_letters_away(store: Store, clock: Clock) -> None:
    await five(store, clock)
    assert (await store.replays.batch(ALL, now=clock())).contacts == 3
    assert await store.ledger.deliveries(state="dead") == []
    closed = [(row["state"], row["reason"]) for row in await rows(store, deliveries) if row["closed_at"] is not None]
    assert closed == [("skipped", "replayed")] * 3 + [("delivered", "applied")] * 2


async def many(store: Store, clock: Clock, count: int, *, contacts: int = 1) -> None:
    """Bury so many changes of so many contacts."""
    keys = [(f"d1f0-{number}", str(number % contacts)) for number in range(count)]
    for start in range(0, count, 500):
        await receive(store, clock, *(change(key, object_id) for key, object_id in keys[start : start + 500]))
    for delivery in await claim(store, clock, limit=contacts):
        await bury(store, clock, delivery)


async def in_batches(store: Store, clock: Clock, selection: Selection) -> list[Batch]:
    """Replay all that a selection means."""
    batches = [await store.replays.batch(selection, now=clock())]
    while batches[-1].last_id is not None:
        batches.append(await store.replays.batch(selection, after=batches[-1].last_id, now=clock()))
    return batches


@pytest.mark.parametrize("count", [BATCH - 1, BATCH, BATCH + 1])
@pytest.mark.parametrize("by", ["letter", "state"])
async def test_more_than_a_batch_is_gone_on_with(store: Store, clock: Clock, count: int, by: str) -> None:
    """The first batch may empty the letter: that it is put away must not end the second."""
    await many(store, clock, count)
    selection = Selection(letters=(1,)) if by == "letter" else Selection()
    batches = await in_batches(store, clock, selection)
    assert [batch.events for batch in batches] == [min(count, BATCH)] + ([count - BATCH] if count >= BATCH else [])
    assert await store.ledger.counts() == {"pending": count}
    assert await store.ledger.deliveries(state="dead") == []
    assert (await store.ledger.audit()).findings == ()


async def test_letters_that_share_a_batch_are_replayed_whole(store: Store, clock: Clock) -> None:
    await many(store, clock, BATCH + 200, contacts=7)
    letters = tuple(line["id"] for line in await store.ledger.deliveries(state="dead"))
    batches = await in_batches(store, clock, Selection(letters=letters))
    assert [(batch.events, batch.contacts) for batch in batches] == [(BATCH, 7), (200, 7)]
    assert await store.ledger.deliveries(state="dead") == []
    assert [row["changes"] for row in await store.ledger.deliveries(state="pending")] == [100] * 7


async def test_a_letter_keeps_what_a_later_batch_will_take(store: Store, clock: Clock) -> None:
    """Broken off after one batch, what is left is still waiting for a person."""
    await many(store, clock, BATCH + 1)
    await store.replays.batch(Selection(letters=(1,)), now=clock())
    assert [line["id"] for line in await store.ledger.deliveries(state="dead")] == [1]
    assert (await store.ledger.audit()).findings == ()


async def test_what_cannot_be_read_any_more_is_counted_and_stays(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a"), change("b"))
    await bury(store, clock, await claim_one(store, clock))
    await by_hand(store, update(events).where(events.c.dedup_key == "a").values(change=None))
    assert await store.replays.batch(Selection(letters=(1,)), now=clock()) == Batch(1, 1, unreadable=1, last_id=None)
    assert (await keys_in(store, "dead"), await keys_in(store, "pending")) == (["a"], ["b"])
    assert [line["state"] for line in await store.ledger.deliveries()] == ["pending", "dead"]
    assert (await store.ledger.audit()).findings == ()


async def test_what_its_source_ignored_was_never_owed_and_is_not_replayed(store: Store, clock: Clock) -> None:
    """A deletion or a company is none of a delivery; what a filter left out is, and may be asked for again."""
    await receive(store, clock, change("a", ignored="deleted in the CRM"), change("b"))
    delivery = await claim_one(store, clock)
    filtered = ends(*await pending_ids(store, delivery), state=EventState.IGNORED, reason="filtered out by `when`")
    await store.deliveries.record(delivery, conclusion(clock, filtered), now=clock())
    assert await store.replays.count(ALL) == 1
    assert (await store.replays.batch(ALL, now=clock())).events == 1
    assert (await keys_in(store, "ignored"), await keys_in(store, "pending")) == (["a"], ["b"])


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, [None, None]),
        ({"version": "0c6d1b7e4f52"}, ["0c6d1b7e4f52"] * 2),
        ({"then": True}, [None, "9f2c1ab04d7e"]),
    ],
)
async def test_a_replay_says_by_which_rules_each_change_is_mapped(
    store: Store, clock: Clock, how: dict[str, Any], expected: list[str | None]
) -> None:
    """``then`` is each one's own; where none is known of a change, it is the present."""
    await receive(store, clock, change("a"))
    await bury(store, clock, await claim_one(store, clock))
    await receive(store, clock, change("b"))
    await finish(store, clock, await claim_one(store, clock), config_version="9f2c1ab04d7e")
    assert await store.replays.batch(ALL, now=clock(), **how) == Batch(2, 1, 0, None)
    delivery = await claim_one(store, clock)
    assert [event.replay_version for event in (await store.deliveries.pending(delivery)).events] == expected
    await finish(store, clock, delivery, config_version="present")
    kept = [row["config_version"] for row in await rows(store, events)]
    assert kept == [version or "present" for version in expected]


async def test_a_replay_by_the_present_rules_forgets_those_that_the_one_before_asked_for(
    store: Store, clock: Clock
) -> None:
    await receive(store, clock, change("a"))
    await bury(store, clock, await claim_one(store, clock))
    await store.replays.batch(ALL, version="0c6d1b7e4f52", now=clock())
    await bury(store, clock, await claim_one(store, clock))
    await store.replays.batch(ALL, now=clock())
    (event,) = (await store.deliveries.pending(await claim_one(store, clock))).events
    assert event.replay_version is None
