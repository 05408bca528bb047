"""Traces made again from the log: by the rules that mapped an event, and with words for what the log cannot tell."""

from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from sqlalchemy import update

from service.errors import NotFound
from service.mapping import Rules
from service.model import Action, Disposition, EventState, Json, Next, Record, Verdict
from service.operations.trace import (
    ABSENT,
    AGED,
    CARRIED,
    FAULTY,
    IS_READ,
    NOT_SAID,
    TRACED_MAX,
    UNMAPPED,
    UNSTAMPED,
    WAITS,
    WAS_READ,
    EventTrace,
    lines_of,
    shown,
    trace_event,
    trace_story,
)
from service.pipeline import NOT_CONFIGURED, InForce
from service.schema import events
from service.store import Store
from service.store.lost import LOST_MAX
from service.store.replay import Selection
from service.translate import FILTERED, GONE, NOT_KEPT, NOT_READABLE, READ
from tests.support.clock import Clock
from tests.support.log import (
    LEASE_S,
    PERSON,
    by_hand,
    change,
    claim_one,
    conclusion,
    ends,
    pending_ids,
    receive,
)
from tests.support.service import configure
from tests.support.webhooks import CONFIGURATION

pytestmark = pytest.mark.anyio

THEN: Final = "9f2c1ab04d7e"
TITLE: Final[dict[str, Json]] = {"title": {"from": "job_title", "transform": ["trim", "upper"]}}
HUBSPOT: Final = CONFIGURATION.replace(
    '    auth: {secret: "${HUBSPOT_SECRET}"}\n',
    '    auth: {secret: "${HUBSPOT_SECRET}"}\n    read_back: {token: "pat-eu1"}\n',
)
"""With HubSpot's records read back."""


@pytest.fixture
def present(tmp_path: Path) -> InForce:
    config = configure(tmp_path, HUBSPOT)
    return InForce(config.version, config.sources, {})


async def keep(store: Store, clock: Clock, rules: Record, *, version: str = THEN, source: str = "pipedrive") -> None:
    await store.configurations.keep(version, {source: rules}, now=clock())


async def ended(store: Store, clock: Clock, *dispositions: Disposition, **how: Any) -> None:  # noqa: ANN401  # as conclusion
    """Let what is due end in one try, delivered unless told otherwise."""
    delivery = await claim_one(store, clock)
    done = list(dispositions) or ends(*await pending_ids(store, delivery))
    assert await store.deliveries.record(delivery, conclusion(clock, done, **how), now=clock())


async def traced(store: Store, present: InForce | None, event_id: int = 1) -> EventTrace:
    return (await trace_event(store, event_id, present))[1]


def field(trace: EventTrace, target: str) -> dict[str, Any]:
    (line,) = [line for line in trace.fields if line["target"] == target]
    return line


async def test_an_event_is_traced_by_the_rules_that_mapped_it_not_by_those_of_now(
    store: Store, clock: Clock, present: InForce
) -> None:
    await keep(store, clock, {"mapping": TITLE})
    await receive(store, clock, change("d1f0-1", values={"job_title": " cfo ", "first_name": "Amara"}))
    await ended(store, clock, config_version=THEN, fields=("title",))
    logged, trace = await trace_event(store, 1, present)
    steps = [{"step": "trim", "value": "cfo"}, {"step": "upper", "value": "CFO"}]
    line = {"target": "title", "path": "job_title", "raw": " cfo ", "steps": steps, "result": "set", "value": "CFO"}
    assert trace.fields == ({**line, "reason": None},)
    assert (trace.event, trace.source, trace.object_id, trace.state) == (1, "pipedrive", PERSON, "delivered")
    assert (trace.config_version, trace.notes) == (THEN, ())
    assert trace.attempt is not None
    assert (trace.attempt["outcome"], trace.attempt["fields"]) == ("applied", ["title"])
    assert "change" not in logged.line
    assert (await traced(store, None)) == trace, "and needs no configuration of now"


