"""The path language: how configuration says where in a CRM's record, or in any JSON document, a value stands.

A path is a row of steps: keys joined by dots (``name``, ``"custom.cf_x"`` where a key has other characters), an index
(``[0]``, ``[-1]``) or a selector that takes the first fitting object of a list (``[?primary]`` where the key is truthy,
``[?label=work]`` where its text is the value). It starts at the record; ``$event.`` and ``$previous.`` reach the rest.
"""

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from service.model import MISSING, Change, Json, Missing
from service.times import isoformat_z

TEXT_MAX: Final = 512
"""Characters of a path."""
STEPS_MAX: Final = 32
"""Steps of a path."""
_INT_BITS_MAX: Final = 4096
"""Whole numbers past this have no decimal text (Python refuses to make one at about 14,000 bits)."""
_WHOLE_FLOAT_MAX: Final = 1e15
"""Floats below this are written without fraction where they have none."""

_BARE: Final = re.compile(r"[\w\-@:/#+~%$]+")
_INDEX: Final = re.compile(r"\[(-?[0-9]{1,6})\]")
_BARE_VALUE: Final = re.compile(r"""[^\[\]"'=]+""")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\["\\])*)"' + r"|'((?:[^'\\]|\\['\\])*)'")
_ESCAPE: Final = re.compile(r"\\(.)")

_KEY_ALLOWED: Final = "a key of letters, digits and - _ @ : / # + ~ % $, or any key in quotes"


class PathError(ValueError):
    """A text that is not a path: where (characters from 1), what was found there, what is allowed, the nearest name."""

    def __init__(self, position: int, found: str, allowed: str, *, nearest: str | None = None) -> None:
        hint = f"; did you mean {nearest}?" if nearest else ""
        super().__init__(f"position {position}: found {found}; allowed: {allowed}{hint}")
        self.position = position
        self.found = found
        self.allowed = allowed
        self.nearest = nearest


@dataclass(frozen=True, slots=True)
class Selector:
    """The first object of a list whose ``key`` is truthy or, with ``equals``, has that text."""

    key: str
    equals: str | None = None

    def first(self, node: Json | Missing) -> Json | Missing:
        """Return the object, or MISSING where there is none."""
        if not isinstance(node, list):
            return MISSING
        for item in node:
            if isinstance(item, dict) and self._fits(item.get(self.key)):
                return item
        return MISSING

    def _fits(self, value: Json) -> bool:
        if self.equals is None:
            return is_truthy(value)
        return is_scalar(value) and as_text(value) == self.equals


PathStep = str | int | Selector


@dataclass(frozen=True, slots=True)
class Path:
    """A parsed path. Reading is total: whatever the record holds, it returns a value or MISSING and never raises.

    Absent is MISSING and null is None. A null on the way is null as well: the CRM emptied the whole, and with it the
    part. Two paths are equal if their texts are. ``head`` is the record's field that the path needs, None where it
    starts elsewhere; ``keys`` are the keys from the record's root up to the first index or selector.
    """

    text: str
    head: str | None = field(compare=False)
    keys: tuple[str, ...] = field(compare=False)
    steps: tuple[PathStep, ...] = field(compare=False, repr=False)
    _root: "Callable[[Change], Json | Missing] | None" = field(compare=False, repr=False)
    _rest: tuple[PathStep, ...] = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str, *, roots: bool = True) -> "Path":
        """Parse a path of at most 512 characters and 32 steps, or raise PathError.

        ``roots`` False refuses ``$event`` and ``$previous``: such a path is for documents, by ``get``.
        """
        root, steps = _Parser(text).parse(roots=roots)
        first = steps[0] if steps else None
        head = first if root is None and isinstance(first, str) else None
        return cls(
            text=text,
            head=head,
            keys=() if root else _leading_keys(steps),
            steps=steps,
            _root=root,
            _rest=steps if head is None else steps[1:],
        )

    def read(self, change: Change) -> Json | Missing:
        """Return what stands at the path, from the root it names."""
        if self.head is not None:
            node = change.values.get(self.head, MISSING)
            return _walk(node, self._rest) if self._rest else node
        if self._root is not None:
            return _walk(self._root(change), self._rest)
        return MISSING  # an index or selector at the root of a record, which is an object

    def get(self, document: Json) -> Json | Missing:
        """Return what stands at the path in any document; ValueError if the path starts with ``$``."""
        if self._root is not None:
            raise ValueError("a path with a $ root reads a change, not a document")
        return _walk(document, self.steps)


def heads(paths: Iterable[Path]) -> frozenset[str]:
    """Return the record's fields that paths start at."""
    return frozenset(path.head for path in paths if path.head is not None)


def is_scalar(value: Json) -> bool:
    """Say whether the value is text, a number or a boolean: something that has a text of its own."""
    return isinstance(value, str | int | float)


def is_truthy(value: Json) -> bool:
    """Say whether a value means yes: not null, false, 0, blank, an empty list or object, nor the text false or 0."""
    return value.strip().lower() not in {"", "false", "0"} if isinstance(value, str) else bool(value)


