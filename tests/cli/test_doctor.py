"""doctor: what is wrong, beside a running service or before there is one; and why one request is not proved."""

import json
import re
from collections import namedtuple
from datetime import timedelta
from pathlib import Path

import pytest

from service.main import real_clock
from tests.cli.conftest import Verb, World, capture, capture_file
from tests.support.sandbox import running_sandbox
from tests.support.service import API_KEY
from tests.support.webhooks import (
    CONFIGURATION,
    HUBSPOT_SECRET,
    PIPEDRIVE_PASSWORD,
    PUBLIC_URL,
    Webhook,
    helpdesk,
    hubspot,
    hubspot_event,
    pipedrive,
)

NOW = real_clock()
FINDING = ["check", "about", "status", "seen", "hint"]
DIAGNOSIS = ["source", "verified", "note", "reason", "hint", "explanations", "tries", "guess"]
CHANGED = hubspot([hubspot_event(201, "jobtitle", "CEO of Northwind", NOW)], NOW)
GIB = 1024**3


@pytest.fixture(autouse=True)
def _roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """How full this machine's disk is does not matter here."""
    usage = namedtuple("usage", "total used free")  # noqa: PYI024  # as shutil has it
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage(100 * GIB, 50 * GIB, 50 * GIB))


def test_all_that_is_well_ends_with_0(here: Verb, tmp_path: Path) -> None:
    with running_sandbox() as sandbox:
        ended = here("doctor", "--json", CHARTMOGUL_BASE_URL=sandbox.base_url)
        told = here("doctor", CHARTMOGUL_BASE_URL=sandbox.base_url)
    assert (ended.code, ended.json["ok"], told.code) == (0, True, 0), ended.out
    assert [list(finding) for finding in ended.json["findings"]] == [FINDING] * len(ended.json["findings"])
    assert "the key works" in told.out
    assert not (tmp_path / "data").exists(), "nothing is made by looking"
    for secret in (API_KEY, PIPEDRIVE_PASSWORD, HUBSPOT_SECRET):
        assert secret not in ended.out + told.out


def test_beside_a_running_service_what_is_wrong_is_told_with_3(world: World) -> None:
    ended = world.verb("doctor", "--json")
    assert ended.code == 3
    worse = {(one["check"], one["about"]): one for one in ended.json["findings"] if one["status"] != "ok"}
    assert worse.keys() == {("webhooks", "pipedrive")}
    assert "1 refused" in worse["webhooks", "pipedrive"]["seen"]
    assert any(one["seen"].endswith("a service runs on it") for one in ended.json["findings"])
    assert "pipedrive" in world.verb("doctor").out
    assert world.health()["status"] != "fail"


@pytest.mark.parametrize("settings", [{}, {"PORT": "99999"}], ids=["the file", "a setting too"])
def test_faults_of_the_configuration_are_findings_and_the_rest_is_looked_at(
    here: Verb, settings: dict[str, str]
) -> None:
    ended = here(
        "doctor", "--json", configuration="sources:\n  crm:\n    preset: hubspott\n    on_unknown: skp\n", **settings
    )
    assert ended.code == 3
    checks = [one["check"] for one in ended.json["findings"]]
    assert checks.count("configuration") >= 2
    assert ("chartmogul" in checks) is not bool(settings), "without settings there is nothing to look at"


def test_a_public_address_with_webhooks_in_it_is_asked_about(here: Verb) -> None:
    """The address of a source, pasted whole, would make every signature over the address fail."""
    pasted = here("doctor", "--json", PUBLIC_URL=f"{PUBLIC_URL}/webhooks/hubspot").json["findings"]
    (finding,) = [finding for finding in pasted if finding["check"] == "public_url"]
    assert (finding["status"], "/webhooks/hubspot/webhooks/NAME" in finding["seen"]) == ("warn", True)
    assert "without /webhooks" in finding["hint"]


def test_a_crm_whose_events_say_nothing_is_asked_to_be_read_back(here: Verb) -> None:
    """Attio names records alone; HubSpot tells at least what changed."""
    named = {"attio": "email_addresses[0].email_address", "hubspot": "email"}
    sources = {
        preset: {"preset": preset, "auth": {"secret": "0c6d1b7e4f524a7e9d1c2b8f"}, "mapping": {"email": path}}
        for preset, path in named.items()
    }
    found = here("doctor", "--json", configuration=json.dumps({"sources": sources})).json["findings"]
    told = [(finding["about"], finding["status"]) for finding in found if finding["check"] == "read_back"]
    assert told == [("attio", "warn")]


@pytest.mark.parametrize(("example", "signs"), [("gohighlevel", False), ("freshsales", True)])
def test_a_sample_is_advised_only_where_one_can_be_signed(here: Verb, example: str, *, signs: bool) -> None:
    """Where a public key proves the CRM, the private one is not ours."""
    text = Path(f"deploy/examples/{example}.yaml").read_text()
    names = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "0c6d1b7e4f524a7e9d1c2b8f5e6a7c90")
    assert here("migrate").code == 0
    found = here("doctor", "--json", configuration=text, **names).json["findings"]
    (webhooks,) = [finding for finding in found if finding["check"] == "webhooks"]
    assert (f"run `sample {example}`" in webhooks["hint"]) is signs


