"""Whom the service calls: the ChartMogul accounts and the CRMs of what is in force, each within its limits."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from service import chartmogul
from service.chartmogul import ChartMogul
from service.config.settings import Settings
from service.limiter import Limiter
from service.pipeline import ConfiguredSource, InForce
from service.readback.base import Reader
from service.readback.client import READ_TIMEOUT_S, ReadBack
from service.store.accounts import Accounts

NOBODY: Final = InForce("", {}, {})
"""What is in force before the start."""


class Clients:
    """Every connection to outside, built when a configuration first needs it.

    ``sinks`` has an account from then on; a CRM's client goes when the last delivery that may use it has ended.
    """

    def __init__(self, settings: Settings, accounts: Accounts, *, clock: Callable[[], datetime]) -> None:
        self.sinks: dict[str, ChartMogul] = {}
        self._settings = settings
        self._accounts = accounts
        self._clock = clock
        self._limiters: dict[str, Limiter] = {}
        self._open: set[ReadBack] = set()
        self._leaving: set[asyncio.Task[None]] = set()

    def parallel(self, sources: Mapping[str, ConfiguredSource]) -> dict[str, int]:
        """Return the accounts that sources use, with the calls that each may make at once, and have a sink for each."""
        used = sorted({configured.account for configured in sources.values()})
        for name in used:
            if name not in self.sinks:
                self._limiters[name] = self._limiter(name)
                self.sinks[name] = self._sink(name)
        return {name: self._settings.accounts[name].parallel for name in used}

    def readbacks(self, sources: Mapping[str, ConfiguredSource], *, before: InForce = NOBODY) -> dict[str, ReadBack]:
        """Return the clients of the CRMs whose records are read back, by source.

        A client of before goes on where nothing changed for it: it knows what its CRM asked it to wait for.
        """
        readbacks = {}
        for name, configured in sources.items():
            known = before.readbacks.get(name)
            if known is not None and _reads_alike(before.sources[name], configured):
                readbacks[name] = known
            elif configured.reader is not None:
                readbacks[name] = self._readback(configured, configured.reader)
        self._open.update(readbacks.values())
        return readbacks

    def let_go(self, readbacks: Iterable[ReadBack], *, after: Collection[asyncio.Task[None]]) -> None:
        """Close clients that no new delivery uses, once the deliveries have ended that may use them still."""
        task = asyncio.create_task(self._close_after(after, set(readbacks)))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def stop(self) -> None:
        """Let no further call begin: the service is stopping."""
        for limiter in list(self._limiters.values()):  # a reload may be adding to them
            limiter.stop()
        for readback in list(self._open):
            readback.stop()

    async def close(self) -> None:
        """Close every connection, once no delivery is under way any more."""
        await asyncio.gather(*self._leaving)
        await _close(*self.sinks.values(), *self._open)

    async def _close_after(self, deliveries: Collection[asyncio.Task[None]], leaving: set[ReadBack]) -> None:
        if deliveries:  # each has its time limit
            await asyncio.wait(deliveries)
        self._open -= leaving
        await _close(*leaving)

    def _limiter(self, name: str) -> Limiter:
        account = self._settings.accounts[name]
        return Limiter(
            name, self._accounts, rate_per_s=account.rate_per_s, parallel=account.parallel, clock=self._clock
        )

    def _sink(self, name: str) -> ChartMogul:
        settings, account = self._settings, self._settings.accounts[name]
        proxy = settings.chartmogul_proxy
        return ChartMogul(
            chartmogul.Account(account.name, account.api_key, account.parallel),
            base_url=settings.chartmogul_base_url,
            turn=self._limiters[name].turn,
            connect_timeout_s=settings.connect_timeout_s,
            read_timeout_s=settings.read_timeout_s,
            proxy=None if proxy is None else proxy.get_secret_value(),
        )

    def _readback(self, configured: ConfiguredSource, reader: Reader[Any]) -> ReadBack:
        return ReadBack(
            reader,
            fields=configured.needs,
            connect_timeout_s=self._settings.connect_timeout_s,
            read_timeout_s=min(self._settings.read_timeout_s, READ_TIMEOUT_S),
            clock=self._clock,
        )


def _reads_alike(before: ConfiguredSource, now: ConfiguredSource) -> bool:
    """Say whether two readings of the file have a source's records read in the same way, with the same credentials."""
    if before.reader is None or now.reader is None:
        return False
    same = type(before.reader) is type(now.reader) and before.reader.spec == now.reader.spec
    return same and before.needs == now.needs


async def _close(*clients: ChartMogul | ReadBack) -> None:
    async with contextlib.AsyncExitStack() as stack:  # all of them, also where one fails
        for client in clients:
            await stack.enter_async_context(client)
