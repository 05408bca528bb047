"""suggest and backtest as they are typed: what they show, how they end, and that a service beside notices nothing."""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.main import real_clock
from service.model import Change, Json
from service.store import Store
from tests.cli.conftest import World
from tests.support.clock import Clock
from tests.support.log import change, receive
from tests.support.service import environment
from tests.support.verbs import Ended, process_verb, verb
from tests.support.webhooks import CONFIGURATION, SECRETS, pipedrive

TITLE = "title: {from: job_title, transform: [trim]}"
UPPER = CONFIGURATION.replace(TITLE, "title: {from: job_title, transform: [trim, upper]}", 1)
LONG = "Treasury lead of Northwind"


@dataclass(frozen=True, slots=True)
class Desk:
    """A directory with a configuration, a candidate beside it and a log."""

    directory: Path
    environ: dict[str, str]

    def verb(self, *words: str) -> Ended:
        """Run a verb here."""
        return verb(*words, environ=self.environ, directory=self.directory)

    def candidate(self, text: str) -> str:
        """Write a candidate and return its name."""
        (self.directory / "new.yaml").write_text(text, encoding="utf-8")
        return "new.yaml"

    def log(self, *changes: Change, source: str = "pipedrive") -> None:
        """Log changes as a service does."""

        async def run() -> None:
            (self.directory / "data").mkdir(exist_ok=True)
            store = Store(f"sqlite:///{self.directory / 'data' / 'crm-to-chartmogul.db'}")
            try:
                await store.migrate()
                await receive(store, Clock(), *changes, source=source)
            finally:
                await store.close()

        asyncio.run(run())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path, environment(tmp_path))
    desk.log(*(person(number, job_title=LONG if number == 3 else " CFO ") for number in range(1, 6)))
    return desk


def person(number: int, **values: Json) -> Change:
    return change(f"pd-{number}", str(4710 + number), values={"first_name": "Amara", **values})


def test_what_differs_is_told_summary_first_then_examples_and_ends_with_3(desk: Desk) -> None:
    ended = desk.verb("backtest", "--config", desk.candidate(UPPER), "--examples", "2")
    assert (ended.code, ended.err) == (3, "")
    summary, _, examples = ended.out.partition("\n\npipedrive: title sent differently")
    assert summary.startswith("5 changes, received 2026-03-02 to 2026-03-02; ")
    assert "pipedrive: 1 of 5 changes differ" in summary
    assert "hubspot: 0 of 0 changes differ" in summary
    (row,) = [line for line in summary.splitlines() if line.startswith("title")]
    assert row.split() == ["title", "1", "4"]
    assert examples.splitlines() == [
        " (1)",
        "  event 3 of 4713: 'Treasury lead of Northwind' → 'TREASURY LEAD OF NORTHWIND'   by job_title | trim | upper",
    ]


def test_the_json_has_every_figure_and_the_trace_of_the_new_value(desk: Desk) -> None:
    ended = desk.verb("backtest", "--config", desk.candidate(UPPER), "--json")
    assert ended.code == 3
    shown = ended.json
    assert {name: shown[name] for name in ("differs", "events", "differ", "against")} == {
        "differs": True,
        "events": 5,
        "differ": 1,
        "against": "now",
    }
    assert shown["candidate"] != shown["present"]
    source = shown["sources"]["pipedrive"]
    assert set(source) == {
        "present",
        "candidate",
        "new_fields",
        "gone_fields",
        "parsed_again",
        "events",
        "differ",
        "same_rules",
        "aged_out",
        "request_gone",
        "unstamped",
        "would_read",
        "changes",
        "fields",
    }
    title = source["fields"]["title"]
    nothing = {"count": 0, "reasons": {}, "examples": []}
    assert {name: value for name, value in title.items() if name != "sent_differently"} == {
        "same": 4,
        "left_out": 0,
        "failing": 0,
        "unjudged": 0,
        "newly_set": nothing,
        "newly_cleared": nothing,
        "newly_left_out": nothing,
        "newly_fails": nothing,
        "no_longer_fails": nothing,
    }
    (example,) = title["sent_differently"]["examples"]
    assert (example["event"], example["object_id"], example["old"]) == (3, "4713", LONG)
    assert [step["step"] for step in example["trace"]["steps"]] == ["trim", "upper"]
    assert example["trace"]["value"] == example["new"] == LONG.upper()


