"""The state machine: draws what happens next from what may happen now, and judges what became of it."""

from collections.abc import Callable, Collection, Mapping
from typing import Final, cast

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from service.model import OutcomeKind
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
from tests.model.house import House
from tests.model.play import step
from tests.model.settling import end_well
from tests.model.tries import Seam
from tests.model.weather import CALLS, FAIR
from tests.model.world import World

_places = st.integers(0, 3)
_people = st.sampled_from([0, 0, 0, 1, 1, 2, 2, 3, 4])
"""The first three are one person, in three CRMs: most is told of that one."""
_told = st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(["A", "B", "C", None]), min_size=1, max_size=3)
_ages = st.sampled_from([0, 0, 1, 1, 60, 4000, -30, -7200, None, None])
_weathers = st.sampled_from([*[FAIR] * len(CALLS), *CALLS])
_searches = st.sampled_from([*[FAIR] * len(CALLS) * 3, *CALLS])
_seams = st.sampled_from([Seam.RESOLVING, Seam.HOLDING, Seam.SENDING, Seam.SENDING, Seam.RECORDING, Seam.DONE])
_causes = st.sampled_from([None, None, OutcomeKind.REJECTED, OutcomeKind.SERVER_ERROR])
_rarely = st.sampled_from([False, False, False, True])

ACTS: Final[Mapping[str, tuple[int, st.SearchStrategy[Act]]]] = {
    "tell": (12, st.builds(Tell, _people, _told, _ages)),
    "deliver": (12, st.builds(Deliver, _weathers, _searches, _seams | st.just(Seam.DONE))),
    "go": (20, st.builds(Go, _places, _seams, _weathers, _searches, _rarely)),
    "land": (8, st.builds(Land, _places)),
    "wait until due": (6, st.just(WaitUntilDue())),
    "wait": (4, st.builds(Wait, st.sampled_from(list(WAITS)))),
    "claim": (2, st.builds(Claim, st.integers(1, 3))),
    "reclaim": (2, st.just(Reclaim())),
    "drop": (2, st.builds(Drop, _places, st.booleans(), st.booleans())),
    "replay": (
        2,
        st.builds(
            Replay,
            st.booleans(),
            st.lists(st.integers(0, 30), max_size=4),
            st.none() | _people,
            _causes,
            st.booleans(),
        ),
    ),
    "repeat": (1, st.builds(Repeat, _places)),
    "crash": (1, st.builds(Crash, st.booleans())),
    "pause": (1, st.just(Pause())),
    "resume": (8, st.builds(Resume, st.booleans())),
    "rest": (1, st.builds(Rest, st.booleans())),
}
"""How often each is drawn among those that are possible, and what it is."""
THOROUGH: Final = (Phase.generate, Phase.shrink)
ALWAYS: Final = frozenset({"tell", "deliver"})
POSSIBLE: Final[Mapping[str, Callable[[World], bool]]] = {
    "go": lambda world: bool(world.tries),
    "drop": lambda world: bool(world.tries),
    "land": lambda world: bool(world.landings),
    "repeat": lambda world: bool(world.sendings),
    "replay": lambda world: bool(world.sendings),
    "pause": lambda world: not world.paused,
    "resume": lambda world: world.paused,
}


class Journey(RuleBasedStateMachine):
    """One world, in which anything may happen next."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self.house = house
        self.world = World(house)
        self.kinds: list[str] = []

    @initialize(without=st.sets(st.sampled_from(sorted(ACTS.keys() - ALWAYS))))
    def choose(self, without: set[str]) -> None:
        """Let some things never happen, so that others happen more often together."""
        self.kinds = [kind for kind, (weight, _) in ACTS.items() if kind not in without for _ in range(weight)]

    @rule(data=st.data())
    def happen(self, data: st.DataObject) -> None:
        """Let the next thing happen, and close the books."""
        possible = [kind for kind in self.kinds if kind not in POSSIBLE or POSSIBLE[kind](self.world)]
        act = data.draw(ACTS[data.draw(st.sampled_from(possible))][1])
        self.house.run(step(self.world, act))

    def teardown(self) -> None:
        """Let it come to its end, and judge that."""
        try:
            self.house.run(end_well(self.world))
        finally:
            self.house.run(self.world.close())


def run(
    house: House, *, examples: int, steps: int, seed: int | None = None, phases: Collection[Phase] = THOROUGH
) -> None:
    """Run so many examples of so many steps: the same in every run, or drawn from a seed."""

    def journey() -> Journey:
        return Journey(house)

    factory = journey if seed is None else hypothesis.seed(seed)(journey)
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=seed is None,
        phases=phases,
        database=None,  # leaves no file behind; what is found is written down in ``test_found``
        deadline=None,  # a step is real input and output
        suppress_health_check=[HealthCheck.too_slow],  # what is drawn depends on what happened, which took its time
    )
    run_state_machine_as_test(cast(type[Journey], factory), settings=chosen)
