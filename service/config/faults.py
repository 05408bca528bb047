"""What pydantic refuses → one fault for one mistake: where, which path, what was found, what is allowed.

No value is shown but keys, words of a closed list and numbers out of range; none of those where ``${NAME}`` gave it.
"""

import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Protocol, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from service.config.settings import NAME_PATTERN
from service.config.variables import nearest
from service.config.yaml_file import KeyPath, shortened, written
from service.errors import Fault
from service.model import Json

SECRET_PARTS: Final = frozenset({"auth", "verify", "read_back"})
"""Parts of a source where numbers may be passwords."""
FOUND_MAX: Final = 120
"""Characters of what a validator says that it found."""

_Shapes: TypeAlias = "list[Any]"

_KEY: Final = "[key]"
_A_KEY: Final = "the key "
_NOTHING: Final = "nothing"
_NULL: Final = "null"
_ALLOWED: Final = {
    "bool": "true or false",
    "dict": "a mapping (keys and values)",
    "finite_number": "a finite number",
    "float": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "int": "a whole number",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "list": "a list",
    "mapping": "a mapping (keys and values)",
    "none_required": _NULL,
    "missing": "this key is required",
    "model": "a mapping (keys and values)",
    "path": "a path of the file system",
    "string": "text, in quotes",
    "string_pattern_mismatch": "text like {pattern}",
    "string_too_long": "text of at most {max_length} characters",
    "string_too_short": "text of at least {min_length} characters",
    "too_long": "{max_length} entries or less",
    "too_short": "{min_length} or more entries",
    "tuple": "a list",
    "union_tag_not_found": "this key is required",
}
_WORD: Final = re.compile(r"'([^']*)'")
_KIND: Final = re.compile(r"_(?:type|parsing|parsing_size|from_float|attributes_type)$")
_RANGE: Final = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})
_CHOICE: Final = frozenset({"literal_error", "enum", "union_tag_invalid"})


class Located(Protocol):
    """Values that know where they stand."""

    @property
    def value(self) -> Json:
        """The values, as they were before any check."""

    @property
    def substituted(self) -> Mapping[KeyPath, str]:
        """The places whose text came from a variable, and the name of that variable."""

    def written_at(self, path: KeyPath) -> KeyPath:
        """Return the path at which a value was written, where it counts at another."""

    def where(self, path: KeyPath, *, key: bool = False) -> str:
        """Return the place of a value, or of its key, by the path at which it was written."""


@dataclass(slots=True)
class _Spot:
    """Where an error points: the path as written, the value there, and the types it may have."""

    path: KeyPath
    value: Json
    shapes: _Shapes
    around: _Shapes = field(default_factory=list)
    at_key: bool = False
    about: str = ""
    """What the schema says of the field there."""


def faults_of(errors: Iterable[ErrorDetails], located: Located, *, shape: Any, prefix: KeyPath = ()) -> list[Fault]:  # noqa: ANN401  # any annotation
    """Return one fault for each mistake, in the order met. ``shape`` is the type that stands at ``prefix``."""
    by_place: dict[tuple[str, str], Fault] = {}
    faults = [fault for error in errors if (fault := _fault(error, located, shape, prefix)) is not None]
    for fault in _without_echoes(faults):
        before = by_place.setdefault((fault.where, fault.path), fault)
        # The members of a union complain one by one about the same value: one line, with what each of them allows.
        said = f" or {fault.allowed} or " in f" or {before.allowed} or "
        if before is not fault and before.found == fault.found and not said:
            joined = f"{before.allowed} or {fault.allowed}"
            by_place[fault.where, fault.path] = Fault(
                before.where, before.path, before.found, joined, before.nearest or fault.nearest
            )
    return list(by_place.values())


