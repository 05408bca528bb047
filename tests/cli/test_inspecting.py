"""inspect: what would become of one request, captured or logged, and the case that is made of it."""

import contextlib
import json
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from service.main import real_clock
from service.operations.inspect import CAPTURE_BYTES_MAX
from tests.cli.conftest import Verb, World, capture, capture_file, world_of
from tests.support.crm import fixture, fixtures
from tests.support.webhooks import CONFIGURATION, Webhook, helpdesk, hubspot, hubspot_event, pipedrive

INSPECTION = ["source", "verified", "reason", "response", "events", "patches"]
EVENT = [
    *("dedup_key", "crm_event_id", "object_type", "object_id", "action", "occurred_at", "order_key", "changed_fields"),
    *("values", "previous", "merged_from", "merged_into", "origin", "actor", "tenant", "attempt", "thin", "ignored"),
]
PATCHES = {
    "pipedrive": {"title": "CEO", "custom": [{"key": "Lifecycle", "value": "Customer"}]},
    "hubspot": {"title": "CEO", "email": "a@b.example"},
    "helpdesk": {"title": "CEO", "custom": [{"key": "Newsletter", "value": True}]},
}


def webhook_of(source: str, at: datetime | None = None) -> Webhook:
    """A webhook of a source, signed now or as of a time."""
    now = at or real_clock()
    if source == "pipedrive":
        return pipedrive(101, "evt-1", now, job_title=" CEO ", label="2")
    if source == "helpdesk":
        return helpdesk("u-301", "evt-1", now, title="CEO", newsletter="yes")
    return hubspot([hubspot_event(201, "jobtitle", "CEO", now), hubspot_event(201, "email", "A@b.example", now)], now)


@pytest.mark.parametrize("source", PATCHES)
def test_inspect_shows_what_would_become_of_a_request(here: Verb, tmp_path: Path, source: str) -> None:
    """The shape is a contract: programs read it."""
    ended = here("inspect", capture_file(tmp_path, webhook_of(source)))
    assert ended.code == 0, ended.err
    shown = ended.json
    assert list(shown) == INSPECTION
    assert (shown["source"], shown["verified"], shown["reason"]) == (source, True, None)
    assert list(shown["response"]) == ["status", "headers", "body"]
    assert json.loads(shown["response"]["body"]) == {"accepted": len(shown["events"]), "duplicates": 0}
    assert [list(event) for event in shown["events"]] == [EVENT] * len(shown["events"])
    (patch,) = shown["patches"]
    assert list(patch) == ["object_id", "patch", "trace"]
    assert patch["patch"] == PATCHES[source]
    assert not (tmp_path / "data").exists(), "nothing is stored"


def test_inspect_shows_the_way_of_each_field_for_people(here: Verb, tmp_path: Path) -> None:
    ended = here("inspect", "--text", capture_file(tmp_path, webhook_of("pipedrive")))
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[:3] == ["pipedrive: taken, 1 change", "", "101"]
    assert any(
        line.split() == ["title", "job_title", '"', "CEO", '"', "→", "trim", '"CEO"', "→", "set", '"CEO"']
        for line in lines
    )
    assert any(line.startswith("  phone ") and "→ skip: missing" in line for line in lines)
    assert lines[-1].startswith('PATCH {"title":"CEO","custom":[{')


def test_inspect_says_for_people_why_a_request_is_refused_or_nothing_is_sent(here: Verb, tmp_path: Path) -> None:
    webhook = webhook_of("pipedrive")
    refused = here("inspect", "--text", capture_file(tmp_path, Webhook(webhook.target, {}, webhook.body)))
    assert (refused.code, refused.out) == (3, "pipedrive: refused, not_verified: the header authorization is missing\n")
    empty = capture_file(tmp_path, pipedrive(101, "evt-1", real_clock()))
    assert here("inspect", "--text", empty).out.splitlines()[-1].startswith("nothing is sent: no mapped field")


@pytest.mark.parametrize("source", PATCHES)
def test_inspect_shows_why_a_request_would_be_refused(here: Verb, tmp_path: Path, source: str) -> None:
    webhook = webhook_of(source)
    forged = Webhook(webhook.target, {"content-type": "application/json"}, webhook.body)
    ended = here("inspect", capture_file(tmp_path, forged))
    assert ended.code == 3
    shown = ended.json
    assert list(shown) == INSPECTION
    assert (shown["verified"], shown["events"], shown["patches"]) == (False, [], [])
    assert shown["reason"].startswith("not_verified: ")
    assert shown["response"]["status"] == 401
    assert shown["response"]["headers"]["content-type"] == "application/problem+json"


