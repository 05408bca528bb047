"""Verbs that read the log: events, deliveries, dead-letters, explain, refusals, audit."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.opened import with_store
from service.cli.output import AsJson, print_json, print_lines
from service.model import DeliveryState, EventState

if TYPE_CHECKING:
    from service.pipeline import InForce
    from service.store import Store

FOUND = 3
ID_MAX = 2**63 - 1

Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")]
SourceName = Annotated[str | None, typer.Option(help="Only those of this source.")]


def register(app: typer.Typer) -> None:
    """Add the verbs of this family."""
    for verb in (events, deliveries, dead_letters, explain, refusals, audit):
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
    lines = with_store(lambda store: store.ledger.events(source=source, object_id=contact, state=state, limit=limit))
    print_lines(lines, ["id", "source", "object_id", "action", "received_at", "state", "reason"], as_json=as_json)


def deliveries(
    *,
    source: SourceName = None,
    state: Annotated[DeliveryState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List deliveries, newest first: what is owed, to whom, and what came of it."""
    lines = with_store(lambda store: store.ledger.deliveries(source=source, state=state, limit=limit))
    shown = lines if as_json else [line | {"failed tries": line["attempts"]} for line in lines]
    columns = ["id", "source", "object_id", "state", "due_at", "failed tries", "outcome", "reason"]
    print_lines(shown, columns, as_json=as_json)


def dead_letters(*, source: SourceName = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List the deliveries that wait for a person, with what to do about each."""
    from service.model import OutcomeKind
    from service.retry import HINTS

    lines = with_store(lambda store: store.ledger.deliveries(source=source, state="dead", limit=limit))
    hinted = [line | {"hint": HINTS[OutcomeKind(line["outcome"])]} for line in lines]
    print_lines(hinted, ["id", "source", "object_id", "closed_at", "reason", "hint"], as_json=as_json)


def explain(
    contact: Annotated[str | None, typer.Argument(help="A CRM record's id, a con_ uuid or an email.")] = None,
    *,
    source: SourceName = None,
    event: Annotated[int | None, typer.Option(min=1, max=ID_MAX, help="Only this change: how it was mapped.")] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Show how the newest changes were mapped.")] = False,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Tell a person's story, field by field: value, event, rule, time and attempt. Shows contact values."""
    if (contact is None) is (event is None):
        raise typer.BadParameter("give either a contact or --event", param_hint="contact")
    if event is not None:
        _explain_event(event, as_json=as_json)
    elif contact is not None:
        _explain_person(contact, source, limit, trace=trace, as_json=as_json)


def _explain_event(event_id: int, *, as_json: bool) -> None:
    from service.cli.traces import event_trace_text
    from service.operations.trace import trace_event

    present = _present()
    logged, traced = with_store(lambda store: trace_event(store, event_id, present))
    if as_json:
        print_json({**logged.line, "trace": traced})
    else:
        sys.stdout.write(event_trace_text(traced))


def _explain_person(contact: str, source: str | None, limit: int, *, trace: bool, as_json: bool) -> None:
    from service.operations.trace import shown, trace_story

    present = _present() if trace or as_json else None

    async def ask(store: "Store") -> tuple[Any, list[Any]]:
        story = await store.ledger.story(contact, source=source, limit=limit)
        return story, await trace_story(store, story, present) if trace or as_json else []

    story, traces = with_store(ask)
    if as_json:
        print_json(shown(story, traces))
    elif story.known:
        _tell(story)
        _tell_traces(traces)
    else:
        sys.stdout.write("nothing is known of it: no record, contact or email in the log is called so\n")
    raise typer.Exit(0 if story.events or story.fields else FOUND)


def _present() -> "InForce | None":
    """Return the configuration as it is written now; None where it is faulty: what was mapped before needs it not."""
    from service.config import load
    from service.errors import ConfigError
    from service.pipeline import InForce

    try:
        config = load(need_api_key=False)
    except ConfigError:
        return None
    return InForce(config.version, config.sources, {})


def _tell_traces(traces: Sequence[Any]) -> None:
    from service.cli.traces import event_trace_text

    for traced in traces:
        sys.stdout.write("\n" + event_trace_text(traced))


def _tell(story: Any) -> None:  # noqa: ANN401  # a Story, whose module is loaded when needed
    for link in story.links:
        sys.stdout.write(
            f"{link['source']} {link['object_id']} is {link['contact_uuid']}, found by {link['found_by']}\n"
        )
    if not story.links:
        sys.stdout.write("linked to no contact yet\n")
    columns = ["field", "value", "source", "event", "rule", "confirmed_at", "attempt", "certain"]
    for uuid, fields in story.fields.items():
        sys.stdout.write(f"\n{uuid}, field by field\n")
        print_lines([_blame_line(blame) for blame in fields], columns, as_json=False)
    for uuid, fields in story.would_be_sent.items():
        sys.stdout.write(f"\n{uuid}, what would be sent, if its source were live\n")
        print_lines([_would_be_line(one) for one in fields], columns[:5], as_json=False)
    sys.stdout.write("\nchanges, newest first\n")
    columns = ["id", "source", "object_id", "received_at", "state", "by_event_id", "reason"]
    print_lines(story.events, columns, as_json=False)
    sys.stdout.write("\nattempts, newest first\n")
    columns = ["id", "started_at", "outcome", "status", "detail", "fields", "duration_ms"]
    print_lines(story.attempts, columns, as_json=False)


def _would_be_line(one: Any) -> dict[str, Any]:  # noqa: ANN401  # a WouldBe, as above
    would = one.shadowed
    return {"field": one.field, "value": would.value, "source": one.source, "event": would.event_id, "rule": would.rule}


def _blame_line(blame: Any) -> dict[str, Any]:  # noqa: ANN401  # a Blame, as above
    known, until = blame.known, blame.in_doubt_until
    sure = "yes" if known.certain and until is None else "no" if until is None else f"not before {until:%H:%M:%S}"
    return {
        "field": blame.field,
        "value": known.value,
        "source": blame.source,
        "event": known.event_id,
        "rule": known.rule,
        "confirmed_at": known.confirmed_at,
        "attempt": known.attempt_id,
        "certain": sure,
    }


def refusals(*, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List the requests that were turned away, and why."""
    lines = with_store(lambda store: store.refusals.newest(limit))
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
    books = with_store(lambda store: store.ledger.audit())
    if as_json:
        print_json({"events": books.events, "total": books.total, "findings": books.findings})
    else:
        by_state = ", ".join(f"{count} {state}" for state, count in books.events.items())
        sys.stdout.write(f"{books.total} events: {by_state}\n")
        for finding in books.findings:
            sys.stdout.write(f"{finding.count} {finding.name}: {', '.join(map(str, finding.ids))}\n")
        sys.stdout.write("the books close\n" if not books.findings else "")
    raise typer.Exit(FOUND if books.findings else 0)
