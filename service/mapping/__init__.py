"""The rules from configuration: a CRM's fields become ChartMogul's, purely, within bounds, and with every step told."""

from collections.abc import Collection
from dataclasses import dataclass, field

from service.mapping.condition import Condition
from service.mapping.rule import Rule
from service.mapping.spec import ConditionSpec, MappingSpec
from service.model import Action, Change, Json, Mapped, Record
from service.paths import heads

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
        self._inputs = tuple(heads(rule.paths) for rule in self._rules)
        self.needs = frozenset().union(*self._inputs)

    def apply(self, change: Change) -> Mapped:
        """Map one change. Total: what cannot be used is a fault or a skip in the result, never an exception."""
        fields: dict[str, Json] = {}
        faults: list[str] = []
        traces = tuple([rule.run(change) for rule in self._rules])
        for target, _, _, _, result, value, reason in traces:
            if result in {"set", "clear"}:
                fields[target] = value
            elif result == "fail":
                faults.append(f"{target}: {reason}")
        return Mapped(fields, traces, tuple(faults))

    def fed_by(self, names: Collection[str]) -> tuple[str, ...]:
        """Return the targets of the rules that read one of these fields of the record."""
        return tuple(
            target for target, inputs in zip(self.targets, self._inputs, strict=True) if not inputs.isdisjoint(names)
        )

    def lacks(self, change: Change) -> bool:
        """Say whether a rule needs a field of the record that a change does not carry.

        Where it is known what changed, only the rules count that read something of it.
        """
        there = change.values.keys()
        if change.changed_fields is None:
            return not self.needs <= there
        # A changed part is listed by its way, such as custom_fields.tier, where it is not a key with a dot of its own.
        changed = {part for name in change.changed_fields for part in (name, name.partition(".")[0])}
        return any(inputs & (there | changed) and not inputs <= there for inputs in self._inputs)


@dataclass(frozen=True, slots=True)
class Rules:
    """What becomes of a source's changes: which of them are delivered, and what they say to ChartMogul.

    ``deleted`` is what a deletion says, None where it says nothing. ``document`` is what was written of all that, so
    that it can be kept, and the rules made again from it.
    """

    mapping: Mapping
    when: Condition | None
    document: Record = field(repr=False)
    deleted: Mapping | None = None

    @classmethod
    def parse(cls, document: Record) -> "Rules":
        """Make rules from ``{"mapping": …, "when": …, "on_deleted": …}`` as they were checked before.

        All but the mapping may be missing.
        """
        when, deleted = document.get("when"), document.get("on_deleted")
        return cls(
            Mapping(MappingSpec.model_validate(document["mapping"])),
            None if when is None else Condition(ConditionSpec.model_validate(when)),
            document,
            None if deleted is None else Mapping(MappingSpec.model_validate(deleted)),
        )

    @property
    def needs(self) -> frozenset[str]:
        """The record's fields that a change must have so that the rules can be applied."""
        return self.mapping.needs | self._asked

    def mapping_of(self, change: Change) -> Mapping | None:
        """Return what maps a change, by what was done to its record; None for a deletion of which nothing is said.

        Of a record that went into another there is nothing to say.
        """
        if change.action is not Action.DELETED:
            return self.mapping
        return self.deleted if change.merged_into is None else None

    def leaves_out(self, change: Change) -> bool:
        """Say whether the filter leaves a change out; deletions pass it, for they have no record to be asked."""
        return change.action is not Action.DELETED and self.when is not None and not self.when.holds(change)

    def lacks(self, change: Change) -> bool:
        """Say whether a thin change leaves out what a mapped field or the filter needs."""
        return change.thin and (not self._asked <= change.values.keys() or self.mapping.lacks(change))

    @property
    def _asked(self) -> frozenset[str]:
        return frozenset() if self.when is None else heads(self.when.paths)
