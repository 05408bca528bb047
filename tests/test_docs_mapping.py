"""The tables of the mapping are true: each row comes out as written, and nothing of the language has no row."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.coalesce import patch_body
from service.mapping import Condition, ConditionSpec, Mapping, MappingSpec
from service.mapping.evaluation import STEPS_MAX
from service.mapping.expression import (
    EXPRESSION_MAX,
    FLATTENS_MAX,
    INPUT_MAX,
    NODES_MAX,
    PROJECTIONS_MAX,
    RESULT_MAX,
    SELECTS_MAX,
)
from service.mapping.spec import RuleSpec
from service.mapping.transforms import TRANSFORMS
from service.model import MISSING, Action, Change, Trace
from service.paths import EVENT_FIELDS
from service.paths import Path as RecordPath

README = (Path(__file__).parent.parent / "README.md").read_text()
SECTION = README.partition("## Mapping")[2].partition("\n## ")[0]

CODE = re.compile(r"(`+)(.+?)\1(?!`)")


def table(header: str) -> list[list[str]]:
    """Return the cells of the rows below a header; a bar within a cell is escaped."""
    rows = SECTION.partition(f"{header}\n")[2].partition("\n\n")[0].splitlines()[1:]
    return [[cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def codes(cell: str) -> list[str]:
    return [code.strip() for _, code in CODE.findall(cell)]


def words(cell: str) -> str:
    return CODE.sub("", cell).strip()


def change(cell: str) -> Change:
    """Read a record, and what the CRM says of it: ``{…}`` changed: ``[…]`` before: ``{…}``."""
    record, *others = (json.loads(code) for code in codes(cell))
    said: dict[str, Any] = dict(zip(re.findall(r"\w+(?=:)", words(cell)), others, strict=True))
    changed = said.get("changed")
    return Change(
        *("key", "person", "451", Action.UPDATED),
        values=record,
        previous=said.get("before"),
        changed_fields=None if changed is None else tuple(changed),
    )


def trace_of(rule: dict[str, Any], of: Change) -> tuple[Trace, Mapping]:
    mapping = Mapping(MappingSpec.model_validate(rule))
    (trace,) = mapping.apply(of).traces
    return trace, mapping


RULES = table("| rule key | what it does | of a record | the rule | sends |")
PATHS = table("| path | of a record | reads |")
CONDITIONS = table("| condition | holds for | not for |")
STEPS = [*table("| transform | of | gives |"), *table("| expression | of | gives |")]


@pytest.mark.parametrize(("key", "what", "record", "rule", "sends"), RULES, ids=[f"{row[0]} {row[3]}" for row in RULES])
def test_a_rule_sends_what_its_row_says(key: str, what: str, record: str, rule: str, sends: str) -> None:
    assert bool(key) <= bool(what)
    of = change(record)
    trace, mapping = trace_of(yaml.safe_load(codes(rule)[0]), of)
    if sends.startswith("dead letter: "):
        assert (trace.result, trace.reason) == ("fail", sends.removeprefix("dead letter: "))
        return
    assert patch_body(mapping.apply(of).fields) == json.loads(codes(sends)[0])
    assert trace.result == "clear" or words(sends) == (trace.reason or "")


def test_every_key_of_a_rule_has_a_row_that_uses_it() -> None:
    keys = {info.alias or name for name, info in RuleSpec.model_fields.items()}
    rows: dict[str, str] = {}
    for key, _, _, rule, _ in RULES:
        name = codes(key)[0] if key else list(rows)[-1]
        rows[name] = rows.get(name, "") + rule
    assert set(rows) == keys
    for name, written in rows.items():
        assert re.search(rf"\b{name}: ", written)


@pytest.mark.parametrize(("path", "record", "value"), PATHS, ids=[row[0] + row[1] for row in PATHS])
def test_a_path_reads_what_its_row_says(path: str, record: str, value: str) -> None:
    read = RecordPath.parse(codes(path)[0]).read(change(record))
    assert read == (MISSING if value == "missing" else json.loads(codes(value)[0]))


def test_every_root_of_a_path_has_a_row_and_every_field_of_an_event_is_named() -> None:
    shown = {codes(row[0])[0].partition(".")[0] for row in PATHS}
    assert shown >= {"$event", "$previous"}
    line = next(line for line in SECTION.splitlines() if line.startswith("`$event.` has "))
    assert set(codes(line)) - {"$event."} == set(EVENT_FIELDS)


@pytest.mark.parametrize(("condition", "holds", "fails"), CONDITIONS, ids=[row[0] for row in CONDITIONS])
def test_a_condition_holds_as_its_row_says(condition: str, holds: str, fails: str) -> None:
    asked = Condition(ConditionSpec.model_validate(yaml.safe_load(codes(condition)[0])))
    assert (asked.holds(change(holds)), asked.holds(change(fails))) == (True, False)


def test_every_key_of_a_condition_has_a_row() -> None:
    shown = {key for row in CONDITIONS for key in yaml.safe_load(codes(row[0])[0])}
    assert shown == {info.alias or name for name, info in ConditionSpec.model_fields.items()}


@pytest.mark.parametrize(("step", "value", "gives"), STEPS, ids=[row[0] + row[1] for row in STEPS])
def test_a_transform_gives_what_its_row_says(step: str, value: str, gives: str) -> None:
    rule = {"custom": {"X": {"from": "x", "transform": [yaml.safe_load(codes(step)[0])]}}}
    trace, _ = trace_of(rule, Change("key", "person", "451", Action.UPDATED, values={"x": json.loads(codes(value)[0])}))
    expected = {"error": "fail", "nothing": "skip"}.get(gives.partition(":")[0], "set")
    assert trace.result == expected
    if expected == "set":
        assert json.dumps(trace.value) == json.dumps(json.loads(codes(gives)[0]))
    else:
        assert trace.reason == gives.partition(": ")[2]


def test_every_transform_has_a_row() -> None:
    shown = {re.sub(r"^\{?(\w+).*", r"\1", codes(row[0])[0]) for row in STEPS}
    assert shown == set(TRANSFORMS)


def test_the_limits_of_an_expression_are_told_as_they_are() -> None:
    told = SECTION.partition("It is kept small: ")[2].partition(".\n")[0]
    assert [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", told)] == [
        *(EXPRESSION_MAX, NODES_MAX, INPUT_MAX // 1024, STEPS_MAX, RESULT_MAX)
    ]
    assert "one flatten, two projections and two multi-selects" in told
    assert (FLATTENS_MAX, PROJECTIONS_MAX, SELECTS_MAX) == (1, 2, 2)
