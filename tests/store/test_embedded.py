"""SQLite as the log: synced, alone on its file, and honest about a disk that is full, locked or read-only."""

import asyncio
import contextlib
import fcntl
import secrets
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, select, text

from service.errors import NotFound, StoreError, StoreUnavailable
from service.model import InboundRequest
from service.schema import events, requests
from service.store import Store
from service.store.database import Database
from service.store.embedded import WAL_TIMEOUT_S
from service.store.lease import PENDING
from tests.support.clock import START, Clock
from tests.support.log import SOURCE, arrival, change, receive, rows, writing_engine

pytestmark = pytest.mark.anyio


@pytest.fixture
async def embedded(sqlite_url: str) -> AsyncIterator[Store]:
    store = Store(sqlite_url)
    await store.migrate()
    yield store
    await store.close()


def pragma(name: str) -> Callable[[Connection], object]:
    return lambda connection: connection.execute(text(f"PRAGMA {name}")).scalar()


async def test_every_commit_is_synced(embedded: Store) -> None:
    """P1 rests on these two settings: SQLite's own default for WAL loses the last commits with the power."""
    assert await embedded._database.write(pragma("journal_mode")) == "wal"
    assert await embedded._database.write(pragma("synchronous")) == 2
    assert await embedded._database.read(pragma("journal_mode")) == "wal"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="in-memory"):
        Store(url)


async def test_a_second_service_on_the_file_is_refused_until_the_first_ends(embedded: Store, sqlite_url: str) -> None:
    embedded.lock()
    second = Store(sqlite_url)
    try:
        with pytest.raises(StoreUnavailable, match="another service"):
            second.lock()
        await embedded.close()
        second.lock()
    finally:
        await second.close()


def test_whoever_only_looks_whether_a_service_runs_does_not_keep_one_from_starting(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'log.db'}")
    with (tmp_path / "log.db.lock").open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        timer = threading.Timer(0.05, lambda: fcntl.flock(looking, fcntl.LOCK_UN))
        timer.start()
        store.lock()
        timer.join()
    asyncio.run(store.close())


async def test_a_file_whose_lock_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'not-mounted' / 'log.db'}")
    try:
        with pytest.raises(StoreUnavailable):
            store.lock()
        with pytest.raises(StoreUnavailable):
            await store.migrate()
    finally:
        await store.close()


async def test_a_full_disk_takes_nothing_and_loses_nothing(embedded: Store, clock: Clock) -> None:
    await receive(embedded, clock, change("before"))
    pages = await embedded._database.write(pragma("page_count"))
    await embedded._database.write(pragma(f"max_page_count={pages}"))
    noise = secrets.token_bytes(200_000)  # does not compress
    request = InboundRequest("POST", "https://hooks.northwind.example/webhooks/pipedrive", {}, noise)
    large = arrival(change("during"), at=clock(), request=request)
    with pytest.raises(StoreUnavailable, match="full") as full:
        await embedded.intake.append(large)
    assert "disk space" in full.value.hint
    assert [row["dedup_key"] for row in await rows(embedded, events)] == ["before"]
    await embedded._database.write(pragma("max_page_count=1073741823"))
    assert (await embedded.intake.append(large)).accepted == 1
    assert (await embedded.ledger.audit()).findings == ()


async def test_a_read_only_file_is_unavailable_for_writing_and_readable(
    embedded: Store, tmp_path: Path, clock: Clock
) -> None:
    await receive(embedded, clock, change("before"))
    read_only = Store(f"sqlite:///file:{tmp_path / 'log.db'}?mode=ro&uri=true")
    try:
        with pytest.raises(StoreUnavailable, match="readonly"):
            await read_only.check()
        with pytest.raises(StoreUnavailable):
            await receive(read_only, clock, change("during"))
        assert len(await rows(read_only, events)) == 1
    finally:
        await read_only.close()


