"""Faults have their effect on a real connection, and hit the requests that they say."""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.sandbox import DocumentError, Fault, FaultKind, create_app
from service.sandbox.faults import FAULTS_MAX, Faults, parse_faults
from tests.support.sandbox import RunningSandbox, running_sandbox
from tests.support.wait import until

GRACE = "/v1/contacts/con_36399f04-7686-11ee-86f6-8727560009c2"
UUID = GRACE.rpartition("/")[2]


LATE_S = 1.0
"""When a late change lands: long after the client gave it up, and answered newer ones."""


def title_of(sandbox: RunningSandbox) -> Any:  # noqa: ANN401  # a JSON value
    return sandbox.contact(UUID)["title"]


@pytest.mark.parametrize(
    ("kind", "error", "applied"),
    [
        (FaultKind.RESET_BEFORE, httpx.ReadError, False),
        (FaultKind.RESET_AFTER, httpx.ReadError, True),
        (FaultKind.CLOSE_BEFORE, httpx.RemoteProtocolError, False),
        (FaultKind.CLOSE_AFTER, httpx.RemoteProtocolError, True),
        (FaultKind.TRUNCATED_JSON, httpx.RemoteProtocolError, True),
        (FaultKind.TIMEOUT_BEFORE, httpx.ReadTimeout, False),
        (FaultKind.TIMEOUT_AFTER, httpx.ReadTimeout, True),
    ],
)
def test_a_broken_answer_breaks_the_client_and_tells_nothing_of_what_was_applied(
    sandbox: RunningSandbox, client: httpx.Client, kind: FaultKind, error: type[Exception], *, applied: bool
) -> None:
    sandbox.add_faults(Fault(kind=kind, count=1, method="patch"))
    with pytest.raises(error):
        client.patch(GRACE, json={"title": "Treasurer"}, timeout=0.2)
    assert (title_of(sandbox) == "Treasurer") is applied
    assert client.patch(GRACE, json={"phone": "+442079460019"}).status_code == 200
    broken, whole = sandbox.requests("PATCH")
    assert (broken["fault"], broken["status"], broken["applied"]) == (kind.value, None, applied)
    assert (whole["fault"], whole["status"], whole["applied"]) == (None, 200, True)
    assert sandbox.answered("PATCH", None) == 1
    assert sandbox.counters()["answers"]["PATCH"] == {"dropped": 1, "200": 1}


def test_a_truncated_answer_has_less_than_it_promises(sandbox: RunningSandbox) -> None:
    """Half of the JSON really arrives: a client that trusts what it got must be caught."""
    sandbox.add_faults(Fault(kind=FaultKind.TRUNCATED_JSON, count=1))
    host, port = sandbox.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /v1/ping HTTP/1.1\r\nHost: sandbox\r\nAuthorization: Basic c2FuZGJveDo=\r\n\r\n")
        received = b""
        while part := connection.recv(4096):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"content-length: 16" in head
    assert body == b'{"data":'


def test_silence_ends_with_a_closed_connection_when_its_time_is_over(
    sandbox: RunningSandbox, client: httpx.Client
) -> None:
    sandbox.add_faults(Fault(kind=FaultKind.TIMEOUT_BEFORE, delay_s=0.02))
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/v1/ping")


def test_clearing_the_faults_ends_every_silence(sandbox: RunningSandbox, client: httpx.Client) -> None:
    sandbox.add_faults(Fault(kind=FaultKind.TIMEOUT_BEFORE))
    ended: list[type[Exception]] = []

    def ask() -> None:
        try:
            client.get("/v1/ping")
        except httpx.HTTPError as error:
            ended.append(type(error))

    asking = threading.Thread(target=ask)
    asking.start()
    deadline = time.monotonic() + 10
    while not sandbox.requests() and time.monotonic() < deadline:
        pass
    sandbox.clear_faults()
    asking.join(10)
    assert ended == [httpx.RemoteProtocolError]
    assert client.get("/v1/ping").status_code == 200


