"""What a source in shadow mode would have sent, against what earlier shadowed changes would have left; pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from service.coalesce import WITH_ANOTHER, Plan, again_at, contact_fields, doubts_after, plan, same_value
from service.model import (
    Confirmed,
    Deliver,
    Disposition,
    Doubt,
    Event,
    EventState,
    Json,
    Known,
    Mapped,
    Record,
    Shadowed,
)

WOULD_BE_SENT: Final = "would be sent"
WOULD_BE_THERE: Final = "would change nothing: an earlier event would have brought these values"
IS_THERE: Final = "would change nothing: ChartMogul has these values"
OVERTAKEN: Final = "would be overtaken by a newer event"


def needs_reading(deliver: Deliver, names: Collection[str], known: Known) -> bool:
    """Say whether a linked contact must be read before anything is planned for it.

    In shadow mode that is so where nothing is known of a field. On going live, as others may have written meanwhile,
    whatever is known; beside what other sources in shadow mode left, only where nothing was confirmed of a field.
    """
    unknown = [name for name in names if name not in known.fields]
    if deliver is Deliver.SHADOW:
        return any(name not in (known.shadow or {}) for name in unknown)
    return known.shadow is not None and bool(unknown or (names and not known.shadow))


def as_read(known: Known, there: Record) -> Known:
    """Return what is known of a contact that was read while it was held: nobody else of ours can have changed it.

    What may have been sent without a word, or may land yet, is left as it is.
    """
    shown = contact_fields(there)
    doubted = {name for doubt in known.doubts for name in doubt.fields}
    fields = {
        name: replace(one, value=shown[name]) if one.certain and name in shown and name not in doubted else one
        for name, one in known.fields.items()
    }
    return replace(known, fields=fields)


def plan_shadow(
    mapped: Sequence[tuple[Event, Mapped]], known: Known, *, now: datetime, fresh: Mapping[str, Json] | None = None
) -> Plan:
    """Plan as if every shadowed change so far had been sent, and say of each event what would become of it.

    Confirmed values in doubt are no part of it: in shadow mode nothing is sent, that neither.
    """
    winners = _winners(known)
    told = {name: one.value for name, one in winners.items() if one.sent}
    there = None if fresh is None else {**contact_fields(fresh), **told}
    planned = plan(mapped, Known({**known.fields, **_as_confirmed(winners, known)}), now=now, fresh=there)
    brought = {name for name, one in planned.kept.items() if name in told and same_value(told[name], one.value)}
    results = {event.id: result for event, result in mapped}
    ends = tuple(_would(end, results[end.event_id], brought) for end in planned.dispositions)
    return replace(planned, dispositions=ends)


def go_with(ended: Sequence[Disposition], mapped: Sequence[tuple[Event, Mapped]]) -> tuple[Disposition, ...]:
    """Let what one of the mapped events was to carry wait with it, since both are needed to go live."""
    carriers = {event.id for event, _ in mapped}
    return tuple(replace(end, state=EventState.SHADOWED) if end.by_event_id in carriers else end for end in ended)


def would_stand(planned: Plan, known: Known, *, now: datetime) -> dict[str, Shadowed]:
    """Return what a plan would have left in the contact: what it would have sent, and what it would have kept."""
    before = _winners(known)
    kept = {name: _kept(one, before.get(name), now) for name, one in planned.kept.items()}
    sent = {name: Shadowed(one.value, one.order, one.event_id, now, one.rule) for name, one in planned.send.items()}
    return kept | sent


def doubts_left(known: Known, *, since: datetime) -> tuple[Doubt, ...]:
    """Return the doubts that remain where nothing was sent: also those whose time has come, if a field is owed."""
    waiting = doubts_after(known, since=since)
    return tuple(doubt for doubt in known.doubts if doubt in waiting or again_at([doubt], known.fields) is not None)


def _winners(known: Known) -> dict[str, Shadowed]:
    """Return what sources in shadow mode would have left, but for what a newer value was confirmed of since."""
    return {
        name: one
        for name, one in (known.shadow or {}).items()
        if (before := known.fields.get(name)) is None or before.event_id is None or before.order < one.order
    }


def _kept(kept: Confirmed, before: Shadowed | None, now: datetime) -> Shadowed:
    """Let the order of a value that would be there already move on; when it would have been sent, if at all, stays."""
    at, sent = (now, False) if before is None else (before.at, before.sent)
    return Shadowed(kept.value, kept.order, kept.event_id, at, kept.rule, sent=sent)


def _as_confirmed(winners: Mapping[str, Shadowed], known: Known) -> dict[str, Confirmed]:
    return {
        name: Confirmed(one.value, one.order, one.event_id, one.at, certain=one.sent or _is_sure(known, name))
        for name, one in winners.items()
    }


def _is_sure(known: Known, name: str) -> bool:
    return name not in known.fields or known.fields[name].certain


def _would(end: Disposition, result: Mapped, brought: Collection[str]) -> Disposition:
    """Say what would have become of an event, in the place of what became of it."""
    if end.state is EventState.DELIVERED:
        return Disposition(end.event_id, EventState.SHADOWED, WOULD_BE_SENT)
    if end.state is EventState.MERGED:
        reason = f"would go out with event {end.by_event_id}" if end.reason == WITH_ANOTHER else OVERTAKEN
        return replace(end, state=EventState.SHADOWED, reason=reason)
    if end.state is EventState.UNCHANGED:
        reason = WOULD_BE_THERE if any(name in brought for name in result.fields) else IS_THERE
        return Disposition(end.event_id, EventState.SHADOWED, reason)
    return end
