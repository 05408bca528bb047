"""Places in a document: paths as configuration gives them, and putting a value where a path will find it."""

from typing import Annotated

from pydantic import AfterValidator, Field, PlainValidator

from service.model import Json
from service.paths import Path, PathStep


def _document_path(value: object) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        raise ValueError("a path is a text")  # noqa: TRY004  # pydantic reports a ValueError, and raises a TypeError
    return Path.parse(value, roots=False)


DocumentPath = Annotated[
    Path,
    PlainValidator(_document_path, json_schema_input_type=str),
    Field(description='Where it stands, as contact.email, emails[0] or "custom.key".'),
]
"""A path from the root of a document or of an event in it; what is not one is refused when configuration is loaded."""


def _keys_only(path: Path) -> Path:
    if len(path.keys) != len(path.steps):
        raise ValueError("this path is made of keys alone, without [ ]")
    return path


KeysPath = Annotated[DocumentPath, AfterValidator(_keys_only)]
"""A path of nothing but keys, so that what stands there can be taken out or replaced."""


def put(node: Json, steps: tuple[PathStep, ...], value: Json) -> Json:
    """Return a document in which a path of those steps finds the value; what is in its way is replaced.

    An object at the end of a selector gets the key that the selector looks for.
    """
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(step, str):
        members = node if isinstance(node, dict) else {}
        return {**members, step: put(members.get(step), rest, value)}
    items = list(node) if isinstance(node, list) else []
    if isinstance(step, int):
        length = step + 1 if step >= 0 else -step
        items += [None] * (length - len(items))
        items[step] = put(items[step], rest, value)
        return items
    found = step.first(items)
    place = next((index for index, item in enumerate(items) if item is found), len(items))
    mark: dict[str, Json] = {step.key: True if step.equals is None else step.equals}
    made = put(found if isinstance(found, dict) else mark, rest, value)
    return [*items[:place], {**mark, **made} if isinstance(made, dict) else made, *items[place + 1 :]]
