"""What one configuration makes of one change: whether it is sent, with which fields, and why not."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from service.admission import UNWANTED
from service.mapping import Rules
from service.model import Action, Change, Trace
from service.paths import heads
from service.sources.base import IGNORED
from service.translate import FILTERED, NO_FIELD

ERASED: Final = "a privacy deletion erases"
MERGED: Final = "merged into another record in the CRM"
DELETED: Final = "deleted in the CRM"
FAILED: Final = "cannot be mapped"
UNREAD: Final = "the candidate reads no such change in the request"


class Fate(StrEnum):
    """What becomes of a change, as far as its own configuration decides it."""

    SENT = "sent"
    NOTHING = "nothing to send"
    FAILED = "fails"
    FILTERED = "filtered"
    IGNORED = "ignored"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Made:
    """What was made of a change: its fate with the reason for it, and how each field came to be, target by target."""

    fate: Fate
    reason: str
    traces: tuple[Trace, ...] = ()


def make(rules: Rules, change: Change) -> Made:
    """Map a change by itself. Total, as the rules are."""
    gone = change.action is Action.DELETED
    if (why := _why_ignored(rules, change)) is not None:
        return Made(Fate.IGNORED, why)
    if not gone and rules.when is not None and not rules.when.holds(change):
        return Made(Fate.FILTERED, FILTERED)
    mapping = rules.deleted if gone and rules.deleted is not None else rules.mapping
    mapped = mapping.apply(change)
    if mapped.faults:
        return Made(Fate.FAILED, FAILED, mapped.traces)
    return Made(Fate.SENT, "", mapped.traces) if mapped.fields else Made(Fate.NOTHING, NO_FIELD, mapped.traces)


def as_parsed(change: Change, ignored: str | None) -> Change:
    """Return a logged change as its source parsed it, before the configuration of then let it in or not.

    What a source calls ignored by itself is logged so, but where the configuration had something to say of deletions.
    """
    if ignored is not None and not ignored.endswith(UNWANTED):
        return replace(change, ignored=ignored)
    return replace(change, ignored=IGNORED[Action.DELETED]) if change.action is Action.DELETED else change


def reads_back(rules: Rules, change: Change) -> bool:
    """Say whether the record would be read, where its CRM can be asked: the change leaves out what the rules need."""
    return change.action is not Action.DELETED and rules.lacks(change)


def unread(rules: Rules, change: Change) -> frozenset[str]:
    """Return the targets that depend on what a thin change does not say: every one where its filter does."""
    said = change.values.keys()
    if rules.when is not None and not heads(rules.when.paths) <= said:
        return frozenset(rules.mapping.targets)
    return frozenset(rules.mapping.fed_by(rules.mapping.needs - said))


def _why_ignored(rules: Rules, change: Change) -> str | None:
    if change.ignored is not None:
        return change.ignored
    if change.action is Action.PRIVACY_DELETED:
        return ERASED
    if change.action is not Action.DELETED:
        return None
    return MERGED if change.merged_into is not None else DELETED if rules.deleted is None else None
