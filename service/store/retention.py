"""Ageing out: payloads first, then what ended long ago, walked in small batches so that nobody waits for it.

The newest row of each table stays however old it is: SQLite gives the id of a newest row that is gone once more, and
what is known of contacts goes on naming events, deliveries and attempts that aged out.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, and_, delete, exists, func, select, update

from service.model import DeliveryState, EventState, to_micros
from service.schema import attempts, deliveries, events, requests
from service.store.database import Database
from service.store.intake import LANE_BITS

BATCH: Final = 500
"""Rows that one transaction looks at."""

_ENDED: Final = [state.value for state in EventState if state not in {EventState.PENDING, EventState.DEAD}]
_CLOSED: Final = [DeliveryState.DELIVERED.value, DeliveryState.SKIPPED.value]


@dataclass(frozen=True, slots=True)
class Aged:
    """What one batch let go: payloads, and whole rows; and the id to go on after, None at the end."""

    payloads: int = 0
    rows: int = 0
    last_id: int | None = None


class Retention:
    """Lets go of what is old. What waits, for ChartMogul or for a person, keeps its payload however old it is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def requests(self, *, before: datetime) -> int:
        """Delete some of the requests that were received before; return how many."""
        # Their ids are the time of their arrival.
        old = select(requests.c.id).where(requests.c.id < to_micros(before) << LANE_BITS)
        gone = delete(requests).where(requests.c.id.in_(old.order_by(requests.c.id).limit(BATCH)))
        return await self._database.write(lambda connection: connection.execute(gone).rowcount)

    async def events(self, *, after: int, payloads_before: datetime, log_before: datetime) -> Aged:
        """Let the next events after an id go, or their payloads, as old as they are."""

        def run(connection: Connection) -> Aged:
            asked = (
                select(events.c.id, events.c.received_at, events.c.decided_at, events.c.state)
                .where(events.c.id > after)
                .order_by(events.c.id)
                .limit(BATCH)
            )
            rows = connection.execute(asked).all()
            ended = [row for row in rows if row.state in _ENDED]
            old = [row.id for row in ended if row.decided_at is not None and row.decided_at < log_before]
            stale = [row.id for row in ended if row.received_at < payloads_before]
            later = len(rows) < BATCH or min(row.received_at for row in rows) >= payloads_before
            gone = _delete_events(connection, old) if old else 0
            emptied = update(events).where(events.c.id.in_(stale), events.c.change.is_not(None)).values(change=None)
            payloads = connection.execute(emptied).rowcount if stale else 0
            return Aged(payloads, gone, None if later else rows[-1].id)

        return await self._database.write(run)

    async def deliveries(self, *, after: int, log_before: datetime) -> Aged:
        """Delete the next deliveries after an id that closed before and have no event left, with their attempts."""
        of_it = exists().where(events.c.delivery_id == deliveries.c.id)

        def run(connection: Connection) -> Aged:
            asked = select(deliveries.c.id).where(deliveries.c.id > after).order_by(deliveries.c.id).limit(BATCH)
            ids = list(connection.execute(asked).scalars())
            closed = and_(deliveries.c.state.in_(_CLOSED), deliveries.c.closed_at < log_before)
            newest = select(func.max(deliveries.c.id)).scalar_subquery()
            tried_last = select(attempts.c.delivery_id).order_by(attempts.c.id.desc()).limit(1).scalar_subquery()
            no_newest = and_(deliveries.c.id < newest, deliveries.c.id != func.coalesce(tried_last, 0))
            old = select(deliveries.c.id).where(deliveries.c.id.in_(ids), closed, ~of_it, no_newest)
            gone = list(connection.execute(old).scalars()) if ids else []
            if gone:
                connection.execute(delete(attempts).where(attempts.c.delivery_id.in_(gone)))
                connection.execute(delete(deliveries).where(deliveries.c.id.in_(gone)))
            return Aged(0, len(gone), ids[-1] if len(ids) == BATCH else None)

        return await self._database.write(run)


def _delete_events(connection: Connection, ids: list[int]) -> int:
    """Delete events, but for those that another one names as what it ended by: they go after it."""
    other = events.alias("other")
    named = exists().where(other.c.by_event_id == events.c.id)
    newest = select(func.max(events.c.id)).scalar_subquery()
    return connection.execute(delete(events).where(events.c.id.in_(ids), events.c.id < newest, ~named)).rowcount
