"""PostgreSQL as the log, and what each of its failures is called."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.util import await_only

from service.errors import StoreError, StoreUnavailable
from service.store import Store
from service.store.database import Database
from service.store.server import DEADLOCK_TRIES, POOL_SIZE

pytestmark = pytest.mark.anyio

CANARY = "ada@northwind.example"


@pytest.fixture
async def server(postgres_url: str) -> AsyncIterator[Database]:
    database = Database(postgres_url)
    yield database
    await database.close()


def failing(sqlstate: str) -> str:
    return f"DO $$ BEGIN RAISE EXCEPTION '{CANARY}' USING ERRCODE = '{sqlstate}'; END $$"


async def run(database: Database, *statements: str) -> None:
    def execute(connection: Connection) -> None:
        for statement in statements:
            connection.execute(text(statement))

    await database.write(execute)


async def kept(database: Database) -> list[int]:
    """Return the numbers in the table that a test made."""
    numbers = text("SELECT n FROM kept ORDER BY n")
    return await database.read(lambda connection: list(connection.execute(numbers).scalars()))


@pytest.mark.parametrize("host", ["127.0.0.1:1", "/nowhere/to/be/found"])
async def test_a_server_that_is_not_there_is_unavailable(host: str) -> None:
    store = Store(f"postgresql://postgres@/log?host={host}")
    try:
        with pytest.raises(StoreUnavailable) as unavailable:
            await store.check()
        assert "DATABASE_URL" in unavailable.value.hint
    finally:
        await store.close()


async def test_a_database_that_is_not_there_is_unavailable(postgres_url: str) -> None:
    store = Store(postgres_url.replace("/test_", "/no_such_"))
    try:
        with pytest.raises(StoreUnavailable):
            await store.check()
    finally:
        await store.close()


async def test_a_server_that_goes_away_in_the_middle_is_unavailable_and_found_again(server: Database) -> None:
    await run(server, "CREATE TABLE kept (n integer)")
    with pytest.raises(StoreUnavailable):
        await run(server, "INSERT INTO kept VALUES (1)", "SELECT pg_terminate_backend(pg_backend_pid())")
    await run(server, "INSERT INTO kept VALUES (2)")
    assert await kept(server) == [2]


async def test_a_connection_that_was_cut_meanwhile_is_unavailable(server: Database, postgres_url: str) -> None:
    def cut(connection: Connection) -> None:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()

        async def terminate() -> None:
            other = await asyncpg.connect(postgres_url)
            await other.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
            await other.close()

        await_only(terminate())
        connection.execute(text("SELECT 1"))

    with pytest.raises(StoreUnavailable):
        await server.write(cut)
    await run(server, "SELECT 1")


async def test_what_the_driver_raises_unwrapped_is_unavailable(server: Database, postgres_url: str) -> None:
    """SQLAlchemy 2.0 hands on what asyncpg raises while connecting; later ones wrap it."""
    gone = postgres_url.replace("/test_", "/no_such_")
    with pytest.raises(StoreUnavailable, match="InvalidCatalogNameError"):
        await server.write(lambda _: await_only(asyncpg.connect(gone)))


async def test_without_a_free_connection_the_log_is_unavailable(server: Database) -> None:
    engine: Any = server._engine  # its protocol tells nothing of a pool
    engine._engine.sync_engine.pool._timeout = 0.05
    all_taken, enough = asyncio.Barrier(POOL_SIZE + 1), asyncio.Event()

    def keep(_: Connection) -> None:
        await_only(all_taken.wait())
        await_only(enough.wait())

    keeping = [asyncio.create_task(server.write(keep)) for _ in range(POOL_SIZE)]
    await all_taken.wait()
    with pytest.raises(StoreUnavailable, match="no connection free"):
        await run(server, "SELECT 1")
    enough.set()
    await asyncio.gather(*keeping)
    await run(server, "SELECT 1")


@pytest.mark.parametrize("sqlstate", ["53100", "53300", "57P01", "58030", "08006", "25006"])
async def test_what_passes_by_itself_is_unavailable(server: Database, sqlstate: str) -> None:
    """Disk full, too many connections, shutdown, I/O, lost connection, read-only standby."""
    with pytest.raises(StoreUnavailable) as unavailable:
        await run(server, failing(sqlstate))
    assert CANARY not in f"{unavailable.value} {unavailable.value.hint}"


async def test_an_outage_is_called_by_the_name_that_an_operator_can_look_up(server: Database) -> None:
    with pytest.raises(StoreUnavailable, match="DiskFullError"):
        await run(server, failing("53100"))


async def test_a_standby_that_only_reads_is_unavailable(server: Database) -> None:
    with pytest.raises(StoreUnavailable):
        await run(server, "SET TRANSACTION READ ONLY", "CREATE TABLE kept (n integer)")


@pytest.mark.parametrize("statement", ["SELEC 1", "SELECT * FROM no_such_table", failing("23505"), failing("22021")])
async def test_a_statement_that_is_refused_is_no_outage_and_says_no_values(server: Database, statement: str) -> None:
    with pytest.raises(StoreError) as refused:
        await run(server, statement)
    assert type(refused.value) is StoreError
    assert CANARY not in f"{refused.value} {refused.value.__cause__} {refused.value.hint}"
    assert statement not in str(refused.value)


async def test_a_value_that_does_not_fit_is_no_outage(server: Database) -> None:
    """The driver refuses it before the server sees it: were it an outage, its sender would send it for ever."""
    with pytest.raises(StoreError) as refused:
        await server.write(
            lambda connection: connection.execute(text("SELECT CAST(:n AS bigint)"), {"n": 2**70}).scalar()
        )
    assert type(refused.value) is StoreError
    assert str(2**70) not in str(refused.value)


async def test_a_transaction_chosen_to_end_a_deadlock_is_run_again(server: Database) -> None:
    await run(server, "CREATE TABLE kept (id integer PRIMARY KEY, n integer)", "INSERT INTO kept VALUES (1, 0), (2, 0)")
    met = [asyncio.Event(), asyncio.Event()]
    runs = 0

    def cross(mine: int, connection: Connection) -> None:
        nonlocal runs
        runs += 1
        connection.execute(text("SET LOCAL deadlock_timeout = '20ms'"))
        connection.execute(text("UPDATE kept SET n = n + 1 WHERE id = :id"), {"id": mine + 1})
        met[mine].set()
        await_only(met[1 - mine].wait())
        connection.execute(text("UPDATE kept SET n = n + 1 WHERE id = :id"), {"id": 2 - mine})

    await asyncio.gather(server.write(partial(cross, 0)), server.write(partial(cross, 1)))
    assert runs == 3
    assert await kept(server) == [2, 2]


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
async def test_a_transaction_that_is_aborted_every_time_may_be_tried_later(server: Database, sqlstate: str) -> None:
    runs = 0

    def transaction(connection: Connection) -> None:
        nonlocal runs
        runs += 1
        connection.execute(text(failing(sqlstate)))

    with pytest.raises(StoreUnavailable):
        await server.write(transaction)
    assert runs == DEADLOCK_TRIES


async def test_any_number_of_services_may_share_it(postgres_url: str) -> None:
    replicas = [Store(postgres_url), Store(postgres_url)]
    for replica in replicas:
        replica.lock()
        assert not replica.embedded
        await replica.close()


async def test_replicas_wait_for_a_connection_rather_than_open_more(server: Database) -> None:
    """A pool without a bound would take the server's connections from the other replicas."""
    await run(server, "CREATE TABLE kept (n integer)")
    await asyncio.gather(*(run(server, f"INSERT INTO kept VALUES ({number})") for number in range(40)))  # noqa: S608  # numbers of ours
    assert await kept(server) == list(range(40))