def test_inspect_tells_a_bad_body_from_a_bad_sender(here: Verb, tmp_path: Path) -> None:
    webhook = webhook_of("pipedrive")
    ended = here("inspect", capture_file(tmp_path, webhook.changed(b"{")))
    assert (ended.code, ended.json["verified"]) == (3, True)
    assert ended.json["response"]["status"] == 400


def test_inspect_needs_neither_key_nor_server(here: Verb, tmp_path: Path) -> None:
    path = capture_file(tmp_path, webhook_of("hubspot"))
    assert here("inspect", path, CHARTMOGUL_API_KEY="", PUBLIC_URL="", PIPEDRIVE_PASSWORD="").code == 0


@pytest.mark.parametrize(("minutes", "code"), [(0, 0), (4, 0), (6, 3)])
def test_inspect_as_of_a_time(here: Verb, tmp_path: Path, minutes: int, code: int) -> None:
    signed_at = real_clock() - timedelta(days=3)
    at = signed_at + timedelta(minutes=minutes)
    path = capture_file(tmp_path, webhook_of("hubspot", signed_at))
    assert here("inspect", path, "--now", at.isoformat()).code == code
    naive = at.replace(tzinfo=None).isoformat()
    assert here("inspect", path, "--now", naive).code == code, "without an offset it is UTC"


def test_inspect_reads_a_captured_request_of_long_ago(here: Verb, tmp_path: Path) -> None:
    request, _ = fixture("pipedrive", fixtures("pipedrive")[0])
    path = tmp_path / "request.json"
    path.write_text(json.dumps({"url": request.url, "headers": dict(request.headers), "body": request.body.decode()}))
    ended = here("inspect", str(path), "--source", "pipedrive", "--now", "2026-03-02T09:30:00Z")
    assert ended.code == 3, "it was signed with another password"
    assert ended.json["source"] == "pipedrive"


def test_inspect_reads_standard_input_and_bytes(here: Verb, tmp_path: Path) -> None:
    text = json.dumps(capture(webhook_of("helpdesk"), raw=True)).encode()
    assert here("inspect", "-", text=text).code == 0
    elsewhere = json.dumps(capture(webhook_of("helpdesk")) | {"url": "https://x.example/in"}).encode()
    assert here("inspect", "-", "--source", "helpdesk", text=elsewhere).code == 0
    assert here("inspect", "-", text=elsewhere).code == 1
    assert not (tmp_path / "data").exists()


def test_inspect_shows_filtered_and_unmappable_changes(here: Verb, tmp_path: Path) -> None:
    only = CONFIGURATION.replace("    mapping:\n", '    when: {field: label, in: ["2"]}\n    mapping:\n', 1)
    path = capture_file(tmp_path, pipedrive(101, "evt-1", real_clock(), label="1", job_title="CEO"))
    (patch,) = here("inspect", path, configuration=only).json["patches"]
    assert patch["patch"] is None
    assert [line["reason"] for line in patch["trace"]] == ["filtered out by `when`"]
    path = capture_file(tmp_path, pipedrive(101, "evt-1", real_clock(), phones=[{"value": "call me", "primary": True}]))
    (patch,) = here("inspect", path).json["patches"]
    assert patch["patch"] is None
    assert [line["target"] for line in patch["trace"] if line["result"] == "fail"] == ["phone"]


def test_inspect_shows_what_a_deletion_says_and_that_of_a_merge_says_nothing(here: Verb, tmp_path: Path) -> None:
    """As the service does it: a filter asks for what a record is, and a deletion has no record."""
    gone = '    on_deleted: {title: {const: Left}}\n    when: {field: label, in: ["2"]}\n    mapping:\n'
    marking = CONFIGURATION.replace("    mapping:\n", gone, 1)
    webhook = pipedrive(101, "evt-1", real_clock(), label="1")
    document = json.loads(webhook.body)
    document |= {"meta": document["meta"] | {"action": "delete"}, "previous": document["data"], "data": None}
    for merged_to, sent in ((None, {"title": "Left"}), (102, None)):
        document["meta"]["merged_to_id"] = merged_to
        path = capture_file(tmp_path, webhook.changed(json.dumps(document).encode()))
        (patch,) = here("inspect", path, configuration=marking).json["patches"]
        assert patch["patch"] == sent
        assert [line["result"] for line in patch["trace"]] == (["set"] if sent else [])


def test_inspect_clears_as_the_settings_say(here: Verb, tmp_path: Path) -> None:
    clearing = CONFIGURATION.replace("title: {from: job_title,", "title: {from: job_title, on_null: clear,")
    path = capture_file(tmp_path, pipedrive(101, "evt-1", real_clock(), job_title=None))
    for setting, sent in (("null", None), ("blank", "")):
        (patch,) = here("inspect", path, configuration=clearing, CLEAR_WITH=setting).json["patches"]
        assert patch["patch"] == {"title": sent}


