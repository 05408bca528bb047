"""A service as a process, whose configuration changes under it: by a signal, by the file itself, by a secret's file."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.main import real_clock
from tests.support.sandbox import RunningSandbox, contact_uuid, seed_of
from tests.support.service import STOP_S, Process
from tests.support.wait import until
from tests.support.webhooks import CONFIGURATION, GRACE_UUID, PIPEDRIVE_PASSWORD, Webhook, pipedrive

MENDED = CONFIGURATION.replace("{from: job_title, transform: [trim]}", "{from: job_title, transform: [trim, upper]}")
"""Pipedrive's titles in capitals."""
FAULTY = CONFIGURATION.replace("preset: hubspot", "preset: hubspott")
SECRETLY = CONFIGURATION.replace("${PIPEDRIVE_PASSWORD}", "${PIPEDRIVE_KEY}")


@pytest.fixture
def process(tmp_path: Path, sandbox: RunningSandbox) -> Iterator[Process]:
    """A running service whose secrets stand in files."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "pipedrive_key").write_text(PIPEDRIVE_PASSWORD)
    with Process(tmp_path, SECRETLY, CHARTMOGUL_BASE_URL=sandbox.base_url) as process:
        process.start()
        yield process


def replace(process: Process, text: str) -> None:
    """Put another file in the place of the configuration, as editors and deployments do."""
    fresh = process.directory / "config.yaml.new"
    fresh.write_text(text.replace("${PIPEDRIVE_PASSWORD}", "${PIPEDRIVE_KEY}"))
    fresh.replace(process.directory / "config.yaml")


def told(process: Process, event: str) -> list[dict[str, Any]]:
    """Return the log's lines of an event, but for one that is being written."""
    whole = [line for line in process.log.splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in map(json.loads, whole) if line["event"] == event]


def send(process: Process, webhook: Webhook) -> int:
    url = process.url + webhook.target
    return httpx.post(url, content=webhook.body, headers=webhook.headers, trust_env=False).status_code


def health(process: Process) -> Any:  # noqa: ANN401  # whatever JSON holds
    return httpx.get(f"{process.url}/health", trust_env=False).json()


def title_after(process: Process, sandbox: RunningSandbox, event: str) -> object:
    """Return what becomes of a title by the rules in force."""
    assert send(process, pipedrive(101, event, real_clock(), job_title=f"ceo {event}")) == 200
    process.settle()
    return sandbox.contact(GRACE_UUID)["title"]


def test_a_signal_has_the_file_taken(process: Process, sandbox: RunningSandbox) -> None:
    assert title_after(process, sandbox, "a") == "ceo a"
    before = health(process)["config_version"]
    replace(process, MENDED)
    process.signal(signal.SIGHUP)
    until(lambda: bool(told(process, "configuration_loaded")))
    line = told(process, "configuration_loaded")[0]
    assert (line["previous"], line["version"]) == (before, health(process)["config_version"])
    assert (line["added"], line["removed"], line["changed"]) == ([], [], ["pipedrive"])
    assert title_after(process, sandbox, "b") == "CEO B"
    assert process.terminate() == 0


def test_a_file_that_is_replaced_is_taken_and_a_faulty_one_is_not(process: Process, sandbox: RunningSandbox) -> None:
    """Nobody need send anything; what is wrong is told, and the former goes on until the file is right."""
    replace(process, MENDED)
    until(lambda: bool(told(process, "configuration_loaded")))
    assert title_after(process, sandbox, "a") == "CEO A"
    replace(process, FAULTY)
    until(lambda: bool(told(process, "configuration_refused")))
    (line,) = told(process, "configuration_refused")
    assert (line["path"], line["nearest"]) == ("sources.hubspot.preset", "hubspot")
    assert re.search(r"/config\.yaml:\d+:13$", line["where"])
    report = health(process)
    assert (report["status"], report["config_version"]) == ("warn", line["running"])
    assert title_after(process, sandbox, "b") == "CEO B"
    replace(process, CONFIGURATION)
    until(lambda: len(told(process, "configuration_loaded")) > 1)
    assert health(process)["config_refused"] is None
    assert title_after(process, sandbox, "c") == "ceo c"
    assert len(told(process, "configuration_refused")) == 1


