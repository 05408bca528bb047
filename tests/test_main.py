"""The service as a process: it says why it cannot start, says nothing of contacts, and stops when it is told to."""

import json
import signal
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import create_engine, text

from service.main import real_clock
from tests.support.sandbox import RunningSandbox
from tests.support.service import Process
from tests.support.verbs import verb
from tests.support.webhooks import GRACE_UUID, helpdesk, hubspot, hubspot_event, pipedrive


def lines(process: Process) -> list[dict[str, object]]:
    """Every line of the log; each must be a JSON object."""
    return [json.loads(line) for line in process.log.splitlines()]


def last(process: Process, event: str) -> dict[str, object]:
    return [line for line in lines(process) if line["event"] == event][-1]


def test_a_signal_stops_it_with_exit_0(tmp_path: Path) -> None:
    """Orchestrators take any other code for a crash."""
    with Process(tmp_path) as process:
        process.start()
        assert process.terminate() == 0
        assert last(process, "stopping")
        assert "Traceback" not in process.log


def test_a_signal_while_it_starts_stops_it_too(tmp_path: Path) -> None:
    with Process(tmp_path) as process:
        process.spawn()
        assert process.terminate() in {0, -signal.SIGTERM}
        assert "Traceback" not in process.log


def test_a_second_service_on_the_same_file_says_so_and_ends(tmp_path: Path) -> None:
    """Two workers on one embedded store would each believe every lease to be its own."""
    with Process(tmp_path) as first:
        first.start()
        second = Process(tmp_path)
        second._log = tmp_path / "second.log"
        second.spawn()
        assert second.wait() == 1
        line = last(second, "cannot_start")
        assert line["cause"] == "another service is running on this SQLite file"
        assert line["hint"]
        assert "Traceback" not in second.log
        assert httpx.get(f"{first.url}/health/ready", trust_env=False).status_code == 200


def test_a_port_that_is_taken_is_said_so(tmp_path: Path) -> None:
    with Process(tmp_path) as process, socket.create_server(("127.0.0.1", process.port)):
        process.spawn()
        assert process.wait() == 1
        line = last(process, "cannot_start")
        assert str(process.port) in str(line["cause"])
        assert "Traceback" not in process.log


def test_a_data_directory_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file stands here")
    with Process(tmp_path) as process:
        process.spawn()
        assert process.wait() == 1
        assert "Traceback" not in process.log
        assert "cannot be made" in process.log


def test_a_database_that_is_none_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "crm-to-chartmogul.db").write_bytes(b"this was never a database, whatever its name says" * 99)
    with Process(tmp_path) as process:
        process.spawn()
        assert process.wait() == 1
        assert "Traceback" not in process.log
        assert last(process, "cannot_start")["cause"]


def test_configuration_faults_are_all_told_before_a_port_is_opened(tmp_path: Path) -> None:
    with Process(tmp_path, "sources: {crm: {preset: hubspott}}\n", LOG_LEVEL="LOUD") as process:
        with socket.create_server(("127.0.0.1", process.port)):  # a service that opened it would end with 1
            process.spawn()
            assert process.wait() == 2
        for word in ("LOG_LEVEL", "hubspott", "config.yaml:1:", "did you mean 'hubspot'?"):
            assert word in process.log
        assert not (tmp_path / "data").exists()


def test_the_log_can_be_for_people_and_ctrl_c_stops_it_too(tmp_path: Path) -> None:
    with Process(tmp_path, LOG_FORMAT="console", LOG_LEVEL="debug") as process:
        process.start()
        process.signal(signal.SIGINT)
        assert process.wait() == 0
        assert "started" in process.log
        assert "Traceback" not in process.log
        assert not process.log.lstrip().startswith("{")


def test_a_webhook_goes_all_the_way_in_a_process_of_its_own(tmp_path: Path, sandbox: RunningSandbox) -> None:
    with Process(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url) as process, httpx.Client(trust_env=False) as client:
        process.start()
        webhook = pipedrive(101, "9d1c2b8f", real_clock(), job_title="Chief Executive Officer")
        answer = client.post(process.url + webhook.target, content=webhook.body, headers=webhook.headers)
        assert answer.json() == {"accepted": 1, "duplicates": 0}
        assert "server" not in answer.headers
        assert process.terminate() == 0, "a stop waits for what is under way"
        process.start()  # whatever was left is delivered now
        process.settle()
    assert sandbox.contact(GRACE_UUID)["title"] == "Chief Executive Officer"


