"""Pipedrive webhooks v2, as documented and as they should not be."""

import base64
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from service.errors import ParseError, UnsupportedVersion, VerificationError
from service.mapping import Mapping, MappingSpec
from service.model import Action, Change
from service.sources.base import Sample
from service.sources.pipedrive import PipedriveSource
from tests.support.crm import NOW, as_event, basic, build, fixture, fixtures, post

SOURCE = build("pipedrive", {"username": "crm", "password": "hunter2"})


def webhook(*, without: tuple[str, ...] = (), **meta: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON
    document: dict[str, Any] = orjson.loads(fixture("pipedrive", "person_changed")[0].body)
    document["meta"] |= meta
    for name in without:
        del document["meta"][name]
    return document


def webhook_with(place: str, value: object) -> dict[str, Any]:
    document = webhook()
    document["meta"][place] = value
    return document


def read(document: dict[str, Any]) -> Change:
    (change,) = SOURCE.parse(post(orjson.dumps(document), {}))
    return change


@pytest.mark.parametrize("name", fixtures("pipedrive"))
def test_an_example_webhook_reads_as_expected(name: str) -> None:
    request, expected = fixture("pipedrive", name)
    if "error" in expected:
        with pytest.raises(ParseError) as refused:
            SOURCE.parse(request)
        assert refused.value.name == expected["error"]
        return
    assert [as_event(change) for change in SOURCE.parse(request)] == expected["events"]


def test_the_example_of_rfc_7617_is_accepted() -> None:
    """Section 2: Aladdin and his password (https://www.rfc-editor.org/rfc/rfc7617#section-2)."""
    source = build("pipedrive", {"username": "Aladdin", "password": "open sesame"})
    source.verify(post(b"", {"authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}), now=NOW)


def test_the_utf_8_example_of_rfc_7617_is_accepted() -> None:
    """Section 2.1: the user test and the password 123£ (https://www.rfc-editor.org/rfc/rfc7617#section-2.1)."""
    source = build("pipedrive", {"username": "test", "password": "123£"})
    source.verify(post(b"", {"authorization": "Basic dGVzdDoxMjPCow=="}), now=NOW)


@pytest.mark.parametrize(
    ("username", "password"),
    [("crm", "hunter3"), ("CRM", "hunter2"), ("", "hunter2"), ("crm", ""), ("crmhunter2", ""), ("crm:hunter2", "")],
)
def test_a_wrong_user_name_or_password_is_refused(username: str, password: str) -> None:
    with pytest.raises(VerificationError, match="user name or password"):
        SOURCE.verify(post(b"", basic(username, password)), now=NOW)


def test_a_password_may_hold_colons() -> None:
    build("pipedrive", {"username": "crm", "password": "a:b:c"}).verify(post(b"", basic("crm", "a:b:c")), now=NOW)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("Bearer Y3JtOmh1bnRlcjI=", "not HTTP Basic"),
        ("Basic", "user name or password"),
        ("Basic Y3JtOmh1bnRlcjI", "not base64"),
        ("Basic Y3Jt Omh1bnRlcjI=", "not base64"),
        ("Basic " + base64.b64encode(b"crm").decode(), "user name or password"),
    ],
)
def test_what_is_not_http_basic_is_refused_with_its_reason(value: str, reason: str) -> None:
    with pytest.raises(VerificationError, match=reason):
        SOURCE.verify(post(b"", {"authorization": value}), now=NOW)


def test_the_scheme_is_read_in_any_case() -> None:
    (value,) = basic("crm", "hunter2").values()
    SOURCE.verify(post(b"", {"authorization": "bAsIc  " + value.removeprefix("Basic ") + " "}), now=NOW)


@pytest.mark.parametrize("username", ["", "crm:app", "crm\n", "c" * 256])
def test_a_user_name_that_http_basic_cannot_carry_is_refused_at_load(username: str) -> None:
    with pytest.raises(ValidationError):
        PipedriveSource.Auth.model_validate({"username": username, "password": "hunter2"})


@pytest.mark.parametrize(
    "document",
    [
        webhook(version="1.0"),
        webhook(version="3.0"),
        webhook(version={"major": 2}),
        webhook(without=("version",), v=1),
        webhook(without=("entity",)),
        webhook() | {"current": {"id": 4711}},
    ],
    ids=["1.0", "3.0", "odd", "v", "no entity", "current"],
)
def test_any_version_but_2_is_refused_by_name(document: dict[str, Any]) -> None:
    """In version 1 meta.id is the person: a second change would look like a repetition, and be lost."""
    with pytest.raises(UnsupportedVersion) as refused:
        read(document)
    assert "2.0" in refused.value.hint


@pytest.mark.parametrize("version", ["2.0", "2.1", "2", 2])
def test_any_version_2_is_read(version: object) -> None:
    assert read(webhook(version=version)).object_id == "4711"
    assert read(webhook(without=("version",))).object_id == "4711"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("id", None),
        ("id", ""),
        ("id", 1.5),
        ("id", "x" * 256),
        ("entity_id", None),
        ("entity_id", 4711.0),
        ("entity_id", True),
        ("entity_id", "47\n11"),
        ("timestamp", "yesterday"),
        ("timestamp", {}),
        ("merged_from_id", []),
        ("merged_to_id", 0.5),
    ],
)
def test_what_tells_events_and_records_apart_must_be_whole(place: str, value: object) -> None:
    with pytest.raises(ParseError, match=f"meta.{place}"):
        read(webhook_with(place, value))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("change_source", ["app"]),
        ("user_id", 0.5),
        ("user_id", "a.okafor@northwind.example"),
        ("company_id", True),
        ("attempt", "1"),
        ("attempt", -1),
        ("attempt", True),
        ("attempt", 10**9),
    ],
)
def test_a_side_fact_that_is_odd_does_not_cost_the_change(place: str, value: object) -> None:
    change = read(webhook_with(place, value))
    side = {
        "change_source": change.origin,
        "user_id": change.actor,
        "company_id": change.tenant,
        "attempt": change.attempt,
    }
    assert side[place] is None
    assert change.values["first_name"] == "Amara"


