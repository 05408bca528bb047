"""A backtest's report as it is shown: for programs as JSON, for people the summary first, then examples."""

import sys
from collections.abc import Iterator
from typing import Any, Final

from service.cli.output import print_lines
from service.operations.backtest.tally import Difference, Example, FieldTally, Report, SourceTally, Tally

TEXT_MAX: Final = 60
"""Characters of a value in a line for people."""
REASONS_SHOWN: Final = 3

_ASIDE: Final = {
    "same_rules": "have the same rules in both and were not mapped",
    "aged_out": "have no payload any more",
    "request_gone": "would have to be read again from their request, which is not kept",
    "unstamped": "have no rules of then that can be had",
    "would_read": "would have their record read back: fields that are not in the change itself are not judged",
}


def shape(report: Report, *, candidate: str, present: str, against: str) -> dict[str, Any]:
    """Return the report as JSON can hold it. Its keys are stable."""
    return {
        "candidate": candidate,
        "present": present,
        "against": against,
        "differs": report.differs,
        "events": report.events,
        "differ": report.differ,
        "first_received_at": report.first_at,
        "last_received_at": report.last_at,
        "sources": {name: _source(tally) for name, tally in report.sources.items()},
    }


def tell(report: Report, *, against: str) -> None:
    """Print the summary of each source, then the examples."""
    between = "" if report.first_at is None else f", received {report.first_at:%Y-%m-%d} to {report.last_at:%Y-%m-%d}"
    other = "now" if against == "now" else "by the rules of then"
    _print(f"{report.events} changes{between}; what is made of them {other}, and what the candidate would make of them")
    for name, tally in report.sources.items():
        _summary(name, tally)
    for name, tally in report.sources.items():
        _examples(name, tally)
    _print("" if report.differs else "nothing differs")


def _source(tally: SourceTally) -> dict[str, Any]:
    return {
        "present": tally.present,
        "candidate": tally.candidate,
        "new_fields": tally.new_fields,
        "gone_fields": tally.gone_fields,
        "parsed_again": tally.parsed_again,
        "events": tally.events,
        "differ": tally.differ,
        **{name: getattr(tally, name) for name in _ASIDE},
        "changes": [
            {"before": one.before, "after": one.after, **_counted(one.tally, _CHANGE)} for one in tally.fates.values()
        ],
        "fields": {target: _field(one) for target, one in sorted(tally.fields.items())},
    }


def _field(tally: FieldTally) -> dict[str, Any]:
    counts = {name: getattr(tally, name) for name in ("same", "left_out", "failing", "unjudged")}
    found = {one.value.replace(" ", "_"): _counted(tally.differences.get(one, Tally()), _VALUE) for one in Difference}
    return counts | found


_CHANGE: Final = ("event", "object_id", "received_at", "reason")
_VALUE: Final = (*_CHANGE, "old", "new", "rule", "trace")


def _counted(tally: Tally, columns: tuple[str, ...]) -> dict[str, Any]:
    examples = [{name: getattr(example, name) for name in columns} for example in tally.examples]
    return {"count": tally.count, "reasons": tally.reasons, "examples": examples}


def _summary(name: str, tally: SourceTally) -> None:
    _print(f"\n{name}: {_verdict(tally)}")
    if tally.new_fields:
        _print(f"  new fields: {', '.join(tally.new_fields)}")
    if tally.gone_fields:
        _print(f"  fields that are no longer set: {', '.join(tally.gone_fields)}")
    if tally.parsed_again:
        _print("  its requests are read anew, for preset or parse differ")
    for aside, text in _ASIDE.items():
        if count := getattr(tally, aside):
            _print(f"  {count} {text}")
    for fate in tally.fates.values():
        _print(f"  {fate.tally.count} {fate.before} now, with the candidate {fate.after}{_reasons(fate.tally)}")
    lines = [
        {"field": target, **{one.value: _count(field, one) for one in Difference}, "sent the same": field.same}
        for target, field in sorted(tally.fields.items())
        if field.differences
    ]
    if lines:
        print_lines(lines, list(lines[0]), as_json=False)


def _verdict(tally: SourceTally) -> str:
    if not tally.present or not tally.candidate:
        where = {(False, True): "new", (True, False): "gone", (False, False): "in neither configuration"}
        return f"{where[tally.present, tally.candidate]}; {tally.events} changes in the log"
    return f"{tally.differ} of {tally.events} changes differ"


def _count(field: FieldTally, difference: Difference) -> int | str:
    found = field.differences.get(difference)
    return "" if found is None else found.count


def _reasons(tally: Tally) -> str:
    most = sorted(tally.reasons.items(), key=lambda one: -one[1])
    told = [f"{reason} ({count})" for reason, count in most[:REASONS_SHOWN]]
    return f": {'; '.join(told)}{'; …' if len(most) > REASONS_SHOWN else ''}" if told else ""


def _examples(name: str, tally: SourceTally) -> None:
    for fate in tally.fates.values():
        if fate.tally.examples:
            _print(f"\n{name}: {fate.before} now, with the candidate {fate.after}")
        for example in fate.tally.examples:
            _print(f"  event {example.event} of {example.object_id}: {example.reason}")
    for target, field in sorted(tally.fields.items()):
        for difference, found in field.differences.items():
            if found.examples:
                _print(f"\n{name}: {target} {difference} ({found.count}){_reasons(found)}")
            for line in _lines(difference, found.examples):
                _print(line)


def _lines(difference: Difference, examples: list[Example]) -> Iterator[str]:
    for example in examples:
        by = f"   by {example.rule}" if example.rule else ""
        why = f"   {example.reason}" if example.reason else ""
        old = "failed" if difference is Difference.MENDED else _shown(example.old)
        new = {Difference.FAILS: "fails", Difference.CLEARED: "cleared"}.get(difference) or _shown(example.new)
        yield f"  event {example.event} of {example.object_id}: {old} → {new}{by}{why}"


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n" if text else "")
