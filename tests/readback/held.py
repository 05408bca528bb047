"""Contacts as each CRM's API has them, to be put into its fake and read back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

NAME: Final = "Amara"
EMAIL: Final = "amara.okafor@northwind.example"


@dataclass(frozen=True, slots=True)
class Held:
    """Ids of a CRM's own kind, the record of one, and to whom its hosts belong."""

    first: str
    second: str
    gone: str
    record: Callable[[str], dict[str, Any]]
    fields: tuple[str, ...]
    domains: tuple[str, ...]


def _attio(record_id: str) -> dict[str, Any]:
    name = {"attribute_type": "personal-name", "first_name": NAME, "last_name": "Okafor"}
    return {
        "id": {"workspace_id": "14beef7a-99f7-4534-a87e-70b564330a4c", "record_id": record_id},
        "values": {"name": [name], "email_addresses": [{"email_address": EMAIL}], "phone_numbers": []},
    }


def _close(contact_id: str) -> dict[str, Any]:
    return {
        "id": contact_id,
        "lead_id": "lead_zwqYhEFwzPyfCErS8uQ77is2wFLvr9BgVi6cTfbFM68",
        "name": NAME,
        "title": "VP Finance",
        "emails": [{"type": "office", "email": EMAIL, "is_unsubscribed": False}],
        "phones": [],
        "date_updated": "2026-03-02T09:29:58.118000+00:00",
    }


def _dataverse(contact_id: str) -> dict[str, Any]:
    return {
        "@odata.etag": 'W/"1837219"',
        "contactid": contact_id,
        "firstname": NAME,
        "emailaddress1": EMAIL,
        "modifiedon": "2026-03-02T09:29:58Z",
    }


def _hubspot(contact_id: str) -> dict[str, Any]:
    return {
        "id": contact_id,
        "properties": {"firstname": NAME, "email": EMAIL, "lastmodifieddate": "2026-03-02T09:29:58.120Z"},
        "createdAt": "2025-11-04T14:02:11.300Z",
        "updatedAt": "2026-03-02T09:29:58.120Z",
        "archived": False,
    }


def _intercom(contact_id: str) -> dict[str, Any]:
    return {
        "type": "contact",
        "id": contact_id,
        "role": "user",
        "name": NAME,
        "email": EMAIL,
        "updated_at": 1772443798,
        "custom_attributes": {"plan": "Scale"},
    }


def _pipedrive(person_id: str) -> dict[str, Any]:
    return {
        "id": int(person_id),
        "name": f"{NAME} Okafor",
        "first_name": NAME,
        "emails": [{"label": "work", "value": EMAIL, "primary": True}],
        "update_time": "2026-03-02T09:29:58Z",
        "custom_fields": {},
    }


def _salesforce(contact_id: str) -> dict[str, Any]:
    return {
        "attributes": {"type": "Contact", "url": f"/services/data/v61.0/sobjects/Contact/{contact_id}"},
        "Id": contact_id,
        "FirstName": NAME,
        "Email": EMAIL,
        "LastModifiedDate": "2026-03-02T09:29:58.000+0000",
    }


def _zoho(contact_id: str) -> dict[str, Any]:
    return {
        "id": contact_id,
        "First_Name": NAME,
        "Email": EMAIL,
        "Modified_Time": "2026-03-02T10:29:58+01:00",
    }


HELD: Final[Mapping[str, Held]] = {
    "attio": Held(
        first="bf071e1f-6035-429d-b874-d83ea64ea13b",
        second="3405be95-8375-46a0-bde0-03b3753f8c79",
        gone="0d7b6a52-3f0e-4c1b-8a3e-6f2f5f1c9d42",
        record=_attio,
        fields=("name", "email_addresses"),
        domains=("attio.com",),
    ),
    "close": Held(
        first="cont_BwlwYQkIP6AooiXP1CMvc6Zbb5gGh2gPu4dqIDlDrII",
        second="cont_7yQ0gF8nEq2fQw1m5L3oT9xVbZc4Ke6RjHuNsAdPiGt",
        gone="cont_P1xW8mD3rZ5yN0kJ7vQ2sT4hC6bG9fL1eA8uXoRiEwY",
        record=_close,
        fields=("name", "emails"),
        domains=("close.com",),
    ),
    "dataverse": Held(
        first="6d81597f-0f9f-e711-8122-000d3aa2331c",
        second="7e92608a-1fa0-e711-8122-000d3aa2331c",
        gone="8fa3719b-2fb1-e711-8122-000d3aa2331c",
        record=_dataverse,
        fields=("firstname", "emailaddress1"),
        domains=("dynamics.com", "microsoftonline.com", "dynamics.cn"),
    ),
    "hubspot": Held(
        first="58231190411",
        second="58231190412",
        gone="58231190499",
        record=_hubspot,
        fields=("firstname", "email"),
        domains=("hubapi.com",),
    ),
    "intercom": Held(
        first="69a1b3c4d5e6f70819202a3b",
        second="69a1b3c4d5e6f70819202a3c",
        gone="69a1b3c4d5e6f70819202a99",
        record=_intercom,
        fields=("name", "email"),
        domains=("intercom.io",),
    ),
    "pipedrive": Held(
        first="991",
        second="992",
        gone="999",
        record=_pipedrive,
        fields=("first_name", "emails"),
        domains=("pipedrive.com",),
    ),
    "salesforce": Held(
        first="0035e00000ZkM3hAAF",
        second="0035e00000ZkM3iAAF",
        gone="0035e00000ZkM3jAAF",
        record=_salesforce,
        fields=("FirstName", "Email"),
        domains=("salesforce.com",),
    ),
    "zoho": Held(
        first="6756839000000575405",
        second="6756839000000575406",
        gone="6756839000000575499",
        record=_zoho,
        fields=("First_Name", "Email"),
        domains=(
            *("zohoapis.com", "zohoapis.eu", "zohoapis.in", "zohoapis.com.au", "zohoapis.jp", "zohoapis.ca"),
            *("zohoapis.com.cn", "zohoapis.sa", "zoho.com", "zoho.eu", "zoho.in", "zoho.com.au", "zoho.jp"),
            *("zohocloud.ca", "zoho.com.cn", "zoho.sa"),
        ),
    ),
}
"""By preset."""