@pytest.mark.parametrize("data", [None, [], "person", 1])
def test_a_change_without_a_record_is_refused(data: object) -> None:
    with pytest.raises(ParseError, match="data is not an object"):
        read(webhook() | {"data": data})


def test_a_change_without_previous_has_unknown_fields_and_an_empty_one_none() -> None:
    assert read(webhook() | {"previous": None}).changed_fields is None
    assert read(webhook() | {"previous": {}}).changed_fields == ()
    assert read(webhook() | {"previous": {"custom_fields": None, "name": "A"}}).changed_fields == (
        "custom_fields",
        "name",
    )


@pytest.mark.parametrize(
    ("action", "reason"), [(None, "unknown"), (7, "7"), ("change ", "unknown"), ("merge", "merge")]
)
def test_an_unknown_action_is_kept_and_ignored(action: object, reason: str) -> None:
    change = read(webhook(action=action))
    assert (change.action, change.ignored, dict(change.values)) == (Action.OTHER, f"action {reason}", {})


def test_an_entity_that_is_no_word_is_not_repeated_in_the_log() -> None:
    assert read(webhook(entity="a.okafor@northwind.example")).ignored == "object type unknown"


def test_the_record_of_another_entity_is_not_kept() -> None:
    """A deal's webhook may name people; nothing here needs them."""
    change = read(webhook(entity="deal"))
    assert (dict(change.values), change.previous) == ({}, None)


def test_custom_fields_of_every_type_can_be_mapped() -> None:
    """By the paths that the page about Pipedrive shows."""
    (change,) = SOURCE.parse(fixture("pipedrive", "person_with_every_type_of_custom_field")[0])
    fields = change.values["custom_fields"]
    assert isinstance(fields, dict)
    key = {field["type"]: f'custom_fields."{name}"' for name, field in fields.items() if isinstance(field, dict)}
    rules = {
        "Role": f"{key['varchar']}.value",
        "Budget": {"from": f"{key['monetary']}.value", "transform": ["to_int"]},
        "Currency": f"{key['monetary']}.currency",
        "Renewal": {"from": f"{key['date']}.value", "transform": ["to_date"]},
        "Until": {"from": f"{key['daterange']}.until", "transform": ["to_date"]},
        "City": f"{key['address']}.locality",
        "Tier": {"from": f"{key['enum']}.id", "map": {"26": "Silver", "27": "Gold"}},
        "Interests": {
            "concat": [f"{key['set']}.values[{place}].id" for place in range(3)],
            "separator": "+",
            "map": {"13": "Webinars", "14": "Beta", "13+14": "Webinars, Beta"},
        },
    }
    mapped = Mapping(MappingSpec.model_validate({"custom": rules})).apply(change)
    assert mapped.faults == ()
    assert mapped.fields == {
        "custom.Role": "Champion",
        "custom.Budget": 48000,
        "custom.Currency": "EUR",
        "custom.Renewal": "2026-09-30",
        "custom.Until": "2027-02-28",
        "custom.City": "Tallinn",
        "custom.Tier": "Gold",
        "custom.Interests": "Webinars, Beta",
    }


def test_a_bulk_edit_is_a_change_of_each_record_by_itself() -> None:
    bulk = fixture("pipedrive", "person_changed_in_bulk")[0]
    (first,) = SOURCE.parse(bulk)
    document = orjson.loads(bulk.body)
    document["meta"] |= {"id": "b7c5e1d0-3f0e-4c65-9f2f-0d2a6f1c7e13", "entity_id": "4712"}
    second = read(document)
    assert (first.object_id, second.object_id) == ("4711", "4712")
    assert first.dedup_key != second.dedup_key


def test_a_sample_has_pipedrives_own_layout() -> None:
    sample = Sample(
        object_id="4711",
        event_id="30a1b8f2-60f4-4d5e-9c39-a6c3d9d0f2c1",
        at=NOW,
        fields={
            "first_name": "Amara",
            "last_name": "Okafor",
            "title": "CFO",
            "email": "amara@okafor.example",
            "Tier": "Gold",
        },
        previous={"title": "Controller", "Tier": None},
    )
    (change,) = SOURCE.parse(SOURCE.sample(sample, url="https://hooks.northwind.example/webhooks/pipedrive", now=NOW))
    assert change.values == {
        "id": 4711,
        "first_name": "Amara",
        "last_name": "Okafor",
        "name": "Amara Okafor",
        "job_title": "CFO",
        "emails": [{"label": "work", "value": "amara@okafor.example", "primary": True}],
        "custom_fields": {"Tier": {"type": "varchar", "value": "Gold"}},
    }
    assert change.previous == {"job_title": "Controller", "custom_fields": {"Tier": None}}
    assert change.changed_fields == ("job_title", "custom_fields.Tier")
