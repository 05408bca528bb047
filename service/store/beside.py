"""SQLite as a file that is only looked at: nothing is made, changed or held, whether a service has it open or not."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import StaticPool

from service.errors import StoreError, StoreUnavailable

T = TypeVar("T")

LOOK_TIMEOUT_S: Final = 5.0
"""How long a look waits for another process to finish with the file."""


class Beside:
    """One reading connection. The file must be there; every method that would change it raises StoreError.

    A file that nobody has open is opened as SQLite itself would, but told to change nothing: so it takes its
    write-ahead log away again. One that is open, or was left behind by a crash, is opened for reading alone: what its
    own log holds is read, and left to whoever wrote it.
    """

    def __init__(self, url: URL) -> None:
        self._path = Path(url.database or "")
        self._engine = create_engine("sqlite://", creator=self._connect, poolclass=StaticPool)

    async def read(self, transaction: Callable[[Connection], T]) -> T:
        """Run a transaction that only reads. StoreUnavailable where there is no such file."""
        return await asyncio.to_thread(self._read, transaction)

    async def write(self, _: Callable[[Connection], T]) -> NoReturn:
        """Refuse: it is only looked at."""
        raise _only_looked_at()

    def lock(self) -> NoReturn:
        """Refuse, as ``write`` does."""
        raise _only_looked_at()

    async def scrub(self) -> NoReturn:
        """Refuse, as ``write`` does."""
        raise _only_looked_at()

    async def close(self) -> None:
        """Give the connection back."""
        await asyncio.to_thread(self._engine.dispose)

    def _read(self, transaction: Callable[[Connection], T]) -> T:
        if not self._path.is_file():
            hint = "`serve` makes it; DATA_DIR or DATABASE_URL says where it is"
            raise StoreUnavailable(f"there is no log at {self._path}", hint=hint)
        with self._engine.begin() as connection:
            return transaction(connection)

    def _connect(self) -> sqlite3.Connection:
        left = Path(f"{self._path}-wal").exists()
        place = f"file:{quote(str(self._path.absolute()))}?mode={'ro' if left else 'rw'}"
        connection = sqlite3.connect(
            place, uri=True, timeout=LOOK_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA query_only=ON").close()
        return connection


def _only_looked_at() -> StoreError:
    return StoreError("the log is only looked at here")
