"""The log as an operator reads it: lists, counts, one contact's story, and whether the books close."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, func, select, text, tuple_

from service.errors import NotFound
from service.model import Change, Confirmed, InboundRequest
from service.schema import (
    OPEN,
    attempts,
    contacts,
    deliveries,
    events,
    ignored_attributes,
    links,
    requests,
    source_marks,
)
from service.store.audit import Books, audit
from service.store.database import Database
from service.store.fields import unpack_doubts, unpack_fields
from service.store.payloads import unpack_change, unpack_request
from service.store.people import Person, find_person
from service.store.shadow import WouldBe, would_be

PAGE_MAX: Final = 1_000
"""Rows that one list returns at most."""

Line = dict[str, Any]
"""A row as shown: column names to plain values; no payload, no contact value."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits, and what waits for a person."""

    pending: int
    leased: int
    dead: int
    oldest_pending_at: datetime | None


@dataclass(frozen=True, slots=True)
class Blame:
    """One field of a contact: how it came to be what it is, and until when an older value may still land over it."""

    field: str
    known: Confirmed
    source: str | None
    in_doubt_until: datetime | None


@dataclass(frozen=True, slots=True)
class Story:
    """Everything known of one person: whom they are linked to, field by field, change by change, try by try."""

    person: Person
    links: tuple[Line, ...]
    fields: Mapping[str, tuple[Blame, ...]]
    """By the uuid of the contact."""
    events: tuple[Line, ...]
    attempts: tuple[Line, ...]
    would_be_sent: Mapping[str, tuple[WouldBe, ...]] = field(default_factory=dict)
    """By the uuid of the contact: what sources in shadow mode did not send."""

    @property
    def known(self) -> bool:
        """Say whether there is anything of them."""
        return bool(self.events or self.fields or self.links)


@dataclass(frozen=True, slots=True)
class Logged:
    """An event as the log has it, to be mapped again.

    ``change`` is None once it aged out or was erased. ``attempt`` is the try that it ended by. ``carried`` are the
    reasons of the events that ended by this one.
    """

    line: Line
    change: Change | None
    attempt: Line | None
    carried: frozenset[str]


class Ledger:
    """Reads for people."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def events(
        self, *, source: str | None = None, object_id: str | None = None, state: str | None = None, limit: int = 50
    ) -> list[Line]:
        """List events, newest first."""
        filters = {"source": source, "object_id": object_id, "state": state}
        return await self._list(_listed(events, _EVENT_COLUMNS, filters, limit))

    async def deliveries(self, *, source: str | None = None, state: str | None = None, limit: int = 50) -> list[Line]:
        """List deliveries, newest first."""
        return await self._list(_listed(deliveries, _DELIVERY_COLUMNS, {"source": source, "state": state}, limit))

    async def request_of(self, event_id: int) -> InboundRequest:
        """Return the request that an event came in, without its credentials. NotFound when it is not kept."""
        raw = (
            select(requests.c.raw)
            .join(events, events.c.request_id == requests.c.id)
            .where(events.c.id == event_id, requests.c.raw.is_not(None))
        )
        packed = await self._database.read(lambda connection: connection.execute(raw).scalar())
        if packed is None:
            raise NotFound(f"no request is kept of event {event_id}", hint="see `events` for the ids that are there")
        return unpack_request(packed)

    async def story(self, named: str, *, source: str | None = None, limit: int = 50) -> Story:
        """Tell everything of the person that a CRM record's id, a ``con_`` uuid or an email stands for."""
        return await self._database.read(lambda connection: _story(connection, named, source, _page(limit)))

    async def logged(self, event_ids: Sequence[int]) -> list[Logged]:
        """Return those of the events that are there, with their changes, in the order of the ids given."""
        wanted = list(event_ids)[:PAGE_MAX]
        return await self._database.read(lambda connection: _logged(connection, wanted))

    async def backlog(self) -> Backlog:
        """Count the deliveries that are owed, and the dead letters."""
        counts = select(deliveries.c.state, func.count()).where(deliveries.c.state.in_(["pending", "leased", "dead"]))
        oldest = select(func.min(deliveries.c.opened_at)).where(deliveries.c.state.in_(["pending", "leased"]))

        def read(connection: Connection) -> Backlog:
            by_state = dict(tuple(row) for row in connection.execute(counts.group_by(deliveries.c.state)))
            return Backlog(
                by_state.get("pending", 0),
                by_state.get("leased", 0),
                by_state.get("dead", 0),
                connection.execute(oldest).scalar(),
            )

        return await self._database.read(read)

    async def source_marks(self) -> list[Line]:
        """Say for each source when it last received and refused, and how often it refused."""
        return await self._list(select(source_marks).order_by(source_marks.c.source))

    async def ignored_attributes(self) -> list[Line]:
        """List the custom attributes that ChartMogul did not take."""
        return await self._list(select(ignored_attributes).order_by(ignored_attributes.c.attribute).limit(PAGE_MAX))

    async def counts(self) -> dict[str, int]:
        """Count the events by state."""
        every = select(events.c.state, func.count()).group_by(events.c.state)
        return await self._database.read(lambda connection: dict(tuple(row) for row in connection.execute(every)))

    async def audit(self) -> Books:
        """Check that the books close; the findings say what does not. Reads the whole log."""
        return await self._database.read(audit)

    async def _list(self, rows: Select[Any]) -> list[Line]:
        return await self._database.read(lambda connection: [_line(row) for row in connection.execute(rows)])


