"""What is seen of a source's values, and what may be shown of it: kinds, places, a few values, findings."""

from pathlib import Path

import pytest

from service.model import Json
from service.operations.suggest.findings import enum_values, findings_of, told
from service.operations.suggest.places import DEPTH_MAX, places
from service.operations.suggest.shapes import Kind, kind_of
from service.operations.suggest.survey import PATHS_MAX, REGIONS_ASKED, Seen, Survey
from service.paths import Path as RecordPath
from tests.support.log import change
from tests.support.suggest import AMARA, custom, rules_of, survey_of, uncommented, written


def stages(*values: Json, key: str = "stage") -> Seen:
    """What is seen at a key of so many records."""
    return survey_of(*({key: value} for value in values)).seen[key]


LISTS: list[Json] = [["a"]] * 60
ENUMS: dict[str, tuple[Seen, list[str] | None]] = {
    "a few values": (stages(*["lead"] * 30, *["customer"] * 20), ["lead", "customer"]),
    "ids": (stages(*[2] * 30, *[1] * 20), ["2", "1"]),
    "too few records": (stages(*["lead"] * 49), None),
    "too many values": (stages(*(f"s{number}" for number in range(21)), *["s1"] * 40), None),
    "as many as may be": (stages(*(f"s{number % 20}" for number in range(60))), [f"s{number}" for number in range(20)]),
    "too long": (stages(*["x" * 31] * 50), None),
    "a value that hardly any has": (stages(*["lead"] * 50, "Amara"), ["lead"]),
    "names": (stages(*["Amara Okafor"] * 30, *["Grace Okafor"] * 30), None),
    "names with a small word": (stages(*["Amara van Okafor"] * 60), None),
    "names with a hyphen": (stages(*["Anne-Marie Okafor"] * 60), None),
    "names with an accent": (stages(*["Amara Öberg"] * 60), None),
    "initials": (stages(*["A. okafor"] * 60), None),
    "what users are called": (stages(*["amara.okafor"] * 60), None),
    "words": (stages(*["Not yet contacted"] * 60), ["Not yet contacted"]),
    "long numbers": (stages(*["442079460018"] * 60), None),
    "emails": (stages(*["a@n.example"] * 60), None),
    "dates": (stages(*["2026-03-01"] * 60), None),
    "a person's own by its key": (stages(*["Amara"] * 60, key="nick_name"), None),
    "an owner": (stages(*["amara"] * 60, key="owner"), None),
    "an owner in another language": (stages(*["Amara"] * 60, key="Betreuer"), None),
    "a sex": (stages(*["f"] * 60, key="sex"), None),
    "a salary": (stages(*[55000] * 60, key="base_salary"), None),
    "lists": (stages(*LISTS), None),
    "other characters": (stages(*["<lead>"] * 60), None),
}


@pytest.mark.parametrize("case", ENUMS)
def test_values_are_shown_only_where_they_are_few_short_shared_and_nobodys_own(case: str) -> None:
    seen, values = ENUMS[case]
    assert enum_values(seen) == values


def test_a_list_to_choose_from_becomes_a_table_with_its_keys(tmp_path: Path) -> None:
    records = [AMARA | {"stage": "1" if number % 3 else "2"} for number in range(60)]
    survey = survey_of(*records)
    text = written(survey)
    assert "      #   # 100 % of 60 records, one of 2 values: 1 (40), 2 (20)\n" in text
    assert '      #   Stage: {from: stage, map: {"1": "1", "2": "2"}, on_error: skip}\n' in text
    mapped = rules_of(uncommented(text), tmp_path).mapping.apply(change(values={"stage": 2}))
    assert mapped.fields == {"custom.Stage": "2"}


def test_many_values_are_shown_in_part() -> None:
    seen = stages(*(f"s{number % 9}" for number in range(90)))
    assert told(seen, 90).endswith("one of 9 values: s0 (10), s1 (10), s2 (10), s3 (10), s4 (10), s5 (10), …")


FINDINGS: dict[str, tuple[list[Json], tuple[str, ...]]] = {
    "mixed types": ([1, 2, "three"], ("mixed types: number in 2, text in 1",)),
    "mixed looks": (["2026-03-01", "soon"], ("not all look alike: date in 1, text in 1",)),
    "spaces": (["a ", "b"], ("spaces around it in 1",)),
    "capitals": (["A@n.example", "b@n.example"], ("capitals in 1",)),
    "gaps": (["a", None, "  "], ("null or blank in 2",)),
    "none": (["a", "b"], ()),
}


@pytest.mark.parametrize("case", FINDINGS)
def test_what_is_to_be_minded_is_said(case: str) -> None:
    values, findings = FINDINGS[case]
    assert findings_of(stages(*values)) == findings


def test_only_of_a_telephone_number_is_the_region_asked() -> None:
    """A short number may be anything: an id, a score, an amount."""
    seen = stages("4711", "4712")
    assert findings_of(seen, "custom.Customer number") == ()
    assert findings_of(seen, "phone") == ("numbers without +: write {e164: REGION} with the region that they are of",)


