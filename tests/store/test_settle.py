"""Settling: a delivery waits for further changes of its contact, each for a window and all of them not for long."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.model import AT_ONCE, Carried, Confirmed, Doubt, Link, Next, OutcomeKind, Priority, Settle, Verdict
from service.schema import deliveries
from service.store import Store
from service.store.opening import CrmRecord
from service.store.replay import Selection
from tests.support.clock import Clock
from tests.support.log import (
    ACCOUNT,
    ADA,
    PERSON,
    SOURCE,
    arrival,
    bury,
    change,
    claim,
    claim_one,
    conclusion,
    ends,
    finish,
    hold,
    pending_ids,
    receive,
    rows,
)

pytestmark = pytest.mark.anyio

WINDOW_S, LONGEST_S = 2.0, 10.0
SETTLE = Settle(timedelta(seconds=WINDOW_S), timedelta(seconds=LONGEST_S))


async def told(store: Store, clock: Clock, key: str, settle: Settle = SETTLE) -> None:
    await receive(store, clock, change(key), settle=settle)


async def due_in_s(store: Store, clock: Clock) -> float:
    """Return in how many seconds the one open delivery is due."""
    (row,) = [row for row in await rows(store, deliveries) if row["closed_at"] is None]
    seconds: float = (row["due_at"] - clock()).total_seconds()
    return seconds


async def test_without_settling_a_change_is_due_at_once_however_many_came_before(store: Store, clock: Clock) -> None:
    first = clock()
    for key in "abc":
        await told(store, clock, key, AT_ONCE)
        (row,) = await rows(store, deliveries)
        assert row["due_at"] == first, "its place in the line is that of the first"
        clock.advance(1)
    assert len(await claim(store, clock)) == 1


async def test_a_change_waits_for_its_window(store: Store, clock: Clock) -> None:
    await told(store, clock, "a")
    assert await due_in_s(store, clock) == WINDOW_S
    clock.advance(WINDOW_S - 0.000001)
    assert await claim(store, clock) == []
    clock.advance(0.000001)
    assert len(await claim(store, clock)) == 1


async def test_each_change_puts_the_delivery_off_but_never_past_the_longest(store: Store, clock: Clock) -> None:
    waits = []
    for number in range(8):
        await told(store, clock, f"d1f0-{number}")
        waits.append(await due_in_s(store, clock))
        clock.advance(1.5)
    # The last two came 9 and 10.5 s after the first.
    assert waits == [2, 2, 2, 2, 2, 2, 1, -0.5]
    assert len(await pending_ids(store, await claim_one(store, clock))) == 8


async def test_a_request_with_many_changes_of_a_contact_waits_once(store: Store, clock: Clock) -> None:
    await receive(store, clock, *(change(f"d1f0-{number}") for number in range(50)), settle=SETTLE)
    assert await due_in_s(store, clock) == WINDOW_S


async def test_a_change_that_is_known_already_puts_nothing_off(store: Store, clock: Clock) -> None:
    """A CRM that repeats itself could otherwise keep a change back."""
    await told(store, clock, "a")
    clock.advance(1)
    receipt = await store.intake.append(arrival(change("a"), at=clock(), settle=SETTLE))
    assert (receipt.duplicates, await due_in_s(store, clock)) == (1, WINDOW_S - 1)


async def test_another_contact_s_change_puts_nothing_off(store: Store, clock: Clock) -> None:
    await told(store, clock, "a")
    clock.advance(1)
    await receive(store, clock, change("b", "982"), settle=SETTLE)
    due = {row["object_id"]: (row["due_at"] - clock()).total_seconds() for row in await rows(store, deliveries)}
    assert due == {PERSON: WINDOW_S - 1, "982": WINDOW_S}


async def test_a_change_during_a_try_settles_anew(store: Store, clock: Clock) -> None:
    """What went out is over; the window and the longest wait of the next patch begin with its own first change."""
    await told(store, clock, "a")
    clock.advance(WINDOW_S)
    delivery = await claim_one(store, clock)
    waiting = await pending_ids(store, delivery)
    clock.advance(0.5)
    await told(store, clock, "b")
    clock.advance(0.5)
    assert await store.deliveries.record(delivery, conclusion(clock, ends(*waiting)), now=clock())
    assert await due_in_s(store, clock) == WINDOW_S - 0.5
    waits = []
    for number in range(6):
        clock.advance(1.75)
        await told(store, clock, f"d1f0-{number}")
        waits.append(await due_in_s(store, clock))
    # The longest is reached 10 s after b, which came half a second before the first of them could.
    assert waits == [2, 2, 2, 2, 0.75, -1]


async def test_a_try_that_lasts_longer_than_the_window_leaves_what_came_meanwhile_due(
    store: Store, clock: Clock
) -> None:
    await told(store, clock, "a", AT_ONCE)
    delivery = await claim_one(store, clock)
    waiting = await pending_ids(store, delivery)
    await told(store, clock, "b")
    clock.advance(WINDOW_S + 5)
    await store.deliveries.record(delivery, conclusion(clock, ends(*waiting)), now=clock())
    assert await due_in_s(store, clock) == 0


@pytest.mark.parametrize("settle", [SETTLE, AT_ONCE])
async def test_a_failed_delivery_keeps_the_time_of_its_next_try(store: Store, clock: Clock, settle: Settle) -> None:
    await told(store, clock, "a", settle)
    clock.advance(WINDOW_S)
    delivery = await claim_one(store, clock)
    failed = Verdict(Next.RETRY, "unreachable", due_at=clock.after(60))
    await store.deliveries.record(
        delivery, conclusion(clock, kind=OutcomeKind.UNREACHABLE, verdict=failed), now=clock()
    )
    for key in "bc":
        await told(store, clock, key, settle)
        assert await due_in_s(store, clock) == 60
    clock.advance(60)
    retried = await claim_one(store, clock)
    assert len(await pending_ids(store, retried)) == 3


async def test_a_change_during_a_try_that_fails_waits_for_the_next_try_too(store: Store, clock: Clock) -> None:
    await told(store, clock, "a", AT_ONCE)
    delivery = await claim_one(store, clock)
    await told(store, clock, "b")
    failed = Verdict(Next.RETRY, "unreachable", due_at=clock.after(60))
    await store.deliveries.record(
        delivery, conclusion(clock, kind=OutcomeKind.UNREACHABLE, verdict=failed), now=clock()
    )
    assert await due_in_s(store, clock) == 60


async def known_contact(store: Store, clock: Clock) -> None:
    await told(store, clock, "known", AT_ONCE)
    delivery = await claim_one(store, clock)
    await hold(store, clock, delivery, "title")
    coo = Confirmed("COO", (41, 41), 41)
    await finish(store, clock, delivery, link=Link(ADA, "email in email"), confirmed={"title": coo})


@pytest.mark.parametrize(("settle", "due_s"), [(SETTLE, WINDOW_S), (AT_ONCE, 0.0)])
async def test_a_change_does_not_wait_for_the_time_of_a_doubt(
    store: Store, clock: Clock, settle: Settle, due_s: float
) -> None:
    """A value to be sent again is in no hurry; what a CRM sends now is."""
    await known_contact(store, clock)
    record, doubt = CrmRecord(ACCOUNT, SOURCE, PERSON), Doubt(clock.after(30), {"title": Carried("CFO", (40, 40))})
    await store.contacts.doubt(record, ADA, doubt, now=clock())
    assert await due_in_s(store, clock) == 30
    await told(store, clock, "a", settle)
    assert await due_in_s(store, clock) == due_s


async def test_a_doubt_that_is_due_soon_does_not_cut_a_window_short_for_long(store: Store, clock: Clock) -> None:
    await known_contact(store, clock)
    await told(store, clock, "a")
    record, doubt = CrmRecord(ACCOUNT, SOURCE, PERSON), Doubt(clock.after(30), {"title": Carried("CFO", (40, 40))})
    await store.contacts.doubt(record, ADA, doubt, now=clock())
    assert await due_in_s(store, clock) == WINDOW_S


async def test_a_change_that_joins_a_replay_settles_and_is_no_longer_behind(store: Store, clock: Clock) -> None:
    await told(store, clock, "a", AT_ONCE)
    await bury(store, clock, await claim_one(store, clock))
    await store.replays.batch(Selection(), now=clock())
    await told(store, clock, "b")
    (row,) = [row for row in await rows(store, deliveries) if row["closed_at"] is None]
    assert (row["priority"], await due_in_s(store, clock)) == (Priority.LIVE, WINDOW_S)


async def test_a_source_that_no_longer_settles_is_due_at_once(store: Store, clock: Clock) -> None:
    """The configuration was changed while something waited."""
    await told(store, clock, "a")
    clock.advance(0.5)
    await told(store, clock, "b", AT_ONCE)
    assert await due_in_s(store, clock) == 0


async def test_two_sources_in_one_commit_each_settle_as_they_are_told_to(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a"), settle=SETTLE)
    await receive(store, clock, change("a"), source="hubspot")
    due = {row["source"]: (row["due_at"] - clock()).total_seconds() for row in await rows(store, deliveries)}
    assert due == {"pipedrive": WINDOW_S, "hubspot": 0}


SERIAL = iter(range(10**9))


@given(
    window_s=st.integers(0, 5),
    more_s=st.integers(0, 20),
    gaps=st.lists(st.integers(0, 6), min_size=1, max_size=12),
)
@settings(
    max_examples=25,
    deadline=None,  # a commit takes what the disk takes
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # every example brings its own record
)
async def test_whatever_comes_the_delivery_is_due_within_the_longest_of_its_first_change(
    store: Store, clock: Clock, window_s: int, more_s: int, gaps: list[int]
) -> None:
    settle = Settle(timedelta(seconds=window_s), timedelta(seconds=window_s + more_s))
    record = str(next(SERIAL))
    first = clock()
    for gap in gaps:
        clock.advance(gap)
        await receive(store, clock, change(f"d1f0-{next(SERIAL)}", record), settle=settle)
        (row,) = [row for row in await rows(store, deliveries) if row["object_id"] == record]
        assert row["due_at"] <= first + timedelta(seconds=gaps[0]) + settle.longest
        assert row["due_at"] <= clock() + settle.window
        wished = min(clock() + settle.window, first + timedelta(seconds=gaps[0]) + settle.longest)
        assert row["due_at"] == wished


BURST = Settle(timedelta(seconds=1), timedelta(seconds=4))


async def in_a_burst(store: Store, clock: Clock, settle: Settle = AT_ONCE) -> None:
    """A change came while the first one's PATCH was under way."""
    await told(store, clock, "a", settle)
    clock.advance(settle.window.total_seconds())
    delivery = await claim_one(store, clock)
    waiting = await pending_ids(store, delivery)
    await told(store, clock, "b", settle)
    done = conclusion(clock, ends(*waiting), settle=BURST)
    assert await store.deliveries.record(delivery, done, now=clock())


