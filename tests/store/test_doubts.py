"""Doubts: what a PATCH without an answer may yet do to its contact is kept, and looked at when its time has come."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from service.model import Carried, Confirmed, Delivery, Doubt, Known, Link, Next, OutcomeKind, Verdict
from service.schema import contacts, deliveries
from service.store import Store
from service.store.contacts import DOUBTS_MAX
from service.store.opening import CrmRecord
from tests.support.clock import Clock
from tests.support.log import (
    ACCOUNT,
    ADA,
    LATE,
    LEASE_S,
    PERSON,
    SOURCE,
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

RECORD = CrmRecord(ACCOUNT, SOURCE, PERSON)
CFO = Carried("CFO", (40, 40))
COO = Confirmed("COO", (41, 41), 41)
LINK = Link(ADA, "email in email")


async def claimed(store: Store, clock: Clock, key: str = "d1f0-1") -> Delivery:
    await receive(store, clock, change(key))
    return await claim_one(store, clock)


async def linked(store: Store, clock: Clock) -> None:
    """Let the person's contact be known, with the title COO."""
    delivery = await claimed(store, clock)
    await hold(store, clock, delivery, carrying={"title": Carried("COO", COO.order)})
    await finish(store, clock, delivery, link=LINK, confirmed={"title": COO})


async def known(store: Store) -> Known:
    return await store.contacts.known(ACCOUNT, ADA)


async def open_delivery(store: Store) -> dict[str, object]:
    """Return the one delivery that is owed."""
    (row,) = [dict(row) for row in await rows(store, deliveries) if row["state"] in {"pending", "leased"}]
    return row


async def nobody_came_back(store: Store, clock: Clock, _delivery: Delivery) -> None:
    clock.advance(LEASE_S)
    await store.deliveries.reclaim(now=clock())


async def the_service_stopped(store: Store, clock: Clock, delivery: Delivery) -> None:
    await store.deliveries.give_up(delivery, now=clock())


async def a_fault_of_ours(store: Store, clock: Clock, delivery: Delivery) -> None:
    again = Verdict(Next.RETRY, "fault", due_at=clock())
    fault = conclusion(clock, kind=OutcomeKind.FAULT, verdict=again, uuid=None)
    await store.deliveries.record(delivery, fault, now=clock())


@pytest.mark.parametrize("how", [nobody_came_back, the_service_stopped, a_fault_of_ours])
async def test_an_intent_left_behind_becomes_a_doubt_from_when_it_is_noticed(
    store: Store, clock: Clock, how: Callable[[Store, Clock, Delivery], Awaitable[None]]
) -> None:
    """Who was interrupted wrote down before what it was about to send; whether it did, nobody knows."""
    delivery = await claimed(store, clock)
    await hold(store, clock, delivery, carrying={"title": CFO})
    await how(store, clock, delivery)
    assert (await known(store)).doubts == ()
    clock.advance(3)
    current = await claim_one(store, clock)
    assert await hold(store, clock, current, carrying={"title": CFO}) == Known(
        {"title": Confirmed(None, certain=False)}, (Doubt(clock() + LATE, {"title": CFO}),)
    )
    assert (await known(store)).doubts == (Doubt(clock() + LATE, {"title": CFO}),)


async def test_a_hold_that_ran_out_leaves_its_intent_to_whoever_comes_next(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("1", "451"), change("2", "982"))
    first, second = await claim(store, clock)
    await hold(store, clock, first, carrying={"title": CFO})
    clock.advance(LEASE_S)
    met = await hold(store, clock, second, "phone")
    assert met is not None
    assert met.doubts == (Doubt(clock() + LATE, {"title": CFO}),)


