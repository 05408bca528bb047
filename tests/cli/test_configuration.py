"""check and schema: everything that can be known of a configuration without running it."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import Verb
from tests.support.service import environment, inherited
from tests.support.verbs import process_verb
from tests.support.webhooks import CONFIGURATION, PUBLIC_URL

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


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "none.json"],
        ["inspect", "-", "--source", "salesforce"],
        ["inspect", "-", "--now", "yesterday"],
        ["inspect"],
        ["inspect", "-", "--event", "1"],
        ["check", "--accept", "emial_not_lower"],
        ["explode"],
        ["check", "--loud"],
        [],
    ],
)
def test_wrong_usage_ends_with_2(here: Verb, words: list[str]) -> None:
    ended = here(*words, text=b'{"url": "https://x.example/webhooks/pipedrive"}')
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
