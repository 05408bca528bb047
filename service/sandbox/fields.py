"""A contact's fields: their names, in the recorded order, and what a request body may set them to; pure.

https://dev.chartmogul.com/reference/contacts/update
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from service.sandbox.answers import BAD_EMAIL, Answer, Refused, error, error_text, nothing
from service.sandbox.documents import Json
from service.sandbox.settings import Switches

IDENTITY: Final = ("uuid", "customer_uuid", "customer_external_id", "data_source_uuid")
TEXTS: Final = ("first_name", "last_name", "title", "email", "phone", "linked_in", "twitter", "notes")
ALL: Final = (*IDENTITY, "position", *TEXTS, "external_id", "last_seen", "custom")
CUSTOM_TEXT_MAX: Final = 255

_TEXTS: Final = frozenset(TEXTS)
_IDENTITY: Final = frozenset(IDENTITY)
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_SCHEMA_FAULT: Final = "The value provided for custom does not match the schema: expected an array"


@dataclass(slots=True)
class Wanted:
    """What a request body sets: standard fields, and custom values by attribute (None: ``custom`` was not sent)."""

    values: dict[str, Json] = field(default_factory=dict)
    custom: dict[str, Json] | None = None


def wanted(body: Mapping[str, Json], switches: Switches, kinds: Mapping[str, type | None]) -> Wanted:
    """What the body sets, of what ChartMogul knows: an undefined custom attribute is dropped without a word.

    ``kinds`` holds the defined attributes. Raises Refused where a value, or by the switches a key, is refused.
    """
    found = Wanted()
    for name, value in body.items():
        if name in _TEXTS:
            _set_text(found, name, value, switches)
        elif name == "custom":
            found.custom = _custom(value, switches, kinds)
        elif name == "position":
            found.values[name] = _position(value)
        elif name == "external_id":
            if value is None:
                found.values[name] = None
            else:
                _set_text(found, name, value, switches)
        elif name == "last_seen":
            _set_text(found, name, value, switches)
            if isinstance(value, str) and value:
                found.values[name] = _instant(value)
        elif name not in _IDENTITY and switches.unknown_keys != "ignored":
            raise Refused(error(switches.unknown_keys, f'Parameter "{name}" is unknown', name))
    return found


def kind_of(value: Json) -> type | None:
    """The kind of attribute that holds such a value: text, number or boolean; None for what no attribute holds."""
    match value:
        case bool():
            return bool
        case int() | float():
            return float
        case str():
            return str if len(value) <= CUSTOM_TEXT_MAX else None
        case _:
            return None


def kinds_of(attributes: Iterable[str], held: Iterable[Mapping[str, Json]]) -> dict[str, type | None]:
    """The defined attributes with the kind of the first value that a contact holds; None where none does."""
    kinds: dict[str, type | None] = dict.fromkeys(attributes)
    for custom in held:
        for name, value in custom.items():
            kinds[name] = kinds.get(name) or kind_of(value)
    return kinds


def is_blank(value: Json) -> bool:
    """Null and the empty text both mean that nothing is there."""
    return value is None or value == ""


def as_custom(document: Json) -> dict[str, Json]:
    """The contact's ``custom``, which is always an object."""
    return document if isinstance(document, dict) else {}


def _set_text(found: Wanted, name: str, value: Json, switches: Switches) -> None:
    if value is None or value == "":
        policy = switches.null_values if value is None else switches.blank_values
        if policy == "refused":
            raise Refused(error(422, f'Parameter "{name}" cannot be blank', name))
        if policy == "accepted":
            found.values[name] = value
    elif not isinstance(value, str):
        raise Refused(error(422, f'Parameter "{name}" must be a string', name))
    elif name == "email" and switches.email_check and not _EMAIL.fullmatch(value):
        raise Refused(error(422, BAD_EMAIL, name))
    else:
        found.values[name] = value


def _position(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refused(error(422, 'Parameter "position" must be an integer', "position"))
    return value


def _instant(text: str) -> str:
    """The instant as ChartMogul writes timestamps: ISO 8601 with milliseconds and ``Z``; without offset it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused(error(422, 'Parameter "last_seen" must be a timestamp', "last_seen")) from None
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _custom(value: Json, switches: Switches, kinds: Mapping[str, type | None]) -> dict[str, Json]:
    if not isinstance(value, list):
        raise Refused(_no_array(switches))
    kept: dict[str, Json] = {}
    for item in value:
        match item:
            case {"key": str() as name, "value": held} if isinstance(item, dict) and len(item) == 2:  # noqa: PLR2004  # key and value, no more
                kind = kind_of(held)
                if name not in kinds:
                    continue
                if kind is not None and kinds[name] in (None, kind):
                    kept[name] = held
                elif switches.custom_wrong_type != "dropped":
                    raise Refused(error(422, f'The value of custom attribute "{name}" has the wrong type', "custom"))
            case _:
                raise Refused(error(422, 'Each item of custom must have exactly "key" and "value"', "custom"))
    return kept


def _no_array(switches: Switches) -> Answer:
    match switches.custom_as_object:
        case "500_empty":
            return nothing(500)
        case "500_error":
            return error_text(500, _SCHEMA_FAULT)
        case 422:  # pragma: no branch  # mypy proves that no case is left
            return error(422, _SCHEMA_FAULT, "custom")