_EVENT_COLUMNS: Final = [column for column in events.c if column.name != "change"]
_DELIVERY_COLUMNS: Final = list(deliveries.c)


def _listed(
    table: Table, columns: list[ColumnElement[Any]] | list[Any], filters: Mapping[str, str | None], limit: int
) -> Select[Any]:
    wanted = [table.c[name] == value for name, value in filters.items() if value is not None]
    return select(*columns).where(*wanted).order_by(table.c.id.desc()).limit(_page(limit))


def _page(limit: int) -> int:
    return max(0, min(limit, PAGE_MAX))


def _line(row: Row[Any]) -> Line:
    # As plain text: SQLAlchemy's own kind of name cannot be a key in JSON.
    return {str(name): value for name, value in row._mapping.items()}  # noqa: SLF001  # SQLAlchemy's public name for it


def _story(connection: Connection, named: str, source: str | None, limit: int) -> Story:
    person = find_person(connection, named, source=source)
    theirs = tuple_(links.c.source, links.c.object_id).in_(person.records)
    linked = connection.execute(select(links).where(theirs).order_by(links.c.found_at.desc())).all()
    here = tuple_(events.c.source, events.c.object_id).in_(person.records)
    listed = connection.execute(select(*_EVENT_COLUMNS).where(here).order_by(events.c.id.desc()).limit(limit)).all()
    owed = select(deliveries.c.id).where(
        text(OPEN), tuple_(deliveries.c.source, deliveries.c.object_id).in_(person.records)
    )
    ids = {row.delivery_id for row in listed if row.delivery_id is not None} | set(connection.execute(owed).scalars())
    tried = connection.execute(
        select(attempts).where(attempts.c.delivery_id.in_(ids)).order_by(attempts.c.id.desc()).limit(limit)
    ).all()
    known = connection.execute(
        select(contacts.c.uuid, contacts.c.fields, contacts.c.doubts, contacts.c.shadow).where(
            tuple_(contacts.c.account, contacts.c.uuid).in_(person.contacts)
        )
    ).all()
    return Story(
        person,
        tuple(_line(row) for row in linked),
        {row.uuid: _blame(connection, row) for row in known},
        tuple(_line(row) for row in listed),
        tuple(_line(row) for row in tried),
        {
            row.uuid: would_be(connection, row.shadow, unpack_fields(row.fields))
            for row in known
            if row.shadow is not None
        },
    )


def _logged(connection: Connection, event_ids: Sequence[int]) -> list[Logged]:
    rows = connection.execute(select(events).where(events.c.id.in_(event_ids))).all()
    tries = {row.attempt_id for row in rows if row.attempt_id is not None}
    tried = {row.id: _line(row) for row in connection.execute(select(attempts).where(attempts.c.id.in_(tries)))}
    ended_by = select(events.c.by_event_id, events.c.reason).where(events.c.by_event_id.in_(event_ids)).distinct()
    carried: dict[int, set[str]] = {}
    for row in connection.execute(ended_by):
        carried.setdefault(row.by_event_id, set()).add(row.reason or "")
    found = {
        row.id: Logged(
            {name: value for name, value in _line(row).items() if name != events.c.change.name},
            None if row.change is None else unpack_change(row),
            tried.get(row.attempt_id),
            frozenset(carried.get(row.id, ())),
        )
        for row in rows
    }
    return [found[event_id] for event_id in dict.fromkeys(event_ids) if event_id in found]


def _blame(connection: Connection, row: Any) -> tuple[Blame, ...]:  # noqa: ANN401  # a row of four columns
    fields = unpack_fields(row.fields)
    setters = {one.event_id for one in fields.values() if one.event_id is not None}
    asked = select(events.c.id, events.c.source).where(events.c.id.in_(setters))
    sources = {found.id: found.source for found in connection.execute(asked)}
    until = {
        name: doubt.until
        for doubt in sorted(unpack_doubts(row.doubts), key=lambda doubt: doubt.until)
        for name in doubt.fields
    }
    return tuple(
        Blame(name, known, sources.get(known.event_id or 0), until.get(name)) for name, known in sorted(fields.items())
    )
