"""Many events of one contact become one patch, and one answer becomes each event's end; pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from service.model import (
    Carried,
    Confirmed,
    Disposition,
    Doubt,
    Event,
    EventState,
    Json,
    Known,
    Mapped,
    Order,
    Record,
)

CUSTOM: Final = "custom."
"""Before the name of a custom attribute, in every field name of ours."""

WITH_ANOTHER: Final = "its values went out with a newer event"
"""Why an event is merged whose values are not the newest of the patch, and are in it."""

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_INSTANT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ].+")


@dataclass(frozen=True, slots=True)
class Planned:
    """A field to send: its value, the order and id of the event that set it, and the rule that made it."""

    value: Json = field(repr=False)
    order: Order
    event_id: int | None
    rule: str | None = None

    @property
    def carried(self) -> Carried:
        """The value as it stands in an intent or a doubt."""
        return Carried(self.value, self.order)


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


def newest(mapped: Sequence[tuple[Event, Mapped]]) -> dict[str, Planned]:
    """Choose the newest value of each field. The order in which events are given does not matter."""
    chosen: dict[str, Planned] = {}
    for event, result in mapped:
        rules = {trace.target: trace.rule for trace in result.traces}
        for name, value in result.fields.items():
            order = _order(event, result, name)
            if name not in chosen or chosen[name].order < order:
                chosen[name] = Planned(value, order, event.id, rules.get(name))
    return chosen


def plan(
    mapped: Sequence[tuple[Event, Mapped]],
    known: Known,
    *,
    now: datetime,
    fresh: Mapping[str, Json] | None = None,
) -> Plan:
    """Choose for each field the newest value, drop what is older than confirmed or there already.

    ``known`` is what ChartMogul confirmed before; ``fresh`` is the contact as the API just returned it, where it was
    read. A confirmed value that an older one may have landed over by ``now`` is sent again. Events with faults are not
    the business of a plan: leave them out.
    """
    there = None if fresh is None else contact_fields(fresh)
    chosen, again = newest(mapped), _due_again(known, now)
    send: dict[str, Planned] = {
        name: Planned(confirmed.value, confirmed.order, confirmed.event_id, confirmed.rule)
        for name, confirmed in again.items()
    }
    kept: dict[str, Confirmed] = {}
    for name, planned in chosen.items():
        before = known.fields.get(name)
        if _overtaken(planned, before) is not None:
            continue  # a newer value is there already
        if name not in again and _is_there(name, planned.value, before, there):
            kept[name] = _kept(planned, before, now)
        else:
            send[name] = planned
    ids = {event.id for event, _ in mapped}
    carriers = [planned for planned in send.values() if planned.event_id in ids]
    carrier = max(carriers, key=lambda planned: planned.order).event_id if carriers else None
    ends = tuple(_end(event, result, chosen, send, known.fields, carrier) for event, result in mapped)
    return Plan(send, ends, kept)


def doubts_after(known: Known, *, since: datetime) -> tuple[Doubt, ...]:
    """Return the doubts that remain once a plan of ``since`` was carried out: those whose time has not come."""
    return tuple(doubt for doubt in known.doubts if doubt.until > since)


def again_at(doubts: Sequence[Doubt], fields: Mapping[str, Confirmed]) -> datetime | None:
    """Say when fields must be sent once more, since an older value may land over them; None where none can."""
    return min((doubt.until for doubt in doubts if _threatened(doubt, fields)), default=None)


def sure_of(fields: Mapping[str, Confirmed], doubts: Sequence[Doubt]) -> dict[str, Confirmed]:
    """Mark as uncertain what may yet take on another value, be it older or newer: then being there proves nothing."""
    unsure = {
        name
        for doubt in doubts
        for name, carried in doubt.fields.items()
        if name in fields and not same_value(fields[name].value, carried.value)
    }
    return {name: replace(one, certain=False) if name in unsure else one for name, one in fields.items()}


def _order(event: Event, result: Mapped, name: str) -> Order:
    """Return what newest wins goes by for one field of an event."""
    return (result.order_keys.get(name, event.order_key), event.id)


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
    first, second = str(ours), str(theirs)
    if not (_NUMBER.fullmatch(first) and _NUMBER.fullmatch(second)):
        return False  # "03" is a text that only looks like a number
    return Decimal(first) == Decimal(second)  # ids above 2^53 are one and the same to a float


def _as_instant(ours: Json, theirs: Json) -> bool:
    texts = str(ours), str(theirs)
    if not all(_INSTANT.fullmatch(text) for text in texts):
        return False
    try:
        # Without an offset it is not known which instant it is: to Python, it equals none that has one.
        first, second = (datetime.fromisoformat(text) for text in texts)
    except ValueError:
        return False
    return first == second


def _overtaken(planned: Planned, before: Confirmed | None) -> int | None:
    """Return the id of another event that set the field and is newer than this one, None where there is none.

    A field that no event set has no age: whatever the sender's clock says, an event is newer.
    """
    if before is None or before.event_id == planned.event_id or before.order <= planned.order:
        return None
    return before.event_id


def _kept(planned: Planned, before: Confirmed | None, now: datetime) -> Confirmed:
    """Let the order of a value that is there already move on; when it was confirmed, and by what, stays.

    Where nothing was known of the field, it was just seen to be there.
    """
    if before is None:
        return Confirmed(planned.value, planned.order, planned.event_id, now, rule=planned.rule)
    return replace(before, value=planned.value, order=planned.order, event_id=planned.event_id, rule=planned.rule)


def _due_again(known: Known, now: datetime) -> dict[str, Confirmed]:
    """Return the confirmed fields that an older value may have landed over by now."""
    due = [doubt for doubt in known.doubts if doubt.until <= now]
    return {name: known.fields[name] for doubt in due for name in _threatened(doubt, known.fields)}


def _threatened(doubt: Doubt, fields: Mapping[str, Confirmed]) -> list[str]:
    """Name the fields whose confirmed value is other than what the doubt may bring, and not older.

    One event has two values where it was mapped anew meanwhile. A field that no event set has nothing to send again.
    """
    return [
        name
        for name, carried in doubt.fields.items()
        if (confirmed := fields.get(name)) is not None
        and confirmed.event_id is not None
        and confirmed.order >= carried.order
        and not same_value(confirmed.value, carried.value)
    ]


def _is_there(name: str, value: Json, before: Confirmed | None, there: Mapping[str, Json] | None) -> bool:
    """Say whether sending could be left out. An uncertain field never can: what was sent may still land.

    Where both are known, both must agree: a contact was read before it was held, so another PATCH may have come in
    between; and what was confirmed may have been edited in ChartMogul since.
    """
    if before is not None and not before.certain:
        return False
    held = [] if before is None else [before.value]
    if there is not None and (name in there or name.startswith(CUSTOM)):
        held.append(there.get(name))  # a custom attribute that is not shown is not set
    return bool(held) and all(same_value(value, one) for one in held)


def _end(
    event: Event,
    result: Mapped,
    chosen: Mapping[str, Planned],
    send: Mapping[str, Planned],
    known: Mapping[str, Confirmed],
    carrier: int | None,
) -> Disposition:
    """Say where an event ends: it is the newest of the patch, went out with it, was overtaken, or changed nothing."""
    if event.id == carrier:
        return Disposition(event.id, EventState.DELIVERED)
    if any(planned.event_id == event.id for planned in send.values()):
        return Disposition(event.id, EventState.MERGED, WITH_ANOTHER, carrier)
    if not result.fields:
        return Disposition(event.id, EventState.IGNORED, "no mapped field in it")
    for name in result.fields:
        own = Planned(None, _order(event, result, name), event.id)
        winner, overtaken_by = chosen[name].event_id, _overtaken(own, known.get(name))
        if overtaken_by is not None:
            return Disposition(event.id, EventState.MERGED, "a newer value was delivered before", overtaken_by)
        if winner != event.id:
            return Disposition(event.id, EventState.MERGED, "overtaken by a newer event", winner)
    return Disposition(event.id, EventState.UNCHANGED, "ChartMogul has these values already")
