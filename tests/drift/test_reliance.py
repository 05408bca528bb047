"""Values without an entry and errors that are skipped are met, and nothing else is taken for them."""

import pytest

from service.model import Action, Cause, DriftKind, Json
from tests.drift.watching import NO_ENTRY, SKIPPED, SOURCE, STOOD_IN, TITLE, Watching


@pytest.mark.parametrize(
    ("rule", "kind"),
    [({}, NO_ENTRY), ({"on_error": "skip"}, NO_ENTRY), ({"default": "Other"}, STOOD_IN), ({"default": None}, STOOD_IN)],
)
def test_a_value_without_an_entry_is_counted_whether_it_fails_is_skipped_or_has_a_default(
    rule: dict[str, Json], kind: DriftKind
) -> None:
    stage: dict[str, Json] = {"from": "label", "map": {"1": "Lead"}, **rule}
    watching = Watching({"mapping": {"custom": {"Stage": stage}}})
    watching.see({"label": "1"}).see({"label": "canary-7b1e"}, 2).see({"label": None}).see({})
    (drift,) = watching.lookout.take().drifts
    assert (drift.cause, drift.detail) == (Cause(SOURCE, kind, "custom.Stage", "label"), None)
    assert drift.count == 2
    assert "canary" not in repr(drift)


def test_a_default_without_a_table_is_no_drift() -> None:
    watching = Watching({"mapping": {"title": {"from": "job_title", "default": "Unknown"}}})
    assert watching.see({}, 3).take() == {}


def test_a_deletion_goes_by_its_own_tables() -> None:
    stage: dict[str, Json] = {"from": "$event.actor", "map": {"7": "by Amara"}, "default": "by others"}
    watching = Watching({**TITLE, "on_deleted": {"custom": {"Gone": stage}}})
    assert watching.see({}, action=Action.DELETED, actor="8").take() == {(STOOD_IN, "custom.Gone", "$event.actor"): 1}
    assert Watching(TITLE).see({}, action=Action.DELETED).take() == {}


def test_an_error_that_is_skipped_is_told_with_its_reason() -> None:
    phone: dict[str, Json] = {"from": "phone", "transform": ["to_int"], "on_error": "skip"}
    watching = Watching({"mapping": {"phone": phone}}).see({"phone": "canary-7b1e"}).see({"phone": "7"}).see({})
    (drift,) = watching.lookout.take().drifts
    assert (drift.cause, drift.count) == (Cause(SOURCE, SKIPPED, "phone", "phone"), 1)
    assert drift.detail == "to_int: found text that is not a whole number; on_error: skip"


def test_an_error_that_fails_is_left_to_its_dead_letter() -> None:
    phone: dict[str, Json] = {"from": "phone", "transform": ["to_int"]}
    assert Watching({"mapping": {"phone": phone}}).see({"phone": "call me"}).take() == {}