BROKEN = {
    "not JSON": b"{",
    "not an object": b"[]",
    "headers that are none": b'{"url": "https://x/webhooks/pipedrive", "headers": [1]}',
    "a header that is no text": b'{"url": "https://x/webhooks/pipedrive", "headers": {"a": 1}}',
    "no url": b'{"body": ""}',
    "a body that is no text": b'{"url": "https://x/webhooks/pipedrive", "body": {"a": 1}}',
    "bytes that are no base64": b'{"url": "https://x/webhooks/pipedrive", "body_base64": "*"}',
    "bytes that are no text": b'{"url": "https://x/webhooks/pipedrive", "body_base64": 7}',
    "too much": b" " * (CAPTURE_BYTES_MAX + 1),
    "no webhook": b'{"url": "https://x/elsewhere"}',
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_captured_request_is_said_so(here: Verb, name: str) -> None:
    ended = here("inspect", "-", text=BROKEN[name])
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.count("\n") <= 2
    assert "Traceback" not in ended.err


def test_a_source_that_is_not_there_is_told_with_those_that_are(here: Verb) -> None:
    text = json.dumps(capture(webhook_of("pipedrive"))).encode()
    for words in (["inspect", "-", "--source", "pipedrve"], ["sample", "pipedrve"]):
        ended = here(*words, text=text)
        assert (ended.code, ended.out) == (2, "")
        assert "did you mean 'pipedrive'?" in ended.err


def test_a_case_is_made_of_a_captured_request_and_holds(here: Verb, tmp_path: Path) -> None:
    for source, patch in PATCHES.items():
        path = tmp_path / "cases" / f"{source}.json"
        ended = here("inspect", capture_file(tmp_path, webhook_of(source)), "--save-case", str(path), "--about", source)
        assert ended.code == 0
        assert ended.err == f"{path} holds what the CRM sent, contact values among it: keep it as such\n"
        case = json.loads(path.read_bytes())
        assert list(case) == ["about", "source", "now", "request", "expect"]
        assert case["about"] == case["source"] == source
        assert "authorization" not in case["request"]["headers"]
        assert case["expect"]["patches"][0]["patch"] == patch
    assert here("check", "--cases", str(tmp_path / "cases")).code == 0
    again = here("inspect", str(tmp_path / "request.json"), "--save-case", str(path))
    assert (again.code, "--force replaces it" in again.err) == (2, True)
    assert here("inspect", str(tmp_path / "request.json"), "--save-case", str(path), "--force").code == 0


def test_a_logged_event_is_shown_by_its_request_and_makes_a_case(world: World, tmp_path: Path) -> None:
    """The request is kept without credentials: whether it was proved was told when it came."""
    (first, *_) = [line for line in world.verb("events", "--json").json if line["dedup_key"] == "evt-1"]
    path = tmp_path / "case.json"
    ended = world.verb("inspect", "--event", str(first["id"]), "--save-case", str(path))
    assert ended.code == 0, ended.err
    shown = ended.json
    assert (shown["source"], shown["verified"], shown["reason"]) == ("pipedrive", None, None)
    assert shown["patches"][0]["patch"] == {"title": "CEO"}
    case = json.loads(path.read_bytes())
    assert case["request"]["url"].endswith("/webhooks/pipedrive")
    assert datetime.fromisoformat(case["now"]) == datetime.fromisoformat(first["received_at"])
    assert world.verb("check", "--cases", str(path)).code == 0


def test_an_event_whose_request_is_gone_is_shown_by_its_change(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        world.tell(pipedrive(101, "evt-1", real_clock(), job_title="CEO"))
        (event,) = world.verb("events", "--json").json
        for gone, code in (("UPDATE requests SET raw = NULL", 0), ("UPDATE events SET change = NULL", 1)):
            with contextlib.closing(sqlite3.connect(tmp_path / "data" / "crm-to-chartmogul.db")) as log, log:
                log.execute(gone)
            path = tmp_path / f"{code}.json"
            ended = world.verb("inspect", "--event", str(event["id"]), "--save-case", str(path))
            assert ended.code == code, ended.err
            assert path.exists() is (code == 0)
        assert "nothing is kept of event" in ended.err
        case = json.loads((tmp_path / "0.json").read_bytes())
        assert case["change"]["values"]["job_title"] == "CEO"
        assert world.verb("check", "--cases", str(tmp_path / "0.json")).code == 0


def test_an_event_that_is_not_there_is_said_so(world: World) -> None:
    ended = world.verb("inspect", "--event", "999999")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("not_found: no event 999999 is in the log")
