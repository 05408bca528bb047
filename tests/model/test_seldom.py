"""What takes so many steps in the right order that it is seldom drawn, and yet must be right."""

import pytest

from tests.model.acts import Act, Crash, Deliver, Go, Land, Rest, Tell, Wait, WaitUntilDue
from tests.model.examples import HUBSPOT, OLDER_MAY_LAND, PIPEDRIVE, SLOW_OWNER
from tests.model.house import House
from tests.model.play import play
from tests.model.tries import Seam

NEWER: tuple[Act, ...] = (Tell(HUBSPOT, {"title": "B"}), Deliver())
"""Another record of the person brings a newer value, and ChartMogul says so."""


def test_a_value_that_may_have_been_changed_by_a_500_is_not_taken_for_being_there(opened: House) -> None:
    """B was applied, though the answer was an error: A, which comes once more and newer, must go out again."""
    play(
        opened,
        [
            Tell(PIPEDRIVE, {"title": "A"}),
            Deliver(),
            Tell(HUBSPOT, {"title": "B"}),
            Deliver("500, applied"),
            Tell(PIPEDRIVE, {"title": "A"}),
            Deliver(),
            Rest(),
        ],
    )


def test_what_was_read_before_the_contact_was_held_is_not_believed_against_what_is_known_since(opened: House) -> None:
    """A was there when it was searched for, and B came in before it was held."""
    play(
        opened,
        [
            Tell(PIPEDRIVE, {"title": "A"}, age_s=60),
            Deliver(),
            Tell(HUBSPOT, {"title": "A"}),
            Deliver(until=Seam.HOLDING),
            Tell(PIPEDRIVE, {"title": "B"}, age_s=1),
            Deliver(),
            Go(),
            Rest(),
        ],
    )


def test_a_value_that_a_dead_newer_one_may_have_gone_over_is_not_taken_for_being_there(opened: House) -> None:
    """B died, but it landed: C was confirmed before, and comes once more when nobody remembers the doubt."""
    play(
        opened,
        [
            Tell(HUBSPOT, {"title": "B"}),
            Deliver("closed, lands late"),
            WaitUntilDue(),
            Deliver("422"),
            Tell(PIPEDRIVE, {"title": "C"}, age_s=60),
            Deliver(),
            Land(),
            Wait("until nothing can land late"),
            Tell(PIPEDRIVE, {"first_name": "D"}),
            Deliver(),
            Tell(PIPEDRIVE, {"title": "C"}),
            Deliver(),
            Rest(),
        ],
    )


def test_what_a_slow_owner_sent_long_after_its_lease_is_made_good(opened: House) -> None:
    """So long after that nothing else remembers that it might: it says so itself."""
    wait: list[Act] = [Wait("until nothing can land late"), Deliver()]
    play(opened, [*SLOW_OWNER, *NEWER, *wait, Deliver(), *wait, Go(), Rest()])


def test_what_a_slow_owner_sent_is_made_good_by_whoever_held_the_contact_meanwhile(opened: House) -> None:
    """Its doubt came in between: the one who held the contact knew of another, but not of this one."""
    play(
        opened,
        [
            *SLOW_OWNER,
            Tell(PIPEDRIVE, {"title": "B"}),
            Deliver(until=Seam.SENDING),
            Wait("until nothing can land late"),
            Go(0, weather="closed, lands late"),
            Go(0),
            Rest(),
        ],
    )


def test_an_owner_whose_contact_was_taken_records_nothing_though_its_lease_was_not_taken_back(opened: House) -> None:
    play(opened, [*SLOW_OWNER[:-1], *NEWER, Go(), Rest()])


@pytest.mark.parametrize("seam", [Seam.RESOLVING, Seam.HOLDING, Seam.SENDING, Seam.RECORDING])
def test_a_change_that_comes_while_another_is_under_way_is_delivered_after_it(opened: House, seam: Seam) -> None:
    play(opened, [Tell(HUBSPOT, {"title": "A"}), Deliver(until=seam), Tell(HUBSPOT, {"title": "B"}), Go(), Rest()])


def test_an_older_value_that_lands_late_is_gone_over_once_more(opened: House) -> None:
    play(opened, [*OLDER_MAY_LAND, Land(), Rest()])
    play(opened, [*OLDER_MAY_LAND, Rest()])


@pytest.mark.parametrize("source", [PIPEDRIVE, HUBSPOT])
def test_what_a_crash_left_on_its_way_is_gone_over_once_more(opened: House, source: int) -> None:
    """The process died before it heard of A, and nobody but the contact's intent knows that A was sent."""
    sent: list[Act] = [Tell(PIPEDRIVE, {"title": "A"}, age_s=1), Deliver(until=Seam.SENDING), Crash(lands=True)]
    play(opened, [*sent, Tell(source, {"title": "B"}), WaitUntilDue(), Deliver(), Deliver(), Land(), Rest()])
