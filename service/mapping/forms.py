"""How the configuration is read: strictly, with short forms, and with every fault saying what would have been right."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    PlainValidator,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from service.paths import TEXT_MAX, Path, PathError, as_text, is_scalar, nearest

TABLE_MAX: Final = 1000
"""Entries of a ``map``."""
CONST_MAX: Final = 4096
"""Characters of a fixed text."""

_LONE_SCALAR: Final = {"type": ["string", "number", "boolean", "null"]}
_NULL: Final = {"type": "null"}
_ALLOWED: Final = {
    "bool_type": "true or false",
    "dict_type": "a mapping (keys and values)",
    "greater_than_equal": "{ge} or more",
    "invalid_key": "keys that are text",
    "int_type": "a whole number",
    "less_than_equal": "{le} or less",
    "missing": "this key, with a value",
    "model_type": "a mapping (keys and values)",
    "none_required": "no argument",
    "string_too_long": "text of at most {max_length} characters",
    "string_too_short": "text of at least {min_length} characters",
    "string_type": "text",
    "too_long": "at most {max_length} items",
    "too_short": "at least {min_length} items",
    "tuple_type": "a list, in [ ]",
}
"""What pydantic's own errors allow, in the words of a configuration file."""
PATH_SCHEMA: Final[dict[str, Any]] = {
    "type": "string",
    "minLength": 1,
    "maxLength": TEXT_MAX,
    "description": 'A path into the record, such as emails[?primary].value, "custom.cf_x" or $event.action.',
}


def fault(kind: str, found: str, allowed: str, *, close: str | None = None) -> PydanticCustomError:
    """A fault that says what was found, what is allowed and, where one is near, the right name."""
    context = {"found": found, "allowed": allowed, **({} if close is None else {"nearest": close})}
    return PydanticCustomError(kind, "found {found}; allowed: {allowed}", context)


class Strict(BaseModel):
    """A part of the configuration: unknown keys are refused by name, and no error ever shows an input."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)
    other_keys: ClassVar[str] = ""
    """Where a key belongs that is none of these, if there is such a place."""

    @model_validator(mode="wrap")
    @classmethod
    def _say_what_is_allowed(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            raise ValidationError.from_exception_data(cls.__name__, [*_lines(cls, error)], hide_input=True) from None

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The JSON Schema without the null of a key that was not given: a key is given a value or left out."""
        json_schema = handler(schema)
        for key in handler.resolve_ref_schema(json_schema).get("properties", {}).values():
            if key.get("default", ...) in (None, []):
                del key["default"]
            if (choices := key.get("anyOf")) and _NULL in choices:
                del key["anyOf"]
                key.update(*(choice for choice in choices if choice != _NULL))
        return json_schema


@dataclass(frozen=True, slots=True)
class Short:
    """Marks a type that a text may stand for.

    ``read`` makes the value of the text, whose JSON Schema is ``schema``. What is no text is validated as ``long``
    and passed through ``finish``. Null is refused: a key without a value is left out.
    """

    read: Callable[[str], object]
    schema: dict[str, Any]
    long: Any
    finish: Callable[[Any], object] | None = None
    shape: type = dict
    """What the long form is written as."""
    allowed: str = "text, or a mapping (keys and values)"
    """Both forms, for who wrote neither."""

    def __get_pydantic_core_schema__(self, _source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._validate, handler.generate_schema(self.long))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [self.schema, handler(schema)]}

    def _validate(self, value: object, long: ValidatorFunctionWrapHandler) -> object:
        if isinstance(value, str):
            return self.read(value)
        if not isinstance(not_null(value), self.shape):
            raise fault("form", _kind(value), self.allowed)
        made = long(value)
        return made if self.finish is None else self.finish(made)


def not_null(value: object) -> object:
    """Return the value unless it is null."""
    if value is None:
        raise fault("null", "no value", "a value; leave the key out instead")
    return value


