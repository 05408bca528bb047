"""The service as it is run: in this process over ASGI, or as a process of its own that can be stopped and killed.

async with running(configure(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url), clock=clock) as service:
answer = await service.send(pipedrive(101, "pd-1", clock(), job_title="CFO"))
await service.settled()

with Process(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url) as process:
process.start()
process.kill()
process.start()
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
from fastapi import FastAPI

from service.conclusion import Policy
from service.config import Config, load
from service.limiter import Limiter
from service.main import Service, create_app, real_clock
from service.pipeline import InForce, Pipeline
from service.resolver import Resolver
from service.schema import attempts
from service.store import Store
from service.store.ledger import Backlog
from service.worker import Worker
from tests.support.log import rows
from tests.support.sink import sink
from tests.support.wait import eventually, until
from tests.support.webhooks import CONFIGURATION, PUBLIC_URL, SECRETS, Webhook

API_KEY: Final = "cm-key-5f0d2c9a7b1e"
STOP_S: Final = 20.0
INHERITED: Final = ("PATH", "LANG", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START", "XDG_RUNTIME_DIR")
NOWHERE: Final = "http://127.0.0.1:9"
"""The discard port: nothing listens there."""


class Shifted:
    """The real time, and as much later as a test wants it to be: pauses keep their length, waits can be skipped."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        """Return the time, shifted."""
        return real_clock() + self.ahead

    def advance(self, seconds: float) -> None:
        """Let it be so much later."""
        self.ahead += timedelta(seconds=seconds)


def environment(directory: Path, configuration: str = CONFIGURATION, **settings: str) -> dict[str, str]:
    """Write the configuration file and return an environment that names it, with every secret set."""
    (directory / "config.yaml").write_text(configuration, encoding="utf-8")
    return {
        "CHARTMOGUL_API_KEY": API_KEY,
        "CHARTMOGUL_BASE_URL": NOWHERE,
        "CHARTMOGUL_RATE_PER_S": "40",
        "CONFIG_FILE": str(directory / "config.yaml"),
        "DATA_DIR": str(directory / "data"),
        "SECRETS_DIR": str(directory / "secrets"),
        "PUBLIC_URL": PUBLIC_URL,
        **SECRETS,
        **settings,
    }


def configure(directory: Path, configuration: str = CONFIGURATION, **settings: str) -> Config:
    """Load a configuration as the service would."""
    return load(environment(directory, configuration, **settings), env_file=directory / ".env")


@dataclass(frozen=True, slots=True)
class Running:
    """A service in this process, and a client that reaches it."""

    app: FastAPI
    service: Service
    client: httpx.AsyncClient

    @property
    def store(self) -> Store:
        """The service's own log."""
        return self.service.store

    async def send(self, webhook: Webhook) -> httpx.Response:
        """Deliver a webhook."""
        return await self.client.post(webhook.target, content=webhook.body, headers=webhook.headers)

    async def accepted(self, *webhooks: Webhook) -> None:
        """Deliver webhooks, one after the other, that must be taken."""
        for webhook in webhooks:
            answer = await self.send(webhook)
            assert answer.status_code == 200, answer.text

    async def settled(self) -> None:
        """Return once nothing is owed."""
        await self.until(lambda backlog: backlog.pending + backlog.leased == 0)

    async def until(self, reached: Callable[[Backlog], bool]) -> None:
        """Return once the backlog is as described."""

        async def now() -> bool:
            return reached(await self.store.ledger.backlog())

        await eventually(now)

    async def tried(self, count: int) -> None:
        """Return once so many attempts are recorded in all, and none is under way."""

        async def now() -> bool:
            return len(await self.attempts()) >= count

        await eventually(now)
        await self.until(lambda backlog: backlog.leased == 0)

    async def attempts(self) -> list[dict[str, Any]]:
        """Every attempt, oldest first."""
        return [dict(row) for row in await rows(self.store, attempts)]

    async def events(self) -> list[dict[str, Any]]:
        """Every event, oldest first."""
        return list(reversed(await self.store.ledger.events(limit=1000)))

    async def deliveries(self) -> list[dict[str, Any]]:
        """Every delivery, oldest first."""
        return list(reversed(await self.store.ledger.deliveries(limit=1000)))

    async def health(self) -> dict[str, Any]:
        """What ``/health`` says."""
        document: dict[str, Any] = (await self.client.get("/health")).json()
        return document


