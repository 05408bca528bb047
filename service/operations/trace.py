"""How each field of a change got its value, or why it got none: of a captured change, and of any in the log.

A trace is not kept. It is made again from the change in the log, by the rules of the configuration that mapped it; what
waits is traced by those that will map it as things stand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from service.errors import NotFound
from service.mapping import Rules
from service.model import MISSING, Action, Change, EventState, Json, Trace
from service.paths import as_text
from service.pipeline import NOT_CONFIGURED, InForce
from service.store import Store
from service.store.ledger import Line, Logged, Story
from service.translate import FILTERED, GONE, READ, recall

TRACED_MAX: Final = 10
"""Events of a story that are traced: each repeats what its payload holds."""

AGED: Final = "its payload has aged out or was erased: how it was mapped cannot be shown"
UNMAPPED: Final = "it ended before any mapping"
ABSENT: Final = "its source is not in the configuration"
FAULTY: Final = "the present configuration, which it is traced by, cannot be read: see `check`"
WAITS: Final = "it waits: traced by the present rules"
UNSTAMPED: Final = "by which configuration it was mapped is not known: traced by the present rules"
WAS_READ: Final = "the CRM's record was read back, and the reading is not kept: shown is what the event itself said"
IS_READ: Final = "the CRM's record is read back for it: shown is what the event itself says"
CARRIED: Final = "the CRM's record was read back for a newer event, which carries it: shown is what this one said"
NOT_SAID: Final = "not in the event itself: taken from the CRM's record"

_LEAST: Final = -(2**63)
_MOST: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class EventTrace:
    """What became of an event, and how: ``fields`` as ``inspect`` shows them, ``notes`` say what they cannot.

    ``config_version`` names the configuration that they are made by, None where there are none. In a field that came
    from a record that was read back, ``result`` is ``unknown``.
    """

    event: int
    source: str
    object_id: str
    state: str
    reason: str | None
    by_event: int | None
    attempt: Line | None
    """The try that it ended by, with the names of the fields that its PATCH carried."""
    config_version: str | None = None
    notes: tuple[str, ...] = ()
    fields: tuple[dict[str, Any], ...] = field(default=(), repr=False)


async def trace_event(store: Store, event_id: int, present: InForce | None) -> tuple[Logged, EventTrace]:
    """Return an event of the log, and its trace; raise NotFound where it is not there.

    ``present`` is the configuration that maps what waits, None where it cannot be had.
    """
    logged = await store.ledger.logged([event_id])
    if not logged:
        raise NotFound(f"no event {event_id} is in the log", hint="see `events` for the ids that are there")
    return logged[0], await _trace(store, logged[0], present)


async def trace_story(store: Store, story: Story, present: InForce | None) -> list[EventTrace]:
    """Trace the newest events of a person's story, at most ``TRACED_MAX``."""
    logged = await store.ledger.logged([line["id"] for line in story.events[:TRACED_MAX]])
    return [await _trace(store, one, present) for one in logged]


def shown(story: Story, traces: Sequence[EventTrace]) -> dict[str, Any]:
    """Show a story with the traces of its newest events, as JSON can hold it."""
    return {name: getattr(story, name) for name in Story.__slots__} | {"traces": list(traces)}


def lines_of(rules: Rules, change: Change) -> list[dict[str, Any]]:
    """Show what the rules make of a change by itself, field by field, or that the filter leaves it out."""
    if rules.leaves_out(change):
        return [_filtered()]
    mapping = rules.mapping_of(change)
    return [] if mapping is None else [trace_line(trace) for trace in mapping.apply(change).traces]


def trace_line(trace: Trace, *, show: Callable[[Json], Json] = lambda value: value) -> dict[str, Any]:
    """Show how a field got its value, as JSON can hold it. ``raw`` is absent where nothing stood at the path.

    ``show`` makes values fit to be seen.
    """
    line: dict[str, Any] = {"target": trace.target, "path": trace.path}
    if trace.raw is not MISSING:
        line["raw"] = show(trace.raw)
    line["steps"] = [{"step": step.name, "value": show(_in_json(step.value))} for step in trace.steps]
    return line | {"result": trace.result, "value": show(trace.value), "reason": trace.reason}


