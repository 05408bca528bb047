"""What one check found."""

from dataclasses import dataclass
from typing import Literal

from service.model import Outcome

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: of what, how it stands, what was seen, and what to do. No secret, no contact value."""

    check: str
    about: str
    """The source or account, blank where the check is about neither."""
    status: Status
    seen: str
    hint: str = ""


def in_words(outcome: Outcome) -> str:
    """Say what came back of a call: its kind, its status, and what the other side said."""
    status = "" if outcome.status is None else f" ({outcome.status})"
    said = f": {outcome.detail}" if outcome.detail else ""
    return outcome.kind.value.replace("_", " ") + status + said
