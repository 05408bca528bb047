"""Mappings: what a rule makes of a change, why it makes nothing, and that the trace tells each step."""

from collections.abc import Mapping as Table
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.mapping import Condition, ConditionSpec, Mapping, MappingSpec
from service.model import MISSING, Action, Change, Json, Mapped, Missing, Step, Trace

HASH = "3d0f5c2be8a74c1e9b6d0f7a2c4e8b1d5f3a9c70"
PERSON: dict[str, Json] = {
    "id": 42,
    "first_name": "Ana",
    "last_name": "Souza",
    "job_title": " ",
    "title": " CFO ",
    "emails": [
        {"value": "ana@old.example", "primary": False},
        {"value": "ana@souza.example", "primary": True},
    ],
    "phones": [{"value": "(212) 555-2368", "primary": True}],
    "custom_fields": {HASH: {"type": "varchar", "value": "linkedin.com/in/ana"}},
    "notes": "<p>Met at SaaStock &amp; liked it</p>",
    "update_time": "2026-03-01T10:30:00+01:00",
    "label": 2,
    "label_ids": [2, 5],
    "owner": {"name": "Bo Li", "email": None},
    "org": None,
    "fax": "",
    "tags": ["vip", "beta"],
    "score": 7.5,
    "rank": 3.0,
    "active": True,
    "huge": 2**70,
}


def change(values: Table[str, Json] | None = None, **fields: Any) -> Change:  # noqa: ANN401 - any field of a change
    given_fields: dict[str, Any] = {"dedup_key": "pipedrive|3f1c", "object_type": "person", "object_id": "42"} | fields
    return Change(action=Action.UPDATED, values=PERSON if values is None else values, **given_fields)


def apply(mapping: dict[str, Any], event: Change | None = None) -> Mapped:
    return Mapping(MappingSpec.model_validate(mapping)).apply(event or change())


def trace_of(rule: object, event: Change | None = None, *, target: str = "custom.X") -> Trace:
    spec = {"custom": {"X": rule}} if target == "custom.X" else {target: rule}
    (trace,) = apply(spec, event).traces
    assert trace.target == target
    return trace


def test_maps_a_pipedrive_person() -> None:
    mapped = apply(
        {
            "first_name": "first_name",
            "last_name": "last_name",
            "title": {"from": ["job_title", "title"], "transform": ["trim"]},
            "email": "emails[?primary].value",
            "phone": {"from": "phones[?primary].value", "transform": ["trim", {"e164": "US"}]},
            "linked_in": {"from": f'custom_fields."{HASH}".value', "transform": ["url"]},
            "notes": {"from": "notes", "transform": ["strip_html", {"truncate": 2000}], "on_blank": "clear"},
            "external_id": {"concat": [{"const": "pd-"}, "id"]},
            "last_seen": "update_time",
            "position": "rank",
            "twitter": {"from": "org.twitter", "on_null": "clear"},
            "custom": {"Lifecycle": {"from": "label", "map": {1: "Lead", "2": "Customer"}}, "Score": "score"},
        }
    )
    assert dict(mapped.fields) == {
        "first_name": "Ana",
        "last_name": "Souza",
        "title": "CFO",
        "email": "ana@souza.example",
        "phone": "+12125552368",
        "linked_in": "https://linkedin.com/in/ana",
        "notes": "Met at SaaStock & liked it",
        "external_id": "pd-42",
        "last_seen": "2026-03-01T09:30:00.000Z",
        "position": 3,
        "twitter": None,
        "custom.Lifecycle": "Customer",
        "custom.Score": 7.5,
    }
    assert mapped.faults == ()
    assert [trace.target for trace in mapped.traces][-2:] == ["custom.Lifecycle", "custom.Score"]


FLAG = {"field": "x.y", "changed": True}


def test_knows_its_targets_and_the_fields_it_needs() -> None:
    mapping = Mapping(
        MappingSpec.model_validate(
            {
                "custom": {"Plan": {"from": ["plan.name", "$previous.tier"], "when": {"not": FLAG}}},
                "notes": {"concat": ["note", "$event.actor", {"const": "!"}]},
                "title": {"const": "CFO", "when": {"any": [{"field": "role", "in": ["a"]}, {"all": [FLAG]}]}},
            }
        )
    )  # fmt: skip
    assert mapping.targets == ("title", "notes", "custom.Plan")
    assert mapping.needs == {"plan", "note", "role", "x"}


