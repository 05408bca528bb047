"""Deliveries with our own pace lifted: what each costs, against a bare loop of the client that they are made with."""

from itertools import islice
from typing import Final

from tests.benchmarks.backlog import configured, fill
from tests.benchmarks.bodies import edits, pipedrive, title
from tests.benchmarks.ours import Sandbox, Service
from tests.benchmarks.pace import CONDITIONS as PACE_CONDITIONS
from tests.benchmarks.pace import called, drained, patches
from tests.benchmarks.report import Bench, Measured
from tests.support.sandbox import contact_uuid

CONDITIONS: Final = (
    *PACE_CONDITIONS,
    "service: what waits in its log is claimed, mapped, sent and recorded, each contact for itself.",
    "sink: its room for ChartMogul alone, outcomes read; client: the HTTP client in that. All send the same bodies.",
)


def measure(bench: Bench) -> Measured:
    """Let the service drain what waits, then let its sink and its client make the same calls."""
    count, room = bench.scale.unpaced, bench.room("unpaced")
    titles = {contact_uuid(number): title(number) for number in range(1, count + 1)}
    with Sandbox(room, bench.cores) as sandbox:
        sandbox.begin(count, limited=False)
        service = Service(room, bench.cores, sandbox, unpaced=True)
        fill(service, "pipedrive", pipedrive(islice(edits(), count)))
        paces = [drained(service, sandbox, count)]
        wrong = [*sandbox.unlike(titles), *service.unlike({"delivered": count})]
        calls = [*patches(configured(service), count)]
        for kind in ("sink", "client"):
            sandbox.begin(count, limited=False)
            pace, faults = called(kind, calls, sandbox, bench)
            paces.append(pace)
            wrong += [*faults, *(f"{kind}: {line}" for line in sandbox.unlike(titles))]
    return Measured("Deliveries without a pace", [pace.row(paces[-1]) for pace in paces], CONDITIONS, wrong)
