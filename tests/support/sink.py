"""The sink as the service builds it, on a base URL of the test's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import SecretStr

from service.chartmogul import Account, ChartMogul, Pace


async def at_once() -> None:
    """Make the next call without a wait."""


@asynccontextmanager
async def sink(
    base_url: str,
    *,
    key: str = "sandbox-key",
    parallel: int = 4,
    pace: Pace = at_once,
    connect_s: float = 5.0,
    read_s: float = 10.0,
    proxy: str | None = None,
) -> AsyncIterator[ChartMogul]:
    """Open a sink, closed after the block."""
    account = Account("default", SecretStr(key), parallel)
    async with ChartMogul(
        account, base_url=base_url, pace=pace, connect_timeout_s=connect_s, read_timeout_s=read_s, proxy=proxy
    ) as chartmogul:
        yield chartmogul