async def test_a_file_that_another_process_writes_to_is_unavailable_after_a_while(
    embedded: Store, sqlite_url: str, tmp_path: Path
) -> None:
    """A backup script that forgot its transaction must turn senders away, not hang them."""
    del embedded  # migrated
    impatient = Database(f"{sqlite_url}?timeout=0.05")
    touch = text("UPDATE accounts SET slowed_reason = NULL")
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE").close()
        with pytest.raises(StoreUnavailable, match="locked"):
            await impatient.write(lambda connection: connection.execute(touch).rowcount)
        assert (
            await impatient.read(lambda connection: connection.execute(text("SELECT count(*) FROM events")).scalar())
            == 0
        )
        other.execute("ROLLBACK").close()
        await impatient.write(lambda connection: connection.execute(touch).rowcount)
    finally:
        other.close()
        await impatient.close()


async def test_nothing_is_taken_into_a_file_that_was_moved_or_deleted_until_it_is_back(
    embedded: Store, clock: Clock, sqlite_url: str
) -> None:
    """It would go on in a file that no start ever finds again."""
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    away = file.with_suffix(".moved")
    await receive(embedded, clock, change("a"))
    await asyncio.to_thread(file.rename, away)
    with pytest.raises(StoreUnavailable, match="moved, deleted or replaced"):
        await receive(embedded, clock, change("b"))
    await asyncio.to_thread(file.write_bytes, b"")
    with pytest.raises(StoreUnavailable, match="moved, deleted or replaced"):
        await receive(embedded, clock, change("b"))
    await asyncio.to_thread(away.rename, file)
    await receive(embedded, clock, change("b"))
    assert (await embedded.ledger.counts()) == {"pending": 2}


async def test_the_log_of_what_was_erased_is_cut_unless_somebody_reads_it(embedded: Store, sqlite_url: str) -> None:
    assert await embedded._database.scrub()
    with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchall()
        await embedded.accounts.ensure(["default"], now=START)
        assert not await embedded._database.scrub()
    assert await embedded._database.scrub()


async def test_cutting_the_log_leaves_a_write_that_is_under_way_alone(embedded: Store, clock: Clock) -> None:
    """What is acknowledged after it must be there: who erases may do so in the service's own process."""
    cut: list[Future[bool]] = []

    def write(connection: Connection) -> None:
        connection.execute(text("UPDATE accounts SET slowed_reason = 'written'"))
        cut.append(cutter.submit(asyncio.run, embedded._database.scrub()))
        wait(cut, timeout=0.2)  # long enough to meet it in the middle

    await embedded.accounts.ensure(["default"], now=clock())
    with ThreadPoolExecutor(1) as cutter:
        await embedded._database.write(write)
        assert await asyncio.wrap_future(cut[0])
    assert (await embedded.accounts.states())[0].slowed_reason == "written"


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"Subject: not a database\n" * 400)
    store = Store(f"sqlite:///{tmp_path / 'log.db'}")
    try:
        with pytest.raises(StoreUnavailable):
            await store.check()
    finally:
        await store.close()


async def test_what_was_committed_is_there_after_the_process_ended(sqlite_url: str, clock: Clock) -> None:
    store = Store(sqlite_url)
    await store.migrate()
    await receive(store, clock, change("a"))
    await store.close()
    again = Store(sqlite_url)
    try:
        assert [row["dedup_key"] for row in await rows(again, events)] == ["a"]
    finally:
        await again.close()


async def test_a_closed_log_is_unavailable(sqlite_url: str, clock: Clock) -> None:
    """A request that is still under way while the service stops gets an answer, and no success."""
    store = Store(sqlite_url)
    await store.migrate()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await receive(store, clock, change())
    with pytest.raises(StoreUnavailable):
        await store.ledger.counts()


def insert(name: str, *, raw: bytes = b"", fault: Exception | None = None) -> Callable[[Connection], str]:
    """Return a transaction that writes one request down, and then may fail."""

    def transaction(connection: Connection) -> str:
        connection.execute(requests.insert().values(source=name, received_at=START, raw=raw))
        if fault is not None:
            raise fault
        return name

    return transaction


async def stored(store: Store) -> set[str]:
    return {row["source"] for row in await rows(store, requests)}


async def test_writes_that_wait_together_share_a_commit_and_not_their_faults(embedded: Store) -> None:
    """The disk is asked once for a claim, a pace and a conclusion that come at the same time."""
    write = embedded._database.write
    names = [f"crm-{number}" for number in range(20)]
    commits: list[object] = []
    event.listen(writing_engine(embedded), "commit", commits.append)
    writes = [write(insert(name, fault=NotFound("no") if name == "crm-7" else None)) for name in names]
    ends = await asyncio.gather(*writes, return_exceptions=True)
    assert isinstance(ends.pop(7), NotFound)
    assert set(ends) == await stored(embedded) == {name for name in names if name != "crm-7"}
    assert len(commits) <= 3


