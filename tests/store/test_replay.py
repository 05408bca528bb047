"""Replay: what ended is owed again, once, and behind what CRMs send now."""

import asyncio

import pytest

from service.errors import NotFound
from service.model import Disposition, EventState, Next, OutcomeKind, Priority, Verdict
from service.schema import deliveries, events
from service.store import Store
from service.store.replay import Batch, Selection
from tests.support.clock import Clock
from tests.support.log import (
    bury,
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


async def letter(store: Store, clock: Clock, *keys: str) -> int:
    """Make a dead letter of changes with these keys, and return its id."""
    await receive(store, clock, *(change(key) for key in keys))
    delivery = await claim_one(store, clock)
    await bury(store, clock, delivery)
    return delivery.id


async def replay(store: Store, clock: Clock, *letters: int) -> Batch:
    """Replay dead letters."""
    return await store.replays.batch(Selection(letters=letters), now=clock())


async def test_a_replay_opens_a_delivery_behind_what_crms_send_now(store: Store, clock: Clock) -> None:
    dead_id = await letter(store, clock, "a", "b")
    clock.advance(3600)
    assert await replay(store, clock, dead_id) == Batch(events=2, contacts=1, unreadable=0, last_id=None)
    old, new = await rows(store, deliveries)
    assert (new["state"], new["priority"], new["due_at"], new["changes"]) == ("pending", Priority.REPLAY, clock(), 2)
    assert (old["state"], old["reason"], old["closed_at"]) == ("skipped", "replayed", clock())
    for event in await rows(store, events):
        assert event["state"] == "pending"
        assert event["reason"] is event["decided_at"] is event["delivery_id"] is event["attempt_id"] is None
        assert event["replay_version"] is None
    assert (await store.ledger.audit()).findings == ()
    assert await finish(store, clock, await claim_one(store, clock))
    assert await store.ledger.counts() == {"delivered": 2}


async def test_a_replay_and_an_import_are_told_from_what_a_crm_sends_now(store: Store, clock: Clock) -> None:
    """In one delivery too: what is old must not pass for what the CRM says today."""
    await receive(store, clock, change("a"))
    delivery = await claim_one(store, clock)
    dead = [Disposition(event_id, EventState.DEAD, "rejected (422)") for event_id in await pending_ids(store, delivery)]
    verdict = Verdict(Next.DEAD, "rejected (422)")
    await store.deliveries.record(
        delivery, conclusion(clock, dead, verdict=verdict, config_version="0f3a9c51e0b2"), now=clock()
    )
    await receive(store, clock, change("b"), change("import:4f52a7e9"))
    await replay(store, clock, delivery.id)
    owed = await store.deliveries.pending(await claim_one(store, clock))
    assert {event.change.dedup_key: (event.replayed, event.live) for event in owed.events} == {
        "a": (True, False),
        "b": (False, True),
        "import:4f52a7e9": (False, False),
    }


async def test_a_replay_joins_the_open_delivery_of_its_contact(store: Store, clock: Clock) -> None:
    dead_id = await letter(store, clock, "a")
    await receive(store, clock, change("b"))
    await replay(store, clock, dead_id)
    _, joined = await rows(store, deliveries)
    assert (joined["changes"], joined["priority"]) == (2, Priority.LIVE)
    delivery = await claim_one(store, clock)
    assert delivery.id == joined["id"]
    assert len(await pending_ids(store, delivery)) == 2


async def test_a_replay_during_a_try_keeps_the_delivery_open(store: Store, clock: Clock) -> None:
    dead_id = await letter(store, clock, "a")
    await receive(store, clock, change("b"))
    delivery = await claim_one(store, clock)
    waiting = await pending_ids(store, delivery)
    await replay(store, clock, dead_id)
    await store.deliveries.record(delivery, conclusion(clock, ends(*waiting)), now=clock())
    assert await store.ledger.counts() == {"delivered": 1, "pending": 1}
    assert (await claim_one(store, clock)).id == delivery.id
    assert (await store.ledger.audit()).findings == ()


async def test_a_replay_does_not_hasten_what_waits_for_its_next_try(store: Store, clock: Clock) -> None:
    """Whatever failed would fail again; what merely waits for others is due with the replay."""
    dead_id = await letter(store, clock, "a")
    await receive(store, clock, change("b"))
    failed = Verdict(Next.RETRY, "unreachable", due_at=clock.after(600))
    again = conclusion(clock, kind=OutcomeKind.UNREACHABLE, verdict=failed)
    await store.deliveries.record(await claim_one(store, clock), again, now=clock())
    await replay(store, clock, dead_id)
    assert [row["due_at"] for row in await rows(store, deliveries)][1] == clock.after(600)


async def test_the_letter_of_a_good_delivery_is_replayed_without_its_others(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a"), change("b"))
    delivery = await claim_one(store, clock)
    good, bad = await pending_ids(store, delivery)
    mixed = [*ends(good), *ends(bad, state=EventState.DEAD, reason="cannot be mapped")]
    await store.deliveries.record(delivery, conclusion(clock, mixed), now=clock())
    (dead,) = await store.ledger.deliveries(state="dead")
    assert (await replay(store, clock, dead["id"])).events == 1
    assert await store.ledger.counts() == {"delivered": 1, "pending": 1}


async def test_only_a_dead_letter_can_be_replayed_and_only_once(store: Store, clock: Clock) -> None:
    with pytest.raises(NotFound):
        await replay(store, clock, 1)
    dead_id = await letter(store, clock, "a")
    await replay(store, clock, dead_id)
    with pytest.raises(NotFound, match=f"delivery {dead_id} is not a dead letter"):
        await replay(store, clock, dead_id)
    (open_one,) = await store.ledger.deliveries(state="pending")
    with pytest.raises(NotFound):
        await replay(store, clock, open_one["id"])


async def test_of_letters_that_are_not_all_dead_none_is_replayed(store: Store, clock: Clock) -> None:
    dead_id = await letter(store, clock, "a")
    with pytest.raises(NotFound, match=f"delivery {dead_id + 1} is not a dead letter"):
        await replay(store, clock, dead_id, dead_id + 1)
    assert await store.ledger.counts() == {"dead": 1}


async def test_of_two_that_replay_at_once_one_does_it(store: Store, other_store: Store, clock: Clock) -> None:
    dead_id = await letter(store, clock, "a", "b")
    done = await asyncio.gather(*(replay(one, clock, dead_id) for one in (store, other_store)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in done) == ["Batch", "NotFound"]
    (delivery,) = await claim(store, clock)
    assert len(await pending_ids(store, delivery)) == 2


async def test_of_two_that_replay_the_same_changes_at_once_one_does_it(
    store: Store, other_store: Store, clock: Clock
) -> None:
    await letter(store, clock, "a", "b")
    done = await asyncio.gather(*(one.replays.batch(ALL, now=clock()) for one in (store, other_store)))
    assert sorted(batch.events for batch in done) == [0, 2]
    assert [row["changes"] for row in await rows(store, deliveries)][-1] == 2
