"""The transforms that know a format of the world: dates, web addresses, HTML."""

import re
import zoneinfo
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from service.mapping.forms import fault
from service.mapping.markup import plain_text
from service.mapping.values import MappingError, scalar_text, type_name
from service.model import Json
from service.paths import nearest
from service.times import isoformat_z, parse_instant

URL_MAX: Final = 2048
"""Characters of a web address."""
HTML_MAX: Final = 256 * 1024
"""Characters of HTML; a change itself is at most 256 KiB."""

_SCHEME: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):(?!\d)")
_UNSAFE: Final = re.compile(r"[\s\x00-\x20\x7f\\<>\"]")
_ADDRESS: Final = re.compile(
    r"(?:(?P<scheme>https?)://|(?://)?)(?P<host>(?:[\w-]{1,63}\.)+[^\W\d][\w-]{1,62})(?P<rest>(?::[0-9]{1,5})?(?:[/?#][^\s\x00-\x20\x7f\\<>\"]*)?)",
    re.IGNORECASE,
)


def _zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        close = nearest(name, zoneinfo.available_timezones())
        allowed = "a time zone of the IANA database, such as Europe/Berlin"
        raise fault("zone", repr(name), allowed, close=close) from None
    return name


Zone = Annotated[str, Field(max_length=64, examples=["Europe/Berlin", "America/New_York"]), AfterValidator(_zone)]


def to_date(zone: str | None) -> Callable[[Json], Json]:
    """The calendar date of an instant, as 2026-03-01, in the time zone given or else in UTC."""
    clock = _clock(zone)

    def date(value: Json) -> Json:
        return _instant(value, clock).date().isoformat()

    return date


def to_datetime(zone: str | None) -> Callable[[Json], Json]:
    """An instant in UTC, as 2026-03-01T09:30:00.000Z; one without an offset is local time of the zone given, or UTC."""
    clock = _clock(zone)

    def instant(value: Json) -> Json:
        return isoformat_z(_instant(value, clock))

    return instant


def strip_html(_: None) -> Callable[[Json], Json]:
    """HTML as plain text: tags, scripts and styles gone, entities resolved, blocks as lines, spaces tidied."""

    def strip(value: Json) -> Json:
        text = scalar_text(value)
        if len(text) > HTML_MAX:
            raise MappingError(f"found text longer than {HTML_MAX} characters; truncate it before")
        return plain_text(text)

    return strip


def url(_: None) -> Callable[[Json], Json]:
    """A web address with https:// where it has no scheme; any scheme but http and https is refused."""

    def normalise(value: Json) -> Json:
        text = scalar_text(value).strip()
        if len(text) > URL_MAX or (address := _ADDRESS.fullmatch(text)) is None:
            raise _no_address(text)
        scheme, host, rest = address["scheme"] or "https", address["host"].lower(), address["rest"]
        return f"{scheme.lower()}://{host}{rest}"

    return normalise


def _clock(zone: str | None) -> tzinfo:
    return UTC if zone is None else zoneinfo.ZoneInfo(zone)


def _instant(value: Json, clock: tzinfo) -> datetime:
    """The instant as the clock of the zone shows it."""
    try:
        instant = parse_instant(value, zone=clock)
        return instant if clock is UTC else instant.astimezone(clock)
    except (ValueError, OverflowError):
        raise MappingError(f"found {type_name(value)} that is not a date, a time or an epoch number") from None


def _no_address(text: str) -> MappingError:
    if len(text) > URL_MAX or _UNSAFE.search(text):
        return MappingError(f"found text with spaces or longer than {URL_MAX} characters, not a web address")
    other = (named := _SCHEME.match(text)) and named.group(1).lower() not in {"http", "https"}
    return MappingError("found an address that is not http or https" if other else "found text without a web host")
