"""Every place in a record where a value stands, as a path of the configuration's own language; pure and bounded."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from service.model import Json, Record
from service.operations.masking import is_personal
from service.paths import Path, PathError, as_text, is_scalar, is_truthy

DEPTH_MAX: Final = 6
"""Objects in objects that are walked into."""
KEYS_MAX: Final = 300
"""Keys of an object, and labels of a list, that are looked at."""
FLAGS: Final = ("primary", "is_primary", "isPrimary", "main", "is_default", "default")
"""What marks the chief object of a list."""
LABELS: Final = ("label", "type", "kind", "key", "code", "slug", "field", "field_id", "fieldId", "name", "id")
"""What tells the objects of a list apart, where each has another."""
CONTENTS: Final = frozenset({"value", "values", "field_value", "fieldValue", "content", "email", "phone", "number"})
"""What an object of such a list says."""

_BARE: Final = re.compile(r"[\w\-@:/#+~%][\w\-@:/#+~%$]*")
_LABEL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .&/+#-]{0,39}")


@dataclass(frozen=True, slots=True)
class Place:
    """A path as it is written, and the keys on the way to it; ``first`` is for the first item of a list of values."""

    path: str
    keys: tuple[str, ...]
    first: bool = False


def places(record: Record) -> Iterator[tuple[Place, Json]]:
    """Give every value that a path leads to, null among them: scalars, and lists of scalars as well as their first."""
    yield from _of_object(dict(record), Place("", ()), DEPTH_MAX)


def parsed(place: Place) -> Path | None:
    """Return the place as a path, None where it is longer than a path may be."""
    try:
        return Path.parse(place.path)
    except PathError:
        return None


def _of_object(node: dict[str, Json], at: Place, depth: int) -> Iterator[tuple[Place, Json]]:
    for key, value in list(node.items())[:KEYS_MAX]:
        if is_personal(key):  # no field
            continue
        dot = "." if at.path else ""
        yield from _of(value, Place(f"{at.path}{dot}{_written(key)}", (*at.keys, key)), depth)


def _of(value: Json, at: Place, depth: int) -> Iterator[tuple[Place, Json]]:
    if isinstance(value, dict):
        if depth > 0:
            yield from _of_object(value, at, depth - 1)
    elif isinstance(value, list):
        yield from _of_list(value, at, depth)
    else:
        yield at, value


def _of_list(items: list[Json], at: Place, depth: int) -> Iterator[tuple[Place, Json]]:
    objects = [item for item in items if isinstance(item, dict)]
    if objects and len(objects) == len(items) and depth > 0:
        for selector, chosen in _chosen(objects):
            yield from _of_object(chosen, Place(at.path + selector, at.keys), depth - 1)
    elif items and all(is_scalar(item) for item in items):
        yield at, items
        yield Place(f"{at.path}[0]", at.keys, first=True), items[0]


def _chosen(objects: list[dict[str, Json]]) -> Iterator[tuple[str, dict[str, Json]]]:
    """Give the objects of a list that a selector means for every record, without what only tells them apart."""
    flag = next((key for key in FLAGS if any(is_truthy(item.get(key)) for item in objects)), None)
    label = next((key for key in LABELS if _tells_apart(objects, key)), None)
    told = [{key: value for key, value in item.items() if key not in {flag, label}} for item in objects]
    if flag is not None:
        yield f"[?{flag}]", next(rest for item, rest in zip(objects, told, strict=True) if is_truthy(item.get(flag)))
    yield "[0]", told[0]
    if label is not None:
        for item, rest in list(zip(objects, told, strict=True))[:KEYS_MAX]:
            yield f"[?{label}={as_text(item[label])}]", rest


def _tells_apart(objects: list[dict[str, Json]], key: str) -> bool:
    """Say whether each object has another label under a key, beside what it says."""
    values = [item.get(key) for item in objects]
    labels = {as_text(value) for value in values if is_scalar(value) and _LABEL.fullmatch(as_text(value))}
    return len(labels) == len(objects) and all(not CONTENTS.isdisjoint(item.keys() - {key}) for item in objects)


def _written(key: str) -> str:
    if _BARE.fullmatch(key):
        return key
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
