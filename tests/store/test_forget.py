"""A privacy deletion in the CRM: what is kept of its record goes, by the delivery that has it, however often."""

import pytest
from sqlalchemy import delete

from service.errors import Postponed
from service.model import Action, Carried, Delivery, EventState, Link, Next, OutcomeKind, Verdict
from service.schema import contacts, events, links
from service.store import Store
from service.store.erase import BUSY_WAIT, REASON
from tests.support.canary import CANARY, delivered, holds_canary
from tests.support.clock import Clock
from tests.support.log import (
    ADA,
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
    hold,
    pending_ids,
    receive,
    rows,
)

pytestmark = pytest.mark.anyio

GRACE = "con_36399f04-7686-11ee-86f6-8727560009c2"
PRIVACY = Action.PRIVACY_DELETED


async def forgotten(store: Store, clock: Clock, person: str = PERSON) -> Delivery:
    """Let the CRM tell that it forgot a person, and claim what is owed to that."""
    await receive(store, clock, change("gone", person, action=Action.PRIVACY_DELETED))
    return await claim_one(store, clock)


async def concluded(store: Store, clock: Clock, delivery: Delivery) -> bool:
    """Conclude as the pipeline does."""
    end = ends(*await pending_ids(store, delivery), state=EventState.IGNORED, reason="privacy deletion in the CRM")
    skip = Verdict(Next.SKIP, "nothing in it is for ChartMogul")
    done = conclusion(clock, end, kind=OutcomeKind.UNCHANGED, verdict=skip, uuid=None)
    return await store.deliveries.record(delivery, done, now=clock())


async def test_nothing_of_the_person_is_left_and_the_books_close(store: Store, clock: Clock) -> None:
    await delivered(store, clock, "a")
    delivery = await forgotten(store, clock)
    assert await store.eraser.forget(delivery, now=clock())
    assert await concluded(store, clock, delivery)
    assert await holds_canary(store) == []
    assert await rows(store, links) == []
    assert (await store.ledger.audit()).findings == ()
    assert await store.ledger.counts() == {"delivered": 1, "ignored": 1}


async def test_what_waits_beside_it_is_not_delivered_any_more(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("late", values={"title": CANARY}))
    delivery = await forgotten(store, clock)
    assert await store.eraser.forget(delivery, now=clock())
    assert await holds_canary(store) == []
    late, gone = await rows(store, events)
    assert (late["state"], late["reason"]) == ("ignored", REASON)
    assert gone["state"] == "pending"


async def test_dead_letters_of_the_record_are_put_away(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("dead", values={"title": CANARY}))
    await bury(store, clock, await claim_one(store, clock))
    delivery = await forgotten(store, clock)
    assert await store.eraser.forget(delivery, now=clock())
    assert await concluded(store, clock, delivery)
    assert (await store.ledger.backlog()).dead == 0
    assert await holds_canary(store) == []
    assert (await store.ledger.audit()).findings == ()


async def test_a_contact_that_another_record_feeds_keeps_its_values(store: Store, clock: Clock) -> None:
    await delivered(store, clock, "a")
    await delivered(store, clock, "b", "900", source="hubspot", uuid=ADA)
    delivery = await forgotten(store, clock)
    assert await store.eraser.forget(delivery, now=clock())
    assert await holds_canary(store) == ["contacts.email", "contacts.fields", "events.change"]
    assert [row["object_id"] for row in await rows(store, links)] == ["900"]
    assert [row["change"] is None for row in await rows(store, events)] == [True, False, False]