def give_up(client: httpx.Client) -> None:
    """Send an older change, and stop waiting for its answer long before it is applied."""
    with pytest.raises(httpx.ReadTimeout):
        client.patch(GRACE, json={"title": "Older"}, timeout=0.1)


def die(client: httpx.Client) -> None:
    """Send an older change, and end the connection as the death of a process does."""
    host, port = str(client.base_url).removeprefix("http://").strip("/").split(":")
    body = b'{"title": "Older"}'
    head = f"PATCH {GRACE} HTTP/1.1\r\nHost: sandbox\r\nAuthorization: Basic c2FuZGJveDo=\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: [entry["ended"] for entry in client.get("/_sandbox/requests").json()["requests"]] == [True])


@pytest.mark.parametrize("leave", [give_up, die])
def test_a_late_change_lands_after_a_newer_one_though_its_client_has_gone(
    sandbox: RunningSandbox, client: httpx.Client, leave: Callable[[httpx.Client], None]
) -> None:
    """This is how an older value overwrites a newer one behind the back of whoever sent both in order."""
    sandbox.add_faults(Fault(kind=FaultKind.TIMEOUT_LATE, delay_s=LATE_S, count=1, method="PATCH"))
    leave(client)
    newer = client.patch(GRACE, json={"title": "Newer"})
    assert (newer.status_code, newer.json()["title"], title_of(sandbox)) == (200, "Newer", "Newer")
    assert [entry["applied"] for entry in sandbox.requests("PATCH")] == [False, True]
    until(lambda: title_of(sandbox) == "Older")
    late, whole = sandbox.requests("PATCH")
    assert (late["fault"], late["status"], late["applied"]) == ("timeout_late", None, True)
    assert late["took_ms"] < LATE_S * 1000, "it holds no place among the parallel ones once its client has gone"
    assert whole["applied"]
    assert sandbox.counters()["applied"] == {"PATCH": 2}
    assert [entry.turn for entry in sandbox.app.journal if entry.method == "PATCH"] == [2, 1]


def test_a_client_that_waits_for_a_late_change_finds_the_connection_closed_once_it_landed(
    sandbox: RunningSandbox, client: httpx.Client
) -> None:
    sandbox.add_faults(Fault(kind=FaultKind.TIMEOUT_LATE, delay_s=0.02, count=1, applied=True))
    with pytest.raises(httpx.RemoteProtocolError):
        client.patch(GRACE, json={"title": "Late"})
    assert title_of(sandbox) == "Late"
    assert sandbox.counters()["applied"] == {"PATCH": 1}, "it is applied once, whatever else the fault says"


def test_clearing_the_faults_applies_what_was_to_land_late(sandbox: RunningSandbox, client: httpx.Client) -> None:
    """At once, in the order in which it came: what was taken is not lost, and nobody waits an hour for it."""
    sandbox.add_faults(Fault(kind=FaultKind.TIMEOUT_LATE, delay_s=3600, count=2))
    for number in (1, 2):
        with pytest.raises(httpx.ReadTimeout):
            client.patch(GRACE, json={"title": f"Late {number}", "phone": "+442079460019"}, timeout=0.1)
    assert title_of(sandbox) == "Chief Financial Officer"
    sandbox.clear_faults()
    assert title_of(sandbox) == "Late 2"
    assert sandbox.counters()["applied"] == {"PATCH": 2}


def test_a_stop_does_not_wait_for_what_is_late_and_applies_it() -> None:
    with running_sandbox() as sandbox:
        sandbox.add_faults(Fault(kind=FaultKind.TIMEOUT_LATE, delay_s=3600))
        with httpx.Client(base_url=sandbox.base_url, auth=("key", "")) as client, pytest.raises(httpx.ReadTimeout):
            client.patch(GRACE, json={"title": "Late"}, timeout=0.1)
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 5
    titles = {contact["uuid"]: contact["title"] for contact in sandbox.app.contacts.all()}
    assert titles[UUID] == "Late"


