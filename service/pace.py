"""How fast an account is called: the share of its rate that is left to it after ChartMogul said slow down; pure.

A 429 or 503 halves the share, once for all the calls that were under way together; time gives it back.
"""

from datetime import datetime, timedelta
from typing import Final

SHARE_MIN: Final = 1 / 16
"""However often ChartMogul says slow down, so much of the rate is still tried."""
RECOVERS_IN: Final = timedelta(seconds=60)
"""From nothing to the whole rate."""


def share_at(share: float, since: datetime | None, now: datetime) -> float:
    """Return what has become by ``now`` of a share that was left at ``since``; 1 is the whole rate."""
    return 1.0 if since is None else min(1.0, share + max(0.0, (now - since) / RECOVERS_IN))


def share_after_cut(share: float, since: datetime | None, *, called_at: datetime, now: datetime) -> float | None:
    """Return the share that an answer leaves which said slow down; None if its call was made before the last cut.

    Of sixteen calls under way all may be refused for the same excess: that is one reason to be slower, not sixteen.
    """
    if since is not None and called_at <= since:
        return None
    return max(SHARE_MIN, share_at(share, since, now) / 2)
