"""What goes out is the body that ChartMogul wants; what comes back is compared as ChartMogul writes values."""

import itertools
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.coalesce import Comparison, compare, contact_fields, patch_body, same_value
from service.model import Json

ANSWER: Final[dict[str, Json]] = {
    "uuid": "con_36399f04-7686-11ee-86f6-8727560009c2",
    "first_name": "Grace",
    "title": None,
    "email": "grace@kite-and-co.example",
    "custom": {"Lifecycle": "Customer", "Lead score": 87, "Newsletter": True},
}


def test_custom_attributes_go_out_as_an_array_of_key_and_value() -> None:
    """As an object they were once answered with 500: https://github.com/chartmogul/chartmogul-php/issues/132."""
    assert patch_body({"custom.Lifecycle": "Lead", "title": "CFO", "custom.Lead score": 87}) == {
        "title": "CFO",
        "custom": [{"key": "Lifecycle", "value": "Lead"}, {"key": "Lead score", "value": 87}],
    }


def test_without_custom_attributes_the_body_does_not_mention_them() -> None:
    assert patch_body({"title": "CFO"}) == {"title": "CFO"}
    assert patch_body({}) == {}


def test_only_the_first_dot_parts_an_attributes_name() -> None:
    assert patch_body({"custom.ARR (approx.)": 9}) == {"custom": [{"key": "ARR (approx.)", "value": 9}]}


@pytest.mark.parametrize("clear_with", [None, ""])
def test_a_cleared_value_goes_out_as_the_settings_say(clear_with: str | None) -> None:
    body = patch_body({"title": None, "custom.Lifecycle": None, "notes": "x"}, clear_with=clear_with)
    assert body == {"title": clear_with, "notes": "x", "custom": [{"key": "Lifecycle", "value": clear_with}]}


def test_a_contact_has_our_field_names_whichever_shape_custom_has() -> None:
    flat = {
        "uuid": "con_36399f04-7686-11ee-86f6-8727560009c2",
        "first_name": "Grace",
        "title": None,
        "email": "grace@kite-and-co.example",
        "custom.Lifecycle": "Customer",
        "custom.Lead score": 87,
        "custom.Newsletter": True,
    }
    pairs: list[Json] = [
        {"key": name, "value": value} for name, value in (("Lifecycle", "Customer"), ("Lead score", 87))
    ]
    assert contact_fields(ANSWER) == flat
    assert contact_fields({**ANSWER, "custom": [*pairs, {"key": "Newsletter", "value": True}]}) == flat


@pytest.mark.parametrize("custom", [None, "none", 3, [], {}, ["Lifecycle", {"value": 1}, {"key": 3, "value": 1}]])
def test_a_custom_of_any_other_shape_is_survived(custom: Json) -> None:
    assert contact_fields({"title": "CFO", "custom": custom}) == {"title": "CFO"}


def test_a_contact_without_custom_has_no_custom_fields() -> None:
    assert contact_fields({"title": "CFO"}) == {"title": "CFO"}


def test_a_pair_without_value_is_null() -> None:
    assert contact_fields({"custom": [{"key": "Lifecycle"}]}) == {"custom.Lifecycle": None}


def test_an_attribute_that_does_not_come_back_was_ignored() -> None:
    sent: dict[str, Json] = {"first_name": "Grace", "custom.Plan": "Team", "custom.Lifecycle": "Customer"}
    assert compare(sent, ANSWER) == Comparison(("first_name", "custom.Lifecycle"), ("custom.Plan",), ())


def test_a_cleared_attribute_that_does_not_come_back_is_cleared() -> None:
    assert compare({"custom.Plan": None, "custom.Region": ""}, ANSWER) == Comparison(
        ("custom.Plan", "custom.Region"), (), ()
    )


def test_a_field_that_came_back_with_another_value_was_adjusted() -> None:
    sent: dict[str, Json] = {"first_name": "grace", "title": "CFO", "custom.Lead score": 88}
    assert compare(sent, ANSWER) == Comparison(tuple(sent), (), ("first_name", "title", "custom.Lead score"))


