"""Faults that can be switched on: which request is hit by which, told from its method, path, contact and turn."""

import random
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Final, Literal

from service.sandbox.documents import LEAST, MOST, DocumentError, as_object, changed

FAULTS_MAX: Final = 1_000
DELAY_MAX_S: Final = 3_600.0

_CONTACT: Final = re.compile(r"con_[^/?]+")


class FaultKind(StrEnum):
    """What goes wrong. ``before`` and ``after``: the request is not applied, or applied, when it does.

    status          answers ``status`` with ``body`` json, html or empty, and ``Retry-After`` where told
    garbage         answers 200 with an HTML page
    timeout_before  never answers; after ``delay_s`` the connection is closed
    timeout_after   the same, the change applied at once
    timeout_late    the same, the change applied only when ``delay_s`` is over, whether or not the client still waits
                    or lives: a request that its client gave up, and that lands after a newer one. ``applied`` adds
                    nothing to it. When the faults are cleared or the sandbox stops, it is applied at once
    reset_before    resets the connection (TCP RST)
    reset_after     the same, the change applied
    close_before    closes the connection without an answer
    close_after     the same, the change applied
    truncated_json  applies, then closes the connection in the middle of the answer
    slow_body       applies, then sends the answer piece by piece over ``delay_s``
    """

    STATUS = "status"
    GARBAGE = "garbage"
    TIMEOUT_BEFORE = "timeout_before"
    TIMEOUT_AFTER = "timeout_after"
    TIMEOUT_LATE = "timeout_late"
    RESET_BEFORE = "reset_before"
    RESET_AFTER = "reset_after"
    CLOSE_BEFORE = "close_before"
    CLOSE_AFTER = "close_after"
    TRUNCATED_JSON = "truncated_json"
    SLOW_BODY = "slow_body"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault, and the requests it hits.

    Of the requests that fit ``method``, ``path`` (what the path starts with, from ``/v1`` on) and ``contact`` (a
    ``con_`` uuid in the path), it hits each ``every``-th, and of those each with ``probability`` (drawn by a generator
    seeded with ``seed``, so that a run can be repeated), until it has hit ``count``; without ``count`` until cleared.
    ``status``, ``body``, ``message`` and ``retry_after_s`` belong to ``status``. ``applied`` makes any kind apply the
    request first, as behind a gateway that loses the answer. ``delay_s`` belongs to timeouts and ``slow_body``, and
    makes the others wait before they strike.
    """

    kind: FaultKind
    count: int | None = field(default=None, metadata={LEAST: 1})
    every: int = field(default=1, metadata={LEAST: 1})
    probability: float = field(default=1.0, metadata={LEAST: 0, MOST: 1})
    seed: int = 0
    method: str | None = None
    path: str | None = None
    contact: str | None = None
    status: int = field(default=500, metadata={LEAST: 200, MOST: 599})
    body: Literal["json", "html", "empty"] = "json"
    message: str | None = None
    retry_after_s: int | None = field(default=None, metadata={LEAST: 0})
    applied: bool = False
    delay_s: float | None = field(default=None, metadata={LEAST: 0, MOST: DELAY_MAX_S})

    def fits(self, method: str, path: str) -> bool:
        """Whether a request is one of those that the fault may hit."""
        return (
            (self.method is None or self.method.upper() == method)
            and (self.path is None or path.startswith(self.path))
            and (self.contact is None or self.contact in _CONTACT.findall(path))
        )


def parse_faults(document: object) -> list[Fault]:
    """The faults of a JSON document: one fault, or ``{"faults": [fault, …]}``. Raises DocumentError."""
    given = as_object(document, path="fault")
    if "faults" not in given:
        return [_fault(given, "fault")]
    items = given["faults"]
    if len(given) > 1 or not isinstance(items, list):
        raise DocumentError("faults", "something else beside or in it", "a list of faults alone")
    return [_fault(as_object(item, path=f"faults[{index}]"), f"faults[{index}]") for index, item in enumerate(items)]


class Faults:
    """The faults that are on, in the order in which they were switched on. The first that hits a request counts."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        self._number = 0

    def __bool__(self) -> bool:
        return bool(self._armed)

    def add(self, *faults: Fault) -> None:
        """Switches on. Raises DocumentError past the limit, and then none of them is on."""
        if len(self._armed) + len(faults) > FAULTS_MAX:
            raise DocumentError("faults", f"{len(self._armed) + len(faults)} faults", f"at most {FAULTS_MAX}")
        for fault in faults:
            self._number += 1
            self._armed.append(_Armed(self._number, fault))

    def clear(self) -> None:
        """Switches all off."""
        self._armed.clear()

    def pick(self, method: str, path: str) -> Fault | None:
        """The fault that hits this request, if any. Asking counts as a turn of each fault that is asked."""
        for armed in self._armed:
            if armed.hits(method, path):
                return armed.fault
        return None

    def as_document(self) -> list[dict[str, object]]:
        """The faults with how many requests fitted (``seen``) and were hit (``hit``)."""
        return [
            {"id": armed.number, **asdict(armed.fault), "seen": armed.seen, "hit": armed.hit} for armed in self._armed
        ]


class _Armed:
    """A fault with its turns."""

    def __init__(self, number: int, fault: Fault) -> None:
        self.number = number
        self.fault = fault
        self.seen = 0
        self.hit = 0
        self._random = random.Random(fault.seed)  # noqa: S311  # repeatable on purpose

    def hits(self, method: str, path: str) -> bool:
        fault = self.fault
        if self.hit == fault.count or not fault.fits(method, path):
            return False
        self.seen += 1
        if self.seen % fault.every or self._random.random() >= fault.probability:
            return False
        self.hit += 1
        return True


def _fault(document: Mapping[str, object], path: str) -> Fault:
    plain = dict(document)
    kind = plain.pop("kind", None)
    kinds = [known.value for known in FaultKind]
    if not isinstance(kind, str) or kind not in kinds:
        raise DocumentError(f"{path}.kind", "no such kind", ", ".join(kinds))
    return changed(Fault(kind=FaultKind(kind)), plain, path=path)
