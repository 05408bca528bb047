"""JMESPath behind its guard: what is admitted, what is refused and where, and that no admitted one can do harm."""

import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from service.mapping.evaluation import FUNCTIONS, STEPS_MAX
from service.mapping.expression import EXPRESSION_MAX, INPUT_MAX, NODES_MAX, RESULT_MAX, checked, jmespath
from service.mapping.spec import RuleSpec
from service.mapping.values import TEXT_BYTES_MAX, MappingError
from service.model import Json
from tests.mapping.anything import EXPRESSIONS, JSON

EMAILS: list[Json] = [
    {"label": "home", "value": "amara@okafor.example", "primary": False, "rank": 2},
    {"label": "work", "value": "amara@northwind.example", "primary": True, "rank": 1},
]
PERSON: dict[str, Json] = {
    "emails": EMAILS,
    "first": "Amara",
    "last": None,
    "id": 451,
    "score": 7.5,
    "3d0f": "tier one",
    "tags": [["vip"], ["beta", "eu"]],
}

MAKES: list[tuple[str, Json, Json]] = [
    ("[?primary].value | [0]", EMAILS, "amara@northwind.example"),
    ("[?label == 'home'].value | [0]", EMAILS, "amara@okafor.example"),
    ("[?rank == `1`].value | [0]", EMAILS, "amara@northwind.example"),
    ("[?primary == `true`] | [0].rank", EMAILS, 1),
    ("[?starts_with(value, 'amara@o')].value | [0]", EMAILS, "amara@okafor.example"),
    ("[*].value", EMAILS, ["amara@okafor.example", "amara@northwind.example"]),
    ("join('; ', sort([*].value))", EMAILS, "amara@northwind.example; amara@okafor.example"),
    ("min_by(@, &rank).value", EMAILS, "amara@northwind.example"),
    ("length(@)", EMAILS, 2),
    ("[5].value", EMAILS, None),
    ("[?label == 'fax'].value", EMAILS, []),
    ("tags[] | [0]", PERSON, "vip"),
    ("[first, last]", PERSON, ["Amara", None]),
    ("join('-', [first, to_string(id)])", PERSON, "Amara-451"),
    ('"3d0f" || first', PERSON, "tier one"),
    ("last || first", PERSON, "Amara"),
    ("nickname == last", PERSON, True),
    ("sum([id, score])", PERSON, 458.5),
    ("emails[0:1].value | [0]", PERSON, "amara@okafor.example"),
    ("@", "text", "text"),
    ('`[1, "\\`"]`', "text", [1, "`"]),
]


@pytest.mark.parametrize(("text", "value", "found"), MAKES)
def test_finds_what_it_asks_for(text: str, value: Json, found: Json) -> None:
    made = jmespath(checked(text))(value)
    assert (made, type(made)) == (found, type(found))


