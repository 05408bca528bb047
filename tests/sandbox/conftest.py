"""One real sandbox for the whole folder, as new before each test."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.sandbox import RunningSandbox, running_sandbox


@pytest.fixture(scope="session")
def served() -> Iterator[RunningSandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def client(sandbox: RunningSandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sandbox.base_url, auth=(sandbox.api_key, ""), timeout=10) as client:
        yield client
