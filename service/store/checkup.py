"""The log as it is looked at from outside: its file, its version, its clock, and what calls carried of late.

Nothing is made, migrated or held: reads, and one short write that changes nothing.
"""

import fcntl
from datetime import datetime
from pathlib import Path
from typing import Final

import orjson
from sqlalchemy import Connection, func, make_url, select, text

from service.model import OutcomeKind
from service.schema import attempts, deliveries
from service.store.accounts import Accounts
from service.store.database import Database
from service.store.drifts import Drifts
from service.store.ledger import Ledger
from service.store.migrate import HEAD, version
from service.store.refusals import Refusals
from service.store.shadow import Shadows

CALLS_LOOKED_AT: Final = 2_000
"""Calls to ChartMogul, the newest, whose fields are looked at."""
NEWEST: Final = HEAD
"""The version that this release brings the tables to."""


class Checkup:
    """The parts of a log that may be looked at beside a running service."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self.ledger = Ledger(self._database)
        self.refusals = Refusals(self._database)
        self.drifts = Drifts(self._database)
        self.shadows = Shadows(self._database)
        self.accounts = Accounts(self._database)

    async def version(self) -> str | None:
        """Return the version that the tables are at, None where there are none."""
        return await version(self._database)

    async def clock(self) -> datetime | None:
        """Return the time by the database server's own clock; None for a file, which has none."""
        if self._database.dialect == "sqlite":
            return None
        asked = text("SELECT clock_timestamp()")
        told: datetime = await self._database.read(lambda connection: connection.execute(asked).scalar_one())
        return told

    async def confirmed(self) -> dict[tuple[str, str], datetime]:
        """Return when each field was last taken by ChartMogul, by source and field, among the newest calls."""
        return await self._database.read(_confirmed)

    async def close(self) -> None:
        """Give every connection back."""
        await self._database.close()


def file_of(url: str) -> Path | None:
    """Return the file of an embedded log, None for a server's."""
    parsed = make_url(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def is_held(file: Path) -> bool | None:
    """Say whether a service runs on an embedded log; None where that cannot be told."""
    try:
        with Path(f"{file}.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # given back with the file, at once
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def _confirmed(connection: Connection) -> dict[tuple[str, str], datetime]:
    newest = select(func.max(attempts.c.id) - CALLS_LOOKED_AT).scalar_subquery()
    applied = (
        select(deliveries.c.source, attempts.c.fields, attempts.c.started_at)
        .join(deliveries, deliveries.c.id == attempts.c.delivery_id)
        .where(attempts.c.id > newest, attempts.c.outcome == OutcomeKind.APPLIED.value)
        .order_by(attempts.c.id)
    )
    rows = connection.execute(applied)
    return {(row.source, name): row.started_at for row in rows for name in orjson.loads(row.fields)}
