"""Makes correctly signed sample webhooks of a configured source, and sends them to a running service."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import httpx

from service.model import InboundRequest, Record
from service.pipeline import ConfiguredSource
from service.sources.base import Sample

TIMEOUT_S: Final = 15.0
PERSON: Final[Record] = {
    "first_name": "Grace",
    "last_name": "Okafor",
    "email": "grace.okafor@harbour-analytics.example",
    "phone": "+44 20 7946 0018",
    "title": "Chief Operating Officer",
}
"""Whom a sample is about, unless told otherwise; the sandbox knows her."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service answered."""

    status: int
    body: str


def sample_request(
    configured: ConfiguredSource,
    *,
    public_url: str,
    now: datetime,
    fields: Record | None = None,
    object_id: str = "4711",
    event_id: str | None = None,
    at: datetime | None = None,
) -> InboundRequest:
    """Make the request that the source's CRM would send about a person, signed for the public address."""
    sample = Sample(
        object_id=object_id,
        event_id=event_id or secrets.token_hex(8),
        at=at or now,
        fields=PERSON if fields is None else fields,
    )
    return configured.source.sample(sample, url=f"{public_url}/webhooks/{configured.name}", now=now)


def send(client: httpx.Client, request: InboundRequest, *, service_url: str) -> Answer:
    """Send a made request to the service, wherever the address that it is signed for leads."""
    _, _, target = request.url.partition("/webhooks/")
    headers: Mapping[str, str] = request.headers
    response = client.request(
        request.method, f"{service_url}/webhooks/{target}", headers=headers, content=request.body, timeout=TIMEOUT_S
    )
    return Answer(response.status_code, response.text)
