"""What one configuration makes of one change: whether it is sent, with which fields, and why not."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import orjson

from service.admission import UNWANTED
from service.mapping import Mapping, MappingSpec, Rules
from service.mapping.targets import CUSTOM_PREFIX
from service.model import Action, Change, Json, Trace
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


SAID: Final = frozenset({"set", "clear"})
"""Results of a field that are sent."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was made of a change: its fate with the reason for it, and how each field came to be, target by target."""

    fate: Fate
    reason: str
    traces: tuple[Trace, ...] = ()


class Sides:
    """The rules of two configurations for one source, so that what both share is worked out once.

    ``alike`` says that they are the same as a whole.
    """

    def __init__(self, old: Rules, new: Rules) -> None:
        self.old = old
        self.new = new
        self.alike = _text(old.document) == _text(new.document)
        rules = {target: _text(rule) for target, rule in _written(old)}
        self._shared = frozenset(target for target, rule in _written(new) if rules.get(target) == _text(rule))
        self._rest = _without(new, self._shared)

    def make(self, before: Change, after: Change) -> tuple[Made, Made]:
        """Map a change as either configuration would have it. Total, as the rules are."""
        made = make(self.old, before)
        known = made.traces if before.values is after.values and after.action is not Action.DELETED else ()
        if not known or _fate_unmapped(self.new, after) is not None:
            return made, make(self.new, after)
        traces = () if self._rest is None else self._rest.apply(after).traces
        return made, _mapped((*(trace for trace in known if trace.target in self._shared), *traces))


def make(rules: Rules, change: Change) -> Made:
    """Map a change by itself. Total, as the rules are."""
    if (unmapped := _fate_unmapped(rules, change)) is not None:
        return unmapped
    mapping = rules.mapping_of(change)
    return _mapped(() if mapping is None else mapping.apply(change).traces)


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


def _fate_unmapped(rules: Rules, change: Change) -> Made | None:
    """Say what becomes of a change that is not mapped, None for one that is."""
    if (why := _why_ignored(rules, change)) is not None:
        return Made(Fate.IGNORED, why)
    if rules.leaves_out(change):
        return Made(Fate.FILTERED, FILTERED)
    return None


def _mapped(traces: tuple[Trace, ...]) -> Made:
    results = {trace.result for trace in traces}
    if "fail" in results:
        return Made(Fate.FAILED, FAILED, traces)
    return Made(Fate.SENT, "", traces) if results & SAID else Made(Fate.NOTHING, NO_FIELD, traces)


def _without(rules: Rules, targets: frozenset[str]) -> Mapping | None:
    """Return the mapping but for these targets, None where nothing is left of it."""
    rest: dict[str, Any] = {}
    for target, rule in _written(rules):
        if target not in targets:
            name = target.removeprefix(CUSTOM_PREFIX)
            place = rest if name == target else rest.setdefault("custom", {})
            place[name] = rule
    return Mapping(MappingSpec.model_validate(rest)) if rest else None


def _written(rules: Rules) -> Iterator[tuple[str, Json]]:
    """Yield each target with its rule as it was written."""
    mapping: Any = rules.document["mapping"]
    for target in rules.mapping.targets:
        name = target.removeprefix(CUSTOM_PREFIX)
        yield target, mapping[name] if name == target else mapping["custom"][name]


def _text(written: object) -> bytes:
    """Return what is the same for the same rules only: to Python ``1`` equals ``true``."""
    return orjson.dumps(written, option=orjson.OPT_SORT_KEYS)


def _why_ignored(rules: Rules, change: Change) -> str | None:
    if change.ignored is not None:
        return change.ignored
    if change.action is Action.PRIVACY_DELETED:
        return ERASED
    if change.action is not Action.DELETED:
        return None
    return MERGED if change.merged_into is not None else DELETED if rules.deleted is None else None
