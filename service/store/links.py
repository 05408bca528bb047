"""Which ChartMogul contact a CRM record is, and what becomes of that when records are merged."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, and_, delete, select

from service.model import Link
from service.schema import links
from service.store.database import Database, upserting
from service.store.lease import LINKED
from service.store.opening import CrmRecord, Opening


class Links:
    """The links of CRM records to ChartMogul contacts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._opening = Opening(database)
        self._add = upserting(database)(links).on_conflict_do_nothing(index_elements=["source", "object_id"])

    async def follow(
        self, source: str, survivor: str, absorbed: Sequence[str], *, now: datetime
    ) -> tuple[Link, bool] | None:
        """Let the links of absorbed records follow the survivor, which keeps its own if it has one.

        Return the survivor's link, and whether its contact is in doubt; None where there is no link. What a contact is
        owed because of a doubt follows as well: a delivery of the survivor is opened for it. The absorbed records have
        no link any more. Doing it again changes nothing.
        """
        return await self._database.write(lambda connection: self._follow(connection, source, survivor, absorbed, now))

    def _follow(
        self, connection: Connection, source: str, survivor: str, absorbed: Sequence[str], now: datetime
    ) -> tuple[Link, bool] | None:
        gone = and_(links.c.source == source, links.c.object_id.in_(absorbed), links.c.object_id != survivor)
        left = connection.execute(select(links).where(gone).order_by(links.c.found_at.desc()).with_for_update()).all()
        if left:
            latest = left[0]
            row = {
                "source": source,
                "object_id": survivor,
                "account": latest.account,
                "contact_uuid": latest.contact_uuid,
                "found_by": f"merge of {latest.object_id}",
                "found_at": now,
            }
            connection.execute(self._add, row)
            connection.execute(delete(links).where(gone))
        found = connection.execute(LINKED, {"link_source": source, "link_object_id": survivor}).first()
        if found is None:
            return None
        if left and found[2]:
            self._opening.open(connection, CrmRecord(left[0].account, source, survivor), due_at=now, now=now)
        return Link(found[0], found[1]), bool(found[2])
