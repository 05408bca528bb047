"""What the three CRMs of the benchmark send: their bodies, headers and proofs, in which only what must differ differs.

A template is made once; each request fills in ids and times and, where the CRM signs, the signature over them.
"""

import base64
import hashlib
import hmac
import itertools
import json
import re
import time
from collections.abc import Iterator
from typing import Any, Final

from tests.support.webhooks import HELPDESK_SECRET, HUBSPOT_SECRET, PIPEDRIVE_PASSWORD, PUBLIC_URL

BATCH: Final = 100
"""Events of one HubSpot request: https://developers.hubspot.com/docs/api/webhooks."""
HUBSPOT_CONNECTIONS: Final = 10
"""Requests that HubSpot has under way at once, unless an app asks for more."""
UUID_FIELD: Final = "9f4c1b7d20e35a68c7d1f0b2a3948e5d6c7b8a90"
"""The custom field in which this Pipedrive account keeps the uuid of the ChartMogul contact."""
SEGMENT_FIELD: Final = "8d7ab1e0b7a3b5c9e2f4a6d81b3c5e7f90a1b2c3"
PROFILE_FIELD: Final = "c05f27e8d1b94a6370e2f8b5a1d4c6937e80b2a5"
RENEWAL_FIELD: Final = "dcf558aac1ae4e8c4f849ba5e668430d8df9be12"

CONFIGURATION: Final = f"""\
sources:
  pipedrive:
    preset: pipedrive
    auth: {{username: crm, password: "${{PIPEDRIVE_PASSWORD}}"}}
    resolve: [link, {{uuid: custom_fields.{UUID_FIELD}.value}}, {{email: "emails[?primary].value"}}]
    mapping:
      first_name: {{from: first_name, transform: [trim]}}
      last_name: {{from: last_name, transform: [trim]}}
      email: {{from: "emails[?primary].value", transform: [trim, lower]}}
      phone: {{from: "phones[?primary].value", transform: [{{e164: US}}]}}
      title: {{from: [job_title, title], transform: [trim]}}
      notes: {{from: notes, transform: [strip_html, {{truncate: 2000}}], on_blank: clear}}
      linked_in: {{from: custom_fields.{PROFILE_FIELD}.value, transform: [url]}}
      custom:
        Lifecycle: {{from: "label_ids[0]", map: {{"1": Lead, "2": Customer}}, default: Other}}
        Segment: custom_fields.{SEGMENT_FIELD}.value
        Renewal: {{from: custom_fields.{RENEWAL_FIELD}.value, transform: [to_date]}}
        Full name: {{concat: [first_name, last_name], separator: " "}}
        CRM: {{const: Pipedrive}}
  hubspot:
    preset: hubspot
    auth: {{secret: "${{HUBSPOT_SECRET}}"}}
    resolve: [link, {{email: email}}]
    mapping: {{first_name: firstname, last_name: lastname, email: email, title: jobtitle}}
  helpdesk:
    preset: generic
    auth:
      verify: {{scheme: hmac, secret: "${{HELPDESK_SECRET}}", header: X-Signature, prefix: "sha256="}}
    parse: {{format: json, event_id: id, object_id: contact.id, occurred_at: created_at, values: contact}}
    resolve: [link, {{email: email}}]
    mapping: {{first_name: first_name, last_name: last_name, title: title}}
"""
"""Three sources, one account; twelve rules for a Pipedrive person."""
ATTRIBUTES: Final = ("Lifecycle", "Segment", "Renewal", "Full name", "CRM")


def pipedrive(first: int = 1) -> Iterator[bytes]:
    """Each time another person whose title has changed: one webhook v2 of about 2 KB, with HTTP Basic."""
    credentials = base64.b64encode(f"crm:{PIPEDRIVE_PASSWORD}".encode()).decode()
    proof = f"Authorization: Basic {credentials}\r\n".encode()
    for body in pipedrive_bodies(first):
        yield _request(b"pipedrive", b"Pipedrive Webhooks", proof, body)


def pipedrive_bodies(first: int = 1) -> Iterator[bytes]:
    """The bodies alone; the n-th is about the person whose contact is ``contact_uuid(n)``."""
    template = _template(_PERSON)
    for number in itertools.count(first):
        yield template % {b"n": number, b"at": _now()}


