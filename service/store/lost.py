"""Lost leases: whoever had them will not say what came of the try, so it counts as one of unknown outcome."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from service.model import Attempt, Delivery, DeliveryState, EventState, Outcome, OutcomeKind
from service.schema import attempts, contacts, deliveries, events
from service.store.contacts import release_holds
from service.store.fields import unpack_carried
from service.store.lease import LINKED, PENDING, link_of, pending_of
from service.store.opening import CrmRecord, Opening
from service.store.record import attempt_row

LOST_MAX: Final = 10
"""Leases lost in a row after which a delivery is taken for what ends the process, and waits for a person."""
LOST_FREE: Final = 2
"""Leases lost in a row that are tried again at once: a restart is no reason to wait."""
LOST_WAIT: Final = timedelta(seconds=2)
"""After that: doubled with each lease, and spread, so that the guilty one is met apart from those beside it."""
SPREAD: Final = 8


def take_back(  # which leases, and what becomes of them
    connection: Connection,
    which: ColumnElement[bool],
    now: datetime,
    opening: Opening,
    *,
    named: Mapping[str, Any] = MappingProxyType({}),
    counts: bool = True,
) -> int:
    """Take the leases of those deliveries back, each as an attempt of unknown outcome; return how many there were.

    What it may have changed is what it held: nothing is sent before. ``named`` gives the parameters of ``which``.
    ``counts`` is False where the lease was given back rather than lost: then the delivery is no more suspect than
    before.
    """
    holding = deliveries.outerjoin(contacts, contacts.c.held_by == deliveries.c.id)
    asked = (
        select(deliveries, contacts.c.uuid, contacts.c.intent)
        .select_from(holding)
        .where(which)
        .with_for_update(skip_locked=True, of=deliveries)
    )
    rows = connection.execute(asked, dict(named)).all()
    for row in rows:
        _take_back_one(connection, row, row.lost + counts, now, opening)
    if rows:
        release_holds(connection, sorted({row.id for row in rows}), sent=True)
    return len({row.id for row in rows})


def _take_back_one(connection: Connection, row: Row[Any], lost: int, now: datetime, opening: Opening) -> None:
    poisoned = lost >= LOST_MAX
    detail = "the lease was lost before an outcome was recorded"
    if poisoned:
        detail += f", {lost} times in a row: something in it may be what ends the process"
    unknown = Outcome(OutcomeKind.UNKNOWN, detail=detail)
    fields = tuple(unpack_carried(row.intent))
    attempt_id: int = connection.execute(
        insert(attempts)
        .values(attempt_row(row.id, Attempt(now, 0, unknown, row.uuid, fields)))
        .returning(attempts.c.id)
    ).scalar_one()
    state = DeliveryState.DEAD if poisoned else DeliveryState.PENDING
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id == row.id)
        .values(
            state=state.value,
            lost=lost,
            attempts=row.attempts + (lost > LOST_FREE),
            lease_owner=None,
            lease_until=None,
            due_at=now + _wait(row.id, lost),
            outcome=unknown.kind.value,
            reason=detail,
            closed_at=now if poisoned else None,
        )
    )
    if poisoned:
        about = Delivery(row.id, row.account, row.source, row.object_id, 0, None, relinked=False, fence=row.fence)
        died = connection.execute(
            update(events)
            .where(PENDING)
            .values(
                state=EventState.DEAD.value,
                reason=detail,
                delivery_id=row.id,
                attempt_id=attempt_id,
                config_version=events.c.replay_version,  # of what the process that ended mapped it by, nothing is known
                decided_at=now,
            ),
            pending_of(about),
        )
        if died.rowcount and _in_doubt(connection, about):
            # The events must not take along what the contact is still owed because of a doubt.
            opening.open(connection, CrmRecord(row.account, row.source, row.object_id), due_at=now, now=now)


def _in_doubt(connection: Connection, delivery: Delivery) -> bool:
    linked = connection.execute(LINKED, link_of(delivery)).first()
    return linked is not None and bool(linked[2])


def _wait(delivery_id: int, lost: int) -> timedelta:
    if lost <= LOST_FREE:
        return timedelta(0)
    doubled: timedelta = LOST_WAIT * 2 ** (lost - LOST_FREE - 1)
    # Spread by the id: chance is not the store's to draw.
    return doubled * ((delivery_id % SPREAD + 1) / SPREAD)
