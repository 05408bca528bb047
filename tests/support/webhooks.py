"""Webhooks as three CRMs send them about one person each time, signed by the tests' own code."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from tests.support.crm import basic
from tests.support.crms.generic import plain_hmac
from tests.support.crms.hubspot import hubspot_v3

PUBLIC_URL: Final = "https://hooks.northwind.example"
PIPEDRIVE_PASSWORD: Final = "pd-7f3a9c51e0b24d68"
HUBSPOT_SECRET: Final = "hs-0c6d1b7e-4f52-4a7e-9d1c-2b8f5e6a7c90"
HELPDESK_SECRET: Final = "hd-e41b9f60a7d34c02"
SECRETS: Final = {
    "PIPEDRIVE_PASSWORD": PIPEDRIVE_PASSWORD,
    "HUBSPOT_SECRET": HUBSPOT_SECRET,
    "HELPDESK_SECRET": HELPDESK_SECRET,
}

GRACE: Final = "grace.okafor@harbour-analytics.example"
GRACE_UUID: Final = "con_36399f04-7686-11ee-86f6-8727560009c2"
JUERGEN: Final = "j.brandt@nordwind-logistik.example"
JUERGEN_UUID: Final = "con_6f0b7208-7690-11ee-8857-9f75f1321afd"
ANA: Final = "ana.ferreira@kite-and-co.example"
ANA_UUID: Final = "con_e07fc356-749e-11ee-bd40-9fcb07f4aeda"

CONFIGURATION: Final = """\
sources:
  pipedrive:
    preset: pipedrive
    auth: {username: crm, password: "${PIPEDRIVE_PASSWORD}"}
    resolve: [link, {email: "emails[?primary].value"}]
    preset_mapping: false
    mapping:
      first_name: first_name
      last_name: last_name
      title: {from: job_title, transform: [trim]}
      phone: {from: "phones[?primary].value", transform: [{e164: GB}]}
      custom:
        Lifecycle: {from: label, map: {"1": Lead, "2": Customer}}
        Favourite colour: favourite_colour
  hubspot:
    preset: hubspot
    auth: {secret: "${HUBSPOT_SECRET}"}
    resolve: [link, {email: email}]
    preset_mapping: false
    mapping:
      first_name: firstname
      last_name: lastname
      email: {from: email, transform: [lower]}
      title: jobtitle
      custom:
        Region: {from: region, transform: [upper]}
  helpdesk:
    preset: generic
    auth:
      verify: {scheme: hmac, secret: "${HELPDESK_SECRET}", header: X-Signature, prefix: "sha256="}
    parse: {format: json, event_id: id, object_id: contact.id, occurred_at: at, values: contact}
    resolve: [link, {email: email}]
    mapping:
      first_name: first_name
      last_name: last_name
      title: title
      custom:
        Newsletter: {from: newsletter, transform: [to_bool]}
"""
"""All three presets, one account."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """One signed request: where it goes, and everything in it."""

    target: str
    headers: dict[str, str]
    body: bytes = field(repr=False)

    def changed(self, body: bytes) -> "Webhook":
        """Return the same request with another body under the old signature."""
        return replace(self, body=body)


def pipedrive(  # one keyword for each thing that a webhook may vary in
    person: int,
    event: str,
    at: datetime,
    *,
    email: str | None = GRACE,
    password: str = PIPEDRIVE_PASSWORD,
    source: str = "pipedrive",
    **record: Any,  # noqa: ANN401  # any field of a person
) -> Webhook:
    """A webhook v2 about a person, with HTTP Basic."""
    emails = {} if email is None else {"emails": [{"label": "work", "value": email, "primary": True}]}
    document = {
        "meta": {
            "action": "change",
            "entity": "person",
            "entity_id": str(person),
            "id": event,
            "timestamp": at.isoformat(),
            "company_id": "7401283",
            "version": "2.0",
            "attempt": 1,
        },
        "data": {"id": person, **emails, **record},
        "previous": {},
    }
    return Webhook(f"/webhooks/{source}", basic("crm", password), json.dumps(document).encode())


def hubspot_event(record: int, name: str, value: str, at: datetime, *, number: int = 1) -> dict[str, Any]:
    """One property change of a contact."""
    return {
        "eventId": number,
        "subscriptionId": 25,
        "portalId": 24519873,
        "occurredAt": round(at.timestamp() * 1000),
        "subscriptionType": "contact.propertyChange",
        "attemptNumber": 0,
        "objectId": record,
        "propertyName": name,
        "propertyValue": value,
        "changeSource": "CRM_UI",
    }


def hubspot(
    events: list[dict[str, Any]], now: datetime, *, query: str = "", base: str = PUBLIC_URL, source: str = "hubspot"
) -> Webhook:
    """A batch, signed with version 3 for the public address."""
    return hubspot_body(json.dumps(events).encode(), now, query=query, base=base, source=source)


def hubspot_body(
    body: bytes, now: datetime, *, query: str = "", base: str = PUBLIC_URL, source: str = "hubspot"
) -> Webhook:
    """Any body, signed as HubSpot does."""
    target = f"/webhooks/{source}{query}"
    return Webhook(target, hubspot_v3(HUBSPOT_SECRET, body, now, url=base + target), body)


def helpdesk(  # as pipedrive
    contact: str,
    event: str,
    at: datetime | None,
    *,
    email: str | None = ANA,
    **record: Any,  # noqa: ANN401  # any field of a contact
) -> Webhook:
    """An event of a CRM that only configuration describes."""
    emails = {} if email is None else {"email": email}
    document: dict[str, Any] = {"id": event, "contact": {"id": contact, **emails, **record}}
    return helpdesk_body(json.dumps(document if at is None else document | {"at": at.isoformat()}).encode())


def helpdesk_body(body: bytes) -> Webhook:
    """Any body, signed as the helpdesk does."""
    return Webhook("/webhooks/helpdesk", plain_hmac(HELPDESK_SECRET, body), body)
