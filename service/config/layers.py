"""Layers → whole rules: what a preset does, what its source says of every field, what is defined, what a field says.

Pure. The document that goes in is what was written; the one that comes out has every rule whole, so that none refers to
anything, and still knows where each key of it was written.

From below: the preset's usual mapping, the source's ``every_field``, the definitions that a rule uses in their order,
the rule's own keys. A rule that says where its value comes from takes the place of the preset's; ``false`` takes one
out. ``on_deleted`` has definitions, but neither a preset nor ``every_field`` below it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from service.config.definitions import Definitions
from service.config.faults import value_at
from service.config.parts import EVERY, FROM, USE, Part, laid_over, layers_of, part_of, reads_the_record
from service.config.yaml_file import Document, KeyPath
from service.errors import Fault
from service.mapping.targets import CUSTOM_PREFIX, STANDARD
from service.model import Json, Record

_CUSTOM: Final = "custom"
_CHANGED: Final = "only_if_changed"


@dataclass(frozen=True, slots=True)
class Layered:
    """What became of the layers.

    ``document`` has whole rules. ``layers`` tells by source and target where a rule comes from, such as
    ``preset + source``. Each of ``faults`` has the path that it belongs to. A rule that could not be made whole is left
    out, and its source is ``incomplete``.
    """

    document: Document
    layers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    faults: list[tuple[KeyPath, Fault]] = field(default_factory=list)
    incomplete: frozenset[str] = frozenset()


def layered(document: Document, usual: Mapping[str, Record]) -> Layered:
    """Lay each source's mapping over that of its preset, which ``usual`` has, and put in what rules use.

    Never raises: what has not the right shape is left as it stands, for the checks that follow.
    """
    definitions = Definitions(document)
    named = _in(document.value, "sources")
    sources = {name: _Source(("sources", name), document, definitions, usual) for name in named}
    whole = replace(
        document,
        value=_with_sources(document.value, {name: source.value for name, source in sources.items()}),
        unresolved=_with_sources(document.unresolved, {name: source.unresolved for name, source in sources.items()}),
        elsewhere={path: at for source in sources.values() for path, at in source.elsewhere.items()},
    )
    layers = {name: source.layers for name, source in sources.items()}
    incomplete = frozenset(name for name, source in sources.items() if source.incomplete)
    return Layered(whole, layers, definitions.faults, incomplete)


@dataclass(frozen=True, slots=True)
class _Below:
    """What lies below the rules of a mapping.

    ``preset`` has the rules of the preset, None where that is no layer here. ``absent`` says why it has none for a
    target; blank where nobody can say, since the preset is not known.
    """

    preset: Mapping[str, Part] | None = None
    every: Part = field(default_factory=dict)
    absent: str = ""


class _Source:
    """One source with whole rules; ``value`` and ``unresolved`` are as they were where it is no mapping of keys."""

    def __init__(
        self, path: KeyPath, document: Document, definitions: Definitions, usual: Mapping[str, Record]
    ) -> None:
        self._definitions = definitions
        self.value, self.unresolved = value_at(document.value, path), value_at(document.unresolved, path)
        self.elsewhere: dict[KeyPath, KeyPath] = {}
        self.layers: dict[str, str] = {}
        self.incomplete = False
        if isinstance(self.value, dict) and isinstance(self.unresolved, dict):
            below = _below(self.value, self.unresolved, path, usual)
            self.value, self.unresolved = dict(self.value), dict(self.unresolved)
            if below.preset and "mapping" not in self.value:
                self.value["mapping"] = self.unresolved["mapping"] = {}
            self._lay(self.value, self.unresolved, (*path, "on_deleted"), _Below())
            self.layers.clear()
            self._lay(self.value, self.unresolved, (*path, "mapping"), below)

    def _lay(self, value: dict[str, Json], unresolved: dict[str, Json], path: KeyPath, below: _Below) -> None:
        """Put whole rules in the place of those that were written in one mapping, custom attributes' among them."""
        key = str(path[-1])
        written, raw = value.get(key), unresolved.get(key)
        if not isinstance(written, dict) or not isinstance(raw, dict):
            return
        rules, raw_rules = dict(written), dict(raw)
        value[key], unresolved[key] = rules, raw_rules
        for target in {**(below.preset or {}), **written}:
            if target == _CUSTOM and key != _CUSTOM:
                self._lay(rules, raw_rules, (*path, _CUSTOM), replace(below, preset=None))
            elif target in STANDARD or key == _CUSTOM:
                self._complete(rules, raw_rules, (*path, target), below)

    def _complete(self, rules: dict[str, Json], raw: dict[str, Json], path: KeyPath, below: _Below) -> None:
        """Make one rule whole, or take it out; what is neither a path nor a rule stays, to be refused."""
        target = str(path[-1])
        taken_out = below.preset is not None and rules.get(target) is False
        own = part_of(rules[target], raw[target], path) if target in rules else {}
        if own is None and not taken_out:
            return
        rule = None if own is None else self._rule(path, own, below)
        if rule is None:
            self.incomplete |= not taken_out
            del rules[target], raw[target]
            return
        rules[target] = {key: one.value for key, one in rule.items()}
        raw[target] = {key: one.unresolved for key, one in rule.items()}
        self.elsewhere |= {(*path, key): one.at for key, one in rule.items() if one.at not in {None, (*path, key)}}
        self.layers[f"{CUSTOM_PREFIX}{target}" if path[-2] == _CUSTOM else target] = layers_of(rule)

    def _rule(self, path: KeyPath, own: Part, below: _Below) -> Part | None:
        """Return a rule with all that lies below its own keys, None where that cannot be had."""
        said, target = self._definitions.used_by(path, own), str(path[-1])
        if said is None:
            return None
        if below.preset is None or said.keys() & set(FROM):
            return _whole({}, below.every, said)
        if target in below.preset:
            return _whole(below.preset[target], below.every, said)
        if below.absent:
            found = f"{' and '.join(own) or 'nothing'} without from, const or concat"
            self._definitions.refuse(path, found, f"where the value comes from as well: {below.absent} {target}")
        self._definitions.check(path, {key: one for key, one in own.items() if key != USE})
        return None


def _below(source: dict[str, Json], raw: dict[str, Json], path: KeyPath, usual: Mapping[str, Record]) -> _Below:
    """Return what lies below the mapping of a source."""
    said, preset = source.get("every_field"), source.get("preset")
    part = part_of(said, raw.get("every_field"), (*path, "every_field")) if isinstance(said, dict) else None
    every = {key: one for key, one in (part or {}).items() if key in EVERY}
    if not isinstance(preset, str) or preset not in usual:
        return _Below({}, every)
    if source.get("preset_mapping") is False:
        return _Below({}, every, "preset_mapping is false, so that the preset has no rule for")
    rules = {target: part_of(rule, rule, None) or {} for target, rule in usual[preset].items()}
    return _Below(rules, every, f"the preset {preset} has no rule for")


def _whole(preset: Part, every: Part, said: Part) -> Part:
    """Lay what a field says over what is said of every field and what the preset does."""
    rule = laid_over(laid_over(preset, every), said)
    if rule.get(_CHANGED) is every.get(_CHANGED) and not reads_the_record(rule):
        rule.pop(_CHANGED, None)  # what is said of every field makes no fault of one that the record does not feed
    return rule


def _in(value: Json, key: str) -> dict[str, Json]:
    inner = value.get(key) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def _with_sources(value: Json, sources: dict[str, Json]) -> Json:
    return {**value, "sources": sources} if isinstance(value, dict) and sources else value
