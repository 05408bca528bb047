"""Events become fields: by rules of now or then, and over the record as its CRM has it where that was read."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.coalesce import plan
from service.mapping import Rules
from service.model import (
    Action,
    Change,
    Disposition,
    Event,
    EventState,
    Json,
    Known,
    Record,
    from_micros,
    to_micros,
)
from service.readback.base import Reading
from service.translate import (
    FILTERED,
    GONE,
    LAG,
    NO_FIELD,
    NOT_KEPT,
    NOT_READ,
    NOT_READABLE,
    READ,
    ReadRecord,
    Settled,
    behind,
    lacks,
    recall,
    translate,
)
from tests.support.merging import AT

AT_US = to_micros(AT)
NAME: dict[str, Json] = {"concat": ["firstname", "lastname"], "separator": " "}
RULES = Rules.parse({"mapping": {"title": "jobtitle", "email": "email", "custom": {"Name": NAME}}})


def event(
    number: int,
    values: Mapping[str, Json] | None = None,
    *,
    at: int = 0,
    action: Action = Action.UPDATED,
    **rest: Any,  # noqa: ANN401  # any field of a change
) -> Event:
    """A thin event of so many microseconds after ``AT``."""
    said = values or {}
    fields: dict[str, Any] = {"thin": True, "changed_fields": tuple(said) or None, **rest}
    version = fields.pop("replay_version", None)
    change = Change(f"hs-{number}", "contact", "991", action, values=said, **fields)
    return Event(number, "hubspot", AT, AT_US + at, change, version)


def record(values: Mapping[str, Json], at: int = 0) -> ReadRecord:
    return ReadRecord(Reading(values, from_micros(AT_US + at)))


def orders(settled: Settled) -> dict[str, int]:
    """Of when each field is, in microseconds after ``AT``."""
    planned = plan(settled.mapped, Known(), now=AT + timedelta(days=1))
    return {name: one.order[0] - AT_US for name, one in planned.send.items()}


def fields(settled: Settled) -> dict[str, Json]:
    return dict(settled.mapped[0][1].fields) if settled.mapped else {}


def ends(settled: Settled) -> dict[int, tuple[EventState, str | None]]:
    return {end.event_id: (end.state, end.reason) for end in settled.ended}


WHOLE: dict[str, Json] = {"firstname": "Amara", "lastname": "Okafor", "jobtitle": "CFO", "email": "amara@example.com"}
EMAIL = (frozenset({"email"}),)


@pytest.mark.parametrize(
    ("values", "needed"),
    [
        ({"jobtitle": "CFO"}, False),
        ({"email": None}, False),
        ({"company": "Northwind"}, False),
        ({"firstname": "Amara"}, True),
        ({"firstname": "Amara", "lastname": "Okafor"}, False),
        ({}, True),
    ],
)
def test_a_record_is_read_where_a_rule_needs_more_than_the_event_says(values: dict[str, Json], needed: bool) -> None:  # noqa: FBT001  # a column of the table
    assert lacks(RULES, [event(1, values)], ()) is needed


@pytest.mark.parametrize("name", ["jobtitle", "jobtitle.text"])
def test_a_field_that_changed_without_its_value_is_read_back(name: str) -> None:
    """HubSpot tells that a sensitive property changed, and not to what."""
    assert lacks(RULES, [event(1, changed_fields=(name,))], ())
    assert not lacks(RULES, [event(1, changed_fields=("company",))], ())


def test_an_event_that_is_whole_is_never_read_back() -> None:
    whole = event(1, {"firstname": "Amara"}, thin=False)
    assert not lacks(RULES, [whole], EMAIL)


def test_a_record_is_read_where_the_contact_cannot_be_found_without() -> None:
    title = event(1, {"jobtitle": "CFO"})
    assert lacks(RULES, [title], EMAIL)
    assert not lacks(RULES, [title, event(2, {"email": "amara@example.com"})], EMAIL)
    assert not lacks(RULES, [title], ())
    assert not lacks(RULES, [title], (frozenset({"email", "company"}), frozenset({"jobtitle"})))


def test_a_filter_needs_its_field_too() -> None:
    rules = Rules.parse({"mapping": {"title": "jobtitle"}, "when": {"field": "lifecyclestage", "equals": "customer"}})
    assert lacks(rules, [event(1, {"jobtitle": "CFO"})], ())
    assert rules.needs == {"jobtitle", "lifecyclestage"}
    assert not lacks(rules, [event(1, {"jobtitle": "CFO", "lifecyclestage": "lead"})], ())


def test_a_deletion_is_not_read_back() -> None:
    assert not lacks(RULES, [event(1, action=Action.DELETED)], EMAIL)


def test_a_record_that_was_read_stands_for_every_event_and_is_of_its_own_time() -> None:
    settled = translate(RULES, [event(2, at=3), event(1, {"firstname": "Amara"}, at=1)], read=record(WHOLE, 9))
    assert fields(settled) == {"title": "CFO", "email": "amara@example.com", "custom.Name": "Amara Okafor"}
    assert set(orders(settled).values()) == {9}
    assert ends(settled) == {1: (EventState.MERGED, READ)}
    assert settled.ended[0].by_event_id == 2
    assert settled.record is not None
    assert settled.record.values == WHOLE


def test_what_a_late_answer_does_not_show_yet_is_laid_over_it_and_each_field_is_of_its_own_time() -> None:
    """A CRM's read may lag behind its webhooks: an old record must not pass for a new one."""
    events = [event(1, {"firstname": "Ada"}, at=5), event(2, {"jobtitle": "COO"}, at=7)]
    settled = translate(RULES, events, read=record(WHOLE, 2))
    assert fields(settled) == {"title": "COO", "email": "amara@example.com", "custom.Name": "Ada Okafor"}
    assert orders(settled) == {"title": 7, "email": 2, "custom.Name": 5}


