"""Delivery's side of the log: claim what is due, read what it is about, give back what was not tried."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Integer, Row, and_, bindparam, func, or_, select, update

from service.model import Conclusion, Delivery, DeliveryState, Event, Link, Owed, Priority
from service.schema import accounts, deliveries, events
from service.store.attributes import SeenAttributes
from service.store.contacts import release_holds
from service.store.database import Database
from service.store.lease import HELD, LINKED, PENDING, lease, link_of, pending_of
from service.store.lost import take_back
from service.store.opening import Opening
from service.store.payloads import unpack_change
from service.store.record import Recorder

EVENTS_PER_TRY_MAX: Final = 1_000
"""Pending events of one contact that one try takes up; the rest keep the delivery open."""


class Deliveries:
    """Claims and conclusions: the part of the log that the worker lives on."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._attributes = SeenAttributes(database)
        self._recorder = Recorder(database, self._attributes)
        self._opening = Opening(database)

    async def claim(  # a claim is all of this
        self,
        *,
        account: str,
        owner: str,
        now: datetime,
        lease_until: datetime,
        limit: int,
        limit_later: int | None = None,
    ) -> list[Delivery]:
        """Take up to ``limit`` due deliveries of an account that is neither paused nor slowed, oldest due first.

        What is not live comes last, and only as far as ``limit_later`` in all: what a CRM sends next waits behind it.
        """
        asked = {"claim_account": account, "claim_at": now, "new_owner": owner, "new_until": lease_until}

        def take(connection: Connection) -> list[Row[Any]]:
            # Asked first, and one priority after the other: then each is a short walk along the index, whatever waits.
            if connection.execute(_HELD_BACK, {"claim_account": account, "claim_at": now}).first() is not None:
                return []
            taken: list[Row[Any]] = []
            for priority in Priority:
                bound = limit if priority is Priority.LIVE or limit_later is None else min(limit, limit_later)
                if len(taken) < bound:
                    due = asked | {"claim_priority": priority.value, "claim_limit": bound - len(taken)}
                    taken += connection.execute(_CLAIM, due).all()
            return taken

        rows = await self._database.write(take)
        # An UPDATE returns its rows in no order.
        return [_delivery(row) for row in sorted(rows, key=lambda row: (row.priority, row.due_at, row.id))]

    async def next_due(self, account: str) -> datetime | None:
        """Say when the account's earliest pending delivery is due, or None when none is pending."""

        # One look at the index for each priority; a plain minimum would walk the whole backlog.
        def earliest(connection: Connection) -> datetime | None:
            asked = [{"claim_account": account, "claim_priority": priority.value} for priority in Priority]
            found = [connection.execute(_NEXT_DUE, one).scalar() for one in asked]
            return min((due_at for due_at in found if due_at is not None), default=None)

        return await self._database.read(earliest)

    async def pending(self, delivery: Delivery) -> Owed:
        """Return what the delivery is about: at most 1,000 events, its link, and whether that contact is in doubt."""

        def load(connection: Connection) -> Owed:
            found = tuple(_event(row) for row in connection.execute(_WAITING, pending_of(delivery)))
            link = connection.execute(LINKED, link_of(delivery)).first()
            return Owed(found, None) if link is None else Owed(found, Link(link[0], link[1]), in_doubt=bool(link[2]))

        return await self._database.read(load)

    async def record(self, delivery: Delivery, conclusion: Conclusion, *, now: datetime) -> bool:
        """Write down what came of a try, all in one transaction; False (and nothing written) if the lease was lost."""
        recorded = await self._database.write(
            lambda connection: self._recorder.record(connection, delivery, conclusion, now)
        )
        if recorded:
            self._attributes.noted(delivery.account, conclusion.seen_attributes)
        return recorded

    async def release(self, delivery: Delivery, *, due_at: datetime) -> None:
        """Give a lease, and the contact that it holds, back untried: nothing was sent."""
        back = (
            update(deliveries)
            .where(HELD)
            .values(state=DeliveryState.PENDING.value, lease_owner=None, lease_until=None, due_at=due_at)
        )

        def give_back(connection: Connection) -> None:
            if connection.execute(back, lease(delivery)).rowcount:  # else another has the lease, and the contact for it
                release_holds(connection, [delivery.id], sent=False)

        await self._database.write(give_back)

    async def give_up(self, delivery: Delivery, *, now: datetime) -> bool:
        """Give back a lease whose outcome nobody will learn, before it runs out; False if it was lost already."""

        def give_back(connection: Connection) -> int:
            return take_back(connection, HELD, now, self._opening, named=lease(delivery), counts=False)

        return bool(await self._database.write(give_back))

    async def reclaim(self, *, now: datetime, everything: bool = False) -> int:
        """Take expired leases back, each as an attempt of unknown outcome; return how many.

        ``everything`` takes all of them: at the start of the only service on its store, no lease has a living owner.
        """
        left = deliveries.c.state == DeliveryState.LEASED.value
        if not everything:
            left = and_(left, deliveries.c.lease_until <= now)
        return await self._database.write(lambda connection: take_back(connection, left, now, self._opening))


_DELIVERY: Final = (
    deliveries.c.id,
    deliveries.c.account,
    deliveries.c.source,
    deliveries.c.object_id,
    deliveries.c.attempts,
    deliveries.c.failing_since,
    deliveries.c.relinked,
    deliveries.c.fence,
    deliveries.c.outcome,
    deliveries.c.repeats,
)


# Built once: building a statement costs several times what it takes to run.
_HELD_BACK: Final = select(accounts.c.name).where(
    accounts.c.name == bindparam("claim_account"),
    or_(
        accounts.c.paused_at.is_not(None),
        accounts.c.slowed_until > bindparam("claim_at", type_=accounts.c.slowed_until.type),
    ),
)
_DUE_ONES: Final = (
    deliveries.c.state == DeliveryState.PENDING.value,
    deliveries.c.account == bindparam("claim_account"),
    deliveries.c.priority == bindparam("claim_priority"),
)
_NEXT_DUE: Final = select(func.min(deliveries.c.due_at)).where(*_DUE_ONES)
_DUE: Final = (
    select(deliveries.c.id)
    .where(*_DUE_ONES, deliveries.c.due_at <= bindparam("claim_at", type_=deliveries.c.due_at.type))
    .order_by(deliveries.c.due_at, deliveries.c.id)
    .limit(bindparam("claim_limit", type_=Integer))
    .with_for_update(skip_locked=True)
    .cte("due")  # as a plain subquery PostgreSQL may run it, and lock, more than once
)
_CLAIM: Final = (
    update(deliveries)
    .where(deliveries.c.id.in_(select(_DUE.c.id)))
    .values(
        state=DeliveryState.LEASED.value,
        fence=deliveries.c.fence + 1,
        settled_by=None,
        lease_owner=bindparam("new_owner"),
        lease_until=bindparam("new_until", type_=deliveries.c.lease_until.type),
    )
    .returning(*_DELIVERY, deliveries.c.priority, deliveries.c.due_at)
)
"""Leases what is due of one priority, oldest first."""
_WAITING: Final = select(events).where(PENDING).order_by(events.c.id).limit(EVENTS_PER_TRY_MAX)


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(*tuple(row)[: len(_DELIVERY)])


def _event(row: Row[Any]) -> Event:
    ended_before = row.config_version is not None
    return Event(
        row.id, row.source, row.received_at, row.order_key, unpack_change(row), row.replay_version, ended_before
    )
