"""What verbs work on, opened as the settings say and closed again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from service.store import Store

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