def test_an_answer_of_the_same_whole_second_is_as_new_as_what_it_shows() -> None:
    """Some CRMs tell the time of a change in whole seconds."""
    told = [event(1, {"jobtitle": "CFO"}, at=7)]
    assert set(orders(translate(RULES, told, read=record(WHOLE))).values()) == {7}
    assert set(orders(translate(RULES, [*told, event(2, at=9)], read=record(WHOLE))).values()) == {9}


def test_an_older_answer_that_shows_what_a_newer_event_says_is_as_new_in_that_alone() -> None:
    """A value may come back to what it was, and others have changed meanwhile, which the answer does not show."""
    settled = translate(RULES, [event(1, {"jobtitle": "CFO"}, at=7), event(2, at=9)], read=record(WHOLE, 2))
    assert orders(settled) == {"title": 7, "email": 2, "custom.Name": 2}


def test_what_a_record_says_since_stands_over_an_older_event() -> None:
    """It changed again meanwhile; the event of that is still on its way."""
    settled = translate(RULES, [event(1, {"jobtitle": "CTO"}, at=5)], read=record(WHOLE, 9))
    assert fields(settled)["title"] == "CFO"
    assert set(orders(settled).values()) == {9}


def test_an_older_value_is_not_laid_over_a_newer_one() -> None:
    events = [event(1, {"jobtitle": "CTO"}, at=5), event(2, {"jobtitle": "CFO"}, at=7)]
    settled = translate(RULES, events, read=record(WHOLE, 2))
    assert fields(settled)["title"] == "CFO"


def test_a_value_that_only_an_event_has_is_mapped_too() -> None:
    settled = translate(RULES, [event(1, {"jobtitle": "COO"}, at=5)], read=record({"email": "amara@example.com"}, 2))
    assert orders(settled) == {"title": 5, "email": 2}


