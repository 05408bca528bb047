"""Replay: a dead letter's events become pending again, in an open delivery of their contact."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, func, select, text, update

from service.errors import NotFound
from service.model import DeliveryState, EventState
from service.schema import OPEN, deliveries, events

PRIORITY: Final = 1
"""Replays wait behind what CRMs send now."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay set going: how many events, and in which delivery."""

    events: int
    delivery_id: int


def replay(connection: Connection, upsert: Callable[[Any], Any], delivery_id: int, now: datetime) -> Replayed:
    """Make a dead letter's events pending again. Raises NotFound when there is no such dead letter."""
    letter = connection.execute(
        select(deliveries)
        .where(deliveries.c.id == delivery_id, deliveries.c.state == DeliveryState.DEAD.value)
        .with_for_update()
    ).first()
    if letter is None:
        raise NotFound(f"delivery {delivery_id} is not a dead letter", hint="see `dead-letters` for those that are")
    theirs = (events.c.delivery_id == delivery_id, events.c.state == EventState.DEAD.value)
    count = connection.execute(select(func.count()).where(*theirs)).scalar_one()
    fresh = {
        "account": letter.account,
        "source": letter.source,
        "object_id": letter.object_id,
        "state": DeliveryState.PENDING.value,
        "priority": PRIORITY,
        "changes": count,
        "opened_at": now,
        "due_at": now,
    }
    opened = (
        upsert(deliveries)
        .values(fresh)
        .on_conflict_do_update(
            index_elements=["source", "object_id"],
            index_where=text(OPEN),
            set_={"changes": deliveries.c.changes + count},
        )
        .returning(deliveries.c.id)
    )
    open_id: int = connection.execute(opened).scalar_one()
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery_id)
        .values(state=DeliveryState.SKIPPED.value, reason=f"replayed as delivery {open_id}")
    )
    connection.execute(
        update(events)
        .where(*theirs)
        .values(state=EventState.PENDING.value, reason=None, decided_at=None, delivery_id=None, attempt_id=None)
    )
    return Replayed(count, open_id)
