"""Erasing a person: payloads and values go, keys and outcomes stay, so that the books still close."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select, tuple_, update

from service.errors import NotFound
from service.model import DeliveryState, EventState
from service.schema import contacts, deliveries, events, requests
from service.store.database import Database
from service.store.fields import pack_fields, unpack_fields
from service.store.people import Person, find_person

REASON: Final = "erased at a person's request"


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased: of how many changes and requests the payload, and of how many contacts the values.

    ``busy`` counts deliveries that are under way: then nothing was erased, as their outcome would bring values back.
    """

    events: int = 0
    requests: int = 0
    contacts: int = 0
    busy: int = 0


class Eraser:
    """Erases in one transaction; on SQLite what is freed is overwritten too, in the file and in its log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def erase(self, named: str, *, source: str | None = None, now: datetime) -> Erased:
        """Erase the person that a CRM record's id, a ``con_`` uuid or an email stands for. NotFound if there is none.

        What still waits to be delivered of them ends as ignored. A whole request goes where any part of it is theirs.
        """
        erased = await self._database.write(lambda connection: _erase(connection, named, source, now))
        if not erased.busy:
            await self._database.scrub()
        return erased


def _erase(connection: Connection, named: str, source: str | None, now: datetime) -> Erased:
    person = find_person(connection, named, source=source)
    if not person.records and not person.contacts:
        raise NotFound("nobody of that name is in the log", hint="give a CRM record's id, a con_ uuid or an email")
    theirs = tuple_(deliveries.c.source, deliveries.c.object_id).in_(person.records)
    leased = select(deliveries.c.id).where(theirs, deliveries.c.state == DeliveryState.LEASED.value)
    busy = connection.execute(leased.with_for_update()).all()
    if busy:
        return Erased(busy=len(busy))
    waiting = deliveries.c.state.in_([DeliveryState.PENDING.value, DeliveryState.DEAD.value])
    connection.execute(
        update(deliveries)
        .where(theirs, waiting)
        .values(state=DeliveryState.SKIPPED.value, reason=REASON, closed_at=now)
    )
    return Erased(*_erase_events(connection, person, now), _erase_contacts(connection, person, now))


def _erase_events(connection: Connection, person: Person, now: datetime) -> tuple[int, int]:
    theirs = tuple_(events.c.source, events.c.object_id).in_(person.records)
    asked = select(events.c.request_id).where(theirs)
    ids = sorted(set(connection.execute(asked).scalars()))
    open_ones = events.c.state.in_([EventState.PENDING.value, EventState.DEAD.value])
    connection.execute(
        update(events).where(theirs, open_ones).values(state=EventState.IGNORED.value, reason=REASON, decided_at=now)
    )
    erased = connection.execute(update(events).where(theirs, events.c.change.is_not(None)).values(change=None)).rowcount
    raw = update(requests).where(requests.c.id.in_(ids), requests.c.raw.is_not(None)).values(raw=None)
    return erased, connection.execute(raw).rowcount if ids else 0


def _erase_contacts(connection: Connection, person: Person, now: datetime) -> int:
    here = tuple_(contacts.c.account, contacts.c.uuid).in_(person.contacts)
    rows = connection.execute(select(contacts.c.account, contacts.c.uuid, contacts.c.fields).where(here)).all()
    for row in rows:
        connection.execute(
            update(contacts)
            .where(contacts.c.account == row.account, contacts.c.uuid == row.uuid)
            .values(email=None, fields=_without_values(row.fields), intent=None, doubts=None, updated_at=now)
        )
    return len(rows)


def _without_values(packed: bytes) -> bytes:
    """Keep the order of each field, so that no older value comes after it; the value itself proves nothing now."""
    known = unpack_fields(packed)
    return pack_fields({name: replace(one, value=None, certain=False) for name, one in known.items()})
