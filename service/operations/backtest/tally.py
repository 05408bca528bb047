"""What differs between what two configurations make of changes, counted field by field, with a few examples of each."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from service.model import Json, Trace
from service.operations.backtest.sides import SAID, Fate, Made
from service.operations.trace import trace_line
from service.store.history import Logged

REASONS_MAX: Final = 20
"""Different reasons that are counted apart; further ones are counted together."""
OTHER_REASONS: Final = "other reasons"
NO_RULE: Final = "it has no rule any more"


class Difference(StrEnum):
    """How the candidate treats a field of a change otherwise."""

    DIFFERENT = "sent differently"
    SET = "newly set"
    CLEARED = "newly cleared"
    LEFT_OUT = "newly left out"
    FAILS = "newly fails"
    MENDED = "no longer fails"


@dataclass(frozen=True, slots=True)
class Example:
    """One change that the candidate treats otherwise; ``trace`` is how the new value came to be, as ``inspect`` shows.

    ``old`` and ``new`` are None where nothing is sent, or where the field is cleared.
    """

    event: int
    object_id: str
    received_at: datetime
    old: Json = field(repr=False)
    new: Json = field(repr=False)
    rule: str
    reason: str | None
    trace: dict[str, Any] | None = field(repr=False)


@dataclass(slots=True)
class Tally:
    """How often something differs, for which reasons, and a few examples of it."""

    count: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)

    def add(self, reason: str | None) -> None:
        """Count once more."""
        self.count += 1
        if reason is not None:
            known = reason if reason in self.reasons or len(self.reasons) < REASONS_MAX else OTHER_REASONS
            self.reasons[known] = self.reasons.get(known, 0) + 1


@dataclass(slots=True)
class FieldTally:
    """One field of a source: how many changes both send alike, leave out, or fail on, and what differs.

    ``unjudged`` counts changes for which its value is in the record that would be read back.
    """

    same: int = 0
    left_out: int = 0
    failing: int = 0
    unjudged: int = 0
    differences: dict[Difference, Tally] = field(default_factory=dict)


@dataclass(slots=True)
class FateTally:
    """Changes whose fate differs in one way."""

    before: Fate
    after: Fate
    tally: Tally = field(default_factory=Tally)


@dataclass(slots=True)
class SourceTally:
    """One source: its changes, how many of them differ, and in what.

    ``present`` and ``candidate`` say whether it is in the one configuration and in the other. ``same_rules`` counts
    changes that were not mapped, because both have the same rules for them; ``aged_out`` those whose payload is gone,
    ``request_gone`` those that would have to be parsed again, ``unstamped`` those whose rules of then are not known,
    ``would_read`` those whose record would be read back.
    """

    present: bool = True
    candidate: bool = True
    new_fields: tuple[str, ...] = ()
    gone_fields: tuple[str, ...] = ()
    parsed_again: bool = False
    events: int = 0
    differ: int = 0
    same_rules: int = 0
    aged_out: int = 0
    request_gone: int = 0
    unstamped: int = 0
    would_read: int = 0
    fates: dict[tuple[Fate, Fate], FateTally] = field(default_factory=dict)
    fields: dict[str, FieldTally] = field(default_factory=dict)

    @property
    def differs(self) -> bool:
        """Say whether the candidate does anything otherwise."""
        moved = self.present != self.candidate
        return moved or bool(self.differ or self.new_fields or self.gone_fields)


@dataclass(slots=True)
class Report:
    """What a backtest found, source by source."""

    events: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    sources: dict[str, SourceTally] = field(default_factory=dict)

    @property
    def differs(self) -> bool:
        """Say whether the candidate does anything otherwise."""
        return any(tally.differs for tally in self.sources.values())

    @property
    def differ(self) -> int:
        """Count the changes that the candidate treats otherwise."""
        return sum(tally.differ for tally in self.sources.values())


class Comparison:
    """Holds what two configurations make of one change against each other, and counts.

    ``examples`` bounds those of each difference; ``show`` makes values fit to be seen in them.
    """

    def __init__(self, *, examples: int, show: Callable[[Json], Json]) -> None:
        self._examples = examples
        self._show = show

    def compare(
        self, tally: SourceTally, logged: Logged, before: Made, after: Made, *, unread: frozenset[str] | None
    ) -> None:
        """Count where the two differ.

        ``unread`` fields are in a record that would be read back, and not judged; nor is the change's fate then. None
        is for a change that says all by itself.
        """
        differs = False
        if unread is None and before.fate is not after.fate:
            self._fate(tally, logged, before, after)
            differs = True
        if before.traces and after.traces:
            differs |= self._fields(tally, logged, before, after, unread or frozenset())
        tally.differ += differs

    def _fate(self, tally: SourceTally, logged: Logged, before: Made, after: Made) -> None:
        key = (before.fate, after.fate)
        entry = tally.fates.setdefault(key, FateTally(*key)).tally
        why = _why(after) or _why(before)
        entry.add(why)
        if len(entry.examples) < self._examples:
            entry.examples.append(Example(logged.id, logged.object_id, logged.received_at, None, None, "", why, None))

    def _fields(self, tally: SourceTally, logged: Logged, before: Made, after: Made, unread: frozenset[str]) -> bool:
        olds = {trace.target: trace for trace in before.traces}
        differs = False
        for new in after.traces:
            differs |= self._field(tally, logged, new.target, olds.pop(new.target, None), new, unread)
        for target, old in olds.items():
            differs |= self._field(tally, logged, target, old, None, unread)
        return differs

    def _field(
        self,
        tally: SourceTally,
        logged: Logged,
        target: str,
        old: Trace | None,
        new: Trace | None,
        unread: frozenset[str],
    ) -> bool:
        if (entry := tally.fields.get(target)) is None:
            entry = tally.fields[target] = FieldTally()
        if target in unread:
            entry.unjudged += 1
            return False
        was, becomes = _result(old), _result(new)
        difference = _difference(was, becomes, old, new)
        if difference is None:
            entry.same += becomes in SAID
            entry.left_out += becomes == "skip"
            entry.failing += becomes == "fail"
            return False
        found = entry.differences.setdefault(difference, Tally())
        reason = _reason(difference, old, new)
        found.add(reason)
        if len(found.examples) < self._examples:
            found.examples.append(self._example(logged, old, new, reason))
        return True

    def _example(self, logged: Logged, old: Trace | None, new: Trace | None, reason: str | None) -> Example:
        return Example(
            logged.id,
            logged.object_id,
            logged.received_at,
            None if old is None else self._show(old.value),
            None if new is None else self._show(new.value),
            "" if new is None else new.rule,
            reason,
            None if new is None else trace_line(new, show=self._show),
        )


def _result(trace: Trace | None) -> str:
    return "skip" if trace is None else trace.result


def _difference(was: str, becomes: str, old: Trace | None, new: Trace | None) -> Difference | None:
    if was == becomes:
        alike = becomes != "set" or old is None or new is None or _same(old.value, new.value)
        return None if alike else Difference.DIFFERENT
    if becomes == "fail":
        return Difference.FAILS
    if was == "fail":
        return Difference.MENDED
    if becomes == "skip":
        return Difference.LEFT_OUT
    if becomes == "clear":
        return Difference.CLEARED
    return Difference.DIFFERENT if was == "clear" else Difference.SET


def _same(old: Json, new: Json) -> bool:
    """Say whether two values are the same JSON: 1 is neither true nor "1"."""
    return type(old) is type(new) and old == new


def _reason(difference: Difference, old: Trace | None, new: Trace | None) -> str | None:
    """Return why nothing is sent any more, or why it failed before."""
    if difference is Difference.MENDED:
        return None if old is None else old.reason
    return NO_RULE if new is None else new.reason


def _why(made: Made) -> str | None:
    """Return the reason of a fate; of one that fails, which fields do, and why."""
    if made.fate is Fate.FAILED:
        return "; ".join(f"{trace.target}: {trace.reason}" for trace in made.traces if trace.result == "fail")
    return made.reason or None
