"""What all worlds share, because it costs time to make: a loop, a ChartMogul, the sink, and an empty log."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import httpx
from pydantic import SecretStr

from service.chartmogul import Account, ChartMogul
from service.config import Config, load
from service.store import Store
from tests.model.crms import CONFIGURATION, CONTACTS
from tests.model.tries import Watch, WatchedChartMogul
from tests.support.clock import START
from tests.support.sandbox import RunningSandbox, running_sandbox, seed_of
from tests.support.webhooks import PUBLIC_URL, SECRETS

ACCOUNT: Final = "default"
ATTRIBUTES: Final = ("Region", "Plan", "Address")

T = TypeVar("T")


class Lodger(Watch, Protocol):
    """Who lives in the house for a while: one at a time."""


class House:
    """The loop stands still between two calls of ``run``: whatever was stopped stays where it is."""

    def __init__(self, directory: Path, loop: asyncio.Runner, sandbox: RunningSandbox, configuration: str) -> None:
        self.directory = directory
        self.sandbox = sandbox
        self.lodger: Lodger | None = None
        self.config: Config = load(_environment(directory, sandbox, configuration), env_file=directory / ".env")
        self.sink: ChartMogul = WatchedChartMogul(
            Account(ACCOUNT, SecretStr(sandbox.api_key), 20), base_url=sandbox.base_url, watch=self._watch
        )
        # Not the sink: whoever lets a late PATCH land is no part of the service.
        self.wire = httpx.Client(base_url=sandbox.base_url, auth=(sandbox.api_key, ""), trust_env=False)
        self._loop = loop
        self._logs = 0
        self._empty = directory / "empty.db"
        self.run(self._make_empty())

    def run(self, act: Coroutine[Any, Any, T]) -> T:
        """Let something happen, to its end."""
        return self._loop.run(act)

    def new_log(self) -> Path:
        """Return the file of a log that is migrated and holds nothing; the one before is thrown away."""
        for old in self.directory.glob(f"log-{self._logs}.db*"):
            old.unlink()
        self._logs += 1
        return Path(shutil.copy(self._empty, self.directory / f"log-{self._logs}.db"))

    def close(self) -> None:
        """Give everything back."""
        self.wire.close()
        self.run(self.sink.__aexit__(None, None, None))

    async def _make_empty(self) -> None:
        store = Store(f"sqlite:///{self._empty}")
        await store.migrate()
        await store.accounts.ensure([ACCOUNT], now=START)
        rules = {name: source.rules.document for name, source in self.config.sources.items()}
        await store.configurations.keep(self.config.version, rules, now=START)
        await store.close()

    def _watch(self) -> Watch:
        assert self.lodger is not None
        return self.lodger


@contextmanager
def house(configuration: str = CONFIGURATION) -> Iterator[House]:
    """Open a house for as long as the block runs."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        loop = stack.enter_context(asyncio.Runner())
        sandbox = stack.enter_context(running_sandbox(seed_of(CONTACTS, custom_attributes=ATTRIBUTES)))
        opened = House(directory, loop, sandbox, configuration)
        stack.callback(opened.close)
        yield opened


def _environment(directory: Path, sandbox: RunningSandbox, configuration: str) -> dict[str, str]:
    (directory / "config.yaml").write_text(configuration, encoding="utf-8")
    return {
        "CHARTMOGUL_API_KEY": sandbox.api_key,
        "CHARTMOGUL_BASE_URL": sandbox.base_url,
        "CONFIG_FILE": str(directory / "config.yaml"),
        "DATA_DIR": str(directory),
        "SECRETS_DIR": str(directory / "secrets"),
        "PUBLIC_URL": PUBLIC_URL,
        **SECRETS,
    }
