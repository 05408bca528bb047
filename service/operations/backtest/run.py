"""The run over the log: batch by batch, each change by both configurations, and what differs counted on the way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from service.errors import RequestError
from service.mapping import Rules
from service.model import Change, Json
from service.operations.backtest.sides import UNREAD, Fate, Made, Sides, as_parsed, make, reads_back, unread
from service.operations.backtest.tally import Comparison, Report, SourceTally
from service.pipeline import ConfiguredSource
from service.store.history import History, Logged, Stretch
from service.translate import recall


class Backtest:
    """Runs logged changes through the ``present`` sources and through the ``candidate`` ones.

    With ``then`` each change is held against the rules of the version that mapped it. ``examples`` bounds those of each
    difference, and ``show`` makes values fit to be seen in them. Memory does not grow with the log.
    """

    def __init__(
        self,
        present: Mapping[str, ConfiguredSource],
        candidate: Mapping[str, ConfiguredSource],
        *,
        then: bool,
        examples: int,
        show: Callable[[Json], Json],
    ) -> None:
        self._present = present
        self._candidate = candidate
        self._then = then
        self._comparison = Comparison(examples=examples, show=show)
        self._sides_of: dict[tuple[str | None, str], Sides | None] = {}
        self._parsed: tuple[int, str, tuple[Change, ...] | str | None] | None = None

    async def run(self, history: History, stretch: Stretch, *, progress: Callable[[int], None]) -> Report:
        """Compare every change of a stretch; tell after each batch how many were seen. Raises StoreError."""
        names = [*self._present, *self._candidate] if stretch.source is None else [stretch.source]
        report = Report(sources={name: self._tally(name) for name in dict.fromkeys(names)})
        after = 0
        while batch := await history.batch(stretch, after=after):
            for logged in batch:
                await self._one(history, report, logged)
            after = batch[-1].id
            _span(report, batch)
            progress(report.events)
        return report

    def _tally(self, name: str) -> SourceTally:
        old, new = self._present.get(name), self._candidate.get(name)
        tally = SourceTally(present=old is not None, candidate=new is not None)
        if old is not None and new is not None:
            was, becomes = _targets(old.rules), _targets(new.rules)
            tally.new_fields = tuple(target for target in becomes if target not in was)
            tally.gone_fields = tuple(target for target in was if target not in becomes)
            tally.parsed_again = not old.source.reads_as(new.source)
        return tally

    async def _one(self, history: History, report: Report, logged: Logged) -> None:
        tally = report.sources.get(logged.source)
        if tally is None:  # of a source that was once
            tally = report.sources[logged.source] = self._tally(logged.source)
        tally.events += 1
        old, new = self._present.get(logged.source), self._candidate.get(logged.source)
        if old is None or new is None:
            return
        sides = await self._sides(history, old, new, logged)
        if sides is None:
            tally.unstamped += 1
        elif not tally.parsed_again and sides.alike and self._alike(old, new, logged):
            tally.same_rules += 1
        elif (change := logged.change) is None:
            tally.aged_out += 1
        else:
            await self._compare(history, tally, logged, change, _Pair(old, new, sides))

    async def _sides(
        self, history: History, old: ConfiguredSource, new: ConfiguredSource, logged: Logged
    ) -> Sides | None:
        """Return the rules to compare, None where those of then cannot be had."""
        version = None
        if self._then and logged.ignored is None:
            version = logged.version
            if version is None:
                return None
        key = (version, logged.source)
        if key not in self._sides_of:
            rules = old.rules if version is None else recall(await history.rules(version, logged.source))
            self._sides_of[key] = None if isinstance(rules, str) else Sides(rules, new.rules)
        return self._sides_of[key]

    def _alike(self, old: ConfiguredSource, new: ConfiguredSource, logged: Logged) -> bool:
        """Say whether both let in the same changes. What kept one out then may have been another configuration."""
        return (not self._then or logged.ignored is None) and old.admission == new.admission

    async def _compare(
        self, history: History, tally: SourceTally, logged: Logged, change: Change, pair: "_Pair"
    ) -> None:
        parsed = as_parsed(change, logged.ignored)
        (let_in,) = pair.old.admission.admit([parsed])
        if self._then:
            let_in = replace(change, ignored=logged.ignored)
        again = await self._parse(history, pair.new, logged, change) if tally.parsed_again else parsed
        if again is None:
            tally.request_gone += 1
            return
        if isinstance(again, str):
            made = make(pair.sides.old, let_in)
            self._comparison.compare(tally, logged, made, Made(Fate.UNREADABLE, again), unread=None)
            return
        before, after = pair.sides.make(let_in, *pair.new.admission.admit([again]))
        hidden = pair.unread(change, again, (before, after))
        tally.would_read += hidden is not None
        self._comparison.compare(tally, logged, before, after, unread=hidden)

    async def _parse(
        self, history: History, new: ConfiguredSource, logged: Logged, change: Change
    ) -> Change | str | None:
        """Read the change in its request as the candidate does: the change, why it is none, None without a request."""
        changes = await self._changes(history, new, logged)
        if changes is None or isinstance(changes, str):
            return changes
        same = [one for one in changes if one.dedup_key == change.dedup_key]
        of_record = [one for one in changes if one.object_id == change.object_id]
        found = same or (of_record if len(of_record) == 1 else []) or (changes if len(changes) == 1 else [])
        return found[0] if found else UNREAD

    async def _changes(
        self, history: History, new: ConfiguredSource, logged: Logged
    ) -> tuple[Change, ...] | str | None:
        """Parse a request once for all its changes, which follow each other in the log."""
        if self._parsed is None or self._parsed[:2] != (logged.request_id, logged.source):
            request = await history.request(logged.request_id)
            read: tuple[Change, ...] | str | None = None
            if request is not None:
                try:
                    read = new.source.parse(request)
                except RequestError as error:
                    read = f"{error.name}: {error.cause}"
            self._parsed = (logged.request_id, logged.source, read)
        return self._parsed[2]


@dataclass(frozen=True, slots=True)
class _Pair:
    """A source as it is configured now and by the candidate, and the rules of both, or of then."""

    old: ConfiguredSource
    new: ConfiguredSource
    sides: Sides

    def unread(self, change: Change, again: Change, made: tuple[Made, Made]) -> frozenset[str] | None:
        """Return the targets whose values are in the record that would be read back; None where none would be."""
        if (self.old.reader is None and self.new.reader is None) or all(one.fate is Fate.IGNORED for one in made):
            return None
        if not (reads_back(self.sides.old, change) or reads_back(self.sides.new, again)):
            return None
        return unread(self.sides.old, change) | unread(self.sides.new, again)


def _targets(rules: Rules) -> tuple[str, ...]:
    """Return every field that the rules may set, by a change or by a deletion."""
    deleted = () if rules.deleted is None else rules.deleted.targets
    return tuple(dict.fromkeys((*rules.mapping.targets, *deleted)))


def _span(report: Report, batch: Sequence[Logged]) -> None:
    times = [logged.received_at for logged in batch]
    report.events += len(batch)
    report.first_at = min([*times, *([] if report.first_at is None else [report.first_at])])
    report.last_at = max([*times, *([] if report.last_at is None else [report.last_at])])