async def test_records_that_were_merged_into_it_are_forgotten_too(store: Store, clock: Clock) -> None:
    """The CRM knows them by the survivor alone; nobody will ever ask for them again."""
    await delivered(store, clock, "a", "7", uuid=GRACE)
    await delivered(store, clock, "b", "8")
    for survivor, absorbed in (("8", "7"), (PERSON, "8")):
        merge = change(f"m{survivor}", survivor, action=Action.MERGED, merged_from=(absorbed,))
        await receive(store, clock, merge)
        assert await finish(store, clock, await claim_one(store, clock), uuid=None)
        await store.links.follow(SOURCE, survivor, [absorbed], now=clock())
    await receive(store, clock, change("late", "8", values={"title": CANARY}), change("own", "7", action=PRIVACY))
    waiting = await claim(store, clock)
    for one in waiting:
        await store.deliveries.release(one, due_at=clock.after(60))
    delivery = await forgotten(store, clock)
    assert await store.eraser.forget(delivery, now=clock())
    assert await concluded(store, clock, delivery)
    assert await holds_canary(store) == []
    assert await rows(store, links) == []
    assert (await store.ledger.audit()).findings == ()
    assert (await store.ledger.backlog()).pending == 0


async def test_records_that_were_merged_into_one_another_are_forgotten_once(store: Store, clock: Clock) -> None:
    """A merge that was taken back and made the other way round names each of them on both sides."""
    for survivor, absorbed in ((PERSON, "8"), ("8", PERSON)):
        merge = change(f"m{survivor}", survivor, action=Action.MERGED, merged_from=(absorbed,), values={"a": CANARY})
        await receive(store, clock, merge)
        assert await finish(store, clock, await claim_one(store, clock), uuid=None)
    delivery = await forgotten(store, clock)
    assert await store.eraser.forget(delivery, now=clock())
    assert await holds_canary(store) == []


async def test_a_contact_whose_link_was_forgotten_before_is_erased_too(store: Store, clock: Clock) -> None:
    """Where ChartMogul had merged or deleted it; what was known of it was kept."""
    await delivered(store, clock, "a")
    await by_hand(store, delete(links))
    delivery = await forgotten(store, clock)
    assert await store.eraser.forget(delivery, now=clock())
    assert await holds_canary(store) == []


async def test_it_waits_for_whoever_would_bring_values_back(store: Store, clock: Clock) -> None:
    """A second CRM's first change of the person is under way: it is linked only once it is delivered."""
    await delivered(store, clock, "a")
    await receive(store, clock, change("h", "77", values={"title": CANARY}), source="hubspot")
    other = await claim_one(store, clock)
    assert await hold(store, clock, other, uuid=ADA, carrying={"title": Carried(CANARY, (2, 2))}) is not None
    delivery = await forgotten(store, clock)
    with pytest.raises(Postponed) as postponed:
        await store.eraser.forget(delivery, now=clock())
    assert postponed.value.until == clock() + BUSY_WAIT
    assert "contacts.fields" in await holds_canary(store)
    assert await finish(store, clock, other, link=Link(ADA, "email in email"))
    assert await store.eraser.forget(delivery, now=clock())
    assert [row["object_id"] for row in await rows(store, links)] == ["77"]


async def test_somebody_else_is_not_touched(store: Store, clock: Clock) -> None:
    await delivered(store, clock, "a", "900")
    delivery = await forgotten(store, clock)
    assert await store.eraser.forget(delivery, now=clock())
    assert await holds_canary(store) == ["contacts.email", "contacts.fields", "events.change"]


async def test_doing_it_again_after_a_crash_changes_nothing(store: Store, clock: Clock) -> None:
    await delivered(store, clock, "a")
    delivery = await forgotten(store, clock)
    assert await store.eraser.forget(delivery, now=clock())
    before = await rows(store, contacts)
    assert await store.eraser.forget(delivery, now=clock())
    assert await rows(store, contacts) == before
    assert await pending_ids(store, delivery) != []


async def test_whoever_lost_the_lease_erases_nothing(store: Store, clock: Clock) -> None:
    await delivered(store, clock, "a")
    delivery = await forgotten(store, clock)
    await store.deliveries.release(delivery, due_at=clock())
    assert not await store.eraser.forget(delivery, now=clock())
    assert await holds_canary(store) == ["contacts.email", "contacts.fields", "events.change"]