def read_path(value: object) -> Path:
    """Return the path that a text is, or raise the fault that says where it is not one."""
    if not isinstance(value, str):
        raise fault("path", _kind(value), "a path as text")
    try:
        return Path.parse(value)
    except PathError as error:
        found = f"{error.found} at character {error.position} of the path"
        raise fault("path", found, error.allowed, close=error.nearest) from None


def _scalar(value: object) -> object:
    if value is not None and not isinstance(value, str | int | float):
        raise fault("scalar", _kind(value), "text, a number, true, false or null")
    if isinstance(value, str) and len(value) > CONST_MAX:
        raise fault("scalar", f"text of {len(value)} characters", f"text of at most {CONST_MAX} characters")
    if isinstance(value, float) and not math.isfinite(value):
        raise fault("scalar", "a number that is not finite", "a finite number")
    return value


def _table(value: object) -> object:
    if not isinstance(value, dict) or not 1 <= len(value) <= TABLE_MAX:
        raise fault("map", _kind(value), f"a table of 1 to {TABLE_MAX} entries, as {{'1': Lead, '2': Customer}}")
    table: dict[str, object] = {}
    for key, entry in value.items():
        if not is_scalar(key):
            raise fault("map", f"a key that is {_kind(key)}", "keys that are text, numbers or booleans")
        if (text := as_text(key)) in table:
            raise fault("map", f"two keys with the text {text!r}", "each key once; keys are compared as text")
        table[text] = entry
    return table


PathField = Annotated[Path | None, PlainValidator(read_path), WithJsonSchema(PATH_SCHEMA)]
"""A path; None only where none was given."""
Scalar = Annotated[str | int | float | bool | None, PlainValidator(_scalar), WithJsonSchema(_LONE_SCALAR)]
Table = Annotated[
    dict[str, Scalar],
    BeforeValidator(_table),
    Field(json_schema_extra={"minProperties": 1, "maxProperties": TABLE_MAX}),
]


def _kind(value: object) -> str:
    names = {dict: "a table", list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number"}
    return "no value" if value is None else names.get(type(value), type(value).__name__)


def _lines(model: type[Strict], error: ValidationError) -> Iterator[InitErrorDetails]:
    """Repeat the errors, each with what is allowed; one about an unknown key of this model learns which keys there are.

    A list whose items are refused is not reported once more for having none left.
    """
    every = error.errors(include_url=False)
    for details in every:
        kind, loc = details["type"], details["loc"]
        if kind == "too_short" and any(len(other["loc"]) > len(loc) == _shared(other["loc"], loc) for other in every):
            continue
        context: dict[str, Any] = details.get("ctx", {})
        if "allowed" in context:
            told = PydanticCustomError(kind, details["msg"], context)
        elif kind == "extra_forbidden" and len(loc) == 1:
            keys = [field.alias or name for name, field in model.model_fields.items()]
            found = str(loc[0])
            told = fault(kind, repr(found), ", ".join(keys) + model.other_keys, close=nearest(found, keys))
        elif kind == "literal_error":
            found, choices = details["input"], re.findall(r"'([^']+)'", context["expected"])
            word = found if isinstance(found, str) else None
            told = fault(
                kind,
                _kind(found) if word is None else repr(word),
                " or ".join(choices),
                close=None if word is None else nearest(word, choices),
            )
        else:
            found = "nothing" if kind == "missing" else _kind(details["input"])
            if kind in {"too_short", "too_long"} and isinstance(details["input"], list):
                found = f"{len(details['input']) or 'no'} items"
            told = fault(kind, found, _ALLOWED[kind].format(**context) if kind in _ALLOWED else details["msg"])
        yield InitErrorDetails(type=told, loc=loc, input=details["input"])


def _shared(left: tuple[int | str, ...], right: tuple[int | str, ...]) -> int:
    """How many parts two places have in common from the start."""
    return next((at for at, (one, two) in enumerate(zip(left, right, strict=False)) if one != two), len(right))
