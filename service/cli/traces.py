"""Traces for people: a line a field, from what stood in the record, step by step, to the value or its absence."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import orjson

VALUE_MAX: Final = 80
"""Characters of a value that are shown."""
COLUMN_MAX: Final = 40
"""The widest that targets and paths are kept in line."""
ARROW: Final = " → "


def trace_text(lines: Iterable[Mapping[str, Any]]) -> str:
    """Write the lines of a trace as ``inspect`` and the API show them, of each change under its dedup key."""
    return "".join(
        f"{_printable(key)}\n{_table(list(group))}" if key else _table(list(group))
        for key, group in groupby(lines, key=lambda line: line.get("dedup_key"))
    )


def event_trace_text(trace: Any) -> str:  # noqa: ANN401  # an EventTrace, whose module is loaded when needed
    """Write what became of an event of the log, and how: its end, what is to be said of it, and field by field."""
    by = f" by event {trace.by_event}" if trace.by_event is not None else ""
    said = f", {trace.reason}" if trace.reason else ""
    mapped = "to be mapped by" if trace.state == "pending" else "mapped by"
    version = f", {mapped} {trace.config_version}" if trace.config_version else ""
    head = f"event {trace.event} of {trace.source} {trace.object_id}: {trace.state}{by}{said}{version}\n"
    notes = [*_attempt(trace.attempt), *trace.notes]
    return _printable(head, keep="\n") + "".join(f"  {_printable(note)}\n" for note in notes) + _table(trace.fields)


def inspection_text(shape: Mapping[str, Any]) -> str:
    """Write what ``inspect`` found: whether a request is taken, and for each contact the trace and what is sent."""
    count = len(shape["events"])
    taken = f"refused, {shape['reason']}" if shape["reason"] else f"taken, {count} change{'' if count == 1 else 's'}"
    contacts = [
        f"\n{_printable(patch['object_id'])}\n{trace_text(patch['trace'])}{_patch(patch)}\n"
        for patch in shape["patches"]
    ]
    return _printable(f"{shape['source']}: {taken}") + "\n" + "".join(contacts)


def _patch(patch: Mapping[str, Any]) -> str:
    """Say what a contact would be sent, or why nothing."""
    if patch.get("read_back"):
        return "its record would be read back: this is what the request itself says"
    if patch["patch"] is None:
        return _printable(f"nothing is sent: {patch.get('reason') or 'no field has a value'}")
    return f"PATCH {_printable(orjson.dumps(patch['patch']).decode())}"


def _attempt(attempt: Mapping[str, Any] | None) -> Iterator[str]:
    if attempt is not None:
        fields = ", ".join(attempt["fields"]) or "nothing"
        answer = f" ({attempt['status']})" if attempt["status"] is not None else ""
        yield f"attempt {attempt['id']}: {attempt['outcome']}{answer}, with {fields}"


def _table(lines: Sequence[Mapping[str, Any]]) -> str:
    rows = [(_printable(line.get("target", "")), _printable(_place(line)), _way(line)) for line in lines]
    wide = [min(COLUMN_MAX, max((len(row[column]) for row in rows), default=0)) for column in (0, 1)]
    return "".join(
        "  " + "  ".join([*(f"{row[column]:<{wide[column]}}" for column in (0, 1) if wide[column]), row[2]]) + "\n"
        for row in rows
    )


def _place(line: Mapping[str, Any]) -> str:
    """Say where the value was read, or that it is fixed; blank where nothing was read at all."""
    return line.get("path") or ("const" if "raw" in line else "")


def _way(line: Mapping[str, Any]) -> str:
    """Write the value's way: what stood there, what each step made of it, and what came of it."""
    start = [_shown(line["raw"])] if "raw" in line else ["nothing there"] if line.get("path") else []
    end = f"set {_shown(line['value'])}" if line["result"] == "set" else line["result"]
    because = f": {_printable(line['reason'])}" if line.get("reason") else ""
    return ARROW.join([*start, *_steps(line), end + because])


def _steps(line: Mapping[str, Any]) -> Iterator[str]:
    """Write each step with what it made of the value, or by its name alone where it left it as it was."""
    before = line.get("raw")
    for step in line.get("steps", ()):
        same = step["value"] == before and type(step["value"]) is type(before)
        yield step["step"] if same else f"{step['step']} {_shown(step['value'])}"
        before = step["value"]


def _shown(value: object) -> str:
    text = orjson.dumps(value).decode()
    return _printable(text if len(text) <= VALUE_MAX else text[:VALUE_MAX] + "…")


def _printable(text: str, keep: str = "") -> str:
    """Write what a terminal might obey, or hide, as escapes: the text is a stranger's."""
    return "".join(one if one.isprintable() or one in keep else one.encode("unicode_escape").decode() for one in text)