@pytest.mark.parametrize("ended", ["answered", "untried"])
async def test_what_was_answered_or_never_sent_is_not_doubted(store: Store, clock: Clock, ended: str) -> None:
    delivery = await claimed(store, clock)
    await hold(store, clock, delivery, carrying={"title": CFO})
    if ended == "answered":
        again = Verdict(Next.RETRY, "unreachable", due_at=clock())
        await store.deliveries.record(
            delivery, conclusion(clock, kind=OutcomeKind.UNREACHABLE, verdict=again), now=clock()
        )
    else:
        await store.deliveries.release(delivery, due_at=clock())
    assert await hold(store, clock, await claim_one(store, clock), carrying={"title": CFO}) == Known()


async def test_what_must_be_sent_again_is_part_of_the_next_intent(store: Store, clock: Clock) -> None:
    """Should that try be lost as well, its second sending is in doubt like any other."""
    await linked(store, clock)
    await store.contacts.doubt(RECORD, ADA, Doubt(clock.after(5), {"title": CFO}), now=clock())
    clock.advance(5)
    await hold(store, clock, await claim_one(store, clock), carrying={"phone": Carried("+49", (42, 42))})
    (row,) = await rows(store, contacts)
    assert row["intent"] == '{"title":["COO",41,41],"phone":["+49",42,42]}'


async def test_before_its_time_a_doubt_adds_nothing_to_the_intent(store: Store, clock: Clock) -> None:
    await linked(store, clock)
    await store.contacts.doubt(RECORD, ADA, Doubt(clock.after(5), {"title": CFO}), now=clock())
    await receive(store, clock, change("d1f0-2"))
    await hold(store, clock, await claim_one(store, clock), carrying={"phone": Carried("+49", (42, 42))})
    (row,) = await rows(store, contacts)
    assert row["intent"] == '{"phone":["+49",42,42]}'


async def test_a_contact_in_doubt_is_said_to_be(store: Store, clock: Clock) -> None:
    await linked(store, clock)
    await receive(store, clock, change("d1f0-2"))
    delivery = await claim_one(store, clock)
    assert not (await store.deliveries.pending(delivery)).in_doubt
    await store.contacts.doubt(RECORD, ADA, Doubt(clock.after(5), {"title": CFO}), now=clock())
    owed = await store.deliveries.pending(delivery)
    assert (owed.in_doubt, owed.link) == (True, LINK)


async def test_a_doubt_told_later_opens_a_delivery_for_its_time_and_unsettles_its_fields(
    store: Store, clock: Clock
) -> None:
    await linked(store, clock)
    before = (await known(store)).fields["title"]
    doubt = Doubt(clock.after(20), {"title": CFO})
    await store.contacts.doubt(RECORD, ADA, doubt, now=clock())
    assert await known(store) == Known({"title": replace(before, certain=False)}, (doubt,))
    opened = await open_delivery(store)
    assert (opened["source"], opened["object_id"], opened["changes"]) == (SOURCE, PERSON, 0)
    assert (opened["state"], opened["due_at"], opened["opened_at"]) == ("pending", doubt.until, clock())
    assert await claim(store, clock) == []
    clock.advance(20)
    delivery = await claim_one(store, clock)
    owed = await store.deliveries.pending(delivery)
    assert (owed.events, owed.link, owed.in_doubt) == ((), LINK, True)
    assert (await store.ledger.audit()).findings == ()


@pytest.mark.parametrize("told_after_s", [(20, 9), (9, 20)])
async def test_a_doubt_joins_the_delivery_that_is_open_and_puts_it_off_never(
    store: Store, clock: Clock, told_after_s: tuple[float, float]
) -> None:
    await linked(store, clock)
    for seconds in told_after_s:
        await store.contacts.doubt(RECORD, ADA, Doubt(clock.after(seconds), {"title": CFO}), now=clock())
    assert (await open_delivery(store))["due_at"] == clock.after(9)


async def test_a_doubt_does_not_hasten_what_waits_for_its_next_try(store: Store, clock: Clock) -> None:
    await linked(store, clock)
    failed = Verdict(Next.RETRY, "unreachable", due_at=clock.after(600))
    delivery = await claimed(store, clock, "d1f0-2")
    await hold(store, clock, delivery, "title")
    tried = conclusion(clock, kind=OutcomeKind.UNREACHABLE, verdict=failed)
    await store.deliveries.record(delivery, tried, now=clock())
    await store.contacts.doubt(RECORD, ADA, Doubt(clock.after(20), {"title": CFO}), now=clock())
    assert (await open_delivery(store))["due_at"] == clock.after(600)


