"""One service with its log and a ChartMogul, in a time of its own; every try in it can be stopped and left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import ClassVar, Final

from service.conclusion import Policy
from service.limiter import WAIT_MAX
from service.model import Deliver, Json, Outcome, OutcomeKind, Receipt
from service.operations.going_live import go_live
from service.pipeline import InForce, Pipeline
from service.readback.client import ReadBack
from service.resolver import Resolver
from service.store.replay import Selection
from tests.model.crms import FIELDS, PEOPLE, Person, Sending, tell
from tests.model.house import ACCOUNT, House
from tests.model.judge import Judge
from tests.model.tries import Died, Patch, Seam, Try, WatchedStore
from tests.model.truth import Told, Truth
from tests.model.weather import CALLS, RETRY_FOR
from tests.support.clock import Clock

LEASE: Final = timedelta(seconds=60)
LATE: Final = timedelta(seconds=30)
"""How long after it was given up a PATCH may still land."""
RESTART: Final = timedelta(seconds=1)
"""How long it takes to start again."""
EVERY: Final = timedelta(seconds=1 / 40)


@dataclass(slots=True)
class Landing:
    """A PATCH whose fate nobody knows, and that will be applied before an instant."""

    patch: Patch
    before: datetime
    trying: Try


class World:
    """The acts of everybody: CRMs, the service, the weather, an operator, and time."""

    fields: ClassVar[Sequence[str]] = FIELDS
    """What all this is about, by our names."""

    def __init__(self, house: House, truth: Truth | None = None) -> None:
        self.house = house
        self.clock = Clock()
        self.truth = Truth() if truth is None else truth
        self.people: list[Person] = list(PEOPLE)
        self.sendings: list[Sending] = []
        self.tries: list[Try] = []
        """Those under way, the oldest first."""
        self.landings: list[Landing] = []
        self.paused = False
        """Whether the account waits for a person, or for its key to work again."""
        self.shadowed: set[str] = set()
        """Sources in shadow mode."""
        self.judge = Judge(self.truth, house.sandbox, self.clock)
        self._log = house.new_log()
        self._holders: dict[str, Try] = {}
        self._chance = Random(0)  # noqa: S311  # the same in every run
        house.sandbox.reset()
        house.lodger = self
        self._open()

    def _open(self) -> None:
        self.store = WatchedStore(f"sqlite:///{self._log}", self)
        sinks = {ACCOUNT: self.house.sink}
        policy = Policy(retry_for=RETRY_FOR, late=LATE, clear_with=None)
        self.pipeline = Pipeline(
            store=self.store,
            in_force=self.in_force(),
            sinks=sinks,
            resolver=Resolver(sinks),
            policy=policy,
            clock=self.clock,
            chance=self._chance.random,
        )

    def in_force(self) -> InForce:
        """Return what the configuration makes of the sources as they are to deliver now."""
        config = self.house.config
        sources = {
            name: replace(one, deliver=Deliver.SHADOW if name in self.shadowed else Deliver.LIVE)
            for name, one in config.sources.items()
        }
        return InForce(config.version, sources, self.readbacks())

    def readbacks(self) -> Mapping[str, ReadBack]:
        """Return how records are read back: here every CRM tells the values."""
        return {}

    def may_end(self, told: Told, *, ignored: bool) -> bool:
        """Say whether a change may end like this: what says nothing of our fields is ignored, and nothing else."""
        return ignored is not bool(told.fields)

    async def close(self) -> None:
        """End what is under way, and close the log."""
        for trying in self.tries:
            await trying.end()
        self.tries.clear()
        await self.store.close()

    # What the CRMs do.

    async def tell(self, person: Person, fields: Mapping[str, Json], age_s: int | None) -> None:
        """Let a CRM tell a change of so many seconds ago by its clock, or of no time at all."""
        now = self.clock()
        at = None if age_s is None else now - timedelta(seconds=age_s)
        sending = tell(person, fields, at=at, now=now, number=len(self.sendings) + 1)
        await self.send(sending)

    async def send(self, sending: Sending) -> None:
        """Let a CRM send a request for the first time."""
        receipt = await self.receive(sending)
        assert receipt == Receipt(len(sending.said), 0)
        self.sendings.append(sending)
        for said in sending.said:
            order = (said.order_key, len(self.truth.told) + 1)
            person = sending.person
            self.truth.told.append(Told(person.source, said.key, str(person.id), person.uuid, order, said.fields))

    async def repeat(self, sending: Sending) -> None:
        """Let a CRM send a request again."""
        assert await self.receive(sending) == Receipt(0, len(sending.said))

    async def receive(self, sending: Sending) -> Receipt:
        """Take a request in as the service does."""
        configured = self.house.config.sources[sending.person.source]
        return await self.pipeline.receive(configured, sending.request(self.clock()))

    def clear_up(self) -> None:
        """Let nothing more go wrong with the CRMs, which is nothing here."""

    async def hear_all(self) -> None:
        """Let the CRMs send what they have not sent yet, which is nothing here."""

    # What the service does.

    async def claim(self, limit: int) -> list[Try]:
        """Claim what is due."""
        until = self.clock() + LEASE
        claimed = await self.store.deliveries.claim(
            account=ACCOUNT, owner="owner", now=self.clock(), lease_until=until, limit=limit
        )
        tries = [Try(delivery, until) for delivery in claimed]
        self.tries += tries
        return tries

    async def go(self, trying: Try, until: Seam = Seam.DONE) -> None:
        """Let a try go on, to a seam or to its end."""
        if trying.overtaken_at is not None and self.clock() >= trying.overtaken_at + LATE:
            until = Seam.DONE  # so late that nobody would learn of its PATCH if it did not say so itself
        if trying.at is Seam.CLAIMED:
            trying.shadow = trying.delivery.source in self.shadowed
        try:
            await trying.go(self.pipeline, until)
        except Died:
            self._leave(trying, lands=False)
            return
        if trying.at is Seam.DONE:
            self.tries.remove(trying)
            self.judge.ended(trying)
            self.paused |= trying.conclusion is not None and trying.conclusion.verdict.pause

    async def drop(self, trying: Try, *, lands: bool, told: bool) -> None:
        """Break a try off. Its lease runs out, unless the log is ``told``; what it was about to send may land."""
        await trying.end()
        self._leave(trying, lands=lands)
        if told:
            await self.pipeline.give_up(trying.delivery)

    async def crash(self, *, lands: bool) -> None:
        """End the process and start another on the same log."""
        for trying in list(self.tries):
            await self.drop(trying, lands=lands, told=False)
        await self.store.close()
        self.advance(self.clock() + RESTART)
        self._open()
        await self.store.deliveries.reclaim(now=self.clock(), everything=True)

    async def reclaim(self) -> None:
        """Take back the leases that ran out."""
        await self.store.deliveries.reclaim(now=self.clock())
        for trying in self.tries:
            if trying.lease_until <= self.clock():
                trying.lost = True
                self.judge.left(trying)

    async def look_after(self) -> int:
        """Let what was shadowed go out where its source is live now, as the service does by itself."""
        sources = self.pipeline.in_force.sources
        reopened = await go_live(self.store, lambda: sources, clock=self.clock)
        if reopened:  # apart from what named the person, which was ignored
            self.judge.unnamed |= {(told.source, told.object_id) for told in self.truth.told}
        return reopened

    # What an operator does.

    def switch(self, source: str, *, shadow: bool) -> None:
        """Let a source only be watched from now on, or let it be live."""
        self.shadowed = self.shadowed | {source} if shadow else self.shadowed - {source}
        self.pipeline.in_force = self.in_force()

    async def replay(self, selection: Selection, *, then: bool = False) -> None:
        """Replay changes."""
        if selection.events:
            self.judge.unnamed |= {(told.source, told.object_id) for told in self.truth.told}
        batch = await self.store.replays.batch(selection, then=then, now=self.clock())
        assert (batch.last_id, batch.unreadable) == (None, 0)

    async def pause(self) -> None:
        """Pause the account."""
        await self.store.accounts.pause(ACCOUNT, reason="a person did", now=self.clock())
        self.paused = True

    async def resume(self) -> None:
        """Let it go on."""
        await self.store.accounts.resume(ACCOUNT)
        self.paused = False

    async def probe(self) -> None:
        """Ask whether a refused key works again, as the service does by itself."""
        for state in await self.store.accounts.paused():
            if await self.pipeline.probe(state.name):
                self.paused = False

    # What time does.

    def advance(self, to: datetime) -> None:
        """Let it become later. What had to land before has landed."""
        for landing in sorted(self.landings, key=lambda one: one.before):
            if landing.before <= to:
                self.land(landing)
        self.clock.now = max(self.clock.now, to)

    def land(self, landing: Landing) -> None:
        """Apply a PATCH that its sender gave up long ago."""
        self.landings.remove(landing)
        if landing.before > self.clock():
            answer = self.house.wire.patch(f"/v1/contacts/{landing.patch.uuid}", json=landing.patch.body)
            assert answer.status_code == 200, answer.text
            self.judge.landed(landing.patch)

    # What the tries tell: see ``tries.Watch``.

    async def turn(self) -> None:
        """Wait for a turn as the limiter does; nobody sleeps, it only becomes later."""
        turn = await self.store.accounts.reserve(ACCOUNT, every=EVERY, wait_max=WAIT_MAX, now=self.clock())
        self.advance(turn.at)

    def holds(self, trying: Try, uuid: str) -> None:
        """Note that a try has a contact now, and who had it before."""
        before = self._holders.get(uuid)
        self.judge.holds(trying, uuid, before if before is not trying and before in self.tries else None)
        self._holders[uuid] = trying

    def searches(self, trying: Try) -> None:
        """Note how old what is read now will be, and let the weather have its way."""
        self.judge.searches(trying)
        self._strike(trying, trying.search_weather, "GET")

    def sends(self, trying: Try, patch: Patch) -> None:
        """Judge a PATCH that goes out now, and let the weather have its way."""
        self.judge.sends(trying, patch, alone=self._holders.get(patch.uuid) is trying)
        self._strike(trying, trying.weather, "PATCH")

    def answered(self, trying: Try, patch: Patch, outcome: Outcome) -> None:
        """Note what a PATCH came to, and that it may land later."""
        self.judge.answered(patch, outcome)
        if outcome.kind is OutcomeKind.UNKNOWN and trying.weather is not None and CALLS[trying.weather].lands:
            self.landings.append(Landing(patch, self.clock() + LATE, trying))

    def _strike(self, trying: Try, weather: str | None, method: str) -> None:
        if weather is not None:
            trying.struck.add(weather)
            self.house.sandbox.add_faults(replace(CALLS[weather].fault, method=method, count=1))

    def _leave(self, trying: Try, *, lands: bool) -> None:
        """Have a try no more. What it sent is known to whoever took its contact, or takes it next, and to no other."""
        self.tries.remove(trying)
        self.judge.left(trying)
        if lands and trying.at is Seam.SENDING and trying.patch is not None:
            self.landings.append(Landing(trying.patch, self.clock() + LATE, trying))
        if trying.overtaken_at is not None:
            for landing in self.landings:
                if landing.trying is trying:
                    landing.before = min(landing.before, trying.overtaken_at + LATE)
