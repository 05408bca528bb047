"""Whatever order events come in, each field goes out with its newest value, once, and each event has one end."""

from random import Random
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.coalesce import Plan, same_value
from service.model import Confirmed, Disposition, Event, EventState, Json, Mapped
from tests.support.merging import AT, Given, after, confirmed, end, event, merge, one, values

FIELDS: Final = ("first_name", "title", "custom.Lifecycle", "custom.Lead score")
VALUES: Final = ("Head of Finance", "CFO", "Customer", 87, "87", True, None, "")


def test_a_burst_of_partial_events_becomes_one_patch_with_the_newest_value_of_each_field() -> None:
    """Pipedrive and Close tell one property at a time; ChartMogul is called once for all of them."""
    planned = merge(
        [one(1, {"title": "CFO"}), one(2, {"first_name": "Grace"}), one(3, {"title": "COO"}), one(4, {"phone": "+49"})],
    )
    assert values(planned) == {"title": "COO", "first_name": "Grace", "phone": "+49"}
    assert end(planned, 1) == Disposition(1, EventState.MERGED, "overtaken by a newer event", 3)
    assert end(planned, 2) == Disposition(2, EventState.MERGED, "its values went out with a newer event", 4)
    assert end(planned, 3) == Disposition(3, EventState.MERGED, "its values went out with a newer event", 4)
    assert end(planned, 4) == Disposition(4, EventState.DELIVERED)


def test_a_full_record_overtakes_the_full_records_before_it() -> None:
    planned = merge([one(1, {"title": "CFO", "first_name": "G."}), one(2, {"title": "COO", "first_name": "Grace"})])
    assert values(planned) == {"title": "COO", "first_name": "Grace"}
    assert [it.event_id for it in planned.send.values()] == [2, 2]
    assert end(planned, 1) == Disposition(1, EventState.MERGED, "overtaken by a newer event", 2)


def test_the_senders_clock_orders_before_arrival_and_arrival_breaks_its_ties() -> None:
    late = [one(7, {"title": "CFO"}, 2_000), one(8, {"title": "Intern"}, 1_000), one(9, {"title": "COO"}, 2_000)]
    assert values(merge(late)) == {"title": "COO"}


def test_an_older_value_never_goes_out_against_a_newer_one_of_another_source() -> None:
    known = {"title": confirmed("COO", 40, 2_000)}
    planned = merge([one(41, {"title": "CFO"}, 1_000)], known)
    assert planned == Plan({}, (Disposition(41, EventState.MERGED, "a newer value was delivered before", 40),), {})


def test_an_older_event_still_delivers_the_fields_that_are_news() -> None:
    known = {"title": confirmed("COO", 40, 2_000)}
    planned = merge([one(41, {"title": "CFO", "first_name": "Grace"}, 1_000)], known)
    assert values(planned) == {"first_name": "Grace"}
    assert end(planned, 41).state is EventState.DELIVERED


def test_an_uncertain_field_is_not_overwritten_by_an_older_value_either() -> None:
    known = {"title": confirmed("COO", 40, 2_000, certain=False)}
    assert values(merge([one(41, {"title": "CFO"}, 1_000)], known)) == {}


def test_what_chartmogul_holds_is_not_sent_but_its_order_moves_on() -> None:
    """Otherwise a value that was confirmed long ago could lose to one that is older than the last event."""
    planned = merge([one(41, {"title": "CFO"}, 3_000)], {"title": confirmed("CFO", 40, 1_000)})
    assert values(planned) == {}
    assert end(planned, 41) == Disposition(41, EventState.UNCHANGED, "ChartMogul has these values already")
    assert planned.kept == {"title": Confirmed("CFO", (3_000, 41), 41, AT)}
    later = merge([one(42, {"title": "Intern"}, 2_000)], planned.kept)
    assert end(later, 42).by_event_id == 41


