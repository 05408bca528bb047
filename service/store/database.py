"""The engine under the log: one way to run a transaction on SQLite and on PostgreSQL, and one name for its failures.

A transaction is a plain function of a ``Connection``. On PostgreSQL it runs over asyncpg inside ``run_sync``; on SQLite
it runs whole in a thread of its own, one for all writes and a few for reads, so that it costs one hop and no lock wait.
"""

import asyncio
import contextlib
import fcntl
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from service.errors import StoreError, StoreUnavailable

T = TypeVar("T")

BUSY_TIMEOUT_S: Final = 5.0
"""How long a write waits for another process to finish with the SQLite file."""
READERS: Final = 2
"""Read connections beside the one writer of an SQLite file."""
POOL_SIZE: Final = 8
"""Connections to PostgreSQL."""
COMMAND_TIMEOUT_S: Final = 30.0
"""How long one statement may take on PostgreSQL."""
DEADLOCK_TRIES: Final = 3
"""How often a transaction is run that PostgreSQL chose to abort."""

_AGAIN: Final = {"40001", "40P01"}  # serialization_failure, deadlock_detected
_HINT: Final = "check the disk space, the permissions and the DATABASE_URL; nothing that was acknowledged is lost"


class Database:
    """A log's engine. ``write`` and ``read`` each run one transaction; StoreUnavailable means that nothing was done."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.dialect: Final = parsed.get_backend_name()
        self._engine: _Engine = _Embedded(parsed) if self.dialect == "sqlite" else _Server(parsed)

    async def write(self, transaction: Callable[[Connection], T]) -> T:
        """Run a transaction that writes; once this returns, it is committed and synced."""
        with _translated():
            return await self._engine.write(transaction)

    async def read(self, transaction: Callable[[Connection], T]) -> T:
        """Run a transaction that only reads, beside any writer."""
        with _translated():
            return await self._engine.read(transaction)

    def lock(self) -> None:
        """Take the embedded file for this process alone, until it ends. StoreUnavailable when another has it."""
        self._engine.lock()

    async def close(self) -> None:
        """Give every connection and thread back."""
        await self._engine.close()


def upserting(database: Database) -> Callable[[Table], sqlite.Insert | postgresql.Insert]:
    """Return the engine's own INSERT, which knows ON CONFLICT; the statements made with it read the same on both."""
    return sqlite.insert if database.dialect == "sqlite" else postgresql.insert


class _Embedded:
    """SQLite: one writing connection and thread, a few reading ones, WAL, every commit synced."""

    def __init__(self, url: URL) -> None:
        self._path = url.database or ""
        url = url.set(drivername="sqlite")
        if self._path in {"", ":memory:"}:
            raise StoreError("an in-memory database keeps nothing", hint="set DATABASE_URL to a file or to PostgreSQL")
        self._writer = _sqlite_engine(url, begin="BEGIN IMMEDIATE")
        self._readers = [_sqlite_engine(url, begin="BEGIN") for _ in range(READERS)]
        self._free = list(self._readers)
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._read_threads = ThreadPoolExecutor(READERS, thread_name_prefix="store-read")
        self._lock_file: Any = None

    async def write(self, transaction: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._write_thread, _run, self._writer, transaction)

    async def read(self, transaction: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._read_threads, self._read, transaction)

    def _read(self, transaction: Callable[[Connection], T]) -> T:
        engine = self._free.pop()  # as many engines as threads: there is always one
        try:
            return _run(engine, transaction)
        finally:
            self._free.append(engine)

    def lock(self) -> None:
        lock_file = Path(f"{self._path}.lock").open("w")  # noqa: SIM115  # held until the process ends
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock_file.close()
            raise StoreUnavailable(
                "another service is running on this SQLite file", hint="stop it, or use PostgreSQL for replicas"
            ) from None
        self._lock_file = lock_file

    async def close(self) -> None:
        for threads in (self._write_thread, self._read_threads):
            threads.shutdown(wait=True)
        for engine in (self._writer, *self._readers):
            engine.dispose()
        if self._lock_file is not None:
            self._lock_file.close()


class _Server:
    """PostgreSQL over asyncpg."""

    def __init__(self, url: URL) -> None:
        self._engine: AsyncEngine = create_async_engine(
            url.set(drivername="postgresql+asyncpg"),
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args={"command_timeout": COMMAND_TIMEOUT_S, "timeout": BUSY_TIMEOUT_S},
        )

    async def write(self, transaction: Callable[[Connection], T]) -> T:
        for remaining in reversed(range(DEADLOCK_TRIES)):
            try:
                async with self._engine.begin() as connection:
                    return await connection.run_sync(transaction)
            except DBAPIError as error:
                if remaining and getattr(error.orig, "sqlstate", None) in _AGAIN:
                    continue
                raise
        raise AssertionError("unreachable")  # pragma: no cover  # the last try returns or raises

    async def read(self, transaction: Callable[[Connection], T]) -> T:
        return await self.write(transaction)

    def lock(self) -> None:
        """Any number of services may share PostgreSQL."""

    async def close(self) -> None:
        await self._engine.dispose()


_Engine = _Embedded | _Server


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
            "timeout": BUSY_TIMEOUT_S,
            "cached_statements": 512,
        },
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-16000", "journal_size_limit=67108864"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Give whatever a driver raises one of our names; the text of a statement or its values never leaves here."""
    try:
        yield
    except DBAPIError as error:
        cause = type(error.orig).__name__
        if _is_unavailable(error):
            raise StoreUnavailable(f"the database does not take it: {_reason(error)}", hint=_HINT) from None
        raise StoreError(f"the database refused a statement: {cause}") from None
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StoreUnavailable(f"the database cannot be reached: {type(error).__name__}", hint=_HINT) from None
    except SQLAlchemyError as error:
        raise StoreUnavailable(f"the database cannot be used: {type(error).__name__}", hint=_HINT) from None


def _is_unavailable(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.OperationalError) or error.connection_invalidated:
        return True
    # Class 08 connection, 25 read-only, 53 resources (disk full), 57 operator, 58 system; no state: no server.
    state = getattr(error.orig, "sqlstate", None)
    no_answer = state is None and not isinstance(error.orig, sqlite3.Error)
    return no_answer or str(state)[:2] in {"08", "25", "53", "57", "58"}


def _reason(error: DBAPIError) -> str:
    # SQLite's own words are a fixed list ("database or disk is full"); PostgreSQL's may quote a value.
    return str(error.orig) if isinstance(error.orig, sqlite3.Error) else type(error.orig).__name__
