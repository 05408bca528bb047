"""A burst: many changes of few contacts at once, which few calls must bring up to date."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from tests.benchmarks.bodies import (
    BATCH,
    HUBSPOT_CONNECTIONS,
    Edit,
    answer,
    batch_answers,
    edits,
    hubspot,
    hubspot_titles,
    now_ms,
    pipedrive,
    title,
)
from tests.benchmarks.load import Load, fire, told
from tests.benchmarks.ours import Sandbox, Service
from tests.benchmarks.report import Bench, Measured, Row, Scale
from tests.benchmarks.servers import until
from tests.support.sandbox import contact_uuid

SETTLED_S: Final = 300.0
CONDITIONS: Final = (
    "Every contact is changed equally often, in turns; each change is newer than the one before, with another title.",
    "HubSpot sends batches over 10 connections, Pipedrive single webhooks; the contacts are known by link or uuid.",
    "The sandbox answers after its latency and keeps ChartMogul's limits; the service has its default settings.",
    "acked_s: until every request was answered; settled_s: until nothing is owed, from the same moment.",
    "It is wrong if the sandbox does not hold the newest value of every contact at the end.",
)


@dataclass(frozen=True, slots=True)
class _Way:
    """How the changes come: by which requests, and what each is answered."""

    name: str
    requests: Iterator[bytes]
    answers: Sequence[bytes]
    connections: int


def measure(bench: Bench) -> Measured:
    """Send the burst as one CRM would, then as the other."""
    scale, rows, wrong = bench.scale, list[Row](), list[str]()
    with Sandbox(bench.room("burst"), bench.cores) as sandbox:
        for name in ("hubspot", "pipedrive"):
            room = bench.room(f"burst-{name}")
            sandbox.begin(scale.burst_contacts, latency_ms=scale.latency_ms)
            service = Service(room, bench.cores, sandbox)
            with service:
                known = _introduce(service, scale) if name == "hubspot" else 0
                sandbox.forget()
                way = _way(name, scale)
                row, faults = _burst(way, service, sandbox, scale)
            wrong += [f"{name}: {line}" for line in (*faults, *service.unsettled(known + scale.burst))]
            rows.append(row)
    return Measured(f"Burst of {scale.burst:,} changes", rows, CONDITIONS, wrong)


def _way(name: str, scale: Scale) -> _Way:
    changes = _changes(scale)
    if name == "hubspot":
        requests, answers = hubspot_titles(changes), batch_answers(scale.burst)
        return _Way(f"hubspot, batches of {BATCH}", requests, answers, HUBSPOT_CONNECTIONS)
    return _Way("pipedrive, single webhooks", pipedrive(changes), [answer()], scale.connections)


def _changes(scale: Scale) -> Iterator[Edit]:
    """Every contact in turns, a millisecond after the one before; the last is made just now."""
    begun_ms = now_ms() - scale.burst
    return (Edit(number % scale.burst_contacts, number, begun_ms + number) for number in range(scale.burst))


def _introduce(service: Service, scale: Scale) -> int:
    """Let HubSpot tell the emails, so that the contacts are linked; a title alone does not say whose it is."""
    people = islice(edits(first=0), scale.burst_contacts)
    fire(Load(service.port, hubspot(people), batch_answers(scale.burst_contacts), 1))
    until(lambda: service.waiting() == 0, seconds=SETTLED_S)
    return scale.burst_contacts


def _burst(way: _Way, service: Service, sandbox: Sandbox, scale: Scale) -> tuple[Row, list[str]]:
    started = time.perf_counter()
    fired = fire(Load(service.port, way.requests, way.answers, way.connections))
    acked_s = time.perf_counter() - started
    until(lambda: service.waiting() == 0, seconds=SETTLED_S)
    settled_s = time.perf_counter() - started
    calls = sandbox.calls()
    newest = range(scale.burst - scale.burst_contacts, scale.burst)
    titles = {contact_uuid(number % scale.burst_contacts): title(number) for number in newest}
    row: Row = {
        "how": way.name,
        "changes": scale.burst,
        "contacts": scale.burst_contacts,
        "acked_s": acked_s,
        "settled_s": settled_s,
        "patches": len(calls),
        "patches_per_change": len(calls) / scale.burst,
        "answered_429": sum(call["status"] == 429 for call in calls),
        "answered_503": sum(call["status"] == 503 for call in calls),
    }
    return row, [*told(fired.wrong), *sandbox.unlike(titles)]
