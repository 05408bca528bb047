"""Logged changes read again: exactly those of a stretch, in bounded batches, and without a trace left in the log."""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text, update
from sqlalchemy.engine import URL

from service.errors import StoreError, StoreUnavailable
from service.model import EventState, Record
from service.schema import events, requests
from service.store import Store
from service.store.history import BATCH, History, Stretch
from service.store.migrate import HEAD
from tests.support.clock import START, Clock
from tests.support.log import by_hand, change, claim_one, finish, receive

pytestmark = pytest.mark.anyio


@pytest.fixture
async def history(store: Store, store_url: str) -> AsyncIterator[History]:
    """A look at the log beside the store that writes it."""
    del store  # migrated first
    history = await History.open(store_url)
    try:
        yield history
    finally:
        await history.close()


def fingerprint(directory: Path) -> dict[str, str]:
    """Every file of a directory by its content; SQLite's index of its own log is no content."""
    files = [path for path in directory.iterdir() if not path.name.endswith("-shm")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


async def ids(history: History, stretch: Stretch) -> list[int]:
    """The ids of a stretch, batch after batch."""
    found: list[int] = []
    while batch := await history.batch(stretch, after=found[-1] if found else 0):
        assert len(batch) <= BATCH
        found += [logged.id for logged in batch]
    return found


async def ids_back(history: History, stretch: Stretch) -> list[int]:
    """The same from its end."""
    found: list[int] = []
    while batch := await history.batch_back(stretch, before=found[-1] if found else None):
        found += [logged.id for logged in batch]
    return found


async def test_a_change_is_read_as_it_was_logged(store: Store, clock: Clock, history: History) -> None:
    said = change(
        "d1f0-1", values={"first_name": "Amara"}, previous={"first_name": "A."}, changed_fields=("first_name",)
    )
    await receive(store, clock, said)
    await finish(store, clock, await claim_one(store, clock), config_version="9f2c1ab04d7e")
    (logged,) = await history.batch(await history.newest(10))
    assert (logged.change, logged.source, logged.object_id, logged.received_at) == (said, "pipedrive", "451", START)
    assert (logged.version, logged.ignored) == ("9f2c1ab04d7e", None)
    request = await history.request(logged.request_id)
    assert request is not None
    assert request.url.endswith("/webhooks/pipedrive")


async def test_only_what_was_let_in_without_being_owed_carries_why(
    store: Store, clock: Clock, history: History
) -> None:
    await receive(store, clock, change("a", ignored="object type deal"), change("b"))
    await finish(store, clock, await claim_one(store, clock))
    await receive(store, clock, change("c", "452"))
    filtered = update(events).where(events.c.dedup_key == "b").values(state=EventState.IGNORED.value, reason="filtered")
    await by_hand(store, filtered)
    logged = await history.batch(await history.newest(10))
    assert {one.change.dedup_key: one.ignored for one in logged if one.change} == {
        "a": "object type deal",
        "b": None,
        "c": None,
    }


async def test_the_newest_of_all_or_of_one_source_are_a_stretch(store: Store, clock: Clock, history: History) -> None:
    for number in range(6):
        await receive(store, clock, change(f"k{number}"), source="hubspot" if number % 2 else "pipedrive")
    newest, own = await history.newest(3), await history.newest(2, source="hubspot")
    assert (newest.count, await ids(history, newest)) == (3, [4, 5, 6])
    assert (own.count, await ids(history, own), await ids_back(history, own)) == (2, [4, 6], [6, 4])
    assert (await history.newest(100)).count == 6


async def test_what_was_received_since_is_a_stretch(store: Store, clock: Clock, history: History) -> None:
    for number in range(4):
        await receive(store, clock, change(f"k{number}"), source="hubspot" if number % 2 else "pipedrive")
        clock.advance(3600)
    later = await history.since(START + timedelta(hours=1))
    assert (later.count, await ids(history, later), await ids_back(history, later)) == (3, [2, 3, 4], [4, 3, 2])
    own = await history.since(START + timedelta(hours=1), source="pipedrive")
    assert (own.count, await ids(history, own)) == (1, [3])


async def test_an_empty_stretch_has_nothing(history: History) -> None:
    for stretch in (await history.newest(5), await history.since(START)):
        assert (stretch.count, await history.batch(stretch), await history.batch_back(stretch)) == (0, [], [])


async def test_what_comes_after_it_was_measured_is_not_of_the_stretch(
    store: Store, clock: Clock, history: History
) -> None:
    """A look at a busy log comes to an end."""
    await receive(store, clock, change("a"))
    measured = await history.since(START)
    await receive(store, clock, change("b"))
    assert await ids(history, measured) == [1]


async def test_more_than_a_batch_comes_in_batches_each_once(store: Store, clock: Clock, history: History) -> None:
    for start in range(0, BATCH + 3, 250):
        await receive(store, clock, *(change(f"k{number}") for number in range(start, min(start + 250, BATCH + 3))))
    stretch = await history.newest(10_000)
    assert len(await history.batch(stretch)) == BATCH
    every = list(range(1, BATCH + 4))
    assert (await ids(history, stretch), await ids_back(history, stretch)) == (every, every[::-1])


async def test_what_has_aged_out_is_there_without_its_payload(store: Store, clock: Clock, history: History) -> None:
    await receive(store, clock, change("a"))
    await by_hand(store, update(events).values(change=None), update(requests).values(raw=None))
    (logged,) = await history.batch(await history.newest(1))
    assert logged.change is None
    assert await history.request(logged.request_id) is None


async def test_past_rules_are_read_by_version_and_source(store: Store, clock: Clock, history: History) -> None:
    document: Record = {"mapping": {"first_name": "first_name"}}
    await store.configurations.keep("9f2c1ab04d7e", {"pipedrive": document}, now=clock())
    assert await history.rules("9f2c1ab04d7e", "pipedrive") == document
    assert await history.rules("9f2c1ab04d7e", "hubspot") is None
    assert await history.rules("000000000000", "pipedrive") is None


async def test_nothing_can_be_written(store: Store, history: History) -> None:
    del store
    with pytest.raises(StoreError):
        await history._database.read(lambda connection: connection.execute(text("DELETE FROM events")).rowcount)
    if history._database.dialect == "sqlite":
        for refused in (history._database.write(lambda _: None), history._database.scrub()):
            with pytest.raises(StoreError, match="only looked at"):
                await refused
        with pytest.raises(StoreError, match="only looked at"):
            history._database.lock()


@pytest.mark.parametrize(
    ("found", "told"), [("0001", f"at version 0001, behind {HEAD}"), ("9999", "which this release does not know")]
)
async def test_tables_of_another_release_are_refused_with_what_to_do(
    store: Store, store_url: str, found: str, told: str
) -> None:
    await by_hand(store, text("UPDATE alembic_version SET version_num = :found").bindparams(found=found))
    with pytest.raises(StoreError, match=told) as error:
        await History.open(store_url)
    assert error.value.hint


async def test_a_database_without_tables_is_refused_and_stays_without(store_url: str, tmp_path: Path) -> None:
    if store_url.startswith("sqlite"):
        (tmp_path / "log.db").touch()
    with pytest.raises(StoreError, match="no tables yet"):
        await History.open(store_url)
    assert list(fingerprint(tmp_path)) == (["log.db"] if store_url.startswith("sqlite") else [])


async def test_no_file_is_told_so_and_none_is_made(sqlite_url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="no log at"):
        await History.open(sqlite_url)
    assert fingerprint(tmp_path) == {}


async def look(url: str) -> int:
    """Open a log, read it all, close it, and say how many changes it has."""
    history = await History.open(url)
    try:
        return len(await ids(history, await history.newest(1000)))
    finally:
        await history.close()


@pytest.mark.parametrize("name", ["log.db", "a log?mode=rwc#%41.db"])
async def test_a_file_that_nobody_has_open_is_left_byte_for_byte(name: str, tmp_path: Path, clock: Clock) -> None:
    """Whatever it is called: some characters mean something in the address that SQLite is given."""
    url = URL.create("sqlite", database=str(tmp_path / name)).render_as_string()
    store = Store(url)
    await store.migrate()
    await receive(store, clock, change("a"), change("b"))
    await store.close()
    before = fingerprint(tmp_path)
    assert await look(url) == 2
    assert fingerprint(tmp_path) == before
    assert list(before) == [name], "nor is there a write-ahead log beside it"


async def test_a_file_that_is_in_use_is_left_as_it_is_and_goes_on(
    sqlite_url: str, tmp_path: Path, clock: Clock
) -> None:
    store = Store(sqlite_url)
    await store.migrate()
    store.lock()
    await receive(store, clock, change("a"), change("b"))
    before = fingerprint(tmp_path)
    assert "log.db-wal" in before
    assert await look(sqlite_url) == 2
    assert fingerprint(tmp_path) == before
    await receive(store, clock, change("c"))
    assert await look(sqlite_url) == 3
    await store.close()
    assert list(fingerprint(tmp_path)) == ["log.db", "log.db.lock"], "whoever closes last takes its log away"


CRASH = """
import asyncio, os, sys
from service.store import Store
from tests.support.clock import Clock
from tests.support.log import change, receive

async def run():
    store = Store(sys.argv[1])
    await store.migrate()
    await receive(store, Clock(), change("a"))
    os._exit(0)

asyncio.run(run())
"""


async def test_what_a_crash_left_in_the_write_ahead_log_is_read_and_left_there(sqlite_url: str, tmp_path: Path) -> None:
    crashed = await asyncio.create_subprocess_exec(sys.executable, "-c", CRASH, sqlite_url)
    assert await crashed.wait() == 0
    before = fingerprint(tmp_path)
    assert "log.db-wal" in before
    assert await look(sqlite_url) == 1
    assert fingerprint(tmp_path) == before