def as_text(value: Json) -> str:
    """The text of a scalar wherever values are compared or joined as text: ``true``, ``2`` for 2.0; total, one way."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE_FLOAT_MAX:
        return str(int(value))
    if isinstance(value, int) and value.bit_length() > _INT_BITS_MAX:
        return hex(value)
    return str(value)


def nearest(word: str, allowed: Iterable[str]) -> str | None:
    """The allowed word that a mistyped one is closest to, if any is close."""
    return next(iter(difflib.get_close_matches(word, allowed, n=1)), None)


def _walk(node: Json | Missing, steps: tuple[PathStep, ...]) -> Json | Missing:
    for step in steps:
        if node is None:
            return None
        if isinstance(step, str):
            if not isinstance(node, dict):
                return MISSING
            node = node.get(step, MISSING)
        elif isinstance(step, int):
            if not isinstance(node, list) or not -len(node) <= step < len(node):
                return MISSING
            node = node[step]
        else:
            node = step.first(node)
    return node


def _leading_keys(steps: tuple[PathStep, ...]) -> tuple[str, ...]:
    keys: list[str] = []
    for step in steps:
        if not isinstance(step, str):
            break
        keys.append(step)
    return tuple(keys)


def _known(value: Json | tuple[str, ...]) -> Json | Missing:
    """What a change does not know of itself is absent, not null."""
    if value is None:
        return MISSING
    return list(value) if isinstance(value, tuple) else value


EVENT_FIELDS: Final = MappingProxyType[str, "Callable[[Change], Json | Missing]"](
    {
        "action": lambda change: change.action.value,
        "actor": lambda change: _known(change.actor),
        "attempt": lambda change: _known(change.attempt),
        "changed_fields": lambda change: _known(change.changed_fields),
        "crm_event_id": lambda change: _known(change.crm_event_id),
        "dedup_key": lambda change: change.dedup_key,
        "merged_from": lambda change: _known(change.merged_from),
        "merged_into": lambda change: _known(change.merged_into),
        "object_id": lambda change: change.object_id,
        "object_type": lambda change: change.object_type,
        "occurred_at": lambda change: MISSING if change.occurred_at is None else isoformat_z(change.occurred_at),
        "origin": lambda change: _known(change.origin),
        "tenant": lambda change: _known(change.tenant),
        "thin": lambda change: change.thin,
    }
)
"""What ``$event.`` reaches."""


def _previous(key: str) -> "Callable[[Change], Json | Missing]":
    return lambda change: MISSING if change.previous is None else change.previous.get(key, MISSING)


class _Parser:
    """Reads one path from left to right; every dead end is a PathError with its position."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def parse(self, *, roots: bool) -> "tuple[Callable[[Change], Json | Missing] | None, tuple[PathStep, ...]]":
        if len(self._text) > TEXT_MAX:
            raise PathError(TEXT_MAX + 1, f"{len(self._text)} characters", f"at most {TEXT_MAX} characters")
        root = self._root(roots=roots) if self._text.startswith("$") else None
        steps: list[PathStep] = []
        if root is None:
            steps.append(self._bracket() if self._text.startswith("[") else self._key())
        while self._at < len(self._text):
            start = self._at
            steps.append(self._next())
            if len(steps) > STEPS_MAX:
                raise PathError(start + 1, f"step {len(steps)}", f"at most {STEPS_MAX} steps")
        return root, tuple(steps)

    def _root(self, *, roots: bool) -> "Callable[[Change], Json | Missing]":
        if not roots:
            raise self._fault("a path that starts at the document, without $; put a key that starts with $ in quotes")
        for name in ("$event.", "$previous."):
            if self._text.startswith(name):
                self._at = len(name)
                return self._event_field() if name == "$event." else _previous(self._key())
        found = self._text.split(".", 1)[0]
        close = nearest(found, ("$event", "$previous"))
        allowed = "$event.<field> or $previous.<field>; put a key that starts with $ in quotes"
        raise PathError(1, repr(found), allowed, nearest=None if close == found else close)

    def _event_field(self) -> "Callable[[Change], Json | Missing]":
        start = self._at
        name = self._key()
        try:
            return EVENT_FIELDS[name]
        except KeyError:
            allowed = ", ".join(EVENT_FIELDS)
            raise PathError(start + 1, repr(name), allowed, nearest=nearest(name, EVENT_FIELDS)) from None

    def _next(self) -> PathStep:
        match self._text[self._at]:
            case ".":
                self._at += 1
                return self._key()
            case "[":
                return self._bracket()
            case _:
                raise self._fault('. or [ or the end; a key with other characters stands in quotes, as "custom.cf_x"')

    def _key(self) -> str:
        if (bare := _BARE.match(self._text, self._at)) is None:
            return self._quoted(_KEY_ALLOWED)
        if bare.group().startswith("$"):
            raise self._fault("a key that starts with $ only in quotes")
        self._at = bare.end()
        return bare.group()

    def _quoted(self, allowed: str) -> str:
        if (quoted := _QUOTED.match(self._text, self._at)) is None:
            opened = self._text[self._at : self._at + 1] in {'"', "'"}
            raise self._fault("closing quotes; inside, \\ stands only before quotes or \\" if opened else allowed)
        self._at = quoted.end()
        return _ESCAPE.sub(r"\1", quoted.group(1) if quoted.group(1) is not None else quoted.group(2))

    def _bracket(self) -> PathStep:
        if index := _INDEX.match(self._text, self._at):
            self._at = index.end()
            return int(index.group(1))
        self._at += 1
        if not self._text.startswith("?", self._at):
            raise self._fault("an index of at most 6 digits as [0], or a selector as [?primary] or [?key=value]")
        self._at += 1
        key = self._key()
        value = None
        if self._text.startswith("=", self._at):
            self._at += 1
            value = self._value()
        if not self._text.startswith("]", self._at):
            raise self._fault("]" if value is not None else "= or ]")
        self._at += 1
        return Selector(key, value)

    def _value(self) -> str:
        bare = _BARE_VALUE.match(self._text, self._at)
        if bare is None or not bare.group().strip():
            return self._quoted("a value to compare with, in quotes if it is blank or holds = [ ] or quotes")
        self._at = bare.end()
        return bare.group().strip()

    def _fault(self, allowed: str) -> PathError:
        found = repr(self._text[self._at]) if self._at < len(self._text) else "the end"
        return PathError(self._at + 1, found, allowed)
