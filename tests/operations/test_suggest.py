"""A mapping proposed from logged changes: the right paths, what they rest on, nothing personal, a file that loads."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.config import load
from service.errors import NotFound
from service.model import Action, Change, Json, Mapped
from service.operations.suggest import Suggestion, suggest
from service.operations.suggest.proposal import Proposals, propose
from service.store import Store
from service.store.history import History
from tests.support.clock import Clock
from tests.support.log import change, receive
from tests.support.suggest import AMARA, ENTRY, ENVIRON, custom, proposed, rules_of, survey_of, uncommented, written

DATA = Path(__file__).parent.parent / "data"
PATHS: dict[str, tuple[dict[str, Json], str, Any]] = {
    "camel case": ({"firstName": "Amara"}, "first_name", "firstName"),
    "capitals": ({"FirstName": "Amara"}, "first_name", "FirstName"),
    "another word": ({"givenName": "Amara"}, "first_name", "givenName"),
    "in an object": ({"name": {"first": "Amara", "last": "Okafor"}}, "last_name", "name.last"),
    "words between": ({"Last Name": "Okafor"}, "last_name", '"Last Name"'),
    "a key with a dot": ({"contact.surname": "Okafor"}, "last_name", '"contact.surname"'),
    "a key with quotes": ({'"last" name': "Okafor"}, "last_name", '"\\"last\\" name"'),
    "an email by its name": ({"email": "a@n.example"}, "email", {"from": "email", "transform": ["lower"]}),
    "an email by its look": ({"login": "a@n.example"}, "email", {"from": "login", "transform": ["lower"]}),
    "no email by its name": ({"email": "none"}, "email", None),
    "the primary of a list": (
        {"emails": [{"value": "b@n.example"}, {"value": "a@n.example", "primary": True}]},
        "email",
        {"from": "emails[?primary].value", "transform": ["lower"]},
    ),
    "the first of a list": (
        {"emails": ["a@n.example", "b@n.example"]},
        "email",
        {"from": "emails[0]", "transform": ["lower"]},
    ),
    "by a label": (
        {"details": [{"type": "job", "value": "CFO"}, {"type": "role title", "value": "Chair"}]},
        "title",
        None,
    ),
    "spaces": ({"last_name": " Okafor"}, "last_name", {"from": "last_name", "transform": ["trim"]}),
    "spaces around an email": (
        {"email": " A@n.example "},
        "email",
        {"from": "email", "transform": ["trim", "lower"]},
    ),
    "a number with its country": (
        {"phone": "+44 20 7946 0018"},
        "phone",
        {"from": "phone", "transform": ["e164"], "on_error": "skip"},
    ),
    "a job title": ({"jobTitle": "VP Finance"}, "title", "jobTitle"),
    "a salutation is no title": ({"title": "Mrs."}, "title", None),
    "LinkedIn by its look": (
        {"profile": {"page": "https://www.linkedin.com/in/amara"}},
        "linked_in",
        {"from": "profile.page", "transform": ["url"], "on_error": "skip"},
    ),
    "Twitter by its name": ({"twitter_handle": "@amara"}, "twitter", "twitter_handle"),
    "HTML": (
        {"about": "<p>Likes <b>tea</b></p>"},
        "notes",
        {"from": "about", "transform": ["strip_html"]},
    ),
    "long notes": ({"notes": "tea " * 600}, "notes", {"from": "notes", "transform": ["trim", {"truncate": 2000}]}),
    "an epoch time": (
        {"last_seen_at": 1772357400000},
        "last_seen",
        {"from": "last_seen_at", "transform": ["to_datetime"], "on_error": "skip"},
    ),
    "no time": ({"last_seen": "long ago"}, "last_seen", None),
    "a full name": ({"name": "Amara Okafor"}, "last_name", {"from": "name", "transform": ["split_rest"]}),
    "a full name beside its first": (
        {"name": "Amara Okafor", "first_name": "Amara"},
        "last_name",
        {"from": "name", "transform": ["split_rest"]},
    ),
    "nothing": ({"colour": "blue"}, "first_name", None),
    "a boolean is no name": ({"first_name": True}, "first_name", None),
}


@pytest.mark.parametrize("case", PATHS)
def test_each_field_is_found_by_its_name_or_by_the_look_of_its_values(case: str, tmp_path: Path) -> None:
    record, target, rule = PATHS[case]
    assert proposed(record).get(target) == rule
    rules_of(uncommented(written(survey_of(record))), tmp_path)


def test_the_path_that_more_records_have_is_taken() -> None:
    seldom, often = {"mobile_phone": "+44 20 7946 0018"}, {"phone": "+44 20 7946 0018"}
    assert proposed(seldom, seldom, seldom, often)["phone"]["from"] == "mobile_phone"
    assert proposed(often, often, often, seldom)["phone"]["from"] == "phone"


REGIONS: dict[str, tuple[list[str], Any, bool]] = {
    "all with +": (["+44 20 7946 0018", "+1 415 555 0132"], "e164", False),
    "some without, the others of one region": (["+44 20 7946 0018", "020 7946 0018"], {"e164": "GB"}, False),
    "some without, the others of two": (["+44 20 7946 0018", "+1 415 555 0132", "020 7946 0018"], "e164", True),
    "none with": (["020 7946 0018"], "e164", True),
    "no number of any region": (["+999 12345678", "020 7946 0018"], "e164", True),
}


@pytest.mark.parametrize("case", REGIONS)
def test_the_region_of_numbers_is_guessed_only_where_all_agree(case: str) -> None:
    numbers, step, minded = REGIONS[case]
    (phone,) = propose(survey_of(*({"phone": number} for number in numbers))).standard
    assert isinstance(phone.rule, dict)
    assert phone.rule["transform"] == [step]
    assert any("{e164: REGION}" in finding for finding in phone.findings) == minded


CUSTOMS: dict[str, tuple[dict[str, Json], str, Any]] = {
    "a date": (
        {"renewal": "2026-03-01"},
        "custom.Renewal",
        {"from": "renewal", "transform": ["to_date"], "on_error": "skip"},
    ),
    "an instant": (
        {"createdAt": "2026-03-01T09:30:00Z"},
        "custom.Created At",
        {"from": "createdAt", "transform": ["to_datetime"], "on_error": "skip"},
    ),
    "an epoch time as text": (
        {"opted_in": "1772357400000"},
        "custom.Opted in",
        {"from": "opted_in", "transform": ["to_datetime"], "on_error": "skip"},
    ),
    "a list": ({"tags": ["vip", "b2b"]}, "custom.Tags", {"from": "tags", "transform": ["join"]}),
    "a long text": ({"story": "x" * 300}, "custom.Story", {"from": "story", "transform": [{"truncate": 255}]}),
    "HTML": ({"offer": "a <b>b</b>"}, "custom.Offer", {"from": "offer", "transform": ["strip_html"]}),
    "a number": ({"score": 7.5}, "custom.Score", "score"),
    "a boolean": ({"newsletter": False}, "custom.Newsletter", "newsletter"),
    "a labelled field": (
        {"fields": [{"key": "tier", "value": "gold"}, {"key": "plan", "value": "pro"}]},
        "custom.Plan",
        None,  # one record alone may have made it up
    ),
}


@pytest.mark.parametrize("case", CUSTOMS)
def test_further_fields_are_named_with_what_their_values_need(case: str, tmp_path: Path) -> None:
    record, target, rule = CUSTOMS[case]
    assert custom(AMARA | record).get(target) == rule
    mapped: Mapped = rules_of(uncommented(written(survey_of(AMARA | record))), tmp_path).mapping.apply(
        change(values=AMARA | record)
    )
    assert mapped.faults == ()
    assert rule is None or target in mapped.fields


def test_a_label_is_written_down_once_many_records_share_it() -> None:
    record: dict[str, Json] = {"fields": [{"key": "tier", "value": "gold"}, {"key": "plan", "value": "pro"}]}
    assert custom(*[record] * 3)["custom.Plan"] == "fields[?key=plan].value"
    assert "custom.Plan" not in custom(*[record] * 3, *[AMARA] * 30)


def test_two_fields_of_one_name_are_told_apart() -> None:
    names = custom({"billing": {"plan": "a"}, "shipping": {"plan": "b"}})
    assert names == {"custom.Plan": "billing.plan", "custom.Plan 2": "shipping.plan"}


def test_what_is_mapped_already_is_not_named_again_by_another_item_of_its_list() -> None:
    emails: list[Json] = [
        {"label": "work", "value": "a@n.example", "primary": True},
        {"label": "home", "value": "b@n.example", "primary": False},
    ]
    assert custom({"emails": emails}) == {}


def test_fields_that_few_records_have_are_not_named() -> None:
    assert custom(*[AMARA] * 39, {"seldom": "x"}, {"other": "x"}) == {}


def test_the_file_says_on_what_each_rule_rests(tmp_path: Path) -> None:
    records = [AMARA | {"jobTitle": "VP Finance"} if number % 4 else AMARA for number in range(1, 9)]
    text = written(survey_of(*records))
    assert (
        text
        == """\
