"""Intake: arrivals become events, and those that wait at the same time share one synced commit."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, case, delete, func, or_, text

from service.errors import Overloaded, StoreError, StoreUnavailable
from service.model import Arrival, Change, DeliveryState, EventState, Receipt, to_micros
from service.schema import OPEN, deliveries, events, requests, source_marks
from service.store.database import Database, upserting
from service.store.payloads import pack_change, pack_request
from service.store.prepared import Prepared

GROUP_MAX: Final = 256
"""Arrivals that share one commit at most."""
BURST: Final = 8
"""Arrivals in one group from which speed counts more than space: then nothing is compressed."""
LANE_BITS: Final = 10
FUTURE_MAX_S: Final = 3600
"""A sender's clock further ahead of ours than this is not believed: arrival orders the change instead."""

_PENDING: Final = EventState.PENDING.value

_Waiting = tuple[Arrival, asyncio.Future[Receipt]]


class Intake:
    """Appends arrivals to the log, each known change once.

    While one group is being synced the next gathers, so that the disk is asked once for all of them.
    """

    def __init__(self, database: Database, *, waiting_max: int) -> None:
        self._database = database
        self._waiting_max = waiting_max
        self._waiting: list[_Waiting] = []
        self._group: list[_Waiting] = []
        self._committer: asyncio.Task[None] | None = None
        self._statements = _Statements(database)

    async def append(self, arrival: Arrival) -> Receipt:
        """Return once every change of the arrival is committed and synced, or was there already.

        Raises Overloaded when too many wait, StoreUnavailable when the database does not take it; then nothing is kept.
        """
        if len(self._waiting) >= self._waiting_max:
            raise Overloaded(f"{self._waiting_max} requests wait for the log already")
        stored: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.append((arrival, stored))
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit_groups())
            self._committer.add_done_callback(self._end)
        return await stored

    async def _commit_groups(self) -> None:
        while self._waiting:
            self._group, self._waiting = self._waiting[:GROUP_MAX], self._waiting[GROUP_MAX:]
            await self._commit(self._group)
            self._group = []

    def _end(self, committer: asyncio.Task[None]) -> None:
        """Turn away who is left where committing was broken off: nobody else would ever answer them."""
        if self._group or committer.cancelled():
            left, self._group, self._waiting = [*self._group, *self._waiting], [], []
            _refuse(left, StoreUnavailable("the log was broken off while it stored this", hint="send it again"))

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        arrivals = [arrival for arrival, _ in group]
        try:
            receipts = await self._database.write(partial(self._statements.append, arrivals))
        except StoreError as error:
            if len(group) == 1 or isinstance(error, StoreUnavailable):
                _refuse(group, error)
                return
            # One arrival that the database cannot hold must not take the others with it.
            for single in group:
                await self._commit([single])
            return
        for (_, stored), receipt in zip(group, receipts, strict=True):
            if not stored.done():  # the sender may have gone
                stored.set_result(receipt)


class _Statements:
    """The statements of one append, built once."""

    def __init__(self, database: Database) -> None:
        upsert = upserting(database)
        self._insert_requests = Prepared(upsert(requests), ("id", "source", "received_at", "raw"))
        self._ids = _Ids()
        self._insert_events = Prepared(
            upsert(events)
            .on_conflict_do_nothing(index_elements=["source", "dedup_key"])
            .returning(events.c.request_id, events.c.account, events.c.source, events.c.object_id, events.c.state),
            _EVENT,
        )
        self._open_deliveries = Prepared(_opening(upsert(deliveries)), _OPENED)
        marks = upsert(source_marks)
        self._mark_sources = marks.on_conflict_do_update(
            index_elements=["source"], set_={"received_at": marks.excluded.received_at}
        )

    def append(self, arrivals: Sequence[Arrival], connection: Connection) -> list[Receipt]:
        request_ids = self._append_requests(arrivals, connection)
        rows = [
            _event_row(change, arrival, request_id, compress=len(arrivals) < BURST)
            for arrival, request_id in zip(arrivals, request_ids, strict=True)
            for change in arrival.changes
        ]
        new = dict.fromkeys(request_ids, 0)
        owed: Counter[tuple[str, str, str]] = Counter()
        if rows:
            for request_id, account, source, object_id, state in self._insert_events.returning(connection, rows):
                new[request_id] += 1
                if state == EventState.PENDING:
                    owed[source, object_id, account] += 1
        empty = [request_id for request_id, count in new.items() if count == 0]
        if empty:  # nothing in it was new: there is nothing to read again
            connection.execute(delete(requests).where(requests.c.id.in_(empty)))
        now = arrivals[-1].received_at
        if owed:
            by_source = {arrival.source: arrival for arrival in arrivals}
            # In one order everywhere, so that two replicas never wait for each other.
            opened = [_opened(by_source[key[0]], key, changes, now) for key, changes in sorted(owed.items())]
            self._open_deliveries.run(connection, opened)
        marks = sorted({arrival.source for arrival in arrivals})
        connection.execute(self._mark_sources, [{"source": source, "received_at": now} for source in marks])
        return [
            Receipt(new[request_id], len(arrival.changes) - new[request_id], request_id if new[request_id] else None)
            for arrival, request_id in zip(arrivals, request_ids, strict=True)
        ]

    def _append_requests(self, arrivals: Sequence[Arrival], connection: Connection) -> list[int]:
        compress = len(arrivals) < BURST
        rows = [
            (
                self._ids.next(received_us := to_micros(arrival.received_at)),
                arrival.source,
                received_us,
                pack_request(arrival.request, compress=compress),
            )
            for arrival in arrivals
        ]
        self._insert_requests.run(connection, rows)
        return [row[0] for row in rows]


