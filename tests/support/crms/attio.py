"""Attio: a signature of the body alone, and events without values."""

import json
from typing import Final

from tests.support.crm import TEXT_SECRETS, Crm, mac

PEOPLE: Final = "97052eb9-e65e-443f-a297-f2d9a4a7f795"
"""The id of the object people in the workspace of the tests."""


def attio(secret: str, body: bytes, *, message: str = "0d7b6a52-3f0e-4c1b-8a3e-6f2f5f1c9d40") -> dict[str, str]:
    """Return Attio's signature, without its copy, and the id of the message."""
    return {"attio-signature": mac(secret.encode(), body).hex(), "idempotency-key": message}


def batch_of(body: bytes, count: int) -> bytes:
    """Return a delivery that has the event of a body so many times."""
    document = json.loads(body)
    return json.dumps(document | {"events": document["events"] * count}).encode()


_ATTIO: Final = json.dumps(
    {
        "webhook_id": "23e42eaf-323a-41da-b5bb-fd67eebda553",
        "events": [
            {
                "event_type": "record.updated",
                "id": {
                    "workspace_id": "14beef7a-99f7-4534-a87e-70b564330a4c",
                    "object_id": PEOPLE,
                    "record_id": "991",
                    "attribute_id": "41252299-f8c7-4b5e-99c9-4ff8321d2f96",
                },
                "actor": {"type": "workspace-member", "id": "50cf242c-7fa3-4cad-87d0-75b1af71c57b"},
            }
        ],
    }
).encode()
CRMS: Final = (
    Crm(
        name="attio",
        preset="attio",
        secrets=TEXT_SECRETS,
        auth=lambda secrets: {"secret": secrets},
        sign=lambda secret, body, _at: attio(secret, body),
        body=_ATTIO,
        parse={"people_object": PEOPLE},
        covers_time=False,
        incidental=frozenset({"idempotency-key"}),
        batch=batch_of,
        mark=b"workspace-member",
        breaks=(b'"workspace-member"', b'"workspace-member'),
        has_values=False,
        tells_time=False,
    ),
)
