"""What verbs work on, opened as the settings say and closed again."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

if TYPE_CHECKING:
    from service.chartmogul import ChartMogul
    from service.store import Store
    from service.store.history import History

T = TypeVar("T")


def with_store(work: Callable[["Store"], Awaitable[T]]) -> T:
    """Do something with the log, its tables brought up to date first."""
    from service.config import load_settings
    from service.main import open_store

    async def run() -> T:
        store = open_store(load_settings())
        try:
            await store.migrate()
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def with_history(url: str, work: Callable[["History"], Awaitable[T]]) -> T:
    """Do something with a log that is only looked at, as it is: neither made nor brought up to date."""
    from service.store.history import History

    async def run() -> T:
        history = await History.open(url)
        try:
            return await work(history)
        finally:
            await history.close()

    return asyncio.run(run())


def with_sinks(
    work: Callable[["Store", "Mapping[str, ChartMogul]", Callable[[], datetime]], Awaitable[T]],
    *,
    account: str,
    config: Path | None,
) -> T:
    """Do something with the log and with ChartMogul, at the pace that a running service keeps to as well."""
    from service.config import load
    from service.main import build

    service = build(load(config_file=config))
    if account not in service.sinks:
        known = ", ".join(sorted(service.sinks))
        raise typer.BadParameter(f"no source uses an account {account!r}; known are {known}", param_hint="--account")

    async def run() -> T:
        try:
            await service.store.migrate()
            await service.store.accounts.ensure(service.sinks, now=service.clock())
            async with service.sinks[account]:
                return await work(service.store, service.sinks, service.clock)
        finally:
            await service.store.close()

    return asyncio.run(run())
