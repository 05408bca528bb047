"""Verbs about the log: events, deliveries, dead-letters, explain, refusals and audit read it, replay writes to it."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer

from service.cli.output import AsJson, print_json, print_lines
from service.model import DeliveryState, EventState

T = TypeVar("T")

FOUND = 3

Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")]
SourceName = Annotated[str | None, typer.Option(help="Only those of this source.")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this family."""
    for verb in (events, deliveries, dead_letters, replay, explain, refusals, audit):
        app.command()(verb)


def events(
    *,
    source: SourceName = None,
    contact: Annotated[str | None, typer.Option("--id", help="Only those of this CRM record.")] = None,
    state: Annotated[EventState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List changes in the log, newest first, and where each ended."""
    lines = _with_store(lambda store: store.ledger.events(source=source, object_id=contact, state=state, limit=limit))
    print_lines(lines, ["id", "source", "object_id", "action", "received_at", "state", "reason"], as_json=as_json)


def deliveries(
    *,
    source: SourceName = None,
    state: Annotated[DeliveryState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List deliveries, newest first: what is owed, to whom, and what came of it."""
    lines = _with_store(lambda store: store.ledger.deliveries(source=source, state=state, limit=limit))
    columns = ["id", "source", "object_id", "state", "due_at", "attempts", "outcome", "reason"]
    print_lines(lines, columns, as_json=as_json)


def dead_letters(*, source: SourceName = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List the deliveries that wait for a person, with what to do about each."""
    from service.model import OutcomeKind
    from service.retry import HINTS

    lines = _with_store(lambda store: store.ledger.deliveries(source=source, state="dead", limit=limit))
    hinted = [line | {"hint": HINTS[OutcomeKind(line["outcome"])]} for line in lines]
    print_lines(hinted, ["id", "source", "object_id", "closed_at", "reason", "hint"], as_json=as_json)


def replay(
    delivery: Annotated[int, typer.Argument(help="A dead letter, by its id.")], *, as_json: AsJson = False
) -> None:
    """Try a dead letter again: its changes become pending, and obey the order like any other."""
    from service.main import real_clock

    done = _with_store(lambda store: store.ledger.replay(delivery, now=real_clock()))
    if as_json:
        print_json(done)
    else:
        sys.stdout.write(f"{done.events} changes are pending again, as delivery {done.delivery_id}\n")


def explain(
    contact: Annotated[str, typer.Argument(help="A CRM record's id, or a con_ uuid.")],
    *,
    source: SourceName = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Tell a contact's story: which event set each field, every change, every attempt. Shows contact values."""
    uuid = contact if contact.startswith("con_") else None
    story = _with_store(
        lambda store: store.ledger.story(source=source, object_id=None if uuid else contact, uuid=uuid, limit=limit)
    )
    if as_json:
        print_json(story)
    else:
        fields = [
            {"field": name, "value": known.value, "event": known.event_id, "confirmed_at": known.confirmed_at}
            for name, known in sorted(story.fields.items())
        ]
        link = story.link
        sys.stdout.write(f"{link.contact_uuid}, found by {link.found_by}\n" if link else "linked to no contact yet\n")
        print_lines(fields, ["field", "value", "event", "confirmed_at"], as_json=False)
        print_lines(story.events, ["id", "source", "object_id", "received_at", "state", "reason"], as_json=False)
        columns = ["id", "started_at", "outcome", "status", "detail", "fields", "duration_ms"]
        print_lines(story.attempts, columns, as_json=False)
    raise typer.Exit(0 if story.events or story.fields else FOUND)


def refusals(*, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List the requests that were turned away, and why."""
    lines = _with_store(lambda store: store.refusals.newest(limit))
    shown = [
        {
            "refused_at": line.refused_at,
            "source": line.source,
            "reason": line.reason,
            "header_names": line.header_names,
            "size": line.size,
        }
        for line in lines
    ]
    print_lines(shown, ["refused_at", "source", "reason", "size"], as_json=as_json)


def audit(*, as_json: AsJson = False) -> None:
    """Check that the books close: every change accounted for, exactly once. Exit 3 names what is not."""

    async def both(store: Any) -> tuple[dict[str, int], list[Any]]:  # noqa: ANN401  # a Store, loaded when needed
        return await store.ledger.counts(), await store.ledger.audit()

    counts, findings = _with_store(both)
    total = sum(counts.values())
    if as_json:
        print_json({"events": counts, "total": total, "findings": findings})
    else:
        sys.stdout.write(f"{total} events: " + ", ".join(f"{n} {state}" for state, n in sorted(counts.items())) + "\n")
        for finding in findings:
            sys.stdout.write(f"{finding.count} {finding.name}: {', '.join(map(str, finding.ids))}\n")
        sys.stdout.write("the books close\n" if not findings else "")
    raise typer.Exit(FOUND if findings else 0)


def _with_store(work: Callable[[Any], Awaitable[T]]) -> T:
    from service.config import load_settings
    from service.main import open_store

    async def run() -> T:
        store = open_store(load_settings())
        try:
            await store.migrate()
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())