def test_a_secret_that_is_rotated_in_its_file_is_taken(process: Process) -> None:
    (process.directory / "secrets" / "pipedrive_key").write_text("pd-b8f5e6a7c90d1c2b\n")
    until(lambda: bool(told(process, "configuration_loaded")))
    now = real_clock()
    assert send(process, pipedrive(101, "old", now, job_title="CEO")) == 401
    assert send(process, pipedrive(101, "new", now, job_title="CEO", password="pd-b8f5e6a7c90d1c2b")) == 200
    assert "b8f5e6a7c90d1c2b" not in process.log


def test_what_was_killed_right_after_a_reload_starts_with_the_new_file(
    process: Process, sandbox: RunningSandbox
) -> None:
    replace(process, MENDED)
    process.signal(signal.SIGHUP)
    until(lambda: bool(told(process, "configuration_loaded")))
    version = told(process, "configuration_loaded")[0]["version"]
    assert send(process, pipedrive(101, "a", real_clock(), job_title="ceo")) == 200
    process.kill()
    process.start()
    assert health(process)["config_version"] == version
    process.settle()
    assert sandbox.contact(GRACE_UUID)["title"] == "CEO"


def test_webhooks_that_come_while_it_reloads_are_neither_lost_nor_refused(
    process: Process, sandbox: RunningSandbox
) -> None:
    """Ten reloads, and no fewer than a hundred webhooks of as many people meanwhile."""
    sandbox.load(seed_of(400))
    reloaded = threading.Event()

    def webhooks() -> list[int]:
        answers: list[int] = []
        with httpx.Client(base_url=process.url, trust_env=False) as client:
            while len(answers) < 100 or not (reloaded.is_set() or len(answers) == 400):
                number = len(answers)
                email = f"person-{number}@nordwind-logistik.example"
                webhook = pipedrive(number, f"evt-{number}", real_clock(), email=email, job_title=f"lead {number}")
                answers.append(client.post(webhook.target, content=webhook.body, headers=webhook.headers).status_code)
        return answers

    with ThreadPoolExecutor(1) as sender:
        sending = sender.submit(webhooks)
        for number in range(10):
            replace(process, CONFIGURATION if number % 2 else MENDED)
            process.signal(signal.SIGHUP)
            until(lambda seen=number: len(told(process, "configuration_loaded")) > seen)  # type: ignore[misc]
        reloaded.set()
        answers = sending.result()
    assert set(answers) == {200}
    process.settle()
    titles = [sandbox.contact(contact_uuid(number))["title"] for number in range(len(answers))]
    assert [str(title).lower() for title in titles] == [f"lead {number}" for number in range(len(answers))]
    assert {line["outcome"] for line in told(process, "attempt")} == {"applied"}
    assert told(process, "fault") == []
    assert process.terminate() == 0


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "still there"])
def test_a_terminal_that_hangs_up_stops_it_and_one_that_is_there_does_not(tmp_path: Path, *, gone: bool) -> None:
    """Whoever closes the window means an end; a service that goes on would have nowhere to log to."""
    process = Process(tmp_path)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "service", "serve"], env=process.environ, cwd=tmp_path, stdout=theirs, stderr=theirs
    ) as started:
        os.close(theirs)
        said = b""
        while b'"started"' not in said:
            said += os.read(ours, 65_536)
        if gone:
            os.close(ours)
        started.send_signal(signal.SIGHUP)
        if not gone:
            while b'"configuration_loaded"' not in said:
                said += os.read(ours, 65_536)
            started.send_signal(signal.SIGTERM)
        last_words_unheard = 120  # Python's own code for that
        assert started.wait(STOP_S) in ({0, last_words_unheard} if gone else {0})
    if not gone:
        os.close(ours)
