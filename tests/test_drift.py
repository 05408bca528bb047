"""What a CRM no longer gives is noticed once it was relied on, counted, and over once it is given again."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.drift import (
    BACK_AFTER,
    DRIFTS_MAX,
    FORGOTTEN_AFTER,
    GONE_AFTER,
    GONE_AFTER_LEFT_OUT,
    PATHS_MAX,
    STEADY,
    Basis,
    Lookout,
    cause_of,
    hint_of,
)
from service.drift.lookout import TOLD_MAX
from service.drift.reliance import LABEL_MAX
from service.mapping import Rules
from service.model import Action, Cause, Change, Drift, DriftKind, Event, Json, Mapped, Noticed, Record, Sighting
from tests.support.clock import START

SOURCE: Final = "pipedrive"
NOTHING: Final[Mapping[str, bool]] = MappingProxyType({})
GONE, TURNED, NO_ENTRY, SKIPPED = DriftKind
TITLE: Final[dict[str, Json]] = {"mapping": {"title": "job_title"}}
STAGE_RULE: Final[dict[str, Json]] = {"Stage": {"from": "label", "map": {"1": "Lead"}}}
STAGE: Final[dict[str, Json]] = {"mapping": {"custom": STAGE_RULE}}


class Watching:
    """A lookout over one source, and the records that it is shown, a minute apart."""

    def __init__(self, document: Record, **basis: bool) -> None:
        self.lookout = Lookout()
        self.minutes = 0
        self.follow(document, basis=basis)

    def follow(self, document: Record, version: str = "0f3a9c51e0b2", basis: Mapping[str, bool] = NOTHING) -> None:
        """Look by other rules."""
        self.rules = Rules.parse(document)
        self.lookout.follow(version, {SOURCE: Basis(self.rules, **basis)})

    def see(self, record: Record, times: int = 1, **change: Any) -> "Watching":  # noqa: ANN401  # any field of a change
        """Let so many changes with this record end."""
        for _ in range(times):
            self.minutes += 1
            self.show(event(self.minutes, record, **change))
        return self

    def show(self, one: Event, source: str = SOURCE) -> None:
        """Let one change end."""
        rules = self.rules.deleted if one.change.action is Action.DELETED else self.rules.mapping
        mapped = Mapped({}) if rules is None else rules.apply(one.change)
        self.lookout.observe(source, [(one, mapped)], at=START + timedelta(minutes=self.minutes))

    def take(self) -> dict[tuple[DriftKind, str, str], int]:
        """What is to be written: the count to be added for each kind, target and path."""
        return counts(self.lookout.take())

    def restarted(self, document: Record, noticed: Noticed, version: str = "0f3a9c51e0b2") -> "Watching":
        """A lookout of another process, which goes on from what was written."""
        other = Watching({"mapping": {"email": "nothing"}})
        other.lookout = Lookout()
        other.lookout.restore(noticed.sightings, noticed.drifts)
        other.minutes = self.minutes
        other.follow(document, version)
        return other


def event(number: int, record: Record, **change: Any) -> Event:  # noqa: ANN401  # any field of a change or an event
    fields: dict[str, Any] = {"dedup_key": f"pd-{number}", "action": Action.UPDATED, **change}
    replayed = fields.pop("replayed", False)
    said = Change(object_type="person", object_id="4711", values=record, **fields)
    return Event(number, SOURCE, START, number, said, None, replayed)


def counts(noticed: Noticed) -> dict[tuple[DriftKind, str, str], int]:
    return {(one.cause.kind, one.cause.target, one.cause.path): one.count for one in noticed.drifts}


CFO: Final[Record] = {"job_title": "CFO"}
OF_TITLE: Final = ("title", "job_title")


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


@pytest.mark.parametrize("rule", [{}, {"on_error": "skip"}, {"default": "Other"}, {"default": None}])
def test_a_value_without_an_entry_is_counted_whether_it_fails_is_skipped_or_has_a_default(
    rule: dict[str, Json],
) -> None:
    stage: dict[str, Json] = {"from": "label", "map": {"1": "Lead"}, **rule}
    watching = Watching({"mapping": {"custom": {"Stage": stage}}})
    watching.see({"label": "1"}).see({"label": "canary-7b1e"}, 2).see({"label": None}).see({})
    (drift,) = watching.lookout.take().drifts
    assert (drift.cause, drift.detail) == (Cause(SOURCE, NO_ENTRY, "custom.Stage", "label"), None)
    assert drift.count == 2
    assert "canary" not in repr(drift)


def test_a_default_without_a_table_is_no_drift() -> None:
    watching = Watching({"mapping": {"title": {"from": "job_title", "default": "Unknown"}}})
    assert watching.see({}, 3).take() == {}


def test_a_deletion_goes_by_its_own_tables() -> None:
    stage: dict[str, Json] = {"from": "$event.actor", "map": {"7": "by Amara"}, "default": "by others"}
    watching = Watching({**TITLE, "on_deleted": {"custom": {"Gone": stage}}})
    assert watching.see({}, action=Action.DELETED, actor="8").take() == {(NO_ENTRY, "custom.Gone", "$event.actor"): 1}
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


def test_each_cause_is_told_once_in_a_process_even_after_it_was_over() -> None:
    watching = Watching(TITLE).see(CFO, STEADY).see({}, GONE_AFTER)
    assert [one.cause.kind for one in watching.lookout.unheard()] == [GONE]
    watching.see(CFO, BACK_AFTER).see({}, GONE_AFTER).see({"job_title": 7})
    assert [one.cause.kind for one in watching.lookout.unheard()] == [TURNED]
    assert watching.lookout.unheard() == []


def test_what_is_over_before_it_was_told_is_not_told() -> None:
    watching = Watching(TITLE).see(CFO, STEADY).see({}, GONE_AFTER).see(CFO, BACK_AFTER)
    assert watching.lookout.unheard() == []


def test_while_all_is_well_nothing_is_written() -> None:
    watching = Watching(TITLE).see(CFO, STEADY)
    (sighting,) = watching.lookout.take().sightings
    assert sighting == Sighting(SOURCE, "job_title", "text", STEADY, 0, START + timedelta(minutes=STEADY))
    assert not watching.see(CFO, 5).see({"job_title": None}, 5).lookout.take()
    watching.see({})
    (sighting,) = watching.lookout.take().sightings
    assert (sighting.missed, sighting.seen_at) == (1, START + timedelta(minutes=STEADY + 5))


def test_what_could_not_be_written_is_gathered_on() -> None:
    watching = Watching(TITLE).see(CFO, STEADY).see({}, GONE_AFTER)
    failed = watching.lookout.take()
    assert watching.take() == {}
    watching.see({}, 2)
    watching.lookout.put_back(failed)
    noticed = watching.lookout.take()
    assert counts(noticed) == {(GONE, *OF_TITLE): GONE_AFTER + 2}
    assert [one.missed for one in noticed.sightings] == [GONE_AFTER + 2]


def test_what_was_over_or_forgotten_meanwhile_is_not_gathered_again() -> None:
    watching = Watching(TITLE).see(CFO, STEADY).see({}, GONE_AFTER)
    failed = watching.lookout.take()
    watching.follow({"mapping": {"title": "role"}}, "2b8f5e6a7c90")
    watching.lookout.put_back(failed)
    noticed = watching.lookout.take()
    assert (noticed.sightings, noticed.drifts) == ((), ())
    assert noticed.healed == {Cause(SOURCE, GONE, *OF_TITLE)}
    assert noticed.forgotten == {(SOURCE, "job_title")}
    watching.lookout.put_back(noticed)
    assert watching.lookout.take() == noticed
    watching.lookout.follow("9d1c2b8f4f52", {})
    watching.lookout.put_back(failed)
    assert watching.lookout.take().sightings == ()


def test_a_path_that_is_read_on_is_known_on_by_other_rules() -> None:
    watching = Watching(TITLE).see(CFO, STEADY).see({}, GONE_AFTER - 1)
    watching.follow({"mapping": {"title": "job_title", "notes": "about"}}, "2b8f5e6a7c90")
    assert watching.see({}).take() == {(GONE, *OF_TITLE): GONE_AFTER}


def test_what_other_rules_do_not_ask_for_is_over() -> None:
    watching = Watching(TITLE).see(CFO, STEADY).see({}, GONE_AFTER)
    watching.follow({"mapping": {"custom": {"Role": "job_title"}}}, "2b8f5e6a7c90")
    assert watching.lookout.take().healed == {Cause(SOURCE, GONE, *OF_TITLE)}
    assert watching.see({}).take() == {(GONE, "custom.Role", "job_title"): 1}
    watching.lookout.follow("9d1c2b8f4f52", {})
    noticed = watching.lookout.take()
    assert noticed.healed == {Cause(SOURCE, GONE, "custom.Role", "job_title")}
    assert noticed.forgotten == {(SOURCE, "job_title")}


def test_rules_that_were_changed_begin_afresh_with_their_tables() -> None:
    watching = Watching(STAGE).see({"label": "2"})
    watching.take()
    watching.follow(STAGE, "2b8f5e6a7c90")  # another source was changed
    assert watching.lookout.take().healed == frozenset()
    more: dict[str, Json] = {"from": "label", "map": {"1": "Lead", "2": "Customer"}}
    watching.follow({"mapping": {"custom": {"Stage": more}}}, "9d1c2b8f4f52")
    assert watching.lookout.take().healed == {Cause(SOURCE, NO_ENTRY, "custom.Stage", "label")}


def test_another_process_goes_on_from_what_was_written() -> None:
    watching = Watching(TITLE).see(CFO, STEADY).see({}, GONE_AFTER)
    other = watching.restarted(TITLE, watching.lookout.take())
    assert other.see({}).take() == {(GONE, *OF_TITLE): 1}
    assert other.lookout.unheard() == [], "health goes on saying it; the log said it"
    assert other.see(CFO, BACK_AFTER).lookout.take().healed == {Cause(SOURCE, GONE, *OF_TITLE)}


def test_a_type_that_had_changed_before_a_restart_is_over_once_it_is_steady() -> None:
    watching = Watching(TITLE).see(CFO, STEADY).see({"job_title": 7}, 5)
    other = watching.restarted(TITLE, watching.lookout.take())
    assert other.see(CFO, STEADY - 1).lookout.take().healed == frozenset()
    assert other.see(CFO).lookout.take().healed == {Cause(SOURCE, TURNED, *OF_TITLE)}


@pytest.mark.parametrize(("version", "over"), [("0f3a9c51e0b2", False), ("2b8f5e6a7c90", True)])
def test_after_a_restart_a_missing_entry_stands_as_long_as_the_configuration(version: str, over: bool) -> None:  # noqa: FBT001  # a column of the table
    watching = Watching(STAGE).see({"label": "2"})
    other = watching.restarted(STAGE, watching.lookout.take(), version)
    assert bool(other.lookout.take().healed) is over


def test_what_was_kept_of_a_source_that_is_gone_is_forgotten() -> None:
    watching = Watching(TITLE).see(CFO, STEADY)
    lookout = Lookout()
    lookout.restore(watching.lookout.take().sightings, [])
    lookout.follow("2b8f5e6a7c90", {})
    assert lookout.take().forgotten == {(SOURCE, "job_title")}
    watching.show(event(1, CFO), source="hubspot")  # nobody looks at that one
    assert not watching.lookout.take()


def test_what_was_not_met_for_a_week_is_over() -> None:
    watching = Watching(STAGE).see({"label": "2"})
    watching.take()
    assert watching.lookout.take().healed == frozenset()
    watching.minutes += FORGOTTEN_AFTER // timedelta(minutes=1)
    assert watching.see({"label": "1"}).lookout.take().healed == {Cause(SOURCE, NO_ENTRY, "custom.Stage", "label")}


VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["value", "primary"]), inner, max_size=2)
    ),
    max_leaves=4,
)
RECORDS: Final = st.dictionaries(st.sampled_from(["job_title", "emails", "label"]), VALUES)


@given(st.lists(RECORDS, max_size=60))
def test_whatever_comes_is_taken_in_and_what_is_told_is_counted(records: list[dict[str, Json]]) -> None:
    """It runs after the PATCH: a fault in it would be taken for one of the delivery."""
    email: dict[str, Json] = {"from": ["emails[?primary].value", "emails[0]"], "on_error": "skip"}
    watching = Watching({"mapping": {"title": "job_title", "email": email, "custom": STAGE_RULE}})
    for record in records:
        watching.see(record)
    noticed = watching.lookout.take()
    assert all(1 <= drift.count <= len(records) for drift in noticed.drifts)
    assert all(one.seen <= STEADY for one in noticed.sightings)


def test_everything_keeps_to_its_limit() -> None:
    targets: dict[str, Json] = {
        f"Field {number}": {"from": [f"f{number}_{part}" for part in range(6)], "map": {"1": "one"}, "default": "other"}
        for number in range(250)
    }
    watching = Watching({"mapping": {"custom": targets}})
    fields: dict[str, Json] = {f"f{number}_{part}": "1" for number in range(250) for part in range(6)}
    watching.see(fields, STEADY)
    assert len(watching.lookout.take().sightings) == PATHS_MAX
    watching.see({name: {"a": 1} for name in fields})
    assert sum(watching.take().values()) == DRIFTS_MAX
    watching.see(dict.fromkeys(fields, "2"))
    assert not any(kind is NO_ENTRY for kind, _, _ in watching.take()), "there is no room"


def test_a_process_tells_of_a_bounded_number_of_causes() -> None:
    watching = Watching(STAGE)
    watching.lookout._told = {Cause(SOURCE, NO_ENTRY, str(number), "label") for number in range(TOLD_MAX)}
    assert watching.see({"label": "2"}).lookout.unheard() == []
    assert watching.take() == {(NO_ENTRY, "custom.Stage", "label"): 1}


def test_a_long_path_is_cut_in_what_is_said_of_it_and_healed_all_the_same() -> None:
    path = "x" * (LABEL_MAX + 9)
    watching = Watching({"mapping": {"title": path}}).see({path: "CFO"}, STEADY).see({path: 7})
    (drift,) = watching.lookout.take().drifts
    assert (len(drift.cause.path), drift.cause.path[-1]) == (LABEL_MAX, "…")
    watching.follow({"mapping": {"title": path, "notes": "about"}}, "2b8f5e6a7c90")
    assert watching.lookout.take().healed == frozenset()
    assert watching.see({path: 7}, STEADY).lookout.take().healed == {drift.cause}


@pytest.mark.parametrize(
    ("kind", "detail", "words"),
    [
        (GONE, None, "job_title (for title) does not come any more, 1 record since 2026-03-02 09:30Z"),
        (TURNED, "text → list", "job_title (for title) changed its type, text → list, 1 record since"),
        (NO_ENTRY, None, "title has no entry for a value of job_title, 1 event since"),
        (SKIPPED, "e164: found text", "title is left out, e164: found text, 1 event since"),
    ],
)
def test_each_kind_is_told_in_words(kind: DriftKind, detail: str | None, words: str) -> None:
    drift = Drift(Cause(SOURCE, kind, *OF_TITLE), detail, START, START, 1)
    assert cause_of(drift).startswith(f"source pipedrive: {words}")
    assert "`explain --event ID`" in hint_of(drift)
    assert "`explain --event 812`" in hint_of(Drift(drift.cause, detail, START, START, 1, None, 812))
    assert " 12 " in cause_of(Drift(drift.cause, detail, START, START, 12))
