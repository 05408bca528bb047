"""Values as they are shown: the shape of a masked one stays and nothing else, a long one is cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.model import Json
from service.operations.masking import DEPTH_MAX, ITEMS_MAX, SHOWN_MAX, TEXT_MAX, masked, masked_text, shortened

MASKED: list[tuple[Json, Json]] = [
    ("Amara Okafor", "A•••• O•••••"),
    ("Bo Li", "•• ••"),
    ("amara@northwind.example", "a••••@n••••••••.e••••••"),
    ("+44 20 7946 0018", "+•• •• •••• ••••"),
    ("山田太郎", "••••"),
    ("עמרה", "••••"),
    ("Jürgen\n1", "J••••• •"),
    ("", ""),
    (4711, "••••"),
    (7.5, "•.•"),
    (True, True),
    (None, None),
    (["Amara", 1], ["A••••", "•"]),
    ({"city": "Leeds", "flat": {"no": 4}}, {"city": "L••••", "flat": {"no": "•"}}),
    ({"amara@northwind.example": 1, "+44 20 7946": True}, {"a••••@n••••••••.e••••••": "•", "+•• •• ••••": True}),
]


@pytest.mark.parametrize(("value", "shown"), MASKED)
def test_letters_and_digits_become_dots_and_the_shape_stays(value: Json, shown: Json) -> None:
    assert masked(value) == shown


@given(st.text())
def test_no_digit_and_no_two_letters_in_a_row_are_left(text: str) -> None:
    shown = masked_text(text)
    assert not any(one.isalpha() and other.isalpha() for one, other in pairwise(shown))
    assert not any(character.isdecimal() for character in shown)
    assert len(shown) <= TEXT_MAX + 1


def test_what_is_long_deep_or_wide_is_masked_in_part() -> None:
    deep: Json = "Amara"
    for _ in range(DEPTH_MAX + 2):
        deep = [deep]
    assert masked(deep) == [[[["…"]]]]
    assert masked(["a"] * 100) == ["•"] * ITEMS_MAX
    assert masked("x" * 100) == "x" + "•" * (TEXT_MAX - 1) + "…"


@pytest.mark.parametrize("value", [None, True, 7, "Amara", ["Amara"], {"a": [1]}, "x" * SHOWN_MAX])
def test_what_is_short_enough_is_shown_as_it_is(value: Json) -> None:
    assert shortened(value) == value


@pytest.mark.parametrize("value", ["x" * (SHOWN_MAX + 1), ["x" * SHOWN_MAX], {"a": "x" * SHOWN_MAX}])
def test_of_what_is_long_the_beginning_is_shown(value: Json) -> None:
    shown = shortened(value)
    assert isinstance(shown, str)
    assert (len(shown), shown[-1]) == (SHOWN_MAX + 1, "…")
