"""PostgreSQL under the log, over asyncpg: transactions run inside SQLAlchemy's ``run_sync``."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from service.errors import StoreUnavailable

T = TypeVar("T")

POOL_SIZE: Final = 8
"""Connections."""
CONNECT_TIMEOUT_S: Final = 5.0
COMMAND_TIMEOUT_S: Final = 30.0
"""How long one statement may take."""
DEADLOCK_TRIES: Final = 3
"""How often a transaction is run that PostgreSQL chose to abort."""
DEADLOCK_WAIT_S: Final = 0.1
"""Before each further time, so that whoever it stood in the way of is done by then; twice as long each time."""

_AGAIN: Final = {"40001", "40P01"}  # serialization_failure, deadlock_detected


class Server:
    """PostgreSQL over asyncpg. With ``only_look`` the server itself refuses whatever would write."""

    def __init__(self, url: URL, *, only_look: bool = False) -> None:
        settings = {"default_transaction_read_only": "on"} if only_look else {}
        self._engine: AsyncEngine = create_async_engine(
            url.set(drivername="postgresql+asyncpg"),
            pool_size=POOL_SIZE,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args={
                "command_timeout": COMMAND_TIMEOUT_S,
                "timeout": CONNECT_TIMEOUT_S,
                "server_settings": settings,
            },
        )

    async def write(self, transaction: Callable[[Connection], T]) -> T:
        """Run a transaction that writes; once this returns, it is committed and synced."""
        for tried in range(DEADLOCK_TRIES):
            try:
                async with self._engine.begin() as connection:
                    return await connection.run_sync(transaction)
            except DBAPIError as error:
                if tried + 1 == DEADLOCK_TRIES or getattr(error.orig, "sqlstate", None) not in _AGAIN:
                    raise
                await asyncio.sleep(DEADLOCK_WAIT_S * 2**tried)
            except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:  # while connecting, they come unwrapped
                cause = f"the database cannot be reached: {type(error).__name__}"
                raise StoreUnavailable(cause, hint="check DATABASE_URL and the server") from None
        raise AssertionError("unreachable")  # pragma: no cover  # the last try returns or raises

    async def read(self, transaction: Callable[[Connection], T]) -> T:
        """Run a transaction that only reads."""
        return await self.write(transaction)

    def lock(self) -> None:
        """Any number of services may share PostgreSQL."""

    async def scrub(self) -> bool:
        """Leave it to the server's own vacuum."""
        return True

    async def close(self) -> None:
        """Give every connection back."""
        await self._engine.dispose()
