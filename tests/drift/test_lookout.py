"""What is noticed is told once, written down as it changes, and over once other rules or a week say so."""

from datetime import timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.drift import (
    BACK_AFTER,
    DRIFTS_MAX,
    FORGOTTEN_AFTER,
    GONE_AFTER,
    PATHS_MAX,
    STEADY,
    Lookout,
)
from service.drift.lookout import TOLD_MAX
from service.drift.reliance import LABEL_MAX
from service.model import Cause, Json, Sighting
from tests.drift.watching import (
    CFO,
    GONE,
    NO_ENTRY,
    OF_TITLE,
    SOURCE,
    STAGE,
    STAGE_RULE,
    STOOD_IN,
    TITLE,
    TURNED,
    Watching,
    counts,
    event,
)
from tests.support.clock import START


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
    assert not any(kind is STOOD_IN for kind, _, _ in watching.take()), "there is no room"


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
