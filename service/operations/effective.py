"""A source's mapping as it is in force, a line for each field: how its value is made, and where that was said; pure."""

from dataclasses import dataclass
from typing import Final

from service.mapping.spec import RuleSpec
from service.pipeline import ConfiguredSource

SOURCE: Final = "source"
"""The layer of a rule that stands in the source alone."""


@dataclass(frozen=True, slots=True)
class EffectiveRule:
    """One field: ``rule`` says how its value is made, without any value; ``layer`` where the rule comes from."""

    target: str
    rule: str
    layer: str


def effective_rules(configured: ConfiguredSource) -> tuple[EffectiveRule, ...]:
    """Return the rules of a source's mapping, standard fields first."""
    rules = configured.rules.mapping.spec.rules()
    return tuple(EffectiveRule(target, in_words(spec), configured.layers.get(target, SOURCE)) for target, spec in rules)


def in_words(spec: RuleSpec) -> str:
    """Write a rule in one line: ``job_title, title | trim | map (default, on_error: skip)``."""
    origin = (" + " if spec.concat else ", ").join(path.text for path in spec.paths)
    steps = [origin or "const", *(step.name for step in spec.transform), *([] if spec.map is None else ["map"])]
    given = spec.model_fields_set
    settings = ["default"] if "default" in given else []
    settings += [name for name in ("when", "only_if_changed") if getattr(spec, name)]
    settings += [f"{name}: {getattr(spec, name)}" for name in ("on_null", "on_blank") if getattr(spec, name) != "skip"]
    settings += [] if spec.on_error == "fail" else [f"on_error: {spec.on_error}"]
    return " | ".join(steps) + (f" ({', '.join(settings)})" if settings else "")