def test_an_uncertain_field_is_sent_even_if_it_seems_to_be_there() -> None:
    """A PATCH of unknown outcome may have changed it, or may yet."""
    known = {"title": confirmed("CFO", 40, certain=False)}
    assert values(merge([one(41, {"title": "CFO"})], known, {"title": "CFO"})) == {"title": "CFO"}


def test_an_event_before_1970_is_sent_where_nothing_newer_was() -> None:
    """Some CRMs write the year 1 for "never"; a field that was only read, or only doubted, is not newer than that."""
    unset = event(41, -62_135_596_800_000_000)
    for read in (Confirmed("CFO"), Confirmed(None, certain=False)):
        planned = merge([(unset, Mapped({"title": "COO"}))], {"title": read})
        assert values(planned) == {"title": "COO"}
        assert end(planned, 41).state is EventState.DELIVERED


def test_a_replay_of_the_event_that_set_a_field_may_set_it_again() -> None:
    """After the mapping was mended, the same event means another value."""
    for order_key in (1_000, 2_000, 3_000):  # its order may have been mended too
        known = {"title": confirmed("cfo", 40, 2_000)}
        assert values(merge([one(40, {"title": "CFO"}, order_key)], known)) == {"title": "CFO"}


FRESH: Final[dict[str, Json]] = {"title": "CFO", "phone": None, "custom": {"Lifecycle": "Lead"}}


@pytest.mark.parametrize(
    ("name", "value", "before", "sent"),
    [
        ("title", "CFO", None, False),
        ("title", "COO", None, True),
        ("phone", None, None, False),
        ("custom.Lifecycle", "Lead", None, False),
        ("custom.Lifecycle", "Customer", None, True),
        ("custom.Lifecycle", None, None, True),
        ("custom.Plan", None, None, False),
        ("custom.Plan", "Team", None, True),
        # An older API leaves fields out: then only what was confirmed speaks for them.
        ("external_id", None, None, True),
        ("external_id", "51", "51", False),
        ("external_id", "51", "52", True),
        # A person changed it in ChartMogul meanwhile.
        ("title", "COO", "COO", True),
        # It was read before the contact was held: another delivery's PATCH may have come in between.
        ("title", "CFO", "COO", True),
        ("title", "CFO", "CFO", False),
    ],
)
def test_a_contact_just_read_saves_what_it_holds_unless_the_log_knows_better(
    name: str, value: Json, before: str | None, *, sent: bool
) -> None:
    known = {} if before is None else {name: confirmed(before, 40)}
    planned = merge([one(41, {name: value})], known, FRESH)
    assert values(planned) == ({name: value} if sent else {})
    assert end(planned, 41).state is (EventState.DELIVERED if sent else EventState.UNCHANGED)


def test_a_value_first_seen_in_a_contact_just_read_is_confirmed_by_that_look() -> None:
    assert merge([one(41, {"title": "CFO"})], {}, FRESH).kept == {"title": Confirmed("CFO", (41, 41), 41, AT)}


def test_an_event_without_a_mapped_field_is_ignored() -> None:
    planned = merge([one(1, {}), one(2, {"title": "CFO"})])
    assert end(planned, 1) == Disposition(1, EventState.IGNORED, "no mapped field in it")
    assert end(planned, 2).state is EventState.DELIVERED


def test_an_event_partly_overtaken_and_partly_there_names_the_one_that_overtook_it() -> None:
    known = {"first_name": confirmed("Grace", 39)}
    planned = merge([one(41, {"first_name": "Grace", "title": "CFO"}), one(42, {"title": "COO"})], known)
    assert end(planned, 41) == Disposition(41, EventState.MERGED, "overtaken by a newer event", 42)


def test_no_events_are_no_patch() -> None:
    assert merge([], {"title": confirmed("CFO", 1)}) == Plan({}, (), {})


def test_values_stay_out_of_a_plans_text() -> None:
    planned = merge([one(41, {"title": "CFO", "phone": "+493012345678"})], {}, {"phone": "+493012345678"})
    assert "CFO" not in repr(planned)
    assert "+4930" not in repr(planned)


