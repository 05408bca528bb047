"""Mapped events as coalescing is given them, and a look at the plan that it makes."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from service.coalesce import Plan, plan
from service.model import Action, Carried, Change, Confirmed, Disposition, Doubt, Event, Json, Known, Mapped

AT: Final = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)

Given = Sequence[tuple[Event, Mapped]]
Fields = Mapping[str, Confirmed]


def event(number: int, order_key: int | None = None, *, source: str = "hubspot") -> Event:
    """Return an event that arrived as the ``number``-th; without a clock of the sender it is ordered by arrival."""
    change = Change(f"{source}-{number}", "contact", "51", Action.UPDATED)
    return Event(number, source, AT, number if order_key is None else order_key, change)


def one(number: int, fields: Mapping[str, Json], order_key: int | None = None) -> tuple[Event, Mapped]:
    """Return an event and what was made of it."""
    return event(number, order_key), Mapped(fields)


def confirmed(value: Json, number: int, order_key: int | None = None, *, certain: bool = True) -> Confirmed:
    """Return a field as the ``number``-th event set it."""
    by = event(number, order_key)
    return Confirmed(value, by.order, by.id, AT, certain=certain)


def carried(value: Json, number: int, order_key: int | None = None) -> Carried:
    """Return a value of the ``number``-th event as a PATCH carries it."""
    return Carried(value, event(number, order_key).order)


def merge(
    batch: Given,
    known: Fields | None = None,
    fresh: Mapping[str, Json] | None = None,
    *,
    doubts: Sequence[Doubt] = (),
    now: datetime = AT,
) -> Plan:
    """Plan a patch from events, what is known of the contact, and the contact as it was just read."""
    return plan(batch, Known(known or {}, tuple(doubts)), now=now, fresh=fresh)


def values(planned: Plan) -> dict[str, Json]:
    """Return what is to be sent."""
    return {name: sent.value for name, sent in planned.send.items()}


def end(planned: Plan, number: int) -> Disposition:
    """Return where an event ends."""
    (found,) = (disposition for disposition in planned.dispositions if disposition.event_id == number)
    return found


def after(known: Fields, planned: Plan) -> dict[str, Confirmed]:
    """Return what is known of a contact once a plan's PATCH was confirmed."""
    sent = {name: Confirmed(it.value, it.order, it.event_id, AT) for name, it in planned.send.items()}
    return {**known, **planned.kept, **sent}
