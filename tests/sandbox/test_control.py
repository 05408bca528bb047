"""The control API shows what arrived and what is there, and changes how the sandbox behaves."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.sandbox import Clock, DocumentError, Limits, Settings, Switches
from service.sandbox.journal import Journal
from tests.support.sandbox import RunningSandbox, contact_uuid, running_sandbox, seed_of

GRACE = "/v1/contacts/con_36399f04-7686-11ee-86f6-8727560009c2"


def test_settings_change_what_is_named_and_keep_the_rest(sandbox: RunningSandbox, client: httpx.Client) -> None:
    start = client.get("/_sandbox/settings").json()
    assert start["limits"]["rate_per_s"] is None
    changed = client.put(
        "/_sandbox/settings",
        json={"limits": {"rate_per_s": 10}, "latency_ms": 1.5, "switches": {"unknown_keys": 422, "email_check": False}},
    ).json()
    assert changed == client.post("/_sandbox/settings", json={}).json() == client.get("/_sandbox/settings").json()
    assert sandbox.app.settings == Settings(
        limits=Limits(rate_per_s=10, parallel=None),
        switches=Switches(unknown_keys=422, email_check=False),
        latency_ms=1.5,
    )
    assert client.patch(GRACE, json={"colour": "green"}).status_code == 422
    assert client.delete("/_sandbox/settings").json() == start


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], "settings"),
        ({"limit": {}}, "settings.limit"),
        ({"limits": []}, "settings.limits"),
        ({"limits": {"rate_per_s": 0}}, "settings.limits.rate_per_s"),
        ({"limits": {"rate_per_s": "40"}}, "settings.limits.rate_per_s"),
        ({"limits": {"parallel": 1.5}}, "settings.limits.parallel"),
        ({"limits": {"burst": None}}, "settings.limits.burst"),
        ({"limits": {"burst": True}}, "settings.limits.burst"),
        ({"switches": {"null_values": "maybe"}}, "settings.switches.null_values"),
        ({"switches": {"unknown_keys": 422.0}}, "settings.switches.unknown_keys"),
        ({"switches": {"email_check": 1}}, "settings.switches.email_check"),
        ({"latency_ms": -1}, "settings.latency_ms"),
        ({"latency_jitter_ms": 1e9}, "settings.latency_jitter_ms"),
    ],
)
def test_a_wrong_setting_is_named_and_nothing_changes(
    sandbox: RunningSandbox, client: httpx.Client, document: object, path: str
) -> None:
    with pytest.raises(DocumentError) as refused:
        Settings().changed(document)
    assert refused.value.path == path
    before = sandbox.app.settings
    answer = client.put("/_sandbox/settings", json=document)
    assert (answer.status_code, answer.json()["error"]) == (422, str(refused.value))
    assert sandbox.app.settings == before


def test_a_bound_is_told() -> None:
    with pytest.raises(DocumentError, match=r"latency_ms: found the number -1; allowed: a number from 0 to 60000"):
        Settings().changed({"latency_ms": -1})
    with pytest.raises(DocumentError, match=r"found a text; allowed: 'ignored' or 400 or 422"):
        Settings().changed({"switches": {"unknown_keys": "refused"}})


def test_requests_show_what_arrived(client: httpx.Client) -> None:
    client.get("/v1/contacts", params={"per_page": 1})
    client.patch(GRACE, json={"title": "Treasurer"})
    client.patch(GRACE, content=b"no json \xff")
    shown = client.get("/_sandbox/requests").json()
    listing, applied, refused = shown["requests"]
    assert (listing["number"], listing["method"], listing["path"]) == (1, "GET", "/v1/contacts?per_page=1")
    assert (listing["status"], listing["applied"], listing["ended"]) == (200, False, True)
    assert "body" not in listing
    assert (applied["path"], applied["status"], applied["applied"]) == (GRACE, 200, True)
    assert applied["body"] == {"title": "Treasurer"}
    assert (applied["in_flight"], applied["fault"]) == (1, None)
    assert applied["at"].endswith("Z")
    assert (refused["status"], refused["applied"], refused["body"]) == (400, False, "no json \ufffd")
    assert shown["counters"] == {
        "arrived": 3,
        "in_flight_max": 1,
        "answers": {"GET": {"200": 1}, "PATCH": {"200": 1, "400": 1}},
        "applied": {"PATCH": 1},
    }


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({}, [1, 2, 3]),
        ({"after": "1"}, [2, 3]),
        ({"limit": "2"}, [2, 3]),
        ({"limit": "0"}, []),
        ({"limit": "9"}, [1, 2, 3]),
        ({"method": "patch"}, [2]),
        ({"path": "/v1/ping"}, [1, 3]),
    ],
)
def test_requests_can_be_narrowed(client: httpx.Client, query: dict[str, str], numbers: list[int]) -> None:
    client.get("/v1/ping")
    client.patch(GRACE, json={})
    client.get("/v1/ping")
    shown = client.get("/_sandbox/requests", params=query).json()["requests"]
    assert [entry["number"] for entry in shown] == numbers


def test_a_number_that_is_none_is_refused(client: httpx.Client) -> None:
    assert client.get("/_sandbox/requests?after=x").json() == {"error": "after: found a text; allowed: a whole number"}


def test_requests_can_be_forgotten(client: httpx.Client) -> None:
    client.get("/v1/ping")
    empty = {"arrived": 0, "in_flight_max": 0, "answers": {}, "applied": {}}
    assert client.delete("/_sandbox/requests").json() == {"counters": empty, "requests": []}


def test_the_ring_is_bounded_and_the_counters_are_not() -> None:
    journal = Journal(Clock(), kept_max=3)
    for _ in range(10):
        entry = journal.open("PATCH", GRACE)
        journal.entered(entry, 1)
        entry.status, entry.applied = 200, True
        journal.close(entry)
    assert [entry.number for entry in journal] == [8, 9, 10]
    assert (journal.arrived, journal.answered("PATCH", 200), journal.applied("PATCH")) == (10, 10, 10)


def test_contacts_are_shown_as_the_api_returns_them(client: httpx.Client) -> None:
    client.put("/_sandbox/settings", json={"switches": {"last_seen": "absent"}})
    shown = client.get("/_sandbox/contacts").json()["contacts"]
    assert shown[0] == client.get(GRACE).json()
    assert shown == client.get("/v1/contacts").json()["entries"][::-1]


def test_a_reset_brings_back_the_start(sandbox: RunningSandbox, client: httpx.Client) -> None:
    start = sandbox.contacts()
    client.patch(GRACE, json={"title": "Treasurer"})
    client.post("/_sandbox/faults", json={"kind": "garbage"})
    client.put("/_sandbox/settings", json={"latency_ms": 1})
    assert client.post("/_sandbox/reset").status_code == 200
    assert sandbox.contacts() == start
    assert client.get("/_sandbox/faults").json() == {"faults": []}
    assert client.get("/_sandbox/settings").json()["latency_ms"] == 0
    assert sandbox.counters()["arrived"] == 0


def test_a_reset_can_bring_another_seed(sandbox: RunningSandbox, client: httpx.Client) -> None:
    seed: dict[str, Any] = {"contacts": [{"uuid": "con_1"}]}
    client.post("/_sandbox/reset", json=seed)
    assert [contact["uuid"] for contact in sandbox.contacts()] == ["con_1"]
    wrong = client.post("/_sandbox/reset", json={"contacts": [{"uuid": 1}]})
    assert (wrong.status_code, wrong.json()["error"]) == (
        422,
        "seed: contacts[0].uuid: found the number 1; allowed: a text",
    )
    assert client.post("/_sandbox/reset", content=b"{").json()["error"].startswith("body: found no JSON at line 1")
    assert [contact["uuid"] for contact in sandbox.contacts()] == ["con_1"]


def test_the_control_api_asks_for_no_key_and_is_not_counted(sandbox: RunningSandbox) -> None:
    with httpx.Client(base_url=sandbox.base_url) as stranger:
        assert stranger.get("/_sandbox/contacts").status_code == 200
        assert stranger.get("/_sandbox/nothing").status_code == 404
    assert sandbox.counters()["arrived"] == 0


def test_a_seeded_sandbox_of_many_is_at_hand_for_tests() -> None:
    with running_sandbox(seed_of(3)) as sandbox:
        answer = httpx.patch(
            f"{sandbox.base_url}/v1/contacts/{contact_uuid(2)}", json={"title": "CFO"}, auth=(sandbox.api_key, "")
        )
        assert answer.status_code == 200
        assert sandbox.contact(contact_uuid(2))["title"] == "CFO"
        sandbox.load(seed_of(1))
        sandbox.forget_requests()
        assert (len(sandbox.contacts()), sandbox.requests()) == (1, [])


def test_serve_stops_when_told_even_with_a_request_held_silent(tmp_path: Path) -> None:
    """The command runs until a signal; a connection that never gets an answer must not hold it up."""
    seed = tmp_path / "seed.json"
    seed.write_text('{"contacts": [{"uuid": "con_1"}]}')
    program = (
        "import pathlib, sys; from service.sandbox import serve; serve(port=0, seed_file=pathlib.Path(sys.argv[1]))"
    )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", program.replace("port=0", f"port={port}"), str(seed)],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=("key", "")) as client:
            assert until_served(client).json()["uuid"] == "con_1"
            client.post("/_sandbox/faults", json={"kind": "timeout_before"})
            with socket.create_connection(("127.0.0.1", port), timeout=20) as held:
                held.sendall(b"GET /v1/ping HTTP/1.1\r\nHost: sandbox\r\n\r\n")
                while client.get("/_sandbox/faults").json()["faults"][0]["hit"] == 0:
                    pass
                process.send_signal(signal.SIGINT)
                _, complaints = process.communicate(timeout=4)
                assert held.recv(1) == b""
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, complaints) == (0, b"")


def until_served(client: httpx.Client) -> httpx.Response:
    deadline = time.monotonic() + 20
    while True:
        try:
            return client.get("/v1/contacts/con_1")
        except httpx.ConnectError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