NOTHING = "missing: the record has nothing at this path"
NOTHING_AT_ALL = "missing: the record has no value at any of these paths"
NOT_CHANGED = "only_if_changed: the change does not list it as changed"
A_LIST = "found a list, not text or a number; use join or first_non_blank"
OUTCOMES: list[tuple[object, str, Json, str | None]] = [
    # absent, null and blank are kept apart
    ("nickname", "skip", None, NOTHING),
    ("org", "skip", None, "null in the record; on_null: skip"),
    ("fax", "skip", None, "blank in the record; on_blank: skip"),
    ("job_title", "skip", None, "blank in the record; on_blank: skip"),
    ({"from": "nickname", "on_null": "clear", "on_blank": "clear"}, "skip", None, NOTHING),
    ({"from": "org", "on_null": "clear"}, "clear", None, "null in the record; on_null: clear"),
    ({"from": "org", "on_blank": "clear"}, "skip", None, "null in the record; on_null: skip"),
    ({"from": "fax", "on_blank": "clear"}, "clear", None, "blank in the record; on_blank: clear"),
    ({"from": "fax", "on_null": "clear"}, "skip", None, "blank in the record; on_blank: skip"),
    # the first path with a value; without one the most telling emptiness
    ({"from": ["org", "fax", "first_name", "last_name"]}, "set", "Ana", None),
    ({"from": ["nickname", "fax", "org"], "on_null": "clear"}, "clear", None, "null in the record; on_null: clear"),
    ({"from": ["nickname", "fax"], "on_blank": "clear"}, "clear", None, "blank in the record; on_blank: clear"),
    ({"from": ["nickname", "surname"], "on_null": "clear", "on_blank": "clear"}, "skip", None, NOTHING_AT_ALL),
    # constants and concatenation
    ({"const": "Pipedrive"}, "set", "Pipedrive", None),
    ({"const": None, "on_null": "clear"}, "clear", None, "null in the rule; on_null: clear"),
    ({"concat": ["first_name", "fax", "org", "nickname", "last_name"], "separator": " "}, "set", "Ana Souza", None),
    ({"concat": ["first_name", {"const": " / "}, "rank"]}, "set", "Ana / 3", None),
    ({"concat": ["nickname", {"const": "!"}, "org", "fax"], "on_null": "clear"}, "skip", None, NOTHING_AT_ALL),
    ({"concat": ["first_name", "tags"]}, "fail", None, A_LIST),
    # transforms, until nothing is left
    ({"from": "title", "transform": ["trim", "lower"]}, "set", "cfo", None),
    ({"from": "first_name", "transform": ["split_rest", "to_int"], "on_blank": "clear"}, "clear", None,
     "blank after split_rest; on_blank: clear"),
    ({"from": "tags", "transform": [{"join": " + "}]}, "set", "vip + beta", None),
    ({"from": "first_name", "transform": ["to_int"]}, "fail", None, "to_int: found text that is not a whole number"),
    ({"from": "first_name", "transform": ["to_int"], "on_error": "skip"}, "skip", None,
     "to_int: found text that is not a whole number; on_error: skip"),
    ({"from": "emails", "transform": [{"jmespath": "[?primary].value | [0]"}]}, "set", "ana@souza.example", None),
    ({"from": "emails", "transform": [{"jmespath": "[9].value"}], "on_null": "clear"}, "clear", None,
     "null after jmespath; on_null: clear"),
    ({"from": "emails", "transform": [{"jmespath": "[?a == 'b']"}]}, "skip", None,
     "blank after jmespath; on_blank: skip"),
    ({"from": "emails", "transform": [{"jmespath": "[0]"}]}, "fail", None,
     "jmespath: found an object, not a value or a list of values; name the key that is wanted"),
    # tables and defaults
    ({"from": "label", "map": {"2": "Customer"}}, "set", "Customer", None),
    ({"from": "active", "map": {"true": "yes"}}, "set", "yes", None),
    ({"from": "rank", "map": {"3": 1}}, "set", 1, None),
    ({"from": "label", "map": {"2": None}, "on_null": "clear"}, "clear", None, "null after map; on_null: clear"),
    ({"from": "label", "map": {"1": "Lead"}, "default": "Other"}, "set", "Other", None),
    ({"from": "label", "map": {"1": "Lead"}, "default": None, "on_null": "clear"}, "clear", None,
     "null after default; on_null: clear"),
    ({"from": "label", "map": {"1": 1}}, "fail", None, "map: found a value without an entry; add one, or a default"),
    ({"from": "tags", "map": {"1": "Lead"}, "default": "Other"}, "fail", None,
     f"map: {A_LIST}"),
    ({"from": "nickname", "map": {"1": "Lead"}, "default": "Other"}, "skip", None, NOTHING),
    ({"from": "org", "map": {"1": "Lead"}, "default": "Other"}, "skip", None, "null in the record; on_null: skip"),
    ({"from": "nickname", "default": "none"}, "set", "none", None),
    ({"from": "org", "default": "none", "on_null": "clear"}, "set", "none", None),
    ({"from": "fax", "default": "none"}, "set", "none", None),
    ({"from": "first_name", "transform": ["split_rest"], "default": "none"}, "set", "none", None),
    ({"from": "first_name", "default": "none"}, "set", "Ana", None),
    # conditions
    ({"from": "title", "when": {"field": "label", "equals": 2}}, "set", " CFO ", None),
    ({"from": "title", "when": {"field": "label", "equals": 3}}, "skip", None, "when does not hold"),
    # what a custom attribute takes
    ("active", "set", True, None),
    ("id", "set", 42, None),
    ("tags", "fail", None, A_LIST),
    ("owner", "fail", None, "found an object, not text or a number"),
    ("huge", "fail", None, "found a whole number of more than 64 bits"),
    ({"const": "x" * 256}, "fail", None, "found text longer than 255 characters; use truncate"),
    ({"const": "x" * 255}, "set", "x" * 255, None),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "result", "value", "reason"), OUTCOMES)
