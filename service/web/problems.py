"""One table that turns errors into ``application/problem+json`` answers (RFC 9457)."""

from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

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

RETRY_AFTER_S: Final = 5
"""What a sender is asked to wait while the log does not take its change."""

log = structlog.get_logger("web")

_URN: Final = "urn:crm-to-chartmogul:"
_MEDIA_TYPE: Final = "application/problem+json"
_STATUSES: Final[Mapping[type[ServiceError], HTTPStatus]] = {
    UnknownSource: HTTPStatus.NOT_FOUND,
    VerificationError: HTTPStatus.UNAUTHORIZED,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedVersion: HTTPStatus.UNPROCESSABLE_ENTITY,
    ParseError: HTTPStatus.BAD_REQUEST,
    Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    StoreError: HTTPStatus.INTERNAL_SERVER_ERROR,
    NotFound: HTTPStatus.NOT_FOUND,
    AccessDenied: HTTPStatus.UNAUTHORIZED,
    ConfigError: HTTPStatus.UNPROCESSABLE_ENTITY,
}
_TITLES: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.UNAUTHORIZED: "The sender could not be verified",
    HTTPStatus.SERVICE_UNAVAILABLE: "Not stored; send it again",
}


def status_of(error: ServiceError) -> HTTPStatus:
    """Say which status an error is answered with: the nearest of its kinds in the table, else 500."""
    for kind in type(error).__mro__:
        if kind in _STATUSES:
            return _STATUSES[kind]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def problem(error: ServiceError) -> Response:
    """Answer an error. A stranger is told the kind alone; the cause is in the log and among the refusals."""
    status = status_of(error)
    retry = {"retry-after": str(RETRY_AFTER_S)} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
    return answer(status, error.name, headers=retry)


def told(error: ServiceError, **more: Any) -> Response:  # noqa: ANN401  # whatever JSON can hold
    """Answer an error to an operator, who is told the cause, the hint and every fault; ``more`` is said beside them."""
    status = status_of(error)
    body: dict[str, Any] = {
        "type": _URN + error.name,
        "title": status.phrase,
        "status": status.value,
        "detail": error.cause,
        "hint": error.hint,
    }
    if isinstance(error, ConfigError):
        body["faults"] = error.faults
    headers = {"cache-control": "no-store"}
    if status is HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return Response(orjson.dumps(body | more), status, headers, media_type=_MEDIA_TYPE)


def answer(status: HTTPStatus, name: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """Make a problem+json answer."""
    body = {
        "type": _URN + name,
        "title": _TITLES.get(status, status.phrase),
        "status": status.value,
    }
    return Response(orjson.dumps(body), status, headers, media_type=_MEDIA_TYPE)


def problem_handlers() -> dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]]:
    """Give FastAPI the same form of answer for what never reaches a handler of ours."""

    async def http(_request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        return answer(status, status.name.lower(), headers=error.headers)

    async def ours(_request: Request, error: ServiceError) -> Response:
        return told(error)  # only an operator comes as far, or learns that they are none

    async def fault(request: Request, error: Exception) -> Response:
        route = getattr(request.scope.get("route"), "path", "")  # an address may name a person, a text hold a value
        log.error("fault", path=route, cause=type(error).__name__)
        return answer(HTTPStatus.INTERNAL_SERVER_ERROR, "fault")

    return {HTTPException: http, ServiceError: ours, Exception: fault}
