"""A PATCH that nobody saw answered may land late: what was confirmed over it is sent once more, when that can help."""

from datetime import datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.coalesce import again_at, doubts_after, same_value, sure_of
from service.model import Carried, Confirmed, Disposition, Doubt, EventState, Json, Known
from tests.support.merging import AT, after, carried, confirmed, end, merge, one, values

UNTIL: Final = AT + timedelta(seconds=30)
MICROSECOND: Final = timedelta(microseconds=1)
OLDER: Final = Doubt(UNTIL, {"title": carried("CFO", 40)})
"""Event 40's title may land until then."""


def test_a_newer_value_is_sent_again_once_the_time_of_the_older_has_come() -> None:
    """Only then can nothing land over it any more; sent before, it might be overwritten once again."""
    known = {"title": confirmed("COO", 41), "phone": confirmed("+49", 41)}
    assert values(merge([], known, doubts=[OLDER], now=UNTIL - MICROSECOND)) == {}
    again = merge([], known, doubts=[OLDER], now=UNTIL)
    assert values(again) == {"title": "COO"}
    assert (again.send["title"].order, again.send["title"].event_id) == (known["title"].order, 41)
    assert again.dispositions == ()


def test_it_is_sent_again_with_whatever_goes_out_then() -> None:
    planned = merge([one(42, {"phone": "+49"})], {"title": confirmed("COO", 41)}, doubts=[OLDER], now=UNTIL)
    assert values(planned) == {"title": "COO", "phone": "+49"}
    assert end(planned, 42) == Disposition(42, EventState.DELIVERED)


def test_an_event_that_only_finds_its_value_there_still_ends_when_another_is_sent_again() -> None:
    known = {"title": confirmed("COO", 41), "phone": confirmed("+49", 41)}
    planned = merge([one(42, {"phone": "+49"})], known, doubts=[OLDER], now=UNTIL)
    assert values(planned) == {"title": "COO"}
    assert end(planned, 42) == Disposition(42, EventState.UNCHANGED, "ChartMogul has these values already")


def test_a_value_newer_still_takes_the_place_of_the_one_to_be_sent_again() -> None:
    planned = merge([one(42, {"title": "CEO"})], {"title": confirmed("COO", 41)}, doubts=[OLDER], now=UNTIL)
    assert values(planned) == {"title": "CEO"}
    assert end(planned, 42).state is EventState.DELIVERED


def test_the_same_value_from_a_newer_event_is_sent_although_it_seems_to_be_there() -> None:
    known = {"title": confirmed("COO", 41)}
    planned = merge([one(42, {"title": "COO"})], known, {"title": "COO"}, doubts=[OLDER], now=UNTIL)
    assert values(planned) == {"title": "COO"}
    assert planned.send["title"].event_id == 42


def test_an_older_event_that_comes_meanwhile_does_not_take_its_place() -> None:
    planned = merge([one(39, {"title": "Intern"})], {"title": confirmed("COO", 41)}, doubts=[OLDER], now=UNTIL)
    assert values(planned) == {"title": "COO"}
    assert end(planned, 39) == Disposition(39, EventState.MERGED, "a newer value was delivered before", 41)


@pytest.mark.parametrize(
    ("known", "doubt"),
    [
        # Whatever lands, it is the value that is there.
        (confirmed("CFO", 41), OLDER),
        (confirmed(3, 41), Doubt(UNTIL, {"title": carried("3", 40)})),
        (confirmed(None, 41), Doubt(UNTIL, {"title": carried("", 40)})),
        # The retry of the same PATCH was applied.
        (confirmed("CFO", 40), OLDER),
        # What may land is newer: its own delivery brings it.
        (confirmed("COO", 39), OLDER),
        (confirmed("COO", 41), Doubt(UNTIL, {"title": carried("CFO", 40, 2_000)})),
        # Another field's affair.
        (confirmed("COO", 41), Doubt(UNTIL, {"phone": carried("+49", 40)})),
        # No event set it: there is nothing to send again, however old the CRM says that the doubted value is.
        (Confirmed("COO", certain=False), Doubt(UNTIL, {"title": carried("CFO", 40, -62_135_596_800_000_000)})),
        (Confirmed(None, certain=False), Doubt(UNTIL, {"title": carried("CFO", 40, -1)})),
    ],
)
def test_what_can_do_no_harm_costs_no_call(known: Confirmed, doubt: Doubt) -> None:
    for now in (AT, UNTIL, UNTIL + timedelta(days=1)):
        assert values(merge([], {"title": known}, doubts=[doubt], now=now)) == {}
    assert again_at([doubt], {"title": known}) is None


def test_one_event_mapped_anew_has_two_values_and_the_later_is_sent_again() -> None:
    """The mapping was mended while the PATCH by the old one was still on its way."""
    known = {"title": confirmed("Chief Financial Officer", 40)}
    assert again_at([OLDER], known) == UNTIL
    assert values(merge([], known, doubts=[OLDER], now=UNTIL)) == {"title": "Chief Financial Officer"}


