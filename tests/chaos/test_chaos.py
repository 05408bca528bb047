"""Killed at any instant and seam, with a ChartMogul that fails in every way: nothing is lost, nothing stale."""

from collections.abc import Callable
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from service.main import real_clock
from tests.chaos.changes import Change, Sending, Stream
from tests.chaos.lives import INSTANT, STARTING, lives
from tests.chaos.portal import LAG_S, NAMES, Portal
from tests.chaos.run import Plan, run
from tests.chaos.serve import Seam
from tests.chaos.verdict import Report, lost, stale, untrue
from tests.chaos.weather import faults
from tests.support.apis.base import ApiRequest
from tests.support.clock import START

SEED = 8
SECONDS = 15.0


def test_a_short_run_loses_nothing_keeps_order_and_closes_the_books(tmp_path: Path) -> None:
    """The long runs are ``make chaos``; this one shows that they work, and catches what is broken by much."""
    report = run(Plan(seed=SEED, seconds=SECONDS, contacts=16), tmp_path)
    told = "\n".join(report.lines())
    assert report.failures == [], told
    # That something happened at all; how much is a matter of the machine, whose other core may be busy.
    assert report.kills.total() >= 2, told
    assert report.faults.total() >= 3, told
    assert report.acked >= 50, told
    assert report.counts["duplicates acked"] > 0, told
    assert report.told_thin >= 10, told
    assert report.reads > 0, told
    assert report.counts["shadowed"] > 0, told
    assert told.count("lost 0, stale fields 0, books closed") == 1
    assert f"--seed {SEED}" in told


def first(count: int, seed: int, started: datetime = START) -> list[Sending]:
    return list(islice(Stream(seed, started=started, contacts=16), count))


def test_one_seed_gives_one_stream_of_changes() -> None:
    now = real_clock()
    one, again, other = first(200, 7), first(200, 7), first(200, 8)
    assert [sending.sign(now) for sending in one] == [sending.sign(now) for sending in again]
    assert [(s.changes, s.pause_s, s.copies, s.again_after_s) for s in one] == [
        (s.changes, s.pause_s, s.copies, s.again_after_s) for s in again
    ]
    assert [sending.changes for sending in one] != [sending.changes for sending in other]


def test_one_seed_gives_one_list_of_faults_and_one_row_of_lives() -> None:
    assert faults(7) == faults(7) != faults(8)
    assert list(islice(lives(7, "a"), 20)) == list(islice(lives(7, "a"), 20)) != list(islice(lives(7, "b"), 20))
    ends = {life.end for life in islice(lives(7, "a"), 8)}
    assert ends == {*Seam, INSTANT, STARTING}


def test_the_stream_has_everything_that_crms_do() -> None:
    stream = first(400, 7)
    changes = [change for sending in stream for change in sending.changes]
    assert len({change.key for change in changes}) == len(changes)
    assert len({(change.contact, change.at, name) for change in changes for name in change.fields}) == sum(
        len(change.fields) for change in changes
    ), "no two values of a field share a time, so that one is the newest"
    assert {change.source for change in changes} == {"pipedrive", "hubspot", "helpdesk"}
    assert {name for change in changes for name in change.fields} == {
        *("first_name", "last_name", "title", "email"),
        *("custom.Lifecycle", "custom.Region", "custom.Newsletter"),
    }
    times = [sending.changes[0].at for sending in stream]
    assert times != sorted(times), "some are told late"
    assert max(times) < START
    assert any(sending.copies > 1 for sending in stream)
    assert any(sending.again_after_s is not None for sending in stream)
    assert any(sending.pause_s == 0 for sending in stream)


def portal(seed: int, *, linked: bool = False, now: Callable[[], float] = float) -> Portal:
    return Portal(seed, started=START, contacts=16, merges_s=60, linked=lambda _: linked, now=now)


def thin(seed: int, *, linked: bool = False) -> list[dict[str, Any]]:
    """The first 200 requests' events."""
    sendings = islice(portal(seed, linked=linked), 200)
    return [event for one in sendings for event in orjson.loads(one.sign(START).body)]


def test_one_seed_gives_one_stream_of_thin_changes() -> None:
    assert thin(7) == thin(7) != thin(8)


