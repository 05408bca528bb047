"""What the rules ask of any JSON value: whether it is empty, what its type is called, whether it keeps the limit."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from service.model import MISSING, Json, Missing
from service.paths import as_text, is_scalar

TEXT_BYTES_MAX: Final = 64 * 1024
"""UTF-8 bytes of any text that a rule makes."""
SURELY_WITHIN: Final = TEXT_BYTES_MAX // 4
"""Characters that keep to that whatever they are: text of no more is never encoded only to be counted."""


class MappingError(ValueError):
    """A value that a rule cannot use. The text names the step, the type found and what helps, never the value."""


class Empty(StrEnum):
    """The three ways of being no value, kept apart. Text of spaces, an empty list and an empty object are blank."""

    MISSING = "missing"
    NULL = "null"
    BLANK = "blank"


def emptiness(value: Json | Missing) -> Empty | None:
    """Say in which way a value is empty; None where it is not."""
    if isinstance(value, str):  # the usual kind first
        return None if value and not value.isspace() else Empty.BLANK
    if value is MISSING:
        return Empty.MISSING
    if value is None:
        return Empty.NULL
    return Empty.BLANK if isinstance(value, list | dict) and not value else None


def type_name(value: Json) -> str:
    """What people call the type of a JSON value, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "an object"


def scalar_text(value: Json) -> str:
    """The text of a scalar; MappingError for null, lists and objects."""
    if isinstance(value, str):
        return value
    if not is_scalar(value):
        raise not_scalar(value)
    return as_text(value)


def not_scalar(value: Json) -> MappingError:
    """The fault of a value that should be text, a number or a boolean."""
    hint = "; use join or first_non_blank" if isinstance(value, list) else ""
    return MappingError(f"found {type_name(value)}, not text or a number{hint}")


def within_limit(text: str) -> str:
    """Return the text if it keeps to 64 KiB of UTF-8; MappingError otherwise."""
    if len(text) > SURELY_WITHIN and len(text.encode("utf-8", "surrogatepass")) > TEXT_BYTES_MAX:
        raise MappingError(f"found text longer than {TEXT_BYTES_MAX // 1024} KiB; use truncate")
    return text


def join_texts(items: Iterable[Json], separator: str) -> str:
    """Join the texts of scalars, stopping as soon as they pass 64 KiB; MappingError for that, lists and objects."""
    texts: list[str] = []
    length = -len(separator)
    for item in items:
        text = scalar_text(item)
        length += len(separator) + len(text)
        if length > TEXT_BYTES_MAX:
            raise MappingError(f"would make text longer than {TEXT_BYTES_MAX // 1024} KiB")
        texts.append(text)
    return within_limit(separator.join(texts))