def test_a_record_that_is_gone_ends_its_events_but_not_its_deletion() -> None:
    rules = Rules.parse({"mapping": {"title": "jobtitle"}, "on_deleted": {"custom": {"In CRM": {"const": "no"}}}})
    settled = translate(rules, [event(1), event(2, action=Action.DELETED)], read=ReadRecord(None))
    assert ends(settled) == {1: (EventState.IGNORED, GONE)}
    assert fields(settled) == {"custom.In CRM": "no"}


def test_a_deletion_says_only_what_the_configuration_lets_it_say() -> None:
    gone, merged = event(1, action=Action.DELETED), event(2, action=Action.DELETED, merged_into="992")
    assert ends(translate(RULES, [gone, merged])) == {
        1: (EventState.IGNORED, "deleted in the CRM"),
        2: (EventState.IGNORED, "merged into 992 in the CRM"),
    }


def test_the_changes_of_a_record_that_the_filter_leaves_out_are_all_left_out() -> None:
    rules = Rules.parse({"mapping": {"title": "jobtitle"}, "when": {"field": "lifecyclestage", "equals": "customer"}})
    settled = translate(rules, [event(1), event(2, at=1)], read=record({**WHOLE, "lifecyclestage": "lead"}))
    assert ends(settled) == {1: (EventState.IGNORED, FILTERED), 2: (EventState.IGNORED, FILTERED)}
    assert settled.mapped == ()


def test_a_record_that_cannot_be_mapped_ends_all_that_it_stands_for() -> None:
    """Replayed without the others, its newest change need not be read back, and would say only its own value."""
    rules = Rules.parse({"mapping": {"custom": {"Stage": {"from": "stage", "map": {"1": "Lead"}}}}})
    settled = translate(rules, [event(1), event(2, at=1)], read=record({"stage": "9"}))
    assert [(end.event_id, end.state, end.by_event_id) for end in settled.ended] == [
        (2, EventState.DEAD, None),
        (1, EventState.DEAD, None),
    ]


def told(settled: Settled) -> list[tuple[int, list[str]]]:
    """Which events were mapped, and what became of each field."""
    return [(one.id, [trace.result for trace in mapped.traces]) for one, mapped in settled.told]


def test_every_event_that_was_mapped_is_told_of_with_its_traces_whatever_came_of_it() -> None:
    stage: dict[str, Json] = {"from": "stage", "map": {"1": "Lead"}}
    when: dict[str, Json] = {"field": "kind", "exists": False}
    rules = Rules.parse(
        {"mapping": {"custom": {"Stage": stage}}, "when": when, "on_deleted": {"title": {"const": "Gone"}}}
    )
    events = [
        event(1, {"stage": "1"}),
        event(2, {"stage": "9"}),
        event(3, {"stage": None}),
        event(4, {"stage": "1", "kind": "lead"}),
        event(5, action=Action.DELETED),
        event(6, action=Action.DELETED, merged_into="992"),
    ]
    settled = translate(rules, events)
    assert told(settled) == [(5, ["set"]), (1, ["set"]), (2, ["fail"]), (3, ["skip"]), (4, [])], "4 is filtered out"
    assert {one.id for one, _ in settled.mapped} == {1, 5}


@pytest.mark.parametrize(("stage", "result"), [("1", "set"), ("9", "fail")])
def test_a_record_that_was_read_is_told_of_once_and_as_it_was_read(stage: str, result: str) -> None:
    rules = Rules.parse({"mapping": {"custom": {"Stage": {"from": "stage", "map": {"1": "Lead"}}}}})
    settled = translate(rules, [event(1), event(2, at=1)], read=record({"stage": stage, "city": "Lagos"}))
    assert told(settled) == [(2, [result])]
    change = settled.told[0][0].change
    assert (change.values, change.thin) == ({"stage": stage, "city": "Lagos"}, False)


