"""Deliveries: contacts that wait are brought up to date, against ChartMogul's own client in a loop."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import chartmogul

from tests.benchmarks.bodies import ATTRIBUTES, pipedrive
from tests.benchmarks.load import Load, fire, told
from tests.benchmarks.noop import ANSWER
from tests.benchmarks.report import Bench, Measured, Row
from tests.benchmarks.servers import REFUSING, Sandbox, Service, until
from tests.support.sandbox import contact_uuid, seed_of
from tests.support.service import API_KEY

CONNECTIONS: Final = 8
START_S: Final = 120.0
SLOWEST_S: Final = 1.0
"""How much longer each contact may take, before the whole is given up."""
CLIENT_TIMEOUT_S: Final = 30
CONDITIONS: Final = (
    "The sandbox answers after its latency and keeps ChartMogul's limits: 40 requests/s, 20 in parallel.",
    "The service has its default settings (36/s, 16 in parallel); the changes are in its log when it starts.",
    "Both know the uuids and send the same PATCH bodies; time runs from the first one's arrival to the last answer.",
    "The client is `chartmogul` from PyPI with its defaults, one contact after the other.",
)

_Calls = Sequence[Mapping[str, Any]]
"""Requests as the sandbox shows them."""


def measure(bench: Bench) -> Measured:
    """Let the service drain what waits, then let the client make the same calls."""
    contacts, room = bench.scale.contacts, bench.room("drain")
    with Sandbox(room, bench.cores) as sandbox:
        _prepare(sandbox, bench)
        service = Service(room, bench.cores, sandbox)
        wrong = [*_load(service, sandbox, contacts)]
        with service:
            until(lambda: _answered(sandbox) >= contacts, seconds=START_S + contacts * SLOWEST_S)
        ours = _seen(sandbox)
        wrong += [*_unlike(sandbox, ours, contacts)]
        # The one that was tried before may still wait for its next try.
        wrong += service.unlike({"delivered": contacts + 1}, {"delivered": contacts, "pending": 1})
        _prepare(sandbox, bench)
        _by_client(sandbox, ours)
        theirs = _seen(sandbox)
        wrong += [f"client: {line}" for line in _unlike(sandbox, theirs, contacts)]
    rows = [_row("service", ours, theirs), _row("chartmogul client", theirs, theirs)]
    return Measured(f"Drain of {contacts} contacts at {bench.scale.latency_ms} ms", rows, CONDITIONS, wrong)


def _prepare(sandbox: Sandbox, bench: Bench) -> None:
    sandbox.control("POST", "reset", seed_of(bench.scale.contacts + 1, custom_attributes=ATTRIBUTES))
    sandbox.control("PUT", "settings", {"latency_ms": bench.scale.latency_ms})


def _load(service: Service, sandbox: Sandbox, contacts: int) -> Iterator[str]:
    """Let the changes wait: the account is paused until all are in, and the service is stopped again.

    It takes a change to learn that the key is refused, and that one is tried again later: one more, and not timed.
    """
    sandbox.control("POST", "faults", REFUSING)
    with service:
        changes = pipedrive(first=0)
        fire(Load(service.port, islice(changes, 1), ANSWER, 1))
        until(service.paused)
        fired = fire(Load(service.port, islice(changes, contacts), ANSWER, CONNECTIONS))
        yield from told(fired.wrong)
    sandbox.control("DELETE", "faults")
    sandbox.control("DELETE", "requests")


def _by_client(sandbox: Sandbox, calls: _Calls) -> None:
    config = chartmogul.Config(API_KEY, request_timeout=CLIENT_TIMEOUT_S)
    config.uri = f"http://127.0.0.1:{sandbox.port}/v1"
    for call in calls:
        chartmogul.Contact.modify(config, uuid=Path(call["path"]).name, data=call["body"]).get()


def _answered(sandbox: Sandbox) -> int:
    """How many PATCHes were applied, but for the contact that was tried before."""
    seen = sandbox.control("GET", f"requests?method=PATCH&path=/v1/contacts/{contact_uuid(0)}")
    before: int = sum(call["status"] == 200 for call in seen["requests"])
    return int(seen["counters"]["answers"].get("PATCH", {}).get("200", 0)) - before


def _seen(sandbox: Sandbox) -> list[Mapping[str, Any]]:
    """Every PATCH that reached the sandbox, but for the contact that was tried before."""
    seen: list[Mapping[str, Any]] = sandbox.control("GET", "requests?method=PATCH")["requests"]
    return [call for call in seen if not call["path"].endswith(contact_uuid(0))]


def _unlike(sandbox: Sandbox, calls: _Calls, contacts: int) -> Iterator[str]:
    """Say what ChartMogul holds, or was asked, that it should not."""
    held = {contact["uuid"]: contact["title"] for contact in sandbox.control("GET", "contacts")["contacts"]}
    uuids = {contact_uuid(number): f"VP Finance {number}" for number in range(1, contacts + 1)}
    for uuid, title in uuids.items():
        if held[uuid] != title:
            yield f"{uuid} has not the title that was sent"
    if sorted(call["path"] for call in calls if call["status"] == 200) != [f"/v1/contacts/{uuid}" for uuid in uuids]:
        yield "not every contact was updated exactly once"


def _row(name: str, calls: _Calls, theirs: _Calls) -> Row:
    applied = sum(call["applied"] for call in calls)
    return {
        "who": name,
        "seconds": _seconds(calls),
        "applied": applied,
        "applied_per_s": applied / _seconds(calls),
        "answered_429": sum(call["status"] == 429 for call in calls),
        "answered_503": sum(call["status"] == 503 for call in calls),
        "in_parallel_max": max(call["in_flight"] for call in calls),
        "vs_client": _seconds(theirs) / _seconds(calls),
    }


def _seconds(calls: _Calls) -> float:
    """From the first call's arrival to the last one's answer, by the sandbox's clock."""
    begun = [datetime.fromisoformat(call["at"]).timestamp() for call in calls]
    ended: list[float] = [at + call["took_ms"] / 1000 for at, call in zip(begun, calls, strict=True)]
    return max(ended) - min(begun)
