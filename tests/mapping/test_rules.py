"""A source's rules as one value: made from what was written, and made again from what was kept of it."""

import json

import pytest

from service.mapping import Rules
from service.model import Action, Change, Record
from service.paths import Path

DOCUMENT: Record = {
    "mapping": {
        "title": {"from": "job_title", "transform": ["trim"]},
        "custom": {"Lifecycle": {"from": "label", "map": {"1": "Lead", "2": "Customer"}}},
    },
    "when": {"field": "label", "in": ["1", "2"]},
}


def change(**values: str) -> Change:
    return Change("d1f0-1", "person", "451", Action.UPDATED, values=values)


@pytest.mark.parametrize("kept", [DOCUMENT, json.loads(json.dumps(DOCUMENT))])
def test_rules_do_what_was_written_also_when_they_come_back_from_the_log(kept: Record) -> None:
    rules = Rules.parse(kept)
    assert rules.when is not None
    assert (rules.when.holds(change(label="2")), rules.when.holds(change(label="3"))) == (True, False)
    mapped = rules.mapping.apply(change(job_title=" CEO ", label="2"))
    assert mapped.fields == {"title": "CEO", "custom.Lifecycle": "Customer"}
    assert [trace.rule for trace in mapped.traces if trace.target == "title"] == ["job_title | trim"]
    assert rules.document == DOCUMENT
    assert Rules.parse(rules.document).document == DOCUMENT


def test_without_a_filter_every_change_is_delivered() -> None:
    rules = Rules.parse({"mapping": {"title": "job_title"}})
    assert rules.when is None
    assert rules.mapping.apply(change(job_title="CEO")).fields == {"title": "CEO"}


def test_what_the_paths_start_at_is_what_the_rules_need() -> None:
    assert Path.parse("job_title").head in Rules.parse(DOCUMENT).mapping.needs


def test_rules_show_no_word_of_a_value() -> None:
    assert "Customer" not in repr(Rules.parse(DOCUMENT))
