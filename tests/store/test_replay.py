"""Replay: a dead letter's events are owed again."""

import asyncio

import pytest

from service.errors import NotFound
from service.model import EventState
from service.schema import deliveries, events
from service.store import Store
from service.store.replay import PRIORITY, Replayed
from tests.support.clock import Clock
from tests.support.log import bury, change, claim, claim_one, conclusion, ends, finish, pending_ids, receive, rows

pytestmark = pytest.mark.anyio


async def letter(store: Store, clock: Clock, *keys: str) -> int:
    """Make a dead letter of changes with these keys, and return its id."""
    await receive(store, clock, *(change(key) for key in keys))
    delivery = await claim_one(store, clock)
    await bury(store, clock, delivery)
    return delivery.id


async def test_a_replay_opens_a_delivery_behind_what_crms_send_now(store: Store, clock: Clock) -> None:
    dead_id = await letter(store, clock, "a", "b")
    clock.advance(3600)
    replayed = await store.ledger.replay(dead_id, now=clock())
    old, new = await rows(store, deliveries)
    assert replayed == Replayed(events=2, delivery_id=new["id"])
    assert (new["state"], new["priority"], new["due_at"], new["changes"]) == ("pending", PRIORITY, clock(), 2)
    assert (old["state"], old["reason"]) == ("skipped", f"replayed as delivery {new['id']}")
    for event in await rows(store, events):
        assert event["state"] == "pending"
        assert event["reason"] is event["decided_at"] is event["delivery_id"] is event["attempt_id"] is None
    assert await store.ledger.audit() == []
    assert await finish(store, clock, await claim_one(store, clock))
    assert await store.ledger.counts() == {"delivered": 2}


async def test_a_replay_joins_the_open_delivery_of_its_contact(store: Store, clock: Clock) -> None:
    dead_id = await letter(store, clock, "a")
    await receive(store, clock, change("b"))
    replayed = await store.ledger.replay(dead_id, now=clock())
    _, joined = await rows(store, deliveries)
    assert (replayed.delivery_id, joined["changes"], joined["priority"]) == (joined["id"], 2, 0)
    delivery = await claim_one(store, clock)
    assert len(await pending_ids(store, delivery)) == 2


async def test_a_replay_during_a_try_keeps_the_delivery_open(store: Store, clock: Clock) -> None:
    dead_id = await letter(store, clock, "a")
    await receive(store, clock, change("b"))
    delivery = await claim_one(store, clock)
    waiting = await pending_ids(store, delivery)
    await store.ledger.replay(dead_id, now=clock())
    await store.deliveries.record(delivery, conclusion(clock, ends(*waiting)), now=clock())
    assert await store.ledger.counts() == {"delivered": 1, "pending": 1}
    assert (await claim_one(store, clock)).id == delivery.id
    assert await store.ledger.audit() == []


async def test_the_letter_of_a_good_delivery_is_replayed_without_its_others(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a"), change("b"))
    delivery = await claim_one(store, clock)
    good, bad = await pending_ids(store, delivery)
    mixed = [*ends(good), *ends(bad, state=EventState.DEAD, reason="cannot be mapped")]
    await store.deliveries.record(delivery, conclusion(clock, mixed), now=clock())
    (dead,) = await store.ledger.deliveries(state="dead")
    assert (await store.ledger.replay(dead["id"], now=clock())).events == 1
    assert await store.ledger.counts() == {"delivered": 1, "pending": 1}


async def test_only_a_dead_letter_can_be_replayed_and_only_once(store: Store, clock: Clock) -> None:
    with pytest.raises(NotFound):
        await store.ledger.replay(1, now=clock())
    dead_id = await letter(store, clock, "a")
    await store.ledger.replay(dead_id, now=clock())
    with pytest.raises(NotFound, match=f"delivery {dead_id} is not a dead letter"):
        await store.ledger.replay(dead_id, now=clock())
    (open_one,) = await store.ledger.deliveries(state="pending")
    with pytest.raises(NotFound):
        await store.ledger.replay(open_one["id"], now=clock())


async def test_of_two_that_replay_at_once_one_does_it(store: Store, other_store: Store, clock: Clock) -> None:
    dead_id = await letter(store, clock, "a", "b")
    done = await asyncio.gather(
        *(one.ledger.replay(dead_id, now=clock()) for one in (store, other_store)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in done) == ["NotFound", "Replayed"]
    assert len(await claim(store, clock)) == 1
