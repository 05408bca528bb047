"""What is seen of all sources together: drifts that stand, those that are over, and what is to be written of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from service.drift.reliance import Basis, Reliance, label
from service.model import Cause, Drift, DriftKind, Event, Mapped, Noticed, Sighting

DRIFTS_MAX: Final = 1_000
"""Drifts that stand at a time; what comes beyond is left out until another one is over."""
TOLD_MAX: Final = 10_000
"""Causes that a process tells of, each once."""
FORGOTTEN_AFTER: Final = timedelta(days=7)
"""A drift that was not met for so long is over."""

_OF_PATHS: Final = frozenset({DriftKind.PATH_GONE, DriftKind.TYPE_CHANGED})
_Place = tuple[str, str]
"""A source and a path of it."""


@dataclass(slots=True)
class _Standing:
    """A drift that was met and is not over. ``unwritten`` is what is to be added to its count."""

    detail: str | None
    first_seen_at: datetime
    last_seen_at: datetime
    version: str | None
    event_id: int | None
    unwritten: int = 0


class Lookout:
    """Looks at every event that was mapped, and gathers what is to be written down. Pure: it keeps all in memory.

    Only what a CRM sends now counts, by the rules in force: no replay and no import. Of several replicas each goes by
    what it delivers itself. ``take`` gives what is not written yet, ``unheard`` the drifts that were not told of yet.
    """

    def __init__(self) -> None:
        self.version: str | None = None
        self._reliances: dict[str, Reliance] = {}
        self._kept: tuple[Sighting, ...] = ()
        self._standing: dict[Cause, _Standing] = {}
        self._met: set[Cause] = set()
        self._healed: set[Cause] = set()
        self._forgotten: set[_Place] = set()
        self._told: set[Cause] = set()
        self._unheard: list[Cause] = []
        self._latest: datetime | None = None

    def restore(self, sightings: Iterable[Sighting], drifts: Iterable[Drift]) -> None:
        """Go on from what a former life wrote down. To be called before the first ``follow``."""
        self._kept = tuple(sightings)
        self._standing = {
            one.cause: _Standing(one.detail, one.first_seen_at, one.last_seen_at, one.config_version, one.event_id)
            for one in drifts
        }

    def follow(self, version: str, bases: Mapping[str, Basis]) -> None:
        """Look by these rules from now on: what they do not ask for is forgotten, and what they may mend is over."""
        before, known = self._reliances, self._known()
        turned = {(cause.source, cause.path) for cause in self._standing if cause.kind is DriftKind.TYPE_CHANGED}
        self._reliances = {
            name: Reliance(
                basis,
                known=known.get(name, {}),
                turned={path for source, path in turned if source == name},
                changed=before[name].changed if name in before else (),
            )
            for name, basis in bases.items()
        }
        for cause, standing in list(self._standing.items()):
            if not self._may_stand(cause, standing, version, before.get(cause.source)):
                self._heal(cause)
        for source, paths in known.items():
            read = self._reliances[source].watches if source in self._reliances else {}
            self._forgotten |= {(source, path) for path in paths if path not in read}
        self._kept = ()
        self.version = version

    def observe(self, source: str, told: Iterable[tuple[Event, Mapped]], *, at: datetime) -> None:
        """Look at events that ended, each with what the rules made of it."""
        reliance = self._reliances.get(source)
        if reliance is None:
            return
        self._latest = at
        for event, mapped in told:
            if event.live:
                self._look(source, reliance, event, mapped, at)
                for kind, trace in reliance.unmet(event.change, mapped.traces):
                    cause = Cause(source, kind, label(trace.target), label(trace.path or ""))
                    self._meet(cause, trace.reason if kind is DriftKind.SKIPPED_ERROR else None, event.id, at)

    def take(self) -> Noticed:
        """Return what is to be written down, and take it for written. What was not met for long is over."""
        for cause, standing in list(self._standing.items()):
            if self._latest is not None and self._latest - standing.last_seen_at > FORGOTTEN_AFTER:
                self._heal(cause)
        noticed = Noticed(
            tuple(
                reliance.sighting(source, path)
                for source, reliance in self._reliances.items()
                for path in reliance.changed
            ),
            tuple(self._drift(cause) for cause in self._met),
            frozenset(self._healed),
            frozenset(self._forgotten),
        )
        for cause in self._met:
            self._standing[cause].unwritten = 0
        for reliance in self._reliances.values():
            reliance.changed.clear()
        self._met, self._healed, self._forgotten = set(), set(), set()
        return noticed

    def put_back(self, noticed: Noticed) -> None:
        """Gather again what could not be written."""
        for sighting in noticed.sightings:
            reliance = self._reliances.get(sighting.source)
            if reliance is not None and sighting.path in reliance.watches:
                reliance.changed.add(sighting.path)
        for drift in noticed.drifts:
            standing = self._standing.get(drift.cause)
            if standing is not None:
                standing.unwritten += drift.count
                self._met.add(drift.cause)
        # Whatever was met again since is written after the old is deleted.
        self._healed |= noticed.healed
        self._forgotten |= noticed.forgotten

    def unheard(self) -> list[Drift]:
        """Return the drifts that this process has not told of yet, each cause once."""
        unheard, self._unheard = self._unheard, []
        return [self._drift(cause) for cause in unheard if cause in self._standing]

    def _look(self, source: str, reliance: Reliance, event: Event, mapped: Mapped, at: datetime) -> None:
        for watch, found, over in reliance.look(event.change, mapped.traces, at):
            path = label(watch.path.text)
            for kind in over:
                self._heal(Cause(source, kind, watch.targets, path))
            if found is not None:
                kind, detail, count = found
                # What is gone is so since it came last, as far as that is known.
                since = watch.seen_at if kind is DriftKind.PATH_GONE else None
                cause = Cause(source, kind, watch.targets, path)
                self._meet(cause, detail, event.id, at, count=count, since=since)

    def _known(self) -> dict[str, dict[str, Sighting]]:
        """Return what is known of paths so far, by source and path."""
        known: dict[str, dict[str, Sighting]] = {}
        for sighting in self._kept:
            known.setdefault(sighting.source, {})[sighting.path] = sighting
        for source, reliance in self._reliances.items():
            for path in reliance.watches:
                known.setdefault(source, {})[path] = reliance.sighting(source, path)
        return known

    def _may_stand(self, cause: Cause, standing: _Standing, version: str, before: Reliance | None) -> bool:
        """Say whether a drift may still be one by the rules that are followed from now on."""
        reliance = self._reliances.get(cause.source)
        if reliance is None:
            return False
        if cause.kind in _OF_PATHS:
            return reliance.watches_for(cause.target, cause.path)
        if before is None:  # of a former life
            return standing.version == version
        return before.basis.rules.document == reliance.basis.rules.document

    def _meet(  # everything that is kept of it
        self,
        cause: Cause,
        detail: str | None,
        event_id: int,
        at: datetime,
        *,
        count: int = 1,
        since: datetime | None = None,
    ) -> None:
        standing = self._standing.get(cause)
        if standing is None:
            if len(self._standing) >= DRIFTS_MAX:
                return
            standing = self._standing[cause] = _Standing(detail, since or at, at, self.version, event_id)
            if cause not in self._told and len(self._told) < TOLD_MAX:
                self._told.add(cause)
                self._unheard.append(cause)
        standing.detail, standing.last_seen_at = detail, at
        standing.version, standing.event_id = self.version, event_id
        standing.unwritten += count
        self._met.add(cause)

    def _heal(self, cause: Cause) -> None:
        if self._standing.pop(cause, None) is not None:
            self._met.discard(cause)
            self._healed.add(cause)

    def _drift(self, cause: Cause) -> Drift:
        standing = self._standing[cause]
        return Drift(
            cause,
            standing.detail,
            standing.first_seen_at,
            standing.last_seen_at,
            standing.unwritten,
            standing.version,
            standing.event_id,
        )
