"""Every way to prove a sender that is under the contract, and those of forms, which only the generic preset reads."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any, Final
from urllib.parse import quote

from service.sources.base import Source
from tests.support.crm import TEXT_SECRETS, URL, Crm, fixture, fixtures
from tests.support.crms import CRMS
from tests.support.crms.generic import plain_hmac

_FORM: Final = (
    b"id=evt_01J9&type=contact.updated&at=2026-03-02T09%3A29%3A58Z&contact%5Bid%5D=991"
    b"&contact%5Bfirst_name%5D=Amara&contact%5Bemail%5D=amara.okafor%40northwind.example"
    b"&contact%5Bfields%5D%5B39%5D=%7C%7CFinance%7C%7C&contact%5Btags%5D%5B%5D=renewal"
)
_EVENT: Final = {
    "event_id": "id",
    "object_id": "contact.id",
    "action": "type",
    "occurred_at": "at",
    "values": "contact",
}
_TWO: Final = {
    "key": "evt_01J9",
    "sent": {
        "events": [
            {
                "contact": {"id": 991, "first_name": "Amara"},
                "changed": ["first_name"],
                "before": {"first_name": "Amra"},
            },
            {"contact": {"id": 992, "first_name": "Jürgen"}, "kind": "contact", "type": "merged"},
        ]
    },
}
_BATCH: Final = {
    "events": "sent.events",
    "object_id": "contact.id",
    "object_type": "kind",
    "action": "type",
    "values": "contact",
    "previous": "before",
    "changed_fields": "changed",
}


def _way(name: str, verify: Callable[[list[str]], dict[str, Any]], **rest: Any) -> Crm:  # noqa: ANN401  # as Crm has them
    about = {"preset": "generic", "secrets": TEXT_SECRETS, "sign": lambda _secret, _body, _at: {}, **rest}
    return Crm(name=f"generic {name}", auth=lambda secrets: {"verify": verify(secrets)}, covers_time=False, **about)


def _in_form(secret: str, body: bytes) -> bytes:
    return body + b"&auth%5Btoken%5D=" + quote(secret).encode()


def _in_json(secret: str, body: bytes) -> bytes:
    document = json.loads(body)
    return json.dumps({**document, "token": secret}).encode() if isinstance(document, dict) else body


WAYS: Final[tuple[Crm, ...]] = (
    *CRMS,
    _way(
        "form",
        lambda secrets: {"scheme": "hmac", "secret": secrets, "header": "X-Signature", "prefix": "sha256="},
        sign=lambda secret, body, _at: plain_hmac(secret, body),
        body=_FORM,
        parse=_EVENT | {"format": "form"},
        content_type="application/x-www-form-urlencoded",
    ),
    _way(
        "form with token",
        lambda secrets: {"scheme": "token", "token": secrets, "field": "auth.token"},
        seal=_in_form,
        body=_FORM,
        parse=_EVENT | {"format": "form"},
        content_type="application/x-www-form-urlencoded",
        covers_body=False,
    ),
    _way(
        "list with token",
        lambda secrets: {"scheme": "token", "token": secrets, "field": "token"},
        seal=_in_json,
        body=json.dumps(_TWO).encode(),
        parse=_BATCH,
        covers_body=False,
    ),
    _way(
        "token in the address",
        lambda secrets: {"scheme": "token", "token": secrets, "query": "key"},
        url=lambda secret: f"{URL}&key={secret}",
        body=json.dumps(_TWO).encode(),
        parse=_BATCH,
        covers_body=False,
    ),
)


_BY_NAME: Final = {way.name: way for way in WAYS}


def source_of(way: Crm) -> Source[Any]:
    """Return the source that accepts the first two of the secrets."""
    return _source(way.name)


def bodies_of(way: Crm) -> tuple[bytes, ...]:
    """Return the bodies to begin with: the one under the contract, and those of the preset's examples."""
    return _bodies(way.name)


@cache
def _source(name: str) -> Source[Any]:
    way = _BY_NAME[name]
    return way.source(*way.secrets[:2])


@cache
def _bodies(name: str) -> tuple[bytes, ...]:
    way = _BY_NAME[name]
    # The examples of the generic preset are each read in a way of their own.
    examples = () if way.preset == "generic" else fixtures(way.preset)
    return (way.body, *(fixture(way.preset, example)[0].body for example in examples))
