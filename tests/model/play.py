"""Playing acts one after the other; a list of them is what a found example is written down as."""

from collections.abc import Callable, Sequence
from typing import Final

from tests.model.acts import Act, Land, Wait, WaitUntilDue
from tests.model.house import House
from tests.model.settling import books_close, end_well
from tests.model.world import World

QUIET: Final = (Wait, WaitUntilDue, Land)
"""Acts that no log hears of."""


async def step(world: World, act: Act) -> None:
    """Let an act happen, and close the books after it."""
    await act.play(world)
    if not isinstance(act, QUIET):
        await books_close(world)


def play(house: House, acts: Sequence[Act], *, new_world: Callable[[House], World] = World) -> None:
    """Let the acts happen in a new world, and judge every step and the end."""
    world = new_world(house)
    try:
        for act in acts:
            house.run(step(world, act))
        house.run(world.hear_all())
        house.run(end_well(world))
    finally:
        house.run(world.close())
