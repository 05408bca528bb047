"""Nothing that a CRM sends can stop a mapping: every value gives a value or a MappingError, of bounded size."""

from hypothesis import HealthCheck, given, settings

from service.mapping.expression import RESULT_MAX
from service.mapping.rule import Rule
from service.mapping.spec import RuleSpec
from service.mapping.targets import CUSTOM_TEXT_MAX, INTEGER_MAX
from service.mapping.transforms import TRANSFORMS, TransformError
from service.mapping.values import TEXT_BYTES_MAX
from service.model import Change, Json
from tests.mapping.anything import CHANGES, JSON, RULES, TARGETS, transforms

anything = settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def size(value: Json) -> int:
    """Return how many values and characters there are in all; nothing that nests can break it."""
    total, rest = 0, [value]
    while rest:
        node = rest.pop()
        total += 1
        if isinstance(node, str):
            total += len(node)
        elif isinstance(node, list):
            rest += node
        elif isinstance(node, dict):
            total += sum(map(len, node))
            rest += node.values()
    return total


def is_json(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str | list | dict)


@anything
@given(transforms(), JSON)
def test_every_transform_makes_a_value_no_larger_than_it_may_or_fails_by_name(step: object, value: Json) -> None:
    """Text keeps to 64 KiB; a list or an object that comes out is one that went in, or a short list."""
    (spec,) = RuleSpec.model_validate({"from": "a", "transform": [step]}).transform
    try:
        made = TRANSFORMS[spec.name].bind(spec.argument)(value)
    except TransformError as error:
        made = str(error).removeprefix(f"{spec.name}: ")
    assert is_json(made)
    if isinstance(made, str):
        assert len(made.encode("utf-8", "surrogatepass")) <= TEXT_BYTES_MAX
    elif spec.name == "jmespath":
        assert size(made) <= RESULT_MAX + 1 + TEXT_BYTES_MAX
    else:
        assert size(made) <= size(value)


@anything
@given(TARGETS, RULES, CHANGES)
def test_every_rule_ends_in_a_trace_whatever_the_change(target: str, spec: RuleSpec, change: Change) -> None:
    trace = Rule(target, spec).run(change)
    assert trace.target == target
    assert trace.result in {"set", "clear", "skip", "fail"}
    assert (trace.reason is None) is (trace.result == "set")
    assert (trace.value is None) or trace.result == "set"
    assert all(is_json(step.value) for step in trace.steps)
    assert len(trace.steps) <= len(spec.transform) + 2
    fits(target, trace.value)


def fits(target: str, value: Json) -> None:
    """Check that ChartMogul can take the value: a scalar, within the limits of its field."""
    assert value is None or isinstance(value, bool | int | float | str)
    if isinstance(value, str):
        assert len(value.encode("utf-8", "surrogatepass")) <= TEXT_BYTES_MAX
        assert not target.startswith("custom.") or len(value) <= CUSTOM_TEXT_MAX
    elif isinstance(value, int):
        assert -INTEGER_MAX <= value <= INTEGER_MAX