def _filtered() -> dict[str, Any]:
    return {"result": "skip", "reason": FILTERED}


def _in_json(value: Json) -> Json:
    """Return what a step made as JSON is written here: a whole number of more than 64 bits as text."""
    match value:
        case int() if not _LEAST <= value <= _MOST:
            return as_text(value)
        case list():
            return [_in_json(one) for one in value]
        case _:
            return value


async def _trace(store: Store, logged: Logged, present: InForce | None) -> EventTrace:
    line, change = logged.line, logged.change
    known = EventTrace(
        line["id"],
        line["source"],
        line["object_id"],
        line["state"],
        line["reason"],
        line["by_event_id"],
        None if logged.attempt is None else logged.attempt | {"fields": orjson.loads(logged.attempt["fields"])},
    )
    if change is None:
        return replace(known, notes=(AGED,))
    if change.action is Action.PRIVACY_DELETED or known.reason == GONE or _ended_at_once(line):
        return replace(known, notes=(UNMAPPED,))
    by = await _by(store, line, present)
    known = replace(known, config_version=by.version, notes=by.notes)
    if by.rules is None:
        return known
    reading = _reading(logged, change, by.rules, present)
    if reading is None:
        return replace(known, fields=tuple(lines_of(by.rules, change)))
    fields = _around(by.rules, change, filtered=known.reason == FILTERED)
    return replace(known, notes=(*by.notes, reading), fields=tuple(fields))


def _ended_at_once(line: Line) -> bool:
    """Say whether the source itself ignored the event, so that no delivery was owed for it."""
    return line["state"] == EventState.IGNORED and line["delivery_id"] is None


@dataclass(frozen=True, slots=True)
class _By:
    """What an event is traced by, with what is to be said of it; no rules where there are none to be had."""

    version: str | None
    rules: Rules | None
    notes: tuple[str, ...] = ()


async def _by(store: Store, line: Line, present: InForce | None) -> _By:
    """Choose the rules: of the configuration that mapped the event, or will as a replay asks, else the present ones."""
    waits = line["state"] == EventState.PENDING
    version = line["replay_version"] if waits else line["config_version"]
    if version is None:
        return _by_the_present(line, present, WAITS if waits else UNSTAMPED)
    if line["reason"] == NOT_CONFIGURED:
        return _By(version, None, (ABSENT,))
    kept = recall(await store.configurations.rules(version, line["source"]))
    if not isinstance(kept, str):
        return _By(version, kept)
    return _By(version, None, (f"the configuration {version} {kept}",))


def _by_the_present(line: Line, present: InForce | None, note: str) -> _By:
    if present is None:
        return _By(None, None, (FAULTY,))
    configured = present.sources.get(line["source"])
    return _By(None, None, (ABSENT,)) if configured is None else _By(present.version, configured.rules, (note,))


def _reading(logged: Logged, change: Change, rules: Rules, present: InForce | None) -> str | None:
    """Say in words that the record was, or will be, read back for an event; None where it is not."""
    if logged.line["reason"] == READ:
        return CARRIED
    configured = None if present is None else present.sources.get(logged.line["source"])
    reads = configured is not None and configured.reader is not None
    if change.action is Action.DELETED or not (READ in logged.carried or (reads and rules.lacks(change))):
        return None
    return IS_READ if logged.line["state"] == EventState.PENDING else WAS_READ


def _around(rules: Rules, change: Change, *, filtered: bool) -> list[dict[str, Any]]:
    """Show what an event itself says where the record around it is not there to be mapped, nor for the filter."""
    if filtered:
        return [_filtered()]
    unsaid = rules.mapping.fed_by(rules.mapping.needs - change.values.keys())
    lines = [trace_line(trace) for trace in rules.mapping.apply(change).traces]
    return [
        line | {"result": "unknown", "reason": NOT_SAID}
        if line["target"] in unsaid and line["result"] not in {"set", "clear"}
        else line
        for line in lines
    ]
