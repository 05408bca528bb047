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


def answer(status: HTTPStatus, name: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """Make a problem+json answer."""
    body = {
        "type": f"urn:crm-to-chartmogul:{name}",
        "title": _TITLES.get(status, status.phrase),
        "status": status.value,
    }
    return Response(orjson.dumps(body), status, headers, media_type="application/problem+json")


def problem_handlers() -> dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]]:
    """Give FastAPI the same form of answer for what never reaches a handler of ours."""

    async def http(_request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        return answer(status, status.name.lower(), headers=error.headers)

    async def fault(request: Request, error: Exception) -> Response:
        log.error("fault", path=request.url.path, cause=type(error).__name__)  # not its text, which may hold a value
        return answer(HTTPStatus.INTERNAL_SERVER_ERROR, "fault")

    return {HTTPException: http, Exception: fault}
