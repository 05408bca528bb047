"""What each preset sends without being told: the standard fields of its own requests, and nothing beyond them."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from service.errors import RequestError
from service.mapping import Mapping, MappingSpec
from service.model import Action, Change
from service.sources import PRESETS
from tests.support.crm import build, fixture, fixtures

USUAL: Final = sorted(preset for preset, kind in PRESETS.items() if kind.usual_mapping)
PARSE: Final = {"attio": {"people_object": "97052eb9-e65e-443f-a297-f2d9a4a7f795"}}
NEVER: Final = {"notes", "position", "external_id", "last_seen", "custom"}
"""What people write in ChartMogul itself, or what must not be the same for two contacts."""
AMARA: Final = {"first_name": "Amara", "last_name": "Okafor", "email": "amara.okafor@northwind.example"}
FINANCE: Final = {"title": "VP Finance"}

PATCHES: Final[dict[tuple[str, str], list[dict[str, Any]]]] = {
    ("hubspot", "one_edit_of_three_properties"): [{"first_name": "Amara"}, {}, FINANCE],
    ("hubspot", "sent_by_a_workflow_with_history"): [AMARA],
    ("pipedrive", "person_changed"): [{**AMARA, **FINANCE, "phone": "+1 415 555 0132"}],
    ("close", "contact_updated"): [{**AMARA, **FINANCE, "phone": "+14155550132"}],
    ("intercom", "one_edit_as_user_updated"): [{**AMARA, "phone": "+14155550132"}],
    ("intercom", "lead_created"): [{"first_name": "Mikkel", "last_name": "Lindqvist"}],
    ("salesforce", "contact_changed"): [{**AMARA, **FINANCE, "phone": "+1 415 555 0132"}],
    ("salesforce", "nil_blank_and_omitted_fields"): [{"last_name": "Okafor", "email": AMARA["email"]}],
    ("zoho", "contact_inserted"): [AMARA],
    ("zoho", "contact_updated_and_a_field_emptied"): [FINANCE],
    ("dataverse", "contact_updated"): [FINANCE],
    ("dataverse", "contact_updated_with_images"): [{**AMARA, **FINANCE}],
    ("attio", "person_updated_by_a_member"): [{}],  # its events carry no values: the record is read back
}
RECORDS: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "attio": (
        {
            "name": [{"first_name": "Amara", "last_name": "Okafor"}],
            "email_addresses": [{"email_address": "Amara.Okafor@northwind.example"}],
            "phone_numbers": [{"original_phone_number": "+14155550132", "country_code": "US"}],
            "job_title": [{"value": "VP Finance"}],
            "linkedin": [{"value": "linkedin.com/in/amara-okafor"}],
            "twitter": [{"value": "amara_okafor"}],
        },
        {
            **AMARA,
            **FINANCE,
            "phone": "+14155550132",
            "linked_in": "https://linkedin.com/in/amara-okafor",
            "twitter": "amara_okafor",
        },
    ),
    "hubspot": (
        {
            "email": " Amara.Okafor@Northwind.example ",
            "mobilephone": "",
            "phone": "(415) 555-0132",
            "hs_linkedin_url": "https://www.linkedin.com/in/amara-okafor",
            "twitterhandle": "amara_okafor",
        },
        {
            "email": "amara.okafor@northwind.example",
            "phone": "(415) 555-0132",
            "linked_in": "https://www.linkedin.com/in/amara-okafor",
            "twitter": "amara_okafor",
        },
    ),
    "intercom": (
        {
            "name": "Amara Okafor",
            "social_profiles": {
                "type": "list",
                "data": [{"type": "social_profile", "name": "Twitter", "url": "http://twitter.com/amara_okafor"}],
            },
        },
        {"first_name": "Amara", "last_name": "Okafor", "twitter": "http://twitter.com/amara_okafor"},
    ),
    "zoho": ({"Mobile": None, "Phone": "+1 415 555 0132"}, {"phone": "+1 415 555 0132"}),
    "dataverse": ({"mobilephone": "+1 415 555 0132", "telephone1": "+1 415 555 0100"}, {"phone": "+1 415 555 0132"}),
}
"""Records with what the requests leave out, and what becomes of them."""

every = pytest.mark.parametrize("preset", USUAL)


def usual(preset: str) -> Mapping:
    return Mapping(MappingSpec.model_validate(PRESETS[preset].usual_mapping))


def delivered(preset: str, name: str) -> Iterator[Change]:
    """Yield the changes of a request that concern contacts; none where the request is refused."""
    try:
        changes = build(preset, None, PARSE.get(preset)).parse(fixture(preset, name)[0])
    except RequestError:
        return
    yield from (change for change in changes if change.ignored is None)


def test_every_preset_but_generic_knows_its_standard_fields() -> None:
    assert set(PRESETS) - set(USUAL) == {"generic"}
    assert {preset for preset, _ in PATCHES} == set(USUAL)


@pytest.mark.parametrize(("preset", "name"), PATCHES, ids=lambda part: part)
def test_a_request_becomes_the_patch(preset: str, name: str) -> None:
    patches = [dict(usual(preset).apply(change).fields) for change in delivered(preset, name)]
    assert patches == PATCHES[preset, name]


@pytest.mark.parametrize("preset", RECORDS)
def test_a_record_becomes_the_patch(preset: str) -> None:
    values, patch = RECORDS[preset]
    assert usual(preset).apply(Change("key", "contact", "1", Action.UPDATED, values=values)).fields == patch


@every
def test_no_request_of_the_crm_is_a_fault(preset: str) -> None:
    faults = [
        (name, fault)
        for name in fixtures(preset)
        for change in delivered(preset, name)
        for fault in usual(preset).apply(change).faults
    ]
    assert faults == []


@every
def test_names_and_email_are_sent_and_nothing_that_is_kept_in_chartmogul_itself(preset: str) -> None:
    assert set(usual(preset).targets) >= {"first_name", "last_name", "email"}
    assert set(PRESETS[preset].usual_mapping).isdisjoint(NEVER)


@every
def test_the_email_is_the_one_that_contacts_are_found_by(preset: str) -> None:
    assert PRESETS[preset].usual_mapping["email"] == {
        "from": PRESETS[preset].usual_email,
        "transform": ["trim", "lower"],
    }


@every
def test_a_phone_or_profile_that_cannot_be_used_costs_only_itself(preset: str) -> None:
    rules = MappingSpec.model_validate(PRESETS[preset].usual_mapping).rules()
    assert {rule.on_error for target, rule in rules if target in {"phone", "linked_in", "twitter"}} == {"skip"}
