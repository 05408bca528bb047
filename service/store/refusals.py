"""Refused requests: a bounded list for the operator, written behind the answer so that strangers cost no commit."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select

from service.schema import refusals, source_marks
from service.store.database import Database, upserting

KEPT_MAX: Final = 1_000
"""Refusals that the log keeps, newest first."""
WAITING_MAX: Final = 200
"""Refusals that wait to be written; beyond it they are counted, not listed."""
SOURCE_MAX: Final = 63
"""Characters of a source's name, whatever a stranger calls it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused request: no body, no header value."""

    refused_at: datetime
    source: str
    reason: str
    header_names: str
    size: int


class Refusals:
    """Gathers refusals and writes them in one go."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._upsert = upserting(database)
        self._waiting: deque[Refusal] = deque(maxlen=WAITING_MAX)
        self._counts: Counter[str] = Counter()

    def add(self, refusal: Refusal) -> None:
        """Remember a refusal until the next ``flush``."""
        source = refusal.source.replace("\x00", "?")[:SOURCE_MAX]
        self._waiting.append(replace(refusal, source=source))
        counted = source if source in self._counts or len(self._counts) < KEPT_MAX else "?"
        self._counts[counted] += 1

    async def flush(self) -> None:
        """Write what was gathered, and keep the newest 1,000. What cannot be written is gathered on."""
        if not self._counts:
            return
        waiting, counts = self._waiting, self._counts
        self._waiting, self._counts = deque(maxlen=WAITING_MAX), Counter()
        written = False
        try:
            await self._database.write(lambda connection: self._write(connection, waiting, counts))
            written = True
        finally:
            if not written:
                self._waiting = deque([*waiting, *self._waiting], maxlen=WAITING_MAX)
                self._counts = counts + self._counts

    async def newest(self, limit: int) -> list[Refusal]:
        """Return the newest refusals, newest first."""
        rows = (
            select(
                refusals.c.refused_at,
                refusals.c.source,
                refusals.c.reason,
                refusals.c.header_names,
                refusals.c.size,
            )
            .order_by(refusals.c.id.desc())
            .limit(max(0, min(limit, KEPT_MAX)))
        )
        return await self._database.read(lambda connection: [Refusal(*tuple(row)) for row in connection.execute(rows)])

    def _write(self, connection: Connection, waiting: Sequence[Refusal], counts: Counter[str]) -> None:
        at = waiting[-1].refused_at
        connection.execute(
            insert(refusals),
            [
                {
                    "refused_at": one.refused_at,
                    "source": one.source,
                    "reason": one.reason,
                    "header_names": one.header_names,
                    "size": one.size,
                }
                for one in waiting
            ],
        )
        newest = connection.execute(select(func.max(refusals.c.id))).scalar_one()
        connection.execute(delete(refusals).where(refusals.c.id <= newest - KEPT_MAX))
        mark = self._upsert(source_marks)
        for source, count in sorted(counts.items()):
            connection.execute(
                mark.values(source=source, refused_at=at, refused=count).on_conflict_do_update(
                    index_elements=["source"],
                    set_={"refused_at": at, "refused": source_marks.c.refused + count},
                )
            )
        # Anyone may post to any name: of those that never received anything, the last refused are kept.
        only_refused = source_marks.c.received_at.is_(None)
        kept = select(source_marks.c.source).where(only_refused)
        kept = kept.order_by(source_marks.c.refused_at.desc(), source_marks.c.source.desc()).limit(KEPT_MAX)
        connection.execute(delete(source_marks).where(only_refused, source_marks.c.source.not_in(kept)))
