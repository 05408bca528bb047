"""Verbs on the log: what each shows for people and for programs, and how it ends."""

import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import Verb, World
from tests.support.verbs import verb
from tests.support.webhooks import GRACE, GRACE_UUID

HIDDEN = ("grace.okafor", "nobody@elsewhere", "letmein", "call me")


def test_events_are_listed_newest_first(world: World) -> None:
    lines = world.verb("events", "--json").json
    assert [line["crm_event_id"] for line in lines] == ["evt-3", "evt-2", "evt-0", "evt-1"]
    ends = {line["crm_event_id"]: line["state"] for line in lines}
    assert ends == {"evt-1": "delivered", "evt-0": "merged", "evt-2": "dead", "evt-3": "dead"}
    told = world.verb("events", "--source", "pipedrive", "--id", "101", "--state", "merged", "--limit", "1")
    assert told.code == 0
    assert "merged" in told.out
    assert "dead" not in told.out
    assert world.verb("events", "--source", "hubspot").out == "none\n"
    for value in HIDDEN:
        assert value not in str(lines) + told.out


def test_deliveries_are_listed(world: World) -> None:
    lines = world.verb("deliveries", "--json").json
    assert {line["state"] for line in lines} >= {"delivered", "dead"}
    told = world.verb("deliveries", "--state", "delivered", "--source", "pipedrive")
    assert told.code == 0
    assert "delivered" in told.out


@pytest.mark.parametrize(
    "words",
    [["events", "--state", "lost"], ["deliveries", "--state", "lost"], ["events", "--limit", "0"], ["replay", "x"]],
)
def test_what_cannot_be_asked_ends_with_2(world: World, words: list[str]) -> None:
    assert world.verb(*words).code == 2


def test_dead_letters_say_what_to_do(world: World) -> None:
    lines = world.verb("dead-letters", "--json").json
    by_outcome = {line["outcome"]: line for line in lines}
    assert by_outcome.keys() >= {"contact_unknown", "unmappable"}
    assert "create the contact in ChartMogul" in by_outcome["contact_unknown"]["hint"]
    assert world.verb("dead-letters", "--source", "pipedrive").code == 0


def test_a_replay_makes_changes_pending_again(world: World) -> None:
    letters = {line["outcome"]: line["id"] for line in world.verb("dead-letters", "--json").json}
    done = world.verb("replay", str(letters["unmappable"]), "--json")
    assert done.code == 0
    assert done.json["events"] == 1
    world.settle()
    again = world.verb("replay", str(letters["unmappable"]))
    assert again.code == 1
    assert again.err.startswith("not_found: ")
    assert "\n  hint: " in again.err
    letters = {line["outcome"]: line["id"] for line in world.verb("dead-letters", "--json").json}
    told = world.verb("replay", str(letters["contact_unknown"]))
    assert told.out == "1 changes of 1 contacts are pending again\n"
    world.settle()


def test_explain_tells_a_persons_story(world: World) -> None:
    told = world.verb("explain", "101")
    assert told.code == 0
    assert told.out.startswith(f"pipedrive 101 is {GRACE_UUID}, found by email in emails[?primary].value\n")
    assert f"\n{GRACE_UUID}, field by field\n" in told.out
    lines = told.out.splitlines()
    (head,) = [line.split() for line in lines if line.startswith("field ")]
    assert head == ["field", "value", "source", "event", "rule", "confirmed_at", "attempt", "certain"]
    (title,) = [line.split() for line in lines if line.startswith("title ")]
    assert title[:7] == ["title", "CEO", "pipedrive", "1", "job_title", "|", "trim"]
    assert title[-1] == "yes"
    unlinked = world.verb("explain", "102", "--source", "pipedrive")
    assert (unlinked.code, unlinked.out.startswith("linked to no contact yet")) == (0, True)


