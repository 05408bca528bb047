"""The sink as the service builds it, on a base URL of the test's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from pydantic import SecretStr

from service.chartmogul import Account, ChartMogul, Turn
from service.errors import Postponed


@asynccontextmanager
async def at_once() -> AsyncIterator[None]:
    """Make the next call without a wait."""
    yield


def put_off(*until: datetime | None) -> Turn:
    """Return turns of which each is put off until then; where that is None, it comes at once."""
    waits = iter(until)

    @asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        wait = next(waits)
        if wait is not None:
            raise Postponed(wait)
        yield

    return turn


@asynccontextmanager
async def sink(
    base_url: str,
    *,
    key: str = "sandbox-key",
    parallel: int = 4,
    turn: Turn = at_once,
    connect_s: float = 5.0,
    read_s: float = 10.0,
    proxy: str | None = None,
) -> AsyncIterator[ChartMogul]:
    """Open a sink, closed after the block."""
    account = Account("default", SecretStr(key), parallel)
    async with ChartMogul(
        account, base_url=base_url, turn=turn, connect_timeout_s=connect_s, read_timeout_s=read_s, proxy=proxy
    ) as chartmogul:
        yield chartmogul
