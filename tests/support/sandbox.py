"""A real ChartMogul sandbox on a free loopback port, in a thread of its own.

    with running_sandbox() as sandbox:
        httpx.get(f"{sandbox.base_url}/v1/contacts", auth=(sandbox.api_key, ""))
        sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=502, count=2))
        assert sandbox.contact("con_…")["title"] == "CTO"
        assert sandbox.answered("PATCH", 200) == 1

Limits are off unless settings say otherwise. Every method runs on the sandbox's own event loop, between two requests,
so that a test sees no half-done state; what is returned is a copy.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeVar

from service.sandbox import (
    DEFAULT_SEED,
    UNLIMITED,
    Fault,
    Keys,
    Sandbox,
    SandboxServer,
    Seed,
    Settings,
    create_app,
    parse_seed,
)

START_S = 20.0
CALL_S = 20.0
CUSTOMER = "cus_5f1c3a7e-2c7e-11ee-8d0f-2b9a64c1e7d3"
DATA_SOURCE = "ds_03cfd2c4-2c7e-11ee-ab23-cb0f008cff46"

_T = TypeVar("_T")


@dataclass
class RunningSandbox:
    """A sandbox that serves ``base_url`` (without ``/v1``), and a test's hands on its state."""

    base_url: str
    app: Sandbox
    server: SandboxServer
    api_key: str = "sandbox-key"

    def contacts(self) -> list[dict[str, Any]]:
        """Every contact with all its keys, the oldest first."""
        return self._run(lambda: [dict(deepcopy(contact)) for contact in self.app.contacts.all()])

    def contact(self, uuid: str) -> dict[str, Any]:
        """One contact with all its keys; KeyError when there is none."""
        return {str(contact["uuid"]): contact for contact in self.contacts()}[uuid]

    def requests(self, method: str | None = None) -> list[dict[str, Any]]:
        """What arrived at ``/v1``, the oldest first, as ``GET /_sandbox/requests`` shows it."""
        entries = self._run(lambda: [entry.as_document() for entry in self.app.journal])
        return [entry for entry in entries if method in (None, entry["method"])]

    def counters(self) -> dict[str, Any]:
        """``arrived``, ``in_flight_max``, ``answers`` by method and status, ``applied`` by method."""
        return self._run(self.app.journal.counters)

    def answered(self, method: str, status: int | None) -> int:
        """How many requests of the method ended with the status; None: without a whole answer."""
        return self._run(lambda: self.app.journal.answered(method, status))

    def forget_requests(self) -> None:
        """Empties the journal and its counters."""
        self._run(self.app.journal.reset)

    def add_faults(self, *faults: Fault) -> None:
        """Switches faults on."""
        self._run(lambda: self.app.faults.add(*faults))

    def clear_faults(self) -> None:
        """Switches all faults off; connections held silent are closed."""
        self._run(self.app.clear_faults)

    def configure(self, settings: Settings) -> None:
        """Other limits, latency and switches from the next request on."""
        self._run(lambda: self.app.configure(settings))

    def load(self, seed: Seed) -> None:
        """Another account; faults, settings and journal stay."""
        self._run(lambda: self.app.load(seed))

    def reset(self) -> None:
        """Everything as it was at the start."""
        self._run(self.app.reset)

    def _run(self, ask: Callable[[], _T]) -> _T:
        async def on_loop() -> _T:
            return ask()

        assert self.server.loop is not None
        return asyncio.run_coroutine_threadsafe(on_loop(), self.server.loop).result(CALL_S)


@contextmanager
def running_sandbox(
    seed: Seed = DEFAULT_SEED, settings: Settings | None = None, *, keys: Keys | None = None
) -> Iterator[RunningSandbox]:
    """A sandbox that serves while the block runs."""
    app = create_app(seed, settings or Settings(limits=UNLIMITED), keys=keys)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = SandboxServer(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="sandbox")
        thread.start()
        try:
            assert server.ready.wait(START_S), "the sandbox did not start"
            yield RunningSandbox(f"http://127.0.0.1:{listener.getsockname()[1]}", app, server)
        finally:
            server.should_exit = True
            thread.join(START_S)
            assert not thread.is_alive(), "the sandbox did not stop"


def seed_of(count: int, *, custom_attributes: tuple[str, ...] = ("Lifecycle", "Lead score", "Newsletter")) -> Seed:
    """A seed of so many people at one customer: ``person-7@nordwind-logistik.example`` is ``contact_uuid(7)``."""
    return parse_seed(
        {
            "custom_attributes": list(custom_attributes),
            "customers": [{"uuid": CUSTOMER, "external_id": "cus_011", "data_source_uuid": DATA_SOURCE}],
            "contacts": [
                {
                    "uuid": contact_uuid(number),
                    "customer_uuid": CUSTOMER,
                    "customer_external_id": "cus_011",
                    "data_source_uuid": DATA_SOURCE,
                    "position": number + 1,
                    "email": f"person-{number}@nordwind-logistik.example",
                }
                for number in range(count)
            ],
        }
    )


def contact_uuid(number: int) -> str:
    """The uuid of the n-th contact of ``seed_of``."""
    return f"con_{number:08x}-7686-11ee-86f6-8727560009c2"
