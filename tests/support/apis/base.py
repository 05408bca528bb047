"""What every fake read API is: records as the vendor keeps them, and an answer to each request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One call as it arrived: header names in lower case, the path still percent-encoded, without its query."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """What the CRM answers: ``document`` as JSON, or no body where it is None."""

    status: int
    document: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class FakeApi(Protocol):
    """A CRM's contacts API. It checks credentials, method, path and parameters as strictly as the vendor does."""

    credentials: Mapping[str, str]
    """What goes under ``read_back`` in the configuration, so that this API accepts it."""
    records: dict[str, dict[str, Any]]
    """What it holds by id, as the vendor's API gives it; what is deleted is gone."""

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer a call as the vendor would, refusals in the vendor's own shape included."""
