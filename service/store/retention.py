"""Ageing out: payloads first, then what ended long ago, walked in small batches so that nobody waits for it.

The newest row of each table stays however old it is: SQLite gives the id of a newest row that is gone once more, and
what is known of contacts goes on naming events, deliveries and attempts that aged out.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Column, Connection, Select, and_, delete, exists, func, select, text, update

from service.model import DeliveryState, EventState, to_micros
from service.schema import SHADOWED, attempts, deliveries, events, requests
from service.store.database import Database
from service.store.intake import LANE_BITS
from service.store.shadow import forget_shadow

BATCH: Final = 500
"""Rows that one transaction looks at."""

_WAITS: Final = {EventState.PENDING, EventState.DEAD}
_ENDED: Final = [state.value for state in EventState if state not in _WAITS]
_SPENT: Final = [state.value for state in EventState if state not in {*_WAITS, EventState.SHADOWED}]
"""Those whose payload nobody needs any more; what is shadowed would still be sent once its source goes live."""
_CLOSED: Final = [DeliveryState.DELIVERED.value, DeliveryState.SKIPPED.value]


@dataclass(frozen=True, slots=True)
class Aged:
    """What one batch let go: payloads, and whole rows; and the id to go on after, None at the end."""

    payloads: int = 0
    rows: int = 0
    last_id: int | None = None


class Retention:
    """Lets go of what is old. What waits, for ChartMogul or for a person, keeps its payload however old it is.

    What waits for its source to go live keeps it for as long as the log is kept. With it goes what it would have left
    in its contact.
    """

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
        step = _step(events.c.id, events.c.received_at, after)

        def run(connection: Connection) -> Aged:
            # By the range of their ids, so that those where nothing is to do are not fetched: most are, every hour.
            count, last_id, oldest = connection.execute(step).one()
            if not count:
                return Aged()
            ended = and_(events.c.id > after, events.c.id <= last_id, events.c.state.in_(_ENDED))
            old = (ended, events.c.decided_at < log_before, *_DISPENSABLE)
            forget_shadow(connection, connection.execute(_SHADOWED.where(*old)).all())
            gone = connection.execute(delete(events).where(*old))
            spent = events.c.state.in_(_SPENT)
            stale = and_(ended, spent, events.c.received_at < payloads_before, events.c.change.is_not(None))
            emptied = connection.execute(update(events).where(stale).values(change=None))
            more = count == BATCH and oldest < payloads_before
            return Aged(emptied.rowcount, gone.rowcount, last_id if more else None)

        return await self._database.write(run)

    async def deliveries(self, *, after: int, log_before: datetime) -> Aged:
        """Delete the next deliveries after an id that closed before and have no event left, with their attempts."""
        step = _step(deliveries.c.id, deliveries.c.opened_at, after)

        def run(connection: Connection) -> Aged:
            count, last_id, oldest = connection.execute(step).one()
            if not count:
                return Aged()
            here = and_(deliveries.c.id > after, deliveries.c.id <= last_id)
            closed = and_(deliveries.c.state.in_(_CLOSED), deliveries.c.closed_at < log_before)
            gone = list(connection.execute(select(deliveries.c.id).where(here, closed, *_LEFT_BEHIND)).scalars())
            if gone:
                connection.execute(delete(attempts).where(attempts.c.delivery_id.in_(gone)))
                connection.execute(delete(deliveries).where(deliveries.c.id.in_(gone)))
            more = count == BATCH and oldest < log_before
            return Aged(0, len(gone), last_id if more else None)

        return await self._database.write(run)


def _step(number: Column[int], age: Column[datetime], after: int) -> Select[int, int, datetime]:
    """Select how many rows the next batch after an id has, its last id, and how old its oldest row is."""
    looked_at = (
        select(number.label("id"), age.label("at")).where(number > after).order_by(number).limit(BATCH).subquery()
    )
    return select(func.count(), func.max(looked_at.c.id), func.min(looked_at.c.at))


_SHADOWED: Final[Select[Any]] = select(events.c.id, events.c.account, events.c.attempt_id).where(text(SHADOWED))
_OTHER: Final = events.alias("other")
_DISPENSABLE: Final = (
    # Those that another one names as what it ended by go after it.
    ~exists().where(_OTHER.c.by_event_id == events.c.id),
    events.c.id < select(func.max(_OTHER.c.id)).scalar_subquery(),
)
_OTHER_DELIVERY: Final = deliveries.alias("other")
_TRIED_LAST: Final = select(attempts.c.delivery_id).order_by(attempts.c.id.desc()).limit(1).scalar_subquery()
_LEFT_BEHIND: Final = (
    ~exists().where(events.c.delivery_id == deliveries.c.id),
    deliveries.c.id < select(func.max(_OTHER_DELIVERY.c.id)).scalar_subquery(),
    deliveries.c.id != func.coalesce(_TRIED_LAST, 0),
)
