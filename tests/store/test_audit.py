"""The audit finds each kind of broken book, and nothing where the books close."""

from collections.abc import Callable

import pytest
from sqlalchemy import Executable, delete, insert, text, update

from service.model import Disposition, EventState
from service.schema import attempts, deliveries, events
from service.store import Store
from service.store.audit import OFFENDERS_MAX, Books
from tests.support.clock import Clock
from tests.support.log import bury, by_hand, change, claim, conclusion, pending_ids, receive, rows

pytestmark = pytest.mark.anyio


async def good_books(store: Store, clock: Clock) -> None:
    """An event of every state: 1 delivered, 2 merged into it, 3 dead, 4 ignored, 5 and 6 pending."""
    await receive(store, clock, change("1", "1"), change("2", "1"), change("3", "3"))
    await receive(store, clock, change("4", "4", ignored="deleted in the CRM"))
    first, third = await claim(store, clock)
    one, two = await pending_ids(store, first)
    merged = Disposition(two, EventState.MERGED, by_event_id=one)
    done = conclusion(clock, [Disposition(one, EventState.DELIVERED), merged])
    await store.deliveries.record(first, done, now=clock())
    await bury(store, clock, third)
    await receive(store, clock, change("5", "5"))
    await receive(store, clock, change("6", "1"))


def letters(state: str, object_id: str) -> Callable[..., Executable]:
    here = (deliveries.c.state == state, deliveries.c.object_id == object_id)
    return lambda **values: update(deliveries).where(*here).values(**values)


def event(key: str) -> Callable[..., Executable]:
    return lambda **values: update(events).where(events.c.dedup_key == key).values(**values)


async def test_good_books_close(store: Store, clock: Clock) -> None:
    await good_books(store, clock)
    assert await store.ledger.counts() == {"delivered": 1, "merged": 1, "dead": 1, "ignored": 1, "pending": 2}
    assert (await store.ledger.audit()).findings == ()


@pytest.mark.parametrize(
    ("name", "key", "broken"),
    [
        ("events in no known state", "1", event("1")(state="lost")),
        ("pending events without an open delivery", "5", delete(deliveries).where(deliveries.c.object_id == "5")),
        ("pending events without an open delivery", "6", letters("pending", "1")(state="skipped")),
        ("delivered events without an attempt", "1", event("1")(attempt_id=None)),
        ("delivered events without an attempt", "1", delete(attempts).where(attempts.c.outcome == "applied")),
        ("merged events that name no other event", "2", event("2")(by_event_id=None)),
        ("merged events that name no other event", "2", event("2")(by_event_id=10**6)),
        ("merged events that name no other event", "2", event("2")(by_event_id=events.c.id)),
        ("dead events without a dead letter", "3", event("3")(delivery_id=None)),
        ("dead events without a dead letter", "3", letters("dead", "3")(state="delivered")),
        ("ignored events without a reason", "4", event("4")(reason=None)),
        ("ended events without the time of their end", "1", event("1")(decided_at=None)),
        ("ended events without the time of their end", "2", event("2")(decided_at=None)),
        ("ended events without the time of their end", "3", event("3")(decided_at=None)),
        ("ended events without the time of their end", "4", event("4")(decided_at=None)),
    ],
)  # fmt: skip
async def test_a_broken_book_is_found(store: Store, clock: Clock, name: str, key: str, broken: Executable) -> None:
    await good_books(store, clock)
    await by_hand(store, broken)
    ids = {row["dedup_key"]: row["id"] for row in await rows(store, events)}
    assert [(found.name, found.count, found.ids) for found in (await store.ledger.audit()).findings] == [
        (name, 1, (ids[key],))
    ]


async def test_a_delivery_in_no_known_state_is_found(store: Store, clock: Clock) -> None:
    """A later release may have written one, or a hand."""
    await good_books(store, clock)
    (ended,) = [row["id"] for row in await rows(store, deliveries) if row["state"] == "delivered"]
    await by_hand(store, letters("delivered", "1")(state="lost"))
    (found,) = (await store.ledger.audit()).findings
    assert (found.name, found.count, found.ids) == ("deliveries in no known state", 1, (ended,))


async def test_all_that_is_wrong_is_found_at_once(store: Store, clock: Clock) -> None:
    await good_books(store, clock)
    broken = [event("4")(reason=None), event("3")(delivery_id=None), event("1")(decided_at=None)]
    await by_hand(store, *broken)
    assert {found.name for found in (await store.ledger.audit()).findings} == {
        "ignored events without a reason",
        "dead events without a dead letter",
        "ended events without the time of their end",
    }


async def test_the_books_say_what_they_are_about(store: Store, clock: Clock) -> None:
    """A total that is not the sum of its parts would be a finding of its own, if there were one to make it."""
    assert await store.ledger.audit() == Books(0, {}, ())
    await good_books(store, clock)
    books = await store.ledger.audit()
    assert books.events == {"dead": 1, "delivered": 1, "ignored": 1, "merged": 1, "pending": 2}
    assert list(books.events) == sorted(books.events)
    assert books.total == sum(books.events.values()) == 6


async def test_two_open_deliveries_of_one_contact_are_found(store: Store, clock: Clock) -> None:
    """The index forbids them; the audit does not lean on the index."""
    await good_books(store, clock)
    (open_one,) = [dict(row) for row in await rows(store, deliveries) if row["object_id"] == "5"]
    await by_hand(store, text("DROP INDEX uq_deliveries_open"))
    await by_hand(store, insert(deliveries).values(open_one | {"id": 1_000}))
    (found,) = (await store.ledger.audit()).findings
    assert (found.name, found.count, found.ids) == ("contacts with two open deliveries", 1, (open_one["id"],))


async def test_a_finding_names_the_first_of_many(store: Store, clock: Clock) -> None:
    await receive(store, clock, *(change(str(number), str(number)) for number in range(OFFENDERS_MAX + 5)))
    await by_hand(store, delete(deliveries))
    (found,) = (await store.ledger.audit()).findings
    assert found.count == OFFENDERS_MAX + 5
    assert found.ids == tuple(row["id"] for row in (await rows(store, events))[:OFFENDERS_MAX])


async def test_an_event_merged_into_one_that_aged_out_is_accounted_for(store: Store, clock: Clock) -> None:
    """The older of the two is deleted first; that it was there is told by its id."""
    await good_books(store, clock)
    two = next(row["id"] for row in await rows(store, events) if row["dedup_key"] == "2")
    await by_hand(store, event("2")(by_event_id=two - 1), delete(events).where(events.c.dedup_key == "1"))
    assert (await store.ledger.audit()).findings == ()
