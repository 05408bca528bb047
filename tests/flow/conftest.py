"""A service and the ChartMogul that it delivers to."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.flow.steps import RETRY_FOR_S, Started
from tests.support.sandbox import RunningSandbox
from tests.support.service import Running, Shifted, configure, running
from tests.support.webhooks import CONFIGURATION


@pytest.fixture
def shifted() -> Shifted:
    return Shifted()


@pytest.fixture
def start(tmp_path: Path, sandbox: RunningSandbox, shifted: Shifted) -> Started:
    """Starts the service against the sandbox, on SQLite unless a setting says otherwise."""

    def started(configuration: str = CONFIGURATION, **settings: str) -> contextlib.AbstractAsyncContextManager[Running]:
        own = {"CHARTMOGUL_BASE_URL": sandbox.base_url, "RETRY_FOR_S": RETRY_FOR_S, **settings}
        return running(configure(tmp_path, configuration, **own), clock=shifted)

    return started


@pytest.fixture
async def service(start: Started) -> AsyncIterator[Running]:
    async with start() as service:
        yield service


@pytest.fixture
async def either(start: Started, store_url: str) -> AsyncIterator[Running]:
    """The service on either store."""
    async with start(DATABASE_URL=store_url) as service:
        yield service
