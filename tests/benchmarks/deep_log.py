"""A log with a long past and much that waits, against an empty one: nothing may become slow with the years."""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Final

from tests.benchmarks.backlog import configured, fill
from tests.benchmarks.bodies import Edit, edits, hubspot, now_ms, pipedrive
from tests.benchmarks.contenders import BATCHES, Contender, Kind, Stream, against, rate, take_turns
from tests.benchmarks.ended import end_everything
from tests.benchmarks.intake import pause
from tests.benchmarks.memory import started
from tests.benchmarks.ours import ENDED, REFUSING, Sandbox, Service
from tests.benchmarks.pace import Pace, drained, ratio
from tests.benchmarks.report import Bench, Measured, Row

SLACK: Final = 1_000
"""Contacts beyond those to deliver: the service does not stop at once."""
CONDITIONS: Final = (
    "deep: its past came by intake in HubSpot's batches, each change of another person, and was ended by SQL;",
    "what waits came after it from Pipedrive. empty: nothing is in it but what this measure delivers.",
    "Ids of events come in no order, and persons are drawn at random. Rounds of intake take turns between both logs.",
    "delivered_per_s: contacts brought up to date without a pace; the sandbox has neither limits nor latency.",
    "ready_s is the median of several starts; rss_mb is read after all rounds of intake; vs_: against the empty log.",
)


@dataclass(frozen=True, slots=True)
class _Log:
    """One of the two logs, once it was drained a little and started a few times."""

    name: str
    service: Service
    changes: int
    waiting: int
    pace: Pace
    ready_s: float


def measure(bench: Bench) -> Measured:
    """Fill one log, deliver from both and start both, then let them take turns at intake."""
    scale, notes = bench.scale, list[str]()
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(bench.room("deep-log"), bench.cores))
        past = max(0, scale.logged - scale.waiting)
        sizes = {"empty": (0, 0), "deep": (past, scale.waiting)}
        logs = [_log(name, past, waiting, bench, sandbox, notes) for name, (past, waiting) in sizes.items()]
        contenders = [Contender(log.name, stack.enter_context(log.service), _requests()) for log in logs]
        for contender, log in zip(contenders, logs, strict=True):
            pause(sandbox, contender, log.service)
        singles = take_turns(Stream("pipedrive", scale.connections), contenders, scale)
        batches = take_turns(BATCHES, contenders, scale)
        rss_mb = [log.service.rss_mb for log in logs]
    rows: list[Row] = [
        {
            "log": log.name,
            "events": log.changes,
            "waiting": log.waiting,
            "ready_s": log.ready_s,
            "rss_mb": memory,
            "webhooks_per_s": rate(singles[log.name]),
            "batch_changes_per_s": rate(batches[log.name]) * BATCHES.changes,
            "delivered_per_s": log.pace.per_s,
            "vs_webhooks": against(singles[log.name], singles["empty"]),
            "vs_batches": against(batches[log.name], batches["empty"]),
            "vs_delivered": ratio(log.pace.per_s, logs[0].pace.per_s),
        }
        for log, memory in zip(logs, rss_mb, strict=True)
    ]
    wrong = [line for contender in contenders for line in contender.told()]
    for log, contender in zip(logs, contenders, strict=True):
        held = log.service.unsettled(log.changes + contender.changes, states=ENDED | {"pending"})
        wrong += [f"{log.name}: {line}" for line in held]
    return Measured("A deep log", rows, (*CONDITIONS, *notes), wrong)


def _log(name: str, past: int, waiting: int, bench: Bench, sandbox: Sandbox, notes: list[str]) -> _Log:
    scale, room, begun = bench.scale, bench.room(f"deep-log-{name}"), time.perf_counter()
    service = Service(room, bench.cores, sandbox)
    if past:
        fill(service, "hubspot", hubspot(islice(_scattered(), past)))
        end_everything(configured(service).settings.database_url.get_secret_value())
    fill(service, "pipedrive", pipedrive(islice(edits(), waiting + scale.unpaced)))
    notes.append(f"{name}: filled in {time.perf_counter() - begun:.0f} s.")
    sandbox.begin(scale.unpaced + SLACK, limited=False)
    pace = drained(Service(room, bench.cores, sandbox, unpaced=True), sandbox, scale.unpaced)
    sandbox.control("POST", "faults", REFUSING)
    ready_s, _, left = started(service, scale.starts, scale)
    return _Log(name, service, past + waiting + scale.unpaced, left, pace, ready_s)


def _requests() -> dict[Kind, Iterator[bytes]]:
    return {("pipedrive", 1): pipedrive(_scattered()), BATCHES.kind: hubspot(_scattered())}


def _scattered() -> Iterator[Edit]:
    """Each time a person drawn at random, whom the log hardly ever knows."""
    while True:
        number = random.getrandbits(32)
        yield Edit(number, number, now_ms())
