"""Whatever happens, in whatever order: newest wins, nothing is lost, the books close, and no call is for nothing."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.model.house import House, house
from tests.model.machine import run

EXAMPLES: Final = 60
STEPS: Final = 40


@pytest.fixture(scope="module")
def opened() -> Iterator[House]:
    with house() as opened:
        yield opened


def test_the_journey_keeps_its_promises_whatever_happens(opened: House) -> None:
    """The same examples in every run; ``python -m tests.model`` draws others, and more of them."""
    run(opened, examples=EXAMPLES, steps=STEPS)
