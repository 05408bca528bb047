"""What the model found, each as small as it could be made, with why it went wrong before it was mended."""

import pytest

from service.store.lost import LOST_MAX
from tests.model.acts import Act, Crash, Deliver, Go, Rest, Tell, Wait, WaitUntilDue
from tests.model.examples import HUBSPOT, OLDER_MAY_LAND, PIPEDRIVE, SLOW_OWNER
from tests.model.house import House
from tests.model.play import play
from tests.model.tries import Seam


def test_a_search_that_fails_leaves_the_change_that_names_the_person_waiting(opened: House) -> None:
    """HubSpot's email, mapped to nothing, ended as ignored with the first try; the next one knew nobody, and died."""
    play(opened, [Tell(HUBSPOT, {"title": "A"}), Deliver(search="502, lands late"), WaitUntilDue(), Deliver(), Rest()])


def test_a_letter_of_a_person_who_was_not_found_holds_the_change_that_names_them(opened: House) -> None:
    """Else its replay, after the person was made in ChartMogul, could not find them either."""
    play(opened, [Tell(HUBSPOT, {"title": "A"}), Deliver(search="422"), Rest(replayed=True)])


def test_a_change_that_dies_does_not_take_along_what_its_contact_is_owed(opened: House) -> None:
    """The delivery closed with the dead letter of another field, and nobody sent B once more."""
    play(opened, [*OLDER_MAY_LAND, Tell(PIPEDRIVE, {"first_name": "C"}), Deliver("422"), Rest()])


def test_a_delivery_that_ends_the_process_does_not_either(opened: House) -> None:
    again: list[Act] = [Deliver(until=Seam.RESOLVING), Crash(), WaitUntilDue()]
    play(opened, [*OLDER_MAY_LAND, Tell(PIPEDRIVE, {"first_name": "C"}), *again * LOST_MAX, Rest()])


@pytest.mark.parametrize(
    "again",
    [[Deliver("500"), WaitUntilDue()], [Deliver(until=Seam.RESOLVING), Crash(), WaitUntilDue()]],
    ids=["refused", "lost"],
)
def test_what_is_owed_without_a_change_can_be_replayed(opened: House, again: list[Act]) -> None:
    """A dead letter of it has no change, and a replay of changes passed it by: A would have stood for good."""
    play(opened, [*OLDER_MAY_LAND, WaitUntilDue(), *again * LOST_MAX, Rest(replayed=True)])


@pytest.mark.parametrize(
    "dies",
    [[Deliver(search="422")], [Deliver("404"), WaitUntilDue(), Deliver("404")]],
    ids=["never linked", "linked no more"],
)
def test_what_a_slow_owner_sent_is_made_good_though_its_record_has_no_link(opened: House, dies: list[Act]) -> None:
    """The delivery that was to look at the contact again knew none, and was skipped."""
    newer: list[Act] = [Tell(HUBSPOT, {"title": "B"}), Deliver(), WaitUntilDue(), Deliver()]
    play(opened, [*SLOW_OWNER, *dies, *newer, Go(), Rest()])


def test_two_doubts_of_the_same_patch_are_one_for_as_long_as_the_longer(opened: House) -> None:
    """The slow owner's doubt took the place of its successor's, which then threw it away as its own."""
    play(
        opened,
        [
            *SLOW_OWNER,
            Tell(PIPEDRIVE, {"title": "B"}),
            Deliver(until=Seam.SENDING),
            Wait("a second"),
            Go(0, weather="closed, lands late"),
            Go(0),
            WaitUntilDue(),
            Deliver(),
            Rest(),
        ],
    )
