"""SQLite under the log: one file, one writer, every commit synced.

What waits, for a lock or for the disk, waits in a thread: the begin and the commit of a write, and reads whole. What a
write computes between the two runs on the loop. In a thread it would let go of the interpreter at every row, and get it
back from a busy loop only a switch interval later: a burst of webhooks was stored three times slower that way.
"""

import asyncio
import contextlib
import fcntl
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import StaticPool

from service.errors import StoreError, StoreUnavailable

T = TypeVar("T")

BUSY_TIMEOUT_S: Final = 5.0
"""How long a write waits for another process to finish with the file."""
WAL_TIMEOUT_S: Final = 1.0
"""For how long a new file is tried again while another process makes it a WAL one."""
WAL_EVERY_S: Final = 0.01
LOCK_TIMEOUT_S: Final = 0.2
"""How long a file that somebody has is tried again."""
LOCK_EVERY_S: Final = 0.02
GROUP_MAX: Final = 64
"""Transactions that share one commit at most."""
READERS: Final = 2
"""Read connections beside the one writer."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of one transaction of a group."""

    result: Any = None
    error: Exception | None = None


_Write = tuple[Callable[[Connection], Any], "asyncio.Future[Any]"]


class Embedded:
    """SQLite: one writing connection and thread, a few reading ones, WAL, every commit synced."""

    def __init__(self, url: URL) -> None:
        self._path = url.database or ""
        url = url.set(drivername="sqlite").update_query_dict({"timeout": str(BUSY_TIMEOUT_S)} | dict(url.query))
        if self._path in {"", ":memory:"}:
            raise StoreError("an in-memory database keeps nothing", hint="set DATABASE_URL to a file or to PostgreSQL")
        self._writer = _sqlite_engine(url, begin="BEGIN IMMEDIATE")
        self._readers = [_sqlite_engine(url, begin="BEGIN") for _ in range(READERS)]
        self._free = list(self._readers)
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._read_threads = ThreadPoolExecutor(READERS, thread_name_prefix="store-read")
        self._lock_file: Any = None
        self._file: tuple[Path, tuple[int, int] | None] | None = None
        self._closed = False
        self._waiting: list[_Write] = []
        self._group: list[_Write] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, transaction: Callable[[Connection], T]) -> T:
        """Run a transaction that writes; once this returns, it is committed and synced.

        Transactions that wait at the same time share one commit, each in a savepoint of its own.
        """
        if self._closed:
            raise _closed()
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((transaction, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_groups())
            self._writing.add_done_callback(self._end)
        return await done

    async def read(self, transaction: Callable[[Connection], T]) -> T:
        """Run a transaction that only reads."""
        if self._closed:
            raise _closed()
        return await asyncio.get_running_loop().run_in_executor(self._read_threads, self._read, transaction)

    async def _write_groups(self) -> None:
        while self._waiting:
            self._group, self._waiting = self._waiting[:GROUP_MAX], self._waiting[GROUP_MAX:]
            await self._write_group(self._group)
            self._group = []

    def _end(self, writing: asyncio.Task[None]) -> None:
        """Turn away who is left where writing was broken off: nobody else would ever answer them."""
        if self._group or writing.cancelled():
            left, self._group, self._waiting = [*self._group, *self._waiting], [], []
            for _, done in left:
                if not done.done():
                    done.set_exception(StoreUnavailable("the log was broken off while it wrote this"))

    async def _write_group(self, group: Sequence[_Write]) -> None:
        """Run one group between a begin and a commit, and tell each what came of its own transaction."""
        wait = asyncio.get_running_loop().run_in_executor
        outcomes: list[_Outcome] = []
        try:
            connection = await wait(self._write_thread, self._begin)
            try:
                for transaction, _ in group:
                    outcomes.append(_attempt(connection, transaction, alone=len(group) == 1))
            except BaseException:
                await wait(self._write_thread, _end, connection, connection.rollback)
                raise
            await wait(self._write_thread, _end, connection, connection.commit)
        except Exception as error:  # noqa: BLE001  # whatever it was, nothing of the group is stored
            outcomes = [_Outcome(error=error)] * len(group)
        for (_, done), outcome in zip(group, outcomes, strict=True):
            if done.done():  # nobody waits any more
                continue
            if outcome.error is None:
                done.set_result(outcome.result)
            else:
                done.set_exception(outcome.error)

    def _begin(self) -> Connection:
        connection = self._writer.connect()
        try:
            connection.begin()
            self._require_file(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _require_file(self, connection: Connection) -> None:
        """Take nothing into a file that was moved or deleted: it would be gone with the next start."""
        if self._file is None:
            plain: Any = connection.connection.dbapi_connection
            path = Path(plain.execute("PRAGMA database_list").fetchone()[2])
            self._file = (path, _identity(path))
        path, opened = self._file
        if _identity(path) != opened:
            raise StoreUnavailable(
                "the database file was moved, deleted or replaced while the service runs",
                hint="put it back where it was, or restart the service",
            )

    def _read(self, transaction: Callable[[Connection], T]) -> T:
        engine = self._free.pop()  # as many engines as threads: there is always one
        try:
            return _run(engine, transaction)
        finally:
            self._free.append(engine)

    def lock(self) -> None:
        """Take the file for this process alone, until it ends. StoreUnavailable when another has it.

        Whoever only looks whether somebody has it, has it for a moment: that is waited for.
        """
        lock_file = Path(f"{self._path}.lock").open("w")  # noqa: SIM115  # held until the process ends
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while not _locked(lock_file):
            if time.monotonic() > deadline:
                lock_file.close()
                raise StoreUnavailable(
                    "another service is running on this SQLite file", hint="stop it, or use PostgreSQL for replicas"
                )
            time.sleep(LOCK_EVERY_S)
        self._lock_file = lock_file

    async def scrub(self) -> bool:
        """Move what the write-ahead log holds into the file and cut it; another process that reads may keep it a while.

        What a transaction erased under ``secure_delete`` is overwritten in the file, and stands in the log until then.
        """
        # Not in the writing thread: a write that is under way needs that to end.
        return await asyncio.to_thread(_checkpoint, Path(self._path) if self._file is None else self._file[0])

    async def close(self) -> None:
        """Give every connection back."""
        self._closed = True
        if self._writing is not None:
            await asyncio.wait([self._writing])
        for threads in (self._write_thread, self._read_threads):
            threads.shutdown(wait=True)
        for engine in (self._writer, *self._readers):
            engine.dispose()
        if self._lock_file is not None:
            self._lock_file.close()


def _closed() -> StoreUnavailable:
    return StoreUnavailable("the log is closed", hint="the service is stopping")


def _attempt(connection: Connection, transaction: Callable[[Connection], Any], *, alone: bool) -> _Outcome:
    """Run one transaction of a group, so that its failure is its own; raise only if the whole group is lost."""
    if alone:
        return _Outcome(transaction(connection))
    # By hand: SQLAlchemy's own savepoint costs as much as two statements.
    plain: Any = connection.connection.dbapi_connection
    plain.execute("SAVEPOINT one").close()
    try:
        result = transaction(connection)
    except Exception as error:  # noqa: BLE001  # handed to whoever asked for it
        try:
            plain.execute("ROLLBACK TO one").close()
        except sqlite3.Error:  # SQLite itself gave up the group, as on a full disk: the first error says why
            raise error from None
        plain.execute("RELEASE one").close()
        return _Outcome(error=error)
    plain.execute("RELEASE one").close()
    return _Outcome(result)


def _end(connection: Connection, how: Callable[[], None]) -> None:
    """Commit or roll back, and leave the connection fit for the next transaction whatever comes of it."""
    try:
        how()
    finally:
        connection.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what a file stays the same by whatever its name; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _checkpoint(path: Path) -> bool:
    # By a connection of its own: the pool rolls back what it hands out, and with it a write that is under way.
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as own:
        busy: int = own.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    return not busy


def _run(engine: Engine, transaction: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return transaction(connection)


def _sqlite_engine(url: URL, *, begin: str) -> Engine:
    engine = create_engine(
        url,
        poolclass=StaticPool,
        connect_args={
            "check_same_thread": False,
            "isolation_level": None,  # transactions are begun by us, below
            "cached_statements": 512,
        },
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        _use_wal(connection)
        # What is erased or ages out is overwritten, not only forgotten.
        pragmas = ("synchronous=FULL", "secure_delete=ON", "cache_size=-16000", "journal_size_limit=67108864")
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        plain: Any = connection.connection.dbapi_connection
        if plain.in_transaction:  # begun for one that was broken off before it heard of it
            plain.rollback()
        connection.exec_driver_sql(begin)

    return engine


def _use_wal(connection: sqlite3.Connection) -> None:
    """Turn the file to WAL. Where two processes do so at once, SQLite tells one of them "locked" without waiting."""
    deadline = time.monotonic() + WAL_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(WAL_EVERY_S)
        else:
            return


def _locked(lock_file: IO[str]) -> bool:
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
