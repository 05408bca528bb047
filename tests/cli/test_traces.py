"""How traces read: a line a field, and nothing in it that a terminal obeys."""

from typing import Any, Final

import pytest

from service.cli.traces import VALUE_MAX, event_trace_text, inspection_text, trace_text
from service.mapping import Rules
from service.model import Json
from service.operations.trace import AGED, EventTrace, lines_of
from service.translate import FILTERED
from tests.support.log import change

RULES: Final = Rules.parse(
    {
        "mapping": {
            "title": {"from": "job_title", "transform": ["trim", "upper"]},
            "notes": {"from": "notes", "on_null": "clear"},
            "phone": {"from": "phone", "transform": ["e164"]},
            "custom": {
                "CRM": {"const": "Pipedrive"},
                "Vip": {"from": "vip", "when": {"field": "label", "equals": "2"}},
                "Size": "size",
            },
        }
    }
)


def way(target: str, **values: Json) -> str:
    """What the line of a field says after its target."""
    lines = [line for line in lines_of(RULES, change(values=values)) if line["target"] == target]
    return trace_text(lines).strip().removeprefix(target).strip()


@pytest.mark.parametrize(
    ("target", "values", "expected"),
    [
        ("title", {"job_title": " cfo "}, 'job_title  " cfo " → trim "cfo" → upper "CFO" → set "CFO"'),
        ("title", {"job_title": "cfo"}, 'job_title  "cfo" → trim → upper "CFO" → set "CFO"'),
        ("notes", {"notes": None}, "notes  null → clear"),
        ("phone", {"phone": "call me"}, 'phone  "call me" → fail: e164: found text that is not a telephone number'),
        ("title", {}, "job_title  nothing there → skip: missing"),
        ("custom.CRM", {}, 'const  "Pipedrive" → set "Pipedrive"'),
        ("custom.Vip", {"vip": True}, "skip: when does not hold"),
        ("custom.Size", {"size": 40}, "size  40 → set 40"),
        ("custom.Size", {"size": False}, "size  false → set false"),
        ("custom.Size", {"size": ["a", 1]}, 'size  ["a",1] → fail: found a list'),
    ],
)
def test_a_field_s_line_goes_from_what_stood_there_to_what_came_of_it(
    target: str, values: dict[str, Json], expected: str
) -> None:
    assert way(target, **values).startswith(expected)


def test_targets_and_paths_stand_in_columns() -> None:
    lines = trace_text(lines_of(RULES, change(values={"size": 1}))).splitlines()
    assert {line.index("nothing there") for line in lines if "nothing there" in line} == {26}
    assert [line[2:14].rstrip() for line in lines] == [
        "title",
        "phone",
        "notes",
        "custom.CRM",
        "custom.Vip",
        "custom.Size",
    ]


def test_what_the_filter_leaves_out_has_one_line() -> None:
    assert (
        trace_text([{"dedup_key": "d1f0-1", "result": "skip", "reason": FILTERED}]) == f"d1f0-1\n  skip: {FILTERED}\n"
    )


def test_the_lines_of_several_changes_stand_under_their_keys() -> None:
    lines = [{"dedup_key": key, **line} for key in ("d1f0-1", "d1f0-2") for line in lines_of(RULES, change())]
    told = trace_text(lines).splitlines()
    assert [line for line in told if not line.startswith("  ")] == ["d1f0-1", "d1f0-2"]
    assert len(told) == 2 + len(lines)
    assert trace_text([]) == ""


def test_a_long_value_is_cut() -> None:
    cut = way("custom.Size", size="x" * 1000)
    assert len(cut) < 4 * VALUE_MAX
    assert "x…" in cut


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x9b2J", "\u202egnp.exe", "\x07", "\u2028", "\r", "\x00"])
def test_what_a_stranger_sent_moves_no_cursor_and_hides_nothing(hostile: str) -> None:
    """A record's text ends on the operator's terminal."""
    told = trace_text(lines_of(RULES, change(values={"size": f"ok{hostile}"})))
    told += event_trace_text(trace(object_id=f"4{hostile}51", reason=f"because {hostile}", notes=(f"so {hostile}",)))
    assert [one for one in told if not one.isprintable() and one != "\n"] == []


def trace(**other: Any) -> EventTrace:  # noqa: ANN401  # any of its fields
    known: dict[str, Any] = {
        "event": 7, "source": "pipedrive", "object_id": "451", "state": "pending", "reason": None, "by_event": None,
        "attempt": None,
    }  # fmt: skip
    return EventTrace(**known | other)


@pytest.mark.parametrize(
    ("known", "head"),
    [
        ({}, "event 7 of pipedrive 451: pending"),
        ({"config_version": "9f2c1ab04d7e"}, "event 7 of pipedrive 451: pending, to be mapped by 9f2c1ab04d7e"),
        (
            {"state": "merged", "by_event": 8, "reason": "overtaken", "config_version": "9f2c1ab04d7e"},
            "event 7 of pipedrive 451: merged by event 8, overtaken, mapped by 9f2c1ab04d7e",
        ),
    ],
)
def test_an_event_is_headed_by_what_became_of_it(known: dict[str, Any], head: str) -> None:
    assert event_trace_text(trace(**known)) == head + "\n"


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        (200, ["title", "custom.CRM"], "attempt 3: applied (200), with title, custom.CRM"),
        (None, [], "attempt 3: applied, with nothing"),
    ],
)
def test_the_try_that_it_ended_by_and_what_is_to_be_said_stand_below(
    status: int | None, fields: list[str], expected: str
) -> None:
    attempt = {"id": 3, "outcome": "applied", "status": status, "fields": fields}
    told = event_trace_text(trace(state="delivered", attempt=attempt, notes=(AGED,)))
    assert told.splitlines()[1:] == [f"  {expected}", f"  {AGED}"]


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"patch": {"title": "CFO"}}, 'PATCH {"title":"CFO"}'),
        ({"patch": None, "reason": FILTERED}, f"nothing is sent: {FILTERED}"),
        ({"patch": None}, "nothing is sent: no field has a value"),
        ({"patch": None, "read_back": True}, "its record would be read back: this is what the request itself says"),
    ],
)
def test_what_a_contact_would_be_sent_ends_its_part_of_an_inspection(patch: dict[str, Any], expected: str) -> None:
    found: dict[str, Any] = {
        "source": "pipedrive",
        "reason": None,
        "events": [{}],
        "patches": [{"object_id": "451", "trace": [], **patch}],
    }
    assert inspection_text(found) == f"pipedrive: taken, 1 change\n\n451\n{expected}\n"