@pytest.mark.parametrize("named", ["101", GRACE_UUID, GRACE_UUID.upper().replace("CON_", "con_"), GRACE, GRACE.upper()])
def test_a_person_is_known_by_record_contact_and_email(world: World, named: str) -> None:
    """An operator has whichever of them the question came with."""
    told = world.verb("explain", named, "--json")
    assert told.code == 0
    story = told.json
    assert story["person"] == {"records": [["pipedrive", "101"]], "contacts": [["default", GRACE_UUID]]}
    assert [link["contact_uuid"] for link in story["links"]] == [GRACE_UUID]
    (blame,) = [blame for blame in story["fields"][GRACE_UUID] if blame["field"] == "title"]
    known = blame["known"]
    (attempt,) = [attempt for attempt in story["attempts"] if attempt["id"] == known["attempt_id"]]
    (event,) = [event for event in story["events"] if event["id"] == known["event_id"]]
    assert (known["value"], known["rule"], known["certain"]) == ("CEO", "job_title | trim", True)
    assert (blame["source"], blame["in_doubt_until"]) == ("pipedrive", None)
    assert (event["crm_event_id"], event["state"]) == ("evt-1", "delivered")
    assert (attempt["outcome"], attempt["contact_uuid"]) == ("applied", GRACE_UUID)
    assert "title" in attempt["fields"]
    assert {event["object_id"] for event in story["events"]} == {"101"}
    assert [trace["event"] for trace in story["traces"]] == [event["id"] for event in story["events"]]
    *_, traced = story["traces"]
    (title,) = [line for line in traced["fields"] if line["target"] == "title"]
    steps = [{"step": "trim", "value": "CEO"}]
    expected = {"path": "job_title", "raw": "CEO", "steps": steps, "result": "set", "value": "CEO", "reason": None}
    assert title == {"target": "title", **expected}


@pytest.mark.parametrize("named", ["999", "con_00000000-7686-11ee-86f6-8727560009c2", "nobody@nowhere.example"])
def test_nobody_ends_with_3(world: World, named: str) -> None:
    told = world.verb("explain", named, "--json")
    assert told.code == 3
    story = told.json
    assert story.pop("person") == {"records": [], "contacts": []}
    assert story.keys() >= {"links", "fields", "events", "attempts", "traces"}
    assert not any(story.values())
    in_words = world.verb("explain", named)
    assert (in_words.code, in_words.out[:22]) == (3, "nothing is known of it")


def test_explain_shows_on_demand_how_the_newest_changes_were_mapped(world: World) -> None:
    """From what stood in the record, over every step, to what became of it; and why a field has nothing."""
    version = world.health()["config_version"]
    assert "mapped by" not in world.verb("explain", "101").out
    told = world.verb("explain", "101", "--trace")
    assert told.code == 0
    assert told.out.startswith(world.verb("explain", "101").out)
    dead, _, delivered = told.out[told.out.index("\nevent 4 ") + 1 :].split("\n\n")
    reason = "cannot be mapped: phone: e164: found text that is not a telephone number"
    assert dead.splitlines()[0] == f"event 4 of pipedrive 101: dead, {reason}, mapped by {version}"
    assert '  phone                    phones[?primary].value  "call me" → fail: e164: found text' in dead
    head, attempt, first_name, *_ = delivered.splitlines()
    assert head == f"event 1 of pipedrive 101: delivered, mapped by {version}"
    assert attempt == "  attempt 1: applied (200), with title"
    assert first_name.startswith("  first_name               first_name              nothing there → skip: missing")
    assert '  title                    job_title               "CEO" → trim → set "CEO"\n' in delivered


def test_one_change_is_explained_by_its_id(world: World) -> None:
    told = world.verb("explain", "--event", "2")
    assert told.code == 0
    head, _, *lines = told.out.splitlines()
    assert head.startswith("event 2 of pipedrive 101: merged by event 1")
    assert '"COO" → trim → set "COO"' in told.out
    document = world.verb("explain", "--event", "2", "--json").json
    assert (document["id"], document["state"], document["by_event_id"]) == (2, "merged", 1)
    assert document["trace"]["config_version"] == document["config_version"]
    targets = [line["target"] for line in document["trace"]["fields"]]
    assert [line[2 : 2 + len(target)] for line, target in zip(lines, targets, strict=True)] == targets


