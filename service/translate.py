"""A delivery's events become fields of ChartMogul's, by the rules of now or then, over the record where it was read.

Pure. What has nothing to say ends here, with its reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from service.coalesce import same_value
from service.mapping import Mapping as RuleSet
from service.mapping import Rules
from service.model import (
    Action,
    Change,
    Disposition,
    Event,
    EventState,
    Json,
    Mapped,
    Record,
    to_micros,
)
from service.readback.base import Reading

NO_FIELD: Final = "no mapped field in it"
NOT_READ: Final = "no mapped field in it; with `read_back` the whole record would be read"
GONE: Final = "gone: the CRM has no such record any more"
READ: Final = "its record was read back for a newer change"
FILTERED: Final = "filtered out by `when`"

LAG: Final = timedelta(seconds=30)
"""How long a CRM's answers are given to show what it told."""
WHOLE_SECOND: Final = timedelta(seconds=1)
"""Some CRMs tell the time of a change in whole seconds."""

NOT_KEPT: Final = "is not kept"
NOT_READABLE: Final = "is written in a way that this release does not take any more"

Versions = Mapping[tuple[str, str], Rules | str]
"""The rules of earlier configurations that replays ask for, by version and source; else why they cannot be had."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The events of a delivery after mapping: those to send, and those that ended on the way.

    ``record`` is the newest change with the whole record, where that was read. ``told`` are all events that were
    mapped, whatever came of it, each with the change that it was mapped as; and those that the filter left out, with
    no trace.
    """

    mapped: tuple[tuple[Event, Mapped], ...] = ()
    ended: tuple[Disposition, ...] = ()
    record: Change | None = None
    told: tuple[tuple[Event, Mapped], ...] = ()


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """That a record was read back, and what was found: None where the CRM has it no more."""

    reading: Reading | None


@dataclass(frozen=True, slots=True)
class _Layer:
    """The record as it is known of one time, in microseconds since 1970."""

    order_key: int
    values: Record = field(repr=False)
    shown: frozenset[str] = frozenset()
    """What was told of this time, and stands in the record before it, too."""


def recall(document: Record | None) -> Rules | str:
    """Make the rules of an earlier configuration again, or say why they cannot be had."""
    if document is None:
        return NOT_KEPT
    try:
        return Rules.parse(document)
    except (ValueError, KeyError):  # a key or transform that was there then
        return NOT_READABLE


def lacks(rules: Rules, events: Sequence[Event], to_find: Sequence[frozenset[str]]) -> bool:
    """Say whether the record must be read back: an event leaves out what its fields or finding the contact need.

    ``to_find`` holds, for each way to find the contact, the record's fields that it needs; none where it is known.
    """
    thin = [event.change for event in events if event.change.thin and event.change.action is not Action.DELETED]
    if any(rules.lacks(change) for change in thin):
        return True
    carried = [event.change.values.keys() for event in events]
    found = any(needed <= there for needed in to_find for there in carried)
    return bool(thin and to_find and not found)


def behind(rules: Rules, events: Sequence[Event], read: ReadRecord, *, now: datetime) -> bool:
    """Say whether the CRM cannot show yet what it just told, so that its record must be read again.

    Its answers may lag behind its webhooks, each by another time. What is not shown for long after it was told never
    will be: some changes leave the record's own time as it is, and a record may be gone.
    """
    living = [event for event in events if event.change.action is not Action.DELETED]
    unshown = [event for event in living if not _is_shown(rules, event, read.reading)]
    return bool(unshown) and all(now - event.received_at < LAG for event in unshown)


def _is_shown(rules: Rules, event: Event, reading: Reading | None) -> bool:
    """Say whether a record is as new as an event, or need not be: the event has all that the rules make of it."""
    change = event.change
    if reading is None:
        return False
    if reading.updated_at is None or change.occurred_at is None or change.action is Action.RESTORED:
        return True
    in_seconds = reading.updated_at.microsecond == 0
    return not rules.lacks(change) or _holds(reading, event) or (in_seconds and _shows_values(reading, event))


