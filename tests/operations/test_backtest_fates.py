"""What becomes of a change as a whole by two configurations: sent, filtered, ignored, failing; and why."""

from dataclasses import replace
from pathlib import Path

import pytest

from service.model import Action, Change, Event
from service.operations.backtest.sides import Fate, make
from service.translate import translate
from tests.support.backtest import BY_IMPORT, KEPT_OUT, LIFECYCLE, PRESENT, House, fates, person, with_rule
from tests.support.clock import Clock
from tests.support.log import change

pytestmark = pytest.mark.anyio


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


WHEN = '    when: {field: label, equals: "2"}\n    mapping:\n'
DELETED = "    on_deleted: {custom: {CRM status: {const: Deleted}}}\n    mapping:\n"
ORIGIN = "    ignore: {origin: [IMPORT]}\n    mapping:\n"
GONE = change("gone", action=Action.DELETED, ignored="deleted in the CRM")
SURVIVED = replace(GONE, merged_into="452", ignored=None)
OTHER_OBJECT = change("deal", object_type="deal", ignored="object type deal")
ERASED = change("erased", action=Action.PRIVACY_DELETED)
FATES: dict[str, tuple[str, str, Change, dict[tuple[str, str], int], str | None]] = {
    "newly filtered": (PRESENT, WHEN, person(1), {("sent", "filtered"): 1}, "filtered out by `when`"),
    "no longer filtered": (WHEN, PRESENT, person(1), {("filtered", "sent"): 1}, "filtered out by `when`"),
    "newly ignored": (
        PRESENT,
        ORIGIN,
        BY_IMPORT,
        {("sent", "ignored"): 1},
        "origin IMPORT is ignored by the configuration",
    ),
    "no longer ignored": (
        ORIGIN,
        PRESENT,
        KEPT_OUT,
        {("ignored", "sent"): 1},
        "origin IMPORT is ignored by the configuration",
    ),
    "a deletion newly told": (PRESENT, DELETED, GONE, {("ignored", "sent"): 1}, "deleted in the CRM"),
    "a deletion no longer told": (
        DELETED,
        PRESENT,
        replace(GONE, ignored=None),
        {("sent", "ignored"): 1},
        "deleted in the CRM",
    ),
    "a deletion by a merge": (PRESENT, DELETED, SURVIVED, {}, None),
    "no contact": (PRESENT, DELETED, OTHER_OBJECT, {}, None),
    "a privacy deletion": (PRESENT, DELETED, ERASED, {}, None),
}


@pytest.mark.parametrize("case", FATES)
async def test_each_way_that_a_changes_fate_can_differ_is_told_with_its_reason(case: str, house: House) -> None:
    now, then, logged, expected, reason = FATES[case]
    await house.log(logged)
    report = await house.backtest(_whole(then), present=_whole(now))
    assert fates(report) == expected
    for one in report.sources["pipedrive"].fates.values():
        assert one.tally.reasons == {reason: 1}
        assert [example.reason for example in one.tally.examples] == [reason]
    assert report.differ == len(expected)


def _whole(part: str) -> str:
    """The present configuration, or with a part put before its mapping."""
    return part if part.startswith("sources") else PRESENT.replace("    mapping:\n", part)


async def test_a_change_that_newly_cannot_be_mapped_says_by_which_fields(house: House) -> None:
    await house.log(person(1))
    report = await house.backtest(with_rule('"1": Lead', '"3": Lead'))
    assert fates(report) == {("sent", "fails"): 1}
    (one,) = report.sources["pipedrive"].fates.values()
    assert [told.partition(";")[0] for told in one.tally.reasons] == [
        "custom.Lifecycle: map: found a value without an entry"
    ]


async def test_a_change_that_has_nothing_to_say_any_more_is_told(house: House) -> None:
    await house.log(change("a", values={"label": "2"}))
    report = await house.backtest(with_rule(f"      custom:\n        {LIFECYCLE}\n", ""))
    assert fates(report) == {("sent", "nothing to send"): 1}
    assert report.sources["pipedrive"].gone_fields == ("custom.Lifecycle",)


@pytest.mark.parametrize(
    "logged",
    [
        person(1),
        person(1, label="7"),
        person(1, label="2"),
        change("empty"),
        replace(GONE, ignored=None),
        SURVIVED,
        change("merged", action=Action.MERGED, values={"first_name": "Amara"}),
    ],
)
@pytest.mark.parametrize("text", [PRESENT, _whole(WHEN), _whole(DELETED)])
def test_a_change_has_the_fate_that_delivering_it_gives_it(logged: Change, text: str, house: House) -> None:
    """The backtest keeps the traces that delivering throws away; what becomes of the change must be the same."""
    rules = house.config(text).sources["pipedrive"].rules
    made = make(rules, logged)
    event = Event(1, "pipedrive", Clock()(), 1, logged)
    settled = translate(rules, [event])
    assert (made.fate is Fate.SENT) == bool(settled.mapped)
    if settled.mapped:
        ((_, mapped),) = settled.mapped
        assert mapped.fields == {one.target: one.value for one in made.traces if one.result in {"set", "clear"}}
    else:
        (end,) = settled.ended
        assert (end.state == "dead") == (made.fate is Fate.FAILED)
        assert made.fate is Fate.FAILED or str(end.reason).split(" ")[0] == made.reason.split(" ")[0]
