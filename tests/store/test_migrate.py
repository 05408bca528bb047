"""Tables come from nothing, once, however many start together, and are those of the schema."""

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

import service.migrations
from service.errors import StoreError, StoreUnavailable
from service.schema import metadata
from service.store import Store
from service.store.migrate import HEAD, version
from tests.support.log import by_hand

pytestmark = pytest.mark.anyio


async def test_tables_come_from_nothing_once(store_url: str) -> None:
    store = Store(store_url)
    try:
        assert await version(store._database) is None
        assert await store.migrate() is True
        assert await version(store._database) == HEAD
        assert await store.migrate() is False
        await store.check()
    finally:
        await store.close()


async def test_replicas_that_start_together_migrate_once(store_url: str) -> None:
    replicas = [Store(store_url) for _ in range(3)]
    try:
        done = await asyncio.gather(*(replica.migrate() for replica in replicas))
        assert sorted(done) == [False, False, True]
    finally:
        for replica in replicas:
            await replica.close()


async def test_migrated_tables_are_those_of_the_schema(store: Store) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))

    assert await store._database.read(differences) == []


async def test_the_open_deliveries_index_is_partial_on_both_engines(store: Store) -> None:
    """Comparing tables does not see an index's condition; without it a contact could be served only once."""
    catalogue = "sqlite_master WHERE name" if store.embedded else "pg_indexes WHERE indexname"
    column = "sql" if store.embedded else "indexdef"
    made_by = text(f"SELECT {column} FROM {catalogue} = 'uq_deliveries_open'")  # noqa: S608  # from the lines above
    statement = str(await store._database.read(lambda connection: connection.execute(made_by).scalar_one()))
    assert statement.startswith("CREATE UNIQUE INDEX uq_deliveries_open")
    condition = statement.partition("WHERE")[2]
    assert "state" in condition
    assert "'pending'" in condition
    assert "'leased'" in condition


def test_the_newest_migration_is_the_head_and_the_only_one() -> None:
    folder = ScriptDirectory(str(Path(service.migrations.__file__).parent))
    assert folder.get_heads() == [HEAD]
    newest = max(path.name for path in Path(folder.versions).glob("v[0-9]*.py"))
    assert newest.startswith(f"v{HEAD}_")


async def test_tables_of_a_newer_release_are_refused(store: Store) -> None:
    """An image rolled back past a migration must say so instead of guessing."""
    await by_hand(store, text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="9999") as refused:
        await store.migrate()
    assert not isinstance(refused.value, StoreUnavailable)
    assert await version(store._database) == "9999"


async def test_a_log_without_tables_cannot_be_written(store_url: str) -> None:
    store = Store(store_url)
    try:
        with pytest.raises(StoreError):
            await store.check()
    finally:
        await store.close()


async def test_a_migration_that_is_broken_off_leaves_nothing(store_url: str) -> None:
    store = Store(store_url)
    try:
        await by_hand(store, text("CREATE TABLE source_marks (source INTEGER)"))  # in the way of the last step
        with pytest.raises(StoreError):
            await store.migrate()
        assert await version(store._database) is None
        names = await store._database.read(lambda connection: inspect(connection).get_table_names())
        assert names == ["source_marks"]
        await by_hand(store, text("DROP TABLE source_marks"))
        assert await store.migrate() is True
    finally:
        await store.close()
