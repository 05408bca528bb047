"""Values made fit to be looked at: shortened, or masked, so that their shape is seen and nothing else."""

import re
from typing import Final

import orjson

from service.model import Json
from service.paths import as_text, is_scalar

DOT: Final = "•"
TEXT_MAX: Final = 48
"""Characters of a masked text; what is longer ends in three dots."""
ITEMS_MAX: Final = 8
"""Items of a list, keys of an object, that are shown masked."""
DEPTH_MAX: Final = 4
SHOWN_MAX: Final = 1000
"""Characters of a value that is shown as it is."""

_WORD: Final = re.compile(r"[^\W\d_]+")
_DIGIT: Final = re.compile(r"\d")
_PERSONAL: Final = re.compile(r".*@.*\..*|\+?[\d\s().-]*[\s()+][\d\s().-]*|.*\d{7,}.*[ .].*")
_SHORT: Final = 3
"""Words shorter than this are masked whole, and those of scripts without capitals: one letter says too much there."""


def masked_text(text: str) -> str:
    """Mask a text, but for the first letter of each word of three letters or more."""
    shown = _WORD.sub(_masked_word, _DIGIT.sub(DOT, text[:TEXT_MAX]))
    shown = "".join(character if character.isprintable() else " " for character in shown)
    return f"{shown}…" if len(text) > TEXT_MAX else shown


def masked(value: Json, depth: int = 0) -> Json:
    """Mask any value: null and booleans stay, numbers become text, and keys of objects stay but for personal ones."""
    if value is None or isinstance(value, bool):
        return value
    if is_scalar(value):
        return masked_text(as_text(value))
    if depth >= DEPTH_MAX:
        return "…"
    if isinstance(value, dict):
        parts = [*value.items()][:ITEMS_MAX]
        return {masked_text(key) if is_personal(key) else key: masked(part, depth + 1) for key, part in parts}
    return [masked(item, depth + 1) for item in value[:ITEMS_MAX]] if isinstance(value, list) else None


def is_personal(key: str) -> bool:
    """Say whether a key of an object is a person's own, as an email or a telephone number, and no field's name."""
    return _PERSONAL.fullmatch(key) is not None


def shortened(value: Json) -> Json:
    """Return a value as it is, or the beginning of its text where that is long."""
    if isinstance(value, dict | list):
        text = orjson.dumps(value).decode()
        return value if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "…"
    return value[:SHOWN_MAX] + "…" if isinstance(value, str) and len(value) > SHOWN_MAX else value


def _masked_word(word: re.Match[str]) -> str:
    text = word.group()
    tells_much = len(text) < _SHORT or text[0].lower() == text[0].upper()
    return DOT * len(text) if tells_much else text[0] + DOT * (len(text) - 1)
