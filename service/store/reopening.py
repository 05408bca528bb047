"""Changes that ended become pending again: what a replay and going live share."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, update

from service.model import EventState, Priority
from service.schema import events
from service.store.opening import CrmRecord, Opening


def open_for(
    connection: Connection, opening: Opening, rows: Sequence[Row[Any]], now: datetime, *, changes: int = 1
) -> set[CrmRecord]:
    """Open the deliveries of the records that rows are about, behind what CRMs send now; return the records."""
    counts: dict[CrmRecord, int] = {}
    for row in rows:
        record = CrmRecord(row.account, row.source, row.object_id)
        counts[record] = counts.get(record, 0) + changes
    # In one order everywhere, so that two replicas never wait for each other.
    for record in sorted(counts, key=lambda one: (one.source, one.object_id)):
        opening.open(connection, record, due_at=now, now=now, priority=Priority.REPLAY, changes=counts[record])
    return set(counts)


def make_pending(connection: Connection, ids: Sequence[int], version: str | None = None, *, then: bool = False) -> None:
    """Let events wait again, to be mapped by a version, by the one that mapped them ``then``, or by the present one."""
    fresh: dict[str, Any] = {
        "state": EventState.PENDING.value,
        "reason": None,
        "decided_at": None,
        "delivery_id": None,
        "attempt_id": None,
        "by_event_id": None,
        "replay_version": events.c.config_version if then else version,
    }
    connection.execute(update(events).where(events.c.id.in_(ids)).values(fresh))
