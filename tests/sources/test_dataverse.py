"""Dataverse webhooks: contexts of operations in their key-and-value dress, and a token in one place."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from service.errors import ParseError, VerificationError
from service.model import Action, Change
from service.sources.base import Sample
from service.sources.dataverse import DataverseSource
from tests.support.crm import NOW, URL, as_event, build, fixture, fixtures, post

SOURCE = build("dataverse", None)
CONTACT = "6d81597f-0f9f-e711-8122-000d3aa2331c"


def context(name: str = "contact_updated", **fields: object) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(fixture("dataverse", name)[0].body)
    return {key: value for key, value in (document | fields).items() if value is not ...}


def with_target(**attributes: object) -> dict[str, Any]:
    pairs = [{"key": key, "value": value} for key, value in attributes.items()]
    return context(InputParameters=[{"key": "Target", "value": {"Attributes": pairs}}])


def read(document: object) -> Change:
    (change,) = SOURCE.parse(post(orjson.dumps(document), {}))
    return change


@pytest.mark.parametrize("name", fixtures("dataverse"))
def test_an_example_context_reads_as_expected(name: str) -> None:
    request, expected = fixture("dataverse", name)
    assert [as_event(change) for change in SOURCE.parse(request)] == expected["events"]


def test_the_vendors_own_example_is_read() -> None:
    """As documented, but for the person: https://learn.microsoft.com/power-apps/developer/data-platform/use-webhooks."""
    target = {
        "__type": "Entity:http://schemas.microsoft.com/xrm/2011/Contracts",
        "Attributes": [{"key": "firstname", "value": "Amara"}, {"key": "modifiedon", "value": "/Date(1506384247000)/"}],
    }
    change = read(
        context(InputParameters=[{"key": "Target", "value": target}], OperationCreatedOn="/Date(1506409448000-0700)/")
    )
    assert change.occurred_at is not None
    assert change.occurred_at.isoformat() == "2017-09-26T00:04:07+00:00"


