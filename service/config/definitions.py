"""What stands under ``define``: parts of rules by name, checked whether they are used or not; pure."""

from collections.abc import Iterator
from functools import reduce
from typing import Final

from service.config.faults import kind_of, value_at
from service.config.parts import FROM, RULE_KEYS, USE, Part, laid_over, lone_faults, part_of
from service.config.variables import nearest
from service.config.yaml_file import Document, KeyPath, shortened, written
from service.errors import Fault
from service.model import Json

USES_MAX: Final = 8
"""Definitions that one rule may use."""
ADDED_MAX: Final = 100_000
"""Values that definitions may add to a file, each counted as often as it is used."""

_ALLOWED: Final = "a name that stands under define, or a list of such names"


class Definitions:
    """The definitions of a file, and every fault that was found in them and in what uses them.

    A faulty definition is reported where it stands, once, and what uses it cannot be made whole.
    """

    def __init__(self, document: Document) -> None:
        self._document = document
        self._added = 0
        self._parts: dict[str, Part | None] = {}
        self.faults: list[tuple[KeyPath, Fault]] = []
        named = document.value.get("define") if isinstance(document.value, dict) else None
        for name, keys in named.items() if isinstance(named, dict) else ():
            path = ("define", name)
            part = part_of(keys, value_at(document.unresolved, path), path) if isinstance(keys, dict) else None
            self._parts[name] = part if part is not None and self._is_right(path, part) else None

    def used_by(self, path: KeyPath, rule: Part) -> Part | None:
        """Return the rule with the keys of what it uses below its own; None where that cannot be had.

        Later names win over earlier ones, and the rule's own keys over all.
        """
        unknown = self._unknown(path, rule)
        own = {key: one for key, one in rule.items() if key not in {*unknown, USE}}
        named = [None if name is None else self._parts[name] for name in self._names((*path, USE), rule)]
        parts = [part for part in named if part is not None]
        if unknown or len(parts) < len(named) or not self._is_within_the_limit((*path, USE), parts):
            self.check(path, own)
            return None
        return reduce(laid_over, [*parts, own])

    def check(self, path: KeyPath, part: Part) -> bool:
        """Record what is wrong with keys by themselves, and say whether nothing is."""
        faults = lone_faults(self._document, path, part)
        self.faults += [(path, fault) for fault in faults]
        return not faults

    def refuse(self, path: KeyPath, found: str, allowed: str, *, near: str | None = None, key: bool = False) -> None:
        """Record a fault."""
        where = self._document.where(path, key=key)
        self.faults.append((path, Fault(where, written(path), found, allowed, near)))

    def _is_right(self, path: KeyPath, part: Part) -> bool:
        said = [key for key in FROM if key in part]
        if len(said) > 1:
            self.refuse(path, " and ".join(said), "at most one of from, const, concat")
        if USE in part:
            self.refuse((*path, USE), f"the key '{USE}'", ", ".join(RULE_KEYS), key=True)
        return self.check(path, part) and len(said) <= 1 and USE not in part

    def _unknown(self, path: KeyPath, rule: Part) -> list[str]:
        """Refuse the keys that no rule has, and return them."""
        every = [*RULE_KEYS, USE]
        unknown = [key for key in rule if key not in every]
        for key in unknown:
            found = f"the key {shortened(key)}"
            self.refuse((*path, key), found, ", ".join(every), near=nearest(key, every), key=True)
        return unknown

    def _names(self, path: KeyPath, rule: Part) -> Iterator[str | None]:
        """Yield the names that a rule uses, None for each that is none."""
        if USE not in rule:
            return
        use = rule[USE].value
        each: list[Json] = use if isinstance(use, list) else [use]
        if not 1 <= len(each) <= USES_MAX:
            self.refuse(path, "an empty list" if not each else f"{len(each)} names", f"1 to {USES_MAX} names")
            yield None
            return
        for index, name in enumerate(each):
            yield self._name((*path, index) if isinstance(use, list) else path, name)

    def _name(self, path: KeyPath, name: Json) -> str | None:
        if not isinstance(name, str):
            self.refuse(path, kind_of(name), _ALLOWED)
            return None
        if name in self._parts:
            return name
        variable = self._document.substituted.get(path)
        found = f"text {shortened(name)}" if variable is None else f"the text of ${{{variable}}}"
        near = nearest(name, list(self._parts)) if variable is None else None
        self.refuse(path, found, ", ".join(self._parts) or "names that stand under define; none does", near=near)
        return None

    def _is_within_the_limit(self, path: KeyPath, parts: list[Part]) -> bool:
        self._added += sum(_size(key.value) for part in parts for key in part.values())
        if self._added <= ADDED_MAX:
            return True
        self.refuse(
            path, "definitions that make the file too large", f"at most {ADDED_MAX} values added by definitions"
        )
        return False


def _size(value: Json) -> int:
    if isinstance(value, dict):
        return 1 + sum(_size(inner) for inner in value.values())
    return 1 + sum(_size(inner) for inner in value) if isinstance(value, list) else 1