def test_nothing_that_differs_ends_with_0(desk: Desk) -> None:
    ended = desk.verb("backtest", "--config", desk.candidate("# tidied\n" + CONFIGURATION))
    assert ended.code == 0
    assert ended.out.endswith("nothing differs\n")
    assert "5 have the same rules in both and were not mapped" in ended.out


def test_a_mask_hides_every_value(desk: Desk) -> None:
    for how in ([], ["--json"]):
        ended = desk.verb("backtest", "--config", desk.candidate(UPPER), "--mask", *how)
        assert ended.code == 3
        assert LONG.lower() not in ended.out.lower()
        assert "T••••••• l••• •• N••••••••" in ended.out
    assert LONG in desk.verb("backtest", "--config", "new.yaml").out


def test_what_becomes_of_changes_is_told_with_the_reason(desk: Desk) -> None:
    when = CONFIGURATION.replace("    mapping:\n", '    when: {field: job_title, equals: " CFO "}\n    mapping:\n', 1)
    ended = desk.verb("backtest", "--config", desk.candidate(when))
    assert "  1 sent now, with the candidate filtered: filtered out by `when` (1)\n" in ended.out
    assert (
        "\npipedrive: sent now, with the candidate filtered\n  event 3 of 4713: filtered out by `when`\n" in ended.out
    )


def test_fields_and_sources_that_are_new_or_gone_are_named(desk: Desk) -> None:
    candidate = CONFIGURATION.replace("Favourite colour: favourite_colour", "Segment: segment").replace(
        "  helpdesk:", "  tickets:"
    )
    out = desk.verb("backtest", "--config", desk.candidate(candidate)).out
    assert "  new fields: custom.Segment\n  fields that are no longer set: custom.Favourite colour\n" in out
    assert "\nhelpdesk: gone; 0 changes in the log\n" in out
    assert "\ntickets: new; 0 changes in the log\n" in out


def test_many_reasons_are_cut_short_and_a_longer_value_too(desk: Desk) -> None:
    ignoring = CONFIGURATION.replace("    mapping:\n", "    ignore: {actor: [a, b, c, d]}\n    mapping:\n", 1)
    desk.log(*(change(name, "1", values={"first_name": "A" * 90}, actor=name) for name in "abcd"))
    out = desk.verb("backtest", "--config", desk.candidate(ignoring)).out
    assert "4 sent now, with the candidate ignored: actor a is ignored by the configuration (1); " in out
    assert out.count("; …") == 1
    longer = CONFIGURATION.replace("first_name: first_name", "first_name: {const: B}", 1)
    out = desk.verb("backtest", "--config", desk.candidate(longer), "--examples", "9").out
    assert out.count("'" + "A" * 58 + "… → 'B'") == 4


def test_that_requests_are_read_anew_is_told_and_values_of_any_type_are_shown(desk: Desk) -> None:
    candidate = CONFIGURATION.replace("values: contact", "values: contact.more").replace(
        "Favourite colour: favourite_colour", "Favourite colour: {const: 7}"
    )
    desk.log(change("hd-1", "7", object_type="contact", values={"first_name": "Ana"}), source="helpdesk")
    ended = desk.verb("backtest", "--config", desk.candidate(candidate))
    assert "  its requests are read anew, for preset or parse differ\n" in ended.out
    assert "  1 sent now, with the candidate unreadable: malformed: " in ended.out
    assert "nothing → 7   by const" in ended.out
    quiet = desk.verb("backtest", "--config", "new.yaml", "--examples", "0")
    assert (quiet.code, "event 1 of" in quiet.out) == (3, False)


ENDS = {
    "{from: job_title, transform: [to_int]}": "'Treasury lead of Northwind' → fails   by job_title   to_int: ",
    "{from: last_name, on_blank: clear}": "'Treasury lead of Northwind' → cleared   by last_name   ",
    "{from: nothing}": "'Treasury lead of Northwind' → nothing   by nothing   missing",
}


