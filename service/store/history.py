"""Logged changes as they are read again, beside a running service and in batches, so that memory stays bounded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from sqlalchemy import ColumnElement, Connection, Row, func, select

from service.errors import StoreError
from service.model import Change, EventState, InboundRequest, Record
from service.schema import events, requests
from service.store.attributes import SeenAttributes
from service.store.configurations import Configurations
from service.store.database import Database
from service.store.migrate import HEAD, version
from service.store.payloads import unpack_change, unpack_request

BATCH: Final = 500
"""Changes of one batch: one transaction, and no longer."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of the log: the changes with ids from ``first`` to ``last``, of one source where it is named.

    ``since`` leaves out those received before. ``count`` is how many there were when it was measured.
    """

    first: int
    last: int
    count: int
    source: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Logged:
    """A change in the log: ``change`` is None once its payload has aged out or was erased.

    ``ignored`` is why it was let into the log without being owed to anybody, None where it was owed. ``version`` is the
    configuration that it was mapped by, None where it never was.
    """

    id: int
    source: str
    object_id: str
    received_at: datetime
    request_id: int
    version: str | None
    ignored: str | None
    change: Change | None


class History:
    """A log that is only looked at: neither made, migrated, changed nor locked. Close it after use."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._configurations = Configurations(database)
        self.attributes = SeenAttributes(database)

    @classmethod
    async def open(cls, url: str) -> Self:
        """Open a log; StoreUnavailable where there is none, StoreError where its tables are of another release."""
        database = Database(url, only_look=True)
        try:
            _require_newest(await version(database))
        except BaseException:
            await database.close()
            raise
        return cls(database)

    async def close(self) -> None:
        """Give every connection back."""
        await self._database.close()

    async def newest(self, count: int, *, source: str | None = None) -> Stretch:
        """Measure the stretch of the newest changes, at most so many."""
        own = [] if source is None else [events.c.source == source]
        ids = select(events.c.id).where(*own).order_by(events.c.id.desc()).limit(count).subquery()
        return await self._measure(select(func.min(ids.c.id), func.max(ids.c.id), func.count()), source, None)

    async def since(self, instant: datetime, *, source: str | None = None) -> Stretch:
        """Measure the stretch of the changes received since an instant."""
        wanted = [events.c.received_at >= instant, *([] if source is None else [events.c.source == source])]
        asked = select(func.min(events.c.id), func.max(events.c.id), func.count()).where(*wanted)
        return await self._measure(asked, source, instant)

    async def batch(self, stretch: Stretch, *, after: int = 0) -> Sequence[Logged]:
        """Return the next changes of a stretch after an id, oldest first; none at its end."""
        wanted = (*_wanted(stretch), events.c.id > after)
        return await self._changes(select(*_COLUMNS).where(*wanted).order_by(events.c.id).limit(BATCH))

    async def batch_back(self, stretch: Stretch, *, before: int | None = None) -> Sequence[Logged]:
        """Return the next changes of a stretch before an id, newest first; none at its beginning."""
        wanted = (*_wanted(stretch), *([] if before is None else [events.c.id < before]))
        return await self._changes(select(*_COLUMNS).where(*wanted).order_by(events.c.id.desc()).limit(BATCH))

    async def request(self, request_id: int) -> InboundRequest | None:
        """Return a request without its credentials, None where it is not kept any more."""
        asked = select(requests.c.raw).where(requests.c.id == request_id)
        raw = await self._database.read(lambda connection: connection.execute(asked).scalar())
        return None if raw is None else unpack_request(raw)

    async def rules(self, version: str, source: str) -> Record | None:
        """Return a source's rules as they were written in a version; None if it had no such source or is not kept."""
        return await self._configurations.rules(version, source)

    async def _measure(self, asked: Any, source: str | None, since: datetime | None) -> Stretch:  # noqa: ANN401  # a select
        row = await self._database.read(lambda connection: connection.execute(asked).one())
        first, last, count = tuple(row)
        return Stretch(first or 0, last or 0, count, source, since)

    async def _changes(self, asked: Any) -> list[Logged]:  # noqa: ANN401  # a select
        def read(connection: Connection) -> list[Logged]:
            return [_logged(row) for row in connection.execute(asked)]

        return await self._database.read(read)


def _require_newest(found: str | None) -> None:
    if found is None:
        raise StoreError("the log has no tables yet", hint="`serve` makes them, or `migrate`")
    if found < HEAD:
        hint = "`serve` of this release brings them up to date, or `migrate`; then look again"
        raise StoreError(f"the log's tables are at version {found}, behind {HEAD}", hint=hint)
    if found > HEAD:
        hint = "look with the release that made them, or a newer one"
        raise StoreError(f"the log's tables are at version {found}, which this release does not know", hint=hint)


def _wanted(stretch: Stretch) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [events.c.id >= stretch.first, events.c.id <= stretch.last]
    if stretch.source is not None:
        wanted.append(events.c.source == stretch.source)
    if stretch.since is not None:
        wanted.append(events.c.received_at >= stretch.since)
    return wanted


_COLUMNS: Final = (
    events.c.id,
    events.c.source,
    events.c.dedup_key,
    events.c.request_id,
    events.c.object_type,
    events.c.object_id,
    events.c.action,
    events.c.crm_event_id,
    events.c.occurred_at,
    events.c.received_at,
    events.c.state,
    events.c.reason,
    events.c.delivery_id,
    events.c.config_version,
    events.c.change,
)


def _logged(row: Row[Any]) -> Logged:
    let_in = row.state != EventState.IGNORED.value or row.delivery_id is not None
    return Logged(
        row.id,
        row.source,
        row.object_id,
        row.received_at,
        row.request_id,
        row.config_version,
        None if let_in else row.reason,
        None if row.change is None else unpack_change(row),
    )
