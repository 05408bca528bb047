"""Waiting for what another task, thread or process does, where there is no event to wait for."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

WITHIN_S: Final = 20.0
EVERY_S: Final = 0.005


async def eventually(reached: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Return once it is so; TimeoutError when that takes too long."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            answer = reached()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(EVERY_S)


def until(reached: Callable[[], bool]) -> None:
    """Return once it is so, outside any event loop; TimeoutError when that takes too long."""
    deadline = time.monotonic() + WITHIN_S
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(EVERY_S)
