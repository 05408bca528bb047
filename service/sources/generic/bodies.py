"""Bodies: JSON, and forms with bracketed names, as one kind of document."""

import re
from typing import Final, Literal, cast
from urllib.parse import quote_plus, unquote_plus

import orjson

from service.errors import ParseError, TooLarge
from service.model import Json
from service.paths import as_text, is_scalar
from service.sources.base import DEPTH_MAX, mapping_at, read_json

Format = Literal["json", "form"]

FORM_FIELDS_MAX: Final = 1000
"""Fields of one form."""

_BRACKETED: Final = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])+)")
_BRACKETS: Final = re.compile(r"\[([^\[\]]*)\]")


def read_body(body: bytes, kind: Format) -> Json:
    """Read a body as a document; raise ParseError or TooLarge.

    A form's ``contact[fields][39]`` stands at ``contact.fields.39``; ``tags[]`` and repeated names become lists; all
    values are text.
    """
    return read_json(body) if kind == "json" else _read_form(body)


def write_body(document: Json, kind: Format) -> bytes:
    """Write a document as its sender would. In a form, what is null is left out."""
    if kind == "json":
        return orjson.dumps(document)
    pairs = _pairs(mapping_at(document, "a form"), "")
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs).encode()


def without(document: Json, keys: tuple[str, ...]) -> Json:
    """Return a document without what stands at a row of keys, and without the objects that this leaves empty."""
    if not isinstance(document, dict) or keys[0] not in document:
        return document
    rest = {name: value for name, value in document.items() if name != keys[0]}
    if len(keys) == 1:
        return rest
    inner = without(document[keys[0]], keys[1:])
    emptied = inner == {} and document[keys[0]] != {}
    return rest if emptied else {**document, keys[0]: inner}


def body_without(body: bytes, kind: Format, keys: tuple[str, ...]) -> bytes:
    """Return a body without what stands at a row of keys, the rest of a form untouched; raise ParseError."""
    if kind == "json":
        return orjson.dumps(without(read_json(body), keys))
    parts = (part for part in body.split(b"&") if _names(_unquoted(part.partition(b"=")[0]))[: len(keys)] != keys)
    return b"&".join(parts)


def _read_form(body: bytes) -> Json:
    if body.count(b"&") >= FORM_FIELDS_MAX:
        raise TooLarge(f"a form of more than {FORM_FIELDS_MAX} fields")
    document: dict[str, Json] = {}
    for part in body.split(b"&"):
        name, _, value = part.partition(b"=")
        if name:
            _put(document, _names(_unquoted(name)), _unquoted(value))
    return document


def _unquoted(text: bytes) -> str:
    try:
        return unquote_plus(text.decode(), errors="strict")
    except UnicodeDecodeError:
        raise ParseError("the form is not UTF-8") from None


def _names(name: str) -> tuple[str, ...]:
    """Return the keys of a form's name; a name that is not well bracketed is one key."""
    bracketed = _BRACKETED.fullmatch(name)
    names = (name,) if bracketed is None else (bracketed.group(1), *_BRACKETS.findall(bracketed.group(2)))
    if len(names) > DEPTH_MAX:
        raise ParseError(f"a form's name deeper than {DEPTH_MAX} levels")
    return names


def _put(document: dict[str, Json], names: tuple[str, ...], value: str) -> None:
    *parents, last = names
    if last == "" and parents:  # tags[] is a list even when it holds one
        *parents, last = parents
        value_list: list[Json] = [value]
    else:
        value_list = []
    node = document
    for name in parents:
        node = mapping_at(node.setdefault(name, {}), "a bracketed form field")
    present = node.get(last)
    if isinstance(present, list):
        present.append(value)
    elif isinstance(present, dict):
        raise ParseError("a form field is both a value and a group")
    elif present is not None:
        node[last] = [present, value]
    else:
        node[last] = value_list or value


def _pairs(node: Json, name: str) -> list[tuple[str, str]]:
    if isinstance(node, dict):
        inner = ((f"{name}[{key}]" if name else key, value) for key, value in node.items())
        return [pair for key, value in inner for pair in _pairs(value, key)]
    if isinstance(node, list):
        return [pair for value in node for pair in _pairs(value, f"{name}[]")]
    return [(name, as_text(cast("Json", node)))] if is_scalar(node) else []
