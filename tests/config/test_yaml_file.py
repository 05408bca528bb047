"""The configuration file's text: what it becomes, where each value stands, and what is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config.yaml_file import (
    DEPTH_MAX,
    NODES_MAX,
    Document,
    Position,
    read_yaml,
    references,
    shortened,
    written,
)
from service.errors import Fault
from service.model import Json

SECRETS = {"TOKEN": "correct-horse", "REGION": "US"}


def read(text: str) -> Document:
    return read_yaml(text, name="config.yaml", variable=variable)


def variable(name: str) -> str | Fault:
    return SECRETS.get(name, Fault("environment", name, f"${{{name}}}, which is not set", "set it"))


def only_fault(text: str) -> str:
    (fault,) = read(text).faults
    return str(fault[1])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("2026-03-01", "2026-03-01"),
        ("2026-03-01T09:30:00Z", "2026-03-01T09:30:00Z"),
        ("12:30", "12:30"),
        ("007", "007"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("1.2.3", "1.2.3"),
        ("+", "+"),
        (".", "."),
        ("'5'", "5"),
        ('"true"', "true"),
        ("|\n  two\n  lines", "two\nlines\n"),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("5", 5),
        ("-5", -5),
        ("0", 0),
        ("9223372036854775807", 2**63 - 1),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-1e3", -1000.0),
    ],
)
def test_a_scalar_is_what_it_looks_like_and_text_otherwise(text: str, value: Json) -> None:
    """YAML 1.1 would make Norway false, dates objects and 12:30 a number of seconds."""
    document = read(f"key: {text}\n")
    assert document.faults == []
    assert document.value == {"key": value}
    assert type(document.value["key"]) is type(value)


def test_a_key_is_the_text_as_written() -> None:
    assert read("{1: Lead, true: a, null: b, 2026-03-01: c, on: d, 1.50: e}").value == {
        "1": "Lead",
        "true": "a",
        "null": "b",
        "2026-03-01": "c",
        "on": "d",
        "1.50": "e",
    }


def test_every_value_and_key_has_its_line_and_column() -> None:
    document = read("sources:\n  crm: {preset: generic}\n  list:\n    - link\n    - email: work\n")
    assert document.positions == {
        (): Position((1, 1), (1, 1)),
        ("sources",): Position((1, 1), (2, 3)),
        ("sources", "crm"): Position((2, 3), (2, 8)),
        ("sources", "crm", "preset"): Position((2, 9), (2, 17)),
        ("sources", "list"): Position((3, 3), (4, 5)),
        ("sources", "list", 0): Position((4, 7), (4, 7)),
        ("sources", "list", 1): Position((5, 7), (5, 7)),
        ("sources", "list", 1, "email"): Position((5, 7), (5, 14)),
    }
    assert document.where(("sources", "crm", "preset")) == "config.yaml:2:17"
    assert document.where(("sources", "crm", "preset"), key=True) == "config.yaml:2:9"


def test_what_is_missing_stands_where_its_owner_does() -> None:
    document = read("sources:\n  crm: {}\n")
    assert document.where(("sources", "crm", "auth", "secret")) == "config.yaml:2:3"
    assert Document("config.yaml").where(("sources",)) == "config.yaml:1:1"


def test_a_variable_is_always_text_and_an_escaped_one_stays_as_written() -> None:
    document = read('a: ${TOKEN}\nb: "x-${REGION}-${TOKEN}"\nc: $${TOKEN}\nd: $TOKEN\n"${TOKEN}": 1\n')
    assert document.value == {
        "a": "correct-horse",
        "b": "x-US-correct-horse",
        "c": "${TOKEN}",
        "d": "$TOKEN",
        "${TOKEN}": 1,
    }
    assert document.unresolved == {
        "a": "${TOKEN}",
        "b": "x-${REGION}-${TOKEN}",
        "c": "$${TOKEN}",
        "d": "$TOKEN",
        "${TOKEN}": 1,
    }
    assert document.substituted == {("a",): "TOKEN", ("b",): "REGION"}


def test_what_a_variable_holds_is_never_shown() -> None:
    assert "correct-horse" not in repr(read("a: ${TOKEN}\nb: ${TOKEN}${NO}"))


def test_every_missing_variable_is_named_with_its_place() -> None:
    faults = [str(fault) for _, fault in read("a: ${ONE}\nb: [x, '${TWO}']\n").faults]
    assert faults == [
        "config.yaml:1:4: a: found ${ONE}, which is not set; allowed: set it",
        "config.yaml:2:8: b[1]: found ${TWO}, which is not set; allowed: set it",
    ]


@pytest.mark.parametrize("text", ["${", "${}", "${a b}", "x ${9}", "${A"])
def test_a_broken_reference_is_refused(text: str) -> None:
    assert "found '${' without a name and '}'" in only_fault(f"a: '{text}'")


def test_names_are_found_in_comments_too() -> None:
    assert references("a: ${ONE} # or ${TWO}, not $${THREE}\n") == {"ONE", "TWO"}


def test_an_alias_shares_a_block_and_its_place() -> None:
    document = read("a: &shared {name: first}\nb: *shared\n")
    assert document.value == {"a": {"name": "first"}, "b": {"name": "first"}}
    assert document.where(("b", "name")) == "config.yaml:1:19"


def test_aliases_that_multiply_are_refused_before_they_fill_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    document = read("\n".join(lines))
    assert "aliases that make the file too large" in str(document.faults[0][1])
    assert document.value is None
    assert document.positions == {}


def test_nesting_and_size_have_limits() -> None:
    assert read("[" * DEPTH_MAX + "]" * DEPTH_MAX).faults == []
    assert "a file too large" in only_fault("[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1))
    assert "a file too large" in only_fault("[" * 10_000)
    assert "a file too large" in only_fault("[" + "x," * NODES_MAX)


def test_a_character_that_yaml_does_not_allow_is_named_with_its_place() -> None:
    assert only_fault("a: b\nc: \x07\n").startswith("config.yaml:2:4: found the character U+0007;")


def test_a_word_that_may_be_a_password_is_not_repeated() -> None:
    """A password that starts with * is read as an alias."""
    assert "hunter22" not in only_fault("password: *hunter22")


def test_keys_twice_name_the_first_line() -> None:
    assert "config.yaml:3:1: a: found the key a second time (first in line 1)" in only_fault("a: 1\nb: 2\na: 3\n")


def test_paths_are_written_as_people_write_them() -> None:
    assert written(("sources", "crm", "map", 1, "Lead Score", 'a"b', "x\ny")) == (
        'sources.crm.map[1]."Lead Score"."a"b"."x\\ny"'
    )
    assert shortened("x" * 100) == "'" + "x" * 59 + "…'"


@given(text=st.text(max_size=200) | st.text(alphabet="&*!|>{}[]:-,'\"#%@ \n\tab1.$~<", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but faults comes of it, each with a place in the file."""
    document = read(text)
    assert all(fault.where.startswith("config.yaml:") for _, fault in document.faults)
    assert document.faults or document.positions


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.text(max_size=8).filter(lambda t: "${" not in t),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(value=_json)
def test_json_is_read_as_itself(value: Json) -> None:
    """JSON is YAML, so that a file may also be generated."""
    document = read(json.dumps(value))
    assert document.faults == []
    assert document.value == value
