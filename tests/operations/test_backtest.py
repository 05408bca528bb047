"""A candidate mapping held against the present one over logged changes: every difference found, nothing invented."""

import hashlib
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from sqlalchemy import update

from service.model import Json
from service.operations.backtest import Difference
from service.operations.backtest.sides import Fate, Sides, make
from service.operations.backtest.tally import OTHER_REASONS, REASONS_MAX
from service.operations.masking import masked
from service.schema import events
from service.store import Store
from tests.support.backtest import (
    KEPT_OUT,
    LIFECYCLE,
    PRESENT,
    TITLE,
    House,
    fates,
    found,
    person,
    with_rule,
)
from tests.support.clock import Clock
from tests.support.log import by_hand, claim_one, finish, receive

pytestmark = pytest.mark.anyio


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_one_field_of_ten_thousand_changes_is_found_exactly(house: House) -> None:
    """Seven people have a title with a double space in it; the candidate mends these and nothing else."""
    odd = {512, 513, 1024, 4999, 5000, 9998, 9999}

    async def ten_thousand(store: Store, clock: Clock) -> None:
        for first in range(0, 10_000, 500):
            batch = [
                person(number, job_title="Head  of Data" if number in odd else f"Analyst {number}")
                for number in range(first, first + 500)
            ]
            await receive(store, clock, *batch)

    await house.fill(ten_thousand)
    before = fingerprint(house.directory)
    candidate = with_rule("transform: [trim]}", 'transform: [trim, {replace: {from: "  ", to: " "}}]}')
    report = await house.backtest(candidate, examples=100)
    assert (report.events, report.differ, report.differs) == (10_000, len(odd), True)
    assert found(report, "title") == {"sent differently": len(odd)}
    fields = report.sources["pipedrive"].fields
    assert [name for name in fields if fields[name].differences] == ["title"]
    assert (fields["title"].same, fields["first_name"].same) == (10_000 - len(odd), 10_000)
    examples = fields["title"].differences[Difference.DIFFERENT].examples
    assert {example.object_id for example in examples} == {str(1000 + number) for number in odd}
    assert {(example.old, example.new) for example in examples} == {("Head  of Data", "Head of Data")}
    assert {example.rule for example in examples} == {"job_title | trim | replace"}
    assert fingerprint(house.directory) == before
    assert "log.db" in before
    assert not any(name.startswith("log.db-") for name in before)


async def test_beside_a_service_that_has_the_log_nothing_is_written_either(house: House) -> None:
    await house.log(person(1))
    store = Store(house.url)
    store.lock()
    await receive(store, Clock(), person(2))
    before = fingerprint(house.directory)
    report = await house.backtest(with_rule("from: job_title, transform: [trim]", "const: Analyst"))
    assert (report.events, fingerprint(house.directory)) == (2, before)
    await receive(store, Clock(), person(3))
    await store.close()


async def test_a_number_that_json_does_not_hold_is_shown_as_text(house: House) -> None:
    """The report goes out as JSON, whatever a step made on the way to a value."""
    await house.log(person(1, label=[2**64 - 1, 1]))
    rule = 'Lifecycle: {from: label, transform: [{jmespath: "sum(@)"}], on_error: skip}'
    report = await house.backtest(with_rule(LIFECYCLE, rule))
    (difference,) = report.sources["pipedrive"].fields["custom.Lifecycle"].differences.values()
    (example,) = difference.examples
    assert example.trace is not None
    assert example.trace["steps"] == [{"step": "jmespath", "value": str(2**64)}]
    orjson.dumps(example)


