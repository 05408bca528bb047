"""A path is relied on once it came steadily, gone once it stays away, and of the type that its values have."""

from datetime import timedelta
from typing import Any

import pytest

from service.drift import (
    BACK_AFTER,
    GONE_AFTER,
    GONE_AFTER_LEFT_OUT,
    STEADY,
)
from service.model import Action, Cause, Json, Record
from tests.drift.watching import CFO, GONE, OF_TITLE, SOURCE, TITLE, TURNED, Watching
from tests.support.clock import START


def test_a_path_that_was_relied_on_and_stays_away_is_gone_and_counted_on() -> None:
    watching = Watching(TITLE).see(CFO, STEADY).see({}, GONE_AFTER - 1)
    assert watching.take() == {}
    assert watching.see({}).take() == {(GONE, *OF_TITLE): GONE_AFTER}
    assert watching.see({}, 2).take() == {(GONE, *OF_TITLE): 2}


def test_a_path_is_gone_since_it_came_last() -> None:
    """From then on there is something to replay, once the rule is mended."""
    watching = Watching(TITLE).see(CFO, STEADY + 5).see({}, GONE_AFTER)
    (drift,) = watching.lookout.take().drifts
    assert drift.first_seen_at == START + timedelta(minutes=STEADY + 5)
    assert drift.last_seen_at == START + timedelta(minutes=STEADY + 5 + GONE_AFTER)


def test_null_and_blank_are_no_absence() -> None:
    """The CRM still has the field: it is empty."""
    watching = Watching(TITLE).see(CFO, STEADY)
    for _ in range(4):
        watching.see({}, GONE_AFTER - 1).see({"job_title": None}).see({}, GONE_AFTER - 1).see({"job_title": ""})
    assert watching.take() == {}


def test_a_path_that_comes_now_and_then_is_never_gone() -> None:
    watching = Watching(TITLE)
    for _ in range(5):
        watching.see(CFO, STEADY - 1).see({})
    assert watching.see({}, GONE_AFTER_LEFT_OUT * 2).take() == {}


@pytest.mark.parametrize(
    ("path", "record", "basis"),
    [
        ("job_title", CFO, {"leaves_out_empty": True}),
        ("emails[?primary].value", {"emails": [{"primary": True, "value": "amara@northwind.example"}]}, {}),
        ("emails[0]", {"emails": ["amara@northwind.example"]}, {}),
    ],
    ids=["empty fields left out", "a selector", "an index"],
)
def test_where_absence_is_usual_it_takes_longer(path: str, record: Record, basis: dict[str, bool]) -> None:
    watching = Watching({"mapping": {"title": path}}, **basis).see(record, STEADY).see({}, GONE_AFTER_LEFT_OUT - 1)
    assert watching.take() == {}
    assert watching.see({}).take() == {(GONE, "title", path): GONE_AFTER_LEFT_OUT}


@pytest.mark.parametrize("path", ["phones[?primary].value", "phones[0].value", "contact.phones[-1].value"])
def test_people_without_any_entry_in_a_list_are_no_absence(path: str) -> None:
    """As when a thousand people without a phone are edited at once."""
    phones: list[Json] = [{"primary": True, "value": "020 7946 0018"}]
    watching = Watching({"mapping": {"phone": path}})
    for some in (phones, None):
        watching.see({"phones": some, "contact": {"phones": some}}, STEADY)
        watching.see({"phones": [], "contact": {"phones": []}}, GONE_AFTER_LEFT_OUT * 2)
    assert watching.take() == {}
    renamed: Record = {"telephones": phones, "contact": {"telephones": phones}}
    assert watching.see(renamed, GONE_AFTER_LEFT_OUT).take() == {(GONE, "phone", path): GONE_AFTER_LEFT_OUT}


@pytest.mark.parametrize(
    "change",
    [{"thin": True}, {"action": Action.DELETED}, {"replayed": True}, {"dedup_key": "import:4f52a7e9"}],
    ids=["thin", "deleted", "replayed", "imported"],
)
def test_what_is_not_the_whole_record_of_now_proves_no_absence(change: dict[str, Any]) -> None:
    watching = Watching(TITLE).see(CFO, STEADY)
    assert watching.see({}, GONE_AFTER * 2, **change).take() == {}


def test_a_path_that_comes_back_three_times_in_a_row_is_not_gone_any_more() -> None:
    watching = Watching(TITLE).see(CFO, STEADY).see({}, GONE_AFTER)
    watching.take()
    watching.see(CFO, BACK_AFTER - 1).see({}).see({"job_title": None}, BACK_AFTER - 1)
    assert watching.lookout.take().healed == frozenset()
    watching.see({"job_title": None})
    assert watching.lookout.take().healed == {Cause(SOURCE, GONE, *OF_TITLE)}
    assert watching.see({}, GONE_AFTER - 1).take() == {}


