"""Any other CRM: one for each scheme of the generic preset."""

import base64
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from tests.support.crm import TEXT_SECRETS, Crm, basic, listed, mac


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
_STANDARD_SECRETS: Final = (
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "whsec_plJ3nmyCDGBKInavdOK15jsl0000000x",
)


def _generic(name: str, verify: Callable[[list[str]], dict[str, Any]], **rest: Any) -> Crm:  # noqa: ANN401  # as Crm has them
    settings = {"secrets": TEXT_SECRETS, "body": _PERSON, "parse": _PARSE, "batch": listed, **rest}
    return Crm(name=f"generic {name}", preset="generic", auth=lambda secrets: {"verify": verify(secrets)}, **settings)


CRMS: Final = (
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
