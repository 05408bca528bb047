"""Close: a signature of time and body, by a key that is written in hex."""

import json
from datetime import datetime
from typing import Final

from tests.support.crm import Crm, mac

KEY: Final = "058bfb6a3d8cfdc4da7c3be5901b16ae11da982b46a25fb2cd7016e97a140a1c"
"""A key in the form that Close gives it."""


def close(secret: str, body: bytes, at: datetime) -> dict[str, str]:
    """Return Close's two headers."""
    timestamp = str(int(at.timestamp()))
    digest = mac(bytes.fromhex(secret), timestamp.encode(), body)
    return {"close-sig-hash": digest.hex(), "close-sig-timestamp": timestamp}


_CLOSE: Final = json.dumps(
    {
        "event": {
            "id": "ev_2sYKRjcrA79yKxi3S4Crd7",
            "object_type": "contact",
            "object_id": "991",
            "action": "updated",
            "changed_fields": ["date_updated", "name"],
            "previous_data": {"name": "Amra Okafor"},
            "data": {"id": "991", "name": "Amara", "emails": [{"type": "office", "email": "amara@okafor.example"}]},
            "date_created": "2026-03-02T09:29:51.395000",
            "date_updated": "2026-03-02T09:29:58.120000",
            "organization_id": "orga_XbVPx5fFbKlYTz9PW5Ih1XDhViV10YihIaEgMEb6fVW",
            "user_id": "user_N6KhMpzHRCYQHdn4gRNIFNN5JExnsrprKA6ekxM63XA",
        },
        "subscription_id": "whsub_8AmjKCZYT3zI8eZoi4HhFC",
    }
).encode()
CRMS: Final = (
    Crm(
        name="close",
        preset="close",
        secrets=(KEY, "9f0e" * 16, "d41d" * 16),
        auth=lambda secrets: {"secret": secrets},
        sign=close,
        body=_CLOSE,
    ),
)
