"""The log as an operator reads it: lists, counts, one contact's story, whether the books close, and replay."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, exists, func, select, text, tuple_

from service.errors import NotFound
from service.model import Confirmed, DeliveryState, EventState, InboundRequest, Link
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
from service.store.contacts import unpack_fields
from service.store.database import Database, upserting
from service.store.payloads import unpack_request
from service.store.replay import Replayed, replay

PAGE_MAX: Final = 1_000
"""Rows that one list returns at most."""
OFFENDERS_MAX: Final = 20
"""Ids that one finding of an audit names."""

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
class Finding:
    """A book that does not close: what is wrong, with how many, and the first of them."""

    name: str
    count: int
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """Everything known of one contact."""

    link: Link | None
    account: str | None
    fields: Mapping[str, Confirmed]
    events: tuple[Line, ...]
    attempts: tuple[Line, ...]


class Ledger:
    """Reads for people; the only writing is replay."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._upsert = upserting(database)

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

    async def story(self, *, source: str | None, object_id: str | None, uuid: str | None, limit: int = 50) -> Story:
        """Tell everything of the contact that a CRM record, or a ChartMogul uuid, stands for."""
        return await self._database.read(lambda connection: _story(connection, source, object_id, uuid, limit))

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

    async def audit(self) -> list[Finding]:
        """Check that the books close; return what does not. Reads the whole log."""
        return await self._database.read(_audit)

    async def replay(self, delivery_id: int, *, now: datetime) -> Replayed:
        """Make a dead letter's events pending again. NotFound when it is none."""
        return await self._database.write(lambda connection: replay(connection, self._upsert, delivery_id, now))

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


def _story(connection: Connection, source: str | None, object_id: str | None, uuid: str | None, limit: int) -> Story:
    limit = _page(limit)
    wanted = [
        column == value
        for column, value in (
            (links.c.source, source),
            (links.c.object_id, object_id),
            (links.c.contact_uuid, uuid),
        )
        if value is not None
    ]
    linked = connection.execute(select(links).where(*wanted).order_by(links.c.found_at.desc()).limit(PAGE_MAX)).all()
    records = [(row.source, row.object_id) for row in linked]
    if not records and object_id is not None:
        named = select(events.c.source, events.c.object_id).where(
            events.c.object_id == object_id, *([events.c.source == source] if source is not None else [])
        )
        records = [(row.source, row.object_id) for row in connection.execute(named.distinct().limit(PAGE_MAX))]
    here = tuple_(events.c.source, events.c.object_id).in_(records)
    listed = connection.execute(select(*_EVENT_COLUMNS).where(here).order_by(events.c.id.desc()).limit(limit)).all()
    owed = select(deliveries.c.id).where(text(OPEN), tuple_(deliveries.c.source, deliveries.c.object_id).in_(records))
    ids = {row.delivery_id for row in listed if row.delivery_id is not None} | set(connection.execute(owed).scalars())
    tried = connection.execute(
        select(attempts).where(attempts.c.delivery_id.in_(ids)).order_by(attempts.c.id.desc()).limit(limit)
    ).all()
    account = linked[0].account if linked else None
    contact_uuid = linked[0].contact_uuid if linked else uuid
    known = connection.execute(
        select(contacts.c.account, contacts.c.fields).where(contacts.c.uuid == contact_uuid)
    ).first()
    return Story(
        Link(linked[0].contact_uuid, linked[0].found_by) if linked else None,
        account or (known.account if known else None),
        unpack_fields(known.fields) if known else {},
        tuple(_line(row) for row in listed),
        tuple(_line(row) for row in tried),
    )


def _audit(connection: Connection) -> list[Finding]:
    owed = exists().where(
        deliveries.c.source == events.c.source,
        deliveries.c.object_id == events.c.object_id,
        text(OPEN),
    )
    attempted = exists().where(attempts.c.id == events.c.attempt_id)
    lettered = exists().where(deliveries.c.id == events.c.delivery_id, deliveries.c.state == DeliveryState.DEAD.value)
    other = events.alias("other")
    named = exists().where(other.c.id == events.c.by_event_id, other.c.id != events.c.id)
    states = [state.value for state in EventState]
    twice = (
        select(func.min(deliveries.c.id).label("id"))
        .where(text(OPEN))
        .group_by(deliveries.c.source, deliveries.c.object_id)
        .having(func.count() > 1)
    )
    books: dict[str, Select[Any]] = {
        "events in no known state": select(events.c.id).where(events.c.state.not_in(states)),
        "pending events without an open delivery": select(events.c.id).where(events.c.state == "pending", ~owed),
        "delivered events without an attempt": select(events.c.id).where(events.c.state == "delivered", ~attempted),
        "merged events that name no other event": select(events.c.id).where(events.c.state == "merged", ~named),
        "dead events without a dead letter": select(events.c.id).where(events.c.state == "dead", ~lettered),
        "ignored events without a reason": select(events.c.id).where(
            events.c.state == "ignored", events.c.reason.is_(None)
        ),
        "contacts with two open deliveries": twice,
    }
    findings = []
    for name, offending in books.items():
        count = connection.execute(select(func.count()).select_from(offending.subquery())).scalar_one()
        if count:
            ids = connection.execute(offending.order_by("id").limit(OFFENDERS_MAX)).scalars()
            findings.append(Finding(name, count, tuple(ids)))
    return findings
