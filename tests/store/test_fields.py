"""What is known of a contact comes back from the log as it went in, and as the first release kept it."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.model import Carried, Confirmed, Doubt, to_micros
from service.store.contacts import DOUBTS_MAX, doubted, merged
from service.store.fields import pack_carried, pack_doubts, pack_fields, unpack_carried, unpack_doubts, unpack_fields
from tests.support.clock import START, Clock

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
ORDER = st.tuples(st.integers(-(2**62), 2**62), st.integers(0, 2**62))
KNOWN = st.builds(
    Confirmed,
    value=JSON,
    order=ORDER,
    event_id=st.none() | st.integers(1, 2**62),
    confirmed_at=st.none() | st.just(START),
    certain=st.booleans(),
    attempt_id=st.none() | st.integers(1, 2**62),
    rule=st.none() | TEXT,
)
CARRIED = st.dictionaries(TEXT, st.builds(Carried, JSON, ORDER), max_size=4)
ANY_TEXT = settings(suppress_health_check=[HealthCheck.too_slow])  # the first text of a run waits for Unicode's table
UNTIL = st.integers(-(10**6), 10**6).map(lambda seconds: Clock().after(seconds))


@given(st.dictionaries(TEXT, KNOWN, max_size=5))
@ANY_TEXT
def test_fields_come_back_as_they_went_in(fields: dict[str, Confirmed]) -> None:
    assert unpack_fields(pack_fields(fields)) == fields


@given(CARRIED)
@ANY_TEXT
def test_an_intent_comes_back_as_it_went_in(intent: dict[str, Carried]) -> None:
    assert unpack_carried(pack_carried(intent)) == intent


@given(st.lists(st.builds(Doubt, UNTIL, CARRIED), max_size=4).map(tuple))
@ANY_TEXT
def test_doubts_come_back_as_they_went_in(doubts: tuple[Doubt, ...]) -> None:
    assert unpack_doubts(pack_doubts(doubts)) == doubts


def test_no_doubts_are_kept_as_nothing() -> None:
    """A contact in doubt is told from the others by the column alone."""
    assert pack_doubts(()) is None
    assert unpack_doubts(None) == ()
    assert unpack_carried(None) == {}


def test_fields_of_the_first_release_have_neither_attempt_nor_rule() -> None:
    first = {"title": ["CFO", 7, 41, 41, to_micros(START), True], "phone": [None, 0, 0, None, None, False]}
    assert unpack_fields(json.dumps(first).encode()) == {
        "title": Confirmed("CFO", (7, 41), 41, START),
        "phone": Confirmed(None, certain=False),
    }


def test_an_intent_of_the_first_release_names_its_fields_alone() -> None:
    """Whatever they carried, it counts as older than anything that was confirmed."""
    assert unpack_carried('["title","custom.Lifecycle"]') == {
        "title": Carried(None, (0, 0)),
        "custom.Lifecycle": Carried(None, (0, 0)),
    }


@given(
    fields=st.dictionaries(st.sampled_from(["title", "email", "notes"]), KNOWN),
    names=st.sets(st.sampled_from(["title", "email"])),
)
@ANY_TEXT
def test_doubt_changes_certainty_alone(fields: dict[str, Confirmed], names: set[str]) -> None:
    after = doubted(fields, names)
    assert after.keys() == fields.keys() | names
    for name, known in after.items():
        before = fields.get(name, Confirmed(None))
        assert known.certain == (name not in names and before.certain)
        assert (known.value, known.order, known.event_id) == (before.value, before.order, before.event_id)
    assert doubted(after, names) == after


def doubt(seconds: float, value: str = "CFO", number: int = 40) -> Doubt:
    return Doubt(Clock().after(seconds), {"title": Carried(value, (number, number))})


def test_the_same_patch_unanswered_once_more_prolongs_its_doubt() -> None:
    """For days of silence it is sent again and again, and is still one thing to doubt."""
    other = doubt(5, "COO")
    assert merged([doubt(10), other, doubt(30)]) == (other, doubt(30))
    assert merged([doubt(30), other, doubt(10)]) == (other, doubt(30)), "whichever is noticed last"
    assert merged([]) == ()


def test_the_same_value_of_another_event_is_another_doubt() -> None:
    assert len(merged([doubt(10, number=40), doubt(10, number=41)])) == 2


def test_of_too_many_doubts_the_first_are_forgotten() -> None:
    many = [doubt(number, number=number) for number in range(DOUBTS_MAX + 3)]
    assert merged(many) == tuple(many[3:])


@given(st.lists(st.builds(doubt, st.integers(-9, 9), st.sampled_from(["CFO", "COO"]), st.integers(1, 2)), max_size=12))
def test_what_is_put_together_still_doubts_each_patch_for_as_long(doubts: list[Doubt]) -> None:
    together = merged(doubts)
    assert merged(together) == together
    longest = {json.dumps(one.fields["title"].order) + str(one.fields["title"].value): one for one in together}
    assert len(longest) == len(together)
    for one in doubts:
        kept = longest[json.dumps(one.fields["title"].order) + str(one.fields["title"].value)]
        assert kept.until == max(other.until for other in doubts if other.fields == one.fields)
