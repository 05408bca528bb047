"""Any other CRM: one for each scheme of the generic preset."""

import base64
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

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


def private_pem(key: PrivateKeyTypes) -> str:
    """Return a private key as PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


def public_pem(secret: str) -> str:
    """Return the public key of a private one, both as PEM; any other text as it is, as somebody may configure it."""
    if "PRIVATE KEY" not in secret:
        return secret
    public = load_pem_private_key(secret.encode(), None).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def ed25519(secret: str, body: bytes) -> str:
    """Return the base64 of a signature by a private key in PEM."""
    key = load_pem_private_key(secret.encode(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return base64.b64encode(key.sign(body)).decode("ascii")


def web_token(secret: str, at: datetime, **claims: object) -> str:
    """Return a JSON Web Token that counts for five minutes."""
    told = {"iat": at, "exp": at + timedelta(minutes=5), **claims}
    return jwt.encode({name: value for name, value in told.items() if value is not ...}, secret, algorithm="HS256")


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
_NOTIFICATION: Final = json.dumps(
    {
        "ids": [991],
        "type": "person",
        "event": "update",
        "updated_attributes": {"first_name": ["Amra", "Amara"]},
        "timestamp": "2026-03-02T09:29:58Z",
    }
).encode()
_SPLIT: Final = {
    "split": "ids",
    "object_id": "ids",
    "object_type": "type",
    "action": "event",
    "occurred_at": "timestamp",
    "values": "updated_attributes",
}
_STANDARD_SECRETS: Final = (
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "whsec_plJ3nmyCDGBKInavdOK15jsl0000000x",
)

ED25519_SECRETS: Final = tuple(
    private_pem(Ed25519PrivateKey.from_private_bytes(seed * 32)) for seed in (b"1", b"2", b"3")
)
JWT_SECRETS: Final = (
    "6d8f0b2a4c1e3f5a7b9c0d2e4f6a8b1c",
    "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "a1b2c3d4e5f60718293a4b5c6d7e8f90",
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
        "ed25519",
        lambda secrets: {
            "scheme": "asymmetric",
            "algorithm": "ed25519",
            "public_keys": [public_pem(secret) for secret in secrets],
            "header": "X-GHL-Signature",
        },
        secrets=ED25519_SECRETS,
        sign=lambda secret, body, _at: {"x-ghl-signature": ed25519(secret, body)},
        covers_time=False,
        signs_samples=False,
    ),
    _generic(
        "jwt",
        lambda secrets: {"scheme": "jwt", "secret": secrets},
        secrets=JWT_SECRETS,
        sign=lambda secret, _body, at: {"authorization": web_token(secret, at)},
        covers_body=False,
        covers_time=False,
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
    _generic(
        "request split by a list",
        lambda secrets: {"scheme": "token", "token": secrets, "header": "X-Webhook-Token"},
        sign=lambda secret, _body, _at: {"x-webhook-token": secret},
        body=_NOTIFICATION,
        parse=_SPLIT,
        batch=None,
        covers_body=False,
        covers_time=False,
    ),
)
