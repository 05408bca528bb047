"""Runs the model for longer than the test does: ``python -m tests.model --examples 2000 --steps 80 --seed 7``."""

import argparse
import random
import time

from hypothesis import Phase

from tests.model.crms import CONFIGURATION as WHOLE
from tests.model.house import house
from tests.model.machine import THOROUGH, Journey, run
from tests.model.portal import CONFIGURATION as THIN
from tests.model.shadow import ShadowJourney
from tests.model.thin import ThinJourney


def main() -> None:
    """Run, and tell how long it took; what is found is raised, made as small as can be."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="drawn unless given")  # noqa: S311  # no secret
    parser.add_argument("--thin", action="store_true", help="events that tell little, and records that are read back")
    parser.add_argument("--shadow", action="store_true", help="sources that switch between shadow mode and live")
    parser.add_argument("--no-shrink", action="store_true", help="tell the first example as it was found")
    given = parser.parse_args()
    print(f"{given.examples} examples of {given.steps} steps, --seed {given.seed}", flush=True)
    started = time.monotonic()
    phases = (Phase.generate,) if given.no_shrink else THOROUGH
    machine, configuration = (ThinJourney, THIN) if given.thin else (ShadowJourney if given.shadow else Journey, WHOLE)
    with house(configuration) as opened:
        run(opened, examples=given.examples, steps=given.steps, seed=given.seed, phases=phases, machine=machine)
    print(f"all of it held, in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