async def test_a_contact_that_changed_during_its_own_patch_waits_until_it_is_quiet(store: Store, clock: Clock) -> None:
    """Ten thousand changes of a hundred contacts must not become a PATCH for each time that its turn comes."""
    await in_a_burst(store, clock)
    assert await due_in_s(store, clock) == 1
    waits = []
    for number in range(6):
        clock.advance(0.75)
        await told(store, clock, f"d1f0-{number}", AT_ONCE)
        waits.append(await due_in_s(store, clock))
    assert waits == [1, 1, 1, 1, 0.25, -0.5], "and not past the longest"
    delivery = await claim_one(store, clock)
    assert len(await pending_ids(store, delivery)) == 7, "the last change is among them"


async def test_after_a_burst_the_next_change_goes_out_at_once(store: Store, clock: Clock) -> None:
    await in_a_burst(store, clock)
    clock.advance(1)
    delivery = await claim_one(store, clock)
    done = conclusion(clock, ends(*await pending_ids(store, delivery)), settle=BURST)
    assert await store.deliveries.record(delivery, done, now=clock())
    await told(store, clock, "c", AT_ONCE)
    assert await due_in_s(store, clock) == 0


async def test_a_burst_of_a_source_that_settles_waits_the_longer_of_both(store: Store, clock: Clock) -> None:
    await in_a_burst(store, clock, SETTLE)
    assert await due_in_s(store, clock) == WINDOW_S
    clock.advance(1)
    await told(store, clock, "c", SETTLE)
    assert await due_in_s(store, clock) == WINDOW_S
