"""Shadow mode in the log: what would have been sent stands in its contact, waits, and goes out once, in good order."""

import asyncio

import pytest
from sqlalchemy import delete, text, update

from service.model import (
    Action,
    Carried,
    Confirmed,
    Disposition,
    Doubt,
    EventState,
    Known,
    Link,
    Next,
    OutcomeKind,
    Priority,
    Shadowed,
    Verdict,
)
from service.schema import deliveries, events
from service.store import Store
from service.store.audit import Finding
from service.store.erase import REASON
from service.store.replay import Selection
from service.store.shadow import EVENTS, RECORDS
from tests.support.canary import CANARY, holds_canary
from tests.support.clock import Clock
from tests.support.log import (
    ACCOUNT,
    ADA,
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

GRACE = "con_36399f04-7686-11ee-86f6-8727560009c2"
LIVE = [SOURCE]
SHADOW = Verdict(Next.SHADOW, "shadow mode: nothing is sent")
CFO = Carried("CFO", (40, 40))
COO = Confirmed("COO", (41, 41), 41)


async def shadowed(
    store: Store,
    clock: Clock,
    key: str,
    person: str = PERSON,
    *,
    uuid: str = ADA,
    source: str = SOURCE,
    name: str = "title",
    value: str = "CEO",
    sent: bool = True,
    doubts: tuple[Doubt, ...] = (),
) -> int:
    """Let a change of a person end in shadow mode, and return its id."""
    await receive(store, clock, change(key, person, values={name: value}), source=source)
    delivery = await claim_one(store, clock)
    (event_id,) = await pending_ids(store, delivery)
    known = await store.contacts.hold(
        delivery, uuid, intent=None, now=clock(), until=clock.after(60), late=clock.after(20) - clock()
    )
    assert known is not None
    done = conclusion(
        clock,
        [Disposition(event_id, EventState.SHADOWED, "would be sent")],
        kind=OutcomeKind.SHADOWED,
        verdict=SHADOW,
        uuid=uuid,
        fields=(name,),
        link=Link(uuid, "email in email"),
        doubts=doubts or known.doubts,
        doubts_seen=known.doubts,
        shadowed={name: Shadowed(value, (event_id, event_id), event_id, clock(), sent=sent)},
    )
    assert await store.deliveries.record(delivery, done, now=clock())
    return event_id


async def stands(store: Store, uuid: str = ADA) -> dict[str, object] | None:
    """Return what would have been sent to a contact, by field; None where shadow mode never was at it."""
    shadow = (await store.contacts.known(ACCOUNT, uuid)).shadow
    return None if shadow is None else {name: one.value for name, one in shadow.items()}


async def closes(store: Store) -> bool:
    return (await store.ledger.audit()).findings == ()


async def by_state(store: Store) -> list[str]:
    return [row["state"] for row in await rows(store, events)]


async def test_what_would_be_sent_stands_in_its_contact_and_nothing_is_confirmed(store: Store, clock: Clock) -> None:
    first = await shadowed(store, clock, "a", value="CFO")
    clock.advance(1)
    second = await shadowed(store, clock, "b", name="phone", value="+44")
    known = await store.contacts.known(ACCOUNT, ADA)
    assert known == Known(
        {},
        (),
        {
            "title": Shadowed("CFO", (first, first), first, clock.after(-1)),
            "phone": Shadowed("+44", (second, second), second, clock()),
        },
    )
    (delivery, _) = await rows(store, deliveries)
    assert (delivery["state"], delivery["outcome"], delivery["closed_at"]) == ("skipped", "shadowed", clock.after(-1))
    assert await by_state(store) == ["shadowed", "shadowed"]
    assert await closes(store)


async def test_a_lease_that_is_lost_in_shadow_mode_leaves_no_doubt(store: Store, clock: Clock) -> None:
    """Nothing was sent that could land; what somebody else left behind is a doubt as ever."""
    await receive(store, clock, change("a"))
    delivery = await claim_one(store, clock)
    late = clock.after(20) - clock()
    assert await store.contacts.hold(delivery, ADA, intent=None, now=clock(), until=clock.after(60), late=late)
    clock.advance(61)
    assert await store.deliveries.reclaim(now=clock()) == 1
    delivery = await claim_one(store, clock)
    assert await hold(store, clock, delivery, "title") == Known()
    clock.advance(61)
    await store.deliveries.reclaim(now=clock())
    delivery = await claim_one(store, clock)
    known = await store.contacts.hold(delivery, ADA, intent=None, now=clock(), until=clock.after(60), late=late)
    assert known is not None
    assert [set(doubt.fields) for doubt in known.doubts] == [{"title"}]


async def test_a_newer_confirmed_value_takes_the_place_of_what_would_have_been_sent(store: Store, clock: Clock) -> None:
    await shadowed(store, clock, "a", value="CFO")
    await shadowed(store, clock, "b", name="phone", value="+44")
    for order, left in ((0, {"title": "CFO", "phone": "+44"}), (10**6, {"phone": "+44"})):
        await receive(store, clock, change(f"live-{order}", "900"), source="hubspot")
        delivery = await claim_one(store, clock)
        assert await hold(store, clock, delivery, "title") is not None
        await finish(store, clock, delivery, confirmed={"title": Confirmed("COO", (order, order), order)})
        assert await stands(store) == left


async def test_what_is_still_to_be_read_is_marked_until_a_try_came_to_its_end(store: Store, clock: Clock) -> None:
    """A PATCH that is tried again must be compared with what is there again."""
    await shadowed(store, clock, "a")
    assert await store.shadows.reopen(SOURCE, now=clock()) == 1
    assert await stands(store) == {}
    delivery = await claim_one(store, clock)
    assert await hold(store, clock, delivery, "title") is not None
    retry = Verdict(Next.RETRY, "rate limited (429)", due_at=clock())
    again = conclusion(clock, kind=OutcomeKind.RATE_LIMITED, verdict=retry)
    assert await store.deliveries.record(delivery, again, now=clock())
    assert await stands(store) == {}
    delivery = await claim_one(store, clock)
    known = await hold(store, clock, delivery, "title")
    assert known is not None
    assert known.shadow == {}
    await finish(store, clock, delivery)
    assert await stands(store) is None


async def test_a_source_that_is_live_has_its_changes_again_behind_what_crms_send_now(
    store: Store, clock: Clock
) -> None:
    await shadowed(store, clock, "a", "1")
    await shadowed(store, clock, "b", "2", uuid=GRACE)
    await shadowed(store, clock, "c", "900", source="hubspot", name="phone")
    assert await store.shadows.waiting([SOURCE, "hubspot", "close"]) == [SOURCE, "hubspot"]
    assert await store.shadows.counts() == {SOURCE: 2, "hubspot": 1}
    clock.advance(60)
    assert await store.shadows.reopen(SOURCE, now=clock()) == 2
    assert await store.shadows.reopen(SOURCE, now=clock()) == 0
    assert await store.shadows.waiting([SOURCE]) == []
    assert await by_state(store) == ["pending", "pending", "shadowed"]
    opened = [row for row in await rows(store, deliveries) if row["state"] == "pending"]
    assert [(row["object_id"], row["priority"], row["due_at"]) for row in opened] == [
        (one, Priority.REPLAY, clock()) for one in ("1", "2")
    ]
    assert await stands(store) == {"phone": "CEO"}, "what another source would send waits on"
    assert await stands(store, GRACE) == {}
    (first, _, other) = await rows(store, events)
    assert (first["reason"], first["decided_at"], first["attempt_id"], first["replay_version"]) == (None,) * 4
    assert other["reason"] == "would be sent"
    assert await closes(store)


async def test_all_changes_of_a_record_go_live_together(store: Store, clock: Clock) -> None:
    """Else each batch would be a PATCH of its own; a broken-off one is gone on with."""
    people = [str(number) for number in range(RECORDS + 1)]
    await shadowed_by_hand(store, clock, [*people, "0"])
    assert await store.shadows.reopen(SOURCE, now=clock()) == RECORDS + 1
    waiting = [row["object_id"] for row in await rows(store, events) if row["state"] == "shadowed"]
    assert waiting == [people[-1]]
    assert await store.shadows.reopen(SOURCE, now=clock()) == 1
    (first, *_) = await claim(store, clock, limit=1)
    assert len(await pending_ids(store, first)) == 2
    assert await closes(store)


async def test_a_record_of_very_many_changes_goes_live_in_parts(store: Store, clock: Clock) -> None:
    await shadowed_by_hand(store, clock, [PERSON] * (EVENTS + 1))
    assert [await store.shadows.reopen(SOURCE, now=clock()) for _ in range(3)] == [EVENTS, 1, 0]
    assert await closes(store)


async def shadowed_by_hand(store: Store, clock: Clock, people: list[str]) -> None:
    """Let many changes be shadowed, one of each of these people, without the tries that it takes."""
    await receive(store, clock, *(change(f"key-{number}", person) for number, person in enumerate(people)))
    ended = update(events).values(state=EventState.SHADOWED.value, reason="would be sent", decided_at=clock())
    await by_hand(store, ended, delete(deliveries))


async def test_of_replicas_that_go_live_at_once_each_change_is_taken_once(
    store: Store, other_store: Store, clock: Clock
) -> None:
    for number in range(6):
        await shadowed(store, clock, f"key-{number}", str(number), value=f"v{number}")
    taken = await asyncio.gather(
        *(one.shadows.reopen(SOURCE, now=clock()) for one in (store, other_store, store, other_store))
    )
    assert sum(taken) == 6
    assert await by_state(store) == ["pending"] * 6
    assert len(await claim(store, clock)) == 6
    assert await closes(store)


async def test_a_replay_of_what_was_shadowed_forgets_what_it_would_have_left(store: Store, clock: Clock) -> None:
    """It says so anew, by whatever rules map it now."""
    first = await shadowed(store, clock, "a", value="CFO")
    await shadowed(store, clock, "b", name="phone", value="+44")
    batch = await store.replays.batch(Selection(dead_only=False, events=[first]), now=clock())
    assert (batch.events, batch.unreadable) == (1, 0)
    assert await stands(store) == {"phone": "+44"}
    assert await by_state(store) == ["pending", "shadowed"]


async def test_a_story_shows_what_would_be_sent_for_as_long_as_it_waits(store: Store, clock: Clock) -> None:
    event_id = await shadowed(store, clock, "a", value="CFO")
    (one,) = (await store.ledger.story(PERSON)).would_be_sent[ADA]
    assert (one.field, one.source, one.shadowed.value, one.shadowed.event_id) == ("title", SOURCE, "CFO", event_id)
    await by_hand(store, update(events).values(state="ignored", reason="erased at a person's request"))
    assert (await store.ledger.story(PERSON)).would_be_sent == {ADA: ()}


@pytest.mark.parametrize(
    ("sent", "at", "value", "certain", "told"),
    [
        (True, 1, "CEO", True, False),
        (True, 1, "COO", True, True),
        (False, 1, "COO", True, True),
        (True, 1, "CEO", False, True),
        (True, 0, "CEO", True, True),
    ],
    ids=["brought", "another", "taken away", "unsure", "before"],
)
async def test_a_story_tells_by_what_live_sources_brought_since_whether_a_value_would_be_sent(  # a case is all of this
    store: Store, clock: Clock, *, sent: bool, at: float, value: str, certain: bool, told: bool
) -> None:
    """Their values are older, so that those in shadow mode still stand; a contact was read for those of before."""
    await shadowed(store, clock, "a", value="CEO", sent=sent)
    await receive(store, clock, change("live", "900"), source="hubspot")
    delivery = await claim_one(store, clock)
    assert await hold(store, clock, delivery, "title") is not None
    confirmed = Confirmed(value, (0, 0), 2, clock.after(at), certain=certain)
    await finish(store, clock, delivery, confirmed={"title": confirmed})
    would_be_sent = (await store.ledger.story(PERSON)).would_be_sent[ADA]
    assert [one.field for one in would_be_sent] == (["title"] if told else [])


async def test_what_a_contact_is_owed_is_sent_by_a_source_that_is_live(store: Store, clock: Clock) -> None:
    """COO was confirmed, and the older CFO may have come over it: shadow mode passed that on, and closed."""
    until = clock.after(20)
    await shadowed(store, clock, "a", doubts=(Doubt(until, {"title": CFO}),))
    await shadowed(store, clock, "b", "900", source="hubspot", doubts=(Doubt(until, {"title": CFO}),))
    assert await store.shadows.make_good(["close"], now=until) == 0
    assert await store.shadows.make_good([SOURCE, "hubspot"], now=clock()) == 0, "it may land yet"
    clock.advance(20)
    assert await store.shadows.make_good([SOURCE, "hubspot"], now=clock()) == 1, "one of them is enough"
    assert (
        await store.shadows.make_good([SOURCE], now=clock()) + await store.shadows.make_good(["hubspot"], now=clock())
        == 1
    )
    delivery, other = await claim(store, clock)
    await store.deliveries.release(other, due_at=clock.after(60))
    assert await store.shadows.make_good([SOURCE, "hubspot"], now=clock()) == 0, "theirs are open"
    assert (await store.deliveries.pending(delivery)).in_doubt
    assert await hold(store, clock, delivery) is not None
    doubts = (await store.contacts.known(ACCOUNT, ADA)).doubts
    confirmed = {"title": replace_order(COO)}
    assert await finish(store, clock, delivery, uuid=ADA, doubts_seen=doubts, confirmed=confirmed)
    assert await store.shadows.make_good([SOURCE, "hubspot"], now=clock()) == 0


async def test_a_contact_whose_record_waits_for_a_person_is_left_alone(store: Store, clock: Clock) -> None:
    """What was refused once would be refused every few seconds."""
    await shadowed(store, clock, "a", doubts=(Doubt(clock(), {"title": CFO}),))
    assert await store.shadows.make_good(LIVE, now=clock()) == 1
    delivery = await claim_one(store, clock)
    dead = Verdict(Next.DEAD, "fault; gave up after 5 tries")
    fault = conclusion(clock, kind=OutcomeKind.FAULT, verdict=dead, uuid=None)
    assert await store.deliveries.record(delivery, fault, now=clock())
    assert await store.shadows.make_good(LIVE, now=clock()) == 0


async def test_a_contact_in_doubt_is_marked_though_nothing_would_be_sent(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a"))
    delivery = await claim_one(store, clock)
    assert await hold(store, clock, delivery, uuid=ADA) is not None
    doubts = (Doubt(clock(), {"title": CFO}),)
    nothing = conclusion(clock, kind=OutcomeKind.SHADOWED, verdict=SHADOW, doubts=doubts, shadowed={})
    assert await store.deliveries.record(delivery, nothing, now=clock())
    assert await stands(store) == {}


async def test_nothing_is_marked_where_nothing_is_owed(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a"))
    delivery = await claim_one(store, clock)
    assert await hold(store, clock, delivery, uuid=ADA) is not None
    nothing = conclusion(clock, kind=OutcomeKind.SHADOWED, verdict=SHADOW, shadowed={})
    assert await store.deliveries.record(delivery, nothing, now=clock())
    assert await stands(store) is None


async def test_an_erased_person_is_not_sent_when_the_source_goes_live(store: Store, clock: Clock) -> None:
    await shadowed(store, clock, "a", value=CANARY)
    assert (await store.eraser.erase(PERSON, now=clock())).events == 1
    assert await holds_canary(store) == []
    assert await stands(store) is None
    (event,) = await rows(store, events)
    assert (event["state"], event["reason"]) == ("ignored", REASON)
    assert await store.shadows.reopen(SOURCE, now=clock()) == 0
    assert await closes(store)


async def test_a_forgotten_record_leaves_nothing_in_a_contact_that_another_feeds(store: Store, clock: Clock) -> None:
    """What the other would send stays."""
    await shadowed(store, clock, "a", value=CANARY)
    await shadowed(store, clock, "b", "900", source="hubspot", name="phone", value="+44")
    await receive(store, clock, change("gone", action=Action.PRIVACY_DELETED))
    delivery = await claim_one(store, clock)
    assert await store.eraser.forget(delivery, now=clock())
    assert await holds_canary(store) == []
    assert await stands(store) == {"phone": "+44"}
    assert await by_state(store) == ["ignored", "shadowed", "pending"]


async def test_what_waits_to_go_live_keeps_its_payload_until_the_log_ages_out(store: Store, clock: Clock) -> None:
    await shadowed(store, clock, "a")
    await receive(store, clock, change("newest", "2"))
    old, ages_ago = clock.after(1), clock.after(-1)
    assert (await store.retention.events(after=0, payloads_before=old, log_before=ages_ago)).payloads == 0
    assert await store.shadows.waiting(LIVE) == [SOURCE]
    assert await stands(store) == {"title": "CEO"}
    assert (await store.retention.events(after=0, payloads_before=old, log_before=old)).rows == 1
    assert await store.shadows.waiting(LIVE) == []
    assert await stands(store) == {}, "it would not be sent any more, and is nobody's to keep"


async def test_a_shadowed_event_without_an_attempt_is_a_broken_book(store: Store, clock: Clock) -> None:
    event_id = await shadowed(store, clock, "a")
    await by_hand(store, update(events).values(attempt_id=None))
    (found,) = (await store.ledger.audit()).findings
    assert found == Finding("shadowed events without an attempt", 1, (event_id,))
    assert await store.shadows.reopen(SOURCE, now=clock()) == 1, "it goes live all the same"
    assert await stands(store) == {"title": "CEO"}


async def test_a_change_whose_payload_is_gone_is_not_met_again_and_again(store: Store, clock: Clock) -> None:
    await shadowed(store, clock, "a")
    await by_hand(store, update(events).values(change=None))
    assert await store.shadows.waiting(LIVE) == []
    assert await store.shadows.reopen(SOURCE, now=clock()) == 0


@pytest.mark.parametrize("name", ["ix_events_shadowed", "ix_contacts_shadow_owes"])
async def test_what_is_asked_every_few_seconds_has_an_index_of_its_own(store: Store, name: str) -> None:
    """Comparing tables does not see an index's condition; without it the whole log would be in the index."""
    catalogue = "sqlite_master WHERE name" if store.embedded else "pg_indexes WHERE indexname"
    column = "sql" if store.embedded else "indexdef"
    made_by = text(f"SELECT {column} FROM {catalogue} = '{name}'")  # noqa: S608  # from the lines above
    statement = str(await store._database.read(lambda connection: connection.execute(made_by).scalar_one()))
    assert "shadow" in statement.partition("WHERE")[2]


def replace_order(known: Confirmed) -> Confirmed:
    """Return a field as confirmed by something newer than any event here."""
    return Confirmed(known.value, (10**6, 10**6), 10**6)
