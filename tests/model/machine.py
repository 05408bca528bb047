"""The state machine: draws what happens next from what may happen now, and judges what became of it."""

from collections.abc import Collection
from typing import Final, cast

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.model.focus import Focus, focuses
from tests.model.house import House
from tests.model.play import step
from tests.model.settling import end_well
from tests.model.world import World

THOROUGH: Final = (Phase.generate, Phase.shrink)


class Journey(RuleBasedStateMachine):
    """One world, in which anything may happen next."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self.house = house
        self.world = self.new_world()
        self.focus: Focus

    def new_world(self) -> World:
        """Return the world that it is about."""
        return World(self.house)

    @initialize(focus=focuses())
    def choose(self, focus: Focus) -> None:
        """Choose what it is about."""
        self.focus = focus

    @rule(data=st.data())
    def happen(self, data: st.DataObject) -> None:
        """Let the next thing happen, and close the books."""
        kind = data.draw(st.sampled_from(self.focus.possible(self.world)))
        for act in data.draw(self.focus.acts(kind, self.world)):
            self.house.run(step(self.world, act))

    def teardown(self) -> None:
        """Let it come to its end, and judge that."""
        try:
            self.house.run(self.world.hear_all())
            self.house.run(end_well(self.world))
        finally:
            self.house.run(self.world.close())


def run(  # one keyword for each thing that a run may vary in
    house: House,
    *,
    examples: int,
    steps: int,
    seed: int | None = None,
    phases: Collection[Phase] = THOROUGH,
    machine: type[Journey] = Journey,
) -> None:
    """Run so many examples of so many steps: the same in every run, or drawn from a seed."""

    def journey() -> Journey:
        return machine(house)

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
