"""Zoho CRM: a token in the body, and no signature."""

import json
from typing import Any, Final

from tests.support.crm import TEXT_SECRETS, Crm


def zoho_sealed(token: str, body: bytes) -> bytes:
    """Return a body with its token at the end, as Zoho has it; what is no object stays as it is."""
    if not body.endswith(b"}"):
        return body
    return body[:-1] + b', "token": ' + json.dumps(token).encode() + b"}"


def _several(body: bytes, count: int) -> bytes:
    document: dict[str, Any] = json.loads(body)
    (affected,), (changed,) = document["affected_values"], document["affected_fields"]
    (names,) = changed.values()
    ids = [str(991 + index) for index in range(count)]
    document["ids"] = ids
    document["affected_values"] = [affected | {"record_id": one} for one in ids]
    document["affected_fields"] = [{one: names} for one in ids]
    return json.dumps(document).encode()


_ZOHO: Final = json.dumps(
    {
        "server_time": 1772443798120,
        "affected_values": [{"record_id": "991", "values": {"First_Name": "Amara", "Title": None}}],
        "query_params": {},
        "module": "Contacts",
        "resource_uri": "https://www.zohoapis.com/crm/v8/Contacts",
        "ids": ["991"],
        "affected_fields": [{"991": ["First_Name", "Title"]}],
        "operation": "update",
        "channel_id": "1772443000001",
    }
).encode()
CRMS: Final = (
    Crm(
        name="zoho",
        preset="zoho",
        secrets=TEXT_SECRETS,
        auth=lambda secrets: {"token": secrets},
        sign=lambda _secret, _body, _at: {},
        seal=zoho_sealed,
        body=_ZOHO,
        batch=_several,
        covers_body=False,
        covers_time=False,
    ),
)