@pytest.mark.parametrize(
    "auth",
    [
        {"token": "s"},
        {"token": "s", "header": "X-Key", "query": "code"},
        {"token": "s", "header": "X Key"},
        {"token": "s", "header": ""},
        {"token": "s", "query": ""},
        {"header": "X-Key"},
    ],
)
def test_a_token_without_exactly_one_place_is_refused_at_load(auth: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        DataverseSource.Auth.model_validate(auth)


def test_a_header_is_found_in_any_case_of_its_configured_name() -> None:
    source = build("dataverse", {"token": "4f1d-aa", "header": "X-Webhook-TOKEN"})
    source.verify(post(b"{}", {"x-webhook-token": "4f1d-aa"}), now=NOW)


@pytest.mark.parametrize("token", ["a+b", "a b", "ä/ö?&=%"])
def test_a_token_in_the_address_counts_however_it_is_encoded(token: str) -> None:
    source = build("dataverse", {"token": token, "query": "code"})
    sample = Sample(object_id=CONTACT, event_id="e1", at=NOW, fields={"title": "CFO"})
    source.verify(source.sample(sample, url="https://hooks.northwind.example/webhooks/d365", now=NOW), now=NOW)


@pytest.mark.parametrize(
    "url", [URL, URL + "&code=", URL + "&code=4f1d-ab", URL + "&Code=4f1d-aa", URL + "#code=4f1d-aa"]
)
def test_a_missing_or_wrong_token_in_the_address_is_refused(url: str) -> None:
    source = build("dataverse", {"token": "4f1d-aa", "query": "code"})
    with pytest.raises(VerificationError):
        source.verify(post(b"{}", {}, url=url), now=NOW)


def test_a_token_in_the_other_place_does_not_count() -> None:
    by_header = build("dataverse", {"token": "4f1d-aa", "header": "code"})
    by_query = build("dataverse", {"token": "4f1d-aa", "query": "code"})
    in_query, in_header = post(b"{}", {}, url=URL + "&code=4f1d-aa"), post(b"{}", {"code": "4f1d-aa"})
    for source, request in ((by_header, in_query), (by_query, in_header)):
        with pytest.raises(VerificationError):
            source.verify(request, now=NOW)


def test_redaction_takes_every_copy_of_the_token_and_leaves_the_rest_of_the_address() -> None:
    source = build("dataverse", {"token": "4f1d-aa", "query": "code"})
    request = post(b"{}", {}, url=URL + "&code=4f1d-aa&team=crm&c%6Fde=4f1d-aa")
    assert source.redact(request).url == URL + "&team=crm"


def test_redaction_without_authentication_leaves_the_address() -> None:
    assert SOURCE.redact(post(b"{}", {}, url=URL + "&code=1")).url == URL + "&code=1"


@pytest.mark.parametrize(
    ("written", "iso"),
    [
        ("/Date(1772443798000)/", "2026-03-02T09:29:58Z"),
        ("/Date(1772443798120)/", "2026-03-02T09:29:58.120Z"),
        ("/Date(1772443798000-0700)/", "2026-03-02T09:29:58Z"),
        ("/Date(-1)/", "1969-12-31T23:59:59.999Z"),
        ("/Date(-62135596800000)/", "0001-01-01T00:00:00Z"),
        ("/Date(999999999999999)/", "/Date(999999999999999)/"),
        ("/Date(now)/", "/Date(now)/"),
        ("see /Date(1772443798000)/", "see /Date(1772443798000)/"),
    ],
)
def test_dates_become_iso_8601_in_utc(written: str, iso: str) -> None:
    """The offset tells nothing: the milliseconds are UTC. Birthdays lie before 1970."""
    assert read(with_target(birthdate=written)).values["birthdate"] == iso


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({"Value": 3}, 3),
        ({"__type": "Money:http://schemas.microsoft.com/xrm/2011/Contracts", "Value": 15000.5}, 15000.5),
        ({"AttributeLogicalName": "x", "EntityLogicalName": "account", "Value": {"Value": 3}}, 3),
        ([{"Value": 1}, {"Value": 2}], "1,2"),
        ([{"Value": 1}, "odd"], "1"),
        ([], []),
        (["a"], ["a"]),
        ({"Id": CONTACT.upper(), "LogicalName": "account", "Name": None}, {"Id": CONTACT, "LogicalName": "account"}),
        ({"Id": 7, "LogicalName": "account"}, {"Id": 7, "LogicalName": "account"}),
        ({"Entities": []}, {"Entities": []}),
        (None, None),
        (False, False),
    ],
)
def test_values_become_what_the_web_api_gives(value: object, plain: object) -> None:
    assert read(with_target(x=value)).values == {"fullname": "Amara Okafor", "contactid": CONTACT, "x": plain}


def test_the_target_wins_over_an_image_and_null_clears() -> None:
    change = read(with_target(fullname=None))
    assert change.values["fullname"] is None


def test_what_was_left_out_for_size_is_unknown_and_not_empty() -> None:
    change = read(context("contact_updated_above_256_kb"))
    assert (change.changed_fields, change.values, change.thin, change.ignored) == (None, {}, True, None)


def test_a_merge_without_its_inputs_still_asks_for_the_survivors_record() -> None:
    change = read(context("contacts_merged", InputParameters=None))
    assert (change.action, change.merged_from, change.thin, change.ignored) == (Action.MERGED, (), True, None)


def test_an_update_that_takes_a_merge_back_is_an_update() -> None:
    change = read(with_target(masterid=None, merged=False))
    assert (change.action, change.merged_into, change.ignored) == (Action.UPDATED, None, None)


def test_ids_are_told_in_the_web_apis_spelling_whatever_the_case() -> None:
    change = read(context(PrimaryEntityId=CONTACT.upper()))
    assert change.object_id == CONTACT
    assert change.dedup_key == read(context()).dedup_key