def _holds(reading: Reading, event: Event) -> bool:
    """Say whether a record is as new as an event, also where its CRM counts whole seconds."""
    at = reading.updated_at
    if at is None or event.order_key <= to_micros(at):
        return at is not None
    within = at.microsecond == 0 and event.order_key < to_micros(at + WHOLE_SECOND)
    return within and (not event.change.values or _shows_values(reading, event))


def _shows_values(reading: Reading, event: Event) -> bool:
    """Say whether an event has values, and each of them stands in a record."""
    said = event.change.values
    return bool(said) and all(_shows(reading.values, name, value) for name, value in said.items())


def translate(
    rules: Rules,
    events: Sequence[Event],
    *,
    past: Versions = MappingProxyType({}),
    read: ReadRecord | None = None,
) -> Settled:
    """Map a contact's events. Filtered ones end as ignored, unmappable ones as dead; the rest go on.

    Where the record was ``read``, it stands for all of them but deletions, of which it can tell nothing.
    """
    told = [_departure(rules, event, past) for event in events if event.change.action is Action.DELETED]
    rest = [event for event in events if event.change.action is not Action.DELETED]
    if read is None:
        told += [_one(rules, event, past) for event in rest]
    elif read.reading is None:
        told += [_end(event, EventState.IGNORED, GONE) for event in rest]
    elif rest:
        told.append(_over(rules, rest, read.reading, past))
    return Settled(
        tuple(pair for part in told for pair in part.mapped),
        tuple(end for part in told for end in part.ended),
        next((part.record for part in told if part.record is not None), None),
        tuple(pair for part in told for pair in part.told),
    )


def _departure(rules: Rules, event: Event, past: Versions) -> Settled:
    """Map a deletion, where the configuration has something to say of it."""
    if event.change.merged_into is not None:
        return _end(event, EventState.IGNORED, f"merged into {event.change.merged_into} in the CRM")
    chosen = _rules(rules, event, past)
    if isinstance(chosen, str):
        return _unreplayable(event, chosen)
    if chosen.deleted is None:
        return _end(event, EventState.IGNORED, "deleted in the CRM")
    return _told(event, event.change, chosen.deleted)


def _one(rules: Rules, event: Event, past: Versions) -> Settled:
    chosen = _rules(rules, event, past)
    if isinstance(chosen, str):
        return _unreplayable(event, chosen)
    if chosen.leaves_out(event.change):
        return _left_out([event])
    return _told(event, event.change, chosen.mapping)


def _rules(rules: Rules, event: Event, past: Versions) -> Rules | str:
    version = event.replay_version
    return rules if version is None else past.get((version, event.source), NOT_KEPT)


def _unreplayable(event: Event, why: str) -> Settled:
    reason = f"the configuration {event.replay_version} {why}; replay it with the present one"
    return _end(event, EventState.DEAD, reason)


def _told(event: Event, change: Change, mapping: RuleSet) -> Settled:
    result = mapping.apply(change)
    told = ((event, result),)
    if result.faults:
        end = Disposition(event.id, EventState.DEAD, f"cannot be mapped: {'; '.join(result.faults)}")
        return Settled(ended=(end,), told=told)
    if not result.fields:
        reason = NOT_READ if change.thin and not change.values else NO_FIELD
        return Settled(ended=(Disposition(event.id, EventState.IGNORED, reason),), told=told)
    return Settled(mapped=told, told=told)


def _end(event: Event, state: EventState, reason: str) -> Settled:
    return Settled(ended=(Disposition(event.id, state, reason),))


def _left_out(events: Sequence[Event]) -> Settled:
    """End events that the filter does not let through; the last of them speaks for the record."""
    ended = tuple(Disposition(event.id, EventState.IGNORED, FILTERED) for event in events)
    return Settled(ended=ended, told=((events[-1], Mapped({})),))


def _over(rules: Rules, events: Sequence[Event], reading: Reading, past: Versions) -> Settled:
    """Let one event carry the record as it was read, and the others end by it or as it does.

    The record may be older than what some events say of it, since a CRM's answers may lag behind its webhooks: those
    values are laid over it, and each field is of the time of the value that it came from. Replays by other rules carry
    the record too, as those make it.
    """
    ordered = sorted(events, key=lambda event: event.order)
    layers = _layers(ordered, reading)
    versions = dict.fromkeys(event.replay_version for event in ordered)
    alike = [[event for event in ordered if event.replay_version == version] for version in versions]
    told = [_carried(rules, group, layers, past) for group in alike]
    return Settled(
        tuple(pair for part in told for pair in part.mapped),
        tuple(end for part in told for end in part.ended),
        replace(ordered[-1].change, values=layers[-1].values, thin=False),
        tuple(pair for part in told for pair in part.told),
    )


