"""The clocks that the sandbox lives by, given to it so that a test can hold them still."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """``monotonic`` measures (seconds), ``wall_ns`` dates (nanoseconds since 1970), ``sleep`` waits (seconds)."""

    monotonic: Callable[[], float] = time.monotonic
    wall_ns: Callable[[], int] = time.time_ns
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


def as_iso(wall_ns: int) -> str:
    """The instant in the form of a recorded cursor: nine decimals and ``Z``."""
    seconds, nanoseconds = divmod(wall_ns, 1_000_000_000)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


def from_iso(text: str) -> int:
    """The nanoseconds that ``as_iso`` wrote. Raises ValueError for anything else."""
    seconds, point, fraction = text.removesuffix("Z").partition(".")
    if not point or len(fraction) != len("000000000") or not fraction.isascii() or not fraction.isdigit():
        raise ValueError("not an instant with nine decimals")
    whole = datetime.strptime(seconds, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return (whole - _EPOCH) // timedelta(seconds=1) * 1_000_000_000 + int(fraction)