# Proposed from 8 changes of 8 records, received 2026-03-02 to 2026-03-02.
# Examples are masked. Read it through, then `check`, `backtest` and use it; other sources are not in it.
sources:
  crm:
    preset: generic
    verify: {scheme: token, token: "${CRM_TOKEN}", header: X-Token}
    parse: {event_id: id, object_id: contact.id, values: contact}
    resolve: [link, {email: email}]
    mapping:
      # 100 % of 8 records, text such as A••••
      first_name: first_name
      # 100 % of 8 records, text such as O•••••
      last_name: last_name
      # 100 % of 8 records, email such as a••••.o•••••@n••••••••.e••••••
      email: {from: email, transform: [lower]}
      # 75 % of 8 records, text such as •• F••••••
      title: jobTitle
"""
    )
    mapped = rules_of(text, tmp_path).mapping.apply(change(values=records[0]))
    assert mapped.fields == AMARA | {"title": "VP Finance"}


def test_without_a_field_of_a_contact_the_further_ones_are_taken_in(tmp_path: Path) -> None:
    text = written(survey_of({"colour": "blue", "size": 7}))
    assert rules_of(text, tmp_path).mapping.apply(change(values={"colour": "blue"})).fields == {"custom.Colour": "blue"}


def test_what_else_the_configuration_says_of_the_source_is_kept(tmp_path: Path) -> None:
    entry = ENTRY | {"when": {"field": "stage", "in": ["1", "2"]}, "on_unknown": "skip"}
    rules = rules_of(written(survey_of(AMARA), entry), tmp_path)
    assert rules.document["when"] == {"field": "stage", "in": ["1", "2"]}


def test_definitions_come_along(tmp_path: Path) -> None:
    entry = ENTRY | {"on_deleted": {"custom": {"Status": {"use": "shout", "const": "deleted"}}}}
    text = written(survey_of(AMARA), entry, define={"shout": {"transform": ["upper"]}})
    assert text.splitlines()[2] == "define: {shout: {transform: [upper]}}"
    assert rules_of(text, tmp_path).deleted is not None


def test_a_secret_that_stands_in_the_file_itself_is_not_repeated() -> None:
    verify: Json = {"scheme": "token", "token": ["letmein", "${CRM_TOKEN}"], "header": "X-Token"}
    text = written(survey_of(AMARA), ENTRY | {"verify": verify}, secrets=frozenset({"letmein", "t-0c6d"}))
    assert 'token: ["${CRM_TOKEN}", "${CRM_TOKEN}"]' in text
    assert "letmein" not in text


PERSONAL: dict[str, Json] = {
    "firstName": "Amarachukwu",
    "lastName": "Okaforova",
    "email": "Amarachukwu.Okaforova@northwind.example",
    "phone": "+44 20 7946 0018",
    "jobTitle": "Chief Zeppelin Officer",
    "notes": "<p>Allergic to walnuts</p>",
    "address": {"street": "17 Quince Lane", "city": "Quincetown"},
    "card": 4929123412341234,
    "pets": ["Fidofidus"],
    "children": [{"name": "Juniper", "value": "Maypole"}],
    "by": {"Quillfeather": "Kestrel"},
}


@pytest.mark.parametrize("records", [1, 2, 60])
def test_no_personal_value_is_printed(records: int) -> None:
    others = [{"firstName": f"Name{number}xyz"} for number in range(records - 1)]
    text = written(survey_of(PERSONAL, *others)).lower()
    words = set(re.findall(r"[a-z]{5,}|\d{3,}", json.dumps(list(PERSONAL.values())).lower()))
    keys = {"street", "children", "value", "quillfeather", "example"}
    assert {word for word in words - keys if word in text} == set()


PRESETS = ("pipedrive", "close", "zoho", "dataverse", "salesforce", "hubspot", "intercom")
ENTRIES: dict[str, dict[str, Json]] = {
    "pipedrive": {"auth": {"username": "crm", "password": "${CRM_TOKEN}"}},
    "close": {"auth": {"secret": "${CRM_SECRET}"}},
    "zoho": {"auth": {"token": "${CRM_TOKEN}"}},
    "dataverse": {"auth": {"header": "X-Token", "token": "${CRM_TOKEN}"}},
    "salesforce": {"auth": {"organization_id": "00D5e000000Abcd", "token": "${CRM_TOKEN}"}},
    "hubspot": {"auth": {"secret": "${CRM_TOKEN}"}},
    "intercom": {"auth": {"secret": "${CRM_TOKEN}"}},
    "generic": {name: value for name, value in ENTRY.items() if name not in {"preset", "mapping"}},
}


def captured(preset: str) -> list[Change]:
    """The contacts among the captured requests of a CRM, as they are parsed."""
    changes: list[Change] = []
    for number, path in enumerate(sorted((DATA / preset).glob("*.expected.json"))):
        events = json.loads(path.read_text()).get("events", [])
        for event in events:
            if event["values"] and event.get("ignored") is None:
                key, thin = f"{number}-{event['dedup_key']}", event["thin"]
                changes.append(
                    Change(key, "contact", event["object_id"], Action.UPDATED, values=event["values"], thin=thin)
                )
    return changes


@pytest.mark.anyio
@pytest.mark.parametrize("preset", ENTRIES)
async def test_what_is_proposed_for_a_crms_captured_requests_loads_and_maps_them(preset: str, tmp_path: Path) -> None:
    """From the log to the file to the mapped fields, with everything taken in that is named."""
    entry: dict[str, Json] = {"preset": preset, **ENTRIES[preset], "mapping": {"first_name": "x"}}
    changes = captured(preset)
    assert changes, f"tests/data/{preset} has no contact with values"
    found = await suggestion(changes, entry, tmp_path)
    for text in (found.text, uncommented(found.text)):
        rules = rules_of(text, tmp_path)
        targets = {one.target for one in found.proposals.standard}
        mapped = [rules.mapping.apply(one) for one in changes]
        assert [one.faults for one in mapped if one.faults] == []
        assert targets <= {name for one in mapped for name in one.fields}
    assert found.proposals.standard or found.proposals.custom


async def suggestion(changes: Sequence[Change], entry: dict[str, Json], directory: Path) -> Suggestion:
    """Log changes, and have a mapping proposed from them."""
    url, store = f"sqlite:///{directory / 'log.db'}", Store(f"sqlite:///{directory / 'log.db'}")
    try:
        await store.migrate()
        await receive(store, Clock(), *changes, source="crm")
    finally:
        await store.close()
    (directory / "config.yaml").write_text(json.dumps({"sources": {"crm": entry}}))
    loaded = load(ENVIRON, config_file=directory / "config.yaml", env_file=directory / "no.env", need_api_key=False)
    history = await History.open(url)
    try:
        configured, seen = loaded.sources["crm"], list[int]()
        found = await suggest(history, configured, last=1000, entry=entry, define=None, progress=seen.append)
        assert seen == [len(changes)]
        return found
    finally:
        await history.close()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ([], "let it send some changes first"),
        ([change("a", thin=True)], "its events carry no values of their own"),
        ([change("a", values={"email": "a@n.example"}, ignored="object type deal")], "its events carry no values"),
    ],
)
async def test_where_nothing_is_said_nothing_is_proposed(changes: list[Change], hint: str, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no logged change of crm says anything") as error:
        await suggestion(changes, ENTRY, tmp_path)
    assert error.value.hint.startswith(hint)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(st.dictionaries(st.text(max_size=12), JSON, max_size=6), min_size=1, max_size=4))
def test_whatever_was_logged_what_is_proposed_loads(records: list[dict[str, Json]], tmp_path: Path) -> None:
    survey = survey_of(*records)
    proposals: Proposals = propose(survey)
    if proposals.standard or proposals.custom:
        rules = rules_of(uncommented(written(survey)), tmp_path)
        for record in records:
            rules.mapping.apply(change(values=record))