async def test_what_has_no_value_says_why(store: Store, clock: Clock, present: InForce) -> None:
    bad: list[Json] = [{"value": "call me", "primary": True}]
    await receive(store, clock, change("d1f0-1", values={"job_title": None, "phones": bad}))
    trace = await traced(store, present)
    assert "raw" not in field(trace, "first_name")
    for target, result, reason in (
        ("first_name", "skip", "missing"),
        ("title", "skip", "null"),
        ("phone", "fail", "e164: found text"),
    ):
        line = field(trace, target)
        assert (line["result"], line["value"]) == (result, None)
        assert line["reason"].startswith(reason)


async def test_what_waits_is_traced_by_the_present_rules_and_says_so(
    store: Store, clock: Clock, present: InForce
) -> None:
    await receive(store, clock, change("d1f0-1", values={"job_title": "cfo"}))
    trace = await traced(store, present)
    assert (trace.state, trace.config_version, trace.notes) == ("pending", present.version, (WAITS,))
    assert field(trace, "title")["value"] == "cfo"
    assert (await traced(store, None)).notes == (FAULTY,)
    assert (await traced(store, InForce("", {}, {}))).notes == (ABSENT,)


async def test_what_waits_for_a_replay_is_traced_by_the_version_that_was_asked_for(
    store: Store, clock: Clock, present: InForce
) -> None:
    await keep(store, clock, {"mapping": TITLE})
    await receive(store, clock, change("d1f0-1", values={"job_title": "cfo"}))
    await ended(store, clock, config_version=THEN)
    for then, version, value in ((True, THEN, "CFO"), (False, present.version, "cfo")):
        await store.replays.batch(Selection(dead_only=False), then=then, now=clock())
        trace = await traced(store, present)
        assert (trace.state, trace.config_version, field(trace, "title")["value"]) == ("pending", version, value)
        await ended(store, clock, config_version=THEN)


async def test_what_the_filter_left_out_says_so(store: Store, clock: Clock, present: InForce) -> None:
    await keep(store, clock, {"mapping": TITLE, "when": {"field": "label", "equals": "2"}})
    await receive(store, clock, change("d1f0-1", values={"job_title": "cfo", "label": "1"}))
    end = Disposition(1, EventState.IGNORED, FILTERED)
    await ended(store, clock, end, verdict=Verdict(Next.SKIP, "nothing"), config_version=THEN)
    trace = await traced(store, present)
    assert (trace.reason, trace.config_version) == (FILTERED, THEN)
    assert trace.fields == ({"result": "skip", "reason": FILTERED},)


async def test_a_deletion_is_traced_by_what_deletions_say(store: Store, clock: Clock, present: InForce) -> None:
    deleted: dict[str, Json] = {"custom": {"CRM status": {"const": "Deleted"}}}
    await keep(store, clock, {"mapping": TITLE, "on_deleted": deleted, "when": {"field": "label", "equals": "2"}})
    await receive(
        store,
        clock,
        change("d1f0-1", action=Action.DELETED),
        change("d1f0-2", action=Action.DELETED, merged_into="452"),
    )
    await ended(store, clock, config_version=THEN)
    assert [line["value"] for line in (await traced(store, present)).fields] == ["Deleted"]
    assert (await traced(store, present, 2)).fields == ()


async def test_what_ended_before_any_mapping_has_no_fields(store: Store, clock: Clock, present: InForce) -> None:
    await receive(store, clock, change("d1f0-1", values={"job_title": "cfo"}, ignored="object type deal"))
    await receive(store, clock, change("d1f0-2", action=Action.PRIVACY_DELETED))
    ignored, privacy = [await traced(store, present, number) for number in (1, 2)]
    assert (ignored.state, ignored.reason) == ("ignored", "object type deal")
    assert ignored.notes == privacy.notes == (UNMAPPED,)
    assert ignored.fields == privacy.fields == ()


async def test_a_payload_that_is_gone_is_told_with_what_is_left(store: Store, clock: Clock, present: InForce) -> None:
    await receive(store, clock, change("d1f0-1", values={"job_title": "cfo"}))
    await ended(store, clock, config_version=THEN)
    await by_hand(store, update(events).values(change=None))
    trace = await traced(store, present)
    assert (trace.state, trace.notes, trace.fields) == ("delivered", (AGED,), ())
    assert trace.attempt is not None


