"""Telephone numbers in the form of E.164, by the data of libphonenumber."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from service.mapping.forms import fault
from service.mapping.values import MappingError, scalar_text, type_name
from service.model import Json

PHONE_MAX: Final = 64
"""Characters of a telephone number as people write it."""

_INTERNATIONAL: Final = re.compile(r"\+[1-9](?:[ ().-]{0,2}[0-9]){6,14}")
_BETWEEN: Final = str.maketrans("", "", "+ ().-")
_CODE_MAX: Final = 3
"""Digits of a country's calling code."""


@dataclass(frozen=True, slots=True)
class _Country:
    """What is known of the numbers behind a calling code."""

    lengths: frozenset[int]
    prefix: re.Pattern[str] | None
    """What may stand before a number within the country, and then is no part of it."""


def _region(code: str) -> str:
    if code in (regions := _regions()):
        return code
    close = code.upper() if code.upper() in regions else None
    raise fault("region", repr(code), "a two-letter country code in capitals, such as US, GB or DE", close=close)


Region = Annotated[
    str,
    Field(max_length=8, examples=["US", "GB", "DE"], json_schema_extra={"pattern": "^[A-Z]{2}$"}),
    AfterValidator(_region),
]


def e164(region: str | None) -> Callable[[Json], Json]:
    """A telephone number as +12125552368, without extension; a number without + is read as one of the region given."""
    import phonenumbers  # noqa: PLC0415 - takes longer to import than the rest of the program; most never need it

    def number(value: Json) -> Json:
        text = scalar_text(value)
        if len(text) > PHONE_MAX:
            raise MappingError(f"found text longer than {PHONE_MAX} characters, not a telephone number")
        if plain := _plain(text):
            return plain
        try:
            parsed = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            hint = "" if region else "; name the region of numbers without +"
            raise MappingError(f"found {type_name(value)} that is not a telephone number{hint}") from None
        if not phonenumbers.is_possible_number(parsed):
            raise MappingError(f"found {type_name(value)} that no telephone number of its country can be")
        return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))

    return number


def _plain(text: str) -> str | None:
    """Return a number that is in international form already, None where there is any doubt that it is.

    The library makes the same of it in ten times the time, since it looks for extensions, letters and other scripts.
    """
    if _INTERNATIONAL.fullmatch(text) is None:
        return None
    digits = text.translate(_BETWEEN)
    for size in range(1, _CODE_MAX + 1):
        if country := _country(digits[:size]):
            rest = digits[size:]
            doubtful = rest.startswith("0") or (country.prefix is not None and country.prefix.match(rest))
            return f"+{digits}" if len(rest) in country.lengths and not doubtful else None
    return None


@cache
def _country(code: str) -> _Country | None:
    """What is known behind a calling code of at most three digits; None if it is none."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata  # noqa: PLC0415 - as in e164

    regions = COUNTRY_CODE_TO_REGION_CODE.get(int(code))
    if regions is None:
        return None
    known: Any = PhoneMetadata.metadata_for_region_or_calling_code(int(code), regions[0])
    prefix = known.national_prefix_for_parsing
    return _Country(frozenset(known.general_desc.possible_length), re.compile(prefix) if prefix else None)


@cache
def _regions() -> frozenset[str]:
    from phonenumbers import SUPPORTED_REGIONS  # noqa: PLC0415 - as in e164

    return frozenset(SUPPORTED_REGIONS)
