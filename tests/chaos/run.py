"""One run: sandbox, service and CRMs together, chaos for so long, then quiet, and the verdict."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import orjson

from service.config import load
from service.config.settings import DATABASE_FILE
from service.main import open_store, real_clock
from service.model import OutcomeKind
from service.schema import attempts, deliveries, events
from service.translate import LAG
from tests.chaos import portal
from tests.chaos.changes import CANARY, Change, Stream
from tests.chaos.lives import ROOT, Replica
from tests.chaos.portal import Portal
from tests.chaos.senders import Senders
from tests.chaos.verdict import Report, lost, stale, untrue
from tests.chaos.weather import READ_TIMEOUT_S, Weather, weather
from tests.support.apis.server import serving
from tests.support.log import rows
from tests.support.service import environment, free_port
from tests.support.verbs import process_verb
from tests.support.webhooks import CONFIGURATION

SETTLED_S: Final = 240.0
"""How long it may take until nothing is owed: a delivery that failed often waits for minutes."""
SETTINGS: Final = {
    "CONNECT_TIMEOUT_S": "0.5",
    "READ_TIMEOUT_S": f"{READ_TIMEOUT_S}",
    "LEASE_S": "8",
    # ChartMogul's limits are on, so that the service must keep its distance as it does by default.
    "CHARTMOGUL_RATE_PER_S": "36",
    "PYTHONPATH": str(ROOT),
}


UNMERGED_S: Final = LAG.total_seconds() + 5
"""Before the end nothing is merged: what is told of a record that is gone waits so long."""
READS_MAX: Final = 2
"""Calls for each change of the CRM that is read back; most changes need none, and many share one."""
WATCHED: Final = "pipedrive"
"""The source that is in shadow mode for the first half of a run, and goes live amid everything else."""
CONTACTS: Final = 120
"""So many that a minute tells of each but once or twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is: everything in it follows from the seed, but for the instants."""

    seed: int
    seconds: float
    contacts: int = CONTACTS


@dataclass(slots=True)
class Switch:
    """A configuration's file, and when it let the source go live that was only watched."""

    file: Path
    live: str
    at: datetime = field(default_factory=real_clock)

    def go_live(self) -> None:
        """Put the other configuration in its place, at once: whoever starts just then reads the one or the other."""
        self.at = real_clock()
        fresh = self.file.with_suffix(".new")
        fresh.write_text(self.live, encoding="utf-8")
        fresh.replace(self.file)


def run(plan: Plan, directory: Path) -> Report:
    """Carry a run out in a directory of its own, where log, database and journal stay; return the report."""
    report = Report(plan.seed, plan.seconds)
    crm = Portal(
        plan.seed,
        started=real_clock(),
        contacts=plan.contacts,
        merges_s=plan.seconds - UNMERGED_S,
        linked=partial(_linked, directory / "data" / DATABASE_FILE),
    )
    with weather(plan.contacts) as sky, serving(crm) as crm.served:
        configuration = CONFIGURATION + portal.CONFIGURATION.format(base_url=crm.served.base_url)
        settings = SETTINGS | {"PORTAL_TOKEN": crm.credentials["token"]}
        environ = environment(directory, _watched(configuration), CHARTMOGUL_BASE_URL=sky.sandbox.base_url, **settings)
        replica = Replica("service", port=free_port(), environ=environ, directory=directory, seed=plan.seed)
        stream = Stream(plan.seed, started=real_clock(), contacts=plan.contacts)
        senders = Senders(stream, urls=[replica.url], clock=real_clock, seed=plan.seed)
        switch = Switch(directory / "config.yaml", configuration)
        thin = Senders(crm, urls=[replica.url], clock=real_clock, seed=plan.seed + 1, lanes=portal.LANES)
        try:
            sky.worsen(plan.seed)
            replica.start()
            asyncio.run(_send([senders, thin], replica, plan.seconds, crm, switch))
            quiet_at = time.monotonic()
            sky.clear()
            _settle(replica, environ, directory, report)
            report.settled_s = time.monotonic() - quiet_at
            code = replica.stop()
            report.wrong += [] if code == 0 else [f"it stopped with exit code {code}"]
        finally:
            replica.end()
            (directory / "requests.json").write_bytes(orjson.dumps(sky.sandbox.requests()))
        _judge(report, [*senders.acked, *thin.acked], sky, environ, directory)
        _judge_reads(report, crm, len(thin.acked), sky)
        _judge_shadow(report, switch, environ, directory)
    report.kills += replica.kills
    report.counts += senders.counts + thin.counts
    report.wrong += [*senders.wrong, *thin.wrong, *replica.wrong]
    told = replica.log.read_text(encoding="utf-8").casefold()
    report.wrong += [f"a value that was sent stands in {replica.log}"] if CANARY.casefold() in told else []
    return report


def _watched(configuration: str) -> str:
    """Return a configuration by which one source is in shadow mode."""
    return configuration.replace(f"    preset: {WATCHED}\n", f"    preset: {WATCHED}\n    deliver: shadow\n")


