"""What the rules rely on: how steadily a path comes, and where the CRM no longer gives what was relied on."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class DriftKind(StrEnum):
    """In which way a CRM no longer gives what a rule relies on; the last two are met by what the rule foresees."""

    PATH_GONE = "path_gone"
    TYPE_CHANGED = "type_changed"
    NO_ENTRY = "no_entry"
    STOOD_IN = "stood_in"
    SKIPPED_ERROR = "skipped_error"


@dataclass(frozen=True, slots=True)
class Sighting:
    """How steadily a path of a source comes: ``type`` is what its values usually are, None while there is no usual.

    ``seen`` counts the records in a row with a value, until the path is relied on; ``missed`` those in a row without
    it since then.
    """

    source: str
    path: str
    type: str | None = None
    seen: int = 0
    missed: int = 0
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Cause:
    """What a warning about drift is given for, once."""

    source: str
    kind: DriftKind
    target: str
    path: str


@dataclass(frozen=True, slots=True)
class Drift:
    """One cause, how often it was met and between when, and the event that it was met in last.

    ``detail`` names types or the step that failed, never a value.
    """

    cause: Cause
    detail: str | None
    first_seen_at: datetime
    last_seen_at: datetime
    count: int
    config_version: str | None = None
    event_id: int | None = None


@dataclass(frozen=True, slots=True)
class Noticed:
    """What is to be written down: drifts with the counts to be added, and what is to be forgotten before."""

    sightings: tuple[Sighting, ...] = ()
    drifts: tuple[Drift, ...] = ()
    healed: frozenset[Cause] = frozenset()
    forgotten: frozenset[tuple[str, str]] = frozenset()
    """Source and path of sightings that no rule asks for any more."""

    def __bool__(self) -> bool:
        """Say whether there is anything."""
        return bool(self.sightings or self.drifts or self.healed or self.forgotten)
