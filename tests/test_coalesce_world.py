"""A model of the whole: arrivals, tries, lost answers and late PATCHes in any order, and what a contact ends with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from service.coalesce import Plan, again_at, contact_fields, doubts_after, patch_body, same_value, sure_of
from service.model import Confirmed, Disposition, Doubt, Event, Json, Known, Mapped, Order
from service.store.contacts import doubted
from tests.support.merging import AT, after, event, merge, values

LATE: Final = timedelta(seconds=30)
"""After its call was given up, a PATCH may land for so long."""
SOURCES: Final = ("hubspot", "pipedrive")


class Fate(Enum):
    """What becomes of a PATCH. Nobody hears of the last three."""

    APPLIED = auto()
    REFUSED = auto()
    APPLIED_UNHEARD = auto()
    LOST = auto()
    LANDS_LATE = auto()


@dataclass(frozen=True)
class Flight:
    """A PATCH that was given up, and that lands some time before ``until``."""

    fields: Mapping[str, Json]
    until: datetime


@dataclass
class World:
    """One ChartMogul contact fed by two CRMs, and what the log knows of it."""

    now: datetime = AT
    contact: dict[str, Json] = field(default_factory=dict)
    known: dict[str, Confirmed] = field(default_factory=dict)
    doubts: tuple[Doubt, ...] = ()
    pending: dict[str, list[tuple[Event, Mapped]]] = field(default_factory=lambda: {source: [] for source in SOURCES})
    again: dict[str, datetime] = field(default_factory=dict)
    flying: list[Flight] = field(default_factory=list)
    written: dict[str, Order] = field(default_factory=dict)
    ends: list[Disposition] = field(default_factory=list)
    calls: int = 0
    doubtful: bool = False

    def deliver(self, source: str, fate: Fate, *, read: bool = False) -> None:
        """One try at what a source has pending; the contact may have been read before."""
        fresh = dict(self.contact) if read else None
        planned = merge(self.pending[source], self.known, fresh, doubts=self.doubts, now=self.now)
        heard = fate in {Fate.APPLIED, Fate.REFUSED}
        if not planned.send:
            self.conclude(source, planned)
            return
        self.calls += 1
        self.doubtful = self.doubtful or not heard
        if fate in {Fate.APPLIED, Fate.APPLIED_UNHEARD}:
            self.apply(planned)
        if fate is Fate.APPLIED:
            self.conclude(source, planned)
        if heard:
            return
        until = self.now + LATE
        self.known = doubted(self.known, planned.send)
        self.doubts += (Doubt(until, {name: sent.carried for name, sent in planned.send.items()}),)
        if fate is Fate.LANDS_LATE:
            self.flying.append(Flight(contact_fields(patch_body(values(planned))), until))

    def apply(self, planned: Plan) -> None:
        """Let ChartMogul take a PATCH."""
        for name, sent in planned.send.items():
            assert self.doubtful or sent.order >= self.written.get(name, sent.order), "an older value went out"
            self.written[name] = sent.order
        self.contact.update(contact_fields(patch_body(values(planned))))

    def conclude(self, source: str, planned: Plan) -> None:
        """Write down what a try that ended well leaves."""
        self.ends += planned.dispositions
        self.pending[source] = []
        self.doubts = doubts_after(Known(doubts=self.doubts), since=self.now)
        self.known |= sure_of(after({}, planned), self.doubts)
        due_at = again_at(self.doubts, self.known)
        if due_at is None:
            self.again.pop(source, None)
        else:
            self.again[source] = due_at

    def land(self, number: int) -> None:
        """Let a late PATCH land."""
        if self.flying:
            self.contact.update(self.flying.pop(number % len(self.flying)).fields)

    def wait_until(self, instant: datetime) -> None:
        """Let time pass; what lands late has landed by its time."""
        self.now = max(self.now, instant)
        for flight in [flight for flight in self.flying if flight.until <= self.now]:
            self.flying.remove(flight)
            self.contact.update(flight.fields)

    def settle(self) -> None:
        """From here on everything gets through; what was given up lands as late as it can."""
        for source in SOURCES:
            if self.pending[source]:
                self.deliver(source, Fate.APPLIED)
        while self.flying or self.again:
            self.wait_until(min([*self.again.values(), *(flight.until for flight in self.flying)]))
            for source in [source for source, due_at in self.again.items() if due_at <= self.now]:
                self.deliver(source, Fate.APPLIED)


class Told(NamedTuple):
    """A CRM tells a change."""

    source: str
    order_key: int
    fields: dict[str, Json]


class Tried(NamedTuple):
    """A delivery is tried."""

    source: str
    fate: Fate
    read: bool


class Landed(NamedTuple):
    """One of the late PATCHes lands."""

    number: int


class Waited(NamedTuple):
    """Time passes."""

    seconds: int


sources = st.sampled_from(SOURCES)
fields = st.dictionaries(
    st.sampled_from(["first_name", "title", "custom.Lifecycle"]),
    st.sampled_from(["CFO", "COO", 87, "87", True, None, ""]),
    max_size=3,
)
steps_taken = st.one_of(
    st.builds(Told, sources, st.integers(-2, 6), fields),
    st.builds(Tried, sources, st.sampled_from(Fate), st.booleans()),
    st.builds(Landed, st.integers(0, 3)),
    st.builds(Waited, st.sampled_from([1, 10, 29, 30, 31])),
)


@given(st.lists(steps_taken, max_size=24))
def test_whatever_happens_the_contact_ends_with_the_newest_value_of_every_field(
    steps: list[Told | Tried | Landed | Waited],
) -> None:
    world = World()
    newest: dict[str, tuple[Order, Json]] = {}
    arrived = 0
    for step in steps:
        match step:
            case Told(source, order_key, row):
                arrived += 1
                it = event(arrived, order_key, source=source)
                world.pending[source].append((it, Mapped(row)))
                for name, value in row.items():
                    newest[name] = max(newest.get(name, (it.order, value)), (it.order, value), key=lambda at: at[0])
            case Tried(source, fate, read):
                world.deliver(source, fate, read=read)
            case Landed(number):
                world.land(number)
            case Waited(seconds):
                world.wait_until(world.now + timedelta(seconds=seconds))
    world.settle()
    for name, (_, value) in newest.items():
        assert same_value(value, world.contact.get(name)), name
    assert sorted(it.event_id for it in world.ends) == list(range(1, arrived + 1))
