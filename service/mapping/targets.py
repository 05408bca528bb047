"""What each ChartMogul field takes: the last check of a rule, by the target's type.

Types of custom attributes: https://dev.chartmogul.com/reference/custom-attributes
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from service.mapping.values import SURELY_WITHIN, MappingError, not_scalar, scalar_text, type_name, within_limit
from service.model import Json
from service.paths import is_scalar
from service.times import isoformat_z, parse_instant

CUSTOM_TEXT_MAX: Final = 255
"""Characters of a custom attribute of type String."""
INTEGER_MAX: Final = 2**63 - 1
"""Whole numbers that every JSON reader on the way keeps exactly."""
CUSTOM_PREFIX: Final = "custom."

Fit = Callable[[Json], Json]
"""Return the value as the target takes it, or raise MappingError."""


def text(value: Json) -> Json:
    """Text of at most 64 KiB; numbers and booleans become text."""
    if isinstance(value, str):
        return value if len(value) <= SURELY_WITHIN else within_limit(value)
    return scalar_text(_number_in_range(value))


def position(value: Json) -> Json:
    """A whole number, the contact's rank on the customer's profile."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise MappingError(f"found {type_name(value)}, not a whole number; use to_int")
    return _number_in_range(value)


def instant(value: Json) -> Json:
    """A date and time as text, written in UTC."""
    if not isinstance(value, str):
        raise MappingError(f"found {type_name(value)}, not a date and time as text; use to_datetime")
    try:
        return isoformat_z(parse_instant(value))
    except ValueError:
        raise MappingError("found text that is not a date and time; use to_datetime") from None


def custom(value: Json) -> Json:
    """Text of at most 255 characters, a number or a boolean."""
    if isinstance(value, str):
        if len(value) > CUSTOM_TEXT_MAX:
            raise MappingError(f"found text longer than {CUSTOM_TEXT_MAX} characters; use truncate")
        return value
    if not is_scalar(value):
        raise not_scalar(value)
    return _number_in_range(value)


def _number_in_range(value: Json) -> Json:
    if isinstance(value, int) and not -INTEGER_MAX <= value <= INTEGER_MAX:
        raise MappingError("found a whole number of more than 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise MappingError("found a number that is not finite")
    return value


STANDARD: Final[Mapping[str, Fit]] = MappingProxyType(
    {
        "first_name": text,
        "last_name": text,
        "title": text,
        "email": text,
        "phone": text,
        "linked_in": text,
        "twitter": text,
        "notes": text,
        "position": position,
        "external_id": text,
        "last_seen": instant,
    }
)
"""The fields of a contact that a PATCH may carry, custom attributes aside."""


def fit_for(target: str) -> Fit:
    """The check of a target as ``Mapped.fields`` names it."""
    return custom if target.startswith(CUSTOM_PREFIX) else STANDARD[target]
