"""A house for the examples of each file."""

from collections.abc import Iterator

import pytest

from tests.model.house import House, house


@pytest.fixture(scope="module")
def opened() -> Iterator[House]:
    with house() as opened:
        yield opened
