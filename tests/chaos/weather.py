"""What goes wrong at ChartMogul: one list of faults for the whole run, each hitting by a chance drawn from the seed."""

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx
import orjson

from service.coalesce import contact_fields
from service.sandbox import SandboxServer, Settings, create_app
from service.sandbox.journal import Entry
from tests.chaos.changes import CUSTOM_ATTRIBUTES
from tests.support.sandbox import RunningSandbox, seed_of

READ_TIMEOUT_S: Final = 3.0
"""How long the service waits for an answer: not long, so that much goes wrong in a minute."""
REQUESTS_KEPT_MAX: Final = 1_000_000
"""Of the sandbox's journal: at 40 requests/s, hours."""
LATENCY: Final = Settings(latency_ms=20, latency_jitter_ms=60)
"""On top of ChartMogul's own limits, which are on."""
LONGEST_S: Final = 2 * READ_TIMEOUT_S
"""Longer than any call is waited for."""
LATE_S: Final = (1.3 * READ_TIMEOUT_S, 1.5 * READ_TIMEOUT_S, 1.7 * READ_TIMEOUT_S)
"""How long after it was sent a late change lands: given up before, and within once more the time it was waited for,
which is as long as the service reckons with it."""

_PATCHES: Final[tuple[tuple[float, dict[str, Any]], ...]] = (
    # Each of these holds the whole account back for seconds, and halves its pace for a while.
    (0.002, {"kind": "status", "status": 429, "retry_after_s": 1}),
    (0.002, {"kind": "status", "status": 429}),
    (0.002, {"kind": "status", "status": 503, "body": "html", "retry_after_s": 2}),
    (0.002, {"kind": "status", "status": 503}),
    # Five 500s in a row are a dead letter: at one in fifty, that is one delivery in three hundred million.
    (0.02, {"kind": "status", "status": 500}),
    (0.02, {"kind": "status", "status": 502, "body": "html"}),
    (0.02, {"kind": "status", "status": 504, "body": "html", "applied": True}),
    (0.01, {"kind": "garbage"}),
    (0.01, {"kind": "timeout_before", "delay_s": LONGEST_S}),
    (0.02, {"kind": "timeout_after", "delay_s": LONGEST_S}),
    # The one that hurts most: the older value must not stay.
    *((0.04, {"kind": "timeout_late", "delay_s": late_s}) for late_s in LATE_S),
    (0.01, {"kind": "reset_before"}),
    (0.02, {"kind": "reset_after"}),
    (0.01, {"kind": "close_before"}),
    (0.02, {"kind": "close_after"}),
    (0.02, {"kind": "truncated_json"}),
    (0.01, {"kind": "slow_body", "delay_s": 0.3}),
    (0.01, {"kind": "slow_body", "delay_s": LONGEST_S}),
)
_SEARCHES: Final[tuple[tuple[float, dict[str, Any]], ...]] = (
    (0.03, {"kind": "status", "status": 502, "body": "html"}),
    (0.02, {"kind": "garbage"}),
    (0.02, {"kind": "timeout_before", "delay_s": LONGEST_S}),
    (0.02, {"kind": "reset_before"}),
    (0.02, {"kind": "truncated_json"}),
)


def faults(seed: int) -> list[dict[str, Any]]:
    """Return every fault as the control API takes it, its chance seeded."""
    told = [("PATCH", *one) for one in _PATCHES] + [("GET", *one) for one in _SEARCHES]
    return [
        {"method": method, "probability": probability, "seed": seed * 1000 + number, **fault}
        for number, (method, probability, fault) in enumerate(told)
    ]


class Weather:
    """The sandbox ChartMogul of a run, and its faults, by way of its control API."""

    def __init__(self, sandbox: RunningSandbox, control: httpx.Client) -> None:
        self.sandbox = sandbox
        self._control = control

    def worsen(self, seed: int) -> None:
        """Switch every fault on."""
        self._control.post("/faults", json={"faults": faults(seed)}).raise_for_status()

    def clear(self) -> None:
        """Switch all off; what was to land late lands now."""
        self._control.delete("/faults").raise_for_status()

    def hits(self) -> Counter[str]:
        """Say how often each kind of fault hit."""
        hit: Counter[str] = Counter()
        for entry in self.sandbox.requests():
            if entry["fault"] is not None:
                hit[f"{entry['fault']} {entry['status']}" if entry["fault"] == "status" else entry["fault"]] += 1
        return hit

    def limited(self) -> list[dict[str, Any]]:
        """Return the requests that were past ChartMogul's own limits: refused, and by no fault."""
        return [entry for entry in self.sandbox.requests() if entry["fault"] is None and entry["status"] in (429, 503)]

    def overtaken(self) -> int:
        """Say how many PATCHes landed after one that was sent later and had another value for one of their fields."""
        count = 0
        for landed in self._landed().values():
            for late in landed:
                newer = [one for one in landed if one.number > late.number and _turn(one) < _turn(late)]
                count += any(_differ(late, one) for one in newer)
        return count

    def _landed(self) -> dict[str, list[Entry]]:
        """Return what was applied, by contact."""
        landed: dict[str, list[Entry]] = {}
        for entry in self.sandbox.app.journal:
            if entry.turn is not None:
                landed.setdefault(entry.target, []).append(entry)
        return landed

    def patches(self) -> int:
        """Say how many PATCHes arrived, whatever came of them."""
        return len(self.sandbox.requests("PATCH"))


def _turn(entry: Entry) -> int:
    return entry.turn or 0


def _differ(first: Entry, second: Entry) -> bool:
    """Say whether two PATCHes gave one field two values."""
    one, other = (contact_fields(orjson.loads(entry.body)) for entry in (first, second))
    return any(one[name] != other[name] for name in one.keys() & other.keys())


@contextmanager
def weather(contacts: int) -> Iterator[Weather]:
    """Run a sandbox that keeps account of all that arrives."""
    seed = seed_of(contacts, custom_attributes=CUSTOM_ATTRIBUTES)
    app = create_app(seed, LATENCY, requests_kept_max=REQUESTS_KEPT_MAX)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = SandboxServer(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="sandbox")
        thread.start()
        try:
            assert server.ready.wait(20), "the sandbox did not start"
            sandbox = RunningSandbox(f"http://127.0.0.1:{listener.getsockname()[1]}", app, server)
            with httpx.Client(base_url=f"{sandbox.base_url}/_sandbox", trust_env=False) as control:
                yield Weather(sandbox, control)
        finally:
            server.should_exit = True
            thread.join()
