"""What arrives is in the log once, whole, and owed to its contact."""

import asyncio

import pytest
from sqlalchemy import update

from service.errors import StoreError, StoreUnavailable
from service.model import Action, InboundRequest, Receipt, to_micros
from service.schema import deliveries, events, requests, source_marks
from service.store import Store
from service.store.intake import FUTURE_MAX_S
from tests.support.clock import Clock
from tests.support.log import ACCOUNT, PERSON, SOURCE, arrival, by_hand, change, claim_one, finish, receive, rows

pytestmark = pytest.mark.anyio


async def test_a_new_change_is_logged_and_owed_to_its_contact(store: Store, clock: Clock) -> None:
    receipt = await store.intake.append(arrival(change("d1f0-1"), at=clock()))
    assert receipt == Receipt(accepted=1, duplicates=0)
    (event,) = await rows(store, events)
    assert (event["source"], event["dedup_key"], event["object_id"]) == (SOURCE, "d1f0-1", PERSON)
    assert (event["state"], event["reason"], event["decided_at"]) == ("pending", None, None)
    (delivery,) = await rows(store, deliveries)
    assert (delivery["account"], delivery["source"], delivery["object_id"]) == (ACCOUNT, SOURCE, PERSON)
    assert (delivery["state"], delivery["priority"], delivery["attempts"]) == ("pending", 0, 0)
    assert delivery["due_at"] == delivery["opened_at"] == clock()


async def test_a_redelivered_change_is_a_duplicate_and_leaves_nothing_behind(store: Store, clock: Clock) -> None:
    await store.intake.append(arrival(change("d1f0-1"), at=clock()))
    again = await store.intake.append(arrival(change("d1f0-1"), at=clock.advance(60)))
    assert again == Receipt(accepted=0, duplicates=1)
    assert len(await rows(store, events)) == len(await rows(store, deliveries)) == len(await rows(store, requests)) == 1


async def test_a_change_redelivered_after_its_delivery_opens_no_new_one(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("d1f0-1"))
    await finish(store, clock, await claim_one(store, clock))
    assert (await store.intake.append(arrival(change("d1f0-1"), at=clock()))).duplicates == 1
    assert [row["state"] for row in await rows(store, deliveries)] == ["delivered"]


async def test_a_change_twice_in_one_request_is_taken_once(store: Store, clock: Clock) -> None:
    receipt = await store.intake.append(arrival(change("d1f0-1"), change("d1f0-2"), change("d1f0-1"), at=clock()))
    assert receipt == Receipt(accepted=2, duplicates=1)
    assert [row["dedup_key"] for row in await rows(store, events)] == ["d1f0-1", "d1f0-2"]


async def test_the_same_key_from_another_source_is_another_change(store: Store, clock: Clock) -> None:
    await store.intake.append(arrival(change("1"), at=clock(), source="pipedrive"))
    receipt = await store.intake.append(arrival(change("1"), at=clock(), source="hubspot"))
    assert receipt.accepted == 1
    assert len(await rows(store, deliveries)) == 2


async def test_of_the_same_change_sent_at_once_one_is_new(store: Store, other_store: Store, clock: Clock) -> None:
    """CRMs send a change again while their first call still runs, and a balancer gives it to another replica."""
    receipts = await asyncio.gather(
        *(one.intake.append(arrival(change("d1f0-1"), at=clock())) for one in (store, other_store) for _ in range(10))
    )
    assert sum(receipt.accepted for receipt in receipts) == 1
    assert sum(receipt.duplicates for receipt in receipts) == 19
    assert len(await rows(store, events)) == len(await rows(store, deliveries)) == len(await rows(store, requests)) == 1


async def test_replicas_that_are_sent_the_same_changes_in_opposite_order_store_each_once(
    store: Store, other_store: Store, clock: Clock
) -> None:
    """On PostgreSQL the two wait for each other's keys, and one of them is told to begin again."""
    one = [change(f"d1f0-{number}", str(number)) for number in range(200)]
    receipts = await asyncio.gather(
        store.intake.append(arrival(*one, at=clock())), other_store.intake.append(arrival(*reversed(one), at=clock()))
    )
    assert sum(receipt.accepted for receipt in receipts) == 200
    assert len(await rows(store, events)) == len(await rows(store, deliveries)) == 200


