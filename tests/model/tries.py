"""One try at a delivery, which can be stopped at every seam of it, left there, and gone on with much later."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final, NoReturn, Protocol

from sqlalchemy import Connection

from service.chartmogul import Account, ChartMogul, Search
from service.model import Carried, Conclusion, Delivery, Json, Known, Outcome, Owed, Record
from service.pipeline import Pipeline
from service.store import Store
from service.store.contacts import Contacts
from service.store.deliveries import Deliveries

TIMEOUT_S: Final = 10.0
"""Nothing here is left without an answer, so that this is never waited for."""


class Seam(IntEnum):
    """Where a try can stop: each is just before what it is named for, and only met where that comes to pass.

    Before mapping it stops only if it read its record back, before holding only if it searched: what it read of the
    record, or of the contact, then grows old.
    """

    CLAIMED = 0
    RESOLVING = 1
    MAPPING = 2
    HOLDING = 3
    SENDING = 4
    RECORDING = 5
    DONE = 6

    def __repr__(self) -> str:
        return f"Seam.{self.name}"


class Died(Exception):
    """The process ended here."""


@dataclass(frozen=True, slots=True)
class Patch:
    """What is sent, and to whom."""

    uuid: str
    body: Record

    def fields(self) -> dict[str, Json]:
        """Return the values by our names of the fields, read without the service's own code."""
        own = {name: value for name, value in self.body.items() if name != "custom"}
        custom = self.body.get("custom")
        pairs = custom if isinstance(custom, list) else []
        return own | {f"custom.{pair['key']}": pair["value"] for pair in pairs if isinstance(pair, dict)}


class Try:
    """A claimed delivery and whoever works at it."""

    def __init__(self, delivery: Delivery, lease_until: datetime) -> None:
        self.delivery = delivery
        self.lease_until = lease_until
        self.at = Seam.CLAIMED
        self.weather: str | None = None
        self.search_weather: str | None = None
        self.struck: set[str] = set()
        """The weather that it met."""
        self.dies_recording = False
        self.patch: Patch | None = None
        self.searched_at: dict[str, int] | None = None
        """How often each contact had been changed when this try searched, None if it did not."""
        self.uuid: str | None = None
        """The contact that it holds or held."""
        self.sent = 0
        self.reads = 0
        self.lost = False
        """Its lease was taken back."""
        self.shadow = False
        """Its source was in shadow mode when it began."""
        self.overtaken_at: datetime | None = None
        """When another try took the contact that it held."""
        self.conclusion: Conclusion | None = None
        self._until = Seam.DONE
        self._task: asyncio.Task[Conclusion | None] | None = None
        self._stopped = asyncio.Event()
        self._let_go = asyncio.Event()

    async def go(self, pipeline: Pipeline, until: Seam) -> None:
        """Go on until just before a seam, or to the end; raises Died where the process ends on the way."""
        self._until = until
        self._stopped.clear()
        self._let_go.set()
        if self._task is None:
            self._task = asyncio.create_task(self._deliver(pipeline))
        stopped = asyncio.create_task(self._stopped.wait())
        await asyncio.wait({self._task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if self._task.done():
            self.at = Seam.DONE
            self.conclusion = self._task.result()

    async def stop_at(self, seam: Seam) -> None:
        """Be at a seam; wait there if it is the one to stop at."""
        self.at = seam
        if seam >= self._until:
            self._let_go.clear()
            self._stopped.set()
            await self._let_go.wait()

    async def end(self) -> None:
        """Break off where it is; nothing more is sent or written."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _deliver(self, pipeline: Pipeline) -> Conclusion | None:
        TRYING.set(self)
        return await pipeline.deliver(self.delivery, lease_until=self.lease_until)


TRYING: ContextVar[Try] = ContextVar("trying")
"""The try that a call to the store or to ChartMogul belongs to."""


class Watch(Protocol):
    """Who is told what tries do."""

    async def turn(self) -> None:
        """Wait for a turn."""
        ...

    def holds(self, trying: Try, uuid: str) -> None:
        """Note that a try has a contact now."""
        ...

    def sends(self, trying: Try, patch: Patch) -> None:
        """Judge a PATCH that goes out now."""
        ...

    def searches(self, trying: Try) -> None:
        """Note that a contact is looked for now."""
        ...

    def answered(self, trying: Try, patch: Patch, outcome: Outcome) -> None:
        """Note what a PATCH came to, if it went out."""
        ...


class WatchedChartMogul(ChartMogul):
    """The real sink, whose calls stop at a seam and are told of once they have their turn."""

    def __init__(self, account: Account, *, base_url: str, watch: Callable[[], Watch]) -> None:
        super().__init__(
            account, base_url=base_url, turn=self._watched_turn, connect_timeout_s=TIMEOUT_S, read_timeout_s=TIMEOUT_S
        )
        self._watch = watch
        self._begins: ContextVar[Callable[[], None] | None] = ContextVar("begins", default=None)

    async def patch(self, uuid: str, body: Record) -> Outcome:
        """Update a contact."""
        trying, patch = TRYING.get(), Patch(uuid, body)
        trying.patch = patch
        await trying.stop_at(Seam.SENDING)
        self._begins.set(lambda: self._watch().sends(trying, patch))
        outcome = await super().patch(uuid, body)
        self._watch().answered(trying, patch, outcome)
        return outcome

    async def search(self, filters: Mapping[str, str]) -> Search:
        """Look for a contact."""
        trying = TRYING.get()
        self._begins.set(lambda: self._watch().searches(trying))
        found = await super().search(filters)
        await trying.stop_at(Seam.HOLDING)
        return found

    async def contact(self, uuid: str) -> Outcome:
        """Read a contact."""
        trying = TRYING.get()
        self._begins.set(lambda: self._watch().searches(trying))
        return await super().contact(uuid)

    @asynccontextmanager
    async def _watched_turn(self) -> AsyncIterator[None]:
        await self._watch().turn()
        begins = self._begins.get()
        if begins is not None:
            begins()
        yield


class WatchedStore(Store):
    """The real log, whose reads and records stop at a seam, and whose holds are told of."""

    def __init__(self, url: str, watch: Watch) -> None:
        super().__init__(url)
        self.contacts = _WatchedContacts(self, watch)
        self.deliveries = _WatchedDeliveries(self)


class _WatchedContacts(Contacts):
    def __init__(self, store: Store, watch: Watch) -> None:
        super().__init__(store._database)
        self._watch = watch

    async def hold(
        self,
        delivery: Delivery,
        uuid: str,
        *,
        intent: Mapping[str, Carried] | None,
        now: datetime,
        until: datetime,
        late: timedelta,
    ) -> Known | None:
        known = await super().hold(delivery, uuid, intent=intent, now=now, until=until, late=late)
        if known is not None:
            self._watch.holds(TRYING.get(), uuid)
        return known


class _WatchedDeliveries(Deliveries):
    def __init__(self, store: Store) -> None:
        super().__init__(store._database)

    async def pending(self, delivery: Delivery) -> Owed:
        owed = await super().pending(delivery)
        await TRYING.get().stop_at(Seam.RESOLVING)
        return owed

    async def record(self, delivery: Delivery, conclusion: Conclusion, *, now: datetime) -> bool:
        trying = TRYING.get()
        await trying.stop_at(Seam.RECORDING)
        if not trying.dies_recording:
            return await super().record(delivery, conclusion, now=now)

        def dying(connection: Connection) -> NoReturn:
            self._recorder.record(connection, delivery, conclusion, now)
            raise Died  # all of it was written, and nothing committed

        await self._database.write(dying)
        raise Died
