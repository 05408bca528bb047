"""Whatever is told late, twice, in any order and with however little in it: contacts hold what the CRM's records do."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.model.acts import Act, Crash, Deliver, Go, Wait, WaitUntilDue
from tests.model.house import House, house
from tests.model.machine import run
from tests.model.play import play
from tests.model.portal import BEFORE, CONFIGURATION, NOW
from tests.model.thin import AS_CREATION, AS_NAMES, Edit, Merge, PortalWorld, Reads, Send, ThinJourney
from tests.model.tries import Seam

EXAMPLES: Final = 40
STEPS: Final = 25

MADE: Final[tuple[Act, ...]] = (
    Edit(0, {"jobtitle": "CFO", "plan": "Free", "street": "Elm 1", "city": "Lund"}, AS_CREATION),
    Send(),
    Deliver(),
    Wait("an hour"),
)
"""A contact whose record has been there for long."""


@pytest.fixture(scope="module")
def opened() -> Iterator[House]:
    with house(CONFIGURATION) as opened:
        yield opened


def test_contacts_hold_what_the_records_do_whatever_happens(opened: House) -> None:
    """The same examples in every run; ``python -m tests.model --thin`` draws others, and more of them."""
    run(opened, examples=EXAMPLES, steps=STEPS, machine=ThinJourney)


@pytest.mark.parametrize("how", [AS_CREATION, AS_NAMES])
def test_what_is_told_without_a_value_is_read_until_the_answer_is_as_new(opened: House, how: str) -> None:
    play(opened, [*MADE, Reads(BEFORE), Edit(0, {"plan": "Pro"}, how), Send(), Deliver()], new_world=PortalWorld)


def test_an_answer_that_is_a_moment_older_is_too_old(opened: House) -> None:
    """It was within the second that some CRMs' clocks leave open."""
    edits: list[Act] = [Edit(0, {"jobtitle": "COO"}, AS_NAMES), Send(), Wait("a second"), Wait("a second")]
    last: list[Act] = [Reads("as of a moment ago"), Edit(0, {"plan": "Pro"}, AS_NAMES), Send(), Deliver()]
    play(opened, [*MADE, Edit(0, {"plan": "Big"}, AS_NAMES), *last], new_world=PortalWorld)
    play(opened, [*MADE, *edits, *last], new_world=PortalWorld)


def test_a_joined_value_does_not_take_its_other_part_from_an_older_answer(opened: House) -> None:
    """The street was delivered with the answer before, which showed the old one, and the next showed it again."""
    street: list[Act] = [Edit(0, {"street": "Oak 2"}), Send(), WaitUntilDue(), Deliver()]
    play(opened, [*MADE, Reads(BEFORE), *street, Edit(0, {"city": "Ystad"}), Send(), Deliver()], new_world=PortalWorld)


def test_an_older_answer_does_not_pass_for_new_by_a_value_that_came_back(opened: House) -> None:
    """It showed the street that was told last, from before: all the rest of it was taken for as new."""
    away: list[Act] = [Edit(0, {"street": "Oak 2"}), Send(), Edit(0, {"plan": "Pro"}), Send(), Deliver()]
    back: list[Act] = [Edit(0, {"street": "Elm 1"}), Send(), Deliver()]
    play(opened, [*MADE, Reads(BEFORE), *away, *back], new_world=PortalWorld)


def test_what_an_answer_does_not_show_yet_is_laid_over_it(opened: House) -> None:
    """It shows the street, for which it was asked, and the event says the plan."""
    street: list[Act] = [Edit(0, {"street": "Oak 2"}), Send(), Wait("a second"), Wait("a second")]
    plan: list[Act] = [Edit(0, {"plan": "Pro"}), Send(), Reads(BEFORE), Deliver()]
    play(opened, [*MADE, *street, *plan], new_world=PortalWorld)


def test_what_an_older_answer_shows_does_not_pass_for_as_new_as_what_is_laid_over_it(opened: House) -> None:
    """Between the street and the plan came the title, which needed no record."""
    street: list[Act] = [Edit(0, {"street": "Oak 2"}), Wait("a second"), Wait("a second")]
    title: list[Act] = [Edit(0, {"jobtitle": "COO"}), Send(), Deliver()]
    plan: list[Act] = [Edit(0, {"plan": "Pro"}), Send(), Send(), Reads(BEFORE), Deliver()]
    play(opened, [*MADE, *street, *title, *plan], new_world=PortalWorld)


@pytest.mark.parametrize("how", [AS_CREATION, "with values"])
def test_a_record_that_is_not_there_yet_is_not_taken_for_gone(opened: House, how: str) -> None:
    """Its creation need not be told, nor before the rest."""
    play(opened, [Reads(BEFORE), Edit(0, {"plan": "Free"}, how), Send(), Deliver()], new_world=PortalWorld)


@pytest.mark.parametrize("read", [NOW, BEFORE])
def test_a_survivor_that_nothing_but_its_link_names_goes_on_where_the_other_was(opened: House, read: str) -> None:
    merged: list[Act] = [Reads(read), Merge(0), Edit(0, {"plan": "Pro"}, AS_NAMES), Send(), Deliver()]
    play(opened, [*MADE, *merged], new_world=PortalWorld)


@pytest.mark.parametrize("seam", [Seam.RESOLVING, Seam.MAPPING, Seam.HOLDING, Seam.SENDING, Seam.RECORDING])
@pytest.mark.parametrize("then", [Go(), Crash(lands=True)], ids=["goes on", "dies"])
def test_what_was_read_before_the_record_changed_does_not_stay(opened: House, seam: Seam, then: Act) -> None:
    first: list[Act] = [Edit(0, {"plan": "Free"}, AS_CREATION), Send(), Deliver(until=seam)]
    play(opened, [*first, Edit(0, {"plan": "Pro"}, AS_NAMES), Send(), then], new_world=PortalWorld)
    newer: list[Act] = [Edit(0, {"plan": "Pro"}, AS_NAMES), Send(), Deliver(until=seam)]
    play(opened, [*MADE, *newer, Merge(0), then], new_world=PortalWorld)
