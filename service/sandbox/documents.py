"""JSON objects → frozen dataclasses: every wrong name, type or bound is named with its path."""

import types
import typing
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields, replace
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias, TypeVar

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

LEAST: Final = "least"
MOST: Final = "most"

_NAMES: Final = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "null"}


class DocumentError(ValueError):
    """A document is not what is documented. The text names the path, what was found and what is allowed."""

    def __init__(self, path: str, found: str, allowed: str) -> None:
        super().__init__(f"{path}: found {found}; allowed: {allowed}")
        self.path = path


class _Dataclass(typing.Protocol):
    __dataclass_fields__: typing.ClassVar[dict[str, Field[Any]]]


_T = TypeVar("_T", bound=_Dataclass)


@dataclass(frozen=True, slots=True)
class _Allowed:
    """What a field takes: literal choices or plain types, with bounds for numbers."""

    choices: tuple[object, ...]
    kinds: tuple[type, ...]
    least: float | None
    most: float | None

    def __str__(self) -> str:
        words = [repr(choice) for choice in self.choices] + [_NAMES[kind] for kind in self.kinds]
        bounds = [f"{word} {bound:g}" for word, bound in (("from", self.least), ("to", self.most)) if bound is not None]
        return " ".join([" or ".join(words), *bounds])

    def admits(self, value: object) -> bool:
        if any(type(value) is type(choice) and value == choice for choice in self.choices):
            return True
        if type(value) not in self.kinds and not (type(value) is int and float in self.kinds):
            return False
        if isinstance(value, int | float) and not isinstance(value, bool):
            return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)
        return True


def changed(base: _T, document: object, *, path: str) -> _T:
    """``base`` with the fields that the document names. Raises DocumentError at the first thing wrong."""
    allowed = _allowed(type(base))
    values = as_object(document, path=path)
    for name, value in values.items():
        place = f"{path}.{name}"
        if name not in allowed:
            raise DocumentError(place, "an unknown name", ", ".join(sorted(allowed)))
        if not allowed[name].admits(value):
            raise DocumentError(place, describe(value), str(allowed[name]))
    return replace(base, **values)


def as_object(document: object, *, path: str) -> Mapping[str, Any]:
    """The document as an object. Raises DocumentError."""
    if not isinstance(document, dict):
        raise DocumentError(path, describe(document), "an object")
    return document


def describe(value: object) -> str:
    """What kind of thing stands there. Contact values are not repeated, numbers and short names are."""
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case str():
            return "a text"
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case _:
            return f"the number {value}"


@lru_cache(maxsize=32)
def _allowed(cls: type[_Dataclass]) -> dict[str, _Allowed]:
    hints = typing.get_type_hints(cls)
    found = {}
    for field in fields(cls):
        hint = hints[field.name]
        parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        choices = tuple(
            choice for part in parts if typing.get_origin(part) is Literal for choice in typing.get_args(part)
        )
        kinds = tuple(part for part in parts if part in _NAMES)
        found[field.name] = _Allowed(choices, kinds, field.metadata.get(LEAST), field.metadata.get(MOST))
    return found