def test_the_thin_stream_has_everything_that_such_crms_do() -> None:
    events = thin(7, linked=True)
    assert len({event["eventId"] for event in events}) == len(events)
    assert {event["subscriptionType"] for event in events} == {
        *("contact.propertyChange", "contact.creation", "contact.merge")
    }
    named = [event for event in events if "propertyName" in event]
    assert {event["propertyName"] for event in named} == set(NAMES)
    assert {"propertyValue" in event for event in named} == {True, False}
    survivors = {event["newObjectId"] for event in events if "newObjectId" in event}
    assert survivors & {event["objectId"] for event in named}, "what survived is told of, too"
    assert all(event["occurredAt"] % 1000 for event in events), "a time of whole seconds says less"


def test_the_records_of_the_thin_stream_are_shown_late_and_then_as_they_are() -> None:
    time = [0.0]
    crm = portal(7, now=lambda: time[0])
    crm.calm_down()
    ids = {str(change["objectId"]) for one in islice(crm, 50) for change in orjson.loads(one.sign(START).body)}

    def read() -> list[dict[str, Any]]:
        body = orjson.dumps({"inputs": [{"id": one} for one in sorted(ids)], "properties": ["plan"]})
        headers = {"authorization": f"Bearer {crm.credentials['token']}"}
        answer = crm.answer(ApiRequest("POST", "/crm/v3/objects/contacts/batch/read", {}, headers, body))
        found: list[dict[str, Any]] = answer.document["results"]
        return found

    sizes = {len(read()) for _ in range(20)}
    assert sizes == {0, len(crm.truth()) // 2}, "all of it is new: it is there, or not yet"
    time[0] += LAG_S
    (shown,) = {orjson.dumps(read()) for _ in range(20)}
    plans = {value for (_, name), value in crm.truth().items() if name == "custom.Plan"}
    assert {record["properties"]["plan"] for record in orjson.loads(shown)} == plans


ADA = "con_00000001-7686-11ee-86f6-8727560009c2"
OLDER = Change("pipedrive", "pd-1", ADA, START.replace(minute=1), {"title": "CFO", "custom.Region": "EMEA"})
NEWER = Change("hubspot", "2", ADA, START.replace(minute=2), {"title": "CEO"})


def test_what_is_not_in_the_log_is_named() -> None:
    assert lost([OLDER, NEWER], [OLDER.key, NEWER.key]) == []
    assert lost([OLDER, NEWER], [OLDER.key]) == ["hubspot 2 is not in the log"]
    assert lost([OLDER], [OLDER.key, NEWER.key]) == ["hubspot 2 is in the log, and nobody sent it"]
    assert lost([OLDER], [OLDER.key, OLDER.key]) == ["pipedrive pd-1 is in the log 2 times"]


def test_a_field_that_does_not_hold_the_newest_value_is_named_whatever_was_acked_last() -> None:
    held = {"uuid": ADA, "title": "CEO", "custom": {"Region": "EMEA"}}
    assert stale([NEWER, OLDER], [held]) == []
    assert stale([OLDER, NEWER], [held | {"title": "CFO"}]) == [
        f"{ADA} title is 'CFO', and should be 'CEO' of hubspot 2"
    ]
    assert stale([OLDER], [held | {"title": "CFO", "custom": {}}]) == [
        f"{ADA} custom.Region is None, and should be 'EMEA' of pipedrive pd-1"
    ]


def test_a_field_that_does_not_hold_what_its_record_has_is_named() -> None:
    held = {"uuid": ADA, "title": None, "custom": {"Plan": "Free"}}
    assert untrue({(ADA, "custom.Plan"): "Free"}, [held]) == []
    assert untrue({(ADA, "custom.Plan"): "Pro"}, [held]) == [
        f"{ADA} custom.Plan is 'Free', and should be 'Pro' as in its record"
    ]


def test_a_report_fails_by_any_offender_and_names_no_more_than_one_can_read() -> None:
    passed = Report(seed=7, seconds=60, audit={"events": {}, "findings": []})
    assert list(passed.lines())[-2:] == ["passed", 'again: make chaos ARGS="--seconds 60 --seed 7"']
    failed = Report(seed=7, seconds=60, lost=[f"pd-{number}" for number in range(30)], limited=["request 5"])
    assert failed.failures[0] == "lost: pd-0"
    assert failed.failures[-2:] == ["lost: and 20 more", "past the limits: request 5"]
    assert "FAILED" in failed.lines()