def test_a_rule_sets_clears_skips_or_fails(rule: object, result: str, value: Json, reason: str | None) -> None:
    trace = trace_of(rule)
    assert (trace.result, trace.value, trace.reason) == (result, value, reason)


TYPES: list[tuple[str, object, Json, str | None]] = [
    ("title", "id", "42", None),
    ("title", "active", "true", None),
    ("title", "rank", "3", None),
    ("title", "tags", None, A_LIST),
    ("title", "huge", None, "found a whole number of more than 64 bits"),
    ("notes", "long", None, "found text longer than 64 KiB; use truncate"),
    ("notes", {"from": "long", "transform": [{"truncate": 5}]}, "éé555", None),
    ("position", "id", 42, None),
    ("position", "rank", 3, None),
    ("position", "score", None, "found a number, not a whole number; use to_int"),
    ("position", "active", None, "found a boolean, not a whole number; use to_int"),
    ("position", "digits", None, "found text, not a whole number; use to_int"),
    ("position", {"from": "digits", "transform": ["to_int"]}, 7, None),
    ("position", "huge", None, "found a whole number of more than 64 bits"),
    ("last_seen", "update_time", "2026-03-01T09:30:00.000Z", None),
    ("last_seen", "first_name", None, "found text that is not a date and time; use to_datetime"),
    ("last_seen", "id", None, "found a number, not a date and time as text; use to_datetime"),
    ("last_seen", {"from": "id", "transform": ["to_datetime"]}, "1970-01-01T00:00:42.000Z", None),
    ("title", "infinite", None, "found a number that is not finite"),
    ("custom.X", "infinite", None, "found a number that is not finite"),
]


@pytest.mark.parametrize(("target", "rule", "value", "reason"), TYPES)
def test_a_target_takes_only_its_type(target: str, rule: object, value: Json, reason: str | None) -> None:
    more: dict[str, Json] = {"long": "éé" + "5" * 65_536, "digits": "7", "infinite": float("inf")}
    trace = trace_of(rule, change(PERSON | more), target=target)
    assert (trace.value, trace.reason) == (value, reason)
    assert trace.result == ("set" if reason is None else "fail")


