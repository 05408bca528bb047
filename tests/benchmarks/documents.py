"""The documents that the three CRMs of the benchmark send, whole as the vendors send them; ``bodies`` fills them in.

``%(n)d`` is the person, ``%(value)d`` what tells one of its changes from another, ``%(at)b`` and ``%(ms)d`` are when it
was made, ``%(id)b`` and ``%(number)d`` are ids that come in no order, as the vendors' own do.
"""

from typing import Any, Final

UUID_FIELD: Final = "9f4c1b7d20e35a68c7d1f0b2a3948e5d6c7b8a90"
"""The custom field in which this Pipedrive account keeps the uuid of the ChartMogul contact."""
SEGMENT_FIELD: Final = "8d7ab1e0b7a3b5c9e2f4a6d81b3c5e7f90a1b2c3"
PROFILE_FIELD: Final = "c05f27e8d1b94a6370e2f8b5a1d4c6937e80b2a5"
RENEWAL_FIELD: Final = "dcf558aac1ae4e8c4f849ba5e668430d8df9be12"

PERSON: Final[Any] = {
    "meta": {
        "action": "change",
        "company_id": "7401283",
        "correlation_id": "0c5e7a5b-8f53-4c27-9f6e-%(n)012d",
        "entity_id": "%(n)d",
        "entity": "person",
        "id": "%(id)b",
        "is_bulk_edit": False,
        "timestamp": "%(at)b",
        "type": "general",
        "user_id": "11250873",
        "version": "2.0",
        "webhook_id": "402117",
        "webhook_owner_id": "11250873",
        "change_source": "app",
        "permitted_user_ids": ["11250873", "11250901", "11251377"],
        "attempt": 1,
        "host": "northwind.pipedrive.com",
    },
    "data": {
        "id": "<number %(n)d>",
        "name": "Amara Okafor",
        "first_name": "Amara",
        "last_name": "Okafor",
        "job_title": "VP Finance %(value)d",
        "add_time": "2025-11-04T14:02:11Z",
        "update_time": "%(at)b",
        "owner_id": 11250873,
        "org_id": 205,
        "picture_id": None,
        "label_ids": [2],
        "visible_to": 3,
        "is_deleted": False,
        "birthday": None,
        "emails": [
            {"label": "work", "value": "Person-%(n)d@nordwind-logistik.example", "primary": True},
            {"label": "home", "value": "amara@okafor.example", "primary": False},
        ],
        "phones": [
            {"label": "mobile", "value": "+1 415 555 0132", "primary": True},
            {"label": "work", "value": "(415) 555-0199", "primary": False},
        ],
        "notes": "<p>Signs the renewals. Prefers a call in the <b>morning</b>; &quot;no surprises&quot;.</p>",
        "postal_address": {
            "value": "Speicherstadt 14, 20457 Hamburg, Germany",
            "country": "Germany",
            "admin_area_level_1": "Hamburg",
            "locality": "Hamburg",
            "route": "Speicherstadt",
            "street_number": "14",
            "postal_code": "20457",
        },
        "custom_fields": {
            UUID_FIELD: {"type": "varchar", "value": "con_%(n)08x-7686-11ee-86f6-8727560009c2"},
            PROFILE_FIELD: {"type": "varchar", "value": "linkedin.com/in/amara-okafor-%(n)d"},
            SEGMENT_FIELD: {"type": "varchar", "value": "Mid-market"},
            RENEWAL_FIELD: {"type": "date", "value": "2026-11-30"},
            "3f1e5d7c9b8a7f6e5d4c3b2a190817263544a5b6": None,
        },
    },
    "previous": {"job_title": "Controller", "update_time": "2026-02-27T16:40:03Z"},
}
STRANGER: Final[Any] = {
    **PERSON,
    "data": {**PERSON["data"], "custom_fields": {**PERSON["data"]["custom_fields"], UUID_FIELD: None}},
}
"""The same person, who must be searched by email."""
TICKET: Final[Any] = {
    "id": "evt_%(id)b",
    "type": "contact.updated",
    "created_at": "%(at)b",
    "account": {"id": 58231, "name": "Kite & Co", "plan": "growth", "region": "eu-central-1"},
    "actor": {"type": "agent", "id": "agt_7731", "name": "Tomasz Zieliński", "locale": "pl-PL"},
    "changes": {"title": ["Finance Manager", "VP Finance %(value)d"], "updated_at": ["2026-02-27T16:40:03Z", "%(at)b"]},
    "contact": {
        "id": "cnt_%(n)012d",
        "first_name": "Ana",
        "last_name": "Ferreira",
        "title": "VP Finance %(value)d",
        "email": "person-%(n)d@nordwind-logistik.example",
        "phone": "+351 21 123 4567",
        "locale": "pt-PT",
        "time_zone": "Europe/Lisbon",
        "newsletter": "yes",
        "tags": ["finance", "decision-maker", "renewal-2026"],
        "social": {"linkedin": "https://www.linkedin.com/in/ana-ferreira", "twitter": None},
        "company": {"id": "cmp_00417", "name": "Kite & Co", "billing_id": "cus_011", "domain": "kite-and-co.example"},
        "created_at": "2024-05-14T08:21:55.000Z",
        "updated_at": "%(at)b",
    },
}
EMAIL: Final[Any] = {
    "eventId": "<number %(number)d>",
    "subscriptionId": 2871301,
    "portalId": 24519873,
    "appId": 3087416,
    "occurredAt": "<number %(ms)d>",
    "subscriptionType": "contact.propertyChange",
    "attemptNumber": 0,
    "objectId": "<number %(n)d>",
    "propertyName": "email",
    "propertyValue": "person-%(n)d@nordwind-logistik.example",
    "changeSource": "CRM_UI",
    "sourceId": "userId:63543153",
}
TITLE: Final[Any] = {
    **EMAIL,
    "subscriptionId": 2871302,
    "propertyName": "jobtitle",
    "propertyValue": "VP Finance %(value)d",
}
