"""Each kind of drift is told in words, and the README knows it."""

import re
from pathlib import Path

import pytest

from service.drift import (
    BACK_AFTER,
    FORGOTTEN_AFTER,
    GONE_AFTER,
    GONE_AFTER_LEFT_OUT,
    STEADY,
    cause_of,
    hint_of,
)
from service.model import Cause, Drift, DriftKind
from service.sources import PRESETS
from tests.drift.watching import (
    GONE,
    NO_ENTRY,
    OF_TITLE,
    SKIPPED,
    SOURCE,
    STOOD_IN,
    TURNED,
)
from tests.support.clock import START


@pytest.mark.parametrize(
    ("kind", "detail", "words"),
    [
        (GONE, None, "job_title (for title) does not come any more, 1 record since 2026-03-02 09:30Z"),
        (TURNED, "text → list", "job_title (for title) changed its type, text → list, 1 record since"),
        (NO_ENTRY, None, "title has no entry for a value of job_title, 1 event since"),
        (STOOD_IN, None, "title takes its default for a value of job_title, 1 event since"),
        (SKIPPED, "e164: found text", "title is left out, e164: found text, 1 event since"),
    ],
)
def test_each_kind_is_told_in_words(kind: DriftKind, detail: str | None, words: str) -> None:
    drift = Drift(Cause(SOURCE, kind, *OF_TITLE), detail, START, START, 1)
    assert cause_of(drift).startswith(f"source pipedrive: {words}")
    assert "`explain --event ID`" in hint_of(drift)
    assert "`explain --event 812`" in hint_of(Drift(drift.cause, detail, START, START, 1, None, 812))
    assert " 12 " in cause_of(Drift(drift.cause, detail, START, START, 12))


def test_the_readme_names_every_kind_and_every_limit() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    told = readme.partition("### When the CRM changes under you")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", told, re.MULTILINE))
    assert rows.keys() == set(DriftKind)
    assert f"had a value in {STEADY} records in a row, and is absent from {GONE_AFTER} in a row" in rows[GONE]
    assert f"in {BACK_AFTER} records in a row" in rows[GONE]
    assert f"another of these in {STEADY} records in a row" in rows[TURNED]
    assert f"It takes {GONE_AFTER_LEFT_OUT} records" in told
    assert "not met for seven days" in told
    assert FORGOTTEN_AFTER.days == 7
    leaving_out = {name for name, source in PRESETS.items() if source.leaves_out_empty}
    assert leaving_out == set(re.findall(r"`(\w+)`", told.partition("leaves out empty fields (")[2].partition(")")[0]))