def test_values_of_mixed_types_become_text_in_a_custom_attribute() -> None:
    rules = custom(*({"score": value} for value in (1, 2, "three")))
    assert rules["custom.Score"] == {"from": "score", "transform": ["to_string"]}


KINDS: list[tuple[Json, Kind]] = [
    ("amara.okafor@northwind.example", Kind.EMAIL),
    (" Amara@Northwind.example ", Kind.EMAIL),
    ("https://www.linkedin.com/in/amara", Kind.LINKED_IN),
    ("uk.linkedin.com/in/amara", Kind.LINKED_IN),
    ("https://x.com/amara", Kind.TWITTER),
    ("@amara", Kind.TWITTER),
    ("https://northwind.example", Kind.LINK),
    ("www.northwind.example/team", Kind.LINK),
    ("2026-03-01", Kind.DATE),
    ("2026-03-01T09:30:00Z", Kind.INSTANT),
    ("2026-03-01 09:30", Kind.INSTANT),
    ("/Date(1772357400000)/", Kind.INSTANT),
    ("1772357400000", Kind.EPOCH_TEXT),
    ("+442079460018", Kind.PHONE),
    ("(020) 7946-0018", Kind.PHONE),
    ("4711", Kind.DIGITS),
    ("<p>tea</p>", Kind.HTML),
    ("tea &amp; cake", Kind.HTML),
    ("a < b", Kind.TEXT),
    ("VP Finance", Kind.TEXT),
    (True, Kind.BOOLEAN),
    (1772357400, Kind.EPOCH),
    (1772357400000, Kind.EPOCH),
    (4711, Kind.NUMBER),
    (1.5, Kind.NUMBER),
    (["a"], Kind.LIST),
    ({"a": 1}, Kind.OBJECT),
    (None, Kind.OBJECT),
]


@pytest.mark.parametrize(("value", "kind"), KINDS)
def test_a_value_is_known_by_its_look(value: Json, kind: Kind) -> None:
    assert kind_of(value) is kind


def test_every_place_of_a_value_is_a_path_that_leads_to_it() -> None:
    record: dict[str, Json] = {
        "a": {"b c": 1, "x": {}},
        "list": [1, 2],
        "none": None,
        "mixed": [1, {"z": 1}],
        "empty": [],
        "emails": [{"type": "work", "email": "a@n.example"}, {"type": "home", "email": "b@n.example", "main": True}],
        "nested": [[1], [2]],
        "amara@northwind.example": 1,
        "+44 20 7946 0018": 1,
    }
    found = {place.path: value for place, value in places(record)}
    assert found == {
        'a."b c"': 1,
        "list": [1, 2],
        "list[0]": 1,
        "none": None,
        "emails[?main].email": "b@n.example",
        "emails[0].email": "a@n.example",
        "emails[?type=work].email": "a@n.example",
        "emails[?type=home].email": "b@n.example",
    }
    assert {path: RecordPath.parse(path).get(record) for path in found} == found


def test_places_deeper_than_the_bound_are_not_walked_into() -> None:
    record: dict[str, Json] = {"k": 1}
    for _ in range(DEPTH_MAX + 3):
        record = {"k": record}
    assert list(places(record)) == []
    assert list(places({"k": [record]})) == []


def test_no_more_paths_are_counted_than_the_bound() -> None:
    survey = survey_of({f"group{group}": {f"k{number}": "x" for number in range(250)} for group in range(10)})
    assert (len(survey.seen), survey.beyond) == (PATHS_MAX, True)
    assert "more paths than are counted" in written(survey)


def test_a_path_that_is_too_long_is_left_out() -> None:
    assert custom({"x" * 600: "a", "b": "c"}) == {"custom.B": "b"}


def test_of_each_record_its_newest_word_counts_once() -> None:
    """A whole record replaces what came before; thin changes add up, each field as it was said last."""
    survey = Survey()
    survey.add(change("new", "1", values={"email": "a@n.example"}, thin=True))
    survey.add(change("newer name", "1", values={"name": "Amara", "email": "old@n.example"}, thin=True))
    survey.add(change("whole", "1", values={"email": "x@n.example", "city": "Leeds"}))
    survey.add(change("before", "1", values={"fax": "1"}))
    survey.add(change("other", "2", values={"name": "Grace"}))
    assert {path: seen.records for path, seen in survey.seen.items()} == {"email": 1, "name": 2, "city": 1}
    assert (survey.records, survey.changes) == (2, 5)


def test_the_region_is_looked_up_of_the_first_numbers_alone() -> None:
    seen = stages(*(f"+44 20 7946 {number:04d}" for number in range(REGIONS_ASKED + 5)), "+1 415 555 0132")
    assert (seen.numbers_with_plus, seen.regions) == (REGIONS_ASKED + 6, {"GB"})
