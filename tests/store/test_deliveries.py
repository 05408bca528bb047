"""Claims: each delivery to one holder at a time, in order, and only of accounts that may be called."""

import asyncio

import pytest
from sqlalchemy import text, update

from service.model import Delivery, Next, OutcomeKind, Verdict
from service.schema import accounts, attempts, contacts, deliveries
from service.store import Store
from service.store.deliveries import EVENTS_PER_TRY_MAX
from tests.support.clock import Clock
from tests.support.log import (
    ACCOUNT,
    ADA,
    LEASE_S,
    PERSON,
    SOURCE,
    by_hand,
    change,
    claim,
    claim_one,
    conclusion,
    finish,
    hold,
    pending_ids,
    receive,
    rows,
)

pytestmark = pytest.mark.anyio


async def people(store: Store, clock: Clock, count: int) -> None:
    await receive(store, clock, *(change(f"d1f0-{number}", str(number)) for number in range(count)))


async def test_a_claimed_delivery_is_leased_to_its_owner(store: Store, clock: Clock) -> None:
    await receive(store, clock, change())
    (delivery,) = await claim(store, clock, owner="replica-a")
    assert delivery == Delivery(delivery.id, ACCOUNT, SOURCE, PERSON, 0, None, relinked=False, fence=1)
    (row,) = await rows(store, deliveries)
    assert (row["state"], row["lease_owner"], row["lease_until"]) == ("leased", "replica-a", clock.after(LEASE_S))
    assert await claim(store, clock, owner="replica-b") == []


async def test_a_contact_has_one_open_delivery_and_its_duty_goes_on_after_it_closed(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("d1f0-1"))
    await receive(store, clock, change("d1f0-2"))
    await finish(store, clock, await claim_one(store, clock))
    await receive(store, clock, change("d1f0-3"))
    assert [row["state"] for row in await rows(store, deliveries)] == ["delivered", "pending"]


async def test_claims_come_by_priority_then_due_time_then_age(store: Store, clock: Clock) -> None:
    await people(store, clock, 6)
    for object_id, (priority, due_s) in enumerate([(1, -60), (0, -1), (0, -30), (0, -1), (0, 1), (1, -90)]):
        here = update(deliveries).where(deliveries.c.object_id == str(object_id))
        await by_hand(store, here.values(priority=priority, due_at=clock.after(due_s)))
    first = await claim(store, clock, limit=3)
    then = await claim(store, clock, limit=9)
    assert [one.object_id for one in first] == ["2", "1", "3"]
    assert [one.object_id for one in then] == ["5", "0"]


@pytest.mark.parametrize("limit", [1, 3, 7])
async def test_a_claim_keeps_to_its_limit(store: Store, clock: Clock, limit: int) -> None:
    await people(store, clock, 20)
    assert len(await claim(store, clock, limit=limit)) == limit
    assert sum(row["state"] == "leased" for row in await rows(store, deliveries)) == limit


async def test_a_claim_keeps_to_its_limit_however_the_planner_joins(postgres_url: str, clock: Clock) -> None:
    """PostgreSQL may run a locking subquery once a row: each run then locks other rows than the one before."""
    store = Store(postgres_url)
    try:
        await store.migrate()
        await people(store, clock, 50)
        name = postgres_url.rpartition("/")[2].partition("?")[0]
        for setting in ("enable_hashjoin", "enable_mergejoin", "enable_hashagg", "enable_sort", "enable_material"):
            await by_hand(store, text(f"ALTER DATABASE {name} SET {setting} = off"))
        await store._database._engine.close()
        assert len(await claim(store, clock, limit=5)) == 5
    finally:
        await store.close()


async def test_concurrent_claims_never_hand_out_one_delivery_twice(
    store: Store, other_store: Store, clock: Clock
) -> None:
    await people(store, clock, 120)
    taken: list[Delivery] = []

    async def take(replica: Store, owner: str) -> None:
        while claimed := await claim(replica, clock, limit=4, owner=owner):
            taken.extend(claimed)

    await asyncio.gather(
        *(take(store, f"a{number}") for number in range(8)), *(take(other_store, f"b{number}") for number in range(8))
    )
    # A claim may skip what another is about to give back, so ask once more.
    await take(store, "last")
    assert sorted(int(one.object_id) for one in taken) == list(range(120))


