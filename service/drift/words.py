"""How a drift is told to a person: what is wrong, how often and since when, and what to do about it; never a value."""

from types import MappingProxyType
from typing import Final, Literal, assert_never

from service.model import Drift, DriftKind

_HINTS: Final = MappingProxyType(
    {
        DriftKind.PATH_GONE: "the CRM renamed the field, took it away or does not show it any more: {} shows what "
        "comes instead; mend the path",
        DriftKind.TYPE_CHANGED: "the CRM writes the field in another way now: {} shows what came of it; mend the rule",
        DriftKind.NO_ENTRY: "{} shows the value: add an entry to its `map`",
        DriftKind.STOOD_IN: "{} shows the value: add an entry to its `map`, unless its `default` is meant for it",
        DriftKind.SKIPPED_ERROR: "{} shows the value: mend the rule's `transform`, or the field in the CRM",
    }
)

_FORESEEN: Final = frozenset({DriftKind.STOOD_IN, DriftKind.SKIPPED_ERROR})


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
        case DriftKind.STOOD_IN:
            return f"source {source}: {target} takes its default for a value of {path}, {_count(drift, 'event')}"
        case DriftKind.SKIPPED_ERROR:
            return f"source {source}: {target} is left out, {drift.detail}, {_count(drift, 'event')}"
        case _:
            assert_never(drift.cause.kind)


def status_of(drift: Drift) -> Literal["ok", "warn"]:
    """Say how bad it is: what the configuration foresaw, by ``default`` or ``on_error: skip``, is well."""
    return "ok" if drift.cause.kind in _FORESEEN else "warn"


def hint_of(drift: Drift) -> str:
    """Say what to do about it, and which event shows it."""
    named = "--event ID" if drift.event_id is None else f"--event {drift.event_id}"
    return _HINTS[drift.cause.kind].format(f"`explain {named}`")


def _count(drift: Drift, noun: str) -> str:
    plural = noun if drift.count == 1 else f"{noun}s"
    return f"{drift.count} {plural} since {drift.first_seen_at:%Y-%m-%d %H:%M}Z"
