"""Brings the tables up to date, under a lock, so that replicas may start together."""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from service.errors import StoreError
from service.store.database import Database

HEAD: Final = "0003"
"""The newest migration. A test holds it against the folder."""
_LOCK: Final = 5_021_147_010
"""The advisory lock of PostgreSQL that migrations are made under."""
_MIGRATIONS: Final = Path(__file__).parent.parent / "migrations"


async def migrate(database: Database) -> bool:
    """Bring the tables to the newest version; return whether there was anything to do."""
    if await database.read(_version) == HEAD:
        return False
    return await database.write(_upgrade)


async def version(database: Database) -> str | None:
    """Return the version that the tables are at, None where there are none."""
    return await database.read(_version)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _upgrade(connection: Connection) -> bool:
    # Imported here: a start with nothing to migrate should not pay for it.
    from alembic import command  # noqa: PLC0415  # see above
    from alembic.config import Config  # noqa: PLC0415  # see above
    from alembic.util import CommandError  # noqa: PLC0415  # see above

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    if _version(connection) == HEAD:  # another replica was first
        return False
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, HEAD)
    except CommandError:
        found = _version(connection)
        raise StoreError(
            f"the tables are at version {found}, which this release does not know",
            hint="run the release that made them, or a newer one",
        ) from None
    return True