CANARY = "zqcanary"


def test_no_value_of_a_payload_a_header_or_a_secret_is_ever_shown(tmp_path: Path, sandbox: RunningSandbox) -> None:
    """One canary in every field, through every way a webhook can go: taken, refused, unmappable, dead, rejected."""
    secrets = {
        "CHARTMOGUL_API_KEY": f"{CANARY}-key",
        "CHARTMOGUL_PROXY": "",
        "ADMIN_TOKEN": f"{CANARY}-admin-token",
        "PIPEDRIVE_PASSWORD": f"{CANARY}-password",
    }
    now = real_clock()
    person: dict[str, Any] = {
        "first_name": f"{CANARY} first",
        "last_name": f"{CANARY} last",
        "job_title": f"{CANARY} title",
        "phones": [{"value": "020 7946 0018", "primary": True, "label": CANARY}],
        "label": "2",
        "favourite_colour": f"{CANARY} colour",
        "notes": [CANARY, {CANARY: CANARY}],
    }
    hidden = {"x-forwarded-for": CANARY, "cookie": CANARY, "user-agent": CANARY, "referer": CANARY}
    password = f"{CANARY}-password"
    taken = pipedrive(101, "9d1c2b8f", now, password=password, **person)
    stranger = pipedrive(102, "4f52a7e9", now, email=f"{CANARY}@nowhere.example", password=password, **person)
    unmappable = pipedrive(
        101, "0c6d1b7e", now, password=password, phones=[{"value": f"{CANARY} none", "primary": True}]
    )
    wrong = pipedrive(101, "b8f5e6a7", now, password=f"{CANARY}-guess", **person)
    events = [hubspot_event(201, "firstname", CANARY, now), hubspot_event(201, "email", f"{CANARY}@x.example", now)]
    signed = hubspot(events, now, query=f"?name={CANARY}")
    broken = [
        wrong,
        signed.changed(signed.body[:-3]),
        replace(taken, target=f"/webhooks/pipedrive?name={CANARY}", body=taken.body[:-3]),
        replace(taken, body=b'{"meta": {"entity": "person", "%s": 1, "id": "%s\\u0000"}}' % ((CANARY.encode(),) * 2)),
        replace(taken, body=b'{"v": 1, "current": {"email": "%s"}, "meta": {}}' % CANARY.encode()),
        helpdesk("u-301", "evt-1", now, note=CANARY * 200_000),
    ]
    with Process(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url, LOG_LEVEL="DEBUG", **secrets) as process:
        process.start()
        with httpx.Client(trust_env=False, base_url=process.url) as client:
            said = []
            for webhook in (
                taken,
                stranger,
                unmappable,
                signed,
                *broken,
                helpdesk("u-301", "evt-2", now, title=CANARY),
            ):
                answer = client.post(webhook.target, content=webhook.body, headers=webhook.headers | hidden)
                said.append(answer.text + str(answer.headers))
            process.settle()
            health = client.get("/health")
            said.append(health.text + str(health.headers))
            said.append(client.post(f"/webhooks/pipedrive/{CANARY}", headers=hidden).text)
        assert process.terminate() == 0
        listed = [["refusals"], ["events"], ["deliveries"], ["dead-letters"], ["audit"]]
        for words in listed:
            ended = verb(*words, "--json", environ=process.environ, directory=tmp_path)
            assert ended.code in {0, 3}, ended.err
            said.append(ended.out + ended.err)
        said.append(process.log)
    assert "refused" in process.log
    assert "attempt" in process.log
    assert last(process, "unmappable")["object_id"] == "101"
    assert sandbox.contact(GRACE_UUID)["first_name"] == f"{CANARY} first", "the canary was alive"
    assert CANARY not in "".join(said)
    database = create_engine(f"sqlite:///{tmp_path / 'data' / 'crm-to-chartmogul.db'}")
    with database.connect() as connection:
        for table in ("refusals", "attempts", "deliveries", "source_marks", "accounts"):
            assert CANARY not in str(connection.execute(text(f"SELECT * FROM {table}")).all())  # noqa: S608  # our names
    database.dispose()
