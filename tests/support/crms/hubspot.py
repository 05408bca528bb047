"""HubSpot: three generations of signatures, all with the app's client secret."""

import base64
import hashlib
import json
from datetime import datetime
from typing import Final

from tests.support.crm import TEXT_SECRETS, URL, Crm, listed, mac


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
_WORKFLOW: Final = json.dumps(
    {
        "vid": 991,
        "portal-id": 24519873,
        "is-contact": True,
        "properties": {
            "firstname": {"value": "Amara", "versions": [{"value": "Amara", "timestamp": 1772443798120}]},
            "lastmodifieddate": {"value": "1772443798120"},
        },
    }
).encode()
CRMS: Final = (
    Crm(
        name="hubspot v3",
        preset="hubspot",
        secrets=TEXT_SECRETS,
        auth=lambda secrets: {"secret": secrets},
        sign=hubspot_v3,
        body=_HUBSPOT,
        batch=listed,
        incidental=frozenset({"x-hubspot-signature-version"}),
    ),
    Crm(
        name="hubspot v2",
        preset="hubspot",
        secrets=TEXT_SECRETS,
        auth=lambda secrets: {"secret": secrets, "versions": ["v2"]},
        sign=lambda secret, body, _at: hubspot_v2(secret, body),
        body=_HUBSPOT,
        batch=listed,
        incidental=frozenset({"x-hubspot-signature-version"}),
        covers_time=False,
    ),
    Crm(
        name="hubspot workflow",
        preset="hubspot",
        secrets=TEXT_SECRETS,
        auth=lambda secrets: {"secret": secrets, "versions": ["v2"]},
        sign=lambda secret, body, _at: hubspot_v2(secret, body),
        body=_WORKFLOW,
        incidental=frozenset({"x-hubspot-signature-version"}),
        covers_time=False,
    ),
)
