"""serve, sandbox and sample: verbs that run something, or talk to what runs."""

import contextlib
import json
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.cli.conftest import Verb, World
from tests.support.service import environment, free_port, inherited
from tests.support.wait import until


@pytest.mark.parametrize("source", ["pipedrive", "hubspot", "helpdesk"])
def test_a_sample_is_taken_by_a_running_service(world: World, source: str) -> None:
    """It is signed for the public address, and sent to where the service runs."""
    ended = world.verb("sample", source, "--json", "--field", "title=Chief Sample Officer", "--id", "8801")
    assert ended.code == 0, ended.err
    assert ended.json["status"] == 200
    assert json.loads(ended.json["body"])["accepted"] >= 1
    told = world.verb("sample", source, "--url", world.process.url)
    assert told.code == 0
    assert told.out.startswith("200 ")
    world.settle()


def test_to_import_the_command_is_not_to_run_it() -> None:
    runpy.run_module("service.__main__", run_name="service.__main__")


def test_a_sample_can_be_looked_at_instead(world: World, here: Verb) -> None:
    printed = world.verb("sample", "hubspot", "--print")
    assert printed.code == 0
    assert world.verb("inspect", "-", text=printed.out.encode()).code == 0
    assert here("sample", "pipedrive", "--print").json["url"].endswith("/webhooks/pipedrive")


def test_a_sample_that_is_refused_ends_with_3(world: World) -> None:
    environ = world.process.environ
    kept = environ["PIPEDRIVE_PASSWORD"]
    environ["PIPEDRIVE_PASSWORD"] = "another"
    try:
        ended = world.verb("sample", "pipedrive", "--json")
    finally:
        environ["PIPEDRIVE_PASSWORD"] = kept
    assert (ended.code, ended.json["status"]) == (3, 401)


def test_a_sample_without_a_service_ends_with_1(here: Verb) -> None:
    ended = here("sample", "pipedrive", PORT=str(free_port()))
    assert ended.code == 1
    assert ended.err.startswith("no service answers at http://127.0.0.1:")


@pytest.mark.parametrize("words", [["sample", "salesforce"], ["sample", "pipedrive", "--field", "title"], ["sample"]])
def test_wrong_usage_ends_with_2(here: Verb, words: list[str]) -> None:
    assert here(*words).code == 2


def started(tmp_path: Path, *words: str, **settings: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "service", *words],
        env=inherited() | environment(tmp_path, **settings),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(url: str) -> None:
    def answers() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(url, trust_env=False).is_success
        return False

    until(answers)


@pytest.mark.parametrize("json_too", [False, True])
def test_the_sandbox_serves_until_it_is_stopped(tmp_path: Path, *, json_too: bool) -> None:
    port = free_port()
    process = started(tmp_path, "sandbox", "--port", str(port), *(["--json"] if json_too else []))
    wait_for(f"http://127.0.0.1:{port}/_sandbox/contacts")
    assert httpx.get(f"http://127.0.0.1:{port}/v1/ping", auth=("any", ""), trust_env=False).status_code == 200
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    if json_too:
        assert json.loads(out) == {"url": f"http://127.0.0.1:{port}"}
    else:
        assert b"any API key will do" in err


def test_a_seed_that_is_none_ends_with_2(here: Verb, tmp_path: Path) -> None:
    (tmp_path / "seed.json").write_text('{"contacts": 7}')
    ended = here("sandbox", "--seed", str(tmp_path / "seed.json"), "--json")
    assert ended.code == 2
    assert "contacts" in ended.err


def test_serve_says_where_it_will_be_before_it_is(tmp_path: Path) -> None:
    """Whoever started it reads the address from the pipe while it runs."""
    port = free_port()
    process = started(tmp_path, "serve", "--json", PORT=str(port))
    assert process.stdout is not None
    head = b""
    while not head.endswith(b"}\n"):
        head += process.stdout.readline()
    wait_for(f"http://127.0.0.1:{port}/health/live")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert json.loads(head) == {"url": f"http://127.0.0.1:{port}", "sources": ["pipedrive", "hubspot", "helpdesk"]}
