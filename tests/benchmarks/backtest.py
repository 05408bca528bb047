"""What a backtest costs: the log read again, and every change mapped by two configurations of twelve rules."""

import asyncio
import time
from itertools import islice
from typing import Final

from service.config import Config
from service.main import real_clock
from service.model import Arrival
from service.operations.backtest import Backtest, Report
from service.operations.masking import shortened
from service.store import Store
from service.store.history import History
from tests.benchmarks.bodies import CONFIGURATION, edits, inbound, pipedrive
from tests.benchmarks.report import Bench, Measured, Row
from tests.support.service import configure

TITLE: Final = "title: {from: [job_title, title], transform: [trim]}"
OTHER: Final = "title: {from: [job_title, title], transform: [trim, upper]}"
REQUESTS: Final = 200
"""Webhooks that share a commit while the log is filled."""
CONDITIONS: Final = (
    "In this process: an SQLite file that nobody else has open, read batch by batch; nothing is written.",
    "one field: the candidate writes the title in capitals, so that every change differs in that field.",
    "same rules: nothing but a comment differs, and no change is mapped.",
)


def measure(bench: Bench) -> Measured:
    """Log Pipedrive's webhooks, then run them through the same rules and through others."""
    room, count = bench.room("backtest"), bench.scale.backtested
    present = configure(room, CONFIGURATION)
    url = f"sqlite:///{room / 'log.db'}"
    asyncio.run(_fill(url, present, count))
    rows: list[Row] = []
    wrong: list[str] = []
    one_field = CONFIGURATION.replace(TITLE, OTHER, 1)
    for what, text, differ in (("one field", one_field, count), ("same rules", CONFIGURATION, 0)):
        seconds, report = _run(url, present, configure(room, text))
        rate = report.events / seconds
        rows.append({"candidate": what, "events": report.events, "seconds": seconds, "events_per_s": rate})
        if (report.events, report.differ) != (count, differ):
            wrong.append(f"{what}: {report.differ} of {report.events} differ, not {differ} of {count}")
    return Measured("A backtest over the log", rows, CONDITIONS, wrong)


async def _fill(url: str, config: Config, count: int) -> None:
    person, store = config.sources["pipedrive"], Store(url)
    try:
        await store.migrate()
        requests = islice(pipedrive(edits()), count)
        while batch := [inbound(request) for request in islice(requests, REQUESTS)]:
            arrivals = [
                Arrival("pipedrive", "default", real_clock(), request, person.source.parse(request))
                for request in batch
            ]
            await asyncio.gather(*(store.intake.append(arrival) for arrival in arrivals))
    finally:
        await store.close()


def _run(url: str, present: Config, candidate: Config) -> tuple[float, Report]:
    async def run() -> Report:
        history = await History.open(url)
        try:
            work = Backtest(present.sources, candidate.sources, then=False, examples=5, show=shortened)
            return await work.run(history, await history.newest(1_000_000), progress=lambda _: None)
        finally:
            await history.close()

    started = time.perf_counter()
    report = asyncio.run(run())
    return time.perf_counter() - started, report
