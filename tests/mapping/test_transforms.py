"""The transforms: what each makes of a value, and that all of them are total, bounded and silent about values."""

import contextlib
import math
import subprocess
import sys
import traceback
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.mapping.formats import HTML_MAX
from service.mapping.transforms import TRANSFORMS, Replacement, TransformError
from service.mapping.values import TEXT_BYTES_MAX
from service.model import Json

SWAP = Replacement.model_validate({"from": "-", "to": " "})
GROW = Replacement.model_validate({"from": "a", "to": "a" * 255})

MAKES: list[tuple[str, Any, Json, Json]] = [
    ("trim", None, "  Ana ", "Ana"),
    ("trim", None, 5, "5"),
    ("lower", None, "ANA@SOUZA.EXAMPLE", "ana@souza.example"),
    ("upper", None, "straße", "STRASSE"),
    ("title", None, "ANNE-MARIE O'BRIEN", "Anne-Marie O'Brien"),
    ("title", None, "maría d’angelo", "María D’Angelo"),  # noqa: RUF001 - names come with it
    ("title", None, "the company's 2nd cfo", "The Company's 2Nd Cfo"),
    ("title", None, "x' y", "X' Y"),
    ("split_first", None, "Ana Maria Souza", "Ana"),
    ("split_first", None, "  ", ""),
    ("split_rest", None, " Ana  Maria Souza ", "Maria Souza"),
    ("split_rest", None, "Cher", ""),
    ("replace", SWAP, "a-b-c", "a b c"),
    ("truncate", 3, "Souza", "Sou"),
    ("truncate", 3, "So", "So"),
    ("to_int", None, 7, 7),
    ("to_int", None, 7.0, 7),
    ("to_int", None, " -42 ", -42),
    ("to_int", None, "12.00", 12),
    ("to_number", None, 7, 7),
    ("to_number", None, 1.5, 1.5),
    ("to_number", None, "+12", 12),
    ("to_number", None, " 12.50 ", 12.5),
    ("to_number", None, ".5e3", 500.0),
    ("to_bool", None, True, True),
    ("to_bool", None, 0, False),
    ("to_bool", None, 1.0, True),
    ("to_bool", None, " Yes ", True),
    ("to_bool", None, "off", False),
    ("to_string", None, 2.0, "2"),
    ("to_string", None, True, "true"),
    ("to_date", None, "2026-03-01T23:30:00Z", "2026-03-01"),
    ("to_date", "Europe/Berlin", "2026-03-01T23:30:00Z", "2026-03-02"),
    ("to_date", "America/New_York", "2026-03-01", "2026-03-01"),
    ("to_date", None, "/Date(1772357400000)/", "2026-03-01"),
    ("to_datetime", None, 1772357400, "2026-03-01T09:30:00.000Z"),
    ("to_datetime", "Europe/Berlin", "2026-03-01T10:30", "2026-03-01T09:30:00.000Z"),
    ("e164", "US", "(212) 555-2368 ext. 12", "+12125552368"),
    ("e164", "DE", "030 901820", "+4930901820"),
    ("e164", "US", "+44 20 7946 0018", "+442079460018"),
    ("e164", None, "+44 20 7946 0018", "+442079460018"),
    ("e164", "US", 2125552368, "+12125552368"),
    ("url", None, " linkedin.com/in/ana ", "https://linkedin.com/in/ana"),
    ("url", None, "//www.Example.com", "https://www.example.com"),
    ("url", None, "HTTP://Example.com:8080/A?b=C#d", "http://example.com:8080/A?b=C#d"),
    ("url", None, "example.com:8080/a", "https://example.com:8080/a"),
    ("url", None, "bücher.example", "https://bücher.example"),
    ("join", None, ["Lead", None, "", 2, True], "Lead, 2, true"),
    ("join", "", ["a", "b"], "ab"),
    ("join", " / ", "alone", "alone"),
    ("first_non_blank", None, [None, " ", "second"], "second"),
    ("first_non_blank", None, [None, {}], None),
    ("first_non_blank", None, "alone", "alone"),
    ("strip_html", None, "no markup", "no markup"),
    ("strip_html", None, "<p>Met at SaaStock &amp; liked it</p>", "Met at SaaStock & liked it"),
]


@pytest.mark.parametrize(("name", "argument", "value", "expected"), MAKES)
def test_makes_of_a_value_what_it_promises(name: str, argument: object, value: Json, expected: Json) -> None:
    made = TRANSFORMS[name].bind(argument)(value)
    assert made == expected
    assert type(made) is type(expected)


