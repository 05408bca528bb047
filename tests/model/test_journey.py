"""Whatever happens, in whatever order: newest wins, nothing is lost, the books close, and no call is for nothing."""

from typing import Final

from tests.model.house import House
from tests.model.machine import run

EXAMPLES: Final = 60
STEPS: Final = 30


def test_the_journey_keeps_its_promises_whatever_happens(opened: House) -> None:
    """The same examples in every run; ``python -m tests.model`` draws others, and more of them."""
    run(opened, examples=EXAMPLES, steps=STEPS)