@pytest.mark.parametrize(
    ("kept", "why"), [({}, NOT_KEPT), ({"mapping": {"title": {"from": "job_title", "transform": ["x"]}}}, NOT_READABLE)]
)
async def test_a_version_whose_rules_cannot_be_had_is_named(
    store: Store, clock: Clock, present: InForce, kept: Record, why: str
) -> None:
    """Rather than to show how other rules map it."""
    if kept:
        await keep(store, clock, kept)
    await receive(store, clock, change("d1f0-1", values={"job_title": "cfo"}))
    await ended(store, clock, config_version=THEN)
    trace = await traced(store, present)
    assert (trace.config_version, trace.notes, trace.fields) == (THEN, (f"the configuration {THEN} {why}",), ())


async def test_an_event_whose_source_was_taken_out_says_so(store: Store, clock: Clock, present: InForce) -> None:
    await receive(store, clock, change("d1f0-1", values={"job_title": "cfo"}))
    dead = Disposition(1, EventState.DEAD, NOT_CONFIGURED)
    await ended(store, clock, dead, verdict=Verdict(Next.DEAD, NOT_CONFIGURED), config_version=THEN)
    assert (await traced(store, present)).notes == (ABSENT,)


async def test_what_ended_the_process_is_traced_by_the_present_rules(
    store: Store, clock: Clock, present: InForce
) -> None:
    """Of the version that it was mapped by nothing is known; how it is mapped may still say what is wrong with it."""
    await receive(store, clock, change("d1f0-1", values={"job_title": "cfo"}))
    for _ in range(LOST_MAX):
        clock.now += timedelta(hours=1)
        await claim_one(store, clock)
        clock.advance(LEASE_S)
        await store.deliveries.reclaim(now=clock())
    trace = await traced(store, present)
    assert (trace.state, trace.notes) == ("dead", (UNSTAMPED,))
    assert field(trace, "title")["value"] == "cfo"


async def thin(store: Store, clock: Clock, key: str, **values: Any) -> None:  # noqa: ANN401  # whatever HubSpot tells
    """Log a thin event of HubSpot's, mapped by rules that need more than a title."""
    told = change(key, "991", values=values, thin=True, changed_fields=tuple(values) or None)
    await receive(store, clock, told, source="hubspot")


NAMES: Final[dict[str, Json]] = {
    "mapping": {"title": "jobtitle", "first_name": {"concat": ["firstname", "middlename"]}, "notes": "notes"}
}


async def test_a_record_that_was_read_back_is_not_kept_and_the_trace_says_so(
    store: Store, clock: Clock, present: InForce
) -> None:
    await keep(store, clock, NAMES, source="hubspot")
    await thin(store, clock, "hs-1", firstname="Amara")
    await ended(store, clock, config_version=THEN)
    trace = await traced(store, present)
    assert trace.notes == (WAS_READ,)
    assert field(trace, "first_name") | {"result": "set", "value": "Amara"} == field(trace, "first_name")
    for target in ("title", "notes"):
        assert (field(trace, target)["result"], field(trace, target)["reason"]) == ("unknown", NOT_SAID)
    assert (await traced(store, None)).notes == (), "whether records were read back is not in what is kept of rules"


async def test_what_waits_for_its_record_says_so(store: Store, clock: Clock, present: InForce) -> None:
    await thin(store, clock, "hs-1")
    trace = await traced(store, present)
    assert trace.notes == (WAITS, IS_READ)
    assert {line["result"] for line in trace.fields} == {"unknown"}


async def test_an_event_that_says_all_that_is_mapped_needs_no_record(
    store: Store, clock: Clock, present: InForce
) -> None:
    await keep(store, clock, NAMES, source="hubspot")
    await thin(store, clock, "hs-1", jobtitle="CFO")
    await ended(store, clock, config_version=THEN)
    trace = await traced(store, present)
    assert (trace.notes, field(trace, "title")["value"]) == ((), "CFO")
    assert field(trace, "notes")["result"] == "skip"
    assert field(trace, "notes")["reason"].startswith("missing")


