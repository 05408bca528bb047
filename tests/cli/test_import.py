"""import: what a CRM holds already comes to ChartMogul behind a running service, and what is said of it."""

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from service.main import real_clock
from tests.cli.conftest import Verb, World, world_of
from tests.support.sandbox import contact_uuid, seed_of
from tests.support.service import environment, inherited
from tests.support.verbs import Ended, verb
from tests.support.wait import until
from tests.support.webhooks import ANA, CONFIGURATION, hubspot, hubspot_event, pipedrive

NOW = real_clock()
EXPORTED = NOW - timedelta(days=2)
PEOPLE = CONFIGURATION + (
    "  people:\n"
    "    preset: generic\n"
    '    auth: {none: "I accept unauthenticated webhooks"}\n'
    "    parse: {format: json, event_id: id, object_id: id}\n"
    "    resolve: [link, {email: E-mail}]\n"
    "    mapping: {title: '\"Job Title\"'}\n"
)
"""With a source of its own for an export whose columns are named for people."""
MANY = 4000


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    seed = seed_of(20, custom_attributes=("Region",))
    # One call at a time, so that what goes first can be told.
    with world_of(tmp_path_factory.mktemp("import"), seed=seed, CHARTMOGUL_PARALLEL="1") as world:
        yield world


@pytest.fixture
def world(shared: World) -> World:
    """The same service for all, each test with people of its own."""
    shared.sandbox.forget_requests()
    return shared


def email(number: int) -> str:
    return f"person-{number}@nordwind-logistik.example"


def person(number: int, *, at: object = None, **fields: object) -> dict[str, object]:
    """A person as Pipedrive's API gives it."""
    told = {} if at is None else {"update_time": str(at)}
    emails = [{"label": "work", "value": email(number), "primary": True}]
    return {"id": number, "emails": emails, **fields, **told}


def title(world: World, number: int) -> object:
    return world.sandbox.contact(contact_uuid(number))["title"]


def write(directory: Path, name: str, *records: object) -> str:
    path = directory / name
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_people_a_crm_holds_already_are_brought_to_chartmogul(world: World, tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "people.jsonl",
        person(1, at=EXPORTED, job_title="CEO"),
        person(2, at=EXPORTED, first_name=""),
        person(99, at=EXPORTED, job_title="CFO"),
    )
    told = world.verb("import", file, "--source", "pipedrive")
    assert (told.code, told.err) == (0, "")
    assert told.out == "3 records: 3 new, 0 known already, 0 unusable\n"
    world.settle()
    assert title(world, 1) == "CEO"
    states = {line["object_id"]: line["state"] for line in world.verb("events", "--json").json}
    assert states == {"1": "delivered", "2": "ignored", "99": "dead"}
    assert world.bodies() == [{"title": "CEO"}]
    assert {line["priority"] for line in world.verb("deliveries", "--json").json} == {2}
    again = world.verb("import", file, "--source", "pipedrive", "--json")
    assert (again.code, again.json["accepted"], again.json["duplicates"]) == (0, 0, 3)


def test_what_chartmogul_holds_already_costs_no_call(world: World, tmp_path: Path) -> None:
    """A whole CRM is imported, of which most is there."""
    world.tell(pipedrive(3, "evt-there", EXPORTED - timedelta(days=1), email=email(3), job_title="There"))
    world.sandbox.forget_requests()
    file = write(tmp_path, "people.jsonl", person(3, at=EXPORTED, job_title="There"))
    assert world.verb("import", file, "--source", "pipedrive").code == 0
    world.settle()
    assert world.sandbox.requests() == []
    (newest,) = world.verb("events", "--id", "3", "--limit", "1", "--json").json
    assert newest["state"] == "unchanged"


def test_hubspots_own_export_goes_through_the_mapping_of_its_webhooks(world: World, tmp_path: Path) -> None:
    properties = {"email": email(4).upper(), "jobtitle": "Geschäftsführer", "region": "benelux"}
    record = {"id": "204", "properties": properties, "updatedAt": EXPORTED.isoformat()}
    assert world.verb("import", write(tmp_path, "contacts.jsonl", record), "--source", "hubspot").code == 0
    world.settle()
    assert world.bodies() == [{"title": "Geschäftsführer", "custom": [{"key": "Region", "value": "BENELUX"}]}]
    world.tell(hubspot([hubspot_event(204, "jobtitle", "CEO", NOW)], real_clock()))
    assert title(world, 4) == "CEO", "webhooks know the record by the same id"


def test_columns_go_through_a_source_of_their_own(tmp_path: Path) -> None:
    """As deploy/README.md says: with the names that the export has."""
    file = tmp_path / "people.csv"
    file.write_bytes(f"\ufeffRecord ID,E-mail,Job Title,Last modified\r\n7,{ANA},CFO,2026-02-27 14:02\r\n".encode())
    environ = environment(tmp_path, PEOPLE)
    words = ["--source", "people", "--id", "Record ID", "--updated-at", "Last modified"]
    done = verb("import", str(file), *words, "--json", environ=environ, directory=tmp_path)
    assert done.code == 0, done.err
    assert (done.json["records"], done.json["accepted"], done.json["bytes_read"]) == (1, 1, file.stat().st_size)
    (event,) = verb("events", "--json", environ=environ, directory=tmp_path).json
    assert (event["object_id"], event["occurred_at"]) == ("7", "2026-02-27T14:02:00Z")