REFUSES: list[tuple[str, Any, Json, str]] = [
    ("trim", None, None, "found null, not text or a number"),
    ("trim", None, ["a"], "found a list, not text or a number; use join or first_non_blank"),
    ("lower", None, {"a": 1}, "found an object, not text or a number"),
    ("truncate", 3, None, "found null"),
    ("upper", None, "ß" * 40_000, "longer than 64 KiB"),
    ("replace", GROW, "a" * 300, "longer than 64 KiB"),
    ("to_int", None, True, "found a boolean"),
    ("to_int", None, None, "found null"),
    ("to_int", None, 7.5, "not whole"),
    ("to_int", None, math.inf, "not whole"),
    ("to_int", None, "7.5", "not a whole number"),
    ("to_int", None, "1,000", "not a whole number"),
    ("to_int", None, "9" * 19, "not a whole number"),
    ("to_number", None, False, "found a boolean"),
    ("to_number", None, [1], "found a list"),
    ("to_number", None, "1,5", "not a number"),
    ("to_number", None, "nan", "not a number"),
    ("to_number", None, "9" * 65, "not a number"),
    ("to_number", None, "1e999", "not finite"),
    ("to_number", None, math.nan, "not finite"),
    ("to_bool", None, "perhaps", "neither true nor false"),
    ("to_bool", None, 2, "found a number that is neither"),
    ("to_bool", None, None, "found null"),
    ("to_string", None, None, "found null"),
    ("to_date", None, "tomorrow", "found text that is not a date"),
    ("to_date", "Asia/Tokyo", "9999-12-31T23:00:00Z", "not a date"),
    ("to_datetime", None, True, "found a boolean"),
    ("e164", "US", "call me", "not a telephone number"),
    ("e164", None, "2125552368", "name the region of numbers without"),
    ("e164", "US", "911555", "no telephone number of its country"),
    ("e164", "US", "2" * 65, "longer than 64 characters"),
    ("url", None, "javascript:alert(1)", "not http or https"),
    ("url", None, "ftp://example.com", "not http or https"),
    ("url", None, "https://", "without a web host"),
    ("url", None, "https://user@example.com", "without a web host"),
    ("url", None, "@ana", "without a web host"),
    ("url", None, "ana souza", "with spaces"),
    ("url", None, "example.com/" + "a" * 2048, "longer than 2048"),
    ("join", None, ["a", ["b"]], "found a list"),
    ("join", None, ["a" * 40_000, "b" * 40_000], "longer than 64 KiB"),
    ("join", None, ["é" * 40_000], "longer than 64 KiB"),
    ("strip_html", None, "a" * (HTML_MAX + 1), "truncate it before"),
    ("strip_html", None, "&#" + "9" * 5000 + ";", "character reference"),
]


@pytest.mark.parametrize(("name", "argument", "value", "reason"), REFUSES)
def test_refuses_with_its_name_and_the_type_found(name: str, argument: object, value: Json, reason: str) -> None:
    with pytest.raises(TransformError) as caught:
        TRANSFORMS[name].bind(argument)(value)
    assert str(caught.value).startswith(f"{name}: ")
    assert reason in str(caught.value)


ARGUMENTS: dict[str, list[Any]] = {
    "replace": [SWAP, GROW],
    "truncate": [1, TEXT_BYTES_MAX],
    "to_date": [None, "America/St_Johns"],
    "to_datetime": [None, "Asia/Kathmandu"],
    "e164": [None, "US", "DE"],
    "join": [None, "", "; "],
    "jmespath": ["[0]", "a || @", "join('', @)", "[*].a"],
}
BOUND = [
    (name, transform.bind(argument))
    for name, transform in TRANSFORMS.items()
    for argument in ARGUMENTS.get(name, [None])
]


@settings(deadline=None)
@given(st.text(alphabet="xyzwq", min_size=12, max_size=20))
def test_no_error_shows_a_value(canary: str) -> None:
    nested: Json = [{canary: [canary]}]
    for _, transform in BOUND:
        for value in (canary, nested, f"{canary}:{canary}", f"<{canary}&#{'9' * 5000};"):
            with contextlib.suppress(TransformError):
                transform(value)
                continue
            with pytest.raises(TransformError) as caught:
                transform(value)
            assert canary not in "".join(traceback.format_exception_only(caught.value))
            assert caught.value.__suppress_context__


def test_every_transform_says_what_it_does() -> None:
    for name, transform in TRANSFORMS.items():
        assert transform.name == name
        assert transform.summary.endswith(".")
        assert not transform.required or transform.argument is not None


def test_telephone_metadata_is_not_imported_before_it_is_needed() -> None:
    """It takes longer to import than the rest of the program; most mappings never need it."""
    code = "import sys, service.mapping; sys.exit('phonenumbers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
