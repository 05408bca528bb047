"""check and schema: everything that can be known of a configuration without running it."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from service.main import real_clock
from service.sandbox import parse_seed
from tests.cli.conftest import Verb, world_of
from tests.support.service import environment, inherited
from tests.support.verbs import Ended, process_verb
from tests.support.webhooks import CONFIGURATION, GRACE, GRACE_UUID, PUBLIC_URL, pipedrive

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


def test_check_says_which_source_sends_nothing(here: Verb) -> None:
    """Whoever tries one beside the real thing must not take it for live, nor the other way round."""
    watched = CONFIGURATION.replace("    preset: pipedrive\n", "    preset: pipedrive\n    deliver: shadow\n")
    told = here("check", configuration=watched).out
    assert "  pipedrive: pipedrive, account default, in shadow mode: nothing is sent\n" in told
    sources = here("check", "--json", configuration=watched).json["sources"]
    assert [sources[name]["deliver"] for name in ("pipedrive", "hubspot")] == ["shadow", "live"]


def test_the_mapping_in_force_is_shown_field_by_field(here: Verb) -> None:
    """With the preset's own rules: what goes out is not what stands in the file alone."""
    lines = [line[4:].split("  ") for line in here("check", configuration=LAYERED).out.splitlines()]
    shown = {line[0]: [part.strip() for part in line[1:] if part] for line in lines if len(line) > 1}
    assert shown["email"] == ["emails[?primary].value | trim | lower", "[preset]"]
    assert shown["phone"] == ["phones[?primary].value | trim | e164 (on_error: skip)", "[preset + source]"]
    assert shown["title"] == ["job_title, title | trim", "[source]"]
    assert shown["notes"] == ["summary + detail (default, when, only_if_changed, on_blank: clear)", "[source]"]
    assert shown["custom.Lifecycle"] == ["label | lower | map (default)", "[source]"]
    assert shown["custom.CRM"] == ["const", "[source]"]
    rules = here("check", "--json", configuration=LAYERED).json["sources"]["pipedrive"]["mapping"]
    assert rules[2] == {"target": "title", "rule": "job_title, title | trim", "layer": "source"}


LAYERED = """
sources:
  pipedrive:
    preset: pipedrive
    auth: {username: crm, password: "${PIPEDRIVE_PASSWORD}"}
    mapping:
      title: {from: [job_title, title], transform: [trim]}
      phone: {transform: [trim, {e164: US}]}
      notes:
        concat: [summary, detail]
        default: ""
        when: {field: a, exists: true}
        only_if_changed: true
        on_blank: clear
      custom:
        Lifecycle: {from: label, transform: [lower], map: {lead: Lead}, default: Other}
        CRM: {const: Pipedrive}
"""
SUSPICIOUS = ALONE.replace("title: job_title", "position: rank, external_id: id")


def test_what_is_worth_a_second_look_is_told_and_changes_nothing(here: Verb) -> None:
    ended = here("check", configuration=SUSPICIOUS)
    assert (ended.code, ended.err) == (0, "")
    warnings = [line for line in ended.out.splitlines() if line.startswith("warning: ")]
    assert ["position_mapped" in warnings[0], "external_id_mapped" in warnings[1]] == [True, True]
    told = here("check", "--json", configuration=SUSPICIOUS).json
    assert told["ok"] is True
    assert [one["name"] for one in told["warnings"]] == ["position_mapped", "external_id_mapped"]
    assert told["warnings"][0].keys() == {"name", "where", "path", "cause", "hint"}


def test_strict_refuses_what_is_not_accepted_by_name(here: Verb) -> None:
    strict = here("check", "--strict", configuration=SUSPICIOUS)
    assert strict.code == 3
    one = here("check", "--strict", "--accept", "position_mapped", configuration=SUSPICIOUS)
    assert (one.code, "position_mapped" in one.out, "external_id_mapped" in one.out) == (3, False, True)
    both = ("--accept", "position_mapped", "--accept", "external_id_mapped")
    assert here("check", "--strict", *both, configuration=SUSPICIOUS).code == 0
    assert here("check", "--strict", configuration=ALONE).code == 0
    assert here("check", "--strict", "--json", configuration=SUSPICIOUS).json["ok"] is False


def test_attributes_that_chartmogul_never_showed_are_told_once_it_has_shown_any_contact(tmp_path: Path) -> None:
    """The log is looked at beside the service, and is neither made nor changed."""
    seed = parse_seed(
        {
            "custom_attributes": ["Lifecycle"],
            "customers": [{"uuid": "cus_5f1c3a7e-2c7e-11ee-8d0f-2b9a64c1e7d3"}],
            "contacts": [{"uuid": GRACE_UUID, "email": GRACE, "custom": {"Lifecycle": "Lead"}}],
        }
    )
    with world_of(tmp_path, seed=seed) as world:
        assert _unseen(world.verb("check", "--json")) == []
        world.tell(pipedrive(101, "evt-1", real_clock(), label="2", job_title="CEO"))
        found = world.verb("check", "--json")
        assert _unseen(found) == ["Favourite colour", "Newsletter", "Region"]
        world.process.terminate()  # it writes at any time
        before = {path: path.read_bytes() for path in (tmp_path / "data").iterdir()}
        assert _unseen(world.verb("check", "--json")) == _unseen(found)
        assert {path: path.read_bytes() for path in (tmp_path / "data").iterdir()} == before


def _unseen(ended: Ended) -> list[str]:
    assert (ended.code, ended.err) == (0, "")
    named = [one["path"].rpartition("custom.")[2] for one in ended.json["warnings"] if one["name"] == UNSEEN]
    return sorted(name.strip('"') for name in named)


UNSEEN = "attribute_never_seen"


def test_check_makes_no_log_and_says_of_one_that_it_cannot_ask(here: Verb, tmp_path: Path) -> None:
    assert here("check").err == ""
    assert not (tmp_path / "data").exists()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "crm-to-chartmogul.db").write_bytes(b"")
    ended = here("check")
    assert ended.code == 0
    assert ended.err.startswith("the log was not asked which attributes ChartMogul knows: ")
    assert (tmp_path / "data" / "crm-to-chartmogul.db").read_bytes() == b""


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