def test_a_field_that_was_never_confirmed_is_not_sent_again() -> None:
    assert values(merge([], {}, doubts=[OLDER], now=UNTIL)) == {}
    assert again_at([OLDER], {}) is None


def test_what_the_first_release_left_in_doubt_without_values_is_sent_again() -> None:
    """It kept the names alone: whatever may have landed, it was older than what was confirmed since."""
    names_alone = Doubt(UNTIL, {"title": Carried(None), "phone": Carried(None)})
    known = {"title": confirmed("COO", 41), "phone": Confirmed(None, certain=False)}
    assert values(merge([], known, doubts=[names_alone], now=UNTIL)) == {"title": "COO"}


def test_of_several_doubts_the_first_whose_time_comes_says_when() -> None:
    later = Doubt(UNTIL + timedelta(seconds=5), {"title": carried("Intern", 39)})
    harmless = Doubt(AT, {"title": carried("COO", 41)})
    known = {"title": confirmed("COO", 41)}
    assert again_at([later, harmless, OLDER], known) == UNTIL
    left = doubts_after(Known(known, (later, harmless, OLDER)), since=UNTIL)
    assert left == (later,)
    assert again_at(left, known) == later.until


def test_a_doubt_ends_with_a_plan_of_its_time_and_not_with_one_before() -> None:
    known = Known({}, (OLDER,))
    assert doubts_after(known, since=UNTIL - MICROSECOND) == (OLDER,)
    assert doubts_after(known, since=UNTIL) == ()


def test_what_a_doubt_may_still_change_is_not_sure() -> None:
    """An older value, confirmed while a newer one may land: should that be taken for there, nothing would mend it."""
    fields = {"title": confirmed("COO", 39), "phone": confirmed("+49", 39), "email": confirmed("ada@x.example", 39)}
    doubts = [Doubt(UNTIL, {"title": carried("CFO", 40), "phone": carried("+49", 40), "notes": carried("x", 40)})]
    assert sure_of(fields, doubts) == {**fields, "title": confirmed("COO", 39, certain=False)}
    assert sure_of(fields, []) == fields
    planned = merge([one(41, {"title": "COO"})], sure_of(fields, doubts), doubts=doubts, now=UNTIL)
    assert values(planned) == {"title": "COO"}


some_values = st.sampled_from(["CFO", "COO", 3, "3", None, ""])
numbers = st.integers(1, 9)
untils = st.integers(-60, 60).map(lambda seconds: AT + timedelta(seconds=seconds))
known_fields = st.dictionaries(
    st.sampled_from(["title", "phone"]), st.builds(confirmed, some_values, numbers, certain=st.booleans())
)
some_doubts = st.lists(
    st.builds(
        Doubt,
        untils,
        st.dictionaries(st.sampled_from(["title", "phone"]), st.builds(carried, some_values, numbers), min_size=1),
    ),
    max_size=4,
)


@given(known_fields, some_doubts, untils)
def test_only_confirmed_values_of_due_doubts_are_sent_again_and_never_older_ones(
    known: dict[str, Confirmed], doubts: list[Doubt], now: datetime
) -> None:
    sent = merge([], known, doubts=doubts, now=now).send
    for name, planned in sent.items():
        assert (planned.value, planned.order) == (known[name].value, known[name].order)
    for name, field in known.items():
        due = [doubt.fields[name] for doubt in doubts if doubt.until <= now and name in doubt.fields]
        overwritten = [it for it in due if it.order <= field.order and not same_value(it.value, field.value)]
        assert (name in sent) == bool(overwritten)


@given(known_fields, some_doubts, untils)
def test_once_sent_again_nothing_more_is_until_the_next_doubt_s_time(
    known: dict[str, Confirmed], doubts: list[Doubt], now: datetime
) -> None:
    settled = after(known, merge([], known, doubts=doubts, now=now))
    left = doubts_after(Known(known, tuple(doubts)), since=now)
    assert merge([], settled, doubts=left, now=now).send == {}
    due_at = again_at(left, settled)
    if due_at is not None:
        assert due_at > now
        assert merge([], settled, doubts=left, now=due_at).send
    else:
        assert merge([], settled, doubts=left, now=AT + timedelta(days=1)).send == {}


@given(st.dictionaries(st.sampled_from(["title", "phone"]), st.builds(confirmed, some_values, numbers)), some_doubts)
def test_a_field_is_sure_only_while_no_doubt_has_another_value(
    known: dict[str, Confirmed], doubts: list[Doubt]
) -> None:
    sure = sure_of(known, doubts)
    assert sure.keys() == known.keys()
    for name, field in sure.items():
        others: list[Json] = [doubt.fields[name].value for doubt in doubts if name in doubt.fields]
        assert field.certain == all(same_value(other, field.value) for other in others)
        assert (field.value, field.order) == (known[name].value, known[name].order)
