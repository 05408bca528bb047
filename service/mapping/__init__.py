"""The rules from configuration: a CRM's fields become ChartMogul's, purely, within bounds, and with every step told."""

from dataclasses import dataclass, field

from service.mapping.condition import Condition
from service.mapping.rule import Rule
from service.mapping.spec import ConditionSpec, MappingSpec
from service.model import Change, Json, Mapped, Record

__all__ = ["Condition", "ConditionSpec", "Mapping", "MappingSpec", "Rules"]


class Mapping:
    """A source's rules, ready to run.

    ``targets`` names the fields that it may set, custom attributes as ``custom.<name>``; ``needs`` the record's fields
    that its paths start at, so that only these need reading back.
    """

    def __init__(self, spec: MappingSpec) -> None:
        self.spec = spec
        self._rules = tuple(Rule(target, rule) for target, rule in spec.rules())
        self.targets = tuple(rule.target for rule in self._rules)
        self.needs = frozenset(path.head for rule in self._rules for path in rule.paths if path.head is not None)

    def apply(self, change: Change) -> Mapped:
        """Map one change. Total: what cannot be used is a fault or a skip in the result, never an exception."""
        fields: dict[str, Json] = {}
        faults: list[str] = []
        traces = tuple(rule.run(change) for rule in self._rules)
        for trace in traces:
            if trace.result in {"set", "clear"}:
                fields[trace.target] = trace.value
            elif trace.result == "fail":
                faults.append(f"{trace.target}: {trace.reason}")
        return Mapped(fields, traces, tuple(faults))


@dataclass(frozen=True, slots=True)
class Rules:
    """What becomes of a source's changes: which of them are delivered, and what they say to ChartMogul.

    ``document`` is what was written of both, so that they can be kept, and made again from it.
    """

    mapping: Mapping
    when: Condition | None
    document: Record = field(repr=False)

    @classmethod
    def parse(cls, document: Record) -> "Rules":
        """Make rules from ``{"mapping": …, "when": …}`` as they were checked before; the latter may be missing."""
        when = document.get("when")
        return cls(
            Mapping(MappingSpec.model_validate(document["mapping"])),
            None if when is None else Condition(ConditionSpec.model_validate(when)),
            document,
        )