@pytest.mark.parametrize("words", [[], ["101", "--event", "2"], ["--event", "0"], ["--event", str(2**63)]])
def test_explain_needs_either_a_person_or_a_change(world: World, words: list[str]) -> None:
    assert world.verb("explain", *words).code == 2


def test_a_change_that_is_not_there_is_said_so(world: World) -> None:
    told = world.verb("explain", "--event", "999")
    assert (told.code, told.err.splitlines()[0]) == (1, "not_found: no event 999 is in the log")


def test_what_was_mapped_before_is_explained_beside_a_faulty_configuration(world: World, tmp_path: Path) -> None:
    """Whoever has just broken the file needs it most."""
    broken = tmp_path / "config.yaml"
    broken.write_text("sources: {pipedrive: {preset: pipedriv}}\n")
    environ = world.process.environ | {"CONFIG_FILE": str(broken)}
    told = verb("explain", "101", "--trace", environ=environ, directory=tmp_path)
    assert told.code == 0
    assert '"CEO" → trim → set "CEO"' in told.out


def test_refusals_are_listed_without_values(world: World) -> None:
    (line,) = world.verb("refusals", "--json").json
    assert list(line) == ["refused_at", "source", "reason", "header_names", "size"]
    assert (line["source"], line["reason"]) == ("pipedrive", "not_verified: the user name or password is wrong")
    assert "authorization" in line["header_names"]
    told = world.verb("refusals", "--limit", "5")
    assert "not_verified" in told.out
    assert "letmein" not in told.out


def test_the_books_close(world: World) -> None:
    world.settle()
    audited = world.verb("audit", "--json")
    assert audited.code == 0
    counts = {"dead": 2, "delivered": 1, "merged": 1}
    assert audited.json == {"events": counts, "total": 4, "findings": []}
    told = world.verb("audit")
    assert told.code == 0
    assert told.out == "4 events: 2 dead, 1 delivered, 1 merged\nthe books close\n"


def test_books_that_do_not_close_are_named_with_exit_3(world: World, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with (
        sqlite3.connect(world.process.directory / "data" / "crm-to-chartmogul.db") as source,
        sqlite3.connect(tmp_path / "data" / "crm-to-chartmogul.db") as copy,
    ):
        source.backup(copy)
        copy.execute("UPDATE events SET by_event_id = NULL WHERE state = 'merged'")
        copy.execute("UPDATE events SET decided_at = NULL WHERE state IN ('merged', 'delivered')")
    source.close()
    copy.close()
    environ = world.process.environ | {"DATA_DIR": str(tmp_path / "data")}
    told = verb("audit", environ=environ, directory=tmp_path)
    assert told.code == 3
    assert "1 merged events that name no other event: 2\n" in told.out
    assert "2 ended events without the time of their end: 1, 2\n" in told.out
    assert "the books close" not in told.out
    audited = verb("audit", "--json", environ=environ, directory=tmp_path)
    assert (audited.code, audited.json["total"]) == (3, 4)
    assert audited.json["findings"] == [
        {"name": "ended events without the time of their end", "count": 2, "ids": [1, 2]},
        {"name": "merged events that name no other event", "count": 1, "ids": [2]},
    ]


def test_a_database_that_is_not_there_is_said_so(here: Verb) -> None:
    ended = here("events", DATABASE_URL="postgresql://nobody@127.0.0.1:9/none")
    assert ended.code == 1
    assert ended.err.startswith("store_unavailable: ")
    assert "Traceback" not in ended.err


def test_migrate_says_whether_there_was_anything_to_do(here: Verb) -> None:
    assert here("migrate").out == "migrated\n"
    assert here("migrate").out == "nothing to do\n"
    assert here("migrate", "--json").json == {"migrated": False}