async def test_a_doubt_about_a_contact_that_was_never_held_is_none(store: Store, clock: Clock) -> None:
    await store.contacts.doubt(RECORD, ADA, Doubt(clock(), {"title": CFO}), now=clock())
    assert await rows(store, contacts) == await rows(store, deliveries) == []


async def test_doubts_that_came_while_the_contact_was_held_keep_its_delivery_open_for_their_time(
    store: Store, clock: Clock
) -> None:
    """Of the two PATCHes under way the lost one may land last; its successor could not know when it was planned."""
    await linked(store, clock)
    delivery = await claimed(store, clock, "d1f0-2")
    met = await hold(store, clock, delivery, "phone")
    assert met is not None
    came = Doubt(clock.after(20), {"title": CFO})
    await store.contacts.doubt(RECORD, ADA, came, now=clock())
    phone = Confirmed("+49", (42, 42), 42)
    assert await finish(store, clock, delivery, confirmed={"phone": phone}, doubts_seen=met.doubts)
    assert (await known(store)).doubts == (came,)
    assert not (await known(store)).fields["title"].certain
    row = await open_delivery(store)
    assert (row["id"], row["state"], row["due_at"], row["attempts"]) == (delivery.id, "pending", came.until, 0)
    assert (await store.ledger.audit()).findings == ()


async def test_what_was_confirmed_while_a_doubt_about_it_came_is_not_sure(store: Store, clock: Clock) -> None:
    await linked(store, clock)
    delivery = await claimed(store, clock, "d1f0-2")
    await hold(store, clock, delivery, "title")
    await store.contacts.doubt(RECORD, ADA, Doubt(clock.after(20), {"title": CFO}), now=clock())
    await finish(store, clock, delivery, confirmed={"title": Confirmed("CEO", (42, 42), 42)})
    title = (await known(store)).fields["title"]
    assert (title.value, title.certain) == ("CEO", False)


async def test_the_same_doubt_told_again_while_the_contact_is_held_is_not_taken_for_the_one_that_was_seen(
    store: Store, clock: Clock
) -> None:
    """The try whose lease was lost ends later than its successor began: then the doubt lasts from that end."""
    await linked(store, clock)
    seen = Doubt(clock.after(5), {"title": CFO})
    await store.contacts.doubt(RECORD, ADA, seen, now=clock())
    delivery = await claimed(store, clock, "d1f0-2")
    met = await hold(store, clock, delivery, "phone")
    assert met is not None
    assert met.doubts == (seen,)
    told_again = Doubt(clock.after(25), seen.fields)
    await store.contacts.doubt(RECORD, ADA, told_again, now=clock())
    await finish(store, clock, delivery, doubts=met.doubts, doubts_seen=met.doubts, again_at=seen.until)
    assert (await known(store)).doubts == (told_again,)
    assert (await open_delivery(store))["due_at"] == seen.until, "whichever comes first; the other is met there"


async def test_a_conclusion_puts_its_own_doubts_in_the_place_of_those_it_saw(store: Store, clock: Clock) -> None:
    await linked(store, clock)
    over, left = Doubt(clock.after(5), {"title": CFO}), Doubt(clock.after(25), {"phone": Carried("+49", (39, 39))})
    for doubt in (over, left):
        await store.contacts.doubt(RECORD, ADA, doubt, now=clock())
    clock.advance(5)
    delivery = await claim_one(store, clock)
    met = await hold(store, clock, delivery)
    assert met is not None
    assert met.doubts == (over, left)
    again = {"doubts": (left,), "doubts_seen": met.doubts, "again_at": left.until}
    await finish(store, clock, delivery, confirmed={"title": COO}, **again)
    assert (await known(store)).doubts == (left,)
    assert ((await open_delivery(store))["id"], (await open_delivery(store))["due_at"]) == (delivery.id, left.until)
    clock.advance(20)
    delivery = await claim_one(store, clock)
    met = await hold(store, clock, delivery)
    await finish(store, clock, delivery, doubts_seen=(left,))
    (row,) = await rows(store, contacts)
    assert (row["doubts"], row["held_by"], row["intent"]) == (None, None, None)
    assert {row["state"] for row in await rows(store, deliveries)} == {"delivered"}