@pytest.mark.parametrize("kind", [FaultKind.RESET_BEFORE, FaultKind.CLOSE_AFTER, FaultKind.TRUNCATED_JSON])
def test_a_fault_that_meets_no_client_any_more_does_no_harm(
    sandbox: RunningSandbox, client: httpx.Client, caplog: pytest.LogCaptureFixture, kind: FaultKind
) -> None:
    """The client died while its request waited: there is nobody left to be dropped."""
    sandbox.add_faults(Fault(kind=kind, count=1, method="PATCH", delay_s=0.1))
    die(client)
    assert [entry["status"] for entry in sandbox.requests("PATCH")] == [None]
    assert caplog.records == []


def test_a_slow_body_arrives_whole(sandbox: RunningSandbox, client: httpx.Client) -> None:
    sandbox.add_faults(Fault(kind=FaultKind.SLOW_BODY, delay_s=0.05))
    with client.stream("PATCH", GRACE, json={"title": "Treasurer"}) as answer:
        pieces = list(answer.iter_raw())
    assert len(pieces) > 1
    assert b'"title":"Treasurer"' in b"".join(pieces)
    assert sandbox.requests("PATCH")[0]["took_ms"] >= 40


@pytest.mark.parametrize(
    ("fault", "body", "content_type"),
    [
        ({"status": 502, "body": "html"}, "502 Bad Gateway", "text/html"),
        ({"status": 503, "body": "empty", "retry_after_s": 7}, "", None),
        (
            {"status": 402, "message": "Payment required"},
            '{"code":402,"message":"Payment required"',
            "application/json",
        ),
        ({"status": 500}, '{"code":500', "application/json"),
        ({"status": 429, "body": "html", "retry_after_s": 3}, "<html>", "text/html"),
    ],
)
def test_a_status_is_answered_as_told_and_nothing_is_applied(
    sandbox: RunningSandbox, client: httpx.Client, fault: dict[str, Any], body: str, content_type: str | None
) -> None:
    assert client.post("/_sandbox/faults", json={"kind": "status", "count": 1, **fault}).status_code == 201
    answer = client.patch(GRACE, json={"title": "Treasurer"})
    assert answer.status_code == fault["status"]
    assert body in answer.text
    assert answer.headers.get("content-type") == content_type
    assert answer.headers.get("retry-after") == (str(fault["retry_after_s"]) if "retry_after_s" in fault else None)
    assert title_of(sandbox) == "Chief Financial Officer"


def test_garbage_is_a_200_that_is_no_json(sandbox: RunningSandbox, client: httpx.Client) -> None:
    sandbox.add_faults(Fault(kind=FaultKind.GARBAGE, count=1))
    answer = client.patch(GRACE, json={"title": "Treasurer"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")
    assert title_of(sandbox) == "Chief Financial Officer"


def test_a_lost_answer_can_hide_an_applied_change(sandbox: RunningSandbox, client: httpx.Client) -> None:
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=504, body="html", applied=True, count=1, delay_s=0.01))
    assert client.patch(GRACE, json={"title": "Treasurer"}).status_code == 504
    assert title_of(sandbox) == "Treasurer"
    assert sandbox.counters()["applied"] == {"PATCH": 1}


async def drop_without_a_transport() -> None:
    app = create_app()
    app.faults.add(Fault(kind=FaultKind.RESET_BEFORE))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sandbox") as client:
        await client.get("/v1/ping")


def test_a_server_without_a_transport_is_told_so() -> None:
    with pytest.raises(ConnectionAbortedError):
        asyncio.run(drop_without_a_transport())


def picks(fault: Fault, count: int = 12) -> list[int]:
    faults = Faults()
    faults.add(fault)
    return [turn for turn in range(1, count + 1) if faults.pick("PATCH", GRACE) is not None]


