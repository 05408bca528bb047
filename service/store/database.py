"""The engine under the log: one way to run a transaction on SQLite and on PostgreSQL, and one name for its failures.

A transaction is a plain function of a ``Connection``: ``embedded`` runs it on SQLite, ``server`` on PostgreSQL.
"""

import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Protocol, TypeVar

import orjson
from sqlalchemy import Connection, Table, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service.errors import StoreError, StoreUnavailable

T = TypeVar("T")

_PASSING: Final = {"08", "25", "28", "3D", "40", "53", "57", "58"}
"""Classes of PostgreSQL's errors that are not about a statement: connection, read-only, authorization, no such
database, aborted, resources (disk full), operator, system.
"""
_OF_A_STATEMENT: Final = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_RANGE,
}
_PRIMARY: Final = 0xFF
"""What of an SQLite error code is its kind; the rest says where."""
_HINT: Final = "check the disk space, the permissions and the DATABASE_URL; nothing that was acknowledged is lost"


class Engine(Protocol):
    """What runs transactions, and how it ends."""

    def write(self, transaction: Callable[[Connection], T]) -> Awaitable[T]:
        """Run a transaction that writes; once this returns, it is committed and synced."""
        ...

    def read(self, transaction: Callable[[Connection], T]) -> Awaitable[T]:
        """Run a transaction that only reads."""
        ...

    def lock(self) -> None:
        """Keep other services off, where only one may run."""
        ...

    async def scrub(self) -> bool:
        """Leave nothing behind of what was erased, as far as it is ours to do; say whether that could be done now."""
        ...

    async def close(self) -> None:
        """Give everything back."""
        ...


class Database:
    """A log's engine. ``write`` and ``read`` each run one transaction; StoreUnavailable means that nothing was done.

    ``only_look`` opens it so that nothing can be made or changed, beside a running service or without one.
    """

    def __init__(self, url: str, *, only_look: bool = False) -> None:
        parsed = make_url(url)
        self.dialect: Final = parsed.get_backend_name()
        self._engine = _engine(parsed, only_look=only_look)

    async def write(self, transaction: Callable[[Connection], T]) -> T:
        """Run a transaction that writes; once this returns, it is committed and synced."""
        with _translated():
            return await self._engine.write(transaction)

    async def read(self, transaction: Callable[[Connection], T]) -> T:
        """Run a transaction that only reads, beside any writer."""
        with _translated():
            return await self._engine.read(transaction)

    async def scrub(self) -> bool:
        """Leave nothing of what was erased in the embedded file's own log; False while a reader is in the way.

        PostgreSQL does so by its own vacuum.
        """
        with _translated():
            return await self._engine.scrub()

    def lock(self) -> None:
        """Take the embedded file for this process alone, until it ends. StoreUnavailable when another has it."""
        with _translated():
            self._engine.lock()

    async def close(self) -> None:
        """Give every connection and thread back."""
        await self._engine.close()


def upserting(database: Database) -> Callable[[Table], sqlite.Insert | postgresql.Insert]:
    """Return the engine's own INSERT, which knows ON CONFLICT; the statements made with it read the same on both."""
    return sqlite.insert if database.dialect == "sqlite" else postgresql.insert


def _engine(url: URL, *, only_look: bool) -> Engine:
    # Each is loaded where it is used: asyncpg and all that it needs cost a tenth of a second and 12 MB.
    if url.get_backend_name() == "sqlite" and only_look:
        from service.store.beside import Beside  # noqa: PLC0415  # see above

        return Beside(url)
    if url.get_backend_name() == "sqlite":
        from service.store.embedded import Embedded  # noqa: PLC0415  # see above

        return Embedded(url)
    from service.store.server import Server  # noqa: PLC0415  # see above

    return Server(url, only_look=only_look)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Give whatever a driver raises one of our names; the text of a statement or its values never leaves here."""
    try:
        yield
    except DBAPIError as error:
        if _is_unavailable(error):
            raise StoreUnavailable(f"the database does not take it: {_reason(error)}", hint=_HINT) from None
        raise StoreError(f"the database refused a statement: {_kind(error)}") from None
    except (UnicodeError, OverflowError, orjson.JSONEncodeError) as error:  # what no driver was asked to keep yet
        raise StoreError(f"a value cannot be kept: {type(error).__name__}") from None
    except (OSError, TimeoutError) as error:
        raise StoreUnavailable(f"the database cannot be reached: {type(error).__name__}", hint=_HINT) from None
    except PoolTimeoutError:
        raise StoreUnavailable("the database has no connection free", hint=_HINT) from None
    except SQLAlchemyError as error:
        raise StoreError(f"a statement of ours does not fit: {type(error).__name__}") from None


def _is_unavailable(error: DBAPIError) -> bool:
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.Error):
        # Not those that are about one statement or its values alone.
        return error.orig.sqlite_errorcode & _PRIMARY not in _OF_A_STATEMENT
    state = getattr(error.orig, "sqlstate", None)  # None: it was no server that answered
    return state is None or str(state)[:2] in _PASSING


def _reason(error: DBAPIError) -> str:
    # SQLite's own words are a fixed list ("database or disk is full"); PostgreSQL's may quote a value.
    return str(error.orig) if isinstance(error.orig, sqlite3.Error) else _kind(error)


def _kind(error: DBAPIError) -> str:
    # SQLAlchemy's own class says less than that of the driver which it stands for.
    return type(getattr(error.orig, "__cause__", None) or error.orig).__name__