async def _send(senders: Sequence[Senders], replica: Replica, seconds: float, crm: Portal, switch: Switch) -> None:
    """Send for so long, half of it in shadow mode; then let the service live, so that what is under way is acked."""
    async with asyncio.TaskGroup() as group:
        for one in senders:
            group.create_task(one.run(seconds))
        await asyncio.sleep(seconds / 2)
        switch.go_live()
        await asyncio.sleep(seconds / 2)
        crm.calm_down()  # before the last life, which would otherwise ask nothing for a minute after a refusal
        await asyncio.to_thread(replica.live)


def _settle(replica: Replica, environ: Mapping[str, str], directory: Path, report: Report) -> None:
    """Wait until nothing is owed; replay what became a dead letter, and wait again."""
    _until_nothing_is_owed(replica, report)
    letters = process_verb("dead-letters", "--json", "--limit", "1000", environ=environ, directory=directory).json
    for letter in letters:
        report.counts["dead letters"] += 1
        if letter["outcome"] not in REPLAYED:
            report.wrong.append(
                f"dead letter {letter['id']}, {letter['source']} {letter['object_id']}: {letter['reason']}"
            )
        process_verb("replay", str(letter["id"]), environ=environ, directory=directory)
    if letters:
        _until_nothing_is_owed(replica, report)


REPLAYED: Final = frozenset({"server_error", "unknown"})
"""Outcomes of which chaos may make dead letters: too many 500s in a row, or too many lost leases."""


def _until_nothing_is_owed(replica: Replica, report: Report) -> None:
    deadline = time.monotonic() + SETTLED_S
    with httpx.Client(trust_env=False, base_url=replica.url) as client:
        while any((owed := _owed(client.get("/health").json())).values()):
            if time.monotonic() > deadline:
                report.wrong.append(f"after {SETTLED_S:.0f} s of quiet it still owes {owed}")
                return
            time.sleep(0.05)


def _owed(health: dict[str, Any]) -> dict[str, int]:
    backlog: dict[str, int] = health["backlog"]
    return backlog | {"shadowed": sum(one["shadowed"] for one in health["sources"].values())}


def _judge(report: Report, acked: list[Change], sky: Weather, environ: Mapping[str, str], directory: Path) -> None:
    """Hold what is in the log and in ChartMogul against what was acked."""
    report.acked = len(acked)
    report.lost = lost(acked, asyncio.run(_logged(environ, directory)))
    report.stale = stale(acked, sky.sandbox.contacts())
    report.limited = [f"request {one['number']}, {one['method']}: {one['status']}" for one in sky.limited()]
    report.patches, report.faults, report.overtaken = sky.patches(), sky.hits(), sky.overtaken()
    audited = process_verb("audit", "--json", environ=environ, directory=directory)
    report.audit = audited.json
    report.wrong += [f"audit: {finding}" for finding in audited.json["findings"]]
    report.wrong += [] if audited.code == 0 else [f"audit ended with exit code {audited.code}"]
    report.wrong += ["events are pending at the end"] if report.audit["events"].get("pending") else []


def _judge_reads(report: Report, crm: Portal, told: int, sky: Weather) -> None:
    """Hold the contacts against the records, and the calls for these against what was told of them."""
    report.stale += untrue(crm.truth(), sky.sandbox.contacts())
    report.faults += crm.troubles
    report.told_thin, report.merges, report.reads = told, crm.merges, crm.calls
    if crm.calls > READS_MAX * told:
        report.wrong.append(f"{crm.calls} calls of the CRM for {told} changes")


def _judge_shadow(report: Report, switch: Switch, environ: Mapping[str, str], directory: Path) -> None:
    """Hold the tries of the source that was only watched against what it might do then."""
    tries = asyncio.run(_tries(environ, directory))
    report.counts["shadowed"] += sum(one["outcome"] == OutcomeKind.SHADOWED for one in tries)
    early = [one["id"] for one in tries if one["outcome"] == OutcomeKind.APPLIED and one["started_at"] < switch.at]
    report.wrong += [f"attempt {one} was sent in shadow mode" for one in early]


def _linked(database: Path, object_id: str) -> bool:
    """Say whether the log knows which contact a record is: then its email is not needed any more."""
    query = "SELECT 1 FROM links WHERE source = ? AND object_id = ?"
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as log:
            return log.execute(query, (portal.SOURCE, object_id)).fetchone() is not None
    except sqlite3.OperationalError:  # it is not made yet, or being opened
        return False


async def _tries(environ: Mapping[str, str], directory: Path) -> list[dict[str, Any]]:
    """Return the attempts of the source that was only watched at first."""
    store = open_store(load(environ, env_file=directory / ".env").settings)
    try:
        its = {row["id"] for row in await rows(store, deliveries) if row["source"] == WATCHED}
        return [dict(row) for row in await rows(store, attempts) if row["delivery_id"] in its]
    finally:
        await store.close()


async def _logged(environ: Mapping[str, str], directory: Path) -> list[tuple[str, str]]:
    """Return source and CRM's id of every event in the log, on whatever engine it is."""
    store = open_store(load(environ, env_file=directory / ".env").settings)
    try:
        logged: list[Any] = await rows(store, events)
        return [(row["source"], row["crm_event_id"]) for row in logged]
    finally:
        await store.close()