async def test_claims_and_arrivals_and_conclusions_at_once_leave_nothing_behind(
    store: Store, other_store: Store, clock: Clock
) -> None:
    """The race of a change that arrives while its contact's delivery is closing, a few hundred times."""

    async def arrive(replica: Store, prefix: str) -> None:
        for number in range(40):
            await receive(replica, clock, change(f"{prefix}-{number}", str(number % 3)))

    async def deliver(replica: Store) -> None:
        for _ in range(40):
            for delivery in await claim(replica, clock, limit=2):
                await finish(replica, clock, delivery)

    await asyncio.gather(arrive(store, "a"), arrive(other_store, "b"), deliver(store), deliver(other_store))
    while claimed := await claim(store, clock):
        for delivery in claimed:
            await finish(store, clock, delivery)
    assert await store.ledger.counts() == {"delivered": 80}
    assert (await store.ledger.audit()).findings == ()


async def test_a_paused_account_is_not_claimed(store: Store, clock: Clock) -> None:
    await receive(store, clock, change())
    await by_hand(store, update(accounts).values(paused_at=clock(), paused_reason="account refused (401)"))
    assert await claim(store, clock) == []
    await store.accounts.resume(ACCOUNT)
    assert len(await claim(store, clock)) == 1


async def test_a_slowed_account_is_claimed_again_once_that_is_over(store: Store, clock: Clock) -> None:
    await receive(store, clock, change())
    await by_hand(store, update(accounts).values(slowed_until=clock.after(30)))
    clock.advance(29.999)
    assert await claim(store, clock) == []
    clock.advance(0.001)
    assert len(await claim(store, clock)) == 1


async def test_another_account_is_claimed_apart(store: Store, clock: Clock) -> None:
    await receive(store, clock, change())
    await by_hand(store, update(deliveries).values(account="emea"), update(accounts).values(paused_at=clock()))
    assert await claim(store, clock) == []
    others = await store.deliveries.claim(
        account="emea", owner="replica-a", now=clock(), lease_until=clock.after(60), limit=5
    )
    assert [one.account for one in others] == ["emea"]


async def test_the_next_due_time_is_that_of_the_earliest_pending_delivery(store: Store, clock: Clock) -> None:
    assert await store.deliveries.next_due(ACCOUNT) is None
    await people(store, clock, 2)
    await by_hand(store, update(deliveries).where(deliveries.c.object_id == "1").values(due_at=clock.after(90)))
    assert await store.deliveries.next_due(ACCOUNT) == clock()
    await claim(store, clock)
    assert await store.deliveries.next_due(ACCOUNT) == clock.after(90)


async def test_a_released_delivery_is_due_again_untried(store: Store, clock: Clock) -> None:
    await receive(store, clock, change())
    delivery = await claim_one(store, clock)
    await hold(store, clock, delivery, "title")
    await store.deliveries.release(delivery, due_at=clock.after(5))
    (row,) = await rows(store, deliveries)
    assert (row["state"], row["lease_owner"], row["lease_until"], row["attempts"]) == ("pending", None, None, 0)
    assert row["due_at"] == clock.after(5)
    assert await rows(store, attempts) == []
    (contact,) = await rows(store, contacts)
    assert (contact["held_by"], contact["intent"]) == (None, None)


async def test_a_release_after_the_lease_was_lost_changes_nothing(store: Store, clock: Clock) -> None:
    """The contact is now held for another try of the same delivery: letting it go would allow two PATCHes at once."""
    await receive(store, clock, change())
    stale = await claim_one(store, clock)
    clock.advance(LEASE_S)
    await store.deliveries.reclaim(now=clock())
    current = await claim_one(store, clock)
    await hold(store, clock, current, "title")
    before = (await rows(store, deliveries), await rows(store, contacts))
    await store.deliveries.release(stale, due_at=clock.after(5))
    assert (await rows(store, deliveries), await rows(store, contacts)) == before


