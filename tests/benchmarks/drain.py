"""Deliveries: contacts that wait are brought up to date, against the rate allowed and ChartMogul's own client."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import chartmogul

from tests.benchmarks.backlog import fill
from tests.benchmarks.bodies import edits, pipedrive, title
from tests.benchmarks.ours import ALLOWED_PER_S, Call, Sandbox, Service, span_s
from tests.benchmarks.report import Bench, Measured, Row
from tests.benchmarks.servers import until
from tests.support.service import API_KEY

START_S: Final = 120.0
SLOWEST_S: Final = 1.0
"""How much longer each contact may take, before the whole is given up."""
CLIENT_TIMEOUT_S: Final = 30
CONDITIONS: Final = (
    "The sandbox answers after its latency and keeps ChartMogul's limits: 40 requests/s, 20 in parallel.",
    f"The service has its default settings ({ALLOWED_PER_S:g}/s, 16 in parallel); the changes wait in its log.",
    "Both know the uuids and send the same PATCH bodies; time runs from the first one's arrival to the last answer.",
    f"vs_allowed: against the seconds that the contacts take at {ALLOWED_PER_S:g}/s; vs_client: rate against rate.",
    "The client is `chartmogul` from PyPI with its defaults, one contact after the other.",
)


def measure(bench: Bench) -> Measured:
    """Let the service drain what waits, then let the client make the first of the same calls."""
    scale, room = bench.scale, bench.room("drain")
    with Sandbox(room, bench.cores) as sandbox:
        sandbox.begin(scale.contacts, latency_ms=scale.latency_ms)
        service = Service(room, bench.cores, sandbox)
        fill(service, "pipedrive", pipedrive(islice(edits(), scale.contacts)))
        with service:
            until(lambda: sandbox.answered() >= scale.contacts, seconds=START_S + scale.contacts * SLOWEST_S)
        ours = sandbox.calls()
        wrong = [*_unlike(sandbox, ours, scale.contacts), *service.unlike({"delivered": scale.contacts})]
        sandbox.begin(scale.contacts, latency_ms=scale.latency_ms)
        _by_client(sandbox, ours[: scale.contacts_by_client])
        theirs = sandbox.calls()
        wrong += [f"client: {line}" for line in _unlike(sandbox, theirs, len(theirs))]
    rows = [_row("service", ours, theirs), _row("chartmogul client", theirs, theirs)]
    return Measured(f"Drain of waiting contacts at {scale.latency_ms} ms", rows, CONDITIONS, wrong)


def _by_client(sandbox: Sandbox, calls: Sequence[Call]) -> None:
    config = chartmogul.Config(API_KEY, request_timeout=CLIENT_TIMEOUT_S)
    config.uri = f"http://127.0.0.1:{sandbox.port}/v1"
    for call in calls:
        chartmogul.Contact.modify(config, uuid=Path(call["path"]).name, data=call["body"]).get()


def _unlike(sandbox: Sandbox, calls: Sequence[Call], contacts: int) -> Iterator[str]:
    """Say what ChartMogul holds, or was asked, that it should not."""
    updated = sorted(Path(call["path"]).name for call in calls if call["status"] == 200)
    yield from sandbox.unlike({uuid: title(int(uuid[4:12], 16)) for uuid in updated})
    if updated != sorted(set(updated)) or len(updated) != contacts:
        yield "not every contact was updated exactly once"


def _row(name: str, calls: Sequence[Call], theirs: Sequence[Call]) -> Row:
    contacts, seconds = len({call["path"] for call in calls}), span_s(calls)
    return {
        "who": name,
        "contacts": contacts,
        "seconds": seconds,
        "vs_allowed": seconds / (contacts / ALLOWED_PER_S),
        "applied_per_s": _rate(calls),
        "answered_429": sum(call["status"] == 429 for call in calls),
        "answered_503": sum(call["status"] == 503 for call in calls),
        "in_parallel_max": max(call["in_flight"] for call in calls),
        "vs_client": _rate(calls) / _rate(theirs),
    }


def _rate(calls: Sequence[Call]) -> float:
    applied: int = sum(call["applied"] for call in calls)
    return applied / span_s(calls)