def test_a_fallback_counts_for_itself_once_it_was_relied_on() -> None:
    """The first path is there all along, so that no field would ever show what happened to the second."""
    watching = Watching({"mapping": {"title": {"from": ["job_title", "role"]}}})
    watching.see({**CFO, "role": "Finance"}, STEADY).see(CFO, GONE_AFTER)
    assert watching.take() == {(GONE, "title", "role"): GONE_AFTER}
    never = Watching({"mapping": {"title": {"from": ["job_title", "role"]}}}).see(CFO, GONE_AFTER * 2)
    assert never.take() == {}


def test_a_path_is_looked_at_even_while_its_rule_is_skipped() -> None:
    rule: dict[str, Json] = {"from": "job_title", "when": {"field": "$event.actor", "equals": "7"}}
    watching = Watching({"mapping": {"title": rule}}).see(CFO, STEADY, actor="8").see({}, GONE_AFTER, actor="7")
    assert watching.take() == {(GONE, *OF_TITLE): GONE_AFTER}


def test_one_path_is_one_cause_whatever_reads_it() -> None:
    rules: dict[str, Json] = {
        "mapping": {
            "title": {"from": "job_title", "when": {"field": "kind", "exists": True}},
            "custom": {"Person": {"concat": ["kind", "job_title"]}, "Who": "$event.actor"},
        },
        "when": {"field": "job_title", "exists": True},
    }
    watching = Watching(rules).see({**CFO, "kind": "person"}, STEADY).see({"kind": "person"}, GONE_AFTER)
    assert watching.take() == {(GONE, "title, custom.Person, when", "job_title"): GONE_AFTER}


def test_a_path_that_the_filter_asks_for_is_looked_at_where_it_leaves_out_what_comes() -> None:
    """Once it is renamed, nothing is let through any more, and nothing fails."""
    rules: dict[str, Json] = {**TITLE, "when": {"field": "kind", "equals": "customer"}}
    watching = Watching(rules).see({**CFO, "kind": "customer"}, STEADY).see({"type": "customer"}, GONE_AFTER)
    assert watching.take() == {(GONE, "when", "kind"): GONE_AFTER}, "what is left out says nothing of its title"


def test_a_value_of_another_type_is_told_with_both_types_and_no_value() -> None:
    watching = Watching(TITLE).see(CFO, STEADY).see({"job_title": ["CFO", "canary"]})
    (drift,) = watching.lookout.take().drifts
    assert (drift.cause, drift.detail, drift.count) == (Cause(SOURCE, TURNED, *OF_TITLE), "text → list", 1)
    assert drift.event_id == STEADY + 1, "the one that shows it"
    assert "canary" not in repr(drift)


@pytest.mark.parametrize(
    ("before", "after", "detail"),
    [
        (7, "7", "number → text"),
        (0, "0", "number → text"),
        ("7", 7.5, "text → number"),
        (False, 1, "boolean → number"),
        ({"id": 7}, [7], "object → list"),
        (["a"], {"a": True}, "list → object"),
    ],
)
def test_each_json_type_is_told_from_the_others(before: Json, after: Json, detail: str) -> None:
    watching = Watching(TITLE).see({"job_title": before}, STEADY).see({"job_title": after})
    assert [one.detail for one in watching.lookout.take().drifts] == [detail]


def test_whole_and_other_numbers_are_one_type_and_what_is_empty_has_none() -> None:
    watching = Watching(TITLE).see({"job_title": 7}, STEADY)
    values: list[Json] = [7.5, None, "", [], {}]
    for value in values:
        watching.see({"job_title": value}, 2)
    assert watching.take() == {}


def test_a_path_whose_type_was_always_mixed_does_not_drift() -> None:
    watching = Watching(TITLE)
    for _ in range(STEADY):
        watching.see({"job_title": 7}).see({"job_title": "7"})
    assert watching.take() == {}


def test_a_type_that_is_steady_again_is_the_usual_one() -> None:
    watching = Watching(TITLE).see(CFO, STEADY).see({"job_title": 7}, STEADY - 1)
    assert watching.take() == {(TURNED, *OF_TITLE): STEADY - 1}
    watching.see({"job_title": 7})
    noticed = watching.lookout.take()
    assert noticed.drifts == ()
    assert noticed.healed == {Cause(SOURCE, TURNED, *OF_TITLE)}
    assert watching.see({"job_title": 7}, 3).take() == {}
    assert watching.see(CFO).take() == {(TURNED, *OF_TITLE): 1}


def test_thin_events_tell_a_type_where_nothing_is_read_back() -> None:
    """Else the events may spell a value in another way than the records do."""
    for reads_back, found in ((False, {(TURNED, *OF_TITLE): 1}), (True, {})):
        watching = Watching(TITLE, reads_back=reads_back)
        watching.see(CFO, STEADY, thin=True).see({"job_title": 7}, thin=True)
        assert watching.take() == found