async def test_an_expired_lease_is_taken_back_as_an_attempt_of_unknown_outcome(store: Store, clock: Clock) -> None:
    await receive(store, clock, change())
    delivery = await claim_one(store, clock)
    await hold(store, clock, delivery, "title", "email")
    clock.advance(LEASE_S - 0.001)
    assert await store.deliveries.reclaim(now=clock()) == 0
    clock.advance(0.001)
    assert await store.deliveries.reclaim(now=clock()) == 1
    (attempt,) = await rows(store, attempts)
    assert (attempt["outcome"], attempt["delivery_id"], attempt["started_at"]) == ("unknown", delivery.id, clock())
    assert (attempt["contact_uuid"], attempt["fields"]) == (ADA, '["title","email"]')
    (row,) = await rows(store, deliveries)
    assert (row["state"], row["due_at"], row["lease_until"], row["outcome"]) == ("pending", clock(), None, "unknown")
    (contact,) = await rows(store, contacts)
    assert (contact["held_by"], contact["held_until"], contact["intent"]) == (
        None,
        None,
        '{"title":["as sent",1,1],"email":["as sent",1,1]}',
    )
    assert (await claim_one(store, clock)).fence == delivery.fence + 1


async def test_an_expired_lease_that_held_no_contact_names_none(store: Store, clock: Clock) -> None:
    """Nothing can have been sent: the contact is held before the PATCH."""
    await receive(store, clock, change("d1f0-1"))
    first = await claim_one(store, clock)
    await receive(store, clock, change("d1f0-2"))
    waiting = (await pending_ids(store, first))[:1]
    await store.deliveries.record(first, conclusion(clock, []), now=clock())
    assert waiting
    await claim_one(store, clock)
    clock.advance(LEASE_S)
    await store.deliveries.reclaim(now=clock())
    *_, attempt = await rows(store, attempts)
    assert (attempt["outcome"], attempt["contact_uuid"], attempt["fields"]) == ("unknown", None, "[]")


async def test_the_only_service_takes_every_lease_back_when_it_starts(store: Store, clock: Clock) -> None:
    await people(store, clock, 3)
    await claim(store, clock, limit=2)
    assert await store.deliveries.reclaim(now=clock()) == 0
    assert await store.deliveries.reclaim(now=clock(), everything=True) == 2
    assert len(await claim(store, clock)) == 3


async def test_leases_are_taken_back_once_when_replicas_look_at_the_same_time(
    store: Store, other_store: Store, clock: Clock
) -> None:
    await people(store, clock, 30)
    await claim(store, clock, limit=30)
    clock.advance(LEASE_S)
    counts = await asyncio.gather(*(one.deliveries.reclaim(now=clock()) for one in (store, other_store) * 3))
    assert sum(counts) == 30
    assert len(await rows(store, attempts)) == 30


async def test_a_try_takes_up_a_bounded_number_of_events_and_the_rest_keep_it_open(store: Store, clock: Clock) -> None:
    keys = [f"d1f0-{number}" for number in range(EVENTS_PER_TRY_MAX + 2)]
    for start in range(0, len(keys), 500):
        await receive(store, clock, *(change(key) for key in keys[start : start + 500]))
    delivery = await claim_one(store, clock)
    waiting = (await store.deliveries.pending(delivery)).events
    assert [event.change.dedup_key for event in waiting] == keys[:EVENTS_PER_TRY_MAX]
    assert await finish(store, clock, delivery)
    again = await claim_one(store, clock)
    assert again.id == delivery.id
    assert len(await pending_ids(store, again)) == 2
    await finish(store, clock, again)
    assert [row["state"] for row in await rows(store, deliveries)] == ["delivered"]


async def test_an_unknown_outcome_is_due_when_its_verdict_says(store: Store, clock: Clock) -> None:
    await receive(store, clock, change())
    again = Verdict(Next.RETRY, "unknown: ReadTimeout", due_at=clock.after(2))
    late = conclusion(clock, kind=OutcomeKind.UNKNOWN, verdict=again)
    await store.deliveries.record(await claim_one(store, clock), late, now=clock())
    assert await claim(store, clock) == []
    clock.advance(2)
    retried = await claim_one(store, clock)
    assert (retried.attempts, retried.failing_since) == (1, clock.after(-2))
