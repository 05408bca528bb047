"""How a drift is told to a person: what is wrong, how often and since when, and what to do about it; never a value."""

from types import MappingProxyType
from typing import Final, assert_never

from service.model import Drift, DriftKind

HINTS: Final = MappingProxyType(
    {
        DriftKind.PATH_GONE: "the CRM renamed the field, took it away or does not show it any more: look at a new "
        "event with `explain`, then mend the path",
        DriftKind.TYPE_CHANGED: "the CRM writes the field in another way now: see with `explain` what became of it, "
        "then mend the rule",
        DriftKind.NO_ENTRY: "add an entry to its `map`; `explain` shows the value",
        DriftKind.SKIPPED_ERROR: "`explain` shows the value: mend the rule's `transform`, or the field in the CRM",
    }
)
"""What to do about each kind."""


def cause_of(drift: Drift) -> str:
    """Say what is wrong, in words."""
    source, target, path = drift.cause.source, drift.cause.target, drift.cause.path
    match drift.cause.kind:
        case DriftKind.PATH_GONE:
            return f"source {source}: {path} (for {target}) does not come any more, {_count(drift, 'record')}"
        case DriftKind.TYPE_CHANGED:
            return f"source {source}: {path} (for {target}) changed its type, {drift.detail}, {_count(drift, 'record')}"
        case DriftKind.NO_ENTRY:
            return f"source {source}: {target} has no entry for a value of {path}, {_count(drift, 'event')}"
        case DriftKind.SKIPPED_ERROR:
            return f"source {source}: {target} is left out, {drift.detail}, {_count(drift, 'event')}"
        case _:
            assert_never(drift.cause.kind)


def _count(drift: Drift, noun: str) -> str:
    plural = noun if drift.count == 1 else f"{noun}s"
    return f"{drift.count} {plural} since {drift.first_seen_at:%Y-%m-%d %H:%M}Z"
