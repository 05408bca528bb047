"""The journey of sources that switch between shadow mode and live, at any time and with anything under way."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from tests.model.acts import Act, Deliver, Tell
from tests.model.crms import FIELDS, PEOPLE
from tests.model.focus import DRAWN, RARE, WEATHERS, Acts, Focus
from tests.model.machine import Journey
from tests.model.world import World

SOURCES: Final = tuple(dict.fromkeys(person.source for person in PEOPLE))


@dataclass(frozen=True, slots=True)
class Switch:
    """A source is only watched from now on, or is live."""

    source: str
    shadow: bool = True

    async def play(self, world: World) -> None:
        """Let it happen."""
        world.switch(self.source, shadow=self.shadow)


@dataclass(frozen=True, slots=True)
class LookAfter:
    """The service looks whether something that was shadowed is to go out."""

    async def play(self, world: World) -> None:
        """Let it happen."""
        await world.look_after()


class ShadowFocus(Focus):
    """What is drawn from: switches, and the rest as everywhere."""

    def possible(self, world: World) -> list[str]:
        """Return the kinds of what may happen now, each as often as it shall."""
        return ["switch"] * 6 + ["bring and switch"] * 4 + ["look after"] * 4 + super().possible(world)

    def acts(self, kind: str, world: World) -> Acts:
        """Return what a kind of thing may be: acts that follow each other."""
        return OWN[kind](self, world) if kind in OWN else DRAWN[kind](self, world)

    def switch(self) -> st.SearchStrategy[Act]:
        """A source of those people switches."""
        sources = sorted({PEOPLE[person].source for person in self.people})
        return st.builds(Switch, st.sampled_from(sources), st.booleans())

    def bring_and_switch(self, world: World) -> Acts:
        """A change is tried up to some seam, and its source switches before it goes on."""
        told = self.told(world)
        return st.builds(_brought_and_switched, told, self.tried(), st.booleans())


def _brought_and_switched(told: Tell, tried: Deliver, shadow: bool) -> list[Act]:  # noqa: FBT001  # as it is drawn
    return [told, tried, Switch(PEOPLE[told.person].source, shadow)]


OWN: Final[Mapping[str, Callable[[ShadowFocus, World], Acts]]] = {
    "switch": lambda focus, _: focus.switch().map(lambda one: [one]),
    "bring and switch": ShadowFocus.bring_and_switch,
    "look after": lambda _, __: st.just([LookAfter()]),
}


def shadow_focuses() -> st.SearchStrategy[ShadowFocus]:
    """Draw what an example is about."""
    people = st.sampled_from([(0, 1), (0, 1), (0,), (0, 1, 2), (0, 1, 1, 2, 3, 4)])
    fields: st.SearchStrategy[Sequence[str]] = st.lists(st.sampled_from(FIELDS), min_size=1, max_size=2, unique=True)
    values = st.sampled_from([(), (), ("A", "B"), ("A", "B", None)])
    return st.builds(
        ShadowFocus, people, fields, values, st.sampled_from(WEATHERS), st.frozensets(st.sampled_from(RARE))
    )


class ShadowJourney(Journey):
    """One world of sources that switch, in which anything may happen next."""

    @initialize(focus=shadow_focuses())
    def choose(self, focus: Focus) -> None:
        """Choose what it is about."""
        self.focus = focus
