"""Intercom: HMAC-SHA1 of the body with the app's client secret."""

import json
from typing import Final

from tests.support.crm import TEXT_SECRETS, Crm, mac


def intercom_signature(secret: str, body: bytes) -> dict[str, str]:
    """Return Intercom's header."""
    return {"x-hub-signature": "sha1=" + mac(secret.encode(), body, algorithm="sha1").hex()}


_INTERCOM: Final = json.dumps(
    {
        "type": "notification_event",
        "app_id": "nw4tq2d7",
        "data": {
            "type": "notification_event_data",
            "item": {
                "type": "contact",
                "id": "991",
                "workspace_id": "nw4tq2d7",
                "external_id": "4711",
                "role": "user",
                "email": "amara.okafor@northwind.example",
                "name": "Amara",
                "updated_at": "2026-03-02T09:29:58.120+00:00",
                "custom_attributes": {"plan": "Scale"},
            },
        },
        "id": "notif_3a00c7d2-6fb0-4c0c-b089-ab44f0c9c28a",
        "topic": "contact.user.updated",
        "delivery_attempts": 1,
        "first_sent_at": 1772443798,
        "created_at": 1772443798,
    }
).encode()
CRMS: Final = (
    Crm(
        name="intercom",
        preset="intercom",
        secrets=TEXT_SECRETS,
        auth=lambda secrets: {"secret": secrets},
        sign=lambda secret, body, _at: intercom_signature(secret, body),
        body=_INTERCOM,
        covers_time=False,
    ),
)