async def test_an_ignored_change_is_logged_with_its_reason_and_owes_nothing(store: Store, clock: Clock) -> None:
    gone = change("d1f0-1", action=Action.DELETED, ignored="deleted in the CRM")
    assert (await store.intake.append(arrival(gone, at=clock()))).accepted == 1
    (event,) = await rows(store, events)
    assert (event["state"], event["reason"], event["decided_at"]) == ("ignored", "deleted in the CRM", clock())
    assert await rows(store, deliveries) == []


async def test_a_request_without_changes_leaves_only_its_mark(store: Store, clock: Clock) -> None:
    assert await store.intake.append(arrival(at=clock())) == Receipt(accepted=0, duplicates=0)
    assert await rows(store, requests) == []
    (mark,) = await rows(store, source_marks)
    assert (mark["source"], mark["received_at"], mark["refused"]) == (SOURCE, clock(), 0)


async def test_changes_of_a_contact_share_its_open_delivery_which_counts_them(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("d1f0-1"), change("d1f0-2"))
    await receive(store, clock, change("d1f0-3"))
    (delivery,) = await rows(store, deliveries)
    assert delivery["changes"] == 3


async def test_a_change_that_joins_a_replay_no_longer_waits_behind_others(store: Store, clock: Clock) -> None:
    """Only what is replayed or imported waits; what a CRM sends now is urgent."""
    await receive(store, clock, change("d1f0-1"))
    await by_hand(store, update(deliveries).values(priority=1))
    await receive(store, clock, change("d1f0-2"))
    (delivery,) = await rows(store, deliveries)
    assert delivery["priority"] == 0


async def test_the_raw_request_comes_back_byte_for_byte(store: Store, clock: Clock) -> None:
    """It is what `replay` and `inspect` start from: a changed byte would break its signature."""
    body = b'{"a": "\xc3\xa9\xff\x00\n\r\n"}' + bytes(range(256)) * 40
    headers = {"content-type": "application/json", "x-signature": "caf\u00e9, v1=\u00ff"}
    request = InboundRequest("POST", "https://hooks.northwind.example/webhooks/pipedrive?a=%0A&b=\u00e9", headers, body)
    await store.intake.append(arrival(change(), at=clock(), request=request))
    (event,) = await rows(store, events)
    assert await store.ledger.request_of(event["id"]) == request


@pytest.mark.parametrize(
    ("ahead_s", "believed"),
    [(-86_400 * 365, True), (0, True), (FUTURE_MAX_S, True), (FUTURE_MAX_S + 1, False), (86_400 * 3650, False)],
)
async def test_a_sender_clock_far_in_the_future_is_not_believed(
    store: Store, clock: Clock, ahead_s: int, *, believed: bool
) -> None:
    """A CRM whose clock says 2036 would otherwise win over every later change for ten years."""
    occurred_at = clock.after(ahead_s)
    await receive(store, clock, change(occurred_at=occurred_at))
    (event,) = await rows(store, events)
    assert event["order_key"] == to_micros(occurred_at if believed else clock())
    assert event["occurred_at"] == occurred_at


async def test_without_a_sender_clock_arrival_orders_changes(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("d1f0-1"))
    clock.advance(0.000001)
    await receive(store, clock, change("d1f0-2"))
    first, second = (await store.deliveries.pending(await claim_one(store, clock))).events
    assert second.order_key - first.order_key == 1
    assert first.order < second.order


async def test_the_order_of_a_request_breaks_ties_of_the_clock(store: Store, clock: Clock) -> None:
    keys = [f"d1f0-{number}" for number in (7, 3, 9, 1)]
    at = clock.after(-5)
    await receive(store, clock, *(change(key, occurred_at=at) for key in keys))
    waiting = (await store.deliveries.pending(await claim_one(store, clock))).events
    assert [event.change.dedup_key for event in sorted(waiting, key=lambda event: event.order)] == keys


async def test_the_largest_request_is_taken_whole(store: Store, clock: Clock) -> None:
    many = [change(f"d1f0-{number}", str(number % 50), values={"name": "Ada"}) for number in range(500)]
    assert (await store.intake.append(arrival(*many, at=clock()))).accepted == 500
    assert len(await rows(store, events)) == 500
    assert {row["changes"] for row in await rows(store, deliveries)} == {10}


async def test_a_naive_time_is_refused_rather_than_guessed(store: Store, clock: Clock) -> None:
    naive = clock().replace(tzinfo=None)
    plain = arrival(change(), at=clock())
    with pytest.raises(StoreError) as refused:
        await store.intake.append(arrival(change(occurred_at=naive), at=clock()))
    assert not isinstance(refused.value, StoreUnavailable)
    assert (await store.intake.append(plain)).accepted == 1
