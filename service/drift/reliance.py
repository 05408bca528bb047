"""What the rules of one source rely on: the paths that they read, their tables, and that what they skip is seldom."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from service.drift.steadiness import TYPES, Found, Watch
from service.mapping import Mapping as RuleSet
from service.mapping import Rules
from service.mapping.rule import NO_ENTRY, SKIPPED
from service.model import MISSING, Action, Change, DriftKind, Json, Missing, Sighting, Trace
from service.paths import Path

PATHS_MAX: Final = 1_000
"""Paths of a source that are watched; further ones are not."""
LABEL_MAX: Final = 255
"""Characters of a path, and of the fields that it is read for, as a warning names them."""
FILTER: Final = "when"
"""What a path is read for that the source's own filter asks."""

Sight = tuple[Watch, Found | None, tuple[DriftKind, ...]]
"""What came of looking at a path: a drift, and the kinds of it that are over."""


@dataclass(frozen=True, slots=True)
class Basis:
    """By what a source's events are mapped.

    ``leaves_out_empty`` says that its records lack the fields that are empty. ``reads_back`` says that thin events are
    only a part of what comes, and may spell a value in another way than the records that are read back.
    """

    rules: Rules
    leaves_out_empty: bool = False
    reads_back: bool = False


class Reliance:
    """A source's paths, watched, and the rules that may meet what they have no answer to.

    ``changed`` names the paths of which there is something to write.
    """

    def __init__(
        self, basis: Basis, *, known: Mapping[str, Sighting], turned: Collection[str], changed: Collection[str] = ()
    ) -> None:
        self.basis = basis
        self.watches = {
            path.text: Watch(
                path,
                label(", ".join(dict.fromkeys(targets))),
                patient=basis.leaves_out_empty,
                known=known.get(path.text, Sighting("", path.text)),
                turned=label(path.text) in turned,
            )
            for path, targets in _read(basis.rules)
        }
        alone = _read_alone(basis.rules.mapping)
        self._rounds = [(watch, alone.get(path)) for path, watch in self.watches.items()]
        asked = () if basis.rules.when is None else {path.text for path in basis.rules.when.paths}
        self._asked = [(watch, None) for path, watch in self.watches.items() if path in asked]
        self.changed = {path for path in changed if path in self.watches}
        self._tables = _tables(basis.rules.mapping)
        self._tables_of_deletions = _tables(basis.rules.deleted)

    def sighting(self, source: str, path: str) -> Sighting:
        """Return how a path came so far, as it is kept."""
        watch = self.watches[path]
        return Sighting(source, path, *watch.standing, watch.seen_at)

    def watches_for(self, targets: str, path: str) -> bool:
        """Say whether a path, as a warning names it, is watched for the fields that the warning names."""
        return any(watch.targets == targets and label(text) == path for text, watch in self.watches.items())

    def look(self, change: Change, traces: Sequence[Trace], at: datetime) -> list[Sight]:
        """Look at every path of a change, and return what is worth telling.

        A thin change proves nothing by what it lacks, and a deletion has no record at all. What the rules have read
        already, as their traces tell, is not read again; without traces the filter left the change out, and only what
        that asks for is looked at.
        """
        if change.action is Action.DELETED or (change.thin and self.basis.reads_back):
            return []
        told: list[Sight] = []
        for watch, traced in self._rounds if traces else self._asked:
            trace = None if traced is None else traces[traced]
            value = watch.path.read(change) if trace is None or trace.path is None else trace.raw
            if watch.steady is not None:  # as nearly always: there is nothing to tell
                if value is None:
                    continue
                if value and TYPES.get(type(value)) == watch.steady:
                    watch.seen_at = at
                    continue
            if (sight := self._take_in(watch, value, change, at)) is not None:
                told.append(sight)
        return told

    def unmet(self, change: Change, traces: Sequence[Trace]) -> Iterator[tuple[DriftKind, Trace]]:
        """Return each trace of a value without entry in its table, whatever became of it, or of a skipped error."""
        tables = self._tables_of_deletions if change.action is Action.DELETED else self._tables
        for trace in traces:
            if trace.result == "set" and trace.target not in tables:
                continue
            reason = trace.reason or ""
            if trace.target in tables and trace.steps and trace.steps[-1].name == "default":
                yield DriftKind.STOOD_IN, trace
            elif reason.startswith(NO_ENTRY):
                yield DriftKind.NO_ENTRY, trace
            elif trace.result == "skip" and reason.endswith(SKIPPED):
                yield DriftKind.SKIPPED_ERROR, trace

    def _take_in(self, watch: Watch, value: Json | Missing, change: Change, at: datetime) -> Sight | None:
        """Count what stands at a path, or that nothing does; return it where it is worth telling."""
        before = watch.standing
        if value is MISSING and watch.looks_into and _is_emptied(watch.path, change):
            value = None
        if value is not MISSING:
            found, over = watch.meet(value, at, whole=not change.thin)
        elif change.thin:
            return None
        else:
            found, over = watch.miss(), ()
        if watch.standing != before:
            self.changed.add(watch.path.text)
        return None if found is None and not over else (watch, found, over)


def label(text: str) -> str:
    """Return a text as a warning names it, cut where it is too long for a key of the log."""
    return text if len(text) <= LABEL_MAX else f"{text[: LABEL_MAX - 1]}…"


def _is_emptied(path: Path, change: Change) -> bool:
    """Say whether the list that a path looks into is there and empty: nobody renamed it, there is nothing in it."""
    node = change.values.get(path.keys[0])
    for key in path.keys[1:]:
        node = node.get(key) if isinstance(node, dict) else None
    return node == []


def _read(rules: Rules) -> Iterable[tuple[Path, list[str]]]:
    """Return the record's paths that the rules read, each once, with the fields that it is read for."""
    pairs = [
        (path, target)
        for target, rule in rules.mapping.spec.rules()
        for path in (*rule.paths, *(() if rule.when is None else rule.when.paths))
    ]
    pairs += [] if rules.when is None else [(path, FILTER) for path in rules.when.paths]
    paths: dict[Path, list[str]] = {}
    for path, target in pairs:
        if path.head is not None:
            paths.setdefault(path, []).append(target)
    return islice(paths.items(), PATHS_MAX)


def _read_alone(mapping: RuleSet) -> dict[str, int]:
    """Return the paths of rules that read no other, each with the place of such a rule among the traces."""
    singles = enumerate(rule.from_ for _, rule in mapping.spec.rules())
    return {paths[0].text: place for place, paths in singles if len(paths) == 1}


def _tables(mapping: RuleSet | None) -> frozenset[str]:
    """Return the fields whose rules look their values up in a table."""
    rules = () if mapping is None else mapping.spec.rules()
    return frozenset(target for target, rule in rules if rule.map is not None)
