"""What the three CRMs of the benchmark send: their bodies, headers and proofs, in which only what must differ differs.

A template is made once; each request fills in ids and times and, where the CRM signs, the signature over them.
"""

import base64
import hashlib
import hmac
import itertools
import json
import random
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from service.model import InboundRequest
from tests.benchmarks.documents import (
    EMAIL,
    PERSON,
    PROFILE_FIELD,
    RENEWAL_FIELD,
    SEGMENT_FIELD,
    STRANGER,
    TICKET,
    TITLE,
    UUID_FIELD,
)
from tests.support.webhooks import HELPDESK_SECRET, HUBSPOT_SECRET, PIPEDRIVE_PASSWORD, PUBLIC_URL

BATCH: Final = 100
"""Events of one HubSpot request: https://developers.hubspot.com/docs/api/webhooks."""
HUBSPOT_CONNECTIONS: Final = 10
"""Requests that HubSpot has under way at once, unless an app asks for more."""

CONFIGURATION: Final = f"""\
sources:
  pipedrive:
    preset: pipedrive
    auth: {{username: crm, password: "${{PIPEDRIVE_PASSWORD}}"}}
    resolve: [link, {{uuid: custom_fields.{UUID_FIELD}.value}}, {{email: "emails[?primary].value"}}]
    preset_mapping: false
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
    preset_mapping: false
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


class Edit(NamedTuple):
    """One change of a person: it makes the title ``title(value)``."""

    person: int
    value: int
    at_ms: int


def title(value: int) -> str:
    """Return the title that an edit sets."""
    return f"VP Finance {value}"


def edits(first: int = 1) -> Iterator[Edit]:
    """Each time another person, changed just now; the n-th is the contact ``contact_uuid(n)``."""
    return (Edit(number, number, now_ms()) for number in itertools.count(first))


def answer(accepted: int = 1, duplicates: int = 0) -> bytes:
    """Return what the service answers to a request with so many new and repeated changes."""
    return b'{"accepted":%d,"duplicates":%d}' % (accepted, duplicates)


def batch_answers(changes: int, *, again: bool = False) -> list[bytes]:
    """Return what the batches are answered that so many changes make: full ones, and one with the rest."""
    sizes = [size for size in (BATCH, changes % BATCH) if 0 < size <= changes]
    return [answer(0, size) if again else answer(size) for size in sizes]


def pipedrive(changes: Iterable[Edit], *, known: bool = True) -> Iterator[bytes]:
    """Each as one webhook v2 of about 2 KB, with HTTP Basic; unless ``known``, without the uuid of the contact."""
    credentials = base64.b64encode(f"crm:{PIPEDRIVE_PASSWORD}".encode()).decode()
    proof = f"Authorization: Basic {credentials}\r\n".encode()
    for body in _documents([PERSON if known else STRANGER], changes):
        yield _request(b"pipedrive", b"Pipedrive Webhooks", proof, body)


def helpdesk(changes: Iterable[Edit]) -> Iterator[bytes]:
    """Each as one webhook of about 1 KB, signed by HMAC-SHA256 over the body."""
    key = HELPDESK_SECRET.encode()
    for body in _documents([TICKET], changes):
        signature = hmac.digest(key, body, "sha256").hex().encode()
        yield _request(b"helpdesk", b"Helpdesk-Hookshot/2", b"X-Signature: sha256=" + signature + b"\r\n", body)


def hubspot(changes: Iterable[Edit], *, properties: Sequence[Any] = (EMAIL,), size: int = BATCH) -> Iterator[bytes]:
    """In batches of up to 100 property changes, signed with version 3; each edit is one of each of the properties."""
    key = HUBSPOT_SECRET.encode()
    signed = f"POST{PUBLIC_URL}/webhooks/hubspot".encode()
    events = _documents(properties, changes)
    while batch := list(itertools.islice(events, size)):
        sent_ms = b"%d" % now_ms()
        body = b"[" + b",".join(batch) + b"]"
        signature = base64.b64encode(hmac.new(key, signed + body + sent_ms, hashlib.sha256).digest())
        proof = b"X-HubSpot-Signature-v3: %b\r\nX-HubSpot-Request-Timestamp: %b\r\n" % (signature, sent_ms)
        yield _request(b"hubspot", b"HubSpot Connect 2.0", proof, body)


def hubspot_titles(changes: Iterable[Edit]) -> Iterator[bytes]:
    """The same with a change of the title; whose contact that is must be known already."""
    return hubspot(changes, properties=(TITLE,))


def hubspot_people(changes: Iterable[Edit]) -> Iterator[bytes]:
    """The same with both the email, by which the contact is found, and the title: two changes of each person."""
    return hubspot(changes, properties=(EMAIL, TITLE))


def inbound(request: bytes) -> InboundRequest:
    """Read a request as the web room hands it on."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return InboundRequest("POST", PUBLIC_URL + first.split(" ")[1], headers, body)


def now_ms() -> int:
    """Return the time as the vendors write it."""
    return time.time_ns() // 1_000_000


def raw_request(target: bytes, headers: bytes, body: bytes) -> bytes:
    """Return a request as it goes over the wire; each of the headers ends its line."""
    head = b"POST %b HTTP/1.1\r\nHost: hooks.northwind.example\r\n%bAccept: */*\r\nContent-Length: %d\r\n\r\n"
    return head % (target, headers, len(body)) + body


def filled(templates: Sequence[bytes], changes: Iterable[Edit]) -> Iterator[bytes]:
    """Fill each template in for each edit."""
    for person, value, at_ms in changes:
        seconds, millis = divmod(at_ms, 1000)
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%03dZ" % millis
        for template in templates:
            drawn = random.getrandbits(128)
            digits = f"{drawn:032x}"
            uuid = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}".encode()
            fillings = {b"n": person, b"value": value, b"at": at, b"ms": at_ms, b"id": uuid, b"number": drawn >> 97}
            yield template % fillings


def _request(source: bytes, agent: bytes, proof: bytes, body: bytes) -> bytes:
    headers = b"User-Agent: %b\r\n%bContent-Type: application/json\r\n" % (agent, proof)
    return raw_request(b"/webhooks/" + source, headers, body)


def _documents(documents: Sequence[Any], changes: Iterable[Edit]) -> Iterator[bytes]:
    return filled([_template(document) for document in documents], changes)


def _template(document: Any) -> bytes:  # noqa: ANN401  # whatever JSON can hold
    """Write a document so that ``%`` fills it in; a text ``<number …>`` becomes a JSON number."""
    text = json.dumps(document, separators=(",", ":")).replace("%(", "\0").replace("%", "%%").replace("\0", "%(")
    return re.sub(r'"<number (.*?)>"', r"\1", text).encode()
