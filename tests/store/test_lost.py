"""Lost leases: what ends the process each time is met ever more seldom, and at last waits for a person."""

from datetime import timedelta

import pytest

from service.model import Carried, Confirmed, Delivery, Doubt, Link, Next, OutcomeKind, Priority, Verdict
from service.schema import attempts, contacts, deliveries, events
from service.store import Store
from service.store.lost import LOST_FREE, LOST_MAX, LOST_WAIT, SPREAD
from service.store.opening import CrmRecord
from service.store.replay import Selection
from tests.support.clock import Clock
from tests.support.log import (
    ACCOUNT,
    ADA,
    LEASE_S,
    PERSON,
    SOURCE,
    change,
    claim,
    claim_one,
    conclusion,
    finish,
    hold,
    receive,
    rows,
)

pytestmark = pytest.mark.anyio

LONGEST = LOST_WAIT * 2 ** (LOST_MAX - LOST_FREE)


async def lose(store: Store, clock: Clock, times: int, *, which: int = 0) -> timedelta:
    """Claim a delivery so many times and come back from none; return how long the next claim must wait."""
    for _ in range(times):
        await claim_when_due(store, clock, which=which)
        clock.advance(LEASE_S)
        assert await store.deliveries.reclaim(now=clock()) == 1
    due_at = (await rows(store, deliveries))[which]["due_at"]
    assert due_at >= clock()
    return timedelta(seconds=(due_at - clock()).total_seconds())


async def claim_when_due(store: Store, clock: Clock, *, which: int = 0) -> Delivery:
    due_at = (await rows(store, deliveries))[which]["due_at"]
    clock.now = max(clock(), due_at)
    return await claim_one(store, clock)


async def test_a_restart_is_no_reason_to_wait(store: Store, clock: Clock) -> None:
    await receive(store, clock, change())
    assert await lose(store, clock, LOST_FREE) == timedelta(0)
    (row,) = await rows(store, deliveries)
    assert (row["lost"], row["attempts"], row["state"]) == (LOST_FREE, 0, "pending")


async def test_each_further_lease_lost_in_a_row_doubles_the_wait(store: Store, clock: Clock) -> None:
    await receive(store, clock, change())
    await lose(store, clock, LOST_FREE)
    waits = [await lose(store, clock, 1) for _ in range(LOST_MAX - LOST_FREE - 1)]
    share = (1 % SPREAD + 1) / SPREAD  # of the delivery whose id is 1
    assert waits == [LOST_WAIT * share * 2**number for number in range(len(waits))]
    (row,) = await rows(store, deliveries)
    assert (row["lost"], row["attempts"]) == (LOST_MAX - 1, LOST_MAX - 1 - LOST_FREE)
    assert [attempt["outcome"] for attempt in await rows(store, attempts)] == ["unknown"] * (LOST_MAX - 1)


async def test_those_that_were_lost_together_come_back_apart(store: Store, clock: Clock) -> None:
    """One of them ends the process; met alone, it no longer takes the others along."""
    await receive(store, clock, *(change(str(number), str(number)) for number in range(SPREAD)))
    for _ in range(LOST_FREE + 1):
        assert len(await claim(store, clock)) == SPREAD
        clock.advance(LEASE_S)
        await store.deliveries.reclaim(now=clock())
    due = [row["due_at"] - clock() for row in await rows(store, deliveries)]
    assert len(set(due)) == SPREAD
    assert timedelta(0) < min(due) < max(due) <= LOST_WAIT


async def test_after_ten_in_a_row_it_is_a_dead_letter_with_its_events(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("d1f0-1"), change("d1f0-2"))
    await lose(store, clock, LOST_MAX - 1)
    delivery = await claim_when_due(store, clock)
    await hold(store, clock, delivery, "title")
    await receive(store, clock, change("d1f0-3"))
    clock.advance(LEASE_S)
    assert await store.deliveries.reclaim(now=clock()) == 1
    (row,) = await rows(store, deliveries)
    assert (row["state"], row["outcome"], row["lost"], row["closed_at"]) == ("dead", "unknown", LOST_MAX, clock())
    assert "10 times in a row" in row["reason"]
    assert (row["lease_owner"], row["lease_until"]) == (None, None)
    *_, attempt = await rows(store, attempts)
    assert (attempt["contact_uuid"], attempt["fields"], attempt["detail"]) == (ADA, '["title"]', row["reason"])
    for event in await rows(store, events):
        assert (event["state"], event["reason"], event["decided_at"]) == ("dead", row["reason"], clock())
        assert (event["delivery_id"], event["attempt_id"]) == (delivery.id, attempt["id"])
        assert event["config_version"] is None, "nobody knows what it was mapped by"
    (contact,) = await rows(store, contacts)
    assert contact["held_by"] is None
    assert contact["intent"] is not None, "what it may have sent is still in doubt"
    clock.now += LONGEST
    assert await claim(store, clock) == []
    assert (await store.ledger.audit()).findings == ()


async def test_what_its_contact_is_owed_because_of_a_doubt_outlives_its_events(store: Store, clock: Clock) -> None:
    """They wait for a person; that an older value may land over a confirmed one must not."""
    await receive(store, clock, change("d1f0-1"))
    delivery = await claim_one(store, clock)
    await hold(store, clock, delivery, "title")
    await finish(
        store, clock, delivery, link=Link(ADA, "email in email"), confirmed={"title": Confirmed("COO", (2, 2), 2)}
    )
    await receive(store, clock, change("d1f0-2"))
    await lose(store, clock, LOST_MAX - 1, which=1)
    record = CrmRecord(ACCOUNT, SOURCE, PERSON)
    await store.contacts.doubt(record, ADA, Doubt(clock.after(5), {"title": Carried("CFO", (1, 1))}), now=clock())
    await lose(store, clock, 1, which=1)
    dead, open_one = (await rows(store, deliveries))[1:]
    assert (dead["state"], open_one["state"], open_one["changes"], open_one["lost"]) == ("dead", "pending", 0, 0)
    owed = await store.deliveries.pending(await claim_one(store, clock))
    assert (owed.events, owed.in_doubt) == ((), True)
    assert await store.ledger.counts() == {"delivered": 1, "dead": 1}
    assert (await store.ledger.audit()).findings == ()


