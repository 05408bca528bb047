"""Shadow mode's side of the log: what waits for its source to go live, and what contacts are owed because of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, exists, func, select, text, true, tuple_, update

from service.model import Confirmed, DeliveryState, Shadowed
from service.schema import OPEN, SHADOW_OWES, SHADOWED, attempts, contacts, deliveries, events, links
from service.store.database import Database
from service.store.fields import pack_shadow, unpack_doubts, unpack_shadow
from service.store.opening import CrmRecord, Opening
from service.store.reopening import make_pending, open_for

RECORDS: Final = 200
"""Records of one batch, whose shadowed changes go live together, so that one PATCH can carry them."""
EVENTS: Final = 2_000
"""Changes of one batch; what a record has beyond goes with the next."""
CHUNK: Final = 500
"""Ids that one statement names."""
OWED_MAX: Final = 500
"""Contacts that one look finds to be owed something."""


@dataclass(frozen=True, slots=True)
class WouldBe:
    """A field that would have been sent to a contact: how it came to be, and the source that it is from."""

    field: str
    shadowed: Shadowed
    source: str


class Shadows:
    """What sources in shadow mode left. Every method may be broken off and done again, on several replicas too."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._opening = Opening(database)

    async def waiting(self, sources: Collection[str]) -> list[str]:
        """Return those of the sources that have shadowed changes."""

        def read(connection: Connection) -> list[str]:
            asked = select(events.c.id).where(*_SHADOWED).limit(1)
            return [name for name in sources if connection.execute(asked.where(events.c.source == name)).first()]

        return await self._database.read(read)

    async def counts(self) -> dict[str, int]:
        """Count the shadowed changes by source."""
        counted = select(events.c.source, func.count()).where(text(SHADOWED)).group_by(events.c.source)
        return await self._database.read(lambda connection: dict(tuple(row) for row in connection.execute(counted)))

    async def reopen(self, source: str, *, now: datetime, until: datetime | None = None) -> int:
        """Let the shadowed changes of some records become pending again, oldest first; return how many there were.

        What they would have left in their contacts is forgotten: those are read afresh before the next PATCH. They go
        behind what CRMs send now, and obey the order like any replay. None are left once it returns 0, apart from those
        that ended after ``until``.
        """
        in_time = true() if until is None else events.c.decided_at <= until
        mine = (*_SHADOWED, events.c.source == source, in_time)
        oldest = select(events.c.object_id).where(*mine).order_by(events.c.id).limit(RECORDS)
        columns = (events.c.id, events.c.account, events.c.source, events.c.object_id, events.c.attempt_id)

        def run(connection: Connection) -> int:
            records = sorted(set(connection.execute(oldest).scalars()))
            theirs = (*mine, events.c.object_id.in_(records))
            asked: Select[Any] = select(*columns).where(*theirs).order_by(events.c.id).limit(EVENTS)
            rows = connection.execute(asked.with_for_update()).all()  # of two that go live at once, one does it
            if rows:
                open_for(connection, self._opening, rows, now)
                for chunk in _chunks(rows):
                    make_pending(connection, [row.id for row in chunk])
                forget_shadow(connection, rows)
            return len(rows)

        return await self._database.write(run)

    async def make_good(self, sources: Collection[str], *, now: datetime) -> int:
        """Let records of live sources send once more what shadow mode left undone; return how many there were.

        That is a confirmed value which an older one may have landed over: a delivery in shadow mode sends nothing, and
        so passes it on. A record whose delivery is open sees to it anyway; one that waits for a person is left alone.
        """
        its_own = (deliveries.c.source == links.c.source, deliveries.c.object_id == links.c.object_id)
        dead = exists().where(*its_own, deliveries.c.state == DeliveryState.DEAD.value)
        still_open = exists().where(*its_own, text(OPEN))
        asked = (
            select(links.c.account, links.c.contact_uuid, links.c.source, links.c.object_id, contacts.c.doubts)
            .join(contacts, (contacts.c.account == links.c.account) & (contacts.c.uuid == links.c.contact_uuid))
            .where(text(SHADOW_OWES), links.c.source.in_(sorted(sources)), ~still_open, ~dead)
            .order_by(links.c.source, links.c.object_id)
            .limit(OWED_MAX)
        )
        owed = await self._database.read(lambda connection: connection.execute(asked).all())
        due = [row for row in owed if min(doubt.until for doubt in unpack_doubts(row.doubts)) <= now]
        one_each = {(row.account, row.contact_uuid): CrmRecord(row.account, row.source, row.object_id) for row in due}

        def run(connection: Connection) -> None:
            for record in one_each.values():
                self._opening.open(connection, record, due_at=now, now=now)

        if one_each:
            await self._database.write(run)
        return len(one_each)


_SHADOWED: Final = (text(SHADOWED), events.c.change.is_not(None))


def forget_shadow(connection: Connection, rows: Sequence[Row[Any]]) -> None:
    """Forget what shadowed changes would have left in their contacts; each row has its id, account and attempt_id."""
    there: set[tuple[str, str]] = set()
    for chunk in _chunks(rows):
        tried = select(attempts.c.id, attempts.c.contact_uuid).where(
            attempts.c.id.in_({row.attempt_id for row in chunk if row.attempt_id is not None})
        )
        uuids = {row.id: row.contact_uuid for row in connection.execute(tried)}
        there |= {(row.account, uuids[row.attempt_id]) for row in chunk if uuids.get(row.attempt_id) is not None}
    _without(connection, sorted(there), {row.id for row in rows})


def would_be(connection: Connection, packed: bytes | None, known: Mapping[str, Confirmed]) -> tuple[WouldBe, ...]:
    """Return what would have been sent to a contact, field by field, and still waits for its source to go live.

    What a live source had confirmed since may have brought the value, or taken away one that was there.
    """
    sent = {name: one for name, one in (unpack_shadow(packed) or {}).items() if _is_to_be_sent(one, known.get(name))}
    asked = select(events.c.id, events.c.source).where(
        text(SHADOWED), events.c.id.in_({one.event_id for one in sent.values()})
    )
    sources = {row.id: row.source for row in connection.execute(asked)} if sent else {}
    return tuple(
        WouldBe(name, one, sources[one.event_id])
        for name, one in sorted(sent.items())
        if one.event_id is not None and one.event_id in sources
    )


def _is_to_be_sent(one: Shadowed, known: Confirmed | None) -> bool:
    if known is None or not known.certain or known.confirmed_at is None or known.confirmed_at <= one.at:
        return one.sent
    return one.value != known.value


def _without(connection: Connection, here: Sequence[tuple[str, str]], gone: Collection[int]) -> None:
    """Take out of contacts what some events would have left; empty, so that they are read before the next PATCH."""
    for start in range(0, len(here), CHUNK):
        asked = (
            select(contacts.c.account, contacts.c.uuid, contacts.c.shadow)
            .where(tuple_(contacts.c.account, contacts.c.uuid).in_(here[start : start + CHUNK]))
            .order_by(contacts.c.account, contacts.c.uuid)
            .with_for_update()
        )
        for row in connection.execute(asked).all():
            left = {name: one for name, one in (unpack_shadow(row.shadow) or {}).items() if one.event_id not in gone}
            same = (contacts.c.account == row.account, contacts.c.uuid == row.uuid)
            connection.execute(update(contacts).where(*same).values(shadow=pack_shadow(left)))


def _chunks(rows: Sequence[Row[Any]]) -> list[Sequence[Row[Any]]]:
    return [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
