"""check, schema and inspect: everything that can be known of a configuration without running it."""

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml

from service.main import real_clock
from service.operations.inspect import CAPTURE_BYTES_MAX
from tests.cli.conftest import Verb, capture, capture_file
from tests.support.crm import fixture, fixtures
from tests.support.service import environment, inherited
from tests.support.verbs import process_verb
from tests.support.webhooks import CONFIGURATION, PUBLIC_URL, Webhook, helpdesk, hubspot, hubspot_event, pipedrive

NOW = real_clock()
INSPECTION = ["source", "verified", "reason", "response", "events", "patches"]
EVENT = [
    *("dedup_key", "crm_event_id", "object_type", "object_id", "action", "occurred_at", "order_key", "changed_fields"),
    *("values", "previous", "merged_from", "merged_into", "origin", "actor", "tenant", "attempt", "thin"),
]
WEBHOOKS = {
    "pipedrive": pipedrive(101, "evt-1", NOW, job_title=" CEO ", label="2"),
    "hubspot": hubspot(
        [hubspot_event(201, "jobtitle", "CEO", NOW), hubspot_event(201, "email", "A@b.example", NOW)], NOW
    ),
    "helpdesk": helpdesk("u-301", "evt-1", NOW, title="CEO", newsletter="yes"),
}
PATCHES = {
    "pipedrive": {"title": "CEO", "custom": [{"key": "Lifecycle", "value": "Customer"}]},
    "hubspot": {"title": "CEO", "email": "a@b.example"},
    "helpdesk": {"title": "CEO", "custom": [{"key": "Newsletter", "value": True}]},
}


ALONE = """
sources:
  crm: {preset: pipedrive, auth: {username: crm, password: "${PIPEDRIVE_PASSWORD}"}, mapping: {title: job_title}}
"""


def test_a_good_configuration_is_summed_up(here: Verb) -> None:
    ended = here("check", "--json")
    assert ended.code == 0
    assert ended.json["ok"] is True
    assert ended.json["sources"]["hubspot"]["targets"] == ["custom.Region", "email", "first_name", "last_name", "title"]
    told = here("check")
    assert told.code == 0
    assert told.out.startswith("ok, version ")
    assert "  helpdesk: generic, account default\n" in told.out
    assert f"    POST {PUBLIC_URL}/webhooks/helpdesk\n" in told.out
    assert ended.json["sources"]["hubspot"]["url"] == f"{PUBLIC_URL}/webhooks/hubspot"


def test_without_a_public_address_none_is_told(here: Verb) -> None:
    told = here("check", PUBLIC_URL="", configuration=ALONE)
    assert (told.code, "POST" in told.out) == (0, False)
    assert here("check", "--json", PUBLIC_URL="", configuration=ALONE).json["sources"]["crm"]["url"] is None


def test_an_open_door_is_named(here: Verb) -> None:
    open_door = CONFIGURATION.replace(
        '{username: crm, password: "${PIPEDRIVE_PASSWORD}"}', '{none: "I accept unauthenticated webhooks"}'
    )
    assert "pipedrive: pipedrive, account default, UNAUTHENTICATED" in here("check", configuration=open_door).out
    assert here("check", "--json", configuration=open_door).json["sources"]["pipedrive"]["verified"] is False


FAULTY = "sources:\n  crm:\n    preset: hubspott\n    maping: {}\n"


@pytest.mark.parametrize("words", [["check"], ["serve"], ["sample", "crm"]])
def test_every_fault_is_told_at_once_with_exit_2(here: Verb, words: list[str]) -> None:
    ended = here(*words, configuration=FAULTY, PORT="99999")
    assert (ended.code, ended.out) == (2, "")
    for part in ("PORT", "config.yaml:3:13", "did you mean 'hubspot'?"):
        assert part in ended.err
    assert "Traceback" not in ended.err


def test_faults_are_told_as_json_too(here: Verb) -> None:
    ended = here("check", "--json", configuration=FAULTY)
    assert ended.code == 2
    assert ended.json["ok"] is False
    assert ended.json["faults"][0].keys() == {"where", "path", "found", "allowed", "nearest"}


def test_a_missing_file_is_told(here: Verb, tmp_path: Path) -> None:
    ended = here("check", "--config", str(tmp_path / "none.yaml"))
    assert ended.code == 2
    assert "none.yaml" in ended.err


def test_verbs_on_the_log_need_their_settings_alone(here: Verb) -> None:
    assert here("events", DATABASE_URL="mysql://localhost/x").code == 2
    assert here("events", configuration=FAULTY).code == 0


def test_the_schema_is_one_and_names_every_preset(here: Verb) -> None:
    ended = here("schema")
    assert ended.code == 0
    assert ended.json["$schema"].startswith("https://json-schema.org/")
    assert here("schema", "--json").json == ended.json
    for preset in ("hubspot", "pipedrive", "generic"):
        assert f'"{preset}"' in ended.out


def test_the_example_configuration_is_right(tmp_path: Path, here: Verb) -> None:
    example = Path("config.example.yaml").read_text()
    names = {"PIPEDRIVE_PASSWORD": "a", "HUBSPOT_CLIENT_SECRET": "b", "HELPDESK_SECRET": "c"}
    ended = here("check", configuration=example, **names)
    assert ended.code == 0, ended.err
    assert set(yaml.safe_load(example)["sources"]) == {"pipedrive", "hubspot", "helpdesk"}
    assert (tmp_path / "config.yaml").exists()


