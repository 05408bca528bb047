"""What stays resident, and how soon the service is ready: with nothing to do, and with much waiting."""

import math
import statistics
import time
from itertools import islice
from typing import Final

from tests.benchmarks.bodies import BATCH, HUBSPOT_CONNECTIONS, answer, edits, hubspot
from tests.benchmarks.load import Load, fire, told
from tests.benchmarks.ours import REFUSING, Sandbox, Service
from tests.benchmarks.report import Bench, Measured, Row, Scale
from tests.benchmarks.servers import until

CONDITIONS: Final = (
    "Ready: from the start of the process to the first 200 of /health/ready, asked every 2 ms; medians of the starts.",
    "The first start makes the log's tables. Resident memory is read a second after ready.",
    "Waiting changes came by HTTP in HubSpot's batches, each of another contact; their account is paused by a 401.",
)


def measure(bench: Bench) -> Measured:
    """Start it idle, load it, and start it again."""
    scale, room = bench.scale, bench.room("memory")
    with Sandbox(room, bench.cores) as sandbox:
        sandbox.control("POST", "faults", REFUSING)
        service = Service(room, bench.cores, sandbox)
        rows = [_row("first start", service, 1, scale), _row("idle", service, scale.starts, scale)]
        wrong = []
        with service:
            changes = hubspot(edits())
            batches = scale.waiting // BATCH
            fired = [fire(Load(service.port, islice(changes, 1), [answer(BATCH)], 1))]
            until(service.paused)
            remaining = islice(changes, batches - 1)
            fired.append(fire(Load(service.port, remaining, [answer(BATCH)], HUBSPOT_CONNECTIONS)))
            loaded = service.waiting()
            rows.append({"state": "just loaded", "waiting": loaded, "ready_s": math.nan, "rss_mb": service.rss_mb})
            wrong += [line for one in fired for line in told(one.wrong)]
        rows.append(_row("waiting", service, scale.starts, scale))
        wrong += service.unlike({"pending": batches * BATCH})
    return Measured("Memory and start", rows, CONDITIONS, wrong)


def started(service: Service, count: int, scale: Scale) -> tuple[float, float, int]:
    """Start it so often; return the seconds until it was ready and its memory, in the middle, and what waits."""
    ready_s, rss_mb, waiting = [], [], 0
    for _ in range(count):
        try:
            ready_s.append(service.start())
            time.sleep(scale.settle_s)
            rss_mb.append(service.rss_mb)
            waiting = service.waiting()
        finally:
            service.stop()
    return statistics.median(ready_s), statistics.median(rss_mb), waiting


def _row(state: str, service: Service, count: int, scale: Scale) -> Row:
    ready_s, rss_mb, waiting = started(service, count, scale)
    return {"state": state, "waiting": waiting, "ready_s": ready_s, "rss_mb": rss_mb}
