"""Whatever order events come in, each field goes out with its newest value, once, and each event has one end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Final, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.coalesce import Plan, contact_fields, patch_body, plan, same_value
from service.model import Action, Change, Confirmed, Disposition, Event, EventState, Json, Mapped
from service.store.contacts import doubted

AT: Final = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
FIELDS: Final = ("first_name", "title", "custom.Lifecycle", "custom.Lead score")
VALUES: Final = ("Head of Finance", "CFO", "Customer", 87, "87", True, None, "")

Given = Sequence[tuple[Event, Mapped]]


def event(number: int, order_key: int | None = None, *, source: str = "hubspot") -> Event:
    """An event that arrived as the ``number``-th; without a clock of the sender it is ordered by arrival."""
    change = Change(f"{source}-{number}", "contact", "51", Action.UPDATED)
    return Event(number, source, AT, number if order_key is None else order_key, change)


def one(number: int, fields: Mapping[str, Json], order_key: int | None = None) -> tuple[Event, Mapped]:
    return event(number, order_key), Mapped(fields)


def confirmed(value: Json, number: int, order_key: int | None = None, *, certain: bool = True) -> Confirmed:
    by = event(number, order_key)
    return Confirmed(value, by.order, by.id, AT, certain=certain)


def values(planned: Plan) -> dict[str, Json]:
    return {name: sent.value for name, sent in planned.send.items()}


def end(planned: Plan, number: int) -> Disposition:
    (found,) = (disposition for disposition in planned.dispositions if disposition.event_id == number)
    return found


def after(known: Mapping[str, Confirmed], planned: Plan) -> dict[str, Confirmed]:
    """What is known of a contact once a plan's PATCH was confirmed."""
    sent = {name: Confirmed(it.value, it.event.order, it.event.id, AT) for name, it in planned.send.items()}
    return {**known, **planned.kept, **sent}


def test_a_burst_of_partial_events_becomes_one_patch_with_the_newest_value_of_each_field() -> None:
    """Pipedrive and Close tell one property at a time; ChartMogul is called once for all of them."""
    planned = plan(
        [one(1, {"title": "CFO"}), one(2, {"first_name": "Grace"}), one(3, {"title": "COO"}), one(4, {"phone": "+49"})],
        {},
    )
    assert values(planned) == {"title": "COO", "first_name": "Grace", "phone": "+49"}
    assert end(planned, 1) == Disposition(1, EventState.MERGED, "overtaken by a newer event", 3)
    assert end(planned, 2) == Disposition(2, EventState.MERGED, "its values went out with a newer event", 4)
    assert end(planned, 3) == Disposition(3, EventState.MERGED, "its values went out with a newer event", 4)
    assert end(planned, 4) == Disposition(4, EventState.DELIVERED)


def test_a_full_record_overtakes_the_full_records_before_it() -> None:
    planned = plan([one(1, {"title": "CFO", "first_name": "G."}), one(2, {"title": "COO", "first_name": "Grace"})], {})
    assert values(planned) == {"title": "COO", "first_name": "Grace"}
    assert [it.event.id for it in planned.send.values()] == [2, 2]
    assert end(planned, 1) == Disposition(1, EventState.MERGED, "overtaken by a newer event", 2)


def test_the_senders_clock_orders_before_arrival_and_arrival_breaks_its_ties() -> None:
    late = [one(7, {"title": "CFO"}, 2_000), one(8, {"title": "Intern"}, 1_000), one(9, {"title": "COO"}, 2_000)]
    assert values(plan(late, {})) == {"title": "COO"}


def test_an_older_value_never_goes_out_against_a_newer_one_of_another_source() -> None:
    known = {"title": confirmed("COO", 40, 2_000)}
    planned = plan([one(41, {"title": "CFO"}, 1_000)], known)
    assert planned == Plan({}, (Disposition(41, EventState.MERGED, "a newer value was delivered before", 40),), {})


