"""The words are true: what the README names exists, and what exists is named in it."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer

from service import __version__, retry
from service.cli import app
from service.config import load
from service.config.file import SourceSpec
from service.config.settings import SETTINGS
from service.errors import ConfigError
from service.main import create_app
from service.mapping import MappingSpec
from service.mapping.targets import STANDARD
from service.model import DeliveryState, EventState, Outcome, OutcomeKind
from service.sources import PRESETS
from tests.support.service import configure

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
RUNBOOK = (ROOT / "deploy" / "README.md").read_text()

VERBS = [command.name for command in typer.main.get_group(app).commands.values()]


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_has_its_row_and_stands_in_the_example(setting: str) -> None:
    assert f"| `{setting}` |" in README
    assert setting in (ROOT / ".env.example").read_text() or setting == "SECRETS_DIR"


def test_no_setting_is_described_that_does_not_exist() -> None:
    table = README.partition("## Settings")[2].partition("## Operate")[0]
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE)) == set(SETTINGS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_row(verb: str) -> None:
    assert f"| `{verb}` |" in README


def test_every_address_has_its_row_and_no_other_is_named(tmp_path: Path) -> None:
    app = create_app(configure(tmp_path, ADMIN_TOKEN="0c6d1b7e4f524a7e9d1c"))
    served = {f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods}
    table = README.partition("| address |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([A-Z]+ /[^`]+)` \|", table, re.MULTILINE)) == served | {"POST /webhooks/{source}"}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_its_row(preset: str) -> None:
    assert f"| `{preset}` |" in README


@pytest.mark.parametrize("key", ["preset", "auth", "verify", "parse", "read_back", *SourceSpec.model_fields])
def test_every_key_of_a_source_is_explained(key: str) -> None:
    table = README.partition("| key of a source |")[2].partition("\n\n")[0]
    assert f"`{key}`" in table


@pytest.mark.parametrize("state", EventState)
def test_every_state_of_an_event_is_explained(state: EventState) -> None:
    assert f"`{state}`" in README


@pytest.mark.parametrize("state", DeliveryState)
def test_every_state_of_a_delivery_is_named(state: DeliveryState) -> None:
    assert f"`{state}`" in README


@pytest.mark.parametrize("kind", OutcomeKind)
def test_every_outcome_is_explained_with_a_line_of_the_log_as_it_is_written(kind: OutcomeKind) -> None:
    assert f"| `{kind}` |" in RUNBOOK
    lines = [json.loads(line) for line in RUNBOOK.splitlines() if line.startswith('{"delivery"')]
    (line,) = [line for line in lines if line["outcome"] == kind]
    detail = line["reason"].partition(": ")[2]
    verdict = retry.decide(
        Outcome(kind, line["status"], detail),
        retry.History(0, None),
        now=datetime(2026, 3, 2, 9, 30, tzinfo=UTC),
        retry_for=timedelta(days=3),
        chance=0.5,
    )
    due_at = verdict.due_at.isoformat() if verdict.due_at else None
    told = (line["reason"], line["hint"], line["next"], line["due_at"])
    assert told == (verdict.reason, verdict.hint, verdict.next, due_at)


def test_every_target_is_named() -> None:
    named = README.partition("Targets are `")[2].partition("`")[0].split()
    assert set(named) == set(STANDARD)


def test_the_changelog_knows_this_version() -> None:
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


PAGES = [
    "README.md",
    "deploy/README.md",
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "deploy/crms").glob("*")),
]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_that_exist(page: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()) if "://" not in link]
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_its_page_and_its_place_in_the_list_of_pages(preset: str) -> None:
    assert f"({preset}.md)" in (ROOT / "deploy/crms/README.md").read_text()
    assert f"preset: {preset}" in (ROOT / f"deploy/crms/{preset}.md").read_text()


@pytest.mark.parametrize("preset", [preset for preset, source in PRESETS.items() if source.usual_mapping])
def test_what_a_preset_sends_by_itself_stands_on_its_page(preset: str) -> None:
    table = (ROOT / f"deploy/crms/{preset}.md").read_text().partition("| field | from |\n|---|---|\n")[2]
    rows = [line.strip("| ").split(" | ") for line in table.partition("\n\n")[0].splitlines()]
    shown = {target.strip("`"): tuple(re.findall(r"`([^`]+)`", paths)) for target, paths in rows}
    spec = MappingSpec.model_validate(PRESETS[preset].usual_mapping)
    assert shown == {target: tuple(path.text for path in rule.paths) for target, rule in spec.rules()}


SHOWN = re.compile(r"```yaml\n((?:sources|define):.*?)```", re.DOTALL)
"""A whole configuration on a page."""
CONFIGURATIONS = [
    pytest.param(text, id=f"{page}-{number}")
    for page in PAGES
    for number, text in enumerate(SHOWN.findall((ROOT / page).read_text()), 1)
]


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_every_configuration_that_is_shown_is_right(text: str, tmp_path: Path) -> None:
    """Copied as it stands, with the variables that it names."""
    file = tmp_path / "config.yaml"
    file.write_text(text)
    values = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "0c6d1b7e4f524a7e9d1c2b8f5e6a7c90")
    own = {"CHARTMOGUL_API_KEY": "cm-key", "PUBLIC_URL": "https://hooks.northwind.example", **values}
    try:
        loaded = load(own, config_file=file, env_file=tmp_path / "no.env")
    except ConfigError as error:
        pytest.fail(str(error))
    assert loaded.sources