def test_a_standard_field_that_the_api_does_not_show_counts_as_confirmed() -> None:
    """``external_id`` and ``last_seen`` are missing from answers of older versions."""
    assert compare({"external_id": "51"}, ANSWER) == Comparison(("external_id",), (), ())


SAME: Final[list[tuple[Json, Json]]] = [
    (None, None),
    (None, ""),
    ("", ""),
    ("CFO", "CFO"),
    (3, "3"),
    (3, 3.0),
    (3.5, "3.50"),
    (-7, "-7.0"),
    (1e21, "1e+21"),
    (0, "0"),
    (True, "true"),
    (False, "False"),
    (9007199254740993, "9007199254740993"),
    ("2026-05-04T09:30:00+02:00", "2026-05-04T07:30:00.000Z"),
    ("2026-05-04T07:30:00Z", "2026-05-04 07:30:00+00:00"),
    ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00.000+14:00"),
]
DIFFERENT: Final[list[tuple[Json, Json]]] = [
    (None, 0),
    ("", False),
    (None, "null"),
    ("CFO", "cfo"),
    ("CFO", "CFO "),
    (3, "3,0"),
    (3, "03"),
    (3, "٣"),
    (1000, "1_000"),
    (3, "3 "),
    ("1.0", "1.00"),
    (True, 1),
    (False, "0"),
    (True, "yes"),
    # As floating point numbers they would be one.
    (9007199254740992, 9007199254740993),
    (9007199254740992, "9007199254740993"),
    ("nan", 3),
    (3, "sNaN"),
    ("2026-05-04T09:30:00+02:00", "2026-05-04T09:30:00Z"),
    # Without an offset it is not known which instant it is.
    ("2026-05-04T07:30:00", "2026-05-04T07:30:00Z"),
    ("2026-05-04T25:30:00Z", "2026-05-04T07:30:00Z"),
    # Eight digits are a telephone number as well.
    ("20260504", "2026-05-04"),
    (20260504, "2026-05-04"),
    (["Lead"], "Lead"),
]


@pytest.mark.parametrize(("ours", "theirs"), SAME)
def test_one_value_in_two_notations_is_the_same(ours: Json, theirs: Json) -> None:
    assert same_value(ours, theirs)
    assert same_value(theirs, ours)


@pytest.mark.parametrize(("ours", "theirs"), DIFFERENT)
def test_values_that_chartmogul_tells_apart_are_not_the_same(ours: Json, theirs: Json) -> None:
    assert not same_value(ours, theirs)
    assert not same_value(theirs, ours)


scalars: st.SearchStrategy[Json] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.integers(-999, 999).map(str),
    st.datetimes().map(lambda at: at.isoformat() + "Z"),
    st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.+Z-]{0,16}", fullmatch=True),
    st.from_regex(r"-?[0-9]{1,5}(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,4})?", fullmatch=True),
)
json_values: st.SearchStrategy[Json] = scalars | st.lists(scalars, max_size=2)


@given(json_values)
def test_every_value_is_the_same_as_itself(value: Json) -> None:
    assert same_value(value, value)


@given(json_values, json_values)
def test_sameness_has_no_direction(ours: Json, theirs: Json) -> None:
    assert same_value(ours, theirs) == same_value(theirs, ours)


def test_sameness_has_no_direction_among_the_values_of_the_tables() -> None:
    every = [value for pair in (*SAME, *DIFFERENT) for value in pair]
    for ours, theirs in itertools.product(every, every):
        assert same_value(ours, theirs) == same_value(theirs, ours)


@given(st.dictionaries(st.sampled_from(["title", "phone", "custom.Lifecycle", "custom.a.b"]), scalars))
def test_a_body_that_comes_back_as_it_went_out_is_confirmed_whole(sent: dict[str, Json]) -> None:
    assert compare(sent, patch_body(sent)) == Comparison(tuple(sent), (), ())
