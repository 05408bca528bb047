"""Many requests of every kind to every way to prove a sender, counted by what came of them."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from service.model import InboundRequest
from tests.fuzz.house import house
from tests.fuzz.judge import judged
from tests.fuzz.requests import KINDS
from tests.support.crm import Crm

AT_ONCE: Final = 500
"""Requests that are drawn together: what is drawn is remembered, so that none comes twice."""
WEB_SHARE: Final = 8
"""One in so many goes through the web room."""
WEB: Final = "web"

Judge = Callable[[InboundRequest], str]
"""Takes a request, and says what came of it; raises where that must not be."""


@dataclass(slots=True)
class Tally:
    """What came of the requests to one way, by kind and outcome."""

    way: str
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """How many there were."""
        return sum(counted.total() for counted in self.outcomes.values())

    def lines(self) -> Iterator[str]:
        """Tell each kind in a line."""
        for kind, counted in self.outcomes.items():
            told = ", ".join(f"{outcome} {count:,}" for outcome, count in counted.most_common())
            yield f"{self.way:<28} {kind:<9} {counted.total():>7,}: {told}"


def fuzz(way: Crm, *, requests: int, seed: int) -> Tally:
    """Send so many requests to one way; raise what should not have come of one, as small as it can be made."""
    tally = Tally(way.name)
    in_web = max(1, requests // WEB_SHARE)
    share = -(-(requests - in_web) // len(KINDS))
    for kind in KINDS:
        tally.outcomes[kind] = _counted(
            partial(judged, way, kind), KINDS[kind](way), share, f"{seed} {way.name} {kind}"
        )
    with house(way) as opened:
        tally.outcomes[WEB] = _counted(opened.judged, requests_for(way), in_web, f"{seed} {way.name} {WEB}")
    return tally


def requests_for(way: Crm) -> st.SearchStrategy[InboundRequest]:
    """Return requests of any kind."""
    return st.one_of(*(drawn(way) for drawn in KINDS.values()))


def _counted(judge: Judge, drawn: st.SearchStrategy[InboundRequest], count: int, seed: str) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    seeds = random.Random(seed)  # noqa: S311  # drawn alike in each run of the same seed
    for done in range(0, count, AT_ONCE):
        examine(judge, drawn, min(AT_ONCE, count - done), outcomes, seed=seeds.getrandbits(32))
    return outcomes


def examine(
    judge: Judge,
    drawn: st.SearchStrategy[InboundRequest],
    count: int,
    outcomes: Counter[str],
    *,
    seed: int | None = None,
) -> None:
    """Let so many requests be judged, the same in every run or drawn from a seed; count what came of them."""

    @settings(
        max_examples=count,
        derandomize=seed is None,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(drawn)
    def one(request: InboundRequest) -> None:
        hypothesis.note(shown(request))
        outcomes[judge(request)] += 1

    (one if seed is None else hypothesis.seed(seed)(one))()


def shown(request: InboundRequest) -> str:
    """Write a request down so that it can be made again; its own repr tells no value."""
    parts = (request.method, request.url, dict(request.headers), request.body)
    return f"InboundRequest({', '.join(map(repr, parts))})"
