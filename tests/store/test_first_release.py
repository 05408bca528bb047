"""A log of the first release is read on: what it owed, what it knew and what it left in doubt."""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

import service.migrations
from service.model import Carried, Confirmed, Doubt, Known, Link, to_micros
from service.schema import accounts, contacts, deliveries, events
from service.store import Store
from service.store.migrate import version
from tests.support.clock import Clock
from tests.support.log import (
    ACCOUNT,
    ADA,
    LATE,
    PERSON,
    SOURCE,
    change,
    claim_one,
    conclusion,
    ends,
    hold,
    receive,
    rows,
)

pytestmark = pytest.mark.anyio

FIRST: Final = "0001"
EVENT: Final[dict[str, Any]] = {
    "source": SOURCE,
    "request_id": 7,
    "account": ACCOUNT,
    "object_type": "person",
    "object_id": PERSON,
    "action": "updated",
}


def first_tables(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(service.migrations.__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, FIRST)


def insert(connection: Connection, table: str, row: Mapping[str, Any]) -> None:
    names = ", ".join(row)
    values = ", ".join(f":{name}" for name in row)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), dict(row))  # noqa: S608  # our names


@pytest.fixture
async def old(store_url: str, clock: Clock) -> AsyncIterator[Store]:
    """One change delivered, and a second under way when the first release was stopped the hard way."""
    at = to_micros(clock())
    packed = b"j" + json.dumps({"v": {"job_title": "COO"}}).encode()
    fields = {"title": ["CFO", at, 1, 1, at, True], "phone": [None, 0, 0, None, None, False]}

    def fill(connection: Connection) -> None:
        first_tables(connection)
        common = {"account": ACCOUNT, "source": SOURCE, "object_id": PERSON, "opened_at": at, "due_at": at}
        insert(connection, "accounts", {"name": ACCOUNT, "next_call_at": at, "paused_at": at, "paused_reason": "401"})
        insert(connection, "deliveries", {**common, "state": "delivered", "outcome": "applied", "closed_at": at})
        insert(
            connection, "deliveries", {**common, "state": "leased", "fence": 1, "lease_owner": "a", "lease_until": at}
        )
        ended = {
            "state": "delivered",
            "decided_at": at,
            "delivery_id": 1,
            "attempt_id": 1,
            "config_version": "0c6d1b7e4f52",
        }
        for key, end in (("old-1", ended), ("old-2", {"state": "pending"})):
            row = {**EVENT, **end, "dedup_key": key, "order_key": at, "received_at": at, "change": packed}
            insert(connection, "events", row)
        attempt = {"delivery_id": 1, "started_at": at, "duration_ms": 84, "outcome": "applied", "fields": '["title"]'}
        insert(connection, "attempts", attempt)
        link = {"source": SOURCE, "object_id": PERSON, "account": ACCOUNT, "contact_uuid": ADA}
        insert(connection, "links", {**link, "found_by": "email in email", "found_at": at})
        contact = {"account": ACCOUNT, "uuid": ADA, "fields": json.dumps(fields).encode(), "updated_at": at}
        held = {"held_by": 2, "held_until": at + 60_000_000, "intent": '["title","custom.Lifecycle"]'}
        insert(connection, "contacts", contact | held)

    store = Store(store_url)
    try:
        await store._database.write(fill)
        assert await version(store._database) == FIRST
        assert await store.migrate() is True
        yield store
    finally:
        await store.close()


async def test_the_books_close_and_every_row_is_there(old: Store) -> None:
    assert (await old.ledger.audit()).findings == ()
    assert [(row["lost"], row["settled_by"]) for row in await rows(old, deliveries)] == [(0, None)] * 2
    assert [row["replay_version"] for row in await rows(old, events)] == [None, None]
    (contact,) = await rows(old, contacts)
    assert (contact["email"], contact["doubts"]) == (None, None)


async def test_what_was_under_way_is_doubted_and_goes_on(old: Store, clock: Clock) -> None:
    """The first release said which fields it may have sent, not their values: any of them may land over a newer one."""
    clock.advance(60)
    await old.accounts.resume(ACCOUNT)
    assert await old.deliveries.reclaim(now=clock()) == 1
    delivery = await claim_one(old, clock)
    owed = await old.deliveries.pending(delivery)
    assert [(event.change.dedup_key, event.change.values) for event in owed.events] == [("old-2", {"job_title": "COO"})]
    assert (owed.link, owed.in_doubt) == (Link(ADA, "email in email"), False)
    met = await hold(old, clock, delivery, "title")
    at = clock.after(-60)
    assert met == Known(
        {
            "title": Confirmed("CFO", (to_micros(at), 1), 1, at, certain=False),
            "phone": Confirmed(None, certain=False),
            "custom.Lifecycle": Confirmed(None, certain=False),
        },
        (Doubt(clock() + LATE, {"title": Carried(None), "custom.Lifecycle": Carried(None)}),),
    )
    done = conclusion(clock, ends(owed.events[0].id), doubts=met.doubts, doubts_seen=met.doubts)
    assert await old.deliveries.record(delivery, done, now=clock())
    assert (await old.ledger.audit()).findings == ()


async def test_an_account_s_pause_was_that_of_its_key_and_its_rate_is_whole(old: Store, clock: Clock) -> None:
    (state,) = await old.accounts.paused()
    assert (state.paused_reason, state.paused_by_hand, state.share, state.share_at) == ("401", False, 1.0, None)
    await old.accounts.key_works(ACCOUNT)
    assert [row["paused_at"] for row in await rows(old, accounts)] == [None]
    assert (await old.accounts.reserve(ACCOUNT, every=LATE, wait_max=LATE, now=clock())).share == 1


async def test_a_person_s_story_is_told_from_what_was_kept(old: Store) -> None:
    phone, title = (await old.ledger.story(ADA)).fields[ADA]
    assert (title.field, title.known.value, title.known.rule, title.source) == ("title", "CFO", None, SOURCE)
    assert (phone.field, phone.known.certain, phone.source) == ("phone", False, None)


async def test_new_changes_join_what_the_first_release_left_open(old: Store, clock: Clock) -> None:
    await receive(old, clock, change("new-1"))
    assert [row["state"] for row in await rows(old, deliveries)] == ["delivered", "leased"]
    assert [row["dedup_key"] for row in await rows(old, events)] == ["old-1", "old-2", "new-1"]
    assert (await old.ledger.audit()).findings == ()
