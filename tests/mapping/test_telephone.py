"""Telephone numbers: the short way for international ones makes of each what the library makes of it."""

from collections.abc import Iterator

import phonenumbers
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.mapping.telephone import _plain, e164
from service.mapping.values import MappingError

FORMS = (phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.E164)


def by_the_library(text: str) -> str | None:
    try:
        parsed = phonenumbers.parse(text, "US")
    except phonenumbers.NumberParseException:
        return None
    possible = phonenumbers.is_possible_number(parsed)
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) if possible else None


def examples() -> Iterator[str]:
    """A number of every kind that each region has, as people write it."""
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in phonenumbers.PhoneNumberType.values():
            number = phonenumbers.example_number_for_type(region, kind)
            yield from () if number is None else (phonenumbers.format_number(number, form) for form in FORMS)


def test_numbers_of_every_region_come_out_as_the_library_has_them() -> None:
    texts = list(examples())
    assert {text: e164("US")(text) for text in texts} == {text: by_the_library(text) for text in texts}
    assert sum(_plain(text) is not None for text in texts) > len(texts) / 2


ANY_NUMBER = st.builds(
    "+{}{}".format,
    st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)) | st.integers(0, 999),
    st.lists(st.sampled_from(["0", "1", "2", "5", "8", "9", " ", "-", ".", "(", ")", "(0)"]), max_size=20).map("".join),
)


@settings(deadline=None)
@given(ANY_NUMBER)
@example("+44 (0)20 7946 0018")
@example("+1 (415) 555-0132")
@example("+39 06 6982")
@example("+52 1 55 1234 5678")
@example("+999 12345678")
def test_no_number_comes_out_otherwise_than_by_the_library(text: str) -> None:
    try:
        made = e164("US")(text)
    except MappingError:
        made = None
    assert made == by_the_library(text)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("+1 (415) 555-0132", "+14155550132"),
        ("+44 20 7946 0018", "+442079460018"),
        ("+800 1234 5678", "+80012345678"),
        ("+44 (0)20 7946 0018", None),
        ("+1 1 415 555 0132", None),
        ("+1 415 555", None),
        ("+999 1234 5678", None),
        ("(415) 555-0132", None),
        ("+1 415 555 0132 ext. 5", None),
    ],
)
def test_only_what_leaves_no_doubt_goes_the_short_way(text: str, plain: str | None) -> None:
    assert _plain(text) == plain
