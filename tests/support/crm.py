"""CRMs on the other side of the wire: they sign with their own code and never import a source's."""

import base64
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


TEXT_SECRETS: Final = ("8f2c7a1d-current", "3b9e6d40-next", "d41d8cd9-retired")


@dataclass(frozen=True, slots=True)
class Crm:
    """One CRM with one way to prove itself, as the contract of every source is tried on it."""

    name: str
    preset: str
    secrets: tuple[str, str, str]
    auth: Callable[[list[str]], dict[str, Any]]
    sign: Callable[[str, bytes, datetime], dict[str, str]]
    body: bytes
    """One event, without a credential: the change of the contact 991, whose first name becomes Amara."""
    parse: Mapping[str, Any] | None = None
    covers_body: bool = True
    covers_time: bool = True
    url: Callable[[str], str] = lambda _secret: URL
    """The address that the CRM was given, for a secret that stands in it."""
    seal: Callable[[str, bytes], bytes] = lambda _secret, body: body
    """Puts a secret into the body, where that is its place."""
    content_type: str = "application/json"
    incidental: frozenset[str] = frozenset()
    """Headers of a request that prove nothing."""
    batch: Callable[[bytes, int], bytes] | None = None
    """Makes a body of so many events from that of one, where a request may have several."""
    mark: bytes = b"Amara"
    """Something in the body: the contact's first name, or of an event without values, whatever else it has."""
    breaks: tuple[bytes, bytes] = (b'"Amara"', b'"Amara')
    """What to replace by what, so that the body can no longer be read."""
    has_values: bool = True
    tells_time: bool = True
    tells_creation: bool = True
    signs_samples: bool = True
    """Whether the service can sign as the CRM does: not where the private key is the CRM's alone."""
    accepts: bytes = b'{"accepted":3,"duplicates":1}'
    """What is answered when three changes are new and one was known."""

    def source(self, *secrets: str) -> Source[Any]:
        """Return the source that accepts these secrets."""
        return build(self.preset, self.auth(list(secrets)), self.parse)

    def request(self, secret: str, *, at: datetime = NOW, body: bytes | None = None) -> InboundRequest:
        """Return what the CRM sends with a secret at a time."""
        sent = self.seal(secret, self.body if body is None else body)
        headers = {"content-type": self.content_type, **self.sign(secret, sent, at)}
        return post(sent, headers, url=self.url(secret))

    @property
    def bare(self) -> InboundRequest:
        """What somebody sends who has no secret at all."""
        return post(self.body, {"content-type": self.content_type})

    @property
    def proofs(self) -> list[str]:
        """The headers that prove a request."""
        return sorted(set(self.request(self.secrets[0]).headers) - {"content-type"} - self.incidental)


def listed(body: bytes, count: int) -> bytes:
    """Return a JSON list that has the event of a body so many times."""
    event = json.loads(body)
    return json.dumps((event if isinstance(event, list) else [event]) * count).encode()


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