@pytest.mark.parametrize("rule", ENDS)
def test_an_example_says_how_the_new_value_ends(rule: str, desk: Desk) -> None:
    desk.log(person(9, job_title=LONG, last_name=""))
    candidate = desk.candidate(CONFIGURATION.replace(TITLE, f"title: {rule}", 1))
    assert ENDS[rule] in desk.verb("backtest", "--config", candidate, "--examples", "9").out
    (desk.directory / "config.yaml").write_text(
        CONFIGURATION.replace(TITLE, "title: {from: job_title, transform: [to_int]}")
    )
    back = desk.verb("backtest", "--config", desk.candidate(CONFIGURATION)).out
    assert "event 1 of 4711: failed → 'CFO'   by job_title | trim   to_int: " in back


def test_what_is_looked_at_can_be_chosen(desk: Desk) -> None:
    candidate = desk.candidate(UPPER)

    def seen(*how: str) -> int:
        shown = desk.verb("backtest", "--config", candidate, "--json", *how).json
        assert isinstance(shown["events"], int)
        return shown["events"]

    desk.log(change("hs-1", "9"), source="hubspot")
    assert (seen(), seen("--last", "2"), seen("--source", "pipedrive"), seen("--source", "hubspot")) == (6, 2, 5, 1)
    assert (seen("--since", "2026-03-02"), seen("--since", "2026-03-03")) == (6, 0)
    assert seen("--against", "then") == 6


def test_against_then_what_was_not_mapped_yet_is_told(desk: Desk) -> None:
    ended = desk.verb("backtest", "--config", desk.candidate(UPPER), "--against", "then")
    assert (ended.code, "5 have no rules of then that can be had" in ended.out) == (0, True)
    assert "what is made of them by the rules of then" in ended.out


@pytest.mark.parametrize(
    "words", [["--since", "1d", "--last", "5"], ["--source", "nobody"], ["--last", "0"], ["--against", "tomorrow"]]
)
def test_wrong_usage_ends_with_2(words: list[str], desk: Desk) -> None:
    ended = desk.verb("backtest", "--config", desk.candidate(UPPER), *words)
    assert (ended.code, ended.out) == (2, "")
    assert "Traceback" not in ended.err


def test_a_faulty_candidate_ends_with_2_and_its_report(desk: Desk) -> None:
    candidate = desk.candidate(
        UPPER.replace("transform: [trim, upper]", "transform: [trim, uper]").replace("HUBSPOT_", "HUBSPT_")
    )
    ended = desk.verb("backtest", "--config", candidate)
    assert (ended.code, ended.out) == (2, "")
    assert "new.yaml:10:50: " in ended.err
    assert "did you mean 'upper'?" in ended.err
    assert "${HUBSPT_SECRET}, which is not set" in ended.err, "a secret that is missing is named too"
    shown = desk.verb("backtest", "--config", candidate, "--json")
    assert (shown.code, shown.json["ok"], len(shown.json["faults"])) == (2, False, 2)


def test_no_api_key_is_needed(desk: Desk) -> None:
    del desk.environ["CHARTMOGUL_API_KEY"]
    assert desk.verb("backtest", "--config", desk.candidate(UPPER)).code == 3


def test_a_candidate_may_name_fewer_secrets_of_the_env_file_than_the_present_one_and_others(desk: Desk) -> None:
    """``.env`` is of the whole installation: what ``suggest`` prints has one source, and a new source a new secret."""
    lines = [f"{name}={desk.environ.pop(name)}\n" for name in SECRETS]
    (desk.directory / ".env").write_text("".join([*lines, "ZOHO_TOKEN=zo-52c7\n"]))
    one = 'sources: {pipedrive: {preset: pipedrive, auth: {username: crm, password: "${PIPEDRIVE_PASSWORD}"}}}\n'
    another = CONFIGURATION + '  zoho:\n    preset: zoho\n    auth: {token: "${ZOHO_TOKEN}"}\n'
    assert desk.verb("backtest", "--config", desk.candidate(another)).code == 3
    (desk.directory / ".env").write_text("".join(lines))
    assert desk.verb("backtest", "--config", desk.candidate(one)).code == 3
    assert desk.verb("check", "--config", "new.yaml").code == 0
    (desk.directory / ".env").write_text("".join([*lines, "PORRT=8080\n"]))
    assert ".env:4: PORRT: found a name that is no setting" in desk.verb("check", "--config", "new.yaml").err


