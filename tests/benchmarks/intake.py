"""Durable intake: signed changes per second, each answered after its commit, against endpoints that keep nothing."""

import math
import statistics
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from tests.benchmarks.bodies import BATCH, HUBSPOT_CONNECTIONS, helpdesk, hubspot, pipedrive
from tests.benchmarks.load import Fired, Load, fire, told
from tests.benchmarks.noop import ANSWER
from tests.benchmarks.report import Bench, Measured, Row
from tests.benchmarks.servers import REFUSING, Sandbox, Server, Service, bound, until

WARM: Final = 0.2
"""Of a round's length, before the rounds."""
ANSWER_TO_BATCH: Final = b'{"accepted":%d,"duplicates":0}' % BATCH
CONDITIONS: Final = (
    "Every request is another change of another person, signed; the service answers after the commit is synced.",
    "Rounds take turns, and figures are medians; a ratio is the median of the rounds' own ratios.",
    "vs_fastapi: against a decorated endpoint that has its JSON parsed; vs_asgi: against the least that can answer.",
    "The worker runs, but its account is paused (ChartMogul answers 401), so that nothing is delivered meanwhile.",
    "generator: how much of its core the load generator took.",
)


@dataclass(slots=True)
class _Contender:
    """A server, and what its rounds gave."""

    name: str
    server: Server
    requests: dict[str, Iterator[bytes]]
    rounds: list[tuple[Fired, float]] = field(default_factory=list)
    acked: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    def fire(self, source: str, connections: int, answer: bytes, seconds: float) -> tuple[Fired, float]:
        """Run one round; return it with the server's processor time for each request, in µs."""
        before = self.server.cpu_s
        fired = fire(Load(self.server.port, self.requests[source], answer, connections), seconds=seconds)
        self.acked[source] += fired.answered
        self.wrong += fired.wrong
        return fired, (self.server.cpu_s - before) / max(1, fired.answered) * 1e6


def measure(bench: Bench) -> Measured:
    """Measure intake from all three sources, then hold the log against what was acknowledged."""
    room, cores, rows = bench.room("intake"), bench.cores, list[Row]()
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(room, cores))
        service = stack.enter_context(Service(room, cores, sandbox))
        bounds = {kind: stack.enter_context(bound(kind, room, cores)) for kind in ("fastapi", "asgi")}
        subject = _contender("service", service)
        singles = [subject, *(_contender(f"{kind}_noop", server) for kind, server in bounds.items())]
        _pause(sandbox, subject, service)
        for source in ("pipedrive", "helpdesk"):
            rows += _compare(source, singles, bench)
        rows.append(_batches(subject, bench))
    wrong = [f"{one.name}: {line}" for one in singles for line in told(one.wrong)]
    return Measured("Durable intake", rows, (*CONDITIONS, _ceiling(rows)), [*wrong, *_unlike(service, subject)])


def _contender(name: str, server: Server) -> _Contender:
    return _Contender(name, server, {"pipedrive": pipedrive(), "helpdesk": helpdesk(), "hubspot": hubspot()})


def _pause(sandbox: Sandbox, subject: _Contender, service: Service) -> None:
    sandbox.control("POST", "faults", REFUSING)
    subject.fire("pipedrive", 1, ANSWER, 0.05)
    until(service.paused)


def _compare(source: str, contenders: list[_Contender], bench: Bench) -> list[Row]:
    """Let the contenders take turns with the same bytes."""
    scale = bench.scale
    for contender in contenders:
        contender.fire(source, scale.connections, ANSWER, scale.seconds * WARM)
        contender.rounds.clear()
    for _ in range(scale.rounds):
        for contender in contenders:
            contender.rounds.append(contender.fire(source, scale.connections, ANSWER, scale.seconds))
    return [_row(source, contender, contenders) for contender in contenders]


def _row(source: str, contender: _Contender, contenders: list[_Contender]) -> Row:
    rates = {one.name: [fired.requests_per_s for fired, _ in one.rounds] for one in contenders}
    own = rates[contender.name]

    def against(name: str) -> float:
        return statistics.median(mine / theirs for mine, theirs in zip(own, rates[name], strict=True))

    return {
        "source": source,
        "server": contender.name,
        **_medians(contender.rounds),
        "vs_fastapi": against("fastapi_noop"),
        "vs_asgi": against("asgi_noop"),
    }


def _medians(rounds: list[tuple[Fired, float]], *, changes: int = 1) -> Row:
    fired = [one for one, _ in rounds]
    rate = statistics.median(one.requests_per_s for one in fired)
    return {
        "changes": changes,
        "changes_per_s": rate * changes,
        "requests_per_s": rate,
        "p50_ms": statistics.median(one.p50_ms for one in fired),
        "p99_ms": statistics.median(one.p99_ms for one in fired),
        "max_ms": max(one.max_ms for one in fired),
        "cpu_us": statistics.median(cpu_us for _, cpu_us in rounds),
        "generator": statistics.median(one.busy for one in fired),
    }


def _batches(subject: _Contender, bench: Bench) -> Row:
    """Send batches of a hundred, as many at a time as HubSpot does."""
    scale = bench.scale
    subject.fire("hubspot", HUBSPOT_CONNECTIONS, ANSWER_TO_BATCH, scale.seconds * WARM)
    rounds = [subject.fire("hubspot", HUBSPOT_CONNECTIONS, ANSWER_TO_BATCH, scale.seconds) for _ in range(scale.rounds)]
    figures = _medians(rounds, changes=BATCH)
    return {"source": "hubspot", "server": subject.name, **figures, "vs_fastapi": math.nan, "vs_asgi": math.nan}


def _ceiling(rows: list[Row]) -> str:
    """Say what the generator could draw, going by its fastest round of the least endpoint."""
    best = max((row for row in rows if row["server"] == "asgi_noop"), key=lambda row: row["requests_per_s"])
    drawn, busy = float(best["requests_per_s"]), float(best["generator"])
    return (
        f"The load generator drew {drawn:,.0f} requests/s from asgi_noop with {busy:.0%} of its core: "
        f"by itself it would be the bound at about {drawn / busy:,.0f}."
    )


def _unlike(service: Service, subject: _Contender) -> Iterator[str]:
    """Compare the log, read after the service has stopped, with what it acknowledged."""
    acked = subject.acked["pipedrive"] + subject.acked["helpdesk"] + subject.acked["hubspot"] * BATCH
    return service.unlike({"pending": acked})
