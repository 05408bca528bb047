"""The log as an operator reads it."""

import pytest
from sqlalchemy import update

from service.errors import NotFound
from service.model import Action, EventState
from service.schema import requests
from service.store import Store
from service.store.ledger import PAGE_MAX, Backlog
from tests.support.clock import Clock
from tests.support.log import (
    PERSON,
    SOURCE,
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

CANARY = "ada@northwind.example"


async def test_events_are_listed_newest_first_without_their_payload(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a", values={"email": CANARY}), change("b", "982"))
    listed = await store.ledger.events()
    assert [line["dedup_key"] for line in listed] == ["b", "a"]
    assert "change" not in listed[0]
    assert CANARY not in repr(listed)
    assert listed[0]["received_at"] == clock()


async def test_events_are_filtered_by_what_is_asked_for(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a"), change("b", "982"), change("c", ignored="deleted", action=Action.DELETED))
    await receive(store, clock, change("d"), source="hubspot")

    async def listed(**filters: str) -> list[str]:
        return [line["dedup_key"] for line in await store.ledger.events(**filters)]  # type: ignore[arg-type]  # text

    assert await listed(source=SOURCE) == ["c", "b", "a"]
    assert await listed(source=SOURCE, object_id=PERSON) == ["c", "a"]
    assert await listed(state="ignored") == ["c"]
    assert await listed(object_id=PERSON, state="pending") == ["d", "a"]
    assert await listed(source="attio") == []


async def test_deliveries_are_listed_and_filtered(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a"), change("b", "982"))
    await receive(store, clock, change("c"), source="hubspot")
    for delivery in await claim(store, clock):
        if delivery.source == "hubspot":
            await bury(store, clock, delivery)
    assert [line["object_id"] for line in await store.ledger.deliveries()] == [PERSON, "982", PERSON]
    assert [line["state"] for line in await store.ledger.deliveries(source=SOURCE)] == ["leased", "leased"]
    assert [line["source"] for line in await store.ledger.deliveries(state="dead")] == ["hubspot"]


async def test_lists_keep_to_their_limits(store: Store, clock: Clock) -> None:
    for start in range(0, PAGE_MAX + 5, 500):
        await receive(store, clock, *(change(f"d1f0-{number}") for number in range(start, start + 500)))
    assert len(await store.ledger.events(limit=3)) == 3
    assert len(await store.ledger.events()) == 50
    assert len(await store.ledger.events(limit=10**9)) == PAGE_MAX
    for limit in (0, -1):
        assert await store.ledger.events(limit=limit) == []
        assert await store.ledger.deliveries(limit=limit) == []
        told = await store.ledger.story(PERSON, source=SOURCE, limit=limit)
        assert told.events == ()
    told = await store.ledger.story(PERSON, source=SOURCE, limit=10**9)
    assert len(told.events) == PAGE_MAX


async def test_the_request_of_an_event_that_is_not_there_is_not_found(store: Store, clock: Clock) -> None:
    with pytest.raises(NotFound):
        await store.ledger.request_of(1)
    await receive(store, clock, change())
    (event,) = await store.ledger.events()
    assert (await store.ledger.request_of(event["id"])).method == "POST"
    await by_hand(store, update(requests).values(raw=None))
    with pytest.raises(NotFound):
        await store.ledger.request_of(event["id"])


async def test_the_backlog_counts_what_waits_and_says_since_when(store: Store, clock: Clock) -> None:
    assert await store.ledger.backlog() == Backlog(0, 0, 0, None)
    since = clock()
    await receive(store, clock, *(change(str(number), str(number)) for number in range(4)))
    first, second, _ = await claim(store, clock, limit=3)
    await bury(store, clock, first)
    await finish(store, clock, second)
    clock.advance(30)
    assert await store.ledger.backlog() == Backlog(pending=1, leased=1, dead=1, oldest_pending_at=since)


async def test_a_contact_that_changes_all_the_time_is_no_old_backlog(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("0"))
    for number in range(1, 4):
        delivery = await claim_one(store, clock)
        waiting = await pending_ids(store, delivery)
        arrived = clock.advance(3600)
        await receive(store, clock, change(str(number)))
        await store.deliveries.record(delivery, conclusion(clock, ends(*waiting)), now=clock.advance(1))
        assert (await store.ledger.backlog()).oldest_pending_at == arrived


async def test_events_are_counted_by_state(store: Store, clock: Clock) -> None:
    assert await store.ledger.counts() == {}
    await receive(store, clock, change("a"), change("b"), change("c", ignored="deleted in the CRM"))
    delivery = await claim_one(store, clock)
    first, second = await pending_ids(store, delivery)
    mixed = [*ends(first, state=EventState.UNCHANGED), *ends(second)]
    await store.deliveries.record(delivery, conclusion(clock, mixed), now=clock())
    await receive(store, clock, change("d"))
    assert await store.ledger.counts() == {"ignored": 1, "unchanged": 1, "delivered": 1, "pending": 1}


async def test_a_store_that_can_be_written_says_so(store: Store) -> None:
    await store.check()
    assert await store.ledger.source_marks() == []
    assert await store.ledger.ignored_attributes() == []
    assert await rows(store, requests) == []
    assert store.embedded == (store.engine == "sqlite")
