"""What kind of value stands somewhere, by its look alone; pure."""

import re
from enum import StrEnum
from typing import Final

from service.model import Json

TEXT_LOOKED_AT: Final = 2_000
"""Characters of a text that are looked at."""


class Kind(StrEnum):
    """What a value looks like. The first eleven are of texts."""

    EMAIL = "email"
    LINKED_IN = "LinkedIn address"
    TWITTER = "Twitter address"
    LINK = "web address"
    DATE = "date"
    INSTANT = "date and time"
    EPOCH_TEXT = "epoch time as text"
    PHONE = "telephone number"
    DIGITS = "digits as text"
    HTML = "HTML"
    TEXT = "text"
    BOOLEAN = "boolean"
    EPOCH = "epoch time"
    NUMBER = "number"
    LIST = "list"
    OBJECT = "object"


JSON_TYPES: Final = {Kind.BOOLEAN: "boolean", Kind.EPOCH: "number", Kind.NUMBER: "number", Kind.LIST: "list"}
"""What JSON calls a kind; everything else but an object is text."""
TIMES: Final = frozenset({Kind.DATE, Kind.INSTANT, Kind.EPOCH, Kind.EPOCH_TEXT})
WORDS: Final = frozenset({Kind.TEXT, Kind.HTML})
PHONES: Final = frozenset({Kind.PHONE, Kind.DIGITS})

_SHAPES: Final = (
    (Kind.EMAIL, re.compile(r"[^@\s<>,;]{1,64}@[^@\s<>,;]{1,253}\.[^@\s<>,;.]{2,63}")),
    (Kind.LINKED_IN, re.compile(r"(?i)(?:https?://)?(?:[a-z]{2,3}\.)?linkedin\.com/\S+")),
    (Kind.TWITTER, re.compile(r"(?i)(?:https?://)?(?:www\.|mobile\.)?(?:twitter|x)\.com/\S+|@\w{1,15}")),
    (Kind.LINK, re.compile(r"(?i)(?:https?://|www\.)\S+")),
    (Kind.DATE, re.compile(r"\d{4}-\d{2}-\d{2}")),
    (Kind.INSTANT, re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}\S*|/Date\(-?\d{1,16}(?:[+-]\d{4})?\)/")),
    (Kind.EPOCH_TEXT, re.compile(r"1\d{12}")),
    (Kind.PHONE, re.compile(r"\+\d[\d\s().\-/]{5,24}|(?=(?:\D*\d){7})\(?\d[\d().\-/ ]*[\s().\-/][\d().\-/ ]{2,20}")),
    (Kind.DIGITS, re.compile(r"\d{1,24}")),
)
_HTML: Final = re.compile(r"</?[a-zA-Z][a-zA-Z0-9]{0,15}(?:\s[^<>]{0,500})?/?>|&(?:nbsp|amp|lt|gt|quot|#\d{1,6});")
_SECONDS: Final = range(1_000_000_000, 4_000_000_000)
_MILLIS: Final = range(1_000_000_000_000, 4_000_000_000_000)


def kind_of(value: Json) -> Kind:
    """Return what a value looks like; total."""
    match value:
        case bool():
            return Kind.BOOLEAN
        case int():
            return Kind.EPOCH if value in _SECONDS or value in _MILLIS else Kind.NUMBER
        case float():
            return Kind.NUMBER
        case str():
            return _kind_of_text(value[:TEXT_LOOKED_AT].strip())
        case list():
            return Kind.LIST
        case _:
            return Kind.OBJECT


def _kind_of_text(text: str) -> Kind:
    found = next((kind for kind, shape in _SHAPES if shape.fullmatch(text)), None)
    return found or (Kind.HTML if _HTML.search(text) else Kind.TEXT)
