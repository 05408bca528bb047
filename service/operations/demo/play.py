"""Plays the demo's story against a running stage, and shows what the log and the sandbox say of it."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import httpx
import orjson
from rich.console import Console
from rich.table import Table

from service.coalesce import contact_fields, same_value
from service.operations.demo.stage import DemoError, Stage
from service.operations.demo.story import EXPECTED, scenes
from service.operations.sample import Answer, send
from service.pipeline import ConfiguredSource
from service.store import Store
from service.store.ledger import Line

SETTLE_TIMEOUT_S: Final = 30.0
_COLOURS: Final = {
    "delivered": "green",
    "merged": "cyan",
    "unchanged": "blue",
    "ignored": "yellow",
    "dead": "red",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How the demo ended: every contact as ChartMogul holds it, and what it took."""

    contacts: tuple[Mapping[str, Any], ...]
    events: tuple[Line, ...]
    patches: int
    health: Mapping[str, Any]
    wrong: tuple[str, ...]


def play(
    stage: Stage,
    sources: Mapping[str, ConfiguredSource],
    store: Store,
    *,
    console: Console,
    now: datetime,
    settle_timeout_s: float = SETTLE_TIMEOUT_S,
) -> Ending:
    """Send every scene, wait until nothing is owed, and show what became of it. Raises DemoError if it never ends."""
    console.print(f"\n[bold]service[/] {stage.service_url}   [bold]sandbox ChartMogul[/] {stage.sandbox_url}\n")
    wrong: list[str] = []
    with httpx.Client(trust_env=False) as client:
        for scene in scenes(sources, url=stage.service_url, now=now):
            answer = send(client, scene.request, service_url=stage.service_url)
            source = scene.request.url.rpartition("/")[2]
            colour = "green" if answer.status == scene.status else "red"
            line = f"  [bold]{source:<10}[/] {scene.caption:<55} [{colour}]{answer.status}[/] {_said(answer)}"
            console.print(line, highlight=False)
            if answer.status != scene.status:
                wrong.append(f"{scene.caption}: answered {answer.status}, not {scene.status}")
        health = _settled(client, stage, settle_timeout_s)
        contacts = client.get(f"{stage.sandbox_url}/_sandbox/contacts").json()["contacts"]
        requests = client.get(f"{stage.sandbox_url}/_sandbox/requests").json()
    events = tuple(reversed(asyncio.run(_events(store))))
    touched = tuple(contact for contact in contacts if contact["email"] in EXPECTED)
    wrong += _differences(touched)
    patches = sum(requests["counters"]["answers"].get("PATCH", {}).values())
    ending = Ending(touched, events, patches, health, tuple(wrong))
    _show(console, ending)
    return ending


def _said(answer: Answer) -> str:
    """Put an answer in words: how many changes were new, how many the log had already."""
    said = orjson.loads(answer.body)
    if "title" in said:
        return str(said["title"]).lower()
    known = f", {said['duplicates']} known already" if said["duplicates"] else ""
    return f"{said['accepted']} new{known}"


def _settled(client: httpx.Client, stage: Stage, timeout_s: float) -> Mapping[str, Any]:
    """Wait until the service owes nothing, and return its health."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        health: Mapping[str, Any] = client.get(f"{stage.service_url}/health").json()
        backlog = health.get("backlog", {"pending": 1, "leased": 0})
        if backlog["pending"] + backlog["leased"] == 0 and "refused" in str(health["sources"]):
            return health
        time.sleep(0.1)
    raise DemoError("the service still owes deliveries", hint=stage.log_tail("serve"))


async def _events(store: Store) -> list[Line]:
    try:
        return await store.ledger.events(limit=200)
    finally:
        await store.close()


def _differences(contacts: tuple[Mapping[str, Any], ...]) -> list[str]:
    held = {contact["email"]: contact_fields(contact) for contact in contacts}
    return [
        f"{email}: {name} is not what the newest change says"
        for email, fields in EXPECTED.items()
        for name, value in fields.items()
        if not same_value(value, held.get(email, {}).get(name))
    ]


def _show(console: Console, ending: Ending) -> None:
    table = Table(title="What became of each change", title_justify="left", pad_edge=False)
    for heading in ("event", "source", "record", "ended as", "because"):
        table.add_column(heading)
    for event in ending.events:
        state = event["state"]
        by = f" (event {event['by_event_id']})" if event["by_event_id"] else ""
        because = (event["reason"] or f"attempt {event['attempt_id']}") + by
        coloured = f"[{_COLOURS.get(state, 'white')}]{state}[/]"
        table.add_row(str(event["id"]), event["source"], event["object_id"], coloured, because)
    console.print()
    console.print(table)
    for contact in ending.contacts:
        held = Table(pad_edge=False)
        held.add_column("field")
        held.add_column("ChartMogul holds")
        for name, value in contact_fields(contact).items():
            if value not in (None, "") and name not in _PLUMBING:
                held.add_row(name, str(value))
        # Not as the table's title, which would be broken at the table's width.
        console.print(f"\n[italic]{contact['email']}  {contact['uuid']}[/]", highlight=False)
        console.print(held)
    console.print(f"\n{len(ending.events)} changes, {ending.patches} PATCH calls.", highlight=False)
    for reason in ending.health["reasons"]:
        console.print(f"  [yellow]{reason['status']}[/] {reason['cause']}: {reason['hint']}", highlight=False)
    for line in ending.wrong:
        console.print(f"  [red]wrong[/] {line}", highlight=False)


_PLUMBING: Final = {"uuid", "customer_uuid", "customer_external_id", "data_source_uuid", "position", "email"}
