"""What stands where in a source's records, counted over the newest word on each; pure, and bounded in every way."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from service.model import Change, Json
from service.operations.masking import masked_text
from service.operations.suggest.places import Place, places
from service.operations.suggest.shapes import PHONES, Kind, kind_of
from service.paths import as_text, is_scalar

PATHS_MAX: Final = 2_000
"""Paths that are counted."""
DISTINCT_MAX: Final = 20
"""Different values that are kept apart; a field with more is no list of a few."""
VALUE_MAX: Final = 30
"""Characters of a value that is kept."""
REGIONS_ASKED: Final = 200
"""Telephone numbers of a path whose region is looked up."""


@dataclass(slots=True)
class Seen:
    """What was seen at one place.

    ``records`` have a value there, neither null nor blank. ``distinct`` counts its values, None once there were too
    many or too long ones. ``example`` is masked.
    """

    place: Place
    records: int = 0
    empty: int = 0
    kinds: Counter[Kind] = field(default_factory=Counter)
    spaced: int = 0
    mixed_case: int = 0
    longest: int = 0
    numbers_with_plus: int = 0
    regions: set[str] = field(default_factory=set)
    distinct: Counter[str] | None = field(default_factory=Counter)
    example: str = ""

    def share(self, *kinds: Kind) -> float:
        """Say which share of its values looks so."""
        return sum(self.kinds[kind] for kind in kinds) / self.records if self.records else 0.0

    @property
    def kind(self) -> Kind:
        """What most of its values look like."""
        return self.kinds.most_common(1)[0][0]

    def add(self, value: Json) -> None:
        """Count one more value."""
        if value is None or (isinstance(value, str) and not value.strip()):
            self.empty += 1
            return
        self.records += 1
        kind = kind_of(value)
        self.kinds[kind] += 1
        text = ", ".join(map(as_text, value[:DISTINCT_MAX])) if isinstance(value, list) else as_text(value)
        self.longest = max(self.longest, len(text))
        self.example = self.example or masked_text(text)
        self._distinguish(value, text)
        if isinstance(value, str):
            self.spaced += value != value.strip()
            self.mixed_case += kind is Kind.EMAIL and value != value.lower()
            if kind in PHONES:
                self._locate(value.strip())

    def _distinguish(self, value: Json, text: str) -> None:
        if self.distinct is None:
            return
        self.distinct[text] += 1
        if not is_scalar(value) or len(text) > VALUE_MAX or len(self.distinct) > DISTINCT_MAX:
            self.distinct = None

    def _locate(self, text: str) -> None:
        """Learn the region of a number that tells it."""
        if not text.startswith("+"):
            return
        self.numbers_with_plus += 1
        if self.numbers_with_plus > REGIONS_ASKED:
            return
        import phonenumbers  # noqa: PLC0415  # takes longer to import than all the rest

        try:
            region = phonenumbers.region_code_for_number(phonenumbers.parse(text, None))
        except phonenumbers.NumberParseException:
            return
        self.regions.add(region or "")


class Survey:
    """Changes of one source, newest first. Of each record every field counts once: as it was said last."""

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}
        self.changes = 0
        self.beyond = False
        self._said: dict[str, set[str] | None] = {}

    @property
    def records(self) -> int:
        """How many records were seen."""
        return len(self._said)

    def add(self, change: Change) -> None:
        """Look at a change that is older than those before it."""
        said = self._said.setdefault(change.object_id, set())
        self.changes += 1
        if said is None:  # a newer change had the whole record
            return
        for place, value in places({name: value for name, value in change.values.items() if name not in said}):
            seen = self.seen.get(place.path)
            if seen is None:
                if len(self.seen) >= PATHS_MAX:
                    self.beyond = True
                    continue
                seen = self.seen[place.path] = Seen(place)
            seen.add(value)
        if change.thin:
            said.update(change.values)
        else:
            self._said[change.object_id] = None
