"""Durable intake: signed changes per second, each answered after its commit, against endpoints that keep nothing."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from tests.benchmarks.bodies import edits, helpdesk, hubspot, pipedrive
from tests.benchmarks.contenders import BATCHES, Contender, Round, Stream, against, medians, take_turns
from tests.benchmarks.ours import REFUSING, Sandbox, Service
from tests.benchmarks.report import Bench, Measured, Row
from tests.benchmarks.servers import Server, bound, until

CONDITIONS: Final = (
    "Every request is another change of another person, signed; the service answers after the commit is synced.",
    "Rounds take turns, and figures are medians; a ratio is the median of the rounds' own ratios.",
    "vs_fastapi: against a decorated endpoint that has its JSON parsed; vs_asgi: against the least that can answer.",
    "The worker runs, but its account is paused (ChartMogul answers 401), so that nothing is delivered meanwhile.",
    "generator: how much of its core the load generator took.",
)


def measure(bench: Bench) -> Measured:
    """Measure intake from all three sources, then hold the log against what was acknowledged."""
    room, cores, rows = bench.room("intake"), bench.cores, list[Row]()
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(room, cores))
        service = stack.enter_context(Service(room, cores, sandbox))
        bounds = {kind: stack.enter_context(bound(kind, room, cores)) for kind in ("fastapi", "asgi")}
        subject = _contender("service", service)
        contenders = [subject, *(_contender(f"{kind}_noop", server) for kind, server in bounds.items())]
        pause(sandbox, subject, service)
        for source in ("pipedrive", "helpdesk"):
            stream = Stream(source, bench.scale.connections)
            rounds = take_turns(stream, contenders, bench.scale)
            rows += [_row(stream, one.name, rounds) for one in contenders]
        rows.append(_row(BATCHES, subject.name, take_turns(BATCHES, [subject], bench.scale)))
    wrong = [line for one in contenders for line in one.told()]
    wrong += service.unlike({"pending": subject.changes})  # all that it acknowledged, once it has stopped
    return Measured("Durable intake", rows, (*CONDITIONS, _ceiling(rows)), wrong)


def pause(sandbox: Sandbox, subject: Contender, service: Service) -> None:
    """Let the service learn by one change that its key is refused: it delivers nothing from then on."""
    sandbox.control("POST", "faults", REFUSING)
    subject.fire(Stream("pipedrive", 1), 0.05)
    until(service.paused)


def _contender(name: str, server: Server) -> Contender:
    requests: dict[str, Iterator[bytes]] = {
        "pipedrive": pipedrive(edits()),
        "helpdesk": helpdesk(edits()),
        "hubspot": hubspot(edits()),
    }
    return Contender(name, server, requests)


def _row(stream: Stream, name: str, rounds: Mapping[str, Sequence[Round]]) -> Row:
    own = rounds[name]
    ratios = {
        f"vs_{kind}": against(own, rounds[f"{kind}_noop"]) if f"{kind}_noop" in rounds else math.nan
        for kind in ("fastapi", "asgi")
    }
    return {"source": stream.source, "server": name, **medians(stream, own), **ratios}


def _ceiling(rows: list[Row]) -> str:
    """Say what the generator could draw, going by its fastest round of the least endpoint."""
    best = max((row for row in rows if row["server"] == "asgi_noop"), key=lambda row: row["requests_per_s"])
    drawn, busy = float(best["requests_per_s"]), float(best["generator"])
    return (
        f"The load generator drew {drawn:,.0f} requests/s from asgi_noop with {busy:.0%} of its core: "
        f"by itself it would be the bound at about {drawn / busy:,.0f}."
    )