json_values = st.sampled_from(VALUES)
fields = st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=3)
order_keys = st.integers(-2, 6)
known_fields = st.dictionaries(
    st.sampled_from(FIELDS),
    st.one_of(
        st.builds(confirmed, json_values, st.integers(100, 104), order_keys, certain=st.booleans()),
        st.builds(Confirmed, json_values, certain=st.booleans()),
    ),
)
contacts_read = st.none() | st.dictionaries(st.sampled_from(FIELDS), json_values)


@st.composite
def batches(draw: st.DrawFn) -> list[tuple[Event, Mapped]]:
    rows = draw(st.lists(st.tuples(order_keys, fields), max_size=6))
    return [one(number, row, order_key) for number, (order_key, row) in enumerate(rows, 1)]


@given(batches(), known_fields, contacts_read, st.randoms(use_true_random=False))
def test_the_order_in_which_events_are_given_does_not_matter(
    batch: list[tuple[Event, Mapped]],
    known: dict[str, Confirmed],
    fresh: dict[str, Json] | None,
    random: Random,
) -> None:
    shuffled = list(batch)
    random.shuffle(shuffled)
    first, second = merge(batch, known, fresh), merge(shuffled, known, fresh)
    assert (first.send, first.kept) == (second.send, second.kept)
    assert set(first.dispositions) == set(second.dispositions)


@given(batches(), known_fields, contacts_read)
def test_applying_twice_changes_nothing(
    batch: Given, known: dict[str, Confirmed], fresh: dict[str, Json] | None
) -> None:
    certain = after(known, merge(batch, known, fresh))
    again = merge(batch, certain)
    assert not again.send
    assert {**certain, **again.kept} == certain
    assert {it.state for it in again.dispositions} <= {EventState.UNCHANGED, EventState.MERGED, EventState.IGNORED}


@given(batches(), known_fields, contacts_read)
def test_each_field_goes_out_with_its_newest_value_or_not_at_all(
    batch: Given, known: dict[str, Confirmed], fresh: dict[str, Json] | None
) -> None:
    planned = merge(batch, known, fresh)
    for name in FIELDS:
        told = [(it, result.fields[name]) for it, result in batch if name in result.fields]
        if not told:
            assert name not in {**planned.send, **planned.kept}
            continue
        newest, value = max(told, key=lambda pair: pair[0].order)
        before = known.get(name)
        if before is not None and before.event_id is not None and before.order > newest.order:
            assert name not in {**planned.send, **planned.kept}
        elif name in planned.send:
            sent = planned.send[name]
            assert (sent.event_id, sent.order, sent.value) == (newest.id, newest.order, value)
        else:
            assert planned.kept[name].order == newest.order
            assert before is None or before.certain
            assert before is None or same_value(value, before.value)
            assert fresh is None or name not in fresh or same_value(value, fresh[name])


@given(batches(), known_fields, contacts_read)
def test_each_event_ends_once_and_one_event_carries_the_patch(
    batch: Given, known: dict[str, Confirmed], fresh: dict[str, Json] | None
) -> None:
    planned = merge(batch, known, fresh)
    assert [it.event_id for it in planned.dispositions] == [it.id for it, _ in batch]
    carriers = [it.event_id for it in planned.dispositions if it.state is EventState.DELIVERED]
    sent_by = {it.event_id for it in planned.send.values()}
    assert len(carriers) == (1 if planned.send else 0)
    for disposition in planned.dispositions:
        if disposition.event_id in sent_by and disposition.event_id not in carriers:
            assert (disposition.state, disposition.by_event_id) == (EventState.MERGED, carriers[0])
        if disposition.state is EventState.MERGED:
            others = {it.id for it, _ in batch} | {it.event_id for it in known.values()}
            assert disposition.by_event_id in others - {disposition.event_id}
        else:
            assert disposition.by_event_id is None
        if disposition.state is EventState.UNCHANGED:
            (own,) = (result.fields for it, result in batch if it.id == disposition.event_id)
            assert set(own) <= set(planned.kept)
        assert (disposition.reason is None) == (disposition.state is EventState.DELIVERED)
