"""Durable intake: signed changes per second, each answered after its commit, against endpoints that keep nothing."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Final

from tests.benchmarks.bodies import edits, helpdesk, hubspot, pipedrive
from tests.benchmarks.contenders import (
    BATCHES,
    OUTBOUND,
    Contender,
    Kind,
    Round,
    Stream,
    against,
    medians,
    take_turns,
)
from tests.benchmarks.ours import REFUSING, Sandbox, Service
from tests.benchmarks.presets import OTHERS, acknowledged, configuration, salesforce_batches, singles
from tests.benchmarks.report import Bench, Measured, Row
from tests.benchmarks.servers import Server, bound, until

OWN: Final = ("pipedrive", "helpdesk", "hubspot")
"""Sources whose bodies the benchmark has of its own; helpdesk is of the generic preset."""
SOURCES: Final = (*OWN, *OTHERS)
LEAST: Final = ("pipedrive", "helpdesk")
"""Sources that are held against the least endpoint too: what it takes says as much of one as of another."""
BEYOND: Final = 1_000_000_000
"""A person whom no single notification of Salesforce is about: its ids are made of the person's number alone."""
CONDITIONS: Final = (
    "Every request is another change of another person, signed; the service answers after the commit is synced.",
    "Rounds take turns, and figures are medians; a ratio is the median of the rounds' own ratios.",
    "vs_fastapi: against a decorated endpoint that has its JSON parsed, or Salesforce's XML read and no more;",
    "vs_asgi: against the least that can answer.",
    "The worker runs, but its account is paused (ChartMogul answers 401), so that nothing is delivered meanwhile.",
    "generator: how much of its core the load generator took.",
)


def measure(bench: Bench) -> Measured:
    """Measure intake from every source, then hold the log against what was acknowledged."""
    room, cores, rows = bench.room("intake"), bench.cores, list[Row]()
    asked = bench.scale.sources or SOURCES
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(room, cores))
        service = stack.enter_context(Service(room, cores, sandbox, configuration=configuration()))
        bounds = [_bound(kind, stack.enter_context(bound(kind, room, cores))) for kind in ("fastapi", "asgi")]
        subject = Contender("service", service, _requests(), _answers())
        pause(sandbox, subject, service)
        for source in asked:
            stream = Stream(source, bench.scale.connections)
            contenders = [subject, *(bounds if source in LEAST else bounds[:1])]
            rounds = take_turns(stream, contenders, bench.scale)
            rows += [_row(stream, one.name, rounds) for one in contenders]
        for batches in (BATCHES, OUTBOUND):
            if batches.source in asked:
                rows.append(_row(batches, subject.name, take_turns(batches, [subject], bench.scale)))
    wrong = [line for one in (subject, *bounds) for line in one.told()]
    wrong += service.unlike({"pending": subject.changes})  # all that it acknowledged, once it has stopped
    return Measured("Durable intake", rows, (*CONDITIONS, *_ceiling(rows)), wrong)


def pause(sandbox: Sandbox, subject: Contender, service: Service) -> None:
    """Let the service learn by one change that its key is refused: it delivers nothing from then on."""
    sandbox.control("POST", "faults", REFUSING)
    subject.fire(Stream("pipedrive", 1), 0.05)
    until(service.paused)


def _bound(kind: str, server: Server) -> Contender:
    return Contender(f"{kind}_noop", server, _requests())


def _requests() -> dict[Kind, Iterator[bytes]]:
    return {
        ("pipedrive", 1): pipedrive(edits()),
        ("helpdesk", 1): helpdesk(edits()),
        ("hubspot", 1): hubspot(edits(), size=1),
        BATCHES.kind: hubspot(edits()),
        OUTBOUND.kind: salesforce_batches(edits(BEYOND)),
        **{(preset, 1): singles(preset, edits()) for preset in OTHERS},
    }


def _answers() -> dict[Kind, bytes]:
    kinds = [(preset, 1) for preset in OTHERS] + [OUTBOUND.kind] * ("salesforce" in OTHERS)
    return {kind: acknowledged(*kind) for kind in kinds}


def _row(stream: Stream, name: str, rounds: Mapping[str, Sequence[Round]]) -> Row:
    own = rounds[name]
    ratios = {
        f"vs_{kind}": against(own, rounds[f"{kind}_noop"]) if f"{kind}_noop" in rounds else math.nan
        for kind in ("fastapi", "asgi")
    }
    return {"source": stream.source, "server": name, **medians(stream, own), **ratios}


def _ceiling(rows: list[Row]) -> Iterator[str]:
    """Say what the generator could draw, going by its fastest round of the least endpoint."""
    least = [row for row in rows if row["server"] == "asgi_noop"]
    if least:
        best = max(least, key=lambda row: row["requests_per_s"])
        drawn, busy = float(best["requests_per_s"]), float(best["generator"])
        yield (
            f"The load generator drew {drawn:,.0f} requests/s from asgi_noop with {busy:.0%} of its core: "
            f"by itself it would be the bound at about {drawn / busy:,.0f}."
        )
