"""A running service with a little history, for every verb to look at."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.main import real_clock
from service.sandbox import DEFAULT_SEED, Seed
from tests.support.sandbox import RunningSandbox, running_sandbox
from tests.support.service import Process, environment
from tests.support.verbs import Ended, verb
from tests.support.wait import until
from tests.support.webhooks import PUBLIC_URL, Webhook, pipedrive

Verb = Callable[..., Ended]


@dataclass(frozen=True, slots=True)
class World:
    """A service of its own process, the sandbox that it delivers to, and verbs on its log."""

    process: Process
    sandbox: RunningSandbox

    def verb(self, *arguments: str, text: bytes = b"") -> Ended:
        """Run a verb as the service's operator would."""
        return verb(*arguments, environ=self.process.environ, directory=self.process.directory, text=text)

    def send(self, webhook: Webhook) -> int:
        """Deliver a webhook and return the answer's status."""
        url = self.process.url + webhook.target
        return httpx.post(url, content=webhook.body, headers=webhook.headers, trust_env=False).status_code

    def settle(self) -> None:
        """Return once nothing is owed."""
        self.process.settle()

    def tell(self, *webhooks: Webhook) -> None:
        """Deliver webhooks that must be taken, one after the other: what comes during a delivery joins it."""
        for webhook in webhooks:
            assert self.send(webhook) == 200
            self.settle()

    def health(self) -> Any:  # noqa: ANN401  # whatever JSON holds
        """What ``/health`` says."""
        return httpx.get(f"{self.process.url}/health", trust_env=False).json()

    def bodies(self) -> list[Any]:
        """The bodies of every PATCH, in order."""
        return [request["body"] for request in self.sandbox.requests("PATCH")]


@contextmanager
def world_of(directory: Path, *, seed: Seed = DEFAULT_SEED, **settings: str) -> Iterator[World]:
    """A world of a test's own, where nothing happened yet."""
    with (
        running_sandbox(seed) as sandbox,
        Process(directory, CHARTMOGUL_BASE_URL=sandbox.base_url, **settings) as process,
    ):
        process.start()
        yield World(process, sandbox)


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One change delivered, one merged, one unknown, one unmappable, one refused."""
    now = real_clock()
    with world_of(tmp_path_factory.mktemp("world")) as world:
        bad = [{"value": "call me", "primary": True}]
        world.tell(
            pipedrive(101, "evt-1", now, job_title="CEO"),
            pipedrive(101, "evt-0", now.replace(year=2025), job_title="COO"),
            pipedrive(102, "evt-2", now, email="nobody@elsewhere.example", job_title="CEO"),
            pipedrive(101, "evt-3", now, phones=bad),
        )
        assert world.send(pipedrive(101, "evt-4", now, password="letmein")) == 401
        world.settle()
        until(lambda: bool(world.verb("refusals", "--json").json))
        yield world


@pytest.fixture
def here(tmp_path: Path) -> Verb:
    """Runs verbs in a directory of their own, where no service runs; settings as keywords."""

    def run(*arguments: str, text: bytes = b"", configuration: str | None = None, **settings: str) -> Ended:
        given = {} if configuration is None else {"configuration": configuration}
        return verb(*arguments, environ=environment(tmp_path, **given, **settings), directory=tmp_path, text=text)

    return run


def capture(webhook: Webhook, *, raw: bool = False) -> dict[str, Any]:
    """A captured request as `inspect` reads it."""
    body = {"body_base64": base64.b64encode(webhook.body).decode()} if raw else {"body": webhook.body.decode()}
    return {"method": "POST", "url": PUBLIC_URL + webhook.target, "headers": webhook.headers, **body}


def capture_file(directory: Path, webhook: Webhook, **how: bool) -> str:
    """Write a captured request and return its path."""
    path = directory / "request.json"
    path.write_text(json.dumps(capture(webhook, **how)))
    return str(path)
