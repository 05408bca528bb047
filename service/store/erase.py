"""Erasing a person: payloads and values go, keys and outcomes stay, so that the books still close."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, delete, not_, select, text, tuple_, union, update

from service.errors import NotFound, Postponed, ServiceError
from service.model import Action, Delivery, DeliveryState, EventState
from service.schema import SHADOWED, attempts, contacts, deliveries, events, links, requests
from service.store.database import Database
from service.store.fields import pack_fields, unpack_fields
from service.store.lease import HELD, lease
from service.store.payloads import unpack_change
from service.store.people import RECORDS_MAX, Person, find_person
from service.store.shadow import forget_shadow

REASON: Final = "erased at a person's request"
BUSY_WAIT: Final = timedelta(seconds=1)
"""How long a privacy deletion waits while another delivery may bring back what it erases."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased: of how many changes and requests the payload, and of how many contacts the values.

    ``busy`` counts deliveries that are under way: then nothing was erased, as their outcome would bring values back.
    ``scrubbed`` is False where SQLite's own log could not be cut yet, as somebody reads it: it still holds the values.
    """

    events: int = 0
    requests: int = 0
    contacts: int = 0
    busy: int = 0
    scrubbed: bool = True


class Eraser:
    """Erases in one transaction; on SQLite what is freed is overwritten too, in the file and in its log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def erase(self, named: str, *, source: str | None = None, now: datetime) -> Erased:
        """Erase the person that a CRM record's id, a ``con_`` uuid or an email stands for. NotFound if there is none.

        Raises ServiceError where several people have the id. What still waits to be delivered of them, or to go live,
        ends as ignored.
        A whole request goes where any part of it is theirs.
        """
        erased = await self._database.write(lambda connection: _erase(connection, named, source, now))
        if not erased.busy:
            return replace(erased, scrubbed=await self._database.scrub())
        return erased

    async def forget(self, delivery: Delivery, *, now: datetime) -> bool:
        """Erase the record of a delivery that is under way, as its CRM asks; False if its lease was lost meanwhile.

        So are the records that were merged into it. Of their contacts the values go too, unless another record is
        linked to them. The privacy deletion itself stays, to be concluded; what else of the records waits ends as
        ignored. Doing it again changes nothing. Raises Postponed, and erases nothing, while another delivery is under
        way whose outcome would bring values back.
        """
        forgotten = await self._database.write(lambda connection: _forget(connection, delivery, now))
        if forgotten:
            await self._database.scrub()
        return forgotten


def _forget(connection: Connection, delivery: Delivery, now: datetime) -> bool:
    if connection.execute(select(deliveries.c.id).where(HELD).with_for_update(), lease(delivery)).first() is None:
        return False
    person = _with_absorbed(connection, Person(((delivery.source, delivery.object_id),), ()))
    person = _with_unlinked(connection, Person(person.records, _theirs_alone(connection, person)))
    if _lock(connection, person, but=delivery.id):
        raise Postponed(now + BUSY_WAIT)
    _put_away(connection, person, now)
    _erase_events(connection, person, now, but=delivery)
    _erase_contacts(connection, person, now)
    connection.execute(delete(links).where(_of(links, person)))
    return True


def _theirs_alone(connection: Connection, person: Person) -> tuple[tuple[str, str], ...]:
    """Return the contacts that a person's records are linked to, and no other record is."""
    linked = connection.execute(select(links.c.account, links.c.contact_uuid).where(_of(links, person))).all()
    here = tuple_(links.c.account, links.c.contact_uuid).in_({(row.account, row.contact_uuid) for row in linked})
    others = connection.execute(select(links.c.account, links.c.contact_uuid).where(here, not_(_of(links, person))))
    return tuple(sorted({(row.account, row.contact_uuid) for row in linked} - {tuple(row) for row in others}))


def _with_absorbed(connection: Connection, person: Person) -> Person:
    """Add the records that were merged into theirs, as far as the merges are still known."""
    records, latest = set(person.records), set(person.records)
    while latest and len(records) < RECORDS_MAX:
        here = tuple_(events.c.source, events.c.object_id).in_(sorted(latest))
        merges = select(events).where(here, events.c.action == Action.MERGED.value, events.c.change.is_not(None))
        rows = connection.execute(merges).all()
        latest = {(row.source, one) for row in rows for one in unpack_change(row).merged_from} - records
        records |= latest
    return Person(tuple(sorted(records)), person.contacts)


def _erase(connection: Connection, named: str, source: str | None, now: datetime) -> Erased:
    person = find_person(connection, named, source=source)
    if not person.records and not person.contacts:
        raise NotFound("nobody of that name is in the log", hint="give a CRM record's id, a con_ uuid or an email")
    _refuse_namesakes(connection, named, person)
    person = _with_absorbed(connection, _with_unlinked(connection, person))
    busy = _lock(connection, person)
    if busy:
        return Erased(busy=busy)
    _put_away(connection, person, now)
    return Erased(*_erase_events(connection, person, now), _erase_contacts(connection, person, now))


def _refuse_namesakes(connection: Connection, named: str, person: Person) -> None:
    """Raise ServiceError where records of several CRMs have the id, and are not linked to one and the same contact."""
    records = [record for record in person.records if record[1] == named]
    linked = select(links.c.account, links.c.contact_uuid).where(tuple_(links.c.source, links.c.object_id).in_(records))
    found = connection.execute(linked).all()
    if len(records) > 1 and (len(found) < len(records) or len(set(found)) > 1):
        raise ServiceError(
            f"several people have that id: {', '.join(source for source, _ in records)}",
            hint="say whose with --source, or name them by uuid or email",
        )


