"""What arrived: the last requests in a bounded ring, and counters that never forget."""

from collections import Counter, deque
from collections.abc import Iterator
from typing import Final

import orjson

from service.sandbox.clock import Clock, as_iso
from service.sandbox.documents import Json

KEPT_MAX: Final = 10_000
DROPPED: Final = "dropped"


class Entry:
    """One request. ``status`` is None while it is open, and for good where the client got no whole answer.

    ``turn`` is its place among all that was applied: what lands late has a later one than what came after it.
    """

    __slots__ = (
        "applied",
        "at_ns",
        "body",
        "ended",
        "fault",
        "in_flight",
        "method",
        "number",
        "started",
        "status",
        "target",
        "took_s",
        "turn",
    )

    def __init__(self, number: int, method: str, target: str, clock: Clock) -> None:
        self.number = number
        self.method = method
        self.target = target
        self.at_ns = clock.wall_ns()
        self.started = clock.monotonic()
        self.in_flight = 0
        self.body = b""
        self.fault: str | None = None
        self.applied = False
        self.turn: int | None = None
        self.status: int | None = None
        self.ended = False
        self.took_s: float | None = None

    def as_document(self) -> dict[str, Json]:
        """The entry as ``GET /_sandbox/requests`` shows it; a body is there for writes, as JSON where it is JSON."""
        shown: dict[str, Json] = {
            "number": self.number,
            "at": as_iso(self.at_ns),
            "method": self.method,
            "path": self.target,
            "status": self.status,
            "in_flight": self.in_flight,
            "took_ms": None if self.took_s is None else round(self.took_s * 1000, 3),
            "ended": self.ended,
            "applied": self.applied,
            "fault": self.fault,
        }
        if self.body:
            try:
                shown["body"] = orjson.loads(self.body)
            except orjson.JSONDecodeError:
                shown["body"] = self.body.decode(errors="replace")
        return shown


class Journal:
    """Every request to ``/v1``: the last ``kept_max`` one by one, all of them counted."""

    def __init__(self, clock: Clock, *, kept_max: int = KEPT_MAX) -> None:
        self._clock = clock
        self._kept: deque[Entry] = deque(maxlen=kept_max)
        self._answers: Counter[tuple[str, int | None]] = Counter()
        self._applied: Counter[str] = Counter()
        self._arrived = 0
        self._turns = 0
        self._in_flight_max = 0

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._kept))

    @property
    def arrived(self) -> int:
        """How many requests arrived since the last reset, open ones included."""
        return self._arrived

    @property
    def in_flight_max(self) -> int:
        """The most requests that were open at once since the last reset."""
        return self._in_flight_max

    def open(self, method: str, target: str) -> Entry:
        """Notes a request that has just arrived."""
        self._arrived += 1
        entry = Entry(self._arrived, method, target, self._clock)
        self._kept.append(entry)
        return entry

    def entered(self, entry: Entry, in_flight: int) -> None:
        """Notes how many requests are open, this one included."""
        entry.in_flight = in_flight
        self._in_flight_max = max(self._in_flight_max, in_flight)

    def close(self, entry: Entry) -> float:
        """Notes the end of a request. How long it took, in seconds."""
        took_s = self._clock.monotonic() - entry.started
        entry.took_s = took_s
        entry.ended = True
        self._answers[entry.method, entry.status] += 1
        if entry.applied:
            self._applied[entry.method] += 1
        return took_s

    def apply(self, entry: Entry) -> None:
        """Notes that a request changed something, be it after its end."""
        entry.applied = True
        self._turns += 1
        entry.turn = self._turns
        if entry.ended:
            self._applied[entry.method] += 1

    def answered(self, method: str, status: int | None) -> int:
        """How many requests of the method ended with the status; None counts those without a whole answer."""
        return self._answers[method, status]

    def applied(self, method: str) -> int:
        """How many requests of the method changed something, whatever the client was told."""
        return self._applied[method]

    def reset(self) -> None:
        """Forgets entries and counters; numbers start again at 1."""
        self._kept.clear()
        self._answers.clear()
        self._applied.clear()
        self._arrived = 0
        self._turns = 0
        self._in_flight_max = 0

    def counters(self) -> dict[str, Json]:
        """``{"arrived", "in_flight_max", "answers": {method: {status: n}}, "applied": {method: n}}``."""
        answers: dict[str, dict[str, int]] = {}
        for (method, status), count in sorted(self._answers.items(), key=str):
            answers.setdefault(method, {})[DROPPED if status is None else str(status)] = count
        return {
            "arrived": self._arrived,
            "in_flight_max": self._in_flight_max,
            "answers": {method: dict(statuses) for method, statuses in answers.items()},
            "applied": dict(self._applied),
        }
