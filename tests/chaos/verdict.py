"""What must be true at the end: nothing lost, nothing stale, books closed, no limit passed; and the report of it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.changes import Change

NAMED_MAX = 10
"""Offenders named of each kind."""


@dataclass(slots=True)
class Report:
    """What a run was, and what was wrong with it, which must be nothing."""

    seed: int
    seconds: float
    settled_s: float = 0
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    acked: int = 0
    patches: int = 0
    overtaken: int = 0
    told_thin: int = 0
    """Changes of the CRM whose records are read back."""
    merges: int = 0
    """Of its records."""
    reads: int = 0
    """Calls for its records."""
    audit: Mapping[str, Any] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    limited: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        """Every offender, by what is wrong with it."""
        named = {"lost": self.lost, "stale": self.stale, "past the limits": self.limited, "wrong": self.wrong}
        return [line for name, found in named.items() for line in _named(name, found)]

    def lines(self) -> Iterator[str]:
        """Tell it compactly."""
        count = self.counts
        yield f"seed {self.seed}: {self.seconds:g} s of chaos, settled {self.settled_s:.1f} s later"
        yield f"kills        {self.kills.total()}: {_counted(self.kills)}"
        yield f"faults       {self.faults.total()}: {_counted(self.faults)}"
        yield (
            f"acked        {self.acked} changes in {count['requests acked']} requests, "
            f"{count['duplicates acked']} duplicates acked, {count['unanswered']} tries unanswered, "
            f"{count['turned away']} turned away"
        )
        yield f"events       {_counted(self.audit.get('events', {}))}"
        yield (
            f"PATCH calls  {self.patches}, {self.patches / max(1, self.acked):.2f} for each change; "
            f"{self.overtaken} landed after a newer one that they undid"
        )
        yield (
            f"read back    {self.reads} calls for {self.told_thin} changes that say little ({self.merges} merges), "
            f"{self.reads / max(1, self.told_thin):.2f} for each"
        )
        yield f"shadow mode  {count['shadowed']} tries, before their source went live"
        yield f"dead letters {count['dead letters']}, each replayed"
        yield (
            f"lost {len(self.lost)}, stale fields {len(self.stale)}, "
            f"books {'open' if self.audit.get('findings', True) else 'closed'}, "
            f"429 and 503 by ChartMogul's own limits {len(self.limited)}"
        )
        yield from self.failures
        yield "FAILED" if self.failures else "passed"
        yield f'again: make chaos ARGS="--seconds {self.seconds:g} --seed {self.seed}"'


def lost(acked: Iterable[Change], logged: Sequence[tuple[str, str]]) -> list[str]:
    """Name the acked changes that the log has not, and those that it has twice or that nobody sent."""
    sent = {change.key for change in acked}
    held = Counter(logged)
    found = [f"{source} {event_id} is not in the log" for source, event_id in sorted(sent - held.keys())]
    found += [f"{source} {event_id} is in the log, and nobody sent it" for source, event_id in held.keys() - sent]
    return found + [f"{' '.join(key)} is in the log {count} times" for key, count in held.items() if count > 1]


def stale(acked: Iterable[Change], contacts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name the fields of ChartMogul's contacts that do not hold the newest value that any CRM told of them."""
    newest: dict[tuple[str, str], tuple[Change, object]] = {}
    for change in sorted(acked, key=lambda change: change.at):
        newest.update({(change.contact, name): (change, value) for name, value in change.fields.items()})
    held = {str(contact["uuid"]): contact for contact in contacts}
    return [
        f"{uuid} {name} is {present!r}, and should be {value!r} of {change.source} {change.event_id}"
        for (uuid, name), (change, value) in sorted(newest.items(), key=lambda one: one[0])
        if (present := _field(held[uuid], name)) != value
    ]


def untrue(truth: Mapping[tuple[str, str], object], contacts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name the fields of ChartMogul's contacts that do not hold what their record in the CRM has."""
    held = {str(contact["uuid"]): contact for contact in contacts}
    return [
        f"{uuid} {name} is {present!r}, and should be {value!r} as in its record"
        for (uuid, name), value in sorted(truth.items(), key=lambda one: one[0])
        if (present := _field(held[uuid], name)) != value
    ]


def _field(contact: Mapping[str, Any], name: str) -> object:
    custom = name.removeprefix("custom.")
    return contact.get(name) if custom == name else contact["custom"].get(custom)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


def _named(name: str, found: Sequence[str]) -> list[str]:
    more = [f"{name}: and {len(found) - NAMED_MAX} more"] if len(found) > NAMED_MAX else []
    return [f"{name}: {line}" for line in found[:NAMED_MAX]] + more