def test_faults_name_the_target_and_leave_the_other_fields_mapped() -> None:
    mapped = apply({"first_name": "first_name", "position": "first_name", "custom": {"Tags": "tags"}})
    assert dict(mapped.fields) == {"first_name": "Ana"}
    assert mapped.faults == (
        "position: found text, not a whole number; use to_int",
        "custom.Tags: found a list, not text or a number; use join or first_non_blank",
    )


def test_the_trace_tells_the_path_the_raw_value_and_each_step() -> None:
    trace = trace_of({"from": ["job_title", "title"], "transform": ["trim", "lower"], "map": {"cfo": "Finance"}})
    steps = (Step("trim", "CFO"), Step("lower", "cfo"), Step("map", "Finance"))
    assert trace == Trace("custom.X", "title", " CFO ", steps, "set", "Finance")


@pytest.mark.parametrize(
    ("rule", "path", "raw", "steps"),
    [
        ({"const": "x"}, None, "x", ()),
        ("nickname", "nickname", MISSING, ()),
        ({"from": ["nickname", "org"]}, "org", None, ()),
        ({"from": "org", "default": "none"}, "org", None, (Step("default", "none"),)),
        ({"from": "label", "map": {"1": 1}, "default": 0}, "label", 2, (Step("default", 0),)),
        ({"from": "tags", "transform": ["first_non_blank", "to_int"]}, "tags", ["vip", "beta"],
         (Step("first_non_blank", "vip"),)),
        ({"concat": ["first_name", {"const": "-"}, "fax", "id"]}, "first_name + fax + id", ["Ana", "-", 42],
         (Step("concat", "Ana-42"),)),
        ({"concat": ["fax", {"const": "-"}]}, "fax", MISSING, ()),
        ({"from": "title", "when": {"field": "nickname", "exists": True}}, None, MISSING, ()),
    ],
)  # fmt: skip
def test_the_trace_is_kept_whatever_the_result(
    rule: object, path: str | None, raw: Json | Missing, steps: tuple[Step, ...]
) -> None:
    trace = trace_of(rule)
    assert (trace.path, trace.raw, trace.steps) == (path, raw, steps)


def test_no_value_stands_in_a_repr() -> None:
    trace = trace_of({"from": "first_name", "transform": ["upper"]})
    assert "ana" not in repr(trace).lower()


@pytest.mark.parametrize(
    ("changed", "path", "expected"),
    [
        (None, "title", True),
        ((), "title", False),
        (("title",), "title", True),
        (("titles",), "title", False),
        (("emails",), "emails[?primary].value", True),
        (("custom_fields",), f"custom_fields.{HASH}.value", True),
        ((f"custom_fields.{HASH}",), f"custom_fields.{HASH}.value", True),
        ((f"custom_fields.{HASH}.value",), f"custom_fields.{HASH}", True),
        (("custom_fields.other",), f"custom_fields.{HASH}.value", False),
        (("custom.cf_x",), '"custom.cf_x"', True),
    ],
)
def test_changed_goes_by_the_changes_own_list(
    changed: tuple[str, ...] | None,
    path: str,
    expected: bool,  # noqa: FBT001 - a table's column
) -> None:
    event = change({"title": "CFO"}, changed_fields=changed)
    for wanted in (True, False):
        asked = ConditionSpec.model_validate({"field": path, "changed": wanted})
        assert Condition(asked).holds(event) is (expected is wanted)


def test_only_if_changed_skips_what_the_change_does_not_list() -> None:
    rule = {"from": ["job_title", "title", "$previous.title"], "only_if_changed": True}
    assert trace_of(rule, change(changed_fields=("title",))).result == "set"
    assert trace_of(rule, change(changed_fields=None)).result == "set"
    trace = trace_of(rule, change(changed_fields=("notes", "")))
    assert (trace.result, trace.reason, trace.path, trace.raw) == ("skip", NOT_CHANGED, None, MISSING)


