"""A changed configuration comes into force while the service runs, or is refused with its whole report.

Asked for, it is read at once. Beside that the files are looked at every few seconds, for not everybody who replaces one
can send a signal: what was seen twice alike is no half-written file, and is tried once.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import islice
from typing import Final

import structlog

from service.clients import Clients
from service.config import Config
from service.config.loading import changed_settings, read_again
from service.config.warnings import ConfigWarning
from service.errors import ConfigError, Fault, StoreError
from service.pipeline import InForce, Pipeline
from service.store import Store
from service.web.api import Refused
from service.worker import Worker

POLL_S: Final = 2.0
"""How often the files are looked at."""
FAULTS_TOLD_MAX: Final = 100
"""Faults of one file that the log lists; `check` lists them all."""
WARNINGS_TOLD_MAX: Final = 100
"""Warnings of one file that the log lists, as with faults."""

log = structlog.get_logger("configuration")


class Reload:
    """Puts what the files say now in the place of what is in force, as a whole, one at a time.

    ``running`` is what is in force. ``refused`` is the file that is not, until a right one or the former is there
    again. ``needs_restart`` names the settings that are others now than at the start.
    """

    def __init__(
        self,
        running: Config,
        *,
        store: Store,
        pipeline: Pipeline,
        worker: Worker,
        clients: Clients,
        clock: Callable[[], datetime],
        every_s: float = POLL_S,
    ) -> None:
        self.running = running
        self.refused: Refused | None = None
        self.needs_restart: tuple[str, ...] = ()
        self._store = store
        self._pipeline = pipeline
        self._worker = worker
        self._clients = clients
        self._clock = clock
        self._every_s = every_s
        self._tried: str | None = running.seen
        self._asked = asyncio.Event()
        self._one = asyncio.Lock()

    async def now(self) -> str:
        """Take the files as they are now and return the version in force then.

        Raises ConfigError where they are faulty, StoreError where the log cannot keep the new rules; in both cases
        what was in force goes on. The latter is tried again by ``watch``.
        """
        async with self._one:
            self._tried = await self._fingerprint()
            try:
                await self._look_for_settings()
                config = await asyncio.to_thread(read_again, self.running)
                await self._bring(config)
            except ConfigError as error:
                self._refuse(error)
                raise
            except StoreError:
                self._tried = None
                raise
            return config.version

    def ask(self) -> None:
        """Have ``watch`` take the files as they are, without waiting for its time."""
        self._asked.set()

    async def watch(self) -> None:
        """Take what changes, until cancelled. Whatever goes wrong is logged, and what was in force goes on."""
        before = self._tried
        while True:
            asked = await self._asked_meanwhile()
            seen = await self._fingerprint()
            if asked or (seen == before and seen != self._tried):
                await self._try()
            before = seen

    async def _asked_meanwhile(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._every_s):
                await self._asked.wait()
        asked = self._asked.is_set()
        self._asked.clear()
        return asked

    async def _try(self) -> None:
        try:
            await self.now()
        except ConfigError:
            pass  # it is told already
        except StoreError as error:
            log.warning("configuration_waits", cause=error.cause, hint=error.hint)
        except Exception as error:  # noqa: BLE001  # a fault of ours must not end the watch
            log.error("fault", cause=type(error).__name__)  # noqa: TRY400  # a trace may hold a value

    async def _fingerprint(self) -> str:
        return await asyncio.to_thread(self.running.origin.fingerprint)

    async def _look_for_settings(self) -> None:
        names = await asyncio.to_thread(changed_settings, self.running)
        if names and names != self.needs_restart:
            log.warning("needs_restart", settings=list(names), hint="restart the service to use them")
        self.needs_restart = names

    async def _bring(self, config: Config) -> None:
        """Put a configuration in force: first all that may fail, then the one assignment that replaces what was."""
        before, former = self._pipeline.in_force, self.running
        # In a thread: each new client reads every certificate authority, and webhooks would wait for that.
        parallel = await asyncio.to_thread(self._clients.parallel, config.sources)
        await keep(self._store, config, now=self._clock())
        readbacks = await asyncio.to_thread(self._clients.readbacks, config.sources, before=before)
        for account, calls in parallel.items():
            self._worker.serve(account, calls)
        self._pipeline.in_force = InForce(config.version, config.sources, readbacks)
        self.running, self.refused = config, None
        self._clients.let_go(set(before.readbacks.values()) - set(readbacks.values()), after=self._worker.underway)
        _tell_loaded(former, config)
        told = {(one.name, one.path) for one in former.warnings}
        tell_warnings(one for one in config.warnings if (one.name, one.path) not in told)
        self._worker.wake()

    def _refuse(self, error: ConfigError) -> None:
        self.refused = Refused(self._clock(), error.faults)
        for fault in error.faults[:FAULTS_TOLD_MAX]:
            _tell_fault(fault, running=self.running.version)
        if len(error.faults) > FAULTS_TOLD_MAX:
            log.error("configuration_refused", running=self.running.version, found=f"{error.cause}, of which these")


async def keep(store: Store, config: Config, *, now: datetime) -> None:
    """Have the log know a configuration's accounts and rules, before anything is delivered by it."""
    accounts = {configured.account for configured in config.sources.values()}
    await store.accounts.ensure(accounts, now=now)
    rules = {name: configured.rules.document for name, configured in config.sources.items()}
    await store.configurations.keep(config.version, rules, now=now)


def tell_warnings(warnings: Iterable[ConfigWarning]) -> None:
    """Log what is worth a second look in a configuration."""
    for one in islice(warnings, WARNINGS_TOLD_MAX):
        log.warning(
            "configuration_warning", warning=one.name, where=one.where, path=one.path, cause=one.cause, hint=one.hint
        )


def _tell_loaded(before: Config, now: Config) -> None:
    both = before.digests.keys() & now.digests.keys()
    log.info(
        "configuration_loaded",
        version=now.version,
        previous=before.version,
        added=sorted(now.digests.keys() - both),
        removed=sorted(before.digests.keys() - both),
        changed=sorted(name for name in both if before.digests[name] != now.digests[name]),
    )


def _tell_fault(fault: Fault, *, running: str) -> None:
    log.error(
        "configuration_refused",
        running=running,
        where=fault.where,
        path=fault.path,
        found=fault.found,
        allowed=fault.allowed,
        nearest=fault.nearest,
    )
