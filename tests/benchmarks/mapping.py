"""What the rules cost: twelve fields of a Pipedrive person, and what it takes to prove and read the webhook first."""

import statistics
import time
from collections.abc import Callable
from itertools import cycle, islice
from typing import Final, TypeVar

from service.main import real_clock
from service.mapping import Mapping, MappingSpec
from tests.benchmarks.bodies import CONFIGURATION, edits, inbound, pipedrive
from tests.benchmarks.load import percentile
from tests.benchmarks.report import Bench, Measured, Row
from tests.support.service import configure

T = TypeVar("T")

PEOPLE: Final = 200
"""So many different bodies, so that nothing is remembered from the last call."""
EMAIL: Final[dict[str, dict[str, object]]] = {
    "a path": {"from": "emails[?primary].value"},
    "jmespath": {"from": "emails", "transform": [{"jmespath": "[?primary].value | [0]"}]},
}
"""The same field in both ways."""
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
    by_way = {way: Mapping(MappingSpec.model_validate({"email": rule})) for way, rule in EMAIL.items()}
    wrong += [way for way, one in by_way.items() if any("email" not in one.apply(change).fields for change in changes)]
    rows = [
        _timed("verify", lambda request: person.source.verify(request, now=now), requests, times),
        _timed("parse", person.source.parse, requests, times),
        _timed(f"map {rules} fields", person.rules.mapping.apply, changes, times),
        *(_timed(f"map 1 field by {way}", one.apply, changes, times) for way, one in by_way.items()),
    ]
    return Measured("Pure steps of one Pipedrive person", rows, CONDITIONS, wrong)


def _timed(step: str, run: Callable[[T], object], given: list[T], times: int) -> Row:
    taken = []
    for one in islice(cycle(given), times):
        started = time.perf_counter_ns()
        run(one)
        taken.append((time.perf_counter_ns() - started) / 1000)
    return {"step": step, "median_us": statistics.median(taken), "p99_us": percentile(sorted(taken), 99)}
