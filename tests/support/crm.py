"""CRMs on the other side of the wire: they sign with their own code and never import a source's."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from service.model import Change, InboundRequest
from service.sources import PRESETS
from service.sources.base import Source

NOW: Final = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
URL: Final = "https://hooks.northwind.example/webhooks/crm?portal=24519873"
DATA: Final = Path(__file__).parent.parent / "data"


def build(preset: str, auth: Mapping[str, Any] | None, parse: Mapping[str, Any] | None = None) -> Source[Any]:
    """Return a source as configuration would build it."""
    kind = PRESETS[preset]
    read = None if kind.Parse is None or parse is None else kind.Parse.model_validate(parse)
    return kind(preset, None if auth is None else kind.Auth.model_validate(auth), read)


def post(body: bytes, headers: Mapping[str, str], *, url: str = URL, method: str = "POST") -> InboundRequest:
    """Return a request as the web room hands it on."""
    return InboundRequest(method, url, {"content-type": "application/json", **headers}, body)


def mac(key: bytes, *parts: bytes, algorithm: str = "sha256") -> bytes:
    """Return an HMAC, fed part by part."""
    digest = hmac.new(key, digestmod=algorithm)
    for part in parts:
        digest.update(part)
    return digest.digest()


def basic(username: str, password: str) -> dict[str, str]:
    """Return HTTP Basic as RFC 7617 has it, in UTF-8."""
    return {"authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")}


def hubspot_v3(secret: str, body: bytes, at: datetime, *, url: str = URL, method: str = "POST") -> dict[str, str]:
    """Return HubSpot's headers of version 3."""
    timestamp = str(round(at.timestamp() * 1000))
    digest = mac(secret.encode(), method.encode(), url.encode(), body, timestamp.encode())
    return {
        "x-hubspot-signature-v3": base64.b64encode(digest).decode("ascii"),
        "x-hubspot-request-timestamp": timestamp,
    }


def hubspot_v2(secret: str, body: bytes, *, url: str = URL, method: str = "POST") -> dict[str, str]:
    """Return HubSpot's header of version 2, marked as HubSpot marks it."""
    digest = hashlib.sha256((secret + method + url).encode() + body).hexdigest()
    return {"x-hubspot-signature": digest, "x-hubspot-signature-version": "v2"}


def hubspot_v1(secret: str, body: bytes) -> dict[str, str]:
    """Return HubSpot's header of version 1, marked as HubSpot marks it."""
    digest = hashlib.sha256(secret.encode() + body).hexdigest()
    return {"x-hubspot-signature": digest, "x-hubspot-signature-version": "v1"}


def standard_webhooks(secret: str, body: bytes, at: datetime, *, message_id: str = "msg_2b7Q9") -> dict[str, str]:
    """Return the three headers of Standard Webhooks."""
    timestamp = str(int(at.timestamp()))
    digest = mac(base64.b64decode(secret.removeprefix("whsec_")), f"{message_id}.{timestamp}.".encode(), body)
    signature = "v1," + base64.b64encode(digest).decode("ascii")
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": signature}


def timed_list(secret: str, body: bytes, at: datetime) -> dict[str, str]:
    """Return a ``t=,v1=`` header, with a signature of another kind beside it."""
    timestamp = str(int(at.timestamp()))
    digest = mac(secret.encode(), timestamp.encode(), b".", body).hex()
    return {"acme-signature": f"t={timestamp},v0={'0' * 64},v1={digest}"}


def plain_hmac(secret: str, body: bytes) -> dict[str, str]:
    """Return a ``sha256=`` header over the body alone."""
    return {"x-signature": "sha256=" + mac(secret.encode(), body).hex()}


@dataclass(frozen=True, slots=True)
class Crm:
    """One CRM with one way to prove itself, as the contract of every source is tried on it."""

    name: str
    preset: str
    secrets: tuple[str, str, str]
    auth: Callable[[list[str]], dict[str, Any]]
    sign: Callable[[str, bytes, datetime], dict[str, str]]
    body: bytes
    parse: Mapping[str, Any] | None = None
    covers_body: bool = True
    covers_time: bool = True

    def source(self, *secrets: str) -> Source[Any]:
        """Return the source that accepts these secrets."""
        return build(self.preset, self.auth(list(secrets)), self.parse)

    def request(self, secret: str, *, at: datetime = NOW, body: bytes | None = None) -> InboundRequest:
        """Return what the CRM sends with a secret at a time."""
        sent = self.body if body is None else body
        return post(sent, self.sign(secret, sent, at))


def fixture(crm: str, name: str) -> tuple[InboundRequest, Any]:
    """Return a request made after the vendor's documentation, and what is expected of it."""
    request = json.loads((DATA / crm / f"{name}.json").read_text())
    expected = json.loads((DATA / crm / f"{name}.expected.json").read_text())
    headers = {key.lower(): value for key, value in request["headers"].items()}
    return InboundRequest(request["method"], request["url"], headers, request["body"].encode()), expected


def fixtures(crm: str) -> list[str]:
    """Return the names of a CRM's example requests."""
    return sorted(path.name.removesuffix(".expected.json") for path in (DATA / crm).glob("*.expected.json"))


