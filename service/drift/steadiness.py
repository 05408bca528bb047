"""How steadily one path comes: when it can be relied on, when it is gone, and what type its values usually have."""

from datetime import datetime
from typing import Final

from service.model import DriftKind, Json, Sighting
from service.paths import Path

STEADY: Final = 20
"""Records in a row that have a value at a path, or a value of one type, until that is relied on."""
GONE_AFTER: Final = 20
"""Records in a row without a path that was relied on, after which it is gone."""
GONE_AFTER_LEFT_OUT: Final = 100
"""The same where an empty field is left out of the record, so that absence is usual."""
BACK_AFTER: Final = 3
"""Records in a row that have the path again, after which it is not gone any more."""

TYPES: Final[dict[type, str]] = {
    str: "text",
    int: "number",
    float: "number",
    bool: "boolean",
    list: "list",
    dict: "object",
}
"""What a value's type is called. Null is none, and neither are blank text and what is empty."""

Found = tuple[DriftKind, str | None, int]
"""A drift that is met: its kind, its detail, and how many records it stands for."""


class Watch:
    """One path that rules of a source read, and how it came so far. ``targets`` are the fields that it is read for.

    ``looks_into`` says that it has an index or a selector.

    ``steady`` is the usual type while all is well: whoever finds that type, or null, has nothing to tell but the time.
    A path has drifted only after 20 records in a row on which it did not: where it comes or not by chance, or its type
    changes all the time, it never will.
    """

    __slots__ = (
        "_back",
        "_missed",
        "_run",
        "_seen",
        "_type",
        "_usual",
        "gone_after",
        "looks_into",
        "path",
        "seen_at",
        "steady",
        "targets",
    )

    def __init__(self, path: Path, targets: str, *, patient: bool, known: Sighting, turned: bool) -> None:
        self.path = path
        self.targets = targets
        # An index or a selector may find nothing in a list, as in that of a person whose only email is no primary one.
        self.looks_into = len(path.keys) < len(path.steps)
        self.gone_after = GONE_AFTER_LEFT_OUT if patient or self.looks_into else GONE_AFTER
        self.seen_at = known.seen_at
        self._seen = known.seen
        self._missed = known.missed
        self._back = 0
        self._usual = known.type
        self._type = known.type
        self._run = 0 if known.type is None or turned else STEADY
        self.steady = self._when_steady()

    @property
    def standing(self) -> tuple[str | None, int, int]:
        """How the path came so far: its usual type, how many records had a value, and how many lacked it since."""
        return self._usual, self._seen, self._missed

    def miss(self) -> Found | None:
        """Count a whole record without the path; return the drift where it is one too many."""
        self._back = 0
        if self._seen < STEADY:
            self._seen = 0
            return None
        self._missed += 1
        self.steady = None
        if self._missed < self.gone_after:
            return None
        return DriftKind.PATH_GONE, None, self._missed if self._missed == self.gone_after else 1

    def meet(self, value: Json, at: datetime, *, whole: bool) -> tuple[Found | None, tuple[DriftKind, ...]]:
        """Take in what stands at the path; return the drift where it is one, and the kinds that are over now.

        ``whole`` says that it is a whole record, so that it also counts for how steadily the path comes.
        """
        name = TYPES.get(type(value)) if value or isinstance(value, int | float) else None
        over: list[DriftKind] = []
        if whole and self._is_back():
            over.append(DriftKind.PATH_GONE)
        found = None
        if name is not None:
            self.seen_at = at
            if whole:
                self._seen = min(STEADY, self._seen + 1)
            found = self._turn(name)
            if self._run == STEADY:
                over.append(DriftKind.TYPE_CHANGED)
        self.steady = self._when_steady()
        return found, tuple(over)

    def _is_back(self) -> bool:
        """Take in that the path is there; say whether it has just come back after it was gone."""
        if self._missed < self.gone_after:
            self._missed = 0
            return False
        self._back += 1
        if self._back < BACK_AFTER:
            return False
        self._back = self._missed = 0
        return True

    def _turn(self, name: str) -> Found | None:
        """Take in a value's type; return the drift where it is not the usual one."""
        self._run = self._run + 1 if name == self._type else 1
        self._type = name
        if self._run >= STEADY:
            self._run = STEADY
            self._usual = name
        if self._usual is None or name == self._usual:
            return None
        return DriftKind.TYPE_CHANGED, f"{self._usual} → {name}", 1

    def _when_steady(self) -> str | None:
        well = self._seen >= STEADY and self._missed == 0 and self._run >= STEADY
        return self._usual if well and self._type == self._usual else None
