"""One person's story: who is meant, whom they are linked to, and how each field came to be what it is."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from service.model import (
    Carried,
    Confirmed,
    Delivery,
    Disposition,
    Doubt,
    EventState,
    Link,
    Next,
    OutcomeKind,
    Verdict,
)
from service.schema import contacts, links
from service.store import Store
from service.store.ledger import PAGE_MAX, Blame, Story
from service.store.opening import CrmRecord
from service.store.people import RECORDS_MAX, Person
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

LINK = Link(ADA, "email in email")
EMAIL = "Ada.Lind@Nordwind-Logistik.example"
OTHER = ADA[:-1] + "2"
NOBODY = Story(Person((), ()), (), {}, (), ())


async def delivered(store: Store, clock: Clock, delivery: Delivery, *, uuid: str = ADA, rule: str = "") -> int:
    """Deliver a title and return the id of its event."""
    event_id = (await pending_ids(store, delivery))[-1]
    await hold(store, clock, delivery, "title", uuid=uuid)
    known = {"title": Confirmed("CTO", (event_id, event_id), event_id, clock(), rule=rule or "job_title | trim")}
    done = {"link": Link(uuid, "email in email"), "confirmed": known, "fields": ("title",), "uuid": uuid}
    await finish(store, clock, delivery, email=EMAIL.casefold(), **done)
    clock.advance(1)
    return event_id


async def two_crms(store: Store, clock: Clock) -> tuple[int, int]:
    """Let Pipedrive's 451 and HubSpot's 982 set the title of one contact, in this order; return their events' ids."""
    await receive(store, clock, change("a"))
    await receive(store, clock, change("b", "982"), source="hubspot")
    first, second = await claim(store, clock)
    one = await delivered(store, clock, first)
    return one, await delivered(store, clock, second, rule="jobtitle")


@pytest.mark.parametrize(
    "named", [PERSON, "982", ADA, ADA.upper(), f"con_{ADA[4:].upper()}", EMAIL, EMAIL.lower(), f" {EMAIL.upper()} "]
)
async def test_a_person_of_several_crms_is_the_same_by_whatever_they_are_named(
    store: Store, clock: Clock, named: str
) -> None:
    await two_crms(store, clock)
    await receive(store, clock, change("c", "77"))
    told = await store.ledger.story(named)
    assert told.person == Person((("hubspot", "982"), ("pipedrive", PERSON)), ((ACCOUNT, ADA),))
    assert [(line["source"], line["object_id"]) for line in told.links] == [("hubspot", "982"), ("pipedrive", PERSON)]
    assert {line["found_by"] for line in told.links} == {"email in email"}
    assert [line["dedup_key"] for line in told.events] == ["b", "a"]
    assert [line["contact_uuid"] for line in told.attempts] == [ADA, ADA]
    assert told.fields.keys() == {ADA}


async def test_a_record_s_id_that_two_crms_have_is_narrowed_by_the_source(store: Store, clock: Clock) -> None:
    """Ids are small numbers: 451 is one person in Pipedrive and another in HubSpot."""
    await receive(store, clock, change("a"))
    await receive(store, clock, change("b"), source="hubspot")
    first, second = await claim(store, clock)
    await delivered(store, clock, first)
    await delivered(store, clock, second, uuid=OTHER)
    both = (("hubspot", PERSON), ("pipedrive", PERSON))
    assert (await store.ledger.story(PERSON)).person == Person(both, ((ACCOUNT, ADA), (ACCOUNT, OTHER)))
    for source, uuid in (("pipedrive", ADA), ("hubspot", OTHER)):
        told = await store.ledger.story(PERSON, source=source)
        assert told.person == Person(((source, PERSON),), ((ACCOUNT, uuid),))
        assert told.fields.keys() == {uuid}
        assert len(told.events) == len(told.attempts) == 1


