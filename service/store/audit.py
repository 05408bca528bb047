"""Whether the books close: every change in the log accounted for, exactly once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, exists, func, select, text

from service.model import DeliveryState, EventState
from service.schema import OPEN, attempts, deliveries, events

OFFENDERS_MAX: Final = 20
"""Ids that one finding names."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A book that does not close: what is wrong, with how many, and the first of them."""

    name: str
    count: int
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Books:
    """The log's accounts as of one instant: how many events there are in all and by state, and what is wrong."""

    total: int
    events: Mapping[str, int]
    findings: tuple[Finding, ...]


def audit(connection: Connection) -> Books:
    """Close the books, in one transaction, so that a running service cannot blur them. Reads the whole log."""
    total = connection.execute(select(func.count()).select_from(events)).scalar_one()
    grouped = connection.execute(select(events.c.state, func.count()).group_by(events.c.state))
    counts = dict(sorted(tuple(row) for row in grouped))
    found = [_finding(connection, name, offending) for name, offending in _books().items()]
    return Books(total, counts, tuple(finding for finding in found if finding.count))


def _finding(connection: Connection, name: str, offending: Select[Any]) -> Finding:
    count = connection.execute(select(func.count()).select_from(offending.subquery())).scalar_one()
    ids = connection.execute(offending.order_by("id").limit(OFFENDERS_MAX)).scalars() if count else ()
    return Finding(name, count, tuple(ids))


def _books() -> dict[str, Select[Any]]:
    owed = exists().where(
        deliveries.c.source == events.c.source,
        deliveries.c.object_id == events.c.object_id,
        text(OPEN),
    )
    attempted = exists().where(attempts.c.id == events.c.attempt_id)
    lettered = exists().where(deliveries.c.id == events.c.delivery_id, deliveries.c.state == DeliveryState.DEAD.value)
    other = events.alias("other")
    # One that aged out before this one ended is named, and gone: its id is the smaller one, and was never given again.
    smaller = events.c.by_event_id.is_not(None) & (events.c.by_event_id < events.c.id)
    aged_out = smaller & ~exists().where(other.c.id == events.c.by_event_id)
    named = exists().where(other.c.id == events.c.by_event_id, other.c.id != events.c.id) | aged_out
    states, duties = [state.value for state in EventState], [state.value for state in DeliveryState]
    twice = (
        select(func.min(deliveries.c.id).label("id"))
        .where(text(OPEN))
        .group_by(deliveries.c.source, deliveries.c.object_id)
        .having(func.count() > 1)
    )
    ended = events.c.state.in_([state.value for state in EventState if state is not EventState.PENDING])
    return {
        "events in no known state": select(events.c.id).where(events.c.state.not_in(states)),
        "deliveries in no known state": select(deliveries.c.id).where(deliveries.c.state.not_in(duties)),
        "pending events without an open delivery": select(events.c.id).where(events.c.state == "pending", ~owed),
        "ended events without the time of their end": select(events.c.id).where(ended, events.c.decided_at.is_(None)),
        "delivered events without an attempt": select(events.c.id).where(events.c.state == "delivered", ~attempted),
        "merged events that name no other event": select(events.c.id).where(events.c.state == "merged", ~named),
        "dead events without a dead letter": select(events.c.id).where(events.c.state == "dead", ~lettered),
        "shadowed events without an attempt": select(events.c.id).where(events.c.state == "shadowed", ~attempted),
        "ignored events without a reason": select(events.c.id).where(
            events.c.state == "ignored", events.c.reason.is_(None)
        ),
        "contacts with two open deliveries": twice,
    }