async def test_a_change_after_that_begins_anew(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("d1f0-1"))
    await lose(store, clock, LOST_MAX)
    await receive(store, clock, change("d1f0-2"))
    dead, fresh = await rows(store, deliveries)
    assert (dead["state"], fresh["state"], fresh["lost"]) == ("dead", "pending", 0)
    assert await finish(store, clock, await claim_one(store, clock))
    assert await store.ledger.counts() == {"dead": 1, "delivered": 1}


async def test_a_person_may_replay_it_once_it_is_mended(store: Store, clock: Clock) -> None:
    await receive(store, clock, change())
    await lose(store, clock, LOST_MAX)
    assert (await store.replays.batch(Selection(cause=OutcomeKind.UNKNOWN), now=clock())).events == 1
    _, again = await rows(store, deliveries)
    assert (again["lost"], again["priority"]) == (0, Priority.REPLAY)
    assert await finish(store, clock, await claim_one(store, clock))
    assert (await store.ledger.audit()).findings == ()


@pytest.mark.parametrize("ended", [Next.RETRY, Next.RELINK, Next.DONE])
async def test_any_attempt_that_says_what_came_of_it_ends_the_row(store: Store, clock: Clock, ended: Next) -> None:
    await receive(store, clock, change("d1f0-1"))
    await lose(store, clock, LOST_MAX - 1)
    delivery = await claim_when_due(store, clock)
    await receive(store, clock, change("d1f0-2"))
    said = conclusion(clock, verdict=Verdict(ended, "said", due_at=clock()), uuid=None)
    assert await store.deliveries.record(delivery, said, now=clock())
    (row,) = await rows(store, deliveries)
    assert (row["state"], row["lost"]) == ("pending", 0)
    assert await lose(store, clock, 1) == timedelta(0)


async def test_what_is_given_back_is_no_more_suspect_than_before(store: Store, clock: Clock) -> None:
    """A stop gives up what hangs: a service that is restarted every hour must not make a dead letter of it."""
    await receive(store, clock, change())
    for _ in range(LOST_MAX + 1):
        assert await store.deliveries.give_up(await claim_one(store, clock), now=clock())
    (row,) = await rows(store, deliveries)
    assert (row["state"], row["lost"], row["attempts"], row["due_at"]) == ("pending", 0, 0, clock())
    assert [attempt["outcome"] for attempt in await rows(store, attempts)] == ["unknown"] * (LOST_MAX + 1)
    await lose(store, clock, LOST_MAX - 1)
    assert await store.deliveries.give_up(await claim_when_due(store, clock), now=clock())
    (row,) = await rows(store, deliveries)
    assert (row["state"], row["lost"]) == ("pending", LOST_MAX - 1)


async def test_a_lease_that_was_lost_cannot_be_given_back(store: Store, clock: Clock) -> None:
    await receive(store, clock, change())
    stale = await claim_one(store, clock)
    clock.advance(LEASE_S)
    await store.deliveries.reclaim(now=clock())
    before = await rows(store, deliveries)
    assert not await store.deliveries.give_up(stale, now=clock())
    await claim_one(store, clock)
    leased = await rows(store, deliveries)
    assert not await store.deliveries.give_up(stale, now=clock())
    assert await rows(store, deliveries) == leased
    assert before != leased


async def test_what_was_given_back_lets_its_contact_go_and_keeps_its_intent(store: Store, clock: Clock) -> None:
    await receive(store, clock, change())
    delivery = await claim_one(store, clock)
    await hold(store, clock, delivery, "title")
    await store.deliveries.give_up(delivery, now=clock())
    (contact,) = await rows(store, contacts)
    assert (contact["held_by"], contact["held_until"], contact["intent"]) == (None, None, '{"title":["as sent",1,1]}')
    (attempt,) = await rows(store, attempts)
    assert (attempt["contact_uuid"], attempt["fields"]) == (ADA, '["title"]')


async def test_an_intent_of_the_first_release_is_told_by_its_names(store: Store, clock: Clock) -> None:
    await receive(store, clock, change())
    await hold(store, clock, await claim_one(store, clock), "title")
    first = contacts.update().values(intent='["title","phone"]')
    await store._database.write(lambda connection: connection.execute(first).rowcount)
    clock.advance(LEASE_S)
    await store.deliveries.reclaim(now=clock())
    (attempt,) = await rows(store, attempts)
    assert attempt["fields"] == '["title","phone"]'


async def test_what_ends_the_process_keeps_no_version_but_that_of_its_replay(store: Store, clock: Clock) -> None:
    """What it was mapped by before says nothing of the try that ended the process."""
    await receive(store, clock, change("d1f0-1"))
    await finish(store, clock, await claim_one(store, clock), config_version="9f2c1ab04d7e")
    for version, expected in ((None, None), ("0c6d1b7e4f52", "0c6d1b7e4f52")):
        await store.replays.batch(Selection(dead_only=False), version=version, now=clock())
        await lose(store, clock, LOST_MAX, which=-1)
        (event,) = await rows(store, events)
        assert (event["state"], event["config_version"]) == ("dead", expected)
