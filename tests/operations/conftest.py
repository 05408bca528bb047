"""An office with people on three pages of ChartMogul's list, some of them known to the service."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.office import TYPED, Office
from tests.support.sandbox import RunningSandbox, running_sandbox, seed_of
from tests.support.service import configure, running

PEOPLE: Final = 450
KNOWN: Final = (0, 199, 200, 251, 449)
"""On every page, and at their edges."""
WHOLE: Final = {"pages": 3, "contacts": PEOPLE, "compared": len(KNOWN)}
"""What a comparison counts where nothing differs."""


@pytest.fixture(scope="module")
def served() -> Iterator[RunningSandbox]:
    with running_sandbox(seed_of(PEOPLE, custom_attributes=("Score", "Seen", "Newsletter", "Region"))) as sandbox:
        yield sandbox


@pytest.fixture
async def office(tmp_path: Path, sandbox: RunningSandbox) -> AsyncIterator[Office]:
    settings = {"CHARTMOGUL_BASE_URL": sandbox.base_url, "CHARTMOGUL_RATE_PER_S": "40"}
    async with running(configure(tmp_path, TYPED, **settings)) as service:
        office = Office(service, sandbox)
        for number in KNOWN:
            await office.told(number, f"evt-{number}", job_title=f"Title {number}", first_name="Ada")
        yield office