async def test_a_record_s_id_may_look_like_an_email(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a", "ada@northwind.example"))
    told = await store.ledger.story("ada@northwind.example")
    assert told.person == Person(((SOURCE, "ada@northwind.example"),), ())
    assert [line["dedup_key"] for line in told.events] == ["a"]


async def test_a_field_s_line_says_which_event_rule_and_attempt_made_it(store: Store, clock: Clock) -> None:
    """It answers where a value comes from."""
    first_at = clock()
    _, event_id = await two_crms(store, clock)
    (line,) = (await store.ledger.story(ADA)).fields[ADA]
    *_, attempt = await rows(store, contacts.metadata.tables["attempts"])
    assert line == Blame(
        "title",
        Confirmed(
            "CTO",
            (event_id, event_id),
            event_id,
            first_at + timedelta(seconds=1),
            attempt_id=attempt["id"],
            rule="jobtitle",
        ),
        source="hubspot",
        in_doubt_until=None,
    )


async def test_a_field_in_doubt_says_until_when_it_may_yet_change(store: Store, clock: Clock) -> None:
    await two_crms(store, clock)
    for seconds, value in ((20, "CFO"), (10, "COO")):
        doubt = Doubt(clock.after(seconds), {"title": Carried(value, (1, 1)), "phone": Carried("+49", (1, 1))})
        await store.contacts.doubt(CrmRecord(ACCOUNT, SOURCE, PERSON), ADA, doubt, now=clock())
    phone, title = (await store.ledger.story(ADA)).fields[ADA]
    assert (title.field, title.source, title.known.certain, title.in_doubt_until) == (
        "title", "hubspot", False, clock.after(20),
    )  # fmt: skip
    assert (phone.field, phone.source, phone.known.value, phone.in_doubt_until) == (
        "phone",
        None,
        None,
        clock.after(20),
    )


async def test_a_field_whose_event_is_no_longer_kept_still_has_its_line(store: Store, clock: Clock) -> None:
    await two_crms(store, clock)
    await by_hand(store, contacts.metadata.tables["events"].delete())
    (line,) = (await store.ledger.story(ADA)).fields[ADA]
    assert (line.source, line.known.rule) == (None, "jobtitle")


async def test_the_story_of_an_unlinked_record_has_its_events_and_the_tries_so_far(store: Store, clock: Clock) -> None:
    """Why a contact is not up to date yet is what an operator asks first."""
    await receive(store, clock, change("a"))
    unreachable = Verdict(Next.RETRY, "unreachable", due_at=clock.after(5))
    tried = conclusion(clock, kind=OutcomeKind.UNREACHABLE, verdict=unreachable, uuid=None)
    await store.deliveries.record(await claim_one(store, clock), tried, now=clock())
    for source in (SOURCE, None):
        told = await store.ledger.story(PERSON, source=source)
        assert told.person == Person(((SOURCE, PERSON),), ())
        assert (told.links, told.fields) == ((), {})
        assert [line["state"] for line in told.events] == ["pending"]
        assert [line["outcome"] for line in told.attempts] == ["unreachable"]


async def test_the_story_of_a_contact_without_a_link_has_its_fields(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a"))
    delivery = await claim_one(store, clock)
    await hold(store, clock, delivery)
    await finish(store, clock, delivery, confirmed={"title": Confirmed("CTO")})
    told = await store.ledger.story(ADA)
    assert told.person == Person((), ((ACCOUNT, ADA),))
    assert [(line.field, line.known.value, line.source) for line in told.fields[ADA]] == [("title", "CTO", None)]
    assert told.links == told.events == told.attempts == ()


@pytest.mark.parametrize("named", ["77", ADA, EMAIL, "", "con_", "@", "%"])
async def test_the_story_of_nobody_is_empty(store: Store, clock: Clock, named: str) -> None:
    await receive(store, clock, change("a"))
    assert await store.ledger.story(named) == NOBODY
    assert await store.ledger.story(named, source="attio") == NOBODY


async def test_a_contact_whose_email_changed_is_found_by_the_new_one(store: Store, clock: Clock) -> None:
    await two_crms(store, clock)
    await by_hand(store, update(contacts).values(email="ada@kite-and-co.example"))
    assert (await store.ledger.story(EMAIL)) == NOBODY
    assert (await store.ledger.story("Ada@kite-and-co.example")).person.contacts == ((ACCOUNT, ADA),)


async def test_a_contact_that_thousands_of_records_stand_for_is_told_within_bounds(store: Store, clock: Clock) -> None:
    people = [change(f"d1f0-{number}", str(number)) for number in range(PAGE_MAX + 200)]
    for start in range(0, len(people), 500):
        await receive(store, clock, *people[start : start + 500])
    common = {"source": SOURCE, "account": ACCOUNT, "contact_uuid": ADA, "found_by": "link", "found_at": clock()}
    await by_hand(store, insert(links).values([common | {"object_id": one.object_id} for one in people]))
    await by_hand(store, insert(contacts).values(account=ACCOUNT, uuid=ADA, fields=b"{}", updated_at=clock()))
    told = await store.ledger.story(ADA, limit=PAGE_MAX)
    assert len(told.person.records) == RECORDS_MAX
    assert len(told.events) == PAGE_MAX


async def test_events_come_back_with_what_they_said_and_the_try_that_they_ended_by(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a", values={"job_title": "CTO"}, thin=True), change("b"), change("c", "77"))
    first_due, _ = await claim(store, clock)
    await finish(store, clock, first_due, fields=("title",))
    third, first = await store.ledger.logged([3, 7, 1, 3])
    assert (first.line["dedup_key"], third.line["dedup_key"]) == ("a", "c")
    assert first.change == change("a", values={"job_title": "CTO"}, thin=True)
    assert first.attempt is not None
    assert (first.attempt["outcome"], first.attempt["fields"]) == ("applied", '["title"]')
    assert (third.line["state"], third.attempt) == ("pending", None)
    assert "change" not in first.line
    assert first.line.keys() == (await store.ledger.events(limit=1))[0].keys()


async def test_an_event_that_others_ended_by_comes_back_with_their_reasons(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a"), change("b"), change("c"), change("d"))
    why = {1: "overtaken by a newer event", 2: "overtaken by a newer event", 3: None}
    merged = [Disposition(number, EventState.MERGED, reason, 4) for number, reason in why.items()]
    done = conclusion(clock, [*merged, Disposition(4, EventState.DELIVERED)])
    assert await store.deliveries.record(await claim_one(store, clock), done, now=clock())
    assert [one.carried for one in await store.ledger.logged([1, 4])] == [
        frozenset(),
        {"overtaken by a newer event", ""},
    ]


async def test_an_event_whose_payload_is_gone_comes_back_without(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a"))
    await by_hand(store, update(contacts.metadata.tables["events"]).values(change=None))
    (one,) = await store.ledger.logged([1])
    assert (one.change, one.line["dedup_key"]) == (None, "a")


async def test_no_more_events_come_back_than_a_list_has(store: Store, clock: Clock) -> None:
    people = [change(f"d1f0-{number}") for number in range(PAGE_MAX + 1)]
    for start in range(0, len(people), 500):
        await receive(store, clock, *people[start : start + 500])
    assert len(await store.ledger.logged(range(1, PAGE_MAX + 2))) == PAGE_MAX