@pytest.mark.parametrize(
    "other",
    [
        {"OperationId": "0000"},
        {"OwningExtension": {"Id": "other"}},
        {"OwningExtension": None},
        {"MessageName": "Create"},
        {"PrimaryEntityId": "other"},
        {"OperationCreatedOn": "/Date(1772443798413)/"},
    ],
)
def test_operations_are_told_apart_by_step_record_message_and_time_too(other: dict[str, Any]) -> None:
    """Two updates of one synchronous request share their OperationId; dropping the second would lose a change."""
    assert read(context(**other)).dedup_key != read(context()).dedup_key


def test_the_second_try_of_an_operation_is_a_duplicate() -> None:
    assert read(context(CorrelationId="another", UserId="another")).dedup_key == read(context()).dedup_key


@pytest.mark.parametrize(("depth", "origin"), [(1, None), (2, "depth:2"), (True, None), ("2", None), (None, None)])
def test_only_a_chain_of_operations_has_an_origin(depth: object, origin: str | None) -> None:
    assert read(context(Depth=depth)).origin == origin


def test_the_name_of_the_organization_stands_in_for_its_id() -> None:
    assert read(context(OrganizationId=...)).tenant == "unq4ef5b371e89ee7118122000d3aa23"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"PrimaryEntityName": "lead"}, "object type lead"),
        ({"PrimaryEntityName": "a.okafor@northwind.example"}, "object type unknown"),
        ({"PrimaryEntityName": ..., "PrimaryEntityId": ...}, "object type unknown"),
        ({"MessageName": "SetStateDynamicEntity"}, "message SetStateDynamicEntity"),
        ({"MessageName": {}}, "message unknown"),
    ],
)
def test_what_is_no_change_of_a_contact_is_kept_without_values_and_ignored(fields: dict[str, Any], reason: str) -> None:
    change = read(context(**fields))
    assert (change.action, change.ignored, change.values, change.previous) == (Action.OTHER, reason, {}, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"OperationId": None},
        {"OperationId": 1.5},
        {"PrimaryEntityId": ...},
        {"PrimaryEntityId": "00000000-0000-0000-0000-000000000000"},
        {"OperationCreatedOn": "yesterday"},
        {"OperationCreatedOn": []},
        {"OwningExtension": {"Id": []}},
        {"InputParameters": {}},
        {"InputParameters": ["Target"]},
        {"InputParameters": [{"value": {}}]},
        {"InputParameters": [{"key": "Target", "value": "contact"}]},
        {"InputParameters": [{"key": "Target", "value": {"Attributes": "firstname"}}]},
        {"PostEntityImages": [{"key": "after", "value": 1}]},
        {"PreEntityImages": 1},
    ],
)
def test_what_tells_operations_and_records_apart_must_be_whole(fields: dict[str, Any]) -> None:
    with pytest.raises(ParseError):
        read(context(**fields))


@pytest.mark.parametrize("attributes", [{"modifiedon": "yesterday"}, {"masterid": {"Id": []}}])
def test_a_time_or_master_that_is_none_is_refused(attributes: dict[str, object]) -> None:
    with pytest.raises(ParseError, match=next(iter(attributes))):
        read(with_target(**attributes))


def test_an_image_without_an_entity_has_nothing_to_say() -> None:
    assert read(context(PostEntityImages=[{"key": "after", "value": None}])).values["jobtitle"] == "VP Finance"


def test_a_sample_has_the_columns_of_a_contact() -> None:
    sample = Sample(
        object_id=CONTACT,
        event_id="4af10637-4ea2-e711-8122-000d3aa2331c",
        at=NOW,
        fields={"first_name": "Amara", "email": "amara@okafor.example", "nw_tier": "Gold"},
        previous={"title": "Controller"},
    )
    request = SOURCE.sample(sample, url=URL, now=NOW)
    (change,) = SOURCE.parse(replace(request, headers={}))
    assert change.values == {
        "contactid": CONTACT,
        "firstname": "Amara",
        "emailaddress1": "amara@okafor.example",
        "nw_tier": "Gold",
        "modifiedon": "2026-03-02T09:30:00Z",
    }
    assert change.previous == {"jobtitle": "Controller"}
