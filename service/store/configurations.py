"""Past configurations: what each version made of a source's changes, so that a replay can be mapped as it was then."""

from collections.abc import Mapping
from datetime import datetime

import orjson
from sqlalchemy import select

from service.model import Record
from service.schema import configurations
from service.store.database import Database, upserting


class Configurations:
    """Filters and mappings by version and source. Neither secrets nor settings are among them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = upserting(database)(configurations).on_conflict_do_nothing(index_elements=["version"])

    async def keep(self, version: str, rules: Mapping[str, Record], *, now: datetime) -> None:
        """Remember what a version does, by source, unless it is known."""
        row = {"version": version, "first_used_at": now, "rules": orjson.dumps(dict(rules))}
        await self._database.write(lambda connection: connection.execute(self._insert, row).rowcount)

    async def rules(self, version: str, source: str) -> Record | None:
        """Return a source's filter and mapping as they were written in a version; None if it had no such source."""
        asked = select(configurations.c.rules).where(configurations.c.version == version)
        packed = await self._database.read(lambda connection: connection.execute(asked).scalar())
        kept: Mapping[str, Record] = {} if packed is None else orjson.loads(packed)
        return kept.get(source)
