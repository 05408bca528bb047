"""The demo: a stranger's first impression, so it must work, end, and show what ChartMogul holds."""

import json
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from service.config import load
from service.main import open_store, real_clock
from service.operations.demo import play
from service.operations.demo.stage import CONFIGURATION, SECRETS, DemoError, Stage
from tests.support.sandbox import running_sandbox
from tests.support.service import Process, free_port, inherited
from tests.support.verbs import process_verb

HELD = {
    "grace.okafor@harbour-analytics.example": ["Chief Executive Officer", "+442079460099", "Okafor"],
    "j.brandt@nordwind-logistik.example": ["Draft 20", "+493012345678", "DACH"],
    "ana.ferreira@kite-and-co.example": ["Head of Finance", "Ferreira"],
}


def test_it_ends_well_and_shows_what_chartmogul_holds(tmp_path: Path) -> None:
    # Settings of a service that is configured here must not reach it.
    environ = {"CHARTMOGUL_API_KEY": "real", "PORT": "1", "COLUMNS": "140"}
    told = process_verb("demo", "--once", environ=environ, directory=tmp_path)
    assert told.code == 0, told.out + told.err
    for email, values in HELD.items():
        _, _, after = told.out.partition(f"{email}  con_")
        for value in values:
            assert value in after.split("\n\n")[0], (email, value)
    for word in ("delivered", "merged", "dead", "the sender could not be verified", "1 known already", "PATCH calls."):
        assert word in told.out
    assert "Favourite colour" in told.out
    assert "wrong" not in told.out


def test_it_is_told_as_json_too_and_stays_up_until_it_is_interrupted(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "demo", "--json"],
        env=inherited() | {"COLUMNS": "140"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    url = ""
    for line in process.stderr:
        if b"until Ctrl-C" in line:
            url = line.decode().partition("health: ")[2].strip()
            break
    assert httpx.get(url, trust_env=False).json()["status"] == "warn"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)
    document = json.loads(out)
    assert document["wrong"] == []
    held = {contact["email"]: json.dumps(contact) for contact in document["contacts"]}
    for email, values in HELD.items():
        assert all(value in held[email] for value in values)
    assert document["patches"] < len(document["events"])


def test_a_process_that_does_not_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    stage = Stage(tmp_path, {}, "http://127.0.0.1:9", "http://127.0.0.1:9")
    (tmp_path / "serve.log").write_text("cannot_start: the port is taken\n")
    with pytest.raises(DemoError) as told:
        stage.wait_for("http://127.0.0.1:9/health/ready", "serve", timeout_s=0.1)
    assert told.value.hint == "cannot_start: the port is taken"


def test_whatever_goes_otherwise_than_told_is_named(tmp_path: Path) -> None:
    """A demo that shows a failure as a success would be worse than none."""
    demo_secrets = dict.fromkeys(SECRETS, "the-service-has-these-secrets")
    with running_sandbox() as sandbox, Process(tmp_path, CONFIGURATION, **demo_secrets) as process:
        process.environ["PUBLIC_URL"] = process.url
        process.start()
        stage = Stage(tmp_path, process.environ, process.url, sandbox.base_url)
        console = Console(file=StringIO(), width=200)
        other = load(process.environ | dict.fromkeys(SECRETS, "the-crms-have-these"), env_file=tmp_path / ".env")
        ending = play(stage, other.sources, open_store(other.settings), console=console, now=real_clock())
        assert "Grace is promoted: answered 401, not 200" in ending.wrong
        assert "j.brandt@nordwind-logistik.example: title is not what the newest change says" in ending.wrong
        assert "wrong Grace is promoted" in console.file.getvalue()  # type: ignore[attr-defined]
        # Nothing listens where this service looks for ChartMogul: what is taken now is owed for ever.
        same = load(process.environ, env_file=tmp_path / ".env")
        with pytest.raises(DemoError, match="still owes deliveries") as told:
            play(
                stage,
                same.sources,
                open_store(same.settings),
                console=console,
                now=real_clock(),
                settle_timeout_s=0.2,
            )
        assert "attempt" in told.value.hint


def test_a_process_that_does_not_end_is_ended(tmp_path: Path) -> None:
    port = free_port()
    stage = Stage(tmp_path, inherited(), "", "", stop_timeout_s=0.2)
    with stage._process("sandbox", "--port", str(port)) as process:
        stage.wait_for(
            f"http://127.0.0.1:{port}/_sandbox/contacts", "sandbox"
        )  # from here on SIGTERM is its own to heed
        process.send_signal(signal.SIGSTOP)
    assert process.returncode == -signal.SIGKILL