async def test_events_that_one_carries_with_the_record_name_it(store: Store, clock: Clock, present: InForce) -> None:
    await keep(store, clock, NAMES, source="hubspot")
    await thin(store, clock, "hs-1", firstname="Amara")
    await thin(store, clock, "hs-2", jobtitle="CFO")
    carried = Disposition(1, EventState.MERGED, READ, 2)
    await ended(store, clock, carried, *ends(2), config_version=THEN)
    first, second = [await traced(store, present, number) for number in (1, 2)]
    assert (first.state, first.by_event, first.notes) == ("merged", 2, (CARRIED,))
    assert second.notes == (WAS_READ,), "it carries the record, though it needed none itself"
    assert (field(first, "title")["result"], field(second, "title")["result"]) == ("unknown", "set")


async def test_a_filter_over_a_record_that_was_read_back_is_told_by_how_the_event_ended(
    store: Store, clock: Clock, present: InForce
) -> None:
    """Asked of the event alone, it would not hold: what it needs was in the record."""
    await keep(store, clock, {**NAMES, "when": {"field": "lifecyclestage", "equals": "customer"}}, source="hubspot")
    for key, end in (("hs-1", None), ("hs-2", FILTERED)):
        await thin(store, clock, key, jobtitle="CFO")
        number = 1 if end is None else 2
        state = EventState.DELIVERED if end is None else EventState.IGNORED
        await ended(store, clock, Disposition(number, state, end), config_version=THEN)
    through, filtered = [await traced(store, present, number) for number in (1, 2)]
    assert through.notes == filtered.notes == (WAS_READ,)
    assert field(through, "title")["value"] == "CFO"
    assert filtered.fields == ({"result": "skip", "reason": FILTERED},)


async def test_a_record_that_was_gone_by_then_maps_to_nothing(store: Store, clock: Clock, present: InForce) -> None:
    await keep(store, clock, NAMES, source="hubspot")
    await thin(store, clock, "hs-1", firstname="Amara")
    await ended(store, clock, Disposition(1, EventState.IGNORED, GONE), config_version=THEN)
    trace = await traced(store, present)
    assert (trace.reason, trace.notes, trace.fields) == (GONE, (UNMAPPED,), ())


async def test_an_event_that_is_not_there_is_said_so(store: Store, present: InForce) -> None:
    with pytest.raises(NotFound, match="no event 7"):
        await trace_event(store, 7, present)


async def test_of_a_long_story_the_newest_events_are_traced(store: Store, clock: Clock, present: InForce) -> None:
    for number in range(TRACED_MAX + 2):
        await receive(store, clock, change(f"d1f0-{number}", values={"job_title": f"Title {number}"}))
    story = await store.ledger.story(PERSON)
    traces = await trace_story(store, story, present)
    assert [trace.event for trace in traces] == list(range(TRACED_MAX + 2, 2, -1))
    document = shown(story, traces)
    assert document.keys() >= {"person", "links", "fields", "events", "attempts", "traces"}
    assert len(document["events"]) == TRACED_MAX + 2


async def test_a_trace_shows_no_value_where_it_is_only_printed(store: Store, clock: Clock, present: InForce) -> None:
    """Its fields hold contact values: they are for who asks, not for whatever writes a repr into a log."""
    await receive(store, clock, change("d1f0-1", values={"job_title": "canary-7b1e"}))
    logged, trace = await trace_event(store, 1, present)
    assert "canary-7b1e" not in repr(trace) + repr(logged)


def test_the_lines_of_a_change_are_those_of_its_rules() -> None:
    rules = Rules.parse({"mapping": TITLE})
    (line,) = lines_of(rules, change(values={}))
    assert line.pop("reason").startswith("missing")
    assert line == {"target": "title", "path": "job_title", "steps": [], "result": "skip", "value": None}


def test_what_a_step_makes_is_shown_as_json_can_hold_it() -> None:
    """A sum of numbers may be larger than any of them."""
    transform: list[Json] = [{"jmespath": "[sum(@), [0]]"}, {"jmespath": "[0]"}]
    rules = Rules.parse({"mapping": {"title": {"from": "amounts", "transform": transform}}})
    (line,) = lines_of(rules, change("evt-1", values={"amounts": [2**64 - 1, 1]}))
    assert [step["value"] for step in line["steps"]] == [[str(2**64), 2**64 - 1], str(2**64)]
    assert line["reason"] == "found a whole number of more than 64 bits"
    assert orjson.dumps(line)