def test_count_and_every_say_which_turn_is_hit() -> None:
    assert picks(Fault(kind=FaultKind.STATUS, count=3)) == [1, 2, 3]
    assert picks(Fault(kind=FaultKind.STATUS, every=4)) == [4, 8, 12]
    assert picks(Fault(kind=FaultKind.STATUS, every=4, count=2)) == [4, 8]


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), probability=st.floats(0, 1))
def test_a_probability_is_repeatable(seed: int, probability: float) -> None:
    fault = Fault(kind=FaultKind.STATUS, probability=probability, seed=seed)
    assert picks(fault) == picks(fault)


def test_a_probability_is_about_right() -> None:
    hits = len(picks(Fault(kind=FaultKind.STATUS, probability=0.3, seed=7), 2_000))
    assert 500 < hits < 700
    assert picks(Fault(kind=FaultKind.STATUS, probability=0)) == []
    assert len(picks(Fault(kind=FaultKind.STATUS, probability=1))) == 12


@pytest.mark.parametrize(
    ("fault", "hit"),
    [
        (Fault(kind=FaultKind.STATUS, method="PATCH"), True),
        (Fault(kind=FaultKind.STATUS, method="GET"), False),
        (Fault(kind=FaultKind.STATUS, path="/v1/contacts"), True),
        (Fault(kind=FaultKind.STATUS, path="/v1/customers"), False),
        (Fault(kind=FaultKind.STATUS, contact=UUID), True),
        (Fault(kind=FaultKind.STATUS, contact=UUID[:-1]), False),
    ],
)
def test_method_path_and_contact_say_which_request_is_hit(fault: Fault, *, hit: bool) -> None:
    assert bool(picks(fault)) is hit


def test_the_first_fault_that_hits_counts_and_each_is_counted(client: httpx.Client) -> None:
    both = {"faults": [{"kind": "status", "status": 502, "count": 1}, {"kind": "status", "status": 504}]}
    assert client.post("/_sandbox/faults", json=both).status_code == 201
    assert [client.get("/v1/ping").status_code for _ in range(3)] == [502, 504, 504]
    listed = client.get("/_sandbox/faults").json()["faults"]
    assert [(fault["status"], fault["seen"], fault["hit"]) for fault in listed] == [(502, 1, 1), (504, 2, 2)]
    assert client.delete("/_sandbox/faults").json() == {"faults": []}
    assert client.get("/v1/ping").status_code == 200


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], "fault"),
        ({}, "fault.kind"),
        ({"kind": "explode"}, "fault.kind"),
        ({"kind": ["status"]}, "fault.kind"),
        ({"kind": "status", "stauts": 502}, "fault.stauts"),
        ({"kind": "status", "status": 99}, "fault.status"),
        ({"kind": "status", "status": 600}, "fault.status"),
        ({"kind": "status", "status": True}, "fault.status"),
        ({"kind": "status", "count": 0}, "fault.count"),
        ({"kind": "status", "probability": 1.1}, "fault.probability"),
        ({"kind": "status", "body": "xml"}, "fault.body"),
        ({"kind": "status", "method": 5}, "fault.method"),
        ({"faults": {}}, "faults"),
        ({"faults": [], "kind": "status"}, "faults"),
        ({"faults": [{"kind": "reset_before"}, 5]}, "faults[1]"),
    ],
)
def test_a_wrong_fault_is_named_with_its_place(client: httpx.Client, document: object, path: str) -> None:
    with pytest.raises(DocumentError) as refused:
        parse_faults(document)
    assert refused.value.path == path
    answer = client.post("/_sandbox/faults", json=document)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(f"{path}: ")
    assert client.get("/_sandbox/faults").json() == {"faults": []}


def test_the_number_of_faults_is_bounded() -> None:
    faults = Faults()
    faults.add(*[Fault(kind=FaultKind.STATUS)] * FAULTS_MAX)
    with pytest.raises(DocumentError, match="at most 1000"):
        faults.add(Fault(kind=FaultKind.STATUS))
    assert len(faults.as_document()) == FAULTS_MAX
