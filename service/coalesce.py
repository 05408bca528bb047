"""Many events of one contact become one patch, and one answer becomes each event's end; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from service.model import Confirmed, Disposition, Event, EventState, Json, Mapped, Record

CUSTOM: Final = "custom."
"""Before the name of a custom attribute, in every field name of ours."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A field to send: its value and the event that set it."""

    value: Json = field(repr=False)
    event: Event


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send for one contact, and where each of its events ends once that is confirmed."""

    send: Mapping[str, Planned]
    dispositions: tuple[Disposition, ...]
    kept: Mapping[str, Confirmed]
    """Fields that ChartMogul holds already: the values stand, but their order moves on."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a PATCH's answer says of the fields that were sent."""

    confirmed: tuple[str, ...]
    ignored: tuple[str, ...]
    """Custom attributes that did not come back: ChartMogul does not know them."""
    adjusted: tuple[str, ...]
    """Fields that came back with another value than was sent."""


def plan(
    mapped: Sequence[tuple[Event, Mapped]], known: Mapping[str, Confirmed], fresh: Mapping[str, Json] | None = None
) -> Plan:
    """Choose for each field the newest value, drop what is older than confirmed or there already.

    ``known`` is what ChartMogul confirmed before; ``fresh`` is the contact as just read, where it was read. The order
    in which events are given does not matter. Events with faults are not the business of a plan: leave them out.
    """
    newest: dict[str, Planned] = {}
    for event, result in sorted(mapped, key=lambda pair: pair[0].order):
        newest.update({name: Planned(value, event) for name, value in result.fields.items()})
    send: dict[str, Planned] = {}
    kept: dict[str, Confirmed] = {}
    for name, planned in newest.items():
        before = known.get(name)
        if before is not None and before.order > planned.event.order:
            continue  # a newer value is there already
        if _is_there(name, planned.value, before, fresh):
            confirmed_at = before.confirmed_at if before else None
            kept[name] = Confirmed(planned.value, planned.event.order, planned.event.id, confirmed_at)
        else:
            send[name] = planned
    carrier = max((planned.event for planned in send.values()), key=lambda event: event.order, default=None)
    ends = tuple(_end(event, result, newest, send, known, carrier) for event, result in mapped)
    return Plan(send, ends, kept)


def patch_body(fields: Record, *, clear_with: str | None = None) -> dict[str, Json]:
    """Make the exact body of a PATCH: custom attributes as ChartMogul wants them, an array of key and value."""
    body: dict[str, Json] = {}
    custom: list[Json] = []
    for name, value in fields.items():
        sent = clear_with if value is None else value
        if name.startswith(CUSTOM):
            custom.append({"key": name[len(CUSTOM) :], "value": sent})
        else:
            body[name] = sent
    return {**body, "custom": custom} if custom else body


def contact_fields(contact: Record) -> dict[str, Json]:
    """Give a contact as the API returns it our field names; ``custom`` may be an object or an array."""
    fields = {name: value for name, value in contact.items() if name != "custom"}
    custom = contact.get("custom")
    if isinstance(custom, dict):
        fields.update({CUSTOM + name: value for name, value in custom.items()})
    elif isinstance(custom, list):
        pairs = [pair for pair in custom if isinstance(pair, dict) and isinstance(pair.get("key"), str)]
        fields.update({f"{CUSTOM}{pair['key']}": pair.get("value") for pair in pairs})
    return fields


def compare(sent: Record, answer: Record) -> Comparison:
    """Compare what was asked for with the contact that came back, knowing how ChartMogul writes values."""
    returned = contact_fields(answer)
    ignored = tuple(
        name
        for name, value in sent.items()
        if name.startswith(CUSTOM) and name not in returned and not _is_blank(value)
    )
    # Standard fields that are absent are a matter of the API's version, not of the value.
    adjusted = tuple(name for name, value in sent.items() if name in returned and not same_value(value, returned[name]))
    confirmed = tuple(name for name in sent if name not in ignored)
    return Comparison(confirmed, ignored, adjusted)


def same_value(ours: Json, theirs: Json) -> bool:
    """Say whether two values are the same to ChartMogul: null is blank, 3 is "3", an instant is an instant."""
    if _is_blank(ours) or _is_blank(theirs):
        return _is_blank(ours) and _is_blank(theirs)
    if isinstance(ours, bool) or isinstance(theirs, bool):
        return str(ours).lower() == str(theirs).lower()
    if ours == theirs or str(ours) == str(theirs):
        return True
    return _as_number(ours, theirs) or _as_instant(ours, theirs)


def _is_blank(value: Json) -> bool:
    return value is None or value == ""


def _as_number(ours: Json, theirs: Json) -> bool:
    if not isinstance(ours, int | float) and not isinstance(theirs, int | float):
        return False  # two texts that differ are two values, "1.0" and "1.00" too
    try:
        return float(str(ours)) == float(str(theirs))
    except ValueError:
        return False


def _as_instant(ours: Json, theirs: Json) -> bool:
    try:
        first, second = datetime.fromisoformat(str(ours)), datetime.fromisoformat(str(theirs))
    except ValueError:
        return False
    return (first.tzinfo is None) == (second.tzinfo is None) and first == second


def _is_there(name: str, value: Json, before: Confirmed | None, fresh: Mapping[str, Json] | None) -> bool:
    """Say whether sending could be left out. An uncertain field never can: what was sent may still land."""
    if before is not None and not before.certain:
        return False
    if fresh is not None:
        return name in fresh and same_value(value, fresh[name])
    return before is not None and same_value(value, before.value)


def _end(
    event: Event,
    result: Mapped,
    newest: Mapping[str, Planned],
    send: Mapping[str, Planned],
    known: Mapping[str, Confirmed],
    carrier: Event | None,
) -> Disposition:
    """Say where an event ends: it is the newest of the patch, went out with it, was overtaken, or changed nothing."""
    if carrier is not None and event.id == carrier.id:
        return Disposition(event.id, EventState.DELIVERED)
    if carrier is not None and any(planned.event.id == event.id for planned in send.values()):
        return Disposition(event.id, EventState.MERGED, "its values went out with a newer event", carrier.id)
    if not result.fields:
        return Disposition(event.id, EventState.IGNORED, "no mapped field in it")
    for name in result.fields:
        winner, before = newest[name].event, known.get(name)
        if before is not None and before.order > event.order and before.event_id not in {None, event.id}:
            return Disposition(event.id, EventState.MERGED, "a newer value was delivered before", before.event_id)
        if winner.id != event.id:
            return Disposition(event.id, EventState.MERGED, "overtaken by a newer event", winner.id)
    return Disposition(event.id, EventState.UNCHANGED, "ChartMogul has these values already")