@pytest.mark.parametrize(("kind", "expected"), [("lead", [(2, [])]), ("person", [(2, ["set"])])])
def test_a_record_that_the_filter_leaves_out_is_told_of_once(kind: str, expected: list[tuple[int, list[str]]]) -> None:
    when: dict[str, Json] = {"field": "kind", "equals": "person"}
    rules = Rules.parse({"mapping": {"title": "jobtitle"}, "when": when})
    settled = translate(rules, [event(1), event(2, at=1)], read=record({"kind": kind, "jobtitle": "CFO"}))
    assert told(settled) == expected
    assert settled.told[0][0].change.values == {"kind": kind, "jobtitle": "CFO"}


ORIGIN: dict[str, Json] = {"not": {"field": "$event.origin", "equals": "IMPORT"}}


@pytest.mark.parametrize(("imported", "typed"), [(1, 2), (2, 1)])
def test_a_change_that_the_filter_leaves_out_takes_no_other_along(imported: int, typed: int) -> None:
    """Who made a change is its own, though the record is everybody's."""
    rules = Rules.parse({"mapping": {"title": "jobtitle"}, "when": ORIGIN})
    events = [event(imported, at=imported, origin="IMPORT"), event(typed, at=typed, origin="CRM_UI")]
    settled = translate(rules, events, read=record(WHOLE, 9))
    assert ends(settled) == {imported: (EventState.IGNORED, FILTERED)}
    assert [(one.id, result.fields) for one, result in settled.mapped] == [(typed, {"title": "CFO"})]


def test_a_filter_by_what_changed_asks_each_change_for_itself() -> None:
    rules = Rules.parse({"mapping": {"title": "jobtitle"}, "when": {"field": "email", "changed": True}})
    events = [event(1, {"email": "amara@example.com"}), event(2, {"jobtitle": "CFO"}, at=1), event(3, at=2)]
    settled = translate(rules, events, read=record(WHOLE, 9))
    assert ends(settled) == {1: (EventState.MERGED, READ), 2: (EventState.IGNORED, FILTERED)}
    assert settled.ended[0].by_event_id == 3


def test_a_restored_record_is_newer_than_its_deletion_whatever_its_own_time_says() -> None:
    """Its own time of change may be of before it went; what `on_deleted` said must not stand over it."""
    settled = translate(RULES, [event(1, at=7, action=Action.RESTORED)], read=record(WHOLE, 2))
    assert set(orders(settled).values()) == {7}


def test_rules_that_go_by_what_changed_see_what_any_of_the_events_lists() -> None:
    rules = Rules.parse({"mapping": {"title": {"from": "jobtitle", "only_if_changed": True}, "email": "email"}})
    one, other = event(1, {"jobtitle": "CFO"}), event(2, {"email": "amara@example.com"}, at=1)
    assert fields(translate(rules, [one, other], read=record(WHOLE))).keys() == {"title", "email"}
    assert fields(translate(rules, [other], read=record(WHOLE))).keys() == {"email"}
    assert fields(translate(rules, [other, event(3)], read=record(WHOLE))).keys() == {"title", "email"}


def test_a_replay_is_mapped_by_the_rules_of_its_time_over_the_record_of_now() -> None:
    then = Rules.parse({"mapping": {"last_name": "lastname"}})
    asked = event(1, {"firstname": "Ada"}, at=5, replay_version="9f2c1ab04d7e")
    past = {("9f2c1ab04d7e", "hubspot"): then}
    assert fields(translate(RULES, [asked], past=past, read=record(WHOLE))) == {"last_name": "Okafor"}
    assert fields(translate(RULES, [asked], past=past)) == {}
    forgotten = translate(RULES, [asked], read=record(WHOLE))
    reason = "the configuration 9f2c1ab04d7e is not kept; replay it with the present one"
    assert forgotten.ended == (Disposition(1, EventState.DEAD, reason),)