CONDITIONS: list[tuple[dict[str, Any], bool]] = [
    ({"field": "label", "equals": 2}, True),
    ({"field": "label", "equals": "2"}, True),
    ({"field": "label", "equals": 2.0}, True),
    ({"field": "label", "equals": 1}, False),
    ({"field": "active", "equals": True}, True),
    ({"field": "active", "equals": "true"}, True),
    ({"field": "nickname", "equals": None}, False),
    ({"field": "org", "equals": None}, True),
    ({"field": "org", "equals": "None"}, False),
    ({"field": "fax", "equals": ""}, True),
    ({"field": "owner", "equals": "x"}, False),
    ({"field": "label", "in": [1, "2"]}, True),
    ({"field": "label", "in": [None, 1]}, False),
    ({"field": "org", "in": ["x", None]}, True),
    ({"field": "label_ids", "in": [5]}, True),
    ({"field": "label_ids", "equals": 6}, False),
    ({"field": "$event.action", "equals": "updated"}, True),
    ({"field": "$previous.label", "equals": 1}, True),
    ({"field": "label", "exists": True}, True),
    ({"field": "fax", "exists": True}, True),
    ({"field": "org", "exists": True}, False),
    ({"field": "nickname", "exists": True}, False),
    ({"field": "nickname", "exists": False}, True),
    ({"not": {"field": "label", "equals": 2}}, False),
    ({"all": [{"field": "label", "equals": 2}, {"field": "org", "exists": False}]}, True),
    ({"all": [{"field": "label", "equals": 2}, {"field": "org", "exists": True}]}, False),
    ({"any": [{"field": "label", "equals": 1}, {"field": "org", "exists": False}]}, True),
    ({"any": [{"field": "label", "equals": 1}, {"field": "org", "exists": True}]}, False),
]


@pytest.mark.parametrize(("spec", "expected"), CONDITIONS)
def test_a_condition_holds_or_not(spec: dict[str, Any], expected: bool) -> None:  # noqa: FBT001 - a table's column
    condition = Condition(ConditionSpec.model_validate(spec))
    assert condition.holds(change(previous={"label": 1})) is expected
    assert condition.spec.paths


ANY_JSON: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.just("2026-03-01T09:30:00Z"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "value", "primary"]), inner),
    max_leaves=8,
)
EVERYTHING = Mapping(
    MappingSpec.model_validate(
        {
            "first_name": "a",
            "last_name": {"from": ["b", "a"], "transform": ["split_rest", "title"], "default": "none"},
            "email": "a[?primary].value",
            "phone": {"from": "b", "transform": ["to_string", {"e164": "US"}], "on_error": "skip"},
            "notes": {"from": "a", "transform": [{"join": ", "}, "strip_html", {"truncate": 9}], "on_blank": "clear"},
            "position": {"from": "a", "transform": ["to_number"]},
            "external_id": {"concat": ["a", {"const": "-"}, "b.value", "$previous.a"], "separator": "/"},
            "last_seen": {"from": "a", "transform": ["to_datetime"], "on_null": "clear"},
            "linked_in": {"from": "b", "transform": ["first_non_blank", "url"]},
            "custom": {
                "Raw": "a",
                "Mapped": {"from": "b", "map": {"1": True, "a": None}, "when": {"field": "a", "in": [1, None, "a"]}},
            },
        }
    )
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b"]), ANY_JSON), st.none() | st.dictionaries(st.just("a"), ANY_JSON))
def test_applying_never_raises_and_lets_only_scalars_through(
    record: dict[str, Json], previous: dict[str, Json] | None
) -> None:
    event = change(record, previous=previous, occurred_at=datetime(2026, 3, 1, tzinfo=UTC))
    mapped = EVERYTHING.apply(event)
    assert all(value is None or isinstance(value, str | int | float) for value in mapped.fields.values())
    assert [trace.target for trace in mapped.traces] == list(EVERYTHING.targets)
    for trace in mapped.traces:
        assert (trace.target in mapped.fields) is (trace.result in {"set", "clear"})
        assert (trace.reason is None) is (trace.result == "set")
    assert len(mapped.faults) == sum(trace.result == "fail" for trace in mapped.traces)
    assert repr(EVERYTHING.apply(event).fields) == repr(mapped.fields)
