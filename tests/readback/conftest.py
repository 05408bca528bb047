"""The directory, as it is served."""

from collections.abc import Iterator

import pytest

from tests.readback.directory import Api
from tests.support.apis.server import Served, serving


@pytest.fixture
def api() -> Api:
    return Api({str(number): {"firstname": f"Amara {number}"} for number in range(20)})


@pytest.fixture
def served(api: Api) -> Iterator[Served]:
    with serving(api) as served:
        yield served
