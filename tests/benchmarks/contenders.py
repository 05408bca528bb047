"""Servers that take turns under the same load, so that whatever the machine does meanwhile strikes all of them."""

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.benchmarks.bodies import BATCH, HUBSPOT_CONNECTIONS, answer
from tests.benchmarks.load import Fired, Load, fire, told
from tests.benchmarks.report import Row, Scale
from tests.benchmarks.servers import Server

WARM: Final = 0.2
"""Of a round's length, before the rounds."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What a CRM sends: so many changes in a request, over so many connections."""

    source: str
    connections: int
    changes: int = 1

    @property
    def kind(self) -> "Kind":
        """What its requests have in common, over however many connections."""
        return self.source, self.changes


Kind = tuple[str, int]
BATCHES: Final = Stream("hubspot", HUBSPOT_CONNECTIONS, BATCH)
"""HubSpot at its usual."""
OUTBOUND: Final = Stream("salesforce", HUBSPOT_CONNECTIONS, BATCH)
"""Salesforce with a backlog. How many requests it has under way is not documented: as many as HubSpot."""

Round = tuple[Fired, float]
"""What came of a round, and the server's processor time for each request, in µs."""


@dataclass(slots=True)
class Contender:
    """A server, what is sent to it, and what it acknowledged or answered wrongly so far.

    ``answers`` says what it must answer, which is the same JSON for everybody unless a CRM asks for another.
    """

    name: str
    server: Server
    requests: Mapping[Kind, Iterator[bytes]]
    answers: Mapping[Kind, bytes] = field(default_factory=dict)
    changes: int = 0
    wrong: Counter[str] = field(default_factory=Counter)

    def fire(self, stream: Stream, seconds: float) -> Round:
        """Run one round."""
        before = self.server.cpu_s
        expected = self.answers.get(stream.kind, answer(stream.changes))
        load = Load(self.server.port, self.requests[stream.kind], [expected], stream.connections)
        fired = fire(load, seconds=seconds)
        self.changes += fired.answered * stream.changes
        self.wrong += fired.wrong
        return fired, (self.server.cpu_s - before) / max(1, fired.answered) * 1e6

    def told(self) -> Iterator[str]:
        """Say what it answered wrongly."""
        return (f"{self.name}: {line}" for line in told(self.wrong))


def take_turns(stream: Stream, contenders: Sequence[Contender], scale: Scale) -> Mapping[str, Sequence[Round]]:
    """Let the contenders warm up, then take turns; return each one's rounds by its name."""
    rounds: dict[str, list[Round]] = {contender.name: [] for contender in contenders}
    for contender in contenders:
        contender.fire(stream, scale.seconds * WARM)
    for _ in range(scale.rounds):
        for contender in contenders:
            rounds[contender.name].append(contender.fire(stream, scale.seconds))
    return rounds


def rate(rounds: Sequence[Round]) -> float:
    """Return the requests a second that a round has in the middle."""
    return statistics.median(fired.requests_per_s for fired, _ in rounds)


def against(mine: Sequence[Round], theirs: Sequence[Round]) -> float:
    """Return the ratio of rates that two rounds of the same turn have in the middle."""
    pairs = zip(mine, theirs, strict=True)
    # A short round on a busy machine may see no answer in its time: then there is nothing to compare with.
    ratios = [one.requests_per_s / other.requests_per_s for (one, _), (other, _) in pairs if other.requests_per_s]
    return statistics.median(ratios) if ratios else math.nan


def medians(stream: Stream, rounds: Sequence[Round]) -> Row:
    """Return the figures of one contender's rounds."""
    fired = [one for one, _ in rounds]
    return {
        "changes": stream.changes,
        "changes_per_s": rate(rounds) * stream.changes,
        "requests_per_s": rate(rounds),
        "p50_ms": statistics.median(one.p50_ms for one in fired),
        "p99_ms": statistics.median(one.p99_ms for one in fired),
        "max_ms": max(one.max_ms for one in fired),
        "cpu_us": statistics.median(cpu_us for _, cpu_us in rounds),
        "generator": statistics.median(one.busy for one in fired),
    }