async def test_a_waiting_change_is_more_urgent_than_a_doubt(store: Store, clock: Clock) -> None:
    await linked(store, clock)
    delivery = await claimed(store, clock, "d1f0-2")
    waiting = await pending_ids(store, delivery)
    await hold(store, clock, delivery, "title")
    await receive(store, clock, change("d1f0-3"))
    later = conclusion(clock, ends(*waiting), again_at=clock.after(20))
    assert await store.deliveries.record(delivery, later, now=clock())
    assert (await open_delivery(store))["due_at"] == clock()


async def test_a_delivery_that_ends_as_a_dead_letter_is_still_looked_at_for_its_doubts(
    store: Store, clock: Clock
) -> None:
    """Its events wait for a person; that an older value may land over a confirmed one must not."""
    await linked(store, clock)
    delivery = await claimed(store, clock, "d1f0-2")
    await hold(store, clock, delivery, "title")
    assert await bury(store, clock, delivery, again_at=clock.after(20))
    row = await open_delivery(store)
    assert (row["id"], row["due_at"]) == (delivery.id, clock.after(20))
    (letter,) = await store.ledger.deliveries(state="dead")
    assert letter["id"] != delivery.id
    assert await store.ledger.counts() == {"delivered": 1, "dead": 1}
    assert (await store.ledger.audit()).findings == ()


async def test_doubts_of_one_contact_are_bounded(store: Store, clock: Clock) -> None:
    await linked(store, clock)
    for number in range(DOUBTS_MAX + 2):
        doubt = Doubt(clock.after(number), {"title": Carried(f"Draft {number}", (number, number))})
        await store.contacts.doubt(RECORD, ADA, doubt, now=clock())
    assert [doubt.fields["title"].order[0] for doubt in (await known(store)).doubts] == list(range(2, DOUBTS_MAX + 2))


async def test_the_same_patch_unanswered_for_days_is_one_doubt(store: Store, clock: Clock) -> None:
    """Many would push out the one about an older value, which must still be met when the silence ends."""
    await linked(store, clock)
    older = Doubt(clock.after(5), {"title": CFO})
    await store.contacts.doubt(RECORD, ADA, older, now=clock())
    await receive(store, clock, change("d1f0-2"))
    for _ in range(DOUBTS_MAX + 1):
        delivery = await claim_one(store, clock)
        met = await hold(store, clock, delivery, carrying={"phone": Carried("+49", (42, 42))})
        assert met is not None
        unknown = Doubt(clock() + LATE, {"phone": Carried("+49", (42, 42))})
        again = Verdict(Next.RETRY, "unknown", due_at=clock.advance(900))
        lost = conclusion(
            clock,
            kind=OutcomeKind.UNKNOWN,
            verdict=again,
            uncertain=("phone",),
            doubts=(*met.doubts, unknown),
            doubts_seen=met.doubts,
        )
        await store.deliveries.record(delivery, lost, now=clock())
    assert (await known(store)).doubts == (older, unknown)


async def test_values_in_doubt_stay_out_of_what_is_shown(store: Store, clock: Clock) -> None:
    await linked(store, clock)
    canary = "ada@northwind.example"
    await store.contacts.doubt(RECORD, ADA, Doubt(clock(), {"email": Carried(canary, (1, 1))}), now=clock())
    shown = [await store.ledger.story(PERSON), await known(store), await store.ledger.deliveries()]
    assert canary not in repr(shown)
