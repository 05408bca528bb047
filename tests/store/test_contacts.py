"""Holds: one PATCH at a time for a ChartMogul contact, and doubt where nobody knows what one did."""

import asyncio
from dataclasses import replace

import pytest

from service.model import Confirmed, Delivery, Known, OutcomeKind
from service.schema import attempts, contacts
from service.store import Store
from tests.support.clock import Clock
from tests.support.log import (
    ACCOUNT,
    ADA,
    change,
    claim,
    claim_one,
    conclusion,
    ends,
    hold,
    pending_ids,
    receive,
    rows,
)

pytestmark = pytest.mark.anyio

GRACE = ADA[:-1] + "2"


async def two_records(store: Store, clock: Clock) -> tuple[Delivery, Delivery]:
    """Two CRM records whose deliveries are under way; they may stand for one ChartMogul contact."""
    await receive(store, clock, change("1", "451"), change("2", "982"))
    first, second = await claim(store, clock)
    return first, second


async def held(
    store: Store, clock: Clock, delivery: Delivery, *intent: str, uuid: str = ADA
) -> dict[str, Confirmed] | None:
    """Hold a contact and return its fields as they are known; None when another delivery has it."""
    known = await hold(store, clock, delivery, *intent, uuid=uuid)
    return None if known is None else dict(known.fields)


def confirmed(value: str, clock: Clock, event_id: int = 1) -> Confirmed:
    return Confirmed(value, (1_772_443_800_000_000, event_id), event_id, clock(), rule="job_title | trim")


async def recorded(store: Store, field: Confirmed) -> Confirmed:
    """Return what was confirmed as the log has it after the latest attempt."""
    return replace(field, attempt_id=(await rows(store, attempts))[-1]["id"])


async def test_a_contact_never_held_is_unknown(store: Store, clock: Clock) -> None:
    first, _ = await two_records(store, clock)
    assert await store.contacts.known(ACCOUNT, ADA) == Known()
    assert await held(store, clock, first, "title") == {}
    (row,) = await rows(store, contacts)
    assert (row["held_by"], row["held_until"], row["intent"]) == (
        first.id,
        clock.after(60),
        '{"title":["as sent",1,1]}',
    )


async def test_a_held_contact_excludes_other_deliveries_until_it_is_let_go(store: Store, clock: Clock) -> None:
    first, second = await two_records(store, clock)
    await held(store, clock, first, "title")
    assert await held(store, clock, second, "email") is None
    assert await held(store, clock, second, "email", uuid=GRACE) == {}
    done = conclusion(clock, ends(*await pending_ids(store, first)), confirmed={"title": confirmed("CTO", clock)})
    await store.deliveries.record(first, done, now=clock())
    assert await held(store, clock, second, "email") == {"title": await recorded(store, confirmed("CTO", clock))}


async def test_a_hold_may_be_renewed_by_its_own_delivery(store: Store, clock: Clock) -> None:
    first, _ = await two_records(store, clock)
    await held(store, clock, first, "title")
    clock.advance(5)
    assert await held(store, clock, first, "title") is not None
    (row,) = await rows(store, contacts)
    assert row["held_until"] == clock.after(60)


async def test_of_many_that_ask_at_once_one_gets_the_contact(store: Store, other_store: Store, clock: Clock) -> None:
    await receive(store, clock, *(change(str(number), str(number)) for number in range(20)))
    asking = await claim(store, clock, limit=20)
    answers = await asyncio.gather(
        *(held((store, other_store)[number % 2], clock, one, "title") for number, one in enumerate(asking))
    )
    assert sum(answer is not None for answer in answers) == 1


async def test_after_a_hold_ran_out_what_it_may_have_sent_is_doubted(store: Store, clock: Clock) -> None:
    """P3 and P4 lean on confirmed values: those that a lost PATCH may have changed prove nothing."""
    first, second = await two_records(store, clock)
    await held(store, clock, first, "title")
    known = {"title": confirmed("CTO", clock), "email": confirmed("ada@northwind.example", clock, 2)}
    await store.deliveries.record(first, conclusion(clock, confirmed=known), now=clock())
    title, email = [await recorded(store, field) for field in known.values()]
    await receive(store, clock, change("3", "451"))
    again = next(one for one in await claim(store, clock) if one.object_id == "451")
    await held(store, clock, again, "title", "custom.Lifecycle")
    clock.advance(59.999)
    assert await held(store, clock, second, "email") is None
    clock.advance(0.001)
    assert await held(store, clock, second, "email") == {
        "title": replace(title, certain=False),
        "custom.Lifecycle": Confirmed(None, certain=False),
        "email": email,
    }


async def test_doubt_outlives_the_hold_until_the_field_is_confirmed(store: Store, clock: Clock) -> None:
    first, second = await two_records(store, clock)
    await held(store, clock, first, "title", "email")
    clock.advance(60)
    met = await hold(store, clock, second, "email")
    assert met is not None
    email = {"email": confirmed("ada@northwind.example", clock)}
    done = conclusion(clock, confirmed=email, doubts=met.doubts, doubts_seen=met.doubts)
    await store.deliveries.record(second, done, now=clock())
    assert (await store.contacts.known(ACCOUNT, ADA)).fields == {
        "title": Confirmed(None, certain=False),
        "email": await recorded(store, confirmed("ada@northwind.example", clock)),
    }


async def test_an_unknown_outcome_leaves_what_was_sent_uncertain(store: Store, clock: Clock) -> None:
    first, second = await two_records(store, clock)
    await held(store, clock, first, "title", "email")
    unknown = conclusion(clock, kind=OutcomeKind.UNKNOWN, uncertain=("title",))
    await store.deliveries.record(first, unknown, now=clock())
    assert await held(store, clock, second, "email") == {"title": Confirmed(None, certain=False)}


async def test_a_stale_claim_gets_no_contact(store: Store, clock: Clock) -> None:
    """A process that slept past its lease must not send beside the one that repeats its work."""
    await receive(store, clock, change())
    stale = await claim_one(store, clock)
    clock.advance(60)
    await store.deliveries.reclaim(now=clock())
    assert await held(store, clock, stale, "title") is None
    current = await claim_one(store, clock)
    assert await held(store, clock, stale, "title") is None
    assert await held(store, clock, current, "title") == {}
    assert await held(store, clock, stale, "title") is None


async def test_a_conclusion_for_a_contact_never_held_writes_no_fields(store: Store, clock: Clock) -> None:
    first, _ = await two_records(store, clock)
    done = conclusion(clock, confirmed={"title": confirmed("CTO", clock)})
    assert await store.deliveries.record(first, done, now=clock())
    assert await rows(store, contacts) == []
