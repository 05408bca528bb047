"""The journey of events that tell little, over records that are read back: a world of its own, and what happens in it.

At the end each contact holds what its record in the CRM has, whatever was told in whatever order, however old the
answers were, and wherever a try stopped between reading and writing. Tries, weather, time and judge are the model's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Final, cast

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from service.model import Json
from service.readback.base import Reading
from service.readback.client import ReadBack
from service.schema import links
from tests.model.acts import Act, Deliver, Wait, WaitUntilDue
from tests.model.focus import DRAWN, Acts, Focus
from tests.model.house import House
from tests.model.machine import Journey
from tests.model.portal import (
    BEFORE,
    CONTACTS,
    FIELDS,
    LAGS,
    NAMES,
    NOW,
    READS,
    SOURCE,
    Portal,
    PortalTruth,
    changed,
    happened,
)
from tests.model.tries import TRYING, Seam
from tests.model.truth import Told
from tests.model.world import World
from tests.support.log import rows

MILLISECOND: Final = timedelta(milliseconds=1)
TWO_SECONDS: Final[tuple[Act, ...]] = (Wait("a second"), Wait("a second"))
"""As long as an answer lags at most."""
AS_VALUES, AS_NAMES, AS_CREATION = "with values", "by name alone", "as a creation"
TOLD: Final = (AS_VALUES, AS_VALUES, AS_NAMES, AS_CREATION)
"""How an edit is told."""


class _WatchedReadBack:
    """What a delivery reads back, and where it can be stopped afterwards."""

    def __init__(self, world: "PortalWorld") -> None:
        self._world = world

    async def read(self, object_id: str) -> Reading | None:
        """Return the record as the CRM tells it, however old that is."""
        trying = TRYING.get()
        trying.reads += 1
        assert trying.reads == 1, "one try reads twice"
        reading = await self._world.portal.answer(object_id, self._world.clock())
        await trying.stop_at(Seam.MAPPING)
        return reading


class PortalWorld(World):
    """A world with one CRM, whose records are read back."""

    fields: ClassVar[Sequence[str]] = FIELDS

    def __init__(self, house: House) -> None:
        self.portal = Portal()
        super().__init__(house, PortalTruth(self.portal))
        self.people = [self.portal.person(contact) for contact in range(CONTACTS)]

    def readbacks(self) -> Mapping[str, ReadBack]:
        """Return how records are read back."""
        return {SOURCE: cast(ReadBack, _WatchedReadBack(self))}

    def may_end(self, told: Told, *, ignored: bool) -> bool:
        """Say whether a change may end like this: only what is told of a record that is gone is ignored."""
        return not ignored or self.portal.is_gone(told.object_id)

    def clear_up(self) -> None:
        """Let the CRM answer every read, though it may lag as before."""
        self.portal.read = self.portal.read if self.portal.read in LAGS else NOW

    async def hear_all(self) -> None:
        """Let the CRM send what it has not sent yet."""
        while self.portal.unsent:
            await self.send(self.portal.unsent.pop())

    def edit(self, contact: int, values: Mapping[str, Json], how: str) -> None:
        """Let a record change; its webhook waits."""
        self._tick()
        person = self.portal.edit(contact, values, self.clock())
        match how:
            case "as a creation":
                told = [happened("creation")]
            case _:
                told = [changed(name, value, told=how == AS_VALUES) for name, value in values.items()]
        self.portal.tell(person, told, self.clock())

    def _tick(self) -> None:
        """Let no two versions be of the same millisecond: the CRM tells no more of a time."""
        later = self.clock() + MILLISECOND
        self.advance(later.replace(microsecond=later.microsecond // 1000 * 1000))

    async def merge(self, contact: int, *, known: bool) -> None:
        """Let a new record take a record's place; its webhook waits, unless there is no other way to know the person.

        Where the link is not known yet, nothing else than the email could tell whose record it is.
        """
        self._tick()
        before = self.portal.person(contact)
        linked = {row["object_id"] for row in await rows(self.store, links)}
        known = known or str(before.id) not in linked
        _, survivor = self.portal.merge(contact, self.clock(), known=known)
        self.people.append(survivor)
        merged = happened("merge", primaryObjectId=before.id, mergedObjectIds=[before.id], newObjectId=survivor.id)
        self.portal.tell(survivor, [merged], self.clock())
        if not known:
            await self.send(self.portal.unsent.pop())


def _portal(world: World) -> PortalWorld:
    assert isinstance(world, PortalWorld)
    return world


@dataclass(frozen=True, slots=True)
class Edit:
    """A record changes, and its CRM will tell so in some way."""

    contact: int
    values: Mapping[str, Json]
    how: str = AS_VALUES

    async def play(self, world: World) -> None:
        """Let it happen."""
        _portal(world).edit(self.contact, self.values, self.how)


@dataclass(frozen=True, slots=True)
class Send:
    """A webhook that waited is sent, the latest being 0."""

    unsent: int = 0

    async def play(self, world: World) -> None:
        """Let it happen."""
        waiting = _portal(world).portal.unsent
        await world.send(waiting.pop(-1 - self.unsent % len(waiting)))


@dataclass(frozen=True, slots=True)
class Merge:
    """A new record takes the place of one that has been told of."""

    contact: int
    known: bool = False

    async def play(self, world: World) -> None:
        """Let it happen."""
        await _portal(world).merge(self.contact, known=self.known)


@dataclass(frozen=True, slots=True)
class Reads:
    """What reads come to from now on."""

    come_to: str = NOW

    async def play(self, world: World) -> None:
        """Let it happen."""
        _portal(world).portal.read = self.come_to


class ThinFocus(Focus):
    """What is drawn from: edits, merges and answers of the CRM, and the rest as everywhere."""

    def possible(self, world: World) -> list[str]:
        """Return the kinds of what may happen now, each as often as it shall."""
        portal = _portal(world).portal
        own = ["edit"] * 6 + ["edit and send"] * 8 + ["read between"] * 4 + ["reads"] * 5
        own += ["send"] * 8 if portal.unsent else []
        own += ["merge"] * 2 if "merge" not in self.without and self._merged(world) else []
        return own + [kind for kind in super().possible(world) if kind in AS_EVERYWHERE]

    def acts(self, kind: str, world: World) -> Acts:
        """Return what a kind of thing may be: acts that follow each other."""
        return OWN[kind](self, world) if kind in OWN else DRAWN[kind](self, world)

    def edit(self, world: World) -> st.SearchStrategy[Act]:
        """A record changes."""
        portal = _portal(world).portal
        number = sum(map(len, portal.contacts.values())) + 1
        values = st.sampled_from([*self.values, f"v{number}"])
        cleared = st.dictionaries(st.just("jobtitle"), st.none(), max_size=1) if None in self.values else st.just({})
        names = st.dictionaries(st.sampled_from(self.fields), values.filter(bool), min_size=1, max_size=2)
        edited = st.builds(lambda one, other: {**one, **other}, names, cleared)
        return st.builds(Edit, st.sampled_from(self.people), edited, st.sampled_from(TOLD))

    def read_between(self, world: World) -> Acts:
        """Two edits are told of together, or one of them is, and the answer is of the time between them."""
        sent: st.SearchStrategy[list[Act]] = st.sampled_from([[Send()], [Send(), Send()]])
        return st.builds(
            lambda one, two, then: [one, *TWO_SECONDS, two, Reads(BEFORE), *then, Deliver()],
            self.edit(world),
            self.edit(world),
            sent,
        )

    def merge(self, world: World) -> Acts:
        """A record is merged away, and its merge told at once or later."""
        merge = st.builds(Merge, st.sampled_from(self._merged(world)), st.booleans())
        return merge.map(lambda one: [one])

    def _merged(self, world: World) -> list[int]:
        portal = _portal(world).portal
        return [contact for contact in self.people if portal.contacts[contact]]


AS_EVERYWHERE: Final = frozenset(
    {"deliver", "go", "land", "wait", "outlive", "reclaim", "claim", "drop", "crash", "repeat", "rest"}
)
OWN: Final[Mapping[str, Callable[[ThinFocus, World], Acts]]] = {
    "edit": lambda focus, world: focus.edit(world).map(lambda one: [one]),
    "edit and send": lambda focus, world: focus.edit(world).flatmap(
        lambda one: st.sampled_from([[one, Send()], [one, Send(), Deliver()], [one, Send(), WaitUntilDue(), Deliver()]])
    ),
    "send": lambda _, __: st.builds(Send, st.integers(0, 3)).map(lambda one: [one]),
    "read between": ThinFocus.read_between,
    "merge": ThinFocus.merge,
    "reads": lambda _, __: st.sampled_from(READS).map(lambda one: [Reads(one)]),
}
WEATHERS: Final[Sequence[Sequence[str]]] = (
    (),
    ("closed, lands late",),
    ("closed, lands late", "422"),
    ("cut short", "500, applied", "503, applied", "429"),
)
RARE: Final = ("merge", "repeat", "claim", "drop", "crash", "rest", "land", "outlive")


def thin_focuses() -> st.SearchStrategy[ThinFocus]:
    """Draw what an example is about."""
    people = st.sampled_from([(0,), (0,), (0, 1)])
    values = st.sampled_from([(), (), ("A", "B"), ("A", "B", None)])
    return st.builds(
        ThinFocus,
        people,
        st.sampled_from([("street", "city"), ("street", "city", "plan"), NAMES]),
        values,
        st.sampled_from(WEATHERS),
        st.frozensets(st.sampled_from(RARE)),
    )


class ThinJourney(Journey):
    """One world of thin events, in which anything may happen next."""

    def new_world(self) -> World:
        """Return the world that it is about."""
        return PortalWorld(self.house)

    @initialize(focus=thin_focuses())
    def choose(self, focus: Focus) -> None:
        """Choose what it is about."""
        self.focus = focus
