"""Opening the delivery of a CRM record for other reasons than a change: a replay, a repair, a doubt."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, case, text

from service.model import DeliveryState, Priority
from service.schema import OPEN, deliveries
from service.store.database import Database, upserting


@dataclass(frozen=True, slots=True)
class CrmRecord:
    """A CRM record, and the ChartMogul account that its contact is in."""

    account: str
    source: str
    object_id: str


class Opening:
    """Sees to it that a record has an open delivery. One that is there already is joined, not doubled."""

    def __init__(self, database: Database) -> None:
        opened = upserting(database)(deliveries)
        waits = (deliveries.c.state == DeliveryState.PENDING.value) & (deliveries.c.attempts == 0)
        sooner = waits & (opened.excluded.due_at < deliveries.c.due_at)
        self._open = opened.on_conflict_do_update(
            index_elements=["source", "object_id"],
            index_where=text(OPEN),
            set_={
                "changes": deliveries.c.changes + opened.excluded.changes,
                # What waits for its next try goes on waiting: whatever failed would fail again.
                "due_at": case((sooner, opened.excluded.due_at), else_=deliveries.c.due_at),
            },
        ).returning(deliveries.c.id)

    def open(  # a row is all of this
        self,
        connection: Connection,
        record: CrmRecord,
        *,
        due_at: datetime,
        now: datetime,
        priority: Priority = Priority.LIVE,
        changes: int = 0,
    ) -> int:
        """Open the record's delivery, or join the one that is open; return its id."""
        row = {
            "account": record.account,
            "source": record.source,
            "object_id": record.object_id,
            "state": DeliveryState.PENDING.value,
            "priority": priority.value,
            "opened_at": now,
            "due_at": due_at,
            "changes": changes,
        }
        opened_id: int = connection.execute(self._open, row).scalar_one()
        return opened_id