def test_an_older_event_still_delivers_the_fields_that_are_news() -> None:
    known = {"title": confirmed("COO", 40, 2_000)}
    planned = plan([one(41, {"title": "CFO", "first_name": "Grace"}, 1_000)], known)
    assert values(planned) == {"first_name": "Grace"}
    assert end(planned, 41).state is EventState.DELIVERED


def test_an_uncertain_field_is_not_overwritten_by_an_older_value_either() -> None:
    known = {"title": confirmed("COO", 40, 2_000, certain=False)}
    assert values(plan([one(41, {"title": "CFO"}, 1_000)], known)) == {}


def test_what_chartmogul_holds_is_not_sent_but_its_order_moves_on() -> None:
    """Otherwise a value that was confirmed long ago could lose to one that is older than the last event."""
    planned = plan([one(41, {"title": "CFO"}, 3_000)], {"title": confirmed("CFO", 40, 1_000)})
    assert values(planned) == {}
    assert end(planned, 41) == Disposition(41, EventState.UNCHANGED, "ChartMogul has these values already")
    assert planned.kept == {"title": Confirmed("CFO", (3_000, 41), 41, AT)}
    later = plan([one(42, {"title": "Intern"}, 2_000)], planned.kept)
    assert end(later, 42).by_event_id == 41


def test_an_uncertain_field_is_sent_even_if_it_seems_to_be_there() -> None:
    """A PATCH of unknown outcome may have changed it, or may yet."""
    known = {"title": confirmed("CFO", 40, certain=False)}
    assert values(plan([one(41, {"title": "CFO"})], known, {"title": "CFO"})) == {"title": "CFO"}


def test_an_event_before_1970_is_sent_where_nothing_newer_was() -> None:
    """Some CRMs write the year 1 for "never"; a field that was only read, or only doubted, is not newer than that."""
    unset = event(41, -62_135_596_800_000_000)
    for read in (Confirmed("CFO"), Confirmed(None, certain=False)):
        planned = plan([(unset, Mapped({"title": "COO"}))], {"title": read})
        assert values(planned) == {"title": "COO"}
        assert end(planned, 41).state is EventState.DELIVERED


def test_a_replay_of_the_event_that_set_a_field_may_set_it_again() -> None:
    """After the mapping was mended, the same event means another value."""
    for order_key in (1_000, 2_000, 3_000):  # its order may have been mended too
        known = {"title": confirmed("cfo", 40, 2_000)}
        assert values(plan([one(40, {"title": "CFO"}, order_key)], known)) == {"title": "CFO"}


FRESH: Final[dict[str, Json]] = {"title": "CFO", "phone": None, "custom": {"Lifecycle": "Lead"}}


@pytest.mark.parametrize(
    ("name", "value", "before", "sent"),
    [
        ("title", "CFO", None, False),
        ("title", "COO", None, True),
        ("phone", None, None, False),
        ("custom.Lifecycle", "Lead", None, False),
        ("custom.Lifecycle", "Customer", None, True),
        ("custom.Lifecycle", None, None, True),
        ("custom.Plan", None, None, False),
        ("custom.Plan", "Team", None, True),
        # An older API leaves fields out: then only what was confirmed speaks for them.
        ("external_id", None, None, True),
        ("external_id", "51", "51", False),
        ("external_id", "51", "52", True),
        # A person changed it in ChartMogul meanwhile.
        ("title", "COO", "COO", True),
        # It was read before the contact was held: another delivery's PATCH may have come in between.
        ("title", "CFO", "COO", True),
        ("title", "CFO", "CFO", False),
    ],
)
def test_a_contact_just_read_saves_what_it_holds_unless_the_log_knows_better(
    name: str, value: Json, before: str | None, *, sent: bool
) -> None:
    known = {} if before is None else {name: confirmed(before, 40)}
    planned = plan([one(41, {name: value})], known, FRESH)
    assert values(planned) == ({name: value} if sent else {})
    assert end(planned, 41).state is (EventState.DELIVERED if sent else EventState.UNCHANGED)


def test_a_value_first_seen_in_a_contact_just_read_has_no_time_of_confirmation() -> None:
    assert plan([one(41, {"title": "CFO"})], {}, FRESH).kept == {"title": Confirmed("CFO", (41, 41), 41, None)}


