"""How fast PATCHes are made where nothing holds them back, and at what cost: by the service, or by a client alone."""

import math
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import orjson

from service.coalesce import patch_body
from service.config import Config
from service.model import Record
from tests.benchmarks.bodies import edits, inbound, pipedrive
from tests.benchmarks.ours import Sandbox, Service
from tests.benchmarks.report import Bench, Row
from tests.benchmarks.servers import ROOT, pin, until
from tests.support.sandbox import contact_uuid
from tests.support.service import inherited

LONGEST_S: Final = 600.0
CONDITIONS: Final = (
    "The sandbox has neither limits nor latency, and 20 calls run at a time; who is measured has a core for itself.",
    "per_cpu_s: calls for each second of its processor time: the figure that counts where the sandbox is the bound.",
    "core and sandbox_core: how much of its core it took, and how much of the other one the sandbox.",
)

Patch = tuple[str, Record]
"""The uuid of a contact, and what to send."""


@dataclass(frozen=True, slots=True)
class Pace:
    """So many calls in so many seconds, and the processor time that both sides took for them."""

    who: str
    calls: int
    seconds: float
    cpu_s: float
    sandbox_cpu_s: float

    @property
    def per_s(self) -> float:
        """Calls a second."""
        return ratio(self.calls, self.seconds)

    @property
    def per_cpu_s(self) -> float:
        """Calls for each second of processor time."""
        return ratio(self.calls, self.cpu_s)

    def row(self, bound: "Pace") -> Row:
        """Show it beside what it is measured against."""
        return {
            "who": self.who,
            "calls": self.calls,
            "seconds": self.seconds,
            "per_s": self.per_s,
            "per_cpu_s": self.per_cpu_s,
            "core": ratio(self.cpu_s, self.seconds),
            "sandbox_core": ratio(self.sandbox_cpu_s, self.seconds),
            f"vs_{bound.who}": ratio(self.per_s, bound.per_s),
            f"cpu_vs_{bound.who}": ratio(self.per_cpu_s, bound.per_cpu_s),
        }


def patches(config: Config, count: int) -> Iterator[Patch]:
    """Return what the first Pipedrive edits make of the contacts 1 to ``count``."""
    person = config.sources["pipedrive"]
    for number, request in enumerate(pipedrive(islice(edits(), count)), 1):
        (change,) = person.source.parse(inbound(request))
        yield contact_uuid(number), patch_body(person.rules.mapping.apply(change).fields)


def drained(service: Service, sandbox: Sandbox, count: int) -> Pace:
    """Run the service until so many of what waits are delivered; the first and the last tenth are not timed."""

    def mark() -> tuple[int, float, float, float]:
        return sandbox.answered(), time.perf_counter(), service.cpu_s, sandbox.cpu_s

    with service:
        until(lambda: sandbox.answered() >= count // 10, seconds=LONGEST_S)
        first = mark()
        until(lambda: sandbox.answered() >= count * 9 // 10, seconds=LONGEST_S)
        calls, seconds, cpu_s, sandbox_cpu_s = (after - before for after, before in zip(mark(), first, strict=True))
        until(lambda: sandbox.answered() >= count, seconds=LONGEST_S)
    return Pace("service", int(calls), seconds, cpu_s, sandbox_cpu_s)


def called(kind: str, calls: Sequence[Patch], sandbox: Sandbox, bench: Bench) -> tuple[Pace, list[str]]:
    """Let a client of ``callers`` make the calls; return with what was wrong."""
    file = bench.directory / f"{kind}.jsonl"
    file.write_bytes(b"\n".join(map(orjson.dumps, calls)))
    command = [sys.executable, "-m", "tests.benchmarks.callers", kind, str(sandbox.port), str(file)]
    before = sandbox.cpu_s
    with subprocess.Popen(command, cwd=ROOT, env=inherited(), stdout=subprocess.PIPE) as process:
        pin(process.pid, bench.cores.server)
        answer, _ = process.communicate(timeout=LONGEST_S)
    figures = orjson.loads(answer)
    pace = Pace(kind, len(calls), figures["seconds"], figures["cpu_s"], sandbox.cpu_s - before)
    wrong = len(calls) - figures["right"]
    return pace, [f"{kind}: {wrong} calls were answered wrongly"] if wrong else []


def ratio(part: float, whole: float) -> float:
    """Divide; not a number where so little was measured that there is nothing to divide by."""
    return part / whole if whole else math.nan
