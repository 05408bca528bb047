"""One table turns errors into answers, and an answer tells a stranger no more than the kind."""

import json
from http import HTTPStatus

import pytest

from service.errors import (
    AccessDenied,
    ConfigError,
    NotFound,
    Overloaded,
    ParseError,
    ServiceError,
    StoreError,
    StoreUnavailable,
    TooLarge,
    UnknownSource,
    UnsupportedVersion,
    VerificationError,
)
from service.web.problems import problem, status_of

STATUSES = [
    (UnknownSource("x"), 404),
    (VerificationError("x"), 401),
    (TooLarge("x"), 413),
    (ParseError("x"), 400),
    (UnsupportedVersion("x"), 422),
    (Overloaded("x"), 503),
    (StoreUnavailable("x"), 503),
    (StoreError("x"), 500),
    (NotFound("x"), 404),
    (ConfigError(()), 422),
    (AccessDenied("x"), 401),
    (ServiceError("x"), 500),
]


@pytest.mark.parametrize(("error", "status"), STATUSES, ids=lambda value: type(value).__name__)
def test_every_error_has_its_status(error: ServiceError, status: int) -> None:
    """A 4xx says that sending it again is useless, a 5xx that it is not."""
    assert status_of(error) is HTTPStatus(status)
    answer = problem(error)
    assert answer.media_type == "application/problem+json"
    assert json.loads(bytes(answer.body))["type"] == f"urn:crm-to-chartmogul:{error.name}"
    assert ("retry-after" in answer.headers) == (status == 503)


def test_the_cause_is_not_for_strangers() -> None:
    error = VerificationError("the v3 signature is wrong", hint="check the client secret")
    assert b"v3" not in bytes(problem(error).body)
    assert b"secret" not in bytes(problem(error).body)