def test_without_a_log_it_says_so_and_makes_none(tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text(UPPER)
    ended = verb("backtest", "--config", "new.yaml", environ=environment(tmp_path), directory=tmp_path)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("store_unavailable: there is no log at ")
    assert not (tmp_path / "data").exists()


def test_a_running_service_is_neither_held_up_nor_written_to(world: World) -> None:
    """As an operator does it: a process of its own, beside one that delivers."""
    directory = world.process.directory
    (directory / "new.yaml").write_text(UPPER.replace("upper", "lower", 1))
    before, calls = _files(directory), len(world.bodies())
    ended = process_verb("backtest", "--config", "new.yaml", environ=world.process.environ, directory=directory)
    assert (ended.code, ended.err) == (3, "")
    assert "'CEO' → 'ceo'" in ended.out
    assert (_files(directory), len(world.bodies())) == (before, calls)
    assert world.send(pipedrive(101, "evt-beside", real_clock(), job_title="Chair")) == 200
    world.settle()


def _files(directory: Path) -> dict[str, str]:
    """The log's files by their content; SQLite's index of its own log is no content."""
    files = [path for path in (directory / "data").iterdir() if not path.name.endswith("-shm")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_mapping_is_proposed_from_what_was_logged_and_loads(desk: Desk) -> None:
    ended = desk.verb("suggest", "--source", "pipedrive")
    assert (ended.code, ended.err) == (0, "")
    assert 'auth: {username: crm, password: "${PIPEDRIVE_PASSWORD}"}' in ended.out
    assert "      # 100 % of 5 records, text such as A••••\n      first_name: first_name\n" in ended.out
    assert "      # spaces around it in 4\n      title: {from: job_title, transform: [trim]}\n" in ended.out
    assert LONG not in ended.out
    (desk.directory / "proposed.yaml").write_text(ended.out, encoding="utf-8")
    assert desk.verb("check", "--config", "proposed.yaml").code == 0
    assert desk.verb("backtest", "--config", "proposed.yaml", "--source", "pipedrive").code == 3


def test_the_json_of_a_proposal_has_the_file_too(desk: Desk) -> None:
    shown = desk.verb("suggest", "--source", "pipedrive", "--json", "--last", "2").json
    assert shown["yaml"].startswith("# Proposed from 2 changes of 2 records, ")
    assert [field["target"] for field in shown["fields"]] == ["first_name", "title"]
    assert shown["fields"][0] == {
        "target": "first_name",
        "path": "first_name",
        "records": 2,
        "coverage": 1.0,
        "seen": "100 % of 2 records, text such as A••••",
        "rule": "first_name",
        "findings": [],
    }
    assert (shown["changes"], shown["records"], shown["custom"]) == (2, 2, [])


def test_a_literal_secret_is_not_printed(desk: Desk) -> None:
    literal = CONFIGURATION.replace("${PIPEDRIVE_PASSWORD}", "swordfish-77")
    (desk.directory / "literal.yaml").write_text(literal, encoding="utf-8")
    ended = desk.verb("suggest", "--source", "pipedrive", "--config", "literal.yaml")
    assert ended.code == 0
    assert "swordfish-77" not in ended.out
    assert 'password: "${PIPEDRIVE_PASSWORD}"' in ended.out


def test_a_source_that_is_not_there_or_has_sent_nothing_is_told_so(desk: Desk) -> None:
    unknown = desk.verb("suggest", "--source", "pipedriv")
    assert (unknown.code, "did you mean 'pipedrive'?" in unknown.err) == (2, True)
    silent = desk.verb("suggest", "--source", "hubspot")
    assert (silent.code, silent.out) == (1, "")
    assert silent.err.startswith("not_found: no logged change of hubspot says anything of its record\n  hint: ")