async def test_on_a_full_disk_exactly_the_writes_that_succeeded_are_there(embedded: Store) -> None:
    """P1 for writes that share a commit: none may be told that it is stored when the group was lost."""
    pages = await embedded._database.write(pragma("page_count"))
    await embedded._database.write(pragma(f"max_page_count={int(str(pages)) + 12}"))
    writes = [embedded._database.write(insert(f"crm-{number}", raw=secrets.token_bytes(9_000))) for number in range(12)]
    ends = await asyncio.gather(*writes, return_exceptions=True)
    assert {type(end) for end in ends} <= {str, StoreUnavailable}
    assert any(isinstance(end, StoreUnavailable) for end in ends)
    assert {end for end in ends if isinstance(end, str)} == await stored(embedded)
    await embedded._database.write(pragma("max_page_count=1073741823"))
    assert await embedded._database.write(insert("after")) in await stored(embedded)


async def test_who_stops_waiting_leaves_the_others_of_its_group_alone(embedded: Store) -> None:
    waiting = [asyncio.create_task(embedded._database.write(insert(name))) for name in ("a", "b", "c")]
    await asyncio.sleep(0)
    waiting[1].cancel()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [str, asyncio.CancelledError, str]
    assert await stored(embedded) >= {"a", "c"}


@pytest.mark.parametrize("started", [False, True])
async def test_no_write_waits_for_ever_when_the_writing_is_broken_off(embedded: Store, *, started: bool) -> None:
    waiting = [asyncio.create_task(embedded._database.write(insert(name))) for name in ("a", "b", "c")]
    await asyncio.sleep(0)
    engine: Any = embedded._database._engine
    if started:
        await asyncio.sleep(0)
    waiting.pop().cancel()
    engine._writing.cancel()
    ends = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), timeout=10)
    assert {type(end) for end in ends} == {StoreUnavailable}
    assert await embedded._database.write(insert("after")) == "after"


async def test_a_transaction_that_was_broken_off_half_way_does_not_stop_the_next(embedded: Store) -> None:
    left = writing_engine(embedded).raw_connection()
    cursor = left.cursor()
    cursor.execute("BEGIN IMMEDIATE")
    cursor.execute("INSERT INTO requests (source, received_at) VALUES ('half-way', 0)")
    assert await embedded._database.write(insert("after")) == "after"
    left.close()
    assert await stored(embedded) == {"after"}


@pytest.mark.parametrize("seconds", [0.1, 5.0])
async def test_a_new_file_that_another_process_opens_too_is_waited_for(tmp_path: Path, seconds: float) -> None:
    """A verb and the service may meet on a file that neither has made a WAL one yet; SQLite itself does not wait."""
    path = tmp_path / "log.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE before (id)")
    other.execute("BEGIN EXCLUSIVE")
    store = Store(f"sqlite:///{path}?timeout=0")
    release = threading.Timer(seconds, other.rollback)
    release.start()
    try:
        if seconds < WAL_TIMEOUT_S:
            assert await store.migrate()
        else:
            with pytest.raises(StoreUnavailable):
                await store.migrate()
    finally:
        release.cancel()
        release.join()
        other.close()
        await store.close()


async def test_what_every_delivery_asks_is_compiled_once(embedded: Store) -> None:
    """SQLite compiles anew where a parameter is compared with what a partial index is of: twice the time."""

    def compiled_again(connection: Connection) -> list[tuple[Any, ...]]:
        plain: Any = connection.connection.dbapi_connection
        steps: list[tuple[Any, ...]] = []

        def note(*step: Any) -> int:  # noqa: ANN401  # what is asked for, by SQLite's own numbers and names
            steps.append(step)
            return sqlite3.SQLITE_OK

        plain.set_authorizer(note)
        for person in ("451", "452"):
            steps.clear()
            connection.execute(
                select(events.c.id).where(PENDING), {"pending_source": SOURCE, "pending_object_id": person}
            )
        plain.set_authorizer(None)
        return steps

    assert await embedded._database.write(compiled_again) == []