def _carried(rules: Rules, ordered: Sequence[Event], layers: Sequence[_Layer], past: Versions) -> Settled:
    """Let the newest of events by the same rules carry the record, of those that the filter lets through.

    Each is asked for itself, with the record around it: who made a change and what it changed is its own.
    """
    chosen = _rules(rules, ordered[0], past)
    if isinstance(chosen, str):
        return Settled(ended=tuple(end for event in ordered for end in _unreplayable(event, chosen).ended))
    through: list[Event] = []
    filtered: list[Event] = []
    for event in ordered:
        whole = replace(event, change=replace(event.change, values=layers[-1].values, thin=False))
        (filtered if chosen.leaves_out(whole.change) else through).append(whole)
    if not through:
        return _left_out(filtered)
    carrier = replace(through[-1], change=replace(through[-1].change, changed_fields=_changed(through)))
    told = _told(carrier, carrier.change, chosen.mapping)
    keys = _keys(chosen, carrier.change, layers)
    mapped = tuple((event, replace(result, order_keys=keys)) for event, result in told.mapped)
    left_out = _left_out(filtered).ended if filtered else ()
    ended = (*told.ended, *(_like(told, carrier, event) for event in through[:-1]), *left_out)
    return Settled(mapped, ended, told=told.told)


def _layers(ordered: Sequence[Event], reading: Reading) -> list[_Layer]:
    """Return the record as read, and over it, by their time, what events say that it does not show yet."""
    read_us = 0 if reading.updated_at is None else to_micros(reading.updated_at)
    said = {name: (event.order_key, value) for event in ordered for name, value in event.change.values.items()}
    later = {name: (at, value) for name, (at, value) in said.items() if at > read_us}
    shown = {name for name, (_, value) in later.items() if _shows(reading.values, name, value)}
    held = [event.order_key for event in ordered if _holds(reading, event)]
    # What came back was as it is when it came back, though its own time may be of before it went.
    back = [event.order_key for event in ordered if event.change.action is Action.RESTORED]
    layers = [_Layer(max([read_us, *held, *back]), reading.values)]
    for time in sorted({at for at, _ in later.values()}):
        values = {name: value for name, (at, value) in later.items() if at == time}
        unseen = {name: value for name, value in values.items() if name not in shown}
        layers.append(_Layer(time, {**layers[-1].values, **unseen}, frozenset(values.keys() & shown)))
    return layers


def _shows(record: Record, name: str, value: Json) -> bool:
    return name in record and same_value(value, record[name])


def _changed(ordered: Sequence[Event]) -> tuple[str, ...] | None:
    """Return every field that one of the events lists as changed, None where one does not tell."""
    listed = [event.change.changed_fields for event in ordered]
    known = [names for names in listed if names is not None]
    return tuple(dict.fromkeys(name for names in known for name in names)) if len(known) == len(listed) else None


def _keys(rules: Rules, change: Change, layers: Sequence[_Layer]) -> dict[str, int]:
    """Say of when each field is: of the last time from which on the rules make its value, or that it was told again."""
    keys: dict[str, int] = {}
    before: Record = {}
    for layer in layers:
        fields = rules.mapping.apply(replace(change, values=layer.values)).fields
        told = rules.mapping.fed_by(layer.shown)
        new = [name for name, value in fields.items() if name in told or name not in before or before[name] != value]
        keys |= {name: max(layer.order_key, keys.get(name, layer.order_key)) for name in new}
        before = fields
    return keys


def _like(told: Settled, carrier: Event, event: Event) -> Disposition:
    """End an event with the one that carries the record: by it, or where that ends here, as it does.

    A dead one alone would not say again what the others did, once it is replayed.
    """
    if told.mapped:
        return Disposition(event.id, EventState.MERGED, READ, carrier.id)
    (end,) = told.ended
    return Disposition(event.id, end.state, end.reason)