def test_a_deletion_that_is_replayed_says_what_it_said_then() -> None:
    then = Rules.parse({"mapping": {"title": "jobtitle"}, "on_deleted": {"custom": {"CRM": {"const": "Deleted"}}}})
    asked = event(1, action=Action.DELETED, replay_version="9f2c1ab04d7e")
    for read in (None, record(WHOLE)):  # of which a record that came back can tell nothing
        told = translate(RULES, [asked], past={("9f2c1ab04d7e", "hubspot"): then}, read=read)
        assert fields(told) == {"custom.CRM": "Deleted"}
    assert ends(translate(then, [asked], past={("9f2c1ab04d7e", "hubspot"): RULES})) == {
        1: (EventState.IGNORED, "deleted in the CRM")
    }
    reason = "the configuration 9f2c1ab04d7e is not kept; replay it with the present one"
    assert ends(translate(then, [asked])) == {1: (EventState.DEAD, reason)}


def test_rules_are_made_again_from_what_was_kept_of_them() -> None:
    made = recall({"mapping": {"title": "jobtitle"}})
    assert isinstance(made, Rules)
    assert made.mapping.targets == ("title",)
    assert recall(None) == NOT_KEPT


@pytest.mark.parametrize(
    "kept",
    [
        {"mapping": {"title": {"from": "jobtitle", "transform": ["capitalise"]}}},
        {"mapping": {"job": "jobtitle"}},
        {"mapping": {"title": "jobtitle"}, "when": {"field": "label", "like": "2%"}},
        {"fields": {"title": "jobtitle"}},
    ],
)
def test_rules_that_this_release_does_not_know_any_more_are_told_from_those_not_kept(kept: Record) -> None:
    """A transform may be gone; that must not stop what else is delivered."""
    assert recall(kept) == NOT_READABLE
    past = {("9f2c1ab04d7e", "hubspot"): recall(kept)}
    asked = event(1, {"jobtitle": "CFO"}, replay_version="9f2c1ab04d7e")
    reason = f"the configuration 9f2c1ab04d7e {NOT_READABLE}; replay it with the present one"
    for read in (None, record(WHOLE)):
        assert ends(translate(RULES, [asked], past=past, read=read)) == {1: (EventState.DEAD, reason)}


def test_changes_by_rules_of_several_times_each_carry_the_record_by_their_own() -> None:
    """A replay by earlier rules must not take what happens now along, nor be taken along."""
    past = {("9f2c1ab04d7e", "hubspot"): Rules.parse({"mapping": {"last_name": "lastname"}})}
    newest = event(3, at=9, replay_version="9f2c1ab04d7e")
    events = [event(1), event(2, at=1), event(4, at=2, replay_version="000000000000"), newest]
    settled = translate(RULES, events, past=past, read=record(WHOLE, 9))
    assert {one.id: set(result.fields) for one, result in settled.mapped} == {
        2: {"title", "email", "custom.Name"},
        3: {"last_name"},
    }
    states = {end.event_id: (end.state, end.by_event_id) for end in settled.ended}
    assert states == {1: (EventState.MERGED, 2), 4: (EventState.DEAD, None)}


SECOND = 1_000_000
JUST = AT + LAG - timedelta(microseconds=1)


def told_at(at: int, values: Mapping[str, Json] | None = None, action: Action = Action.UPDATED) -> Event:
    """An event that says of when it is, by the CRM's clock."""
    return event(1, values, at=at, action=action, occurred_at=from_micros(AT_US + at))


@pytest.mark.parametrize("action", [Action.CREATED, Action.UPDATED, Action.MERGED, Action.RESTORED])
def test_a_record_that_was_just_told_of_and_is_not_there_yet_is_read_again(action: Action) -> None:
    """Its creation may be told after its other changes, or not at all."""
    assert behind(RULES, [event(1, action=action)], ReadRecord(None), now=JUST)
    assert not behind(RULES, [event(1, action=action)], ReadRecord(None), now=AT + LAG), "it is gone again"


def test_a_record_that_was_deleted_does_not_come_back() -> None:
    assert not behind(RULES, [event(1, action=Action.DELETED)], ReadRecord(None), now=JUST)