def test_options_of_verify_need_it(here: Verb) -> None:
    for words in (["--source", "hubspot"], ["--now", "2026-03-02T09:30:00Z"]):
        ended = here("doctor", *words)
        assert (ended.code, "--verify" in ended.err) == (2, True)


def test_a_request_that_is_proved_is_said_to_be(here: Verb, tmp_path: Path) -> None:
    path = capture_file(tmp_path, CHANGED)
    ended = here("doctor", "--verify", path, "--json")
    assert (ended.code, list(ended.json), ended.json["verified"]) == (0, DIAGNOSIS, True)
    assert here("doctor", "--verify", path).out == "hubspot: verified\n"
    assert not (tmp_path / "data").exists()


def test_why_a_request_is_not_proved_is_told_with_what_to_do(here: Verb, tmp_path: Path) -> None:
    path = capture_file(tmp_path, CHANGED)
    ended = here("doctor", "--verify", path, "--json", PUBLIC_URL="https://crm.northwind.example")
    assert ended.code == 3
    assert [[cause["name"] for cause in causes] for causes in ended.json["explanations"]] == [["public_url"]]
    told = here("doctor", "--verify", path, PUBLIC_URL="https://crm.northwind.example")
    assert told.code == 3
    assert told.out.startswith("hubspot: not verified: the v3 signature is wrong\n  hint: ")
    assert f"  so set PUBLIC_URL to {PUBLIC_URL}\n" in told.out
    assert HUBSPOT_SECRET not in told.out + ended.out
    assert "Northwind" not in told.out + ended.out


def test_two_causes_are_told_together(here: Verb, tmp_path: Path) -> None:
    old = NOW - timedelta(days=2)
    webhook = hubspot([hubspot_event(201, "jobtitle", "CEO", old)], old)
    path = capture_file(tmp_path, webhook.changed(webhook.body + b"\n"))
    told = here("doctor", "--verify", path)
    assert told.code == 3
    assert "and if the body ends without a line break\n" in told.out
    as_of = here("doctor", "--verify", capture_file(tmp_path, webhook), "--now", old.isoformat())
    assert (as_of.code, as_of.out) == (0, "hubspot: verified\n")


def test_the_secret_of_another_source_is_told_by_its_name(here: Verb, tmp_path: Path) -> None:
    second = CONFIGURATION.partition("  helpdesk:\n")[2].replace("HELPDESK_SECRET", "SHOP_SECRET")
    both = f"{CONFIGURATION}  shop:\n{second}"
    text = json.dumps(capture(helpdesk("u-301", "evt-1", NOW, title="CEO")) | {"url": f"{PUBLIC_URL}/webhooks/shop"})
    told = here("doctor", "--verify", "-", text=text.encode(), configuration=both, SHOP_SECRET="sh-e41b9f60a7d34c02")
    assert told.code == 3
    assert "it verifies if it is signed with the secret of source helpdesk\n" in told.out
    path = capture_file(tmp_path, helpdesk("u-301", "evt-1", NOW, title="CEO"))
    alone = here(
        "doctor",
        "--verify",
        path,
        "--source",
        "shop",
        configuration=both,
        SHOP_SECRET="other-one-0d34c02a",
        PIPEDRIVE_PASSWORD="",
    )
    assert alone.code == 3
    assert "no other source's secrets are tried" in alone.err
    assert "none of the likely causes explains it" in alone.out


def test_a_handshake_and_a_source_without_proof_are_noted(here: Verb, tmp_path: Path) -> None:
    open_door = CONFIGURATION.replace(
        '{username: crm, password: "${PIPEDRIVE_PASSWORD}"}', '{none: "I accept unauthenticated webhooks"}'
    )
    webhook = pipedrive(101, "evt-1", NOW, job_title="CEO")
    told = here("doctor", "--verify", capture_file(tmp_path, webhook), configuration=open_door)
    assert (told.code, told.out) == (0, "pipedrive: verified: this source asks for no proof\n")


def test_what_is_no_capture_or_no_source_is_told_in_short(here: Verb, tmp_path: Path) -> None:
    missing = here("doctor", "--verify", str(tmp_path / "none.json"))
    assert (missing.code, "none.json" in missing.err) == (2, True)
    assert here("doctor", "--verify", "-", text=b"{").code == 1
    unknown = Webhook("/webhooks/pipedrve", {}, b"{}")
    ended = here("doctor", "--verify", capture_file(tmp_path, unknown))
    assert (ended.code, "did you mean 'pipedrive'?" in ended.err) == (2, True)


def test_help_says_how_it_ends(here: Verb) -> None:
    told = " ".join(here("doctor", "--help").out.split())
    assert "Exit 0 when all is ok, 3 when there is a warning or worse" in told
