"""Changes that land late: kept until their time comes, whoever still waits for them."""

import asyncio
from collections.abc import Callable

from service.sandbox.clock import Clock


class Late:
    """Requests that were taken and are applied after a while, as by a server whose queue was long."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[asyncio.Task[None], Callable[[], object]] = {}

    def keep(self, apply: Callable[[], object], delay_s: float) -> asyncio.Task[None]:
        """Applies when ``delay_s`` is over, or before when all are let go. The task ends with it; nobody must wait."""

        async def land() -> None:
            await self._clock.sleep(delay_s)
            self._kept.pop(task)()

        task = asyncio.create_task(land())
        self._kept[task] = apply
        return task

    def let_go(self) -> None:
        """Applies all at once, in the order in which they came: they are not lost, only no longer late."""
        for task, apply in tuple(self._kept.items()):
            task.cancel()
            apply()
        self._kept.clear()