A_LIST_OF = [str(number) for number in range(RESULT_MAX)]
MANY: list[Json] = [{"a": number} for number in range(20_000)]
FAILS: list[tuple[str, Json, str]] = [
    ("@", {"a": 1}, "found an object, not a value"),
    ("[0]", EMAILS, "found an object, not a value or a list of values; name the key"),
    ("@", [["a"]], "found a list with lists or objects in it"),
    ("@", [*A_LIST_OF, "one more"], "found a list of more than 100 items"),
    ("@", ["a" * 40_000, "b" * 40_000], "more than 64 KiB of text"),
    ("@", "a" * INPUT_MAX, "found text of more than 256 KiB"),
    ("length(@)", [0] * INPUT_MAX, "found a list of more than 256 KiB"),
    ("length(@)", [{"a" * 1000: 0}] * 300, "found a list of more than 256 KiB"),
    ("length(@)", {str(key): "x" * 1000 for key in range(300)}, "found an object of more than 256 KiB"),
    ("[?a == `1` || a == `2` || a == `3`].a | [0]", MANY, "takes more than 100000 steps"),
    ("join(a, b)", {"a": "x" * 1000, "b": [""] * 100}, "would make text longer than 64 KiB"),
    ("join(', ', @)", ["a", 1], "join found a number, not a list of texts"),
    ("join(', ', @)", "a", "join found text, not a list of texts"),
    ("to_string(@)", EMAILS, "to_string found a list, not text or a number or a boolean"),
    ("keys(@)", None, "keys found null, not an object"),
    ("length(@)", 5, "length found a number, not text or a list or an object"),
    ("contains('a', `5`)", 1, "cannot be compared"),
    ("a > b", {"a": 1, "b": "x"}, "cannot be compared"),
    ("min_by(@, &a).a", [{"a": 1}, {"a": "x"}], "cannot be compared"),
    ("min_by(@, &a).a", [{"a": True}], "min_by found a boolean, not a number or text"),
    ("avg(@)", [10**400], "cannot be computed with"),
    ("ceil(@)", float("inf"), "cannot be computed with"),
    ("ceil(@)", float("nan"), "cannot be computed with"),
    ("@", float("nan"), "not finite"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value", "reason"), FAILS)
def test_fails_with_what_was_found(text: str, value: Json, reason: str) -> None:
    search = jmespath(checked(text))
    with pytest.raises(MappingError) as caught:
        search(value)
    assert reason in str(caught.value)
    assert caught.value.__cause__ is None


def test_values_that_lie_too_deep_to_compare_fail_alone() -> None:
    left: list[Json] = []
    right: list[Json] = []
    for _ in range(5000):
        left, right = [left], [right]
    with pytest.raises(MappingError, match="cannot be compared"):
        jmespath(checked("a == b"))({"a": left, "b": right})


REFUSED: list[tuple[str, str, str]] = [
    # where it breaks off
    ("", "the end of the expression", "a JMESPath expression"),
    ("[?primary", "the end of the expression", "a JMESPath expression"),
    ("[?label = 'work']", "'=' at character 9", "== compares"),
    ("[?rank == 2]", "'2' at character 11", "a number, true or null in `backticks`"),
    ("first last", "'l' at character 7", "a JMESPath expression"),
    ("'work", '"\'" at character 1', "text stands in 'single quotes'"),
    ("first, last", "',' at character 6", "a JMESPath expression"),
    ("custom#fields", "'#' at character 7", "other keys in double quotes"),
    # what reads as a value and is a key
    ('[?label == "work"]', '"work", the name of a key, at character 12', "'work' for text, work for the key"),
    ('["work" == label]', '"work", the name of a key, at character 2', "'work' for text"),
    ("[?primary == true]", "true, the name of a key, at character 14", "`true` in backticks"),
    ("[?null != a]", "null, the name of a key, at character 3", "`null` in backticks"),
    ("[?a == `b`]", "text in `backticks` that is not JSON at character 8", "text in 'single quotes'"),
    ("[?a == `NaN`]", "that is not JSON at character 8", "JSON in backticks"),
    ("[?a == `1e999`]", "that is not JSON at character 8", "JSON in backticks"),
    ("`" + "[" * 500, "that is not JSON at character 1", "JSON in backticks"),
    # what could grow
    ("a" * 513, "513 characters", "at most 512 characters"),
    ("(" * 512, "parts too deep in each other", "at most 60 nodes"),
    (" || ".join(["a"] * 31), "61 nodes", "at most 60"),
    ("[].a[]", "2 flattens ([])", "at most 1"),
    ("[*].a[*].b[*]", "3 projections", "at most 2"),
    ("*.*.*", "3 projections", "at most 2"),
    ("[?a].b[?c].d[0:2]", "3 projections", "at most 2"),
    ("map(&a[*], b[*])", "3 projections", "at most 2"),
    ("[@, @].[@, @].[@, @]", "3 multi-selects", "at most 2"),
    ("{a: [@, @], b: [@, @]}", "3 multi-selects", "at most 2"),
    ("a | [b, c] | d | [0]", "3 pipes around a multi-select", "at most 2"),
    ("[::0]", "a slice with a step of 0", "a step of 1 or more"),
    # what is called
    ("len(@)", "len() at character 1", "abs, avg, ceil, contains"),
    ("a || length()", "length() with 0 arguments at character 6", "length() with 1"),
    ("(len)(@)", "len() at character 2", "abs, avg, ceil, contains"),
    ('("len")(@)', "len() at character 2", "abs, avg, ceil, contains"),
    ("not_null()", "not_null() with 0 arguments", "not_null() with 1 or more"),
    ("max_by(@, rank)", "max_by() with another argument", "&name as argument 2"),
    ("not_null(a, &b)", "not_null() with another argument", "a value, without &, as argument 2"),
    ("&a", "& outside of a function", "such as max_by"),
    ("[&a]", "& outside of a function", "such as max_by"),
]


@pytest.mark.parametrize(("text", "found", "allowed"), REFUSED)
def test_refuses_with_what_was_found_and_what_is_allowed(text: str, found: str, allowed: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        checked(text)
    context: dict[str, Any] = caught.value.context or {}
    assert found in context["found"]
    assert allowed in context["allowed"]


def test_a_mistyped_function_is_told_the_nearest() -> None:
    with pytest.raises(PydanticCustomError) as caught:
        checked("jion(', ', @)")
    assert (caught.value.context or {})["nearest"] == "join"


ADMITTED = [
    "a | b | c | d",
    "[first, last] | [0] | @",
    '[?"true" == `true`]',
    '[?"first name" == a]',
    '"quoted" || b',
    "sort_by(@, &rank)[-1].value",
    "map(&value, @)",
    "not_null(a, b, c)",
    "'it\\'s' == a",
    "'a`b' == c",
    '[?`"work"` == label]',
    " || ".join(["a"] * 30),
    "[::-1] | [0]",
]  # fmt: skip


@pytest.mark.parametrize("text", ADMITTED)
def test_admits_what_keeps_to_the_limits(text: str) -> None:
    assert checked(text) == text


def test_a_rule_with_a_faulty_expression_is_refused_at_its_place() -> None:
    with pytest.raises(ValidationError) as caught:
        RuleSpec.model_validate({"from": "emails", "transform": ["first_non_blank", {"jmespath": "[?primary"}]})
    (error,) = caught.value.errors()
    assert error["loc"] == ("transform", 1, "jmespath")
    assert error["ctx"]["found"] == "the end of the expression"


TOKENS = [
    *("a", "b", "value", "primary", "true", '"a b"', "'x'", "`1`", "`[1,2]`", "`null`", "`{`", "0", "-1", "@", "*"),
    *("[", "]", "[]", "[?", "[*]", "[0]", "[::0]", "[1:]", "{a: ", "}", "(", ")", ",", ":", ".", "|", "||", "&", "&&"),
    *("!", "==", "!=", "<", ">=", "=", "-", "#", "\\", "'", '"', "`", " ", *(f"{name}(" for name in FUNCTIONS)),
]
ANY_EXPRESSION = st.lists(st.sampled_from(TOKENS), max_size=24).map("".join) | st.text(max_size=40)


@settings(deadline=None)
@given(ANY_EXPRESSION)
@example("\\")
@example('"\\')
@example("[99999999999999999999999999]")
def test_any_text_is_admitted_or_refused_by_name(text: str) -> None:
    with warnings.catch_warnings(action="error"):
        refused = _refusal(text)
    assert refused is None or (refused.type == "jmespath" and {"found", "allowed"} <= set(refused.context or {}))


def _refusal(text: str) -> PydanticCustomError | None:
    try:
        return None if checked(text) == text else PydanticCustomError("changed", "the text is another")
    except PydanticCustomError as refused:
        return refused


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(EXPRESSIONS, JSON)
@example("[?!(a)]", [[["\ud800"]]])
def test_an_admitted_expression_makes_a_short_value_of_anything_or_fails_by_name(text: str, value: Json) -> None:
    assume(_refusal(text) is None)
    try:
        made = jmespath(text)(value)
    except MappingError as error:
        made = str(error)
    items = made if isinstance(made, list) else [made]
    assert len(items) <= RESULT_MAX
    assert all(item is None or isinstance(item, str | int | float) for item in items)
    assert isinstance(made, str) or sum(len(item) for item in items if isinstance(item, str)) <= TEXT_BYTES_MAX


@pytest.mark.parametrize(
    "text",
    [
        f"[{', '.join(['@'] * 28)}][] | length(@)",
        f"[{', '.join(['max(@)'] * 20)}]",
        f"[{', '.join(['reverse(@) == @'] * 8)}]",
        "[*].[*] | length(@)",
        "map(&map(&@, @), @) | length(@)",
        "sort_by([*], &@) | [0]",
    ],
)
def test_what_an_expression_may_do_is_counted(text: str) -> None:
    """None of them gets further than so many steps, however the list was made longer on the way."""
    assert len(checked(text)) <= EXPRESSION_MAX
    with pytest.raises(MappingError, match=f"more than {STEPS_MAX} steps"):
        jmespath(text)([[number] for number in range(40_000)] if "map" in text else list(range(60_000)))


@pytest.mark.parametrize("call", ["reverse(@)", "to_number(@)", "length(@)"])
def test_what_an_expression_goes_through_of_long_text_is_counted_too(call: str) -> None:
    """Each call goes through the whole text, and some make another as long."""
    text = f"[{', '.join(['@'] * 18)}][*].[{', '.join([call] * 15)}] | length(@)"
    with pytest.raises(MappingError, match=f"more than {STEPS_MAX} steps"):
        jmespath(checked(text))("1" * (INPUT_MAX - 1))


def test_one_long_text_may_be_looked_at_a_few_times() -> None:
    notes = "Met Amara Okafor. " * (INPUT_MAX // 20)
    asked = "contains(notes, 'Okafor') && starts_with(notes, 'Met') && length(notes)"
    assert jmespath(checked(asked))({"notes": notes}) == len(notes)


def test_the_limits_are_those_of_the_guard() -> None:
    assert (EXPRESSION_MAX, NODES_MAX, INPUT_MAX) == (512, 60, 262_144)