@contextlib.asynccontextmanager
async def running(config: Config, *, clock: Callable[[], datetime] = real_clock) -> AsyncIterator[Running]:
    """Run the service in this process, lifespan and worker included."""
    app = create_app(config, clock=clock)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL) as client,
    ):
        yield Running(app, app.state.service, client)


@dataclass(frozen=True, slots=True)
class Replica:
    """A second delivering half on a running service's log, with limits and connections of its own."""

    pipeline: Pipeline
    worker: Worker
    limiter: Limiter


@contextlib.asynccontextmanager
async def replica(
    service: Running, *, resolver: Resolver | None = None, parallel: int = 2, stop_s: float = STOP_S
) -> AsyncIterator[Replica]:
    """Build another pipeline and worker; the worker is started by the test, and stopped at the end.

    The service's own is usually stopped before: what stopped once lets no call begin any more.
    """
    parts, settings = service.service, service.service.config.settings
    limiter = Limiter("default", parts.store.accounts, rate_per_s=40, parallel=parallel, clock=parts.clock)
    connect_s, read_s = settings.connect_timeout_s, settings.read_timeout_s
    async with sink(
        settings.chartmogul_base_url, parallel=parallel, turn=limiter.turn, connect_s=connect_s, read_s=read_s
    ) as chartmogul:
        sinks = {"default": chartmogul}
        pipeline = Pipeline(
            store=parts.store,
            in_force=InForce("test", parts.config.sources, parts.readbacks),
            sinks=sinks,
            resolver=resolver or Resolver(sinks),
            policy=Policy(retry_for=timedelta(hours=1), late=timedelta(seconds=read_s), clear_with=None),
            clock=parts.clock,
            chance=lambda: 0.5,
        )
        worker = Worker(
            pipeline,
            parts.store,
            parallel={"default": parallel},
            stop_waiting=[limiter.stop],
            owner="replica-b",
            lease=timedelta(seconds=60),
            clock=parts.clock,
            stop_s=stop_s,
        )
        yield Replica(pipeline, worker, limiter)
        await worker.stop()


class Process:
    """``python -m service serve`` in a directory of its own. Its log is read from the file that it writes."""

    def __init__(self, directory: Path, configuration: str = CONFIGURATION, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.directory = directory
        own = {"HOST": "127.0.0.1", "PORT": str(self.port), **settings}
        self.environ = inherited() | environment(directory, configuration, **own)
        self._log = directory / "serve.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.terminate()

    @property
    def log(self) -> str:
        """Everything written so far, over all starts."""
        return self._log.read_text(encoding="utf-8")

    def spawn(self) -> None:
        """Start without waiting."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service", "serve"],
                env=self.environ,
                cwd=self.directory,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def start(self) -> None:
        """Start, and return once it is ready."""
        self.spawn()
        with httpx.Client(trust_env=False) as client:
            until(lambda: self._is_ready(client))

    def _is_ready(self, client: httpx.Client) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        with contextlib.suppress(httpx.TransportError):
            return client.get(f"{self.url}/health/ready").status_code == 200
        return False

    def settle(self) -> None:
        """Return once it owes nothing."""
        with httpx.Client(trust_env=False, base_url=self.url) as client:
            until(lambda: client.get("/health").json().get("backlog") == {"pending": 0, "leased": 0})

    def kill(self) -> None:
        """End it as the kernel would: no goodbye."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(STOP_S)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def terminate(self) -> int:
        """Ask it to stop, and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Return its exit code once it ended by itself."""
        assert self._process is not None
        return self._process.wait(STOP_S)


def inherited() -> dict[str, str]:
    """What a process of ours needs of this one's environment; nothing that configures a service."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}  # noqa: TID251  # handed on, not read


def free_port() -> int:
    """A loopback port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