def as_event(change: Change) -> dict[str, Any]:
    """Return a change as ``inspect`` shows it, with the reason why it is ignored."""
    at = change.occurred_at
    return {
        "dedup_key": change.dedup_key,
        "crm_event_id": change.crm_event_id,
        "object_type": change.object_type,
        "object_id": change.object_id,
        "action": change.action.value,
        "occurred_at": None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "order_key": change.order_key,
        "changed_fields": None if change.changed_fields is None else list(change.changed_fields),
        "values": dict(change.values),
        "previous": None if change.previous is None else dict(change.previous),
        "merged_from": list(change.merged_from),
        "merged_into": change.merged_into,
        "origin": change.origin,
        "actor": change.actor,
        "tenant": change.tenant,
        "attempt": change.attempt,
        "thin": change.thin,
        "ignored": change.ignored,
    }


_PERSON: Final = json.dumps(
    {
        "id": "evt_01J9",
        "type": "contact.updated",
        "contact": {"id": 991, "email": "amara.okafor@northwind.example", "first_name": "Amara"},
        "at": "2026-03-02T09:29:58Z",
    }
).encode()
_PARSE: Final = {
    "event_id": "id",
    "object_id": "contact.id",
    "action": "type",
    "occurred_at": "at",
    "values": "contact",
}
_PIPEDRIVE: Final = json.dumps(
    {
        "meta": {
            "action": "change",
            "entity": "person",
            "entity_id": "991",
            "id": "5e1d0b1e-5d55-4a6f-8d09-0a2b3c4d5e6f",
            "timestamp": "2026-03-02T09:29:58.120Z",
            "company_id": "7401283",
            "user_id": "11250873",
            "change_source": "app",
            "attempt": 1,
        },
        "data": {"id": 991, "first_name": "Amara", "emails": [{"value": "amara.okafor@northwind.example"}]},
        "previous": {"first_name": "Amra"},
    }
).encode()
_HUBSPOT: Final = json.dumps(
    [
        {
            "eventId": 3816279340,
            "subscriptionId": 25,
            "portalId": 24519873,
            "occurredAt": 1772443798120,
            "subscriptionType": "contact.propertyChange",
            "attemptNumber": 0,
            "objectId": 991,
            "propertyName": "firstname",
            "propertyValue": "Amara",
            "changeSource": "CRM_UI",
        }
    ]
).encode()
_TEXT_SECRETS: Final = ("8f2c7a1d-current", "3b9e6d40-next", "d41d8cd9-retired")
_STANDARD_SECRETS: Final = (
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "whsec_plJ3nmyCDGBKInavdOK15jsl0000000x",
)


def _generic(name: str, verify: Callable[[list[str]], dict[str, Any]], **rest: Any) -> Crm:  # noqa: ANN401  # as Crm has them
    settings = {"secrets": _TEXT_SECRETS, "body": _PERSON, "parse": _PARSE, **rest}
    return Crm(name=f"generic {name}", preset="generic", auth=lambda secrets: {"verify": verify(secrets)}, **settings)


CRMS: Final = (
    Crm(
        name="pipedrive",
        preset="pipedrive",
        secrets=_TEXT_SECRETS,
        auth=lambda secrets: {"username": "crm", "password": secrets},
        sign=lambda secret, _body, _at: basic("crm", secret),
        body=_PIPEDRIVE,
        covers_body=False,
        covers_time=False,
    ),
    Crm(
        name="hubspot v3",
        preset="hubspot",
        secrets=_TEXT_SECRETS,
        auth=lambda secrets: {"secret": secrets},
        sign=hubspot_v3,
        body=_HUBSPOT,
    ),
    Crm(
        name="hubspot v2",
        preset="hubspot",
        secrets=_TEXT_SECRETS,
        auth=lambda secrets: {"secret": secrets, "versions": ["v2"]},
        sign=lambda secret, body, _at: hubspot_v2(secret, body),
        body=_HUBSPOT,
        covers_time=False,
    ),
    _generic(
        "hmac",
        lambda secrets: {"scheme": "hmac", "secret": secrets, "header": "X-Signature", "prefix": "sha256="},
        sign=lambda secret, body, _at: plain_hmac(secret, body),
        covers_time=False,
    ),
    _generic(
        "hmac with time",
        lambda secrets: {
            "scheme": "hmac",
            "secret": secrets,
            "header": "Acme-Signature",
            "style": "t=,v1=",
            "template": "{timestamp}.{body}",
        },
        sign=timed_list,
    ),
    _generic(
        "standard webhooks",
        lambda secrets: {"scheme": "standard_webhooks", "secret": secrets},
        secrets=_STANDARD_SECRETS,
        sign=standard_webhooks,
    ),
    _generic(
        "token",
        lambda secrets: {"scheme": "token", "token": secrets, "header": "X-Streak-Webhook-Token"},
        sign=lambda secret, _body, _at: {"x-streak-webhook-token": secret},
        covers_body=False,
        covers_time=False,
    ),
    _generic(
        "basic",
        lambda secrets: {"scheme": "basic", "username": "crm", "password": secrets},
        sign=lambda secret, _body, _at: basic("crm", secret),
        covers_body=False,
        covers_time=False,
    ),
)
"""Every way of proof that is under the contract; a preset that has none here fails the contract's own test."""
