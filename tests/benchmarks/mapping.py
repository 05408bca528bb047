"""What the rules cost: twelve fields of a Pipedrive person, and what it takes to prove and read the webhook first."""

import statistics
import time
from collections.abc import Callable
from itertools import cycle, islice
from typing import Final, TypeVar

from service.main import real_clock
from tests.benchmarks.bodies import CONFIGURATION, edits, inbound, pipedrive
from tests.benchmarks.load import percentile
from tests.benchmarks.report import Bench, Measured, Row
from tests.support.service import configure

T = TypeVar("T")

PEOPLE: Final = 200
"""So many different bodies, so that nothing is remembered from the last call."""
CONDITIONS: Final = ("In this process, on the load generator's core: each step alone, by the wall clock.",)


def measure(bench: Bench) -> Measured:
    """Time each pure step of a webhook's way."""
    config = configure(bench.room("mapping"), CONFIGURATION)
    person, now = config.sources["pipedrive"], real_clock()
    requests = [inbound(request) for request in islice(pipedrive(edits()), PEOPLE)]
    changes = [person.source.parse(request)[0] for request in requests]
    wrong = sorted({fault for change in changes for fault in person.rules.mapping.apply(change).faults})
    rules = len(person.rules.mapping.targets)
    if any(len(person.rules.mapping.apply(change).fields) != rules for change in changes):
        wrong.append(f"not all {rules} rules set their field")
    times = bench.scale.mappings
    rows = [
        _timed("verify", lambda request: person.source.verify(request, now=now), requests, times),
        _timed("parse", person.source.parse, requests, times),
        _timed(f"map {rules} fields", person.rules.mapping.apply, changes, times),
    ]
    return Measured("Pure steps of one Pipedrive person", rows, CONDITIONS, wrong)


def _timed(step: str, run: Callable[[T], object], given: list[T], times: int) -> Row:
    taken = []
    for one in islice(cycle(given), times):
        started = time.perf_counter_ns()
        run(one)
        taken.append((time.perf_counter_ns() - started) / 1000)
    return {"step": step, "median_us": statistics.median(taken), "p99_us": percentile(sorted(taken), 99)}
