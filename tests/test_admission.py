"""What is let in: what a source ignores stays ignored, but for what somebody is owed all the same."""

from dataclasses import replace

import pytest

from service.admission import EVERYTHING, Admission
from service.model import Action, Change
from service.sources.base import IGNORED


def change(action: Action = Action.UPDATED, *, ignored: str | None = None, **rest: str) -> Change:
    return Change("key", "contact", "991", action, ignored=ignored, **rest)  # type: ignore[arg-type]  # texts alone


def reason(admission: Admission, one: Change) -> str | None:
    (admitted,) = admission.admit([one])
    return admitted.ignored


def test_without_a_word_in_the_configuration_a_change_comes_in_as_it_is() -> None:
    one = change(origin="IMPORT", actor="userId:7")
    assert EVERYTHING.admit([one]) == (one,)


@pytest.mark.parametrize("origin", ["IMPORT", "import"])
def test_an_origin_that_is_to_be_ignored_is_ignored_whatever_its_case(origin: str) -> None:
    echo = Admission(origins=frozenset({"import"}))
    assert reason(echo, change(origin=origin)) == f"origin {origin} is ignored by the configuration"
    assert reason(echo, change(origin="CRM_UI")) is None
    assert reason(echo, change()) is None


def test_an_actor_that_is_to_be_ignored_is_ignored() -> None:
    own = Admission(actors=frozenset({"11250873"}))
    assert reason(own, change(actor="11250873", origin="api")) == "actor 11250873 is ignored by the configuration"
    assert reason(own, change(actor="11250874")) is None
    assert reason(own, change()) is None


@pytest.mark.parametrize("action", IGNORED)
def test_what_moves_a_record_about_stays_ignored(action: Action) -> None:
    if action is not Action.PRIVACY_DELETED:
        assert reason(EVERYTHING, change(action, ignored=IGNORED[action])) == IGNORED[action]


def test_a_privacy_deletion_is_always_owed_whoever_made_it() -> None:
    everything = Admission(frozenset({"import"}), frozenset({"7"}))
    gone = change(Action.PRIVACY_DELETED, ignored=IGNORED[Action.PRIVACY_DELETED], origin="IMPORT", actor="7")
    assert reason(everything, gone) is None


def test_a_deletion_is_owed_where_it_has_something_to_tell() -> None:
    gone = change(Action.DELETED, ignored=IGNORED[Action.DELETED])
    assert reason(Admission(deletions=True), gone) is None
    assert reason(Admission(), gone) == "deleted in the CRM"


def test_a_record_that_was_merged_into_another_is_owed_so_that_its_link_follows() -> None:
    assert reason(EVERYTHING, change(Action.DELETED, ignored=IGNORED[Action.DELETED], merged_into="992")) is None
    survivor = replace(change(Action.MERGED, ignored=IGNORED[Action.MERGED]), merged_from=("992",))
    assert reason(EVERYTHING, survivor) is None


@pytest.mark.parametrize("ignored", [None, IGNORED[Action.MERGED]])
def test_a_merge_is_owed_whoever_made_it(ignored: str | None) -> None:
    """Also where its source lets it in by itself, as HubSpot's does."""
    robot = Admission(actors=frozenset({"7"}))
    merge = replace(change(Action.MERGED, ignored=ignored, actor="7"), merged_from=("992",))
    assert reason(robot, merge) is None
    assert reason(robot, replace(merge, merged_from=())) == "actor 7 is ignored by the configuration"


def test_a_deletion_by_whom_is_ignored_sends_nothing() -> None:
    """`ignore` leaves out what a robot or an import does, and deleting is a part of that."""
    tidying = Admission(actors=frozenset({"7"}), deletions=True)
    gone = change(Action.DELETED, ignored=IGNORED[Action.DELETED], actor="7")
    assert reason(tidying, gone) == "actor 7 is ignored by the configuration"
    assert reason(tidying, replace(gone, actor="8")) is None


def test_what_is_ignored_for_another_reason_stays_so() -> None:
    company = change(Action.DELETED, ignored="object type company")
    assert reason(Admission(deletions=True), company) == "object type company"