@pytest.mark.parametrize("source", WEBHOOKS)
def test_inspect_shows_what_would_become_of_a_request(here: Verb, tmp_path: Path, source: str) -> None:
    """The shape is a contract: programs read it."""
    ended = here("inspect", capture_file(tmp_path, WEBHOOKS[source]))
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


@pytest.mark.parametrize("source", WEBHOOKS)
def test_inspect_shows_why_a_request_would_be_refused(here: Verb, tmp_path: Path, source: str) -> None:
    webhook = WEBHOOKS[source]
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
    webhook = WEBHOOKS["pipedrive"]
    ended = here("inspect", capture_file(tmp_path, webhook.changed(b"{")))
    assert (ended.code, ended.json["verified"]) == (3, True)
    assert ended.json["response"]["status"] == 400


def test_inspect_needs_neither_key_nor_server(here: Verb, tmp_path: Path) -> None:
    path = capture_file(tmp_path, WEBHOOKS["hubspot"])
    assert here("inspect", path, CHARTMOGUL_API_KEY="", PUBLIC_URL="", PIPEDRIVE_PASSWORD="").code == 0


@pytest.mark.parametrize(("at", "code"), [(NOW, 0), (NOW + timedelta(minutes=4), 0), (NOW + timedelta(minutes=6), 3)])
def test_inspect_as_of_a_time(here: Verb, tmp_path: Path, at: datetime, code: int) -> None:
    path = capture_file(tmp_path, WEBHOOKS["hubspot"])
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
    text = json.dumps(capture(WEBHOOKS["helpdesk"], raw=True)).encode()
    assert here("inspect", "-", text=text).code == 0
    elsewhere = json.dumps(capture(WEBHOOKS["helpdesk"]) | {"url": "https://x.example/in"}).encode()
    assert here("inspect", "-", "--source", "helpdesk", text=elsewhere).code == 0
    assert here("inspect", "-", text=elsewhere).code == 1
    assert not (tmp_path / "data").exists()


def test_inspect_shows_filtered_and_unmappable_changes(here: Verb, tmp_path: Path) -> None:
    only = CONFIGURATION.replace("    mapping:\n", '    when: {field: label, in: ["2"]}\n    mapping:\n', 1)
    path = capture_file(tmp_path, pipedrive(101, "evt-1", NOW, label="1", job_title="CEO"))
    (patch,) = here("inspect", path, configuration=only).json["patches"]
    assert patch["patch"] is None
    assert [line["reason"] for line in patch["trace"]] == ["filtered out by `when`"]
    path = capture_file(tmp_path, pipedrive(101, "evt-1", NOW, phones=[{"value": "call me", "primary": True}]))
    (patch,) = here("inspect", path).json["patches"]
    assert patch["patch"] is None
    assert [line["target"] for line in patch["trace"] if line["result"] == "fail"] == ["phone"]


def test_inspect_shows_what_a_deletion_says_and_that_of_a_merge_says_nothing(here: Verb, tmp_path: Path) -> None:
    """As the service does it: a filter asks for what a record is, and a deletion has no record."""
    gone = '    on_deleted: {title: {const: Left}}\n    when: {field: label, in: ["2"]}\n    mapping:\n'
    marking = CONFIGURATION.replace("    mapping:\n", gone, 1)
    webhook = pipedrive(101, "evt-1", NOW, label="1")
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
    path = capture_file(tmp_path, pipedrive(101, "evt-1", NOW, job_title=None))
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
    text = json.dumps(capture(WEBHOOKS["pipedrive"])).encode()
    for words in (["inspect", "-", "--source", "pipedrve"], ["sample", "pipedrve"]):
        ended = here(*words, text=text)
        assert (ended.code, ended.out) == (2, "")
        assert "did you mean 'pipedrive'?" in ended.err


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "none.json"],
        ["inspect", "-", "--source", "salesforce"],
        ["inspect", "-", "--now", "yesterday"],
        ["inspect"],
        ["explode"],
        ["check", "--loud"],
        [],
    ],
)
def test_wrong_usage_ends_with_2(here: Verb, words: list[str]) -> None:
    ended = here(*words, text=json.dumps(capture(WEBHOOKS["pipedrive"])).encode())
    assert ended.code == 2
    assert "Traceback" not in ended.err


def test_a_reader_that_has_seen_enough_is_no_fault_to_tell(tmp_path: Path) -> None:
    """`… | head` closes the pipe; neither a trace nor a warning of the interpreter belongs on the terminal."""
    for words in (["schema"], ["check"]):
        process = subprocess.Popen(
            [sys.executable, "-m", "service", *words],
            env=inherited() | environment(tmp_path),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
        process.stderr.close()
        assert (process.wait(20), err) == (1, b"")


def test_the_installed_command_is_the_same(tmp_path: Path) -> None:
    ended = process_verb("check", environ=environment(tmp_path), directory=tmp_path)
    assert (ended.code, ended.err) == (0, "")