def _with_unlinked(connection: Connection, person: Person) -> Person:
    """Add what no link leads to any more, as ChartMogul merged or deleted a contact.

    A contact that their changes went to is theirs, unless it is somebody else's by now; where a contact has no record,
    those are theirs whose changes went there.
    """
    records = set(person.records)
    if not records:
        there = tuple_(deliveries.c.account, deliveries.c.contact_uuid).in_(person.contacts)
        went = select(deliveries.c.source, deliveries.c.object_id).where(there).distinct()
        records = {(row.source, row.object_id) for row in connection.execute(went)}
    theirs = tuple_(events.c.source, events.c.object_id).in_(sorted(records))
    tried = union(
        *(
            select(events.c.account, attempts.c.contact_uuid).join(attempts, on).where(theirs)
            for on in (attempts.c.delivery_id == events.c.delivery_id, attempts.c.id == events.c.attempt_id)
        )
    )
    found = {(account, uuid) for account, uuid in connection.execute(tried) if uuid is not None}
    here = tuple_(links.c.account, links.c.contact_uuid).in_(sorted(found))
    others = {(row.account, row.contact_uuid) for row in connection.execute(select(links).where(here))}
    return Person(tuple(sorted(records)), tuple(sorted({*person.contacts, *(found - others)})))


def _put_away(connection: Connection, person: Person, now: datetime) -> None:
    """Close their deliveries that are not under way."""
    waiting = deliveries.c.state.in_([DeliveryState.PENDING.value, DeliveryState.DEAD.value])
    connection.execute(
        update(deliveries)
        .where(_of(deliveries, person), waiting)
        .values(state=DeliveryState.SKIPPED.value, reason=REASON, closed_at=now)
    )


def _lock(connection: Connection, person: Person, *, but: int | None = None) -> int:
    """Keep their deliveries and contacts as they are; return how many others are under way that may change them.

    One may be of a record that is linked only once it is delivered, and hold the contact already. Locked in the order
    in which an outcome is recorded, so that neither waits for the other.
    """
    still_open = [DeliveryState.PENDING.value, DeliveryState.LEASED.value, DeliveryState.DEAD.value]
    owed = select(deliveries.c.id, deliveries.c.state).where(
        _of(deliveries, person), deliveries.c.state.in_(still_open)
    )
    locked = connection.execute(owed.order_by(deliveries.c.id).with_for_update()).all()
    here = tuple_(contacts.c.account, contacts.c.uuid).in_(person.contacts)
    held = select(contacts.c.held_by).where(here).order_by(contacts.c.uuid).with_for_update()
    holders = [by for by in connection.execute(held).scalars() if by is not None]
    leased = deliveries.c.state == DeliveryState.LEASED.value
    holding = connection.execute(select(deliveries.c.id).where(deliveries.c.id.in_(holders), leased)).scalars()
    return len({*holding, *(row.id for row in locked if row.state == DeliveryState.LEASED.value)} - {but})


def _erase_events(
    connection: Connection, person: Person, now: datetime, *, but: Delivery | None = None
) -> tuple[int, int]:
    """Erase what their changes say; return of how many, and of how many requests. ``but`` keeps what it is about."""
    theirs = _of(events, person)
    if but is not None:
        own = and_(events.c.source == but.source, events.c.object_id == but.object_id)
        theirs = and_(theirs, not_(and_(own, events.c.action == Action.PRIVACY_DELETED.value)))
    # What they would have left stands in contacts of others, too.
    shadowed: Select[Any] = select(events.c.id, events.c.account, events.c.attempt_id).where(theirs, text(SHADOWED))
    forget_shadow(connection, connection.execute(shadowed).all())
    # Payloads first: a replay at the same time then finds them gone, or its changes are ended here.
    erased = connection.execute(update(events).where(theirs, events.c.change.is_not(None)).values(change=None)).rowcount
    open_ones = events.c.state.in_([EventState.PENDING.value, EventState.DEAD.value, EventState.SHADOWED.value])
    connection.execute(
        update(events).where(theirs, open_ones).values(state=EventState.IGNORED.value, reason=REASON, decided_at=now)
    )
    came_in = requests.c.id.in_(select(events.c.request_id).where(theirs))
    raw = update(requests).where(came_in, requests.c.raw.is_not(None)).values(raw=None)
    return erased, connection.execute(raw).rowcount


def _erase_contacts(connection: Connection, person: Person, now: datetime) -> int:
    here = tuple_(contacts.c.account, contacts.c.uuid).in_(person.contacts)
    rows = connection.execute(select(contacts.c.account, contacts.c.uuid, contacts.c.fields).where(here)).all()
    for row in rows:
        connection.execute(
            update(contacts)
            .where(contacts.c.account == row.account, contacts.c.uuid == row.uuid)
            .values(
                email=None, fields=_without_values(row.fields), intent=None, doubts=None, shadow=None, updated_at=now
            )
        )
    return len(rows)


def _without_values(packed: bytes) -> bytes:
    """Keep the order of each field, so that no older value comes after it; the value itself proves nothing now."""
    known = unpack_fields(packed)
    return pack_fields({name: replace(one, value=None, certain=False) for name, one in known.items()})


def _of(table: Table, person: Person) -> ColumnElement[bool]:
    """Select what is about a person's records."""
    return tuple_(table.c.source, table.c.object_id).in_(person.records)
