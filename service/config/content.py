"""What a file with whole rules comes down to, however it was written: what its version is the hash of; pure."""

from typing import Final

from service.mapping.spec import RuleSpec
from service.mapping.targets import CUSTOM_PREFIX
from service.model import Json

_LAYERS: Final = frozenset({"preset_mapping", "every_field"})
"""What is in the rules by now."""
_RULES: Final = ("mapping", "when", "on_deleted")
"""What changes are mapped by, which is kept by its version."""
_USUAL: Final = {
    info.alias or name: [] if info.default == () else info.default
    for name, info in RuleSpec.model_fields.items()
    if name in {"separator", "transform", "on_null", "on_blank", "on_error", "only_if_changed"}
}
"""What a rule does that does not say: saying it makes no other rule."""


def content_of(value: Json, unresolved: Json) -> Json:
    """Return the sources of a file, each rule in its one long form. Total: what has another shape stays as it is.

    Rules are those of ``value``; all else is of ``unresolved``, where no secret is that stands outside of the file.
    """
    sources, written = (each.get("sources") if isinstance(each, dict) else None for each in (value, unresolved))
    if not isinstance(sources, dict) or not isinstance(written, dict):
        return written
    return {name: _source(sources.get(name), entry) for name, entry in written.items()}


def _source(entry: Json, written: Json) -> Json:
    if not isinstance(entry, dict) or not isinstance(written, dict):
        return written
    said = {key: value for key, value in written.items() if key not in _LAYERS}
    rules = {key: entry[key] for key in _RULES if key in entry}
    return said | {key: rule if key == "when" else _mapping(rule) for key, rule in rules.items()}


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
