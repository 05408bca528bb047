"""What instants look like: every notation that CRMs use, read into aware UTC, and the one notation that is written."""

import math
import re
from datetime import UTC, datetime, tzinfo
from typing import Final

from service.model import Json, from_micros, to_micros

EPOCH_MAX: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""Epoch numbers stand for instants from 1970 to here; it is also what tells seconds from milliseconds."""
TEXT_MAX: Final = 64
"""Characters of an instant as text."""

_MICROS_MAX: Final = to_micros(EPOCH_MAX)
_MICROS_PER_UNIT: Final = (1_000_000, 1_000, 1)
_NUMBER: Final = re.compile(r"([0-9]+)(?:\.([0-9]+))?")
_BASIC: Final = re.compile(
    r"((?:19[7-9]|20[0-9]|21[0-9])[0-9](?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]))"
    r"((?:[01][0-9]|2[0-3])[0-5][0-9][0-5][0-9])?"
)
_DATE_CALL: Final = re.compile(r"/Date\(([0-9]{1,17})(?:[+-][0-9]{4})?\)/")


def parse_instant(value: Json, *, zone: tzinfo = UTC) -> datetime:
    """Read an instant as aware UTC, or raise ValueError, which never shows the value.

    ISO 8601 with any offset or ``Z``, date and time or date alone; without an offset it is local time of ``zone``.
    Epoch numbers, also as text, in seconds, milliseconds or microseconds: the largest unit that stays before 2200
    (milliseconds of the first 84 days of 1970 therefore read as seconds). Text of eight digits that is a calendar date
    is one, and so is text of fourteen that is a date and time. ``/Date(ms)/`` and ``/Date(ms±hhmm)/``, whose offset is
    for display only:
    https://learn.microsoft.com/dotnet/standard/datetime/system-text-json-support
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("not an instant: text or a number is needed")  # noqa: TRY004 - a wrong value from outside
    if isinstance(value, str):
        return _from_text(value.strip(), zone)
    if isinstance(value, int):
        return _from_epoch(value)
    if not math.isfinite(value) or not 0 <= value <= _MICROS_MAX:
        raise ValueError("not an instant: an epoch number out of 1970 to 2200")
    whole = int(value)
    return _from_epoch(whole, fraction=round((value - whole) * 1_000_000))


def isoformat_z(instant: datetime) -> str:
    """Write an aware instant in UTC with milliseconds and ``Z``, as ChartMogul does; ValueError if it is naive."""
    if instant.tzinfo is None:
        raise ValueError("a naive datetime names no instant")
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _from_text(text: str, zone: tzinfo) -> datetime:
    if len(text) > TEXT_MAX:
        raise ValueError(f"not an instant: text longer than {TEXT_MAX} characters")
    if text[4:5] != "-":  # the usual form, 2026-03-01…, is none of these
        if basic := _BASIC.fullmatch(text):
            text = f"{basic.group(1)}T{basic.group(2) or '000000'}"
        elif number := _NUMBER.fullmatch(text):
            fraction = (number.group(2) or "")[:6].ljust(6, "0")
            return _from_epoch(int(number.group(1)), fraction=int(fraction))
        elif date_call := _DATE_CALL.fullmatch(text):
            return _from_micros(int(date_call.group(1)) * 1_000)
    try:
        instant = datetime.fromisoformat(text[:-1] + "Z" if text.endswith("z") else text)
        return (instant if instant.tzinfo else instant.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("not an instant: text that is neither ISO 8601 nor an epoch number") from None


def _from_epoch(number: int, *, fraction: int = 0) -> datetime:
    """Read whole units and millionths of one, in the largest unit that stays before 2200."""
    for unit in _MICROS_PER_UNIT:
        micros = number * unit + fraction * unit // 1_000_000
        if micros <= _MICROS_MAX:
            return _from_micros(micros)
    return _from_micros(number)


def _from_micros(micros: int) -> datetime:
    if not 0 <= micros <= _MICROS_MAX:
        raise ValueError("not an instant: an epoch number out of 1970 to 2200")
    return from_micros(micros)