def helpdesk(first: int = 1) -> Iterator[bytes]:
    """Each time another contact: about 1 KB, signed by HMAC-SHA256 over the body."""
    template, key = _template(_TICKET), HELPDESK_SECRET.encode()
    for number in itertools.count(first):
        body = template % {b"n": number, b"at": _now()}
        signature = hmac.digest(key, body, "sha256").hex().encode()
        yield _request(b"helpdesk", b"Helpdesk-Hookshot/2", b"X-Signature: sha256=" + signature + b"\r\n", body)


def hubspot(first: int = 1) -> Iterator[bytes]:
    """Each time a batch of 100 property changes of 100 contacts, signed with version 3."""
    template, key = _template(_PROPERTY), HUBSPOT_SECRET.encode()
    signed = f"POST{PUBLIC_URL}/webhooks/hubspot".encode()
    for number in itertools.count(first, BATCH):
        now_ms = b"%d" % (time.time_ns() // 1_000_000)
        events = [template % {b"n": event, b"ms": now_ms} for event in range(number, number + BATCH)]
        body = b"[" + b",".join(events) + b"]"
        signature = base64.b64encode(hmac.new(key, signed + body + now_ms, hashlib.sha256).digest())
        proof = b"X-HubSpot-Signature-v3: %b\r\nX-HubSpot-Request-Timestamp: %b\r\n" % (signature, now_ms)
        yield _request(b"hubspot", b"HubSpot Connect 2.0", proof, body)


def _request(source: bytes, agent: bytes, proof: bytes, body: bytes) -> bytes:
    head = (
        b"POST /webhooks/%b HTTP/1.1\r\nHost: hooks.northwind.example\r\nUser-Agent: %b\r\n%b"
        b"Accept: */*\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    return head % (source, agent, proof, len(body)) + body


def _template(document: Any) -> bytes:  # noqa: ANN401  # whatever JSON can hold
    """Write a document so that ``%`` fills it in; a text ``<number …>`` becomes a JSON number."""
    text = json.dumps(document, separators=(",", ":")).replace("%(", "\0").replace("%", "%%").replace("\0", "%(")
    return re.sub(r'"<number (.*?)>"', r"\1", text).encode()


def _now() -> bytes:
    seconds, millis = divmod(time.time_ns() // 1_000_000, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%03dZ" % millis


_PERSON: Final[Any] = {
    "meta": {
        "action": "change",
        "company_id": "7401283",
        "correlation_id": "0c5e7a5b-8f53-4c27-9f6e-%(n)012d",
        "entity_id": "%(n)d",
        "entity": "person",
        "id": "30a1b8f2-60f4-4d5e-9c39-%(n)012d",
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
        "job_title": "VP Finance %(n)d",
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
_TICKET: Final[Any] = {
    "id": "evt_%(n)012d",
    "type": "contact.updated",
    "created_at": "%(at)b",
    "account": {"id": 58231, "name": "Kite & Co", "plan": "growth", "region": "eu-central-1"},
    "actor": {"type": "agent", "id": "agt_7731", "name": "Tomasz Zieliński", "locale": "pl-PL"},
    "changes": {"title": ["Finance Manager", "Head of Finance"], "updated_at": ["2026-02-27T16:40:03Z", "%(at)b"]},
    "contact": {
        "id": "cnt_%(n)012d",
        "first_name": "Ana",
        "last_name": "Ferreira",
        "title": "Head of Finance",
        "email": "ana.ferreira+%(n)d@kite-and-co.example",
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
_PROPERTY: Final[Any] = {
    "eventId": "<number %(n)d>",
    "subscriptionId": 2871301,
    "portalId": 24519873,
    "appId": 3087416,
    "occurredAt": "<number %(ms)b>",
    "subscriptionType": "contact.propertyChange",
    "attemptNumber": 0,
    "objectId": "<number %(n)d>",
    "propertyName": "email",
    "propertyValue": "person-%(n)d@nordwind-logistik.example",
    "changeSource": "CRM_UI",
    "sourceId": "userId:63543153",
}
