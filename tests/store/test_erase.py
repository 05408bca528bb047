"""Erasing: a person's payloads and values go, keys and outcomes stay, and nobody else is touched."""

from pathlib import Path

import pytest
from sqlalchemy import delete, insert

from service.errors import NotFound, ServiceError
from service.model import (
    Action,
    Carried,
    Confirmed,
    Doubt,
    InboundRequest,
    Link,
    Next,
    OutcomeKind,
    Verdict,
)
from service.schema import contacts, deliveries, events, links, requests
from service.store import Store
from service.store.erase import REASON, Erased
from tests.support.canary import CANARY, EMAIL, delivered, holds_canary
from tests.support.clock import Clock
from tests.support.log import (
    ADA,
    PERSON,
    SOURCE,
    arrival,
    bury,
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
EVENTS_MANY = 40_000
"""More than any engine takes as parameters of one statement."""


async def lines(store: Store) -> list[dict[str, object]]:
    return await store.ledger.events(limit=1000)


async def closes(store: Store) -> bool:
    return (await store.ledger.audit()).findings == ()


@pytest.mark.parametrize("named", [PERSON, ADA, ADA.upper().replace("CON_", "con_"), EMAIL, f" {EMAIL.upper()} "])
async def test_a_person_is_erased_by_record_contact_and_email(store: Store, clock: Clock, named: str) -> None:
    await delivered(store, clock, "a")
    await delivered(store, clock, "b", "900", uuid=GRACE, value="somebody else")
    assert await holds_canary(store) == ["contacts.email", "contacts.fields", "events.change"]
    before = await lines(store)
    clock.advance(60)
    assert await store.eraser.erase(named, now=clock()) == Erased(events=1, requests=1, contacts=1)
    assert await holds_canary(store) == []
    assert await lines(store) == before, "keys and outcomes stay"
    assert await closes(store)


async def test_whole_requests_of_theirs_go_and_others_stay(store: Store, clock: Clock) -> None:
    await delivered(store, clock, "a")
    await delivered(store, clock, "b", "900", uuid=GRACE, value="somebody else")
    await store.eraser.erase(PERSON, now=clock())
    theirs, others = await rows(store, events)
    assert theirs["change"] is None
    assert others["change"] is not None
    first, second = await rows(store, requests)
    assert (first["raw"], second["raw"] is None) == (None, False)
    erased, other = sorted(await rows(store, contacts), key=lambda row: str(row["uuid"] != ADA))
    assert (erased["email"], erased["intent"], erased["doubts"]) == (None, None, None)
    assert other["email"] == "somebody else@northwind.example"


async def test_what_is_known_of_their_contact_keeps_its_order_alone(store: Store, clock: Clock) -> None:
    """So that an older change loses for ever, and any newer one is sent, whatever it says."""
    await delivered(store, clock, "a")
    (before,) = (await store.contacts.known("default", ADA)).fields.values()
    await store.eraser.erase(PERSON, now=clock())
    (after,) = (await store.contacts.known("default", ADA)).fields.values()
    assert (after.value, after.certain) == (None, False)
    assert (after.order, after.event_id, after.rule) == (before.order, before.event_id, before.rule)


async def test_intents_and_doubts_about_them_go_too(store: Store, clock: Clock) -> None:
    """They hold values as well: of a PATCH that nobody saw answered."""
    await delivered(store, clock, "a")
    await receive(store, clock, change("b", values={"title": CANARY}))
    delivery = await claim_one(store, clock)
    assert await hold(store, clock, delivery, uuid=ADA, carrying={"title": Carried(CANARY, (2, 2))}) is not None
    retry = Verdict(Next.RETRY, "no answer", due_at=clock.after(600))
    doubt = Doubt(clock.after(600), {"title": Carried(CANARY, (2, 2))})
    unknown = conclusion(clock, kind=OutcomeKind.UNKNOWN, verdict=retry, doubts=(doubt,), uncertain=("title",))
    assert await store.deliveries.record(delivery, unknown, now=clock())
    assert "contacts.doubts" in await holds_canary(store)
    await store.eraser.erase(PERSON, now=clock())
    assert await holds_canary(store) == []
    assert (await store.contacts.known("default", ADA)).doubts == ()
    assert await closes(store)


async def test_what_waits_of_them_ends_as_ignored(store: Store, clock: Clock) -> None:
    await delivered(store, clock, "a")
    await receive(store, clock, change("b", values={"title": CANARY}), change("c", "900"))
    assert (await store.eraser.erase(PERSON, now=clock())).events == 2
    states = {line["dedup_key"]: (line["state"], line["reason"]) for line in await lines(store)}
    assert states == {"a": ("delivered", None), "b": ("ignored", REASON), "c": ("pending", None)}
    theirs, others = (await rows(store, deliveries))[1:]
    assert (theirs["state"], theirs["reason"], theirs["closed_at"]) == ("skipped", REASON, clock())
    assert others["state"] == "pending"
    assert [one.object_id for one in await claim(store, clock)] == ["900"]
    assert await closes(store)


async def test_a_dead_letter_of_theirs_is_put_away(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a", values={"title": CANARY}))
    await bury(store, clock, await claim_one(store, clock))
    assert await store.eraser.erase(PERSON, now=clock()) == Erased(events=1, requests=1)
    assert (await store.ledger.backlog()).dead == 0
    (event,) = await lines(store)
    assert (event["state"], event["reason"]) == ("ignored", REASON)
    assert await holds_canary(store) == []
    assert await closes(store)


async def test_a_batch_is_erased_whole_and_still_delivers_what_others_said(store: Store, clock: Clock) -> None:
    """One request of HubSpot's holds changes of many people."""
    body = f'[{{"of": "{CANARY}"}}, {{"of": "somebody else"}}]'.encode()
    request = InboundRequest("POST", "https://hooks.northwind.example/webhooks/hubspot", {}, body)
    changes = (change("a", values={"title": CANARY}), change("b", "900", values={"title": "somebody else"}))
    await store.intake.append(arrival(*changes, at=clock(), source=SOURCE, request=request))
    assert await store.eraser.erase(PERSON, now=clock()) == Erased(events=1, requests=1)
    assert await holds_canary(store) == []
    delivery = await claim_one(store, clock)
    (event,) = (await store.deliveries.pending(delivery)).events
    assert (event.change.object_id, event.change.values) == ("900", {"title": "somebody else"})
    assert await finish(store, clock, delivery, uuid=GRACE)
    with pytest.raises(NotFound):
        await store.ledger.request_of(event.id)
    assert await closes(store)


async def test_a_delivery_under_way_is_waited_for(store: Store, clock: Clock) -> None:
    """Its outcome would bring values back."""
    await receive(store, clock, change("a", values={"title": CANARY}))
    delivery = await claim_one(store, clock)
    before = await lines(store)
    assert await store.eraser.erase(PERSON, now=clock()) == Erased(busy=1)
    assert await lines(store) == before
    assert "events.change" in await holds_canary(store)
    assert await finish(store, clock, delivery)
    assert await store.eraser.erase(PERSON, now=clock()) == Erased(events=1, requests=1)


async def test_a_contact_that_another_record_holds_is_waited_for(store: Store, clock: Clock) -> None:
    """A second CRM's first change of a person is linked only once it is delivered; it writes values all the same."""
    await delivered(store, clock, "a")
    await receive(store, clock, change("h", "77", values={"title": CANARY}), source="hubspot")
    delivery = await claim_one(store, clock)
    assert await hold(store, clock, delivery, uuid=ADA, carrying={"title": Carried(CANARY, (2, 2))}) is not None
    assert await store.eraser.erase(PERSON, now=clock()) == Erased(busy=1)
    (event_id,) = await pending_ids(store, delivery)
    confirmed = {"title": Confirmed(CANARY, (2, 2), event_id, clock())}
    assert await finish(store, clock, delivery, confirmed=confirmed, link=Link(ADA, "email in email"))
    assert await store.eraser.erase(PERSON, now=clock()) == Erased(events=2, requests=2, contacts=1)
    assert await holds_canary(store) == []


async def test_every_record_of_every_crm_that_is_linked_to_them_goes(store: Store, clock: Clock) -> None:
    await delivered(store, clock, "a")
    await delivered(store, clock, "h", "77", source="hubspot")
    assert await store.eraser.erase("77", source="hubspot", now=clock()) == Erased(events=2, requests=2, contacts=1)
    assert await holds_canary(store) == []


@pytest.mark.parametrize("named", [PERSON, EMAIL])
async def test_records_that_were_merged_into_theirs_go_too(store: Store, clock: Clock, named: str) -> None:
    """Their links followed the survivor, so that nothing else leads to them."""
    await delivered(store, clock, "a", "7")
    await receive(store, clock, change("m", action=Action.MERGED, merged_from=("7",)))
    assert await finish(store, clock, await claim_one(store, clock), uuid=None)
    await store.links.follow(SOURCE, PERSON, ["7"], now=clock())
    assert await store.eraser.erase(named, now=clock()) == Erased(events=2, requests=2, contacts=1)
    assert await holds_canary(store) == []
    assert await closes(store)


async def test_one_id_of_two_people_is_asked_about(store: Store, clock: Clock) -> None:
    """CRMs number as they like: 451 of one is somebody else than 451 of another, and erasing cannot be undone."""
    await delivered(store, clock, "a")
    await delivered(store, clock, "h", source="hubspot", uuid=GRACE, value="somebody else")
    before = await lines(store)
    with pytest.raises(ServiceError, match="several people have that id: hubspot, pipedrive") as told:
        await store.eraser.erase(PERSON, now=clock())
    assert told.value.hint == "say whose with --source, or name them by uuid or email"
    assert await lines(store) == before
    assert await store.eraser.erase(PERSON, source="pipedrive", now=clock()) == Erased(1, 1, 1)
    assert await holds_canary(store) == []
    (other,) = [row for row in await rows(store, events) if row["source"] == "hubspot"]
    assert other["change"] is not None


async def test_one_id_of_one_person_in_two_crms_is_not(store: Store, clock: Clock) -> None:
    await delivered(store, clock, "a")
    await delivered(store, clock, "h", source="hubspot")
    assert await store.eraser.erase(PERSON, now=clock()) == Erased(2, 2, 1)


async def test_a_contact_that_is_not_linked_any_more_is_erased_with_its_record(store: Store, clock: Clock) -> None:
    """Where ChartMogul had merged or deleted it, the link was forgotten, but not what the contact held."""
    await delivered(store, clock, "a")
    await by_hand(store, delete(links))
    assert await store.eraser.erase(PERSON, now=clock()) == Erased(events=1, requests=1, contacts=1)
    assert await holds_canary(store) == []


@pytest.mark.parametrize("named", [ADA, EMAIL])
async def test_a_record_whose_link_was_forgotten_is_erased_with_its_contact(
    store: Store, clock: Clock, named: str
) -> None:
    await delivered(store, clock, "a")
    await by_hand(store, delete(links))
    assert await store.eraser.erase(named, now=clock()) == Erased(events=1, requests=1, contacts=1)
    assert await holds_canary(store) == []


@pytest.mark.parametrize("named", ["999", GRACE, "nobody@northwind.example", "", "con_"])
async def test_nobody_is_said_so(store: Store, clock: Clock, named: str) -> None:
    await delivered(store, clock, "a")
    with pytest.raises(NotFound, match="nobody of that name is in the log"):
        await store.eraser.erase(named, now=clock())
    with pytest.raises(NotFound):
        await store.eraser.erase(PERSON, source="hubspot", now=clock())
    assert "events.change" in await holds_canary(store)


async def test_who_was_erased_is_erased_again_without_a_word_of_more(store: Store, clock: Clock) -> None:
    await delivered(store, clock, "a")
    await store.eraser.erase(PERSON, now=clock())
    assert await store.eraser.erase(PERSON, now=clock()) == Erased(contacts=1)
    assert await closes(store)


async def test_a_person_of_very_many_changes_is_erased(store: Store, clock: Clock) -> None:
    await delivered(store, clock, "a")
    (template,) = await rows(store, events)
    (raw,) = await rows(store, requests)
    many = [dict(template) | {"id": 10 + at, "dedup_key": f"k{at}", "request_id": 10 + at} for at in range(EVENTS_MANY)]
    kept = [dict(raw) | {"id": 10 + at} for at in range(EVENTS_MANY)]

    def write(connection: object) -> None:
        connection.execute(insert(events), many)  # type: ignore[attr-defined]
        connection.execute(insert(requests), kept)  # type: ignore[attr-defined]

    await store._database.write(write)
    assert await store.eraser.erase(PERSON, now=clock()) == Erased(EVENTS_MANY + 1, EVENTS_MANY + 1, 1)
    assert await closes(store)


async def test_nothing_of_them_is_left_in_the_bytes_of_the_file(sqlite_url: str, tmp_path: Path, clock: Clock) -> None:
    """What is only forgotten can be read with other tools: in the file, in its write-ahead log, in its index."""

    def bytes_with_canary() -> set[str]:
        return {path.suffix for path in tmp_path.iterdir() if CANARY.encode() in path.read_bytes().lower()}

    store = Store(sqlite_url)
    await store.migrate()
    await store.accounts.ensure(["default"], now=clock())
    await delivered(store, clock, "a")
    await delivered(store, clock, "b", "900", uuid=GRACE, value="somebody else")
    await receive(store, clock, change("c", values={"title": CANARY}))
    assert bytes_with_canary() == {".db-wal"}, "as it is before any checkpoint"
    await store.eraser.erase(EMAIL, now=clock())
    assert bytes_with_canary() == set()
    await delivered(store, clock, "d", value="newer")
    await store.close()
    assert bytes_with_canary() == set()


async def test_what_was_moved_into_the_file_before_is_overwritten_there(
    sqlite_url: str, tmp_path: Path, clock: Clock
) -> None:
    file = tmp_path / "log.db"
    first = Store(sqlite_url)
    await first.migrate()
    await first.accounts.ensure(["default"], now=clock())
    await delivered(first, clock, "a")
    await first.close()
    assert CANARY.encode() in file.read_bytes()
    store = Store(sqlite_url)
    await store.eraser.erase(PERSON, now=clock())
    assert CANARY.encode() not in file.read_bytes().lower(), "at once, not when it is closed"
    await store.close()
