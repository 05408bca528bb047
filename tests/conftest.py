"""What every test may ask for: the event loop, a clock, and the log on both of its engines."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from service.store import Store
from tests.support.clock import Clock
from tests.support.postgres import fresh_database, running_postgres
from tests.support.sandbox import RunningSandbox, running_sandbox


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def served() -> Iterator[RunningSandbox]:
    """A ChartMogul with its usual people; a module that needs others has a ``served`` of its own."""
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(served: RunningSandbox) -> RunningSandbox:
    """The same, as if nothing had happened."""
    served.reset()
    return served


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server, started once a session."""
    with running_postgres() as url:
        yield url


@pytest.fixture
async def postgres_url(postgres: str) -> AsyncIterator[str]:
    """An empty PostgreSQL database."""
    async with fresh_database(postgres) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'log.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
async def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """An empty database of either engine."""
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "sqlite":
            yield f"sqlite:///{tmp_path / 'log.db'}"
        else:
            yield await stack.enter_async_context(fresh_database(request.getfixturevalue("postgres")))


@pytest.fixture
async def store(store_url: str, clock: Clock) -> AsyncIterator[Store]:
    """A migrated log with the account ``default``, on either engine."""
    store = Store(store_url)
    try:
        await store.migrate()
        await store.accounts.ensure(["default"], now=clock())
        yield store
    finally:
        await store.close()


@pytest.fixture
async def other_store(store: Store, store_url: str) -> AsyncIterator[Store]:
    """The same log, opened by another replica."""
    del store  # migrated first
    other = Store(store_url)
    try:
        yield other
    finally:
        await other.close()
