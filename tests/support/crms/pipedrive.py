"""Pipedrive: HTTP Basic and no signature."""

import json
from typing import Final

from tests.support.crm import TEXT_SECRETS, Crm, basic

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
CRMS: Final = (
    Crm(
        name="pipedrive",
        preset="pipedrive",
        secrets=TEXT_SECRETS,
        auth=lambda secrets: {"username": "crm", "password": secrets},
        sign=lambda secret, _body, _at: basic("crm", secret),
        body=_PIPEDRIVE,
        covers_body=False,
        covers_time=False,
    ),
)
