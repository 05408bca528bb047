"""The path language: what parses, what it reads, and that neither ever fails in another way than promised."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.model import MISSING, Action, Change, Json, Missing
from service.paths import EVENT_FIELDS, STEPS_MAX, TEXT_MAX, Path, PathError, as_text, is_truthy, nearest

HASH = "3d0f5c2be8a74c1e9b6d0f7a2c4e8b1d5f3a9c70"
PERSON: dict[str, Json] = {
    "first_name": "Ana",
    "job_title": None,
    "note": "",
    "custom.cf_x": "close",
    'say "hi"': "quoted",
    "it's": "apostrophe",
    "back\\slash": "backslash",
    "$ref": "dollar",
    "": "empty key",
    "prénom": "Anaïs",
    "owner": {"name": "Bo", "team": None},
    "org": None,
    "emails": [
        {"value": "ana@old.example", "primary": False, "label": "work"},
        None,
        "stray",
        {"value": "ana@souza.example", "primary": True, "label": "home office", "rank": 2},
        {"value": "ana@third.example", "primary": True, "label": ["odd"]},
    ],
    "custom_fields": {HASH: {"type": "varchar", "value": "VIP"}},
    "matrix": [[1, 2], [3, [4, 5]]],
}
CHANGE = Change(
    dedup_key="pipedrive|3f1c",
    object_type="person",
    object_id="9007199254740993",
    action=Action.UPDATED,
    crm_event_id="3f1c",
    occurred_at=datetime(2026, 3, 1, 9, 30, 0, 250_000, tzinfo=UTC),
    changed_fields=("first_name", "emails"),
    values=PERSON,
    previous={"first_name": "Anna", "emails": [{"value": "ana@old.example", "primary": True}]},
    origin="api",
    actor="12",
    tenant="7",
    attempt=1,
)
BARE = Change(dedup_key="k", object_type="person", object_id="1", action=Action.CREATED)

READS: list[tuple[str, Json | Missing]] = [
    ("first_name", "Ana"),
    ("last_name", MISSING),
    ("job_title", None),
    ("note", ""),
    ('"custom.cf_x"', "close"),
    ("'custom.cf_x'", "close"),
    ('"say \\"hi\\""', "quoted"),
    ("'it\\'s'", "apostrophe"),
    ('"back\\\\slash"', "backslash"),
    ('"$ref"', "dollar"),
    ('""', "empty key"),
    ("prénom", "Anaïs"),
    ("owner.name", "Bo"),
    ("owner.team", None),
    ("owner.mail", MISSING),
    ("owner.name.first", MISSING),
    ("owner[0]", MISSING),
    ("owner[?name]", MISSING),
    ("emails[0].value", "ana@old.example"),
    ("emails[-1].value", "ana@third.example"),
    ("emails[5]", MISSING),
    ("emails[-6]", MISSING),
    ("emails[-5].value", "ana@old.example"),
    ("emails[2].value", MISSING),
    ("emails.value", MISSING),
    ("emails[?primary].value", "ana@souza.example"),
    ("emails[?verified].value", MISSING),
    ("emails[?label=work].value", "ana@old.example"),
    ("emails[?label=home office].value", "ana@souza.example"),
    ("emails[?label= home office ].value", "ana@souza.example"),
    ('emails[?label="home office"].value', "ana@souza.example"),
    ("emails[?'label'='home office'].value", "ana@souza.example"),
    ("emails[?rank=2].value", "ana@souza.example"),
    ("emails[?primary=true].value", "ana@souza.example"),
    ('emails[?label=""].value', MISSING),
    (f"custom_fields.{HASH}.value", "VIP"),
    (f'custom_fields."{HASH}".value', "VIP"),
    ("matrix[1][1][0]", 4),
    ("[0]", MISSING),
    ("[?primary]", MISSING),
    ("$previous.first_name", "Anna"),
    ("$previous.last_name", MISSING),
    ("$previous.emails[?primary].value", "ana@old.example"),
    ("$event.object_id", "9007199254740993"),
    ("$event.object_type", "person"),
    ("$event.action", "updated"),
    ("$event.occurred_at", "2026-03-01T09:30:00.250Z"),
    ("$event.crm_event_id", "3f1c"),
    ("$event.dedup_key", "pipedrive|3f1c"),
    ("$event.changed_fields", ["first_name", "emails"]),
    ("$event.changed_fields[-1]", "emails"),
    ("$event.merged_from", []),
    ("$event.merged_into", MISSING),
    ("$event.origin", "api"),
    ("$event.actor", "12"),
    ("$event.tenant", "7"),
    ("$event.attempt", 1),
    ("$event.thin", False),
]


@pytest.mark.parametrize(("text", "expected"), READS, ids=[text for text, _ in READS])
def test_reads_what_stands_at_the_path(text: str, expected: Json | Missing) -> None:
    assert Path.parse(text).read(CHANGE) == expected


@pytest.mark.parametrize("text", ["org.name", "org[0]", "org[?primary].value", "owner.team.lead.name"])
def test_a_null_on_the_way_is_null(text: str) -> None:
    """A CRM that empties a whole object empties its parts: ``on_null: clear`` must see it."""
    assert Path.parse(text).read(CHANGE) is None


@pytest.mark.parametrize("field", sorted(set(EVENT_FIELDS) - {"action", "object_id", "object_type", "dedup_key"}))
def test_what_a_change_does_not_know_of_itself_is_absent(field: str) -> None:
    known = {"thin": False, "merged_from": []}
    assert Path.parse(f"$event.{field}").read(BARE) == known.get(field, MISSING)


def test_previous_is_absent_where_the_crm_sends_none() -> None:
    assert Path.parse("$previous.first_name").read(BARE) is MISSING


@pytest.mark.parametrize(
    ("text", "head", "keys"),
    [
        ("first_name", "first_name", ("first_name",)),
        ("owner.name", "owner", ("owner", "name")),
        ('"custom.cf_x".a', "custom.cf_x", ("custom.cf_x", "a")),
        ("emails[?primary].value", "emails", ("emails",)),
        ("[0].id", None, ()),
        ("$event.action", None, ()),
        ("$previous.email", None, ()),
    ],
)
def test_head_and_keys_name_the_field_that_is_needed(text: str, head: str | None, keys: tuple[str, ...]) -> None:
    path = Path.parse(text)
    assert (path.head, path.keys, path.text) == (head, keys, text)


def test_paths_are_equal_by_their_text() -> None:
    assert {Path.parse("a.b"), Path.parse("a.b"), Path.parse('a."b"')} == {Path.parse("a.b"), Path.parse('a."b"')}


@pytest.mark.parametrize(
    ("document", "text", "expected"),
    [
        ({"event": {"id": 7}}, "event.id", 7),
        ([{"id": 7}], "[0].id", 7),
        ([{"id": 7, "on": 1}], "[?on].id", 7),
        ({"a": 1}, "b", MISSING),
        ("text", "a", MISSING),
        (None, "a", None),
    ],
)
def test_get_reads_any_document(document: Json, text: str, expected: Json | Missing) -> None:
    assert Path.parse(text, roots=False).get(document) == expected


def test_get_refuses_a_path_that_starts_at_a_change() -> None:
    with pytest.raises(ValueError, match=r"\$ root"):
        Path.parse("$event.action").get({})


REFUSED: list[tuple[str, int, str, str]] = [
    ("", 1, "the end", "a key"),
    (".", 1, "'.'", "a key"),
    ("a.", 3, "the end", "a key"),
    ("a..b", 3, "'.'", "a key"),
    ("first name", 6, "' '", "quotes"),
    ("a]", 2, "']'", ". or ["),
    ("a.$b", 3, "'$'", "in quotes"),
    ('"abc', 1, "'\"'", "closing quotes"),
    ("'a\\nb'", 1, '"\'"', "closing quotes"),
    ('"a"b', 4, "'b'", ". or ["),
    ("a[", 3, "the end", "an index"),
    ("a[*]", 3, "'*'", "an index"),
    ("a[1234567]", 3, "'1'", "6 digits"),
    ("a[0", 3, "'0'", "an index"),
    ("a[?", 4, "the end", "a key"),
    ("a[?b", 5, "the end", "= or ]"),
    ("a[?b.c]", 5, "'.'", "= or ]"),
    ("a[?b=", 6, "the end", "a value"),
    ("a[?b=]", 6, "']'", "a value"),
    ("a[?b= ]", 6, "' '", "a value"),
    ("a[?b==c]", 6, "'='", "a value"),
    ("a[?b=c", 7, "the end", "]"),
    ("a[?b='c]", 6, '"\'"', "closing quotes"),
    ("$", 1, "'$'", "$event.<field>"),
    ("$event", 1, "'$event'", "$event.<field>"),
    ("$event.", 8, "the end", "a key"),
    ("$previous[0]", 1, "'$previous[0]'", "$previous.<field>"),
    ("a" * (TEXT_MAX + 1), TEXT_MAX + 1, "513 characters", "at most 512"),
    (".".join("a" * (STEPS_MAX + 1)), 64, "step 33", "at most 32"),
]


@pytest.mark.parametrize(("text", "position", "found", "allowed"), REFUSED, ids=[row[0][:20] for row in REFUSED])
def test_refuses_what_is_no_path_and_says_where_and_what_is_allowed(
    text: str, position: int, found: str, allowed: str
) -> None:
    with pytest.raises(PathError) as caught:
        Path.parse(text)
    error = caught.value
    assert (error.position, error.found) == (position, found)
    assert allowed in error.allowed
    assert f"position {position}: found {found}" in str(error)


@pytest.mark.parametrize(
    ("text", "close"), [("$event.object_idd", "object_id"), ("$evnt.action", "$event"), ("$event.zzz", None)]
)
def test_a_mistyped_name_gets_the_nearest_right_one(text: str, close: str | None) -> None:
    with pytest.raises(PathError) as caught:
        Path.parse(text)
    assert caught.value.nearest == close
    assert (close is None) == ("did you mean" not in str(caught.value))


def test_a_document_path_refuses_roots() -> None:
    with pytest.raises(PathError, match="without \\$"):
        Path.parse("$event.action", roots=False)


def test_a_path_of_the_greatest_length_and_depth_is_read() -> None:
    deep: Json = "bottom"
    for _ in range(STEPS_MAX - 1):
        deep = {"a": deep}
    change = Change(dedup_key="k", object_type="p", object_id="1", action=Action.CREATED, values={"a": deep})
    assert Path.parse(".".join("a" * STEPS_MAX)).read(change) == "bottom"
    assert Path.parse("a" * TEXT_MAX).read(change) is MISSING


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        (True, "true"),
        (False, "false"),
        (2, "2"),
        (2.0, "2"),
        (-0.5, "-0.5"),
        (1e16, "1e+16"),
        (None, "None"),
        (math.inf, "inf"),
        (1 << 5000, hex(1 << 5000)),
    ],
)
def test_a_scalar_has_one_text(value: Json, text: str) -> None:
    assert as_text(value) == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True), (1, True), ("yes", True), ([0], True),
        (None, False), (False, False), (0, False), ("", False), (" False ", False),
        ("0", False), ([], False), ({}, False),
    ],
)  # fmt: skip
def test_truthy_is_what_means_yes(value: Json, expected: bool) -> None:  # noqa: FBT001 - a table's column
    assert is_truthy(value) is expected


def test_nearest_gives_nothing_where_nothing_is_near() -> None:
    assert nearest("xyz", ["first_name"]) is None


KEYS = st.sampled_from(["a", "b", "c.d", ""])
ANY_JSON: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
PIECES = st.sampled_from(
    [
        *('"', "'", "[", "]", ".", ".", "=", "?", " ", "é", "\\", "\x00", "\ud800"),
        *("a", "b", "[0]", "[-1]", "[?a]", "[?a=b]", '"c.d"', "$event.", "$previous.", "action"),
    ]
)
PATHS = st.lists(
    st.sampled_from([".a", ".b", '."c.d"', '.""', "[0]", "[-1]", "[?a]", "[?b=1]"]), min_size=1, max_size=6
).map(lambda steps: "".join(steps).removeprefix("."))


@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=40))
def test_parsing_raises_nothing_but_path_errors(text: str) -> None:
    try:
        path = Path.parse(text)
    except PathError as error:
        said = (1 <= error.position <= len(text) + 1, bool(error.allowed))
    else:
        said = (path.text == text, Path.parse(text) == path)
    assert said == (True, True)


@given(st.text(max_size=30))
def test_every_key_can_be_written_in_quotes(key: str) -> None:
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert Path.parse(quoted).get({key: "value"}) == "value"


@given(PATHS, ANY_JSON, st.dictionaries(KEYS, ANY_JSON, max_size=4))
def test_reading_never_raises(text: str, document: Json, record: dict[str, Any]) -> None:
    change = Change(dedup_key="k", object_type="p", object_id="1", action=Action.OTHER, values=record, previous=record)
    path = Path.parse(text)
    path.get(document)
    assert path.head is None or repr(path.read(change)) == repr(path.get(record))
    if path.head is not None:
        assert repr(Path.parse(f"$previous.{text}").read(change)) == repr(path.read(change))
