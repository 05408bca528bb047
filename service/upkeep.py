"""What is done now and then beside the two journeys: writing down, going live, letting go of what is old.

Whatever the log does not take is left as it is, for the next time.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from service.config.settings import Settings
from service.errors import StoreError
from service.operations import watching
from service.operations.going_live import go_live
from service.operations.retention import Keep, sweep
from service.pipeline import Pipeline
from service.store import Store
from service.worker import Worker

FLUSH_EVERY_S: Final = 1.0
"""How often refusals, and what is noticed of drift, are written down."""
GO_LIVE_EVERY_S: Final = 5.0
"""How often it is asked whether changes that were shadowed are to be sent by now: seldom, and then soon."""
SWEEP_FIRST_S: Final = 60.0
"""After the start: there is enough to do then."""
SWEEP_EVERY_S: Final = 3600.0
"""How often what is old is let go."""

log = structlog.get_logger("service")


class Upkeep:
    """All that runs by the clock alone, for as long as the service does."""

    def __init__(
        self, settings: Settings, *, store: Store, pipeline: Pipeline, worker: Worker, clock: Callable[[], datetime]
    ) -> None:
        self._keep = Keep(timedelta(days=settings.payload_days), timedelta(days=settings.log_days))
        self._store = store
        self._pipeline = pipeline
        self._worker = worker
        self._clock = clock

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Do it all while the block runs; what is still to be written down is written at the end."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._flush)
            for work, first_s, every_s in (
                (self._flush, FLUSH_EVERY_S, FLUSH_EVERY_S),
                (self._sweep, SWEEP_FIRST_S, SWEEP_EVERY_S),
                (self._go_live, 0.0, GO_LIVE_EVERY_S),
            ):
                await stack.enter_async_context(beside(_again_and_again(work, first_s, every_s)))
            yield

    async def _flush(self) -> None:
        with contextlib.suppress(StoreError):
            await self._store.refusals.flush()
        self._pipeline.look_by_present_rules()
        with contextlib.suppress(StoreError):
            await watching.write_down(self._pipeline.lookout, self._store)

    async def _go_live(self) -> None:
        with contextlib.suppress(StoreError):
            reopened = await go_live(self._store, lambda: self._pipeline.in_force.sources, clock=self._clock)
            if reopened:
                log.info("gone_live", events=reopened)
                self._worker.wake()

    async def _sweep(self) -> None:
        with contextlib.suppress(StoreError):
            swept = await sweep(self._store, self._keep, now=self._clock())
            if swept.payloads or swept.rows:
                log.info("aged_out", payloads=swept.payloads, rows=swept.rows)


@contextlib.asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let work go on beside the block, and end it with the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _again_and_again(work: Callable[[], Awaitable[None]], first_s: float, every_s: float) -> None:
    await asyncio.sleep(first_s)
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001  # a fault of ours must not end it for good, unseen
            log.error("fault", cause=type(error).__name__)  # noqa: TRY400  # a trace may hold a value
        await asyncio.sleep(every_s)
