"""A diagnosis as tests ask for it, and what can happen to a request on its way."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.model import InboundRequest
from service.operations.proof import Diagnosis, diagnose
from service.sources.base import Source
from tests.support.crm import NOW, Crm
from tests.support.crms import CRMS

HOST = "hooks.northwind.example"
PUBLIC_URL = f"https://{HOST}"
TARGET = "/webhooks/crm?portal=24519873"
BY_NAME = {crm.name: crm for crm in CRMS}
HUBSPOT, TOKEN, HMAC = BY_NAME["hubspot v3"], BY_NAME["generic token"], BY_NAME["generic hmac"]


def why(
    crm: Crm,
    request: InboundRequest,
    *,
    secret: str | None = None,
    public_url: str | None = None,
    others: Mapping[str, Source[Any]] | None = None,
) -> Diagnosis:
    """Diagnose a request to a source that knows one secret of the CRM."""
    sources = {"crm": crm.source(secret or crm.secrets[0]), **(others or {})}
    found = diagnose(sources, "crm", request, public_url=public_url, now=NOW)
    told = f"{found!r}"
    for each in (*crm.secrets, "Amara", "amara.okafor"):
        assert each not in told
    return found


def names(found: Diagnosis) -> list[tuple[str, ...]]:
    """The causes of each explanation, by name."""
    assert found.refusal is not None
    return [tuple(cause.name for cause in causes) for causes in found.explanations]


def at(url: str) -> Callable[[InboundRequest], InboundRequest]:
    return lambda request: replace(request, url=url)


def saying(change: Callable[[bytes], bytes]) -> Callable[[InboundRequest], InboundRequest]:
    return lambda request: replace(request, body=change(request.body))


def anew(**options: Any) -> Callable[[bytes], bytes]:  # noqa: ANN401  # as json.dumps takes them
    return lambda body: json.dumps(json.loads(body), **options).encode()


def hearing(**headers: str) -> Callable[[InboundRequest], InboundRequest]:
    added = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: replace(request, headers={**request.headers, **added})


@dataclass(frozen=True, slots=True)
class Damage:
    """What happens to a request on its way, and the name of that as a cause."""

    cause: str
    do: Callable[[InboundRequest], InboundRequest]

    def __call__(self, request: InboundRequest) -> InboundRequest:
        """Return the request as it came through."""
        return self.do(request)