def test_an_event_without_a_mapped_field_is_ignored() -> None:
    planned = plan([one(1, {}), one(2, {"title": "CFO"})], {})
    assert end(planned, 1) == Disposition(1, EventState.IGNORED, "no mapped field in it")
    assert end(planned, 2).state is EventState.DELIVERED


def test_an_event_partly_overtaken_and_partly_there_names_the_one_that_overtook_it() -> None:
    known = {"first_name": confirmed("Grace", 39)}
    planned = plan([one(41, {"first_name": "Grace", "title": "CFO"}), one(42, {"title": "COO"})], known)
    assert end(planned, 41) == Disposition(41, EventState.MERGED, "overtaken by a newer event", 42)


def test_no_events_are_no_patch() -> None:
    assert plan([], {"title": confirmed("CFO", 1)}) == Plan({}, (), {})


def test_values_stay_out_of_a_plans_text() -> None:
    planned = plan([one(41, {"title": "CFO", "phone": "+493012345678"})], {}, {"phone": "+493012345678"})
    assert "CFO" not in repr(planned)
    assert "+4930" not in repr(planned)


json_values = st.sampled_from(VALUES)
fields = st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=3)
order_keys = st.integers(-2, 6)
known_fields = st.dictionaries(
    st.sampled_from(FIELDS),
    st.one_of(
        st.builds(confirmed, json_values, st.integers(100, 104), order_keys, certain=st.booleans()),
        st.builds(Confirmed, json_values, certain=st.booleans()),
    ),
)
contacts_read = st.none() | st.dictionaries(st.sampled_from(FIELDS), json_values)


@st.composite
def batches(draw: st.DrawFn) -> list[tuple[Event, Mapped]]:
    rows = draw(st.lists(st.tuples(order_keys, fields), max_size=6))
    return [one(number, row, order_key) for number, (order_key, row) in enumerate(rows, 1)]


@given(batches(), known_fields, contacts_read, st.randoms(use_true_random=False))
def test_the_order_in_which_events_are_given_does_not_matter(
    batch: list[tuple[Event, Mapped]],
    known: dict[str, Confirmed],
    fresh: dict[str, Json] | None,
    random: Random,
) -> None:
    shuffled = list(batch)
    random.shuffle(shuffled)
    first, second = plan(batch, known, fresh), plan(shuffled, known, fresh)
    assert (first.send, first.kept) == (second.send, second.kept)
    assert set(first.dispositions) == set(second.dispositions)


@given(batches(), known_fields, contacts_read)
def test_applying_twice_changes_nothing(
    batch: Given, known: dict[str, Confirmed], fresh: dict[str, Json] | None
) -> None:
    certain = after(known, plan(batch, known, fresh))
    again = plan(batch, certain)
    assert not again.send
    assert {**certain, **again.kept} == certain
    assert {it.state for it in again.dispositions} <= {EventState.UNCHANGED, EventState.MERGED, EventState.IGNORED}


@given(batches(), known_fields, contacts_read)
def test_each_field_goes_out_with_its_newest_value_or_not_at_all(
    batch: Given, known: dict[str, Confirmed], fresh: dict[str, Json] | None
) -> None:
    planned = plan(batch, known, fresh)
    for name in FIELDS:
        told = [(it, result.fields[name]) for it, result in batch if name in result.fields]
        if not told:
            assert name not in {**planned.send, **planned.kept}
            continue
        newest, value = max(told, key=lambda pair: pair[0].order)
        before = known.get(name)
        if before is not None and before.event_id is not None and before.order > newest.order:
            assert name not in {**planned.send, **planned.kept}
        elif name in planned.send:
            assert (planned.send[name].event, planned.send[name].value) == (newest, value)
        else:
            assert planned.kept[name].order == newest.order
            assert before is None or before.certain
            assert before is None or same_value(value, before.value)
            assert fresh is None or name not in fresh or same_value(value, fresh[name])


