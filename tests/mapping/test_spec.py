"""The configuration of mappings: what is allowed, and that every fault is named at its exact place."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from service.mapping import ConditionSpec, MappingSpec
from service.mapping.forms import TABLE_MAX, Strict
from service.mapping.spec import CUSTOM_MAX, NESTING_MAX, RuleSpec, TransformSpec
from service.mapping.transforms import TRANSFORMS

FULL: dict[str, Any] = {
    "first_name": "first_name",
    "last_name": {"from": ["last_name", "$previous.last_name"], "on_null": "clear", "only_if_changed": True},
    "title": {"from": ["job_title", "title"], "transform": ["trim", {"replace": {"from": "&", "to": "and"}}]},
    "phone": {"from": "phones[?primary].value", "transform": [{"e164": "US"}], "on_error": "skip"},
    "notes": {"from": "notes", "transform": ["strip_html", {"truncate": 2000}], "on_blank": "clear"},
    "external_id": {"concat": [{"const": "pd-"}, "$event.object_id"], "separator": ""},
    "last_seen": {"from": "update_time", "transform": [{"to_datetime": "Europe/Berlin"}]},
    "custom": {
        "Lifecycle": {"from": "label", "map": {1: "Lead", "2": "Customer", False: None, 2.5: 7}, "default": "Other"},
        "CRM": {"const": "Pipedrive", "when": {"all": [{"field": "label", "in": [1, "2", None]}, {"not": {"any": [
            {"field": "a", "exists": False}, {"field": "b.c", "changed": True}, {"field": "d", "equals": None}]}}]}},
    },
}  # fmt: skip


def first_fault(model: type[Strict], value: object) -> tuple[tuple[int | str, ...], str, dict[str, Any]]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    error = caught.value.errors(include_url=False, include_input=False)[0]
    return error["loc"], error["type"], error.get("ctx", {})


def test_every_form_of_a_rule_is_read() -> None:
    spec = MappingSpec.model_validate(FULL)
    rules = dict(spec.rules())
    assert list(rules) == [*list(FULL)[:-1], "custom.Lifecycle", "custom.CRM"]
    assert rules["first_name"] == RuleSpec.model_validate({"from": "first_name"})
    assert rules["phone"].transform == (TransformSpec("e164", "US"),)
    assert rules["title"].transform[0] == TransformSpec("trim")
    assert [path.text for path in rules["last_name"].paths] == ["last_name", "$previous.last_name"]
    assert rules["custom.Lifecycle"].map == {"1": "Lead", "2": "Customer", "false": None, "2.5": 7}
    when = rules["custom.CRM"].when
    assert when is not None
    assert [path.text for path in when.paths] == ["label", "a", "b.c", "d"]
    assert when.nesting == 4


def test_a_transform_without_argument_may_be_written_as_a_key() -> None:
    """``- trim:`` is what YAML makes of a stray colon."""
    rule = RuleSpec.model_validate({"from": "title", "transform": [{"trim": None}]})
    assert rule.transform == (TransformSpec("trim"),)


FAULTS: list[tuple[dict[str, Any], tuple[int | str, ...], str, str, str | None]] = [
    ({"frist_name": "a"}, ("frist_name",), "extra_forbidden", "first_name, last_name, title", "first_name"),
    ({"title": "job title"}, ("title",), "path", "in quotes", None),
    ({"title": {"from": "job title"}}, ("title", "from"), "path", "in quotes", None),
    ({"title": {"from": ["a", "$event.acton"]}}, ("title", "from", 1), "path", "action, actor", "action"),
    ({"title": {"from": ["a", 5]}}, ("title", "from", 1), "path", "a path as text", None),
    ({"title": {"from": []}}, ("title", "from"), "too_short", "at least 1", None),
    ({"title": {"from": {"path": "a"}}}, ("title", "from"), "form", "a path as text, or a list of paths", None),
    ({"title": 5}, ("title",), "form", "a path as text, or a rule", None),
    ({"title": None}, ("title",), "null", "leave the key out", None),
    ({"title": {}}, ("title",), "rule", "exactly one of from, const, concat", None),
    ({"title": {"from": "a", "const": 1}}, ("title",), "rule", "exactly one of", None),
    ({"title": {"from": "a", "whn": {}}}, ("title", "whn"), "extra_forbidden", "from, const", "when"),
    ({"title": {"from": "a", "when": None}}, ("title", "when"), "null", "leave the key out", None),
    ({"title": {"from": "a", "separator": " "}}, ("title",), "rule", "beside concat", None),
    ({"title": {"concat": [{"const": "x"}]}}, ("title",), "rule", "at least one path", None),
    ({"title": {"concat": ["a b"]}}, ("title", "concat", 0), "path", "in quotes", None),
    ({"title": {"concat": ["a", {"const": 1}]}}, ("title", "concat", 1, "const"), "string_type", "text", None),
    ({"title": {"concat": ["a", {}]}}, ("title", "concat", 1, "const"), "missing", "this key", None),
    ({"title": {"const": "a", "only_if_changed": True}}, ("title",), "rule", "beside such a path", None),
    ({"title": {"from": "$event.actor", "only_if_changed": True}}, ("title",), "rule", "beside such a path", None),
    ({"title": {"from": "a", "only_if_changed": 1}}, ("title", "only_if_changed"), "bool_type", "true or false", None),
    ({"title": {"from": "a", "on_null": "cleer"}}, ("title", "on_null"), "literal_error", "skip or clear", "clear"),
    ({"title": {"const": [1]}}, ("title", "const"), "scalar", "text, a number, true, false or null", None),
    ({"title": {"const": "x" * 4097}}, ("title", "const"), "scalar", "at most 4096", None),
    ({"title": {"const": float("nan")}}, ("title", "const"), "scalar", "a finite number", None),
    ({"title": {"from": "a", "map": {}}}, ("title", "map"), "map", "1 to 1000 entries", None),
    ({"title": {"from": "a", "map": ["x"]}}, ("title", "map"), "map", "1 to 1000 entries", None),
    ({"title": {"from": "a", "map": {None: 1}}}, ("title", "map"), "map", "keys that are text", None),
    ({"title": {"from": "a", "map": {"1": 1, 1: 2}}}, ("title", "map"), "map", "each key once", None),
    ({"title": {"from": "a", "map": {"1": [1]}}}, ("title", "map", "1"), "scalar", "text, a number", None),
    ({"title": {"from": "a", "map": dict.fromkeys(range(TABLE_MAX + 1))}}, ("title", "map"), "map", "1000", None),
    ({"title": {"from": "a", "transform": "trim"}}, ("title", "transform"), "tuple_type", "a list, in [ ]", None),
    ({"title": {"from": "a", "transform": ["trimm"]}}, ("title", "transform", 0), "transform", "trim, lower", "trim"),
    ({"title": {"from": "a", "transform": ["truncate"]}}, ("title", "transform", 0), "transform", "{truncate:", None),
    ({"title": {"from": "a", "transform": [{}]}}, ("title", "transform", 0), "transform", "one transform", None),
    ({"title": {"from": "a", "transform": [{"trim": None, "lower": None}]}}, ("title", "transform", 0), "transform",
     "one transform", None),
    ({"title": {"from": "a", "transform": [None]}}, ("title", "transform", 0), "null", "a value", None),
    ({"title": {"from": "a", "transform": [{"trim": 3}]}}, ("title", "transform", 0, "trim"), "none_required",
     "no argument", None),
    ({"title": {"from": "a", "transform": [{"truncat": 3}]}}, ("title", "transform", 0, "truncat"), "extra_forbidden",
     "trim, lower", "truncate"),
    ({"title": {"from": "a", "transform": [{"truncate": "3"}]}}, ("title", "transform", 0, "truncate"), "int_type",
     "a whole number", None),
    ({"title": {"from": "a", "transform": [{"truncate": 0}]}}, ("title", "transform", 0, "truncate"),
     "greater_than_equal", "1 or more", None),
    ({"title": {"from": "a", "transform": [{"e164": "us"}]}}, ("title", "transform", 0, "e164"), "region",
     "two-letter country code", "US"),
    ({"title": {"from": "a", "transform": [{"e164": "ZZ"}]}}, ("title", "transform", 0, "e164"), "region",
     "two-letter country code", None),
    ({"title": {"from": "a", "transform": [{"to_date": "Europe/Berln"}]}}, ("title", "transform", 0, "to_date"), "zone",
     "IANA", "Europe/Berlin"),
    ({"title": {"from": "a", "transform": [{"to_date": "../../etc"}]}}, ("title", "transform", 0, "to_date"), "zone",
     "IANA", None),
    ({"title": {"from": "a", "transform": [{"replace": {"from": "", "to": ""}}]}},
     ("title", "transform", 0, "replace", "from"), "string_too_short", "at least 1", None),
    ({"custom": {"Plan": "a..b"}}, ("custom", "Plan"), "path", "a key of letters", None),
    ({"custom": {"Plan": None}}, ("custom", "Plan"), "null", "leave the key out", None),
    ({"custom": {"": "a"}}, ("custom", "", "[key]"), "string_too_short", "at least 1", None),
    ({"custom": {5: "a"}}, ("custom", 5, "[key]"), "string_type", "text", None),
    ({5: "a"}, (5,), "invalid_key", "keys that are text", None),  # type: ignore[dict-item]  # YAML allows it
    ({"custom": ["a"]}, ("custom",), "dict_type", "a mapping (keys and values)", None),
    ({"custom": dict.fromkeys(map(str, range(CUSTOM_MAX + 1)), "a")}, ("custom",), "too_long", "at most 256", None),
]  # fmt: skip


@pytest.mark.parametrize(("value", "place", "kind", "allowed", "close"), FAULTS)
def test_a_fault_stands_at_its_place_with_what_is_allowed(
    value: dict[str, Any], place: tuple[int | str, ...], kind: str, allowed: str, close: str | None
) -> None:
    loc, found_kind, context = first_fault(MappingSpec, value)
    assert (loc, found_kind) == (place, kind)
    assert allowed in context["allowed"]
    assert context.get("nearest") == close
    assert context["found"]


CONDITION_FAULTS: list[tuple[Any, tuple[int | str, ...], str, str]] = [
    ({}, (), "condition", "field with one of equals, in, exists, changed"),
    ({"field": "label"}, (), "condition", "field with one of"),
    ({"equals": 1}, (), "condition", "field with one of"),
    ({"field": "label", "equals": 1, "in": [2]}, (), "condition", "field with one of"),
    ({"field": "label", "all": [{"field": "a", "exists": True}]}, (), "condition", "or one of all, any, not"),
    ({"field": "label", "in": []}, ("in",), "too_short", "at least 1"),
    ({"field": "label", "in": [[1]]}, ("in", 0), "scalar", "text, a number"),
    ({"field": "label", "exists": None}, ("exists",), "null", "leave the key out"),
    ({"field": "label", "exists": 1}, ("exists",), "bool_type", "true or false"),
    ({"field": None, "exists": True}, ("field",), "path", "a path as text"),
    ({"fild": "label", "exists": True}, ("fild",), "extra_forbidden", "field, equals, in"),
    ({"field": "$event.actor", "changed": True}, (), "condition", "changed of a field of the record"),
    ({"not": None}, ("not",), "null", "leave the key out"),
    ({"any": [{"field": "a b", "exists": True}]}, ("any", 0, "field"), "path", "in quotes"),
    ("label", (), "model_type", "a mapping (keys and values)"),
]


@pytest.mark.parametrize(("value", "place", "kind", "allowed"), CONDITION_FAULTS)
def test_a_condition_asks_exactly_one_question(
    value: object, place: tuple[int | str, ...], kind: str, allowed: str
) -> None:
    loc, found_kind, context = first_fault(ConditionSpec, value)
    assert (loc, found_kind) == (place, kind)
    assert allowed in context["allowed"]


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"field": "label", "exists": True}
    for _ in range(depth - 1):
        value = {"not": value}
    return value


def test_conditions_nest_only_so_deep() -> None:
    assert ConditionSpec.model_validate(nested(NESTING_MAX)).nesting == NESTING_MAX
    loc, kind, context = first_fault(ConditionSpec, nested(NESTING_MAX + 1))
    assert (loc, kind, context["allowed"]) == ((), "condition", "at most 8")
    with pytest.raises(ValidationError):
        ConditionSpec.model_validate(nested(200))


def test_every_fault_is_reported_together() -> None:
    with pytest.raises(ValidationError) as caught:
        MappingSpec.model_validate({"title": {"from": "a b", "on_null": "x"}, "emial": "a", "custom": {"Plan": "."}})
    places = [error["loc"] for error in caught.value.errors()]
    assert places == [("title", "from"), ("title", "on_null"), ("custom", "Plan"), ("emial",)]


def test_a_list_whose_items_are_refused_is_not_called_short_as_well() -> None:
    with pytest.raises(ValidationError) as caught:
        RuleSpec.model_validate({"concat": ["a b", "c d"]})
    assert [error["loc"] for error in caught.value.errors()] == [("concat", 0), ("concat", 1)]


def test_no_fault_shows_the_input() -> None:
    with pytest.raises(ValidationError) as caught:
        MappingSpec.model_validate(
            {"title": {"const": ["canary"]}, "custom": {"Plan": {"from": "a", "map": {"1": ["canary"]}}}}
        )
    assert "canary" not in str(caught.value)


SCHEMA = MappingSpec.model_json_schema()
TARGETS = "first_name last_name title email phone linked_in twitter notes position external_id last_seen custom".split()  # noqa: SIM905 - as the documentation lists them


def test_the_schema_knows_every_target_and_both_forms_of_a_rule() -> None:
    assert list(SCHEMA["properties"]) == TARGETS
    assert SCHEMA["additionalProperties"] is False
    for target in TARGETS[:-1]:
        assert [form.get("type") or form["$ref"] for form in SCHEMA["properties"][target]["anyOf"]] == [
            "string", "#/$defs/RuleSpec",
        ]  # fmt: skip
        assert "default" not in SCHEMA["properties"][target]
    assert SCHEMA["properties"]["custom"]["additionalProperties"]["anyOf"][1] == {"$ref": "#/$defs/RuleSpec"}


def test_the_schema_knows_every_transform_and_its_argument() -> None:
    short, long = SCHEMA["$defs"]["RuleSpec"]["properties"]["transform"]["items"]["anyOf"]
    assert short["enum"] == [name for name, transform in TRANSFORMS.items() if not transform.required]
    assert long == {"$ref": "#/$defs/TransformCall"}
    called = SCHEMA["$defs"]["TransformCall"]
    assert (called["minProperties"], called["maxProperties"], called["additionalProperties"]) == (1, 1, False)
    assert list(called["properties"]) == list(TRANSFORMS)
    assert called["properties"]["truncate"]["type"] == "integer"
    assert called["properties"]["trim"]["type"] == "null"
    assert called["properties"]["e164"]["pattern"] == "^[A-Z]{2}$"


def test_the_schema_offers_names_as_they_are_written_and_no_null_for_a_key_left_out() -> None:
    rule, condition = SCHEMA["$defs"]["RuleSpec"], SCHEMA["$defs"]["ConditionSpec"]
    assert list(rule["properties"])[:3] == ["from", "const", "concat"]
    assert list(condition["properties"]) == ["field", "equals", "in", "exists", "changed", "all", "any", "not"]
    assert condition["properties"]["exists"]["type"] == "boolean"
    assert condition["properties"]["not"]["$ref"] == "#/$defs/ConditionSpec"
    assert rule["properties"]["when"]["$ref"] == "#/$defs/ConditionSpec"
    assert rule["properties"]["map"]["type"] == "object"
    assert rule["properties"]["on_null"]["default"] == "skip"


CONFIG_KEYS = ["from", "const", "concat", "map", "when", "transform", "title", "custom", "all", "not", "trim", "x"]
ANY_CONFIG = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(CONFIG_KEYS), inner),
    max_leaves=10,
)


@settings(deadline=None)
@given(ANY_CONFIG)
def test_any_configuration_is_read_or_refused_with_what_is_allowed(value: object) -> None:
    refused: list[Any] = []
    try:
        MappingSpec.model_validate(value)
    except ValidationError as error:
        refused = error.errors(include_url=False)
    assert all("allowed" in error["ctx"] for error in refused)