def test_a_record_that_cannot_hold_what_was_told_without_its_value_is_read_again() -> None:
    older = record(WHOLE)
    assert behind(RULES, [told_at(SECOND)], older, now=JUST)
    assert behind(RULES, [told_at(SECOND, action=Action.MERGED)], older, now=JUST)
    assert not behind(RULES, [told_at(SECOND)], older, now=AT + LAG), "not every change moves the record's own time"
    assert not behind(RULES, [told_at(SECOND - 1)], older, now=JUST), "that time may be one of whole seconds"
    assert behind(RULES, [told_at(SECOND - 1)], record(WHOLE, 120_000), now=JUST), "and that one is not"
    assert not behind(RULES, [told_at(SECOND, {"jobtitle": "CFO"})], older, now=JUST), "it says it itself"
    assert not behind(RULES, [event(1, at=SECOND)], older, now=JUST), "it came without a time of its own"
    assert not behind(RULES, [told_at(SECOND)], ReadRecord(Reading(WHOLE)), now=JUST)


def test_a_record_that_must_go_with_what_was_told_is_read_again_where_it_is_older() -> None:
    """What it says of the other part of a joined value may have been told before, and be older than that."""
    ada, amara = told_at(SECOND, {"firstname": "Ada"}), told_at(SECOND, {"firstname": "Amara"})
    assert behind(RULES, [ada], record(WHOLE), now=JUST)
    assert not behind(RULES, [ada], record(WHOLE, SECOND), now=JUST)
    assert behind(RULES, [amara], record(WHOLE, 120_000), now=JUST), "a name may come back to what it was"
    assert not behind(RULES, [amara], record(WHOLE), now=JUST), "its clock tells less than what it shows"


@pytest.mark.parametrize("action", [Action.DELETED, Action.RESTORED])
def test_what_moves_a_record_about_need_not_move_its_time(action: Action) -> None:
    assert not behind(RULES, [told_at(SECOND, action=action)], record(WHOLE), now=JUST)


def test_changes_that_never_show_do_not_put_a_record_off_for_ever() -> None:
    waited, fresh = told_at(SECOND), replace(told_at(2 * SECOND), id=2, received_at=AT + LAG)
    assert behind(RULES, [fresh], record(WHOLE), now=AT + LAG)
    assert not behind(RULES, [waited, fresh], record(WHOLE), now=AT + LAG)


def test_what_has_nothing_to_say_tells_whether_reading_would_help() -> None:
    assert ends(translate(RULES, [event(1), event(2, {"company": "Northwind"})])) == {
        1: (EventState.IGNORED, NOT_READ),
        2: (EventState.IGNORED, NO_FIELD),
    }


NAMES = ["firstname", "lastname", "jobtitle"]
SAID = st.lists(st.tuples(st.integers(0, 20), st.sampled_from(NAMES), st.sampled_from(["a", "b", ""])), max_size=6)


@given(said=SAID, read_at=st.integers(0, 20))
def test_over_a_true_reading_the_newest_value_of_each_field_goes_out(
    said: list[tuple[int, str, str]], read_at: int
) -> None:
    """Whatever had reached the CRM's read by its time, and whatever the order of arrival."""
    rules = Rules.parse({"mapping": {"first_name": "firstname", "last_name": "lastname", "title": "jobtitle"}})
    events = [event(number, {name: value}, at=at) for number, (at, name, value) in enumerate(said, 1)]
    truth: dict[str, Json] = dict.fromkeys(NAMES, "z")
    seen = dict(truth)
    for one in sorted(events, key=lambda one: one.order):
        truth.update(one.change.values)
        if one.order_key - AT_US <= read_at:
            seen.update(one.change.values)
    settled = translate(rules, [*events, event(99, at=0)], read=record(seen, read_at))
    sent = fields(settled)
    assert [sent.get(name, "") for name in ("first_name", "last_name", "title")] == [truth[name] for name in NAMES]
    assert all(at <= max([read_at, *(at for at, _, _ in said)]) for at in orders(settled).values())
