"""check --cases: the user's own examples, run by the command line for the user's own CI."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from service.cli import cases as cases_of_cli
from service.operations import cases
from tests.cli.conftest import Verb
from tests.support.verbs import Ended, process_verb, verb

EXAMPLES = Path("deploy/examples/cases").resolve()
CHANGE = {"object_id": "4711", "values": {"job_title": " VP ", "label": "2"}}
EXPECT = {"patches": [{"object_id": "4711", "patch": {"title": "VP", "custom": {"Lifecycle": "Customer"}}}]}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory of cases."""
    made = tmp_path / "cases"
    made.mkdir()
    return made


def write(place: Path, name: str, **parts: Any) -> Path:  # noqa: ANN401  # whatever stands in a file
    path = place / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"source": "pipedrive", "change": CHANGE, "expect": EXPECT, **parts}))
    return path


def test_cases_that_hold_end_well_without_key_or_address(here: Verb, place: Path) -> None:
    write(place, "title", about="A title is trimmed")
    write(place, "deeper/again")
    ended = here("check", "--cases", str(place), CHARTMOGUL_API_KEY="", PUBLIC_URL="")
    assert (ended.code, ended.err) == (0, "")
    told = [line for line in ended.out.splitlines() if not line.startswith(("ok, ", "warning: "))]
    assert told == [
        f"ok      {place / 'deeper/again.json'}",
        f"ok      {place / 'title.json'}: A title is trimmed",
        "2 cases: 2 ok, 0 differ",
    ]


def test_a_case_that_differs_ends_with_3_and_says_where(here: Verb, place: Path) -> None:
    write(place, "good")
    write(place, "worse", expect={"patches": [{"object_id": "4711", "patch": {"title": "x" * 300, "notes": "n"}}]})
    ended = here("check", "--cases", str(place))
    assert (ended.code, ended.err) == (3, "")
    lines = ended.out.splitlines()
    at = lines.index(f"DIFFERS {place / 'worse.json'}")
    assert lines[at + 1] == f'          patches[0].patch.title: expected "{"x" * 199}…, found "VP"'
    assert lines[at + 2] == '          patches[0].patch.notes: expected "n", found nothing'
    assert lines[at + 3] == '          patches[0].patch.custom: expected nothing, found {"Lifecycle":"Customer"}'
    assert lines[at + 4] == "2 cases: 1 ok, 1 differ"


def test_programs_are_told_the_same(here: Verb, place: Path) -> None:
    path = write(place, "worse", about="So", expect={"patches": [], "status": 200})
    ended = here("check", "--json", "--cases", str(path))
    assert (ended.code, ended.json["ok"]) == (3, False)
    (line,) = ended.json["cases"]
    found = {"object_id": "4711", "patch": {"title": "VP", "custom": {"Lifecycle": "Customer"}}}
    assert line == {
        "file": str(path),
        "about": "So",
        "ok": False,
        "differences": [{"path": "status", "expected": 200}, {"path": "patches[0]", "found": found}],
    }


def test_every_file_that_is_no_case_is_named_and_nothing_runs(here: Verb, place: Path) -> None:
    write(place, "good")
    write(place, "nobody", source="pipedrve")
    write(place, "both", request={})
    (place / "broken.json").write_text("{")
    ended = here("check", "--cases", str(place))
    assert (ended.code, ended.out) == (2, "")
    for name in ("nobody", "both", "broken"):
        assert f"{place / name}.json: not_a_case: " in ended.err
    assert "good" not in ended.err


def test_a_directory_without_a_case_is_no_success(here: Verb, place: Path) -> None:
    (place / "notes.txt").write_text("soon")
    for where in (place, place / "none"):
        ended = here("check", "--cases", str(where))
        assert (ended.code, "no .json file in it" in ended.err) == (2, True)


def test_there_are_limits(here: Verb, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "CASES_MAX", 1)
    write(place, "one")
    assert here("check", "--cases", str(place)).code == 0
    write(place, "two")
    ended = here("check", "--cases", str(place))
    assert (ended.code, "2 files, more than 1" in ended.err) == (2, True)
    monkeypatch.setattr(cases, "CASE_BYTES_MAX", 10)
    ended = here("check", "--cases", str(place / "one.json"))
    assert (ended.code, "larger than 10 bytes" in ended.err) == (2, True)


def test_a_file_that_cannot_be_read_is_named(here: Verb, place: Path) -> None:
    (place / "directory.json").mkdir()
    ended = here("check", "--cases", str(place))
    assert (ended.code, "Is a directory" in ended.err) == (2, True)


def test_faults_of_the_configuration_come_first(here: Verb, place: Path) -> None:
    write(place, "good")
    assert here("check", "--cases", str(place), configuration="sources: {}\n").code == 2


def ci(directory: Path) -> Ended:
    """Run the example cases as the README says, with nothing but their own secrets."""
    secrets = dict(line.split("=", 1) for line in (directory / "ci.env").read_text().split())
    environ = {**secrets, "DATA_DIR": str(directory / "data"), "SECRETS_DIR": "none"}
    return verb("check", "--config", "config.yaml", "--cases", ".", environ=environ, directory=directory)


def test_the_example_cases_run_as_they_are(tmp_path: Path) -> None:
    copied = Path(shutil.copytree(EXAMPLES, tmp_path / "cases"))
    ended = ci(copied)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith(", 0 differ\n")
    config = copied / "config.yaml"
    config.write_text(config.read_text().replace('"2": Lead', '"2": Prospect'))
    ended = ci(copied)
    assert ended.code == 3
    assert 'patches[0].patch.custom.Lifecycle: expected "Lead", found "Prospect"' in ended.out


def test_a_case_is_not_written_over_another_by_chance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "case.json"
    cases_of_cli.save_case({"about": "first"}, path, force=False)
    assert "contact values" in capsys.readouterr().err
    with pytest.raises(Exception, match="is there already; --force replaces it"):
        cases_of_cli.save_case({"about": "second"}, path, force=False)
    assert json.loads(path.read_bytes()) == {"about": "first"}
    cases_of_cli.save_case({"about": "second"}, path, force=True)
    assert json.loads(path.read_bytes()) == {"about": "second"}
    with pytest.raises(Exception, match=r"Not a directory|File exists"):
        cases_of_cli.save_case({}, path / "below.json", force=True)


def test_the_installed_command_runs_them(tmp_path: Path) -> None:
    environ = dict(line.split("=", 1) for line in (EXAMPLES / "ci.env").read_text().split())
    environ |= {"DATA_DIR": str(tmp_path), "SECRETS_DIR": "none"}
    ended = process_verb("check", "--config", "config.yaml", "--cases", ".", environ=environ, directory=EXAMPLES)
    assert (ended.code, ended.err) == (0, "")