def fingerprint(directory: Path) -> dict[str, str]:
    """Every file of the log by its content; SQLite's index of its own log is no content."""
    files = [path for path in directory.glob("log.db*") if not path.name.endswith("-shm")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


FIELDS: dict[str, tuple[str, str, dict[str, Json], str, dict[str, int], str | None]] = {
    # the line of now, that of the candidate, the record, the field, what differs, why
    "another value": (TITLE, "title: {const: Analyst}", {}, "title", {"sent differently": 1}, None),
    "another type": (
        LIFECYCLE,
        "Lifecycle: {from: label, transform: [to_int]}",
        {},
        "custom.Lifecycle",
        {"sent differently": 1},
        None,
    ),
    "set where it was missing": (TITLE, TITLE, {}, "title", {}, None),
    "newly set": (
        TITLE,
        "title: {from: [job_title, first_name]}",
        {"job_title": None},
        "title",
        {"newly set": 1},
        None,
    ),
    "newly set by a new rule": (TITLE, f"{TITLE}\n      twitter: first_name", {}, "twitter", {"newly set": 1}, None),
    "set where it was cleared": (
        "notes: {from: notes, on_blank: clear}",
        "notes: {const: none}",
        {"notes": ""},
        "notes",
        {"sent differently": 1},
        None,
    ),
    "newly cleared": (
        TITLE,
        "title: {from: notes, on_blank: clear}",
        {"notes": " "},
        "title",
        {"newly cleared": 1},
        "blank",
    ),
    "cleared where it was left out": (
        TITLE,
        "title: {from: job_title, on_null: clear}",
        {"job_title": None},
        "title",
        {"newly cleared": 1},
        "null",
    ),
    "left out, as missing": (TITLE, "title: position", {}, "title", {"newly left out": 1}, "missing"),
    "left out, by when": (
        TITLE,
        'title: {from: job_title, when: {field: label, equals: "2"}}',
        {},
        "title",
        {"newly left out": 1},
        "when does not hold",
    ),
    "left out, without a rule": (TITLE, "title: false", {}, "title", {"newly left out": 1}, "it has no rule any more"),
    "left out where it was cleared": (
        "notes: {from: notes, on_blank: clear}",
        "notes: notes",
        {"notes": ""},
        "notes",
        {"newly left out": 1},
        "blank",
    ),
    "newly fails": (
        TITLE,
        "title: {from: job_title, transform: [to_int]}",
        {},
        "title",
        {"newly fails": 1},
        "to_int: found text that is not a whole number",
    ),
    "fails no longer": (
        LIFECYCLE,
        LIFECYCLE.replace("}}", "}, default: Other}"),
        {"label": "7"},
        "custom.Lifecycle",
        {"no longer fails": 1},
        "map: found a value without an entry",
    ),
    "cleared in both": (TITLE, "title: first_name", {"notes": ""}, "notes", {}, None),
}


@pytest.mark.parametrize("case", FIELDS)
async def test_each_way_that_a_field_can_differ_is_told_with_its_reason(case: str, house: House) -> None:
    now, then, values, target, expected, reason = FIELDS[case]
    await house.log(person(1, **values))
    report = await house.backtest(with_rule(now, then))
    assert found(report, target) == expected
    tally = report.sources["pipedrive"].fields[target].differences if expected else {}
    for one in tally.values():
        assert [told.startswith(reason or "?") for told in one.reasons] == [True] * (reason is not None)
        (example,) = one.examples
        assert (example.object_id, example.reason) == ("1001", next(iter(one.reasons), None))
    assert report.differs == (now != then)


async def test_what_both_leave_out_or_fail_on_is_no_difference(house: House) -> None:
    await house.log(person(1, job_title=None, label="7"))
    report = await house.backtest(with_rule(TITLE, "title: position"))
    fields = report.sources["pipedrive"].fields
    assert (fields["title"].left_out, fields["custom.Lifecycle"].failing, fields["first_name"].same) == (1, 1, 1)
    assert (report.differ, report.differs) == (0, False)


async def test_the_same_rules_are_no_difference_and_are_not_mapped(house: House) -> None:
    await house.log(person(1), person(2))
    report = await house.backtest("# a comment\n" + PRESENT)
    assert (report.differs, report.sources["pipedrive"].same_rules, report.sources["pipedrive"].fields) == (
        False,
        2,
        {},
    )


@pytest.mark.parametrize(
    ("now", "then", "values"),
    [
        ("{const: 1}", "{const: true}", {}),
        ("{const: 1}", "{const: 1.0}", {}),
        ("{from: label, map: {x: 0}}", "{from: label, map: {x: false}}", {"label": "x"}),
        ("{from: tier, default: false}", "{from: tier, default: 0}", {}),
    ],
)
async def test_true_is_not_one_in_a_rule_either(now: str, then: str, values: dict[str, Json], house: House) -> None:
    """Python takes them for the same, and ChartMogul does not."""
    present, candidate = (with_rule(LIFECYCLE, f"Lifecycle: {rule}") for rule in (now, then))
    await house.log(person(1, **values))
    report = await house.backtest(candidate, present=present)
    assert found(report, "custom.Lifecycle") == {"sent differently": 1}
    titled = candidate.replace(TITLE, "title: job_title")
    assert found(await house.backtest(titled, present=present), "custom.Lifecycle") == {"sent differently": 1}


async def test_fields_and_sources_that_are_new_or_gone_are_a_difference_even_without_a_change(house: House) -> None:
    await house.log()
    second = PRESENT.partition("\n")[2].replace("  pipedrive:", "  sales:", 1)
    report = await house.backtest(with_rule(TITLE, "twitter: twitter\n      title: false") + second)
    tally = report.sources["pipedrive"]
    assert (tally.new_fields, tally.gone_fields, report.differs) == (("twitter",), ("title",), True)
    assert (report.sources["sales"].present, report.sources["sales"].candidate) == (False, True)
    back = await house.backtest(PRESENT, present=PRESENT + second)
    assert (back.sources["sales"].candidate, back.differs) == (False, True)


async def test_changes_of_a_source_that_is_in_neither_configuration_are_only_counted(house: House) -> None:
    await house.log(person(1), source="closed-down")
    report = await house.backtest(PRESENT)
    assert (report.sources["closed-down"].events, report.differs) == (1, False)


async def test_only_one_source_is_looked_at_where_it_is_named(house: House) -> None:
    second = PRESENT.partition("\n")[2].replace("  pipedrive:", "  sales:", 1)
    await house.log(person(1))
    await house.log(person(2), person(3), source="sales")
    candidate = with_rule(TITLE, "title: first_name") + second
    report = await house.backtest(candidate, present=PRESENT + second, source="sales")
    assert (list(report.sources), report.events, report.differs) == (["sales"], 2, False)


async def test_a_payload_that_has_aged_out_is_counted_and_not_mapped(house: House) -> None:
    async def aged(store: Store, clock: Clock) -> None:
        await receive(store, clock, person(1), person(2))
        await by_hand(store, update(events).where(events.c.id == 1).values(change=None))

    await house.fill(aged)
    report = await house.backtest(with_rule(TITLE, "title: first_name"))
    assert (report.sources["pipedrive"].aged_out, found(report, "title")) == (1, {"sent differently": 1})


async def test_against_then_each_change_is_held_against_the_rules_that_mapped_it(house: House) -> None:
    """Two changes were mapped by two versions, of which one did what the candidate does; a third was not mapped yet."""

    async def mapped_by_versions(store: Store, clock: Clock) -> None:
        for number, version in enumerate(["aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"], 1):
            await receive(store, clock, person(number))
            await finish(store, clock, await claim_one(store, clock), config_version=version)
        await receive(store, clock, person(4), replace(KEPT_OUT, dedup_key="pd-5"))
        for version, text in {"aaaaaaaaaaaa": PRESENT, "bbbbbbbbbbbb": candidate}.items():
            rules = house.config(text).sources["pipedrive"].rules.document
            await store.configurations.keep(version, {"pipedrive": rules}, now=clock())

    candidate = with_rule(TITLE, "title: first_name")
    await house.fill(mapped_by_versions)
    report = await house.backtest(candidate, then=True)
    tally = report.sources["pipedrive"]
    assert (found(report, "title"), tally.same_rules, tally.unstamped) == ({"sent differently": 1}, 1, 2)
    assert fates(report) == {("ignored", "sent"): 1}, "that was kept out then, and would be let in"
    assert (tally.events, tally.differ) == (5, 2)


async def test_reasons_are_counted_apart_only_up_to_a_bound(house: House) -> None:
    candidate = with_rule("    mapping:", "    ignore: {actor: [%s]}\n    mapping:")
    names = [f"u{number}" for number in range(REASONS_MAX + 3)]
    await house.log(*(replace(person(number), actor=name) for number, name in enumerate(names)))
    report = await house.backtest(candidate.replace("%s", ", ".join(names)))
    tally = report.sources["pipedrive"].fates[Fate.SENT, Fate.IGNORED].tally
    assert (tally.count, len(tally.reasons), tally.reasons[OTHER_REASONS]) == (REASONS_MAX + 3, REASONS_MAX + 1, 3)


async def test_examples_are_bounded_and_their_values_masked_or_shortened_as_asked(house: House) -> None:
    await house.log(*(person(number, job_title="Head of Data " * 200) for number in range(4)))
    candidate = with_rule(TITLE, "title: {from: job_title, transform: [upper]}")
    long = (await house.backtest(candidate, examples=2)).sources["pipedrive"].fields["title"]
    examples = long.differences[Difference.DIFFERENT].examples
    assert len(examples) == 2
    assert all(len(str(example.new)) == 1001 and str(example.new).endswith("…") for example in examples)
    hidden = (await house.backtest(candidate, show=masked)).sources["pipedrive"].fields["title"]
    (first, *_) = hidden.differences[Difference.DIFFERENT].examples
    assert "HEAD" not in str(first)
    assert "Head" not in str([first.old, first.new, first.trace])
    assert str(first.new).startswith("H••• •• D••• ")
    none = (await house.backtest(candidate, examples=0)).sources["pipedrive"].fields["title"]
    assert (none.differences[Difference.DIFFERENT].count, none.differences[Difference.DIFFERENT].examples) == (4, [])


@pytest.mark.parametrize("case", FIELDS)
def test_what_both_share_is_worked_out_once_and_comes_out_the_same(case: str, house: House) -> None:
    now, then, values, *_ = FIELDS[case]
    old, new = (house.config(text).sources["pipedrive"].rules for text in (PRESENT, with_rule(now, then)))
    logged = person(1, **values)
    before, after = Sides(old, new).make(logged, logged)
    alone = make(new, logged)
    assert (before, after.fate, after.reason) == (make(old, logged), alone.fate, alone.reason)
    assert {trace.target: trace for trace in after.traces} == {trace.target: trace for trace in alone.traces}
    assert len(after.traces) == len(alone.traces)
