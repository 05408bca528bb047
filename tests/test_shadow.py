"""What would have been sent, worked out against what is confirmed and what earlier shadowed changes would have left."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.coalesce import Plan, plan
from service.conclusion import Policy, Tried, conclude
from service.model import (
    Conclusion,
    Confirmed,
    Deliver,
    Disposition,
    Doubt,
    Event,
    EventState,
    Json,
    Known,
    Mapped,
    Next,
    Outcome,
    OutcomeKind,
    Shadowed,
    Verdict,
)
from service.shadow import (
    IS_THERE,
    OVERTAKEN,
    WOULD_BE_SENT,
    WOULD_BE_THERE,
    as_read,
    doubts_left,
    go_with,
    needs_reading,
    plan_shadow,
    would_stand,
)
from service.translate import READ, Settled
from tests.support.merging import AT, after, carried, confirmed, end, event, one, values
from tests.support.sandbox import contact_uuid

NOW = AT + timedelta(seconds=5)
SHADOWED = EventState.SHADOWED


def shadowed(value: Json, number: int, *, sent: bool = True) -> Shadowed:
    """Return a field as the ``number``-th event would have left it."""
    return Shadowed(value, event(number).order, number, AT, sent=sent)


def would(
    *mapped: tuple[Event, Mapped],
    fields: Mapping[str, Confirmed] | None = None,
    shadow: Mapping[str, Shadowed] | None = None,
    fresh: Mapping[str, Json] | None = None,
) -> Plan:
    return plan_shadow(mapped, Known(fields or {}, (), shadow), now=NOW, fresh=fresh)


def test_events_say_what_would_become_of_them() -> None:
    planned = would(
        one(1, {"title": "CFO"}), one(2, {"phone": "+44"}), one(3, {"title": "CEO"}), fields={"phone": confirmed("", 0)}
    )
    assert values(planned) == {"title": "CEO", "phone": "+44"}
    assert end(planned, 1) == Disposition(1, SHADOWED, OVERTAKEN, 3)
    assert end(planned, 2) == Disposition(2, SHADOWED, "would go out with event 3", 3)
    assert end(planned, 3) == Disposition(3, SHADOWED, WOULD_BE_SENT)


def test_what_chartmogul_has_is_told_from_what_an_earlier_event_would_have_brought() -> None:
    there = would(one(2, {"title": "CFO"}), fields={"title": confirmed("CFO", 1)})
    assert end(there, 2) == Disposition(2, SHADOWED, IS_THERE)
    brought = would(one(2, {"title": "CFO"}), shadow={"title": shadowed("CFO", 1)})
    assert end(brought, 2) == Disposition(2, SHADOWED, WOULD_BE_THERE)
    kept = would(one(3, {"title": "CFO"}), shadow={"title": shadowed("CFO", 2, sent=False)})
    assert end(kept, 3) == Disposition(3, SHADOWED, IS_THERE)


def test_an_event_of_no_field_is_ignored_as_it_would_be_live() -> None:
    assert end(would(one(1, {})), 1).state is EventState.IGNORED


def test_a_contact_that_was_just_read_shows_nothing_of_what_was_not_sent() -> None:
    """It has the old title, which the shadowed one would have replaced."""
    shadow = {"title": shadowed("CEO", 1)}
    same = would(one(2, {"title": "CEO"}), shadow=shadow, fresh={"title": "CFO"})
    assert (values(same), end(same, 2).reason) == ({}, WOULD_BE_THERE)
    back = would(one(2, {"title": "CFO"}), shadow=shadow, fresh={"title": "CFO"})
    assert values(back) == {"title": "CFO"}
    custom = would(one(2, {"custom.Plan": "Team"}), fresh={"custom": {"Plan": "Team"}})
    assert (values(custom), end(custom, 2).reason) == ({}, IS_THERE)


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"title": confirmed("CFO", 9)}, {}),
        ({"title": confirmed("CFO", 1)}, {"title": "COO"}),
        ({"title": Confirmed("CFO")}, {"title": "COO"}),
    ],
    ids=["confirmed since", "confirmed before", "read"],
)
def test_the_newest_of_confirmed_and_shadowed_stands(fields: Mapping[str, Confirmed], sent: Mapping[str, Json]) -> None:
    planned = would(one(5, {"title": "COO"}), fields=fields, shadow={"title": shadowed("CEO", 2)})
    assert values(planned) == sent


def test_a_value_that_is_not_sure_would_be_sent_again() -> None:
    """Also where a shadowed event would have kept it: whether it is there, nobody knows."""
    unsure = {"title": confirmed("CFO", 1, certain=False)}
    kept = {"title": shadowed("CFO", 2, sent=False)}
    assert values(would(one(3, {"title": "CFO"}), fields=unsure)) == {"title": "CFO"}
    assert values(would(one(3, {"title": "CFO"}), fields=unsure, shadow=kept)) == {"title": "CFO"}
    sure = {"title": confirmed("CFO", 1)}
    assert values(would(one(3, {"title": "CFO"}), fields=sure, shadow=kept)) == {}


def test_a_confirmed_value_in_doubt_is_not_sent_once_more() -> None:
    known = Known({"title": confirmed("COO", 41)}, (Doubt(AT, {"title": carried("CFO", 40)}),))
    assert values(plan([], known, now=NOW)) == {"title": "COO"}
    assert values(plan_shadow([], known, now=NOW)) == {}


def test_what_would_stand_tells_what_would_be_sent_from_what_would_be_kept() -> None:
    known = Known(
        {"phone": confirmed("+44", 1)}, (), {"title": shadowed("CEO", 2), "email": shadowed("a", 2, sent=False)}
    )
    mapped = [one(7, {"phone": "+44", "title": "CEO", "email": "a", "notes": "VIP"})]
    stands = would_stand(plan_shadow(mapped, known, now=NOW), known, now=NOW)
    assert {name: (field.sent, field.at) for name, field in stands.items()} == {
        "phone": (False, NOW),
        "title": (True, AT),
        "email": (False, AT),
        "notes": (True, NOW),
    }
    assert {(field.event_id, field.order) for field in stands.values()} == {(7, event(7).order)}


telling = st.lists(
    st.tuples(
        st.integers(0, 6), st.dictionaries(st.sampled_from(["title", "phone"]), st.sampled_from("AB"), min_size=1)
    ),
    max_size=6,
)


@given(telling, st.dictionaries(st.sampled_from(["title", "phone"]), st.sampled_from("AB")))
def test_what_would_be_sent_one_by_one_is_what_would_be_sent_if_it_were(
    told: list[tuple[int, dict[str, str]]], first: dict[str, str]
) -> None:
    """Whatever is told in whatever order, shadow mode foretells each PATCH of live mode, field by field."""
    fields = {name: confirmed(value, 0, order_key=-1) for name, value in first.items()}
    live, watched = dict(fields), Known(fields)
    for number, (order_key, said) in enumerate(told, start=1):
        mapped = [one(number, said, order_key)]
        sent, foretold = plan(mapped, Known(live), now=NOW), plan_shadow(mapped, watched, now=NOW)
        assert values(foretold) == values(sent)
        live = after(live, sent)
        stands = would_stand(foretold, watched, now=NOW)
        watched = replace(watched, shadow={**(watched.shadow or {}), **stands})


def test_what_another_event_was_to_carry_waits_with_it() -> None:
    ended = (
        Disposition(41, EventState.MERGED, READ, 42),
        Disposition(43, EventState.IGNORED, "filtered out by `when`"),
        Disposition(44, EventState.MERGED, READ, 40),
    )
    assert go_with(ended, [one(42, {"title": "CEO"})]) == (Disposition(41, SHADOWED, READ, 42), *ended[1:])


def test_doubts_stay_as_long_as_a_confirmed_value_is_owed() -> None:
    """And those whose time has not come; what threatens nothing is over with its time."""
    title = {"title": confirmed("COO", 41)}
    owed, over = Doubt(AT, {"title": carried("CFO", 40)}), Doubt(AT, {"phone": carried("+44", 40)})
    coming = Doubt(NOW + timedelta(seconds=1), {"phone": carried("+49", 40)})
    assert doubts_left(Known(title, (owed, over, coming)), since=NOW) == (owed, coming)


@pytest.mark.parametrize(
    ("deliver", "known", "read"),
    [
        (Deliver.SHADOW, Known(), True),
        (Deliver.SHADOW, Known({"title": confirmed("CFO", 1)}), False),
        (Deliver.SHADOW, Known({}, (), {"title": shadowed("CFO", 1)}), False),
        (Deliver.LIVE, Known(), False),
        (Deliver.LIVE, Known({"title": confirmed("CFO", 1)}, (), {}), True),
        (Deliver.LIVE, Known({"title": confirmed("CFO", 1)}, (), {"phone": shadowed("+44", 1)}), False),
        (Deliver.LIVE, Known({}, (), {"phone": shadowed("+44", 1)}), True),
    ],
)
def test_a_contact_is_read_where_too_little_is_known_of_it(deliver: Deliver, known: Known, *, read: bool) -> None:
    assert needs_reading(deliver, ["title"], known) is read
    assert not needs_reading(deliver, [], known), "there is nothing to compare"


def test_what_was_read_while_it_was_held_is_believed_but_for_what_may_yet_change() -> None:
    known = Known(
        {
            "title": confirmed("CFO", 1),
            "phone": confirmed("+44", 1, certain=False),
            "notes": confirmed("VIP", 1),
            "custom.Plan": confirmed("Team", 1),
        },
        (Doubt(NOW, {"notes": carried("", 0)}),),
    )
    read = as_read(known, {"title": "COO", "phone": "+49", "notes": "", "custom": {}})
    assert {name: field.value for name, field in read.fields.items()} == {
        "title": "COO",
        "phone": "+44",
        "notes": "VIP",
        "custom.Plan": "Team",
    }
    assert read.fields["title"].order == known.fields["title"].order


def test_a_try_in_shadow_mode_confirms_nothing_and_leaves_what_would_stand() -> None:
    doubt = Doubt(AT, {"title": carried("CFO", 40)})
    known = Known({"title": confirmed("COO", 41)}, (doubt,))
    done = concluded(known, one(42, {"title": "CEO"}), Disposition(41, EventState.MERGED, READ, 42))
    assert (done.confirmed, done.uncertain, done.again_at) == ({}, (), None)
    assert (done.doubts, done.doubts_seen) == ((doubt,), (doubt,))
    assert done.attempt.fields == ("title",)
    assert done.shadowed == {"title": Shadowed("CEO", (42, 42), 42, NOW)}
    assert [(one.event_id, one.state) for one in done.dispositions] == [(41, SHADOWED), (42, SHADOWED)]


def concluded(known: Known, mapped: tuple[Event, Mapped], *others: Disposition) -> Conclusion:
    planned = plan_shadow([mapped], known, now=AT)
    tried = Tried(in_doubt=True, uuid=contact_uuid(1), known=known, planned=planned, planned_at=AT)
    return conclude(
        Outcome(OutcomeKind.SHADOWED),
        Verdict(Next.SHADOW, "shadow mode: nothing is sent"),
        Settled((mapped,), others),
        tried,
        started_at=AT,
        now=NOW,
        version="9f2c1ab04d7e",
        policy=Policy(retry_for=timedelta(hours=1), late=timedelta(seconds=30), clear_with=None),
    )
