"""One account's calls to ChartMogul: so many at a time, so many a second, over all who share the log.

Every call waits for its turn here, searches and probes too. Whoever waits, waits here or in the log, never in the HTTP
client: with more callers than connections its pool itself would time out.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Final

from service.errors import Postponed
from service.store.accounts import Accounts

WAIT_MAX: Final = timedelta(seconds=5)
"""A call that must wait longer gives its delivery back instead."""


class Limiter:
    """Lets calls begin within the account's limits, and slower for a while after ChartMogul said slow down.

    The rate is kept in the log, for all replicas together; how many run in parallel is counted here.
    """

    def __init__(
        self,
        account: str,
        accounts: Accounts,
        *,
        rate_per_s: float,
        parallel: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._account = account
        self._accounts = accounts
        self._every = timedelta(seconds=1 / rate_per_s)
        self._parallel = parallel
        self._clock = clock
        self._room = parallel
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._stopped = asyncio.Event()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it for one call. Raises Postponed when it would come too late to wait for."""
        await self._enter()
        try:
            await self._until_due()
            yield
        finally:
            self._running -= 1
            self._admit()

    def stop(self) -> None:
        """Put off everyone who still waits: the service is stopping, and nothing of theirs was sent."""
        self._stopped.set()
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(self._postponed())

    async def _enter(self) -> None:
        if self._stopped.is_set():
            raise self._postponed()
        if self._running < self._room and not self._waiting:
            self._running += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:  # admitted, but gone already
                self._running -= 1
                self._admit()
            raise

    def _admit(self) -> None:
        while self._waiting and self._running < self._room:
            place = self._waiting.popleft()
            if not place.done():
                self._running += 1
                place.set_result(None)

    async def _until_due(self) -> None:
        turn = await self._accounts.reserve(self._account, every=self._every, wait_max=WAIT_MAX, now=self._clock())
        self._room = max(1, round(self._parallel * turn.share))
        self._admit()
        wait_s = (turn.at - self._clock()).total_seconds()
        if wait_s <= 0:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._stopped.wait()
        if self._stopped.is_set():
            raise self._postponed()

    def _postponed(self) -> Postponed:
        return Postponed(self._clock())
