"""What is kept of drift: how steadily each path comes, and what is met again and again; written behind the deliveries.

The newest second of it may be lost in a crash. Of several replicas the last to write has its say of how steadily a path
comes; their counts add up.
"""

from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, select

from service.model import Cause, Drift, DriftKind, Noticed, Sighting
from service.schema import drifts, sightings
from service.store.database import Database, upserting

SIGHTINGS_MAX: Final = 100_000
"""Sightings that are read at a start."""
DRIFTS_MAX: Final = 1_000
"""Drifts that are read at a time, those first that were met last."""

_HOW: Final = ("type", "seen", "missed", "seen_at")
_DRIFT_KEY: Final = ("source", "kind", "target", "path")
_MET: Final = ("detail", "first_seen_at", "last_seen_at", "count", "config_version", "event_id")
_SIGHTING_KEY: Final = ("source", "path")


class Drifts:
    """Sightings and drifts, read at the start and by health, written every second where there is something new."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._upsert = upserting(database)

    async def sightings(self) -> list[Sighting]:
        """Return how steadily each path came so far."""
        every = select(*(sightings.c[name] for name in (*_SIGHTING_KEY, *_HOW))).limit(SIGHTINGS_MAX)
        return await self._database.read(
            lambda connection: [Sighting(*tuple(row)) for row in connection.execute(every)]
        )

    async def standing(self, *, since: datetime | None = None, limit: int = DRIFTS_MAX) -> list[Drift]:
        """Return the drifts that are not over, the last met first; with ``since`` those that were met from then on."""
        newest = select(*(drifts.c[name] for name in (*_DRIFT_KEY, *_MET))).order_by(
            drifts.c.last_seen_at.desc(), *(drifts.c[name] for name in _DRIFT_KEY)
        )
        newest = newest.where(drifts.c.last_seen_at >= since) if since is not None else newest
        newest = newest.limit(max(0, min(limit, DRIFTS_MAX)))
        return await self._database.read(lambda connection: [_drift(row) for row in connection.execute(newest)])

    async def write(self, noticed: Noticed) -> None:
        """Forget what is over, then write what is new and add to the counts, all in one transaction."""
        await self._database.write(lambda connection: self._write(connection, noticed))

    def _write(self, connection: Connection, noticed: Noticed) -> None:
        # In one order everywhere, so that two replicas never wait for each other.
        for source, path in sorted(noticed.forgotten):
            connection.execute(delete(sightings).where(sightings.c.source == source, sightings.c.path == path))
        for cause in sorted(noticed.healed, key=_key):
            here = zip(_DRIFT_KEY, _key(cause), strict=True)
            connection.execute(delete(drifts).where(*(drifts.c[name] == value for name, value in here)))
        if noticed.sightings:
            seen = self._upsert(sightings)
            latest = {name: seen.excluded[name] for name in _HOW}
            rows = [asdict(one) for one in sorted(noticed.sightings, key=lambda one: (one.source, one.path))]
            connection.execute(seen.on_conflict_do_update(index_elements=_SIGHTING_KEY, set_=latest), rows)
        if noticed.drifts:
            met = self._upsert(drifts)
            latest = {name: met.excluded[name] for name in ("detail", "last_seen_at", "config_version", "event_id")}
            added = {"count": drifts.c.count + met.excluded.count}
            rows = [_row(drift) for drift in sorted(noticed.drifts, key=lambda one: _key(one.cause))]
            connection.execute(met.on_conflict_do_update(index_elements=_DRIFT_KEY, set_=latest | added), rows)


def _key(cause: Cause) -> tuple[str, str, str, str]:
    return cause.source, cause.kind.value, cause.target, cause.path


def _row(drift: Drift) -> dict[str, Any]:
    own = {name: value for name, value in asdict(drift).items() if name != "cause"}
    return dict(zip(_DRIFT_KEY, _key(drift.cause), strict=True)) | own


def _drift(row: Row[Any]) -> Drift:
    source, kind, target, path, *rest = tuple(row)
    return Drift(Cause(source, DriftKind(kind), target, path), *rest)
