"""Whether our clock is right: signed webhooks are refused when it is off."""

from datetime import datetime, timedelta
from typing import Final

from service.operations.doctor.finding import Finding, Status

OFF_WARNS: Final = timedelta(seconds=30)
OFF_FAILS: Final = timedelta(seconds=240)
"""Signed webhooks are refused at 300 s, and some take a while to arrive."""


def compared(whose: str, theirs: datetime, *, ours: datetime) -> Finding:
    """Compare our clock with another."""
    off = ours - theirs
    status: Status = "fail" if abs(off) > OFF_FAILS else "warn" if abs(off) > OFF_WARNS else "ok"
    where = "ahead of" if off > timedelta(0) else "behind"
    seen = f"our clock is {abs(off).total_seconds():.0f} s {where} {whose}"
    return Finding("clock", "", status, seen, "" if status == "ok" else "let NTP set this machine's clock")
