"""What the rules rely on and no longer get: a path that is gone, another type, a value without entry, a skipped error.

Pure: the traces and records of the events that were mapped are looked at, and what follows is kept in memory until the
store has it. Where only a part of a record comes, what is not in it proves nothing.
"""

from service.drift.lookout import DRIFTS_MAX, FORGOTTEN_AFTER, Lookout
from service.drift.reliance import PATHS_MAX, Basis
from service.drift.steadiness import BACK_AFTER, GONE_AFTER, GONE_AFTER_LEFT_OUT, STEADY
from service.drift.words import cause_of, hint_of, status_of

__all__ = [
    "BACK_AFTER",
    "DRIFTS_MAX",
    "FORGOTTEN_AFTER",
    "GONE_AFTER",
    "GONE_AFTER_LEFT_OUT",
    "PATHS_MAX",
    "STEADY",
    "Basis",
    "Lookout",
    "cause_of",
    "hint_of",
    "status_of",
]
