"""What one example is about: of whom and of what is told, what the weather is like, and what never happens.

With everything everywhere little would ever come together. So each example draws some of it, and has that often.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st

from service.model import Json, OutcomeKind
from tests.model.acts import (
    WAITS,
    Act,
    Claim,
    Crash,
    Deliver,
    Drop,
    Go,
    Land,
    Pause,
    Reclaim,
    Repeat,
    Replay,
    Rest,
    Resume,
    Tell,
    Wait,
    WaitUntilDue,
)
from tests.model.crms import FIELDS
from tests.model.tries import Seam
from tests.model.weather import CALLS, FAIR
from tests.model.world import World

Acts = st.SearchStrategy[list[Act]]

AGES: Final = (0, 0, 1, 1, 60, 4000, -30, -7200, None, None)
SEAMS: Final = (Seam.RESOLVING, Seam.HOLDING, Seam.SENDING, Seam.SENDING, Seam.SENDING, Seam.RECORDING)
RARE: Final = ("repeat", "replay", "claim", "drop", "crash", "pause", "rest")
WEATHERS: Final[Sequence[Sequence[str]]] = (
    ("closed, lands late",),
    ("closed, lands late",),
    ("closed, lands late", "422"),
    ("502, lands late", "404", "408"),
    ("cut short", "500, applied", "503, applied", "429"),
    tuple(CALLS),
    tuple(CALLS),
)
"""What comes together, late landings the most: it is they that bring old values back."""

_places = st.integers(0, 3)


@dataclass(frozen=True, slots=True)
class Focus:
    """What is drawn from. Without ``values`` each change says something new."""

    people: Sequence[int]
    fields: Sequence[str]
    values: Sequence[Json]
    weathers: Sequence[str]
    without: frozenset[str]

    def possible(self, world: World) -> list[str]:
        """Return the kinds of what may happen now, each as often as it shall."""
        return [
            kind
            for kind, often in OFTEN.items()
            if kind not in self.without and (kind not in IF or IF[kind](world))
            for _ in range(often)
        ]

    def acts(self, kind: str, world: World) -> Acts:
        """Return what a kind of thing may be: acts that follow each other."""
        return DRAWN[kind](self, world)

    def tell(self, world: World) -> Acts:
        """A CRM tells a change."""
        return self.told(world).map(lambda told: [told])

    def bring(self, world: World) -> Acts:
        """A CRM tells a change, and it is tried as soon as it may be."""
        return st.builds(lambda told, tried: [told, WaitUntilDue(), tried], self.told(world), self.tried())

    def deliver(self, _: World) -> Acts:
        """A delivery is tried, now or when the next is due, to its end or up to a seam."""
        tried = self.tried()
        return _each(tried) | tried.map(lambda one: [WaitUntilDue(), one])

    def go(self, _: World) -> Acts:
        """A try that was left at a seam goes on."""
        weathers, searches = self._weathers(), st.just(FAIR) | self._weathers()
        until = st.sampled_from([Seam.DONE, Seam.DONE, Seam.DONE, *SEAMS])
        dies = st.sampled_from([False, False, False, False, False, True])
        return _each(st.builds(Go, _places, until, weathers, searches, dies))

    def told(self, world: World) -> st.SearchStrategy[Tell]:
        """What a CRM tells."""
        values = self.values or [f"v{len(world.sendings) + 1}"]
        told = st.dictionaries(st.sampled_from(self.fields), st.sampled_from(values), min_size=1, max_size=2)
        return st.builds(Tell, st.sampled_from(self.people), told, st.sampled_from(AGES))

    def tried(self) -> st.SearchStrategy[Deliver]:
        """How far a delivery comes, and in what weather."""
        until = st.sampled_from([*[Seam.DONE] * len(SEAMS), *SEAMS])
        return st.builds(Deliver, self._weathers(), st.just(FAIR) | self._weathers(), until)

    def _weathers(self) -> st.SearchStrategy[str]:
        return st.just(FAIR) | st.sampled_from(self.weathers) if self.weathers else st.just(FAIR)


def focuses() -> st.SearchStrategy[Focus]:
    """Draw what an example is about; half of them are of one person and one or two fields, told by two CRMs."""
    people = st.sampled_from([(0, 1), (0, 1), (0, 1, 2), (0, 1, 1, 2, 3, 4)])
    fields = st.lists(st.sampled_from(FIELDS), min_size=1, max_size=2, unique=True) | st.just(list(FIELDS))
    values = st.sampled_from([(), (), ("A", "B"), ("A", "B", None)])
    weathers = st.sampled_from(WEATHERS)
    return st.builds(Focus, people, fields, values, weathers, st.frozensets(st.sampled_from(RARE)))


def _each(act: st.SearchStrategy[Act]) -> Acts:
    return act.map(lambda one: [one])


def _outlived(_: Focus, __: World) -> Acts:
    """A try stops for longer than it has the lease."""
    return st.builds(Deliver, until=st.sampled_from(SEAMS)).map(lambda one: [one, Wait("a lease"), Reclaim()])


def _replay(focus: Focus, _: World) -> Acts:
    """An operator replays what died, what was named, or all of a person."""
    causes = st.sampled_from([None, None, OutcomeKind.REJECTED, OutcomeKind.SERVER_ERROR])
    named = st.lists(st.integers(0, 30), max_size=4)
    people = st.none() | st.sampled_from(focus.people)
    return _each(st.builds(Replay, st.booleans(), named, people, causes, st.booleans()))


OFTEN: Final[Mapping[str, int]] = {
    "tell": 6,
    "bring": 8,
    "deliver": 10,
    "go": 12,
    "land": 8,
    "wait": 4,
    "outlive": 3,
    "reclaim": 1,
    "claim": 1,
    "drop": 1,
    "crash": 1,
    "replay": 1,
    "repeat": 1,
    "rest": 2,
    "pause": 1,
    "resume": 8,
}
"""How often each is drawn among those that are possible."""
IF: Final[Mapping[str, Callable[[World], bool]]] = {
    "go": lambda world: bool(world.tries),
    "drop": lambda world: bool(world.tries),
    "land": lambda world: bool(world.landings),
    "repeat": lambda world: bool(world.sendings),
    "replay": lambda world: bool(world.sendings),
    "pause": lambda world: not world.paused,
    "resume": lambda world: world.paused,
}
DRAWN: Final[Mapping[str, Callable[[Focus, World], Acts]]] = {
    "tell": Focus.tell,
    "bring": Focus.bring,
    "deliver": Focus.deliver,
    "go": Focus.go,
    "outlive": _outlived,
    "replay": _replay,
    "land": lambda _, __: _each(st.builds(Land, _places)),
    "wait": lambda _, __: _each(st.builds(Wait, st.sampled_from(list(WAITS))) | st.just(WaitUntilDue())),
    "reclaim": lambda _, __: _each(st.just(Reclaim())),
    "claim": lambda _, __: _each(st.builds(Claim, st.integers(1, 3))),
    "drop": lambda _, __: _each(st.builds(Drop, _places, st.booleans(), st.booleans())),
    "crash": lambda _, __: _each(st.builds(Crash, st.booleans())),
    "repeat": lambda _, __: _each(st.builds(Repeat, _places)),
    "rest": lambda _, __: _each(st.builds(Rest, st.booleans())),
    "pause": lambda _, __: _each(st.just(Pause())),
    "resume": lambda _, __: _each(st.builds(Resume, st.booleans())),
}
