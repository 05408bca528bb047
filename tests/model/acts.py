"""What anybody may do next, as values: so that what was found once can be written down and played again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol, TypeVar

from service.model import Json, OutcomeKind
from service.store.replay import Selection
from tests.model.house import ACCOUNT
from tests.model.settling import come_to_rest, replay_the_dead
from tests.model.tries import Seam, Try
from tests.model.weather import FAIR
from tests.model.world import LATE, LEASE, World

T = TypeVar("T")

MICROSECOND: Final = timedelta(microseconds=1)
WAITS: Final = {
    "a second": timedelta(seconds=1),
    "until nearly nothing can land late": LATE - MICROSECOND,
    "until nothing can land late": LATE,
    "a lease": LEASE,
    "an hour": timedelta(hours=1),
}


class Act(Protocol):
    """One thing that happens. What it is about is named by its place in a list, counted round and round."""

    async def play(self, world: World) -> None:
        """Let it happen."""
        ...


@dataclass(frozen=True, slots=True)
class Tell:
    """A CRM tells some fields of a person, as they were so many seconds ago; None where it gives no time."""

    person: int
    fields: Mapping[str, Json]
    age_s: int | None = 0

    async def play(self, world: World) -> None:
        """Let it happen."""
        await world.tell(world.people[self.person], self.fields, self.age_s)


@dataclass(frozen=True, slots=True)
class Repeat:
    """A CRM sends a request again, the latest being 0."""

    sending: int = 0

    async def play(self, world: World) -> None:
        """Let it happen."""
        await world.repeat(world.sendings[-1 - self.sending % len(world.sendings)])


@dataclass(frozen=True, slots=True)
class Claim:
    """The service claims some of what is due."""

    limit: int = 1

    async def play(self, world: World) -> None:
        """Let it happen."""
        await world.claim(self.limit)


@dataclass(frozen=True, slots=True)
class Deliver:
    """The service claims one delivery and tries it, from end to end or up to some seam."""

    weather: str = FAIR
    search: str = FAIR
    until: Seam = Seam.DONE

    async def play(self, world: World) -> None:
        """Let it happen."""
        for trying in await world.claim(1):
            _expose(trying, self.weather, self.search)
            await world.go(trying, self.until)


@dataclass(frozen=True, slots=True)
class Go:
    """A try that was claimed goes on to some seam; where it ``dies``, the process does while it records."""

    trying: int = 0
    until: Seam = Seam.DONE
    weather: str = FAIR
    search: str = FAIR
    dies: bool = False

    async def play(self, world: World) -> None:
        """Let it happen."""
        trying = _at(world.tries, self.trying)
        _expose(trying, self.weather, self.search)
        trying.dies_recording = self.dies
        await world.go(trying, self.until)


@dataclass(frozen=True, slots=True)
class Drop:
    """A try is broken off; ``told``: and given back, else its lease runs out. What it was to send may land."""

    trying: int = 0
    lands: bool = False
    told: bool = False

    async def play(self, world: World) -> None:
        """Let it happen."""
        await world.drop(_at(world.tries, self.trying), lands=self.lands, told=self.told)


@dataclass(frozen=True, slots=True)
class Crash:
    """The process dies, and another starts on the same log."""

    lands: bool = False

    async def play(self, world: World) -> None:
        """Let it happen."""
        await world.crash(lands=self.lands)


@dataclass(frozen=True, slots=True)
class Reclaim:
    """The service takes back the leases that ran out."""

    async def play(self, world: World) -> None:
        """Let it happen."""
        await world.reclaim()


@dataclass(frozen=True, slots=True)
class Land:
    """A PATCH that was given up is applied now."""

    landing: int = 0

    async def play(self, world: World) -> None:
        """Let it happen."""
        world.land(_at(world.landings, self.landing))


@dataclass(frozen=True, slots=True)
class Wait:
    """Time passes."""

    how_long: str = "a second"

    async def play(self, world: World) -> None:
        """Let it happen."""
        world.advance(world.clock() + WAITS[self.how_long])


@dataclass(frozen=True, slots=True)
class WaitUntilDue:
    """Time passes until the next delivery is due."""

    async def play(self, world: World) -> None:
        """Let it happen."""
        due_at = await world.store.deliveries.next_due(ACCOUNT)
        if due_at is not None:
            world.advance(due_at)


@dataclass(frozen=True, slots=True)
class Replay:
    """An operator replays changes; none named means all that fit."""

    dead_only: bool = True
    events: Sequence[int] = ()
    person: int | None = None
    cause: OutcomeKind | None = None
    then: bool = False

    async def play(self, world: World) -> None:
        """Let it happen."""
        selection = Selection(
            dead_only=self.dead_only,
            events=[one % len(world.truth.told) + 1 for one in self.events],
            source=None if self.person is None else world.people[self.person].source,
            object_id=None if self.person is None else str(world.people[self.person].id),
            cause=self.cause,
        )
        await world.replay(selection, then=self.then)


@dataclass(frozen=True, slots=True)
class Pause:
    """An operator pauses the account."""

    async def play(self, world: World) -> None:
        """Let it happen."""
        await world.pause()


@dataclass(frozen=True, slots=True)
class Resume:
    """An operator resumes it, or the service finds that its key works again."""

    by_hand: bool = True

    async def play(self, world: World) -> None:
        """Let it happen."""
        await (world.resume() if self.by_hand else world.probe())


@dataclass(frozen=True, slots=True)
class Rest:
    """All goes well until nothing is owed; then a person may replay what died."""

    replayed: bool = False

    async def play(self, world: World) -> None:
        """Let it happen."""
        await come_to_rest(world)
        if self.replayed:
            await replay_the_dead(world)


def _expose(trying: Try, weather: str, search: str) -> None:
    trying.weather = None if weather == FAIR else weather
    trying.search_weather = None if search == FAIR else search


def _at(items: Sequence[T], place: int) -> T:
    return items[place % len(items)]
