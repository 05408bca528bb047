"""Times as operators write them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import typer

_AGO: Final = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def instant(text: str | None, *, option: str) -> datetime | None:
    """Read an ISO 8601 time, UTC where it says no zone; None for none. Anything else is wrong usage."""
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("not an ISO 8601 time", param_hint=option) from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def since(text: str | None, *, option: str, now: datetime) -> datetime | None:
    """Read a time, or how long ago it was: ``36h``, ``30d``."""
    ago = None if text is None else _AGO.fullmatch(text)
    if ago is None:
        return instant(text, option=option)
    try:
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    except OverflowError:
        raise typer.BadParameter("longer ago than there are dates", param_hint=option) from None