@given(batches(), known_fields, contacts_read)
def test_each_event_ends_once_and_one_event_carries_the_patch(
    batch: Given, known: dict[str, Confirmed], fresh: dict[str, Json] | None
) -> None:
    planned = plan(batch, known, fresh)
    assert [it.event_id for it in planned.dispositions] == [it.id for it, _ in batch]
    carriers = [it.event_id for it in planned.dispositions if it.state is EventState.DELIVERED]
    sent_by = {it.event.id for it in planned.send.values()}
    assert len(carriers) == (1 if planned.send else 0)
    for disposition in planned.dispositions:
        if disposition.event_id in sent_by and disposition.event_id not in carriers:
            assert (disposition.state, disposition.by_event_id) == (EventState.MERGED, carriers[0])
        if disposition.state is EventState.MERGED:
            others = {it.id for it, _ in batch} | {it.event_id for it in known.values()}
            assert disposition.by_event_id in others - {disposition.event_id}
        else:
            assert disposition.by_event_id is None
        if disposition.state is EventState.UNCHANGED:
            (own,) = (result.fields for it, result in batch if it.id == disposition.event_id)
            assert set(own) <= set(planned.kept)
        assert (disposition.reason is None) == (disposition.state is EventState.DELIVERED)


@dataclass
class World:
    """One ChartMogul contact fed by two CRMs, and what the log knows of it."""

    contact: dict[str, Json] = field(default_factory=dict)
    known: dict[str, Confirmed] = field(default_factory=dict)
    pending: dict[str, list[tuple[Event, Mapped]]] = field(default_factory=dict)
    written: dict[str, tuple[int, int]] = field(default_factory=dict)
    ends: list[Disposition] = field(default_factory=list)
    doubtful: bool = False

    def deliver(self, source: str, *, applied: bool, told: bool, read: bool) -> None:
        """One try at what a source has pending: was it applied, were we told, was the contact read before."""
        planned = plan(self.pending.get(source, ()), self.known, dict(self.contact) if read else None)
        if applied:
            for name, sent in planned.send.items():
                assert self.doubtful or sent.event.order >= self.written.get(name, sent.event.order)
                self.written[name] = sent.event.order
            self.contact.update(contact_fields(patch_body(values(planned))))
        if applied and told:
            self.known = after(self.known, planned)
            self.ends += planned.dispositions
            self.pending[source] = []
        elif not told:
            self.known = doubted(self.known, planned.send)
            self.doubtful = True


class Told(NamedTuple):
    """A CRM tells a change."""

    source: str
    order_key: int
    fields: dict[str, Json]


class Tried(NamedTuple):
    """A delivery is tried: refused, applied, or of unknown outcome either way."""

    source: str
    applied: bool
    told: bool
    read: bool


sources = st.sampled_from(["hubspot", "pipedrive"])
steps_taken = st.builds(Told, sources, order_keys, fields) | st.builds(
    Tried, sources, st.booleans(), st.booleans(), st.booleans()
)


@given(st.lists(steps_taken, max_size=24))
def test_whatever_happens_the_contact_ends_with_the_newest_value_of_every_field(steps: list[Told | Tried]) -> None:
    """A model of the whole: arrivals, tries, lost answers and refusals in any order, then everything gets through."""
    world = World()
    newest: dict[str, tuple[tuple[int, int], Json]] = {}
    arrived = 0
    for step in steps:
        match step:
            case Told(source, order_key, row):
                arrived += 1
                it = event(arrived, order_key, source=source)
                world.pending.setdefault(source, []).append((it, Mapped(row)))
                for name, value in row.items():
                    newest[name] = max(newest.get(name, (it.order, value)), (it.order, value), key=lambda at: at[0])
            case Tried(source, applied, told, read):
                world.deliver(source, applied=applied, told=told, read=read)
    for source in ("hubspot", "pipedrive"):
        world.deliver(source, applied=True, told=True, read=False)
    for name, (_, value) in newest.items():
        assert same_value(value, world.contact.get(name)), name
    assert sorted(it.event_id for it in world.ends) == list(range(1, arrived + 1))
