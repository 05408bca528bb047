"""A lookout over one source, and the records that it is shown: what the tests of drift stand on."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

from service.drift import Basis, Lookout
from service.mapping import Rules
from service.model import Action, Change, DriftKind, Event, Json, Mapped, Noticed, Record
from tests.support.clock import START

SOURCE: Final = "pipedrive"
NOTHING: Final[Mapping[str, bool]] = MappingProxyType({})
GONE, TURNED, NO_ENTRY, STOOD_IN, SKIPPED = DriftKind
TITLE: Final[dict[str, Json]] = {"mapping": {"title": "job_title"}}
STAGE_RULE: Final[dict[str, Json]] = {"Stage": {"from": "label", "map": {"1": "Lead"}}}
STAGE: Final[dict[str, Json]] = {"mapping": {"custom": STAGE_RULE}}


class Watching:
    """A lookout over one source, and the records that it is shown, a minute apart."""

    def __init__(self, document: Record, **basis: bool) -> None:
        self.lookout = Lookout()
        self.minutes = 0
        self.follow(document, basis=basis)

    def follow(self, document: Record, version: str = "0f3a9c51e0b2", basis: Mapping[str, bool] = NOTHING) -> None:
        """Look by other rules."""
        self.rules = Rules.parse(document)
        self.lookout.follow(version, {SOURCE: Basis(self.rules, **basis)})

    def see(self, record: Record, times: int = 1, **change: Any) -> "Watching":  # noqa: ANN401  # any field of a change
        """Let so many changes with this record end."""
        for _ in range(times):
            self.minutes += 1
            self.show(event(self.minutes, record, **change))
        return self

    def show(self, one: Event, source: str = SOURCE) -> None:
        """Let one change end."""
        rules = self.rules.deleted if one.change.action is Action.DELETED else self.rules.mapping
        left_out = self.rules.when is not None and not self.rules.when.holds(one.change)
        mapped = Mapped({}) if rules is None or left_out else rules.apply(one.change)
        self.lookout.observe(source, [(one, mapped)], at=START + timedelta(minutes=self.minutes))

    def take(self) -> dict[tuple[DriftKind, str, str], int]:
        """What is to be written: the count to be added for each kind, target and path."""
        return counts(self.lookout.take())

    def restarted(self, document: Record, noticed: Noticed, version: str = "0f3a9c51e0b2") -> "Watching":
        """A lookout of another process, which goes on from what was written."""
        other = Watching({"mapping": {"email": "nothing"}})
        other.lookout = Lookout()
        other.lookout.restore(noticed.sightings, noticed.drifts)
        other.minutes = self.minutes
        other.follow(document, version)
        return other


def event(number: int, record: Record, **change: Any) -> Event:  # noqa: ANN401  # any field of a change or an event
    fields: dict[str, Any] = {"dedup_key": f"pd-{number}", "action": Action.UPDATED, **change}
    replayed = fields.pop("replayed", False)
    said = Change(object_type="person", object_id="4711", values=record, **fields)
    return Event(number, SOURCE, START, number, said, None, replayed)


def counts(noticed: Noticed) -> dict[tuple[DriftKind, str, str], int]:
    return {(one.cause.kind, one.cause.target, one.cause.path): one.count for one in noticed.drifts}


CFO: Final[Record] = {"job_title": "CFO"}
OF_TITLE: Final = ("title", "job_title")