def in_order(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Return the faults by file, line and column, those of the environment first, each once."""

    def place(fault: Fault) -> tuple[bool, str, int, int]:
        match = re.fullmatch(r"(.*?):(\d+)(?::(\d+))?", fault.where, re.DOTALL)
        if match is None:
            return bool(fault.where != "environment"), fault.where, 0, 0
        return True, match[1], int(match[2]), int(match[3] or 0)

    return tuple(sorted(dict.fromkeys(faults), key=place))


def value_at(value: Json, path: KeyPath) -> Json:
    """Return what stands at a path that exists."""
    for part in path:
        value = value[part]  # type: ignore[index]  # the path was walked before
    return value


def kind_of(value: Json) -> str:
    """Return what people call a value, without showing it: ``a list``, ``blank text``, ``null``."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return "text" if value.strip() else "blank text"
    for kind, word in ((int, "whole number"), (float, "number"), (list, "list")):
        if isinstance(value, kind):
            return f"a {word}" if value or kind is not list else "an empty list"
    return "a mapping" if value else "an empty mapping"


def _without_echoes(faults: list[Fault]) -> list[Fault]:
    """Drop what is said twice: a key that is missing because it is misspelt, and that null is allowed as well."""
    misspelt = (fault for fault in faults if fault.found.startswith(_A_KEY))
    meant = {f"{fault.path.rpartition('.')[0]}.{fault.nearest}".removeprefix(".") for fault in misspelt}
    inside = [fault.path for fault in faults if fault.allowed != _NULL]
    return [
        fault
        for fault in faults
        if not (fault.found == _NOTHING and fault.path in meant)
        and not (fault.allowed == _NULL and any(path.startswith(fault.path) for path in inside))
    ]


def _fault(error: ErrorDetails, located: Located, shape: Any, prefix: KeyPath) -> Fault | None:  # noqa: ANN401  # as above
    spot = _spot(error, value_at(located.value, prefix), _flat(shape), prefix)
    kind, context = error["type"], error.get("ctx", {})
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        _into_discriminator(spot, str(context.get("discriminator", "")).strip("'"))
    if "at" in context:
        spot.path = (*spot.path, str(context["at"]))  # a check of several values names the one to change
    if kind == "default_factory_not_called":
        return None  # a default that another setting makes, and that one has a fault of its own
    if kind == "too_short" and isinstance(spot.value, list | dict) and len(spot.value) >= context.get("min_length", 1):
        return None  # long enough, but for entries that have faults of their own
    missing = kind in {"missing", "union_tag_not_found"}
    at_key = spot.at_key or kind == "extra_forbidden"
    at = located.written_at(spot.path)
    variable = None if at_key else located.substituted.get(at)
    word = str(spot.path[-1]) if at_key else spot.value
    choices = _choices(kind, context, spot)
    allowed = ", ".join(choices) if choices else _allowed(error, spot, hidden=variable is not None)
    homes = _homes(spot, str(word)) if kind == "extra_forbidden" else []
    if homes:
        allowed += f"; {word} stands under {' or '.join(homes)}"
    near = context.get("nearest") or (_error_of(context, "nearest") if variable is None else None)
    if near is None and not homes and choices and variable is None and isinstance(word, str):
        near = nearest(word, choices)
    return Fault(
        located.where(at, key=missing or at_key),
        written(at),
        _NOTHING if missing else _found(kind, context, spot, variable),
        allowed,
        near,
    )


def _spot(error: ErrorDetails, value: Json, shapes: _Shapes, path: KeyPath) -> _Spot:
    """Follow pydantic's location through the value itself, so that tags of unions and made-up indexes fall out."""
    spot = _Spot(path, value, shapes)
    for position, part in enumerate(error["loc"]):
        last = position == len(error["loc"]) - 1
        if part == _KEY:
            spot.at_key = True
        elif len(spot.shapes) > 1 and (narrowed := [shape for shape in spot.shapes if part in _tags(shape)]):
            spot.shapes = narrowed
        elif (isinstance(spot.value, dict) and part in spot.value) or (
            isinstance(spot.value, list) and isinstance(part, int) and part < len(spot.value)
        ):
            below = [inner for shape in spot.shapes for inner in _below(shape, part)]
            about = next((said for shape in spot.shapes if (said := _description(shape, part))), "")
            spot = _Spot((*spot.path, part), value_at(spot.value, (part,)), below, spot.shapes, about=about)
        elif last and error["type"] == "missing":
            spot = _Spot((*spot.path, part), None, [], spot.shapes)
    return spot


def _into_discriminator(spot: _Spot, key: str) -> None:
    spot.path = (*spot.path, key)
    spot.value = spot.value.get(key) if isinstance(spot.value, dict) else None


def _choices(kind: str, context: Mapping[str, Any], spot: _Spot) -> list[str]:
    """Return the closed list of words that the place allows, empty where it is not closed."""
    if kind == "extra_forbidden" and "allowed" not in context:
        return sorted({name for shape in spot.around for name in _keys(shape)})
    if kind in _CHOICE and isinstance(words := context.get("expected_tags", context.get("expected")), str):
        return _WORD.findall(words)
    allowed = context.get("allowed")
    return [str(word) for word in allowed] if isinstance(allowed, list | tuple) else []


def _homes(spot: _Spot, key: str) -> list[str]:
    """Return the neighbours of a key under which it would be right, as of one that is not far enough in."""
    fields = [item for shape in spot.around for item in _fields(shape).items()]
    return sorted({name for name, info in fields if any(key in _keys(inner) for inner in _flat(info.annotation))})


def _allowed(error: ErrorDetails, spot: _Spot, *, hidden: bool) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if isinstance(allowed := context.get("allowed") or _error_of(context, "allowed"), str):
        return allowed
    if context.get("pattern") == NAME_PATTERN:
        return "lower-case letters, digits, - and _, at most 63, the first a letter or digit"
    if any(SecretStr in _flat(get_args(shape)[0]) for shape in spot.shapes if get_args(shape)) and kind in {
        "tuple_type",
        "string_type",
    }:
        return "text, in quotes, or a list of texts"
    if kind == "string_pattern_mismatch" and spot.about:  # a pattern alone tells few people what to write
        return f"{spot.about[0].lower()}{spot.about[1:].rstrip('.')} (text like {context['pattern']})"
    template = _ALLOWED.get(kind) or _ALLOWED.get(_KIND.sub("", kind))
    if template is not None:
        return template.format_map(context)
    # Words of a validator of ours; where the value came from a variable they might repeat it.
    return "another value" if hidden else error["msg"].removeprefix("Value error, ")


def _error_of(context: Mapping[str, Any], name: str) -> str | None:
    """Return what a PathError says of itself."""
    told = getattr(context.get("error"), name, None)
    return told if isinstance(told, str) else None


def _found(kind: str, context: Mapping[str, Any], spot: _Spot, variable: str | None) -> str:
    value = spot.value
    if kind == "extra_forbidden" or spot.at_key:
        return f"{_A_KEY}{shortened(str(spot.path[-1]))}"
    if variable is not None:
        return f"the text of ${{{variable}}}"
    if kind in _CHOICE and isinstance(value, str):
        return f"text {shortened(value)}"
    if kind in _RANGE and not SECRET_PARTS & set(spot.path):
        return f"the number {shortened(str(value))[1:-1]}"
    if told := context.get("found") or _error_of(context, "found"):
        return str(told)[:FOUND_MAX]
    return kind_of(value)


def _flat(shape: Any) -> _Shapes:  # noqa: ANN401  # any annotation
    """Return the members of a union, without their annotations."""
    origin = get_origin(shape)
    if origin is Annotated:
        return _flat(get_args(shape)[0])
    if origin in {Union, types.UnionType}:
        return [member for argument in get_args(shape) for member in _flat(argument)]
    return [shape]


def _below(shape: Any, part: str | int) -> _Shapes:  # noqa: ANN401  # as above
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        found = [info for name, info in shape.model_fields.items() if part in {name, info.alias}]
        return [inner for info in found for inner in _flat(info.annotation)]
    arguments = [argument for argument in get_args(shape) if argument is not Ellipsis]
    return _flat(arguments[-1]) if arguments else []


def _description(shape: Any, part: str | int) -> str:  # noqa: ANN401  # as above
    return next((info.description or "" for name, info in _fields(shape).items() if part in {name, info.alias}), "")


def _keys(shape: Any) -> list[str]:  # noqa: ANN401  # as above
    return [info.alias or name for name, info in _fields(shape).items()]


def _fields(shape: Any) -> dict[str, FieldInfo]:  # noqa: ANN401  # as above
    return shape.model_fields if isinstance(shape, type) and issubclass(shape, BaseModel) else {}


def _tags(shape: Any) -> set[object]:  # noqa: ANN401  # as above
    """Return what pydantic may call a member of a union: its discriminator's words, or its name."""
    if not (isinstance(shape, type) and issubclass(shape, BaseModel)):
        return {getattr(shape, "__name__", shape)}
    literals = [info.annotation for info in shape.model_fields.values() if get_origin(info.annotation) is Literal]
    return {shape.__name__, *(word for literal in literals for word in get_args(literal))}