_EVENT: Final = (
    "source",
    "dedup_key",
    "request_id",
    "account",
    "object_type",
    "object_id",
    "action",
    "crm_event_id",
    "occurred_at",
    "order_key",
    "received_at",
    "state",
    "reason",
    "decided_at",
    "change",
)
_OPENED: Final = (
    "account",
    "source",
    "object_id",
    "state",
    "priority",
    "opened_at",
    "due_at",
    "settled_by",
    "changes",
)


def _opening(opened: Any) -> Any:  # noqa: ANN401  # either dialect's insert
    """Open a delivery, or join the one that is open.

    Joining changes little, but it locks the row: whoever is closing it must look again. Where the source lets its
    changes settle, each puts the delivery off by its window, though never past the time that the first one set. What
    waits for its next try after a failure goes on waiting; what a CRM sends now does not wait behind replays.
    """
    new = opened.excluded
    settled_by = func.coalesce(deliveries.c.settled_by, new.settled_by)
    own = new.opened_at + deliveries.c.settle_us  # that of a row which was met in the middle of a burst
    asked = case((new.due_at < own, own), else_=new.due_at)
    due_at = case((asked < settled_by, asked), else_=settled_by)
    unfailed = or_(deliveries.c.attempts == 0, deliveries.c.state == DeliveryState.LEASED.value)
    first = case((new.priority < deliveries.c.priority, new.priority), else_=deliveries.c.priority)
    return opened.on_conflict_do_update(
        index_elements=["source", "object_id"],
        index_where=text(OPEN),
        set_={
            "changes": deliveries.c.changes + new.changes,
            "priority": first,
            "settled_by": settled_by,
            "due_at": case((unfailed, due_at), else_=deliveries.c.due_at),
        },
    )


def _opened(arrival: Arrival, key: tuple[str, str, str], changes: int, now: datetime) -> tuple[Any, ...]:
    source, object_id, account = key
    at_us, settle = to_micros(now), arrival.settle
    due_us, settled_us = to_micros(now + settle.window), to_micros(now + settle.longest)
    return (account, source, object_id, _PENDING, arrival.priority.value, at_us, due_us, settled_us, changes)


class _Ids:
    """Ids for requests that need no round trip: the time in microseconds, and ten bits drawn once for this process.

    Rising, so that rows of one time lie together. Should two replicas ever draw alike within one microsecond, the
    database refuses the second, whose group is then tried again one by one, with new ids.
    """

    def __init__(self) -> None:
        self._lane = secrets.randbits(LANE_BITS)
        self._last_us = 0

    def next(self, received_us: int) -> int:
        """Return an id that this process has not given before."""
        self._last_us = max(received_us, self._last_us + 1)
        return (self._last_us << LANE_BITS) | self._lane


def _refuse(group: Sequence[_Waiting], error: StoreError) -> None:
    for _, stored in group:
        if not stored.done():  # the sender may have gone
            stored.set_exception(error)


def _event_row(change: Change, arrival: Arrival, request_id: int, *, compress: bool) -> tuple[Any, ...]:
    received_us = to_micros(arrival.received_at)
    order_key = change.order_key
    if order_key is None or order_key > received_us + FUTURE_MAX_S * 1_000_000:
        order_key = received_us
    state = EventState.PENDING if change.ignored is None else EventState.IGNORED
    return (
        arrival.source,
        change.dedup_key,
        request_id,
        arrival.account,
        change.object_type,
        change.object_id,
        change.action.value,
        change.crm_event_id,
        change.order_key,
        order_key,
        received_us,
        state.value,
        change.ignored,
        None if change.ignored is None else received_us,
        pack_change(change, compress=compress),
    )
