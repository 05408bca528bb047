"""The closed set of transforms: total, bounded and pure, each with its name, its argument and what it promises.

Any JSON value goes in; a value comes out or a TransformError. No text that comes out is longer than 64 KiB.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import Field

from service.mapping import expression, formats, telephone
from service.mapping.forms import Strict
from service.mapping.values import (
    SURELY_WITHIN,
    TEXT_BYTES_MAX,
    MappingError,
    emptiness,
    join_texts,
    scalar_text,
    type_name,
    within_limit,
)
from service.model import Json
from service.paths import as_text, is_scalar

DIGITS_MAX: Final = 64
"""Characters of a number as text."""

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}(?:\.0{1,18})?")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_WORD: Final = re.compile("[^\\W\\d_]+(?:['\u2019][^\\W\\d_]+)*")
_ELIDED: Final = re.compile("(.['\u2019])(.+)")
_TRUE: Final = frozenset({"true", "yes", "y", "t", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "n", "f", "off", "0"})


class TransformError(MappingError):
    """A transform cannot use the value. The text names the transform and the type found, never the value."""


class Replacement(Strict):
    """What ``replace`` takes: a literal text, and what stands in its place."""

    old: str = Field(alias="from", min_length=1, max_length=255, description="The literal text to be replaced.")
    new: str = Field(alias="to", max_length=255, description="What stands in its place.")


@dataclass(frozen=True, slots=True)
class Transform:
    """One entry of the set. ``argument`` is the type that the configuration gives it, None where it takes none."""

    name: str
    build: Callable[[Any], Callable[[Json], Json]]
    argument: Any = None
    required: bool = False

    @property
    def summary(self) -> str:
        """What it does, in a sentence for people."""
        return (self.build.__doc__ or "").strip()

    def bind(self, argument: object = None) -> Callable[[Json], Json]:
        """Return the function for an argument that was validated; it raises TransformError and nothing else."""
        run, name = self.build(argument), self.name

        def bounded(value: Json) -> Json:
            try:
                made = run(value)
                return within_limit(made) if isinstance(made, str) and len(made) > SURELY_WITHIN else made
            except MappingError as error:
                raise TransformError(f"{name}: {error}") from None

        return bounded


def trim(_: None) -> Callable[[Json], Json]:
    """Text without spaces at both ends."""
    return lambda value: scalar_text(value).strip()


def lower(_: None) -> Callable[[Json], Json]:
    """Text in small letters."""
    return lambda value: scalar_text(value).lower()


def upper(_: None) -> Callable[[Json], Json]:
    """Text in capitals."""
    return lambda value: scalar_text(value).upper()


def title(_: None) -> Callable[[Json], Json]:
    """Text with a capital for each word and small letters else: ANNE-MARIE O'BRIEN becomes Anne-Marie O'Brien."""
    return lambda value: _WORD.sub(_capitalised, scalar_text(value))


def split_first(_: None) -> Callable[[Json], Json]:
    """The first word."""
    return lambda value: next(iter(scalar_text(value).split(maxsplit=1)), "")


def split_rest(_: None) -> Callable[[Json], Json]:
    """All words but the first; blank where there is one only."""
    return lambda value: "".join(scalar_text(value).strip().split(maxsplit=1)[1:])


def replace(argument: Replacement) -> Callable[[Json], Json]:
    """Every occurrence of a literal text replaced by another."""
    growth = len(argument.new) - len(argument.old)

    def replaced(value: Json) -> Json:
        text = scalar_text(value)
        if growth > 0 and len(text) + growth * text.count(argument.old) > TEXT_BYTES_MAX:
            raise MappingError(f"would make text longer than {TEXT_BYTES_MAX // 1024} KiB; use truncate before")
        return text.replace(argument.old, argument.new)

    return replaced


def truncate(length: int) -> Callable[[Json], Json]:
    """At most so many characters of the text."""
    return lambda value: scalar_text(value)[:length]


def to_int(_: None) -> Callable[[Json], Json]:
    """A whole number, from a number without fraction or its decimal text."""
    return _to_int


def to_number(_: None) -> Callable[[Json], Json]:
    """A number, from a number or its decimal text with a point."""
    return _to_number


def to_bool(_: None) -> Callable[[Json], Json]:
    """True or false, from a boolean, 1 and 0, or the texts true yes y t on 1 and false no n f off 0."""
    return _to_bool


def to_string(_: None) -> Callable[[Json], Json]:
    """The text of a number or boolean: 2 for 2.0, true for true."""
    return scalar_text


def join(separator: str | None) -> Callable[[Json], Json]:
    """The items of a list as one text, with the separator given (else a comma and a space); empty items left out."""
    between = ", " if separator is None else separator

    def joined(value: Json) -> Json:
        if not isinstance(value, list):
            return scalar_text(value)
        return join_texts((item for item in value if emptiness(item) is None), between)

    return joined


def first_non_blank(_: None) -> Callable[[Json], Json]:
    """The first item of a list that is neither null nor blank, null if there is none; what is no list stays."""

    def first(value: Json) -> Json:
        if not isinstance(value, list):
            return value
        return next((item for item in value if emptiness(item) is None), None)

    return first


TRANSFORMS: Final = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            Transform("trim", trim),
            Transform("lower", lower),
            Transform("upper", upper),
            Transform("title", title),
            Transform("split_first", split_first),
            Transform("split_rest", split_rest),
            Transform("replace", replace, Replacement, required=True),
            Transform("truncate", truncate, Annotated[int, Field(ge=1, le=TEXT_BYTES_MAX)], required=True),
            Transform("to_int", to_int),
            Transform("to_number", to_number),
            Transform("to_bool", to_bool),
            Transform("to_string", to_string),
            Transform("to_date", formats.to_date, formats.Zone),
            Transform("to_datetime", formats.to_datetime, formats.Zone),
            Transform("e164", telephone.e164, telephone.Region),
            Transform("strip_html", formats.strip_html),
            Transform("url", formats.url),
            Transform("join", join, Annotated[str, Field(max_length=255)]),
            Transform("first_non_blank", first_non_blank),
            Transform("jmespath", expression.jmespath, expression.Jmespath, required=True),
        )
    }
)
"""Every transform by its name, in the order of the documentation."""


def _capitalised(word: re.Match[str]) -> str:
    """Capitalise a word, and what follows the apostrophe of O' and D'."""
    if elided := _ELIDED.fullmatch(word.group()):
        return elided[1].upper() + elided[2].capitalize()
    return word.group().capitalize()


def _to_int(value: Json) -> Json:
    match value:
        case bool() | None | list() | dict():
            raise MappingError(f"found {type_name(value)}, not a whole number")
        case int():
            return value
        case float():
            if not value.is_integer():
                raise MappingError("found a number that is not whole")
            return int(value)
        case _:
            text = value.strip()
            if not _INTEGER.fullmatch(text):
                raise MappingError("found text that is not a whole number")
            return int(text.split(".")[0])


def _to_number(value: Json) -> Json:
    match value:
        case bool() | None | list() | dict():
            raise MappingError(f"found {type_name(value)}, not a number")
        case int():
            return value
        case float():
            number = value
        case _:
            text = value.strip()
            if len(text) > DIGITS_MAX or not _NUMBER.fullmatch(text):
                raise MappingError("found text that is not a number")
            if text.lstrip("+-").isdecimal():
                return int(text)
            number = float(text)
    if not math.isfinite(number):
        raise MappingError("found a number that is not finite")
    return number


def _to_bool(value: Json) -> Json:
    if isinstance(value, bool):
        return value
    text = as_text(value).strip().lower() if is_scalar(value) else ""
    if text not in _TRUE | _FALSE:
        raise MappingError(f"found {type_name(value)} that is neither true nor false")
    return text in _TRUE
