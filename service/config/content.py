"""What a file with whole rules comes down to, however it was written: what its version is the hash of; pure."""

from typing import Final

from service.mapping.spec import RuleSpec
from service.mapping.targets import CUSTOM_PREFIX
from service.model import Json

_LAYERS: Final = frozenset({"preset_mapping", "every_field"})
"""What is in the rules by now."""
_USUAL: Final = {
    info.alias or name: [] if info.default == () else info.default
    for name, info in RuleSpec.model_fields.items()
    if name in {"separator", "transform", "on_null", "on_blank", "on_error", "only_if_changed"}
}
"""What a rule does that does not say: saying it makes no other rule."""


def content_of(value: Json) -> Json:
    """Return the sources of a file, each rule in its one long form. Total: what has another shape stays as it is."""
    sources = value.get("sources") if isinstance(value, dict) else None
    return {name: _source(entry) for name, entry in sources.items()} if isinstance(sources, dict) else sources


def _source(entry: Json) -> Json:
    if not isinstance(entry, dict):
        return entry
    said = {key: value for key, value in entry.items() if key not in _LAYERS}
    return said | {key: _mapping(said[key]) for key in ("mapping", "on_deleted") if key in said}


def _mapping(mapping: Json) -> Json:
    if not isinstance(mapping, dict):
        return mapping
    custom = mapping.get("custom")
    rules = {target: _rule(rule) for target, rule in mapping.items() if target != "custom"}
    if isinstance(custom, dict):
        rules |= {f"{CUSTOM_PREFIX}{name}": _rule(rule) for name, rule in custom.items()}
    return rules


def _rule(rule: Json) -> Json:
    if not isinstance(rule, dict):
        return rule
    long = {key: value for key, value in rule.items() if key not in _USUAL or value != _USUAL[key]}
    if isinstance(path := long.get("from"), str):
        long["from"] = [path]
    if isinstance(steps := long.get("transform"), list):
        long["transform"] = [_step(step) for step in steps]
    return long


def _step(step: Json) -> Json:
    """Write a transform without argument as its name alone."""
    match step:
        case dict() if len(step) == 1 and [*step.values()] == [None]:
            return next(iter(step))
        case _:
            return step
