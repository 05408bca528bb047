"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta
from typing import Final

START: Final = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


class Clock:
    """Call it for the time; ``advance`` it by seconds."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Tell the time."""
        return self.now

    def advance(self, seconds: float) -> datetime:
        """Let time pass, and return what it is then."""
        self.now += timedelta(seconds=seconds)
        return self.now

    def after(self, seconds: float) -> datetime:
        """Return the instant so many seconds from now, which may be past."""
        return self.now + timedelta(seconds=seconds)