def test_the_newer_of_a_webhook_and_an_export_wins(world: World, tmp_path: Path) -> None:
    """In either order of arrival, field by field."""
    world.tell(
        pipedrive(5, "evt-new", EXPORTED + timedelta(hours=1), email=email(5), job_title="Told since"),
        pipedrive(6, "evt-old", EXPORTED - timedelta(hours=1), email=email(6), job_title="Told before"),
    )
    people = [person(number, job_title="Exported", last_name="Of the export") for number in (5, 6, 7)]
    file = write(tmp_path, "people.jsonl", *people)
    told = world.verb("import", file, "--source", "pipedrive", "--as-of", EXPORTED.isoformat())
    assert told.code == 0
    world.settle()
    world.tell(pipedrive(7, "evt-late", EXPORTED - timedelta(days=1), email=email(7), job_title="Told too late"))
    assert [title(world, number) for number in (5, 6, 7)] == ["Told since", "Exported", "Exported"]
    names = {world.sandbox.contact(contact_uuid(number))["last_name"] for number in (5, 6, 7)}
    assert names == {"Of the export"}
    assert world.verb("audit").code == 0


def test_what_crms_send_now_does_not_wait_behind_an_import(world: World, tmp_path: Path) -> None:
    assert world.verb("pause").code == 0
    people = [person(number, job_title="Imported") for number in (8, 9, 10)]
    assert world.verb("import", write(tmp_path, "people.jsonl", *people), "--source", "pipedrive").code == 0
    assert world.send(pipedrive(11, "evt-live", NOW, email=email(11), job_title="Live")) == 200
    assert world.verb("resume").code == 0
    world.settle()
    assert [body["title"] for body in world.bodies()] == ["Live", "Imported", "Imported", "Imported"]


def test_unusable_records_end_with_3_and_their_lines(here: Verb, tmp_path: Path) -> None:
    file = tmp_path / "people.jsonl"
    file.write_text('{"id": 1}\n{"name": "no id"}\n\nnonsense\n{"id": 2}\n')
    told = here("import", str(file), "--source", "pipedrive")
    assert told.code == 3
    assert told.out == "4 records: 2 new, 0 known already, 2 unusable\n"
    first, second = told.err.splitlines()
    assert first == "line 2: the id at id is missing or not an id"
    assert second.startswith("line 4: the body is not JSON")
    again = here("import", str(file), "--source", "pipedrive", "--json")
    assert (again.code, again.err) == (3, "")
    assert (again.json["duplicates"], again.json["unusable"]) == (2, 2)
    assert [fault["line"] for fault in again.json["faults"]] == [2, 4]


def test_a_file_of_another_kind_is_said_so(here: Verb, tmp_path: Path) -> None:
    (tmp_path / "people.xlsx").write_text("x")
    told = here("import", str(tmp_path / "people.xlsx"), "--source", "pipedrive")
    assert (told.code, told.out) == (1, "")
    assert told.err == "error: a file that ends in .xlsx\n  hint: give a .jsonl or a .csv file\n"


@pytest.mark.parametrize(
    "words",
    [
        ["--source", "pipedrive", "--id", "a b"],
        ["--source", "pipedrive", "--id", "$event.object_id"],
        ["--source", "pipedrive", "--updated-at", "[0"],
        ["--source", "pipedrive", "--as-of", "monday"],
        ["--source", "salesforce"],
        [],
    ],
)
def test_wrong_usage_ends_with_2_and_imports_nothing(here: Verb, tmp_path: Path, words: list[str]) -> None:
    told = here("import", write(tmp_path, "people.jsonl", {"id": 1}), *words)
    assert (told.code, told.out) == (2, "")
    assert "Traceback" not in told.err
    assert here("events").out == "none\n"


def test_a_file_that_is_not_there_ends_with_2(here: Verb, tmp_path: Path) -> None:
    assert here("import", str(tmp_path / "none.jsonl"), "--source", "pipedrive").code == 2


def test_an_import_that_was_killed_is_gone_on_with_by_beginning_again(tmp_path: Path) -> None:
    """Whatever it had logged is known, and every record is there once."""
    file = write(tmp_path, "people.jsonl", *(person(number) for number in range(MANY)))
    environ = environment(tmp_path)
    words = ["import", file, "--source", "pipedrive", "--json"]

    def run(*arguments: str) -> Ended:
        return verb(*arguments, environ=environ, directory=tmp_path)

    def logged() -> int:
        with (
            contextlib.suppress(sqlite3.OperationalError),
            contextlib.closing(sqlite3.connect(tmp_path / "data" / "crm-to-chartmogul.db")) as log,
        ):
            (count,) = log.execute("SELECT count(*) FROM events").fetchone()
            return int(count)
        return 0

    run("migrate")
    broken = subprocess.Popen(
        [sys.executable, "-m", "service", *words], env=inherited() | environ, cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    until(lambda: logged() > 0)
    broken.kill()
    assert broken.wait(20) == -signal.SIGKILL
    before = logged()
    assert 0 < before < MANY
    done = run(*words)
    assert done.code == 0
    assert (done.json["duplicates"], done.json["accepted"]) == (before, MANY - before)
    assert logged() == MANY
    assert run("audit", "--json").json == {"events": {"pending": MANY}, "total": MANY, "findings": []}
