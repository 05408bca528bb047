"""``POST /webhooks/{source}``: read within limits, receive, answer in the sender's dialect. The hot path."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Final

import structlog
from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.errors import ParseError, RequestError, ServiceError, TooLarge, UnknownSource
from service.model import InboundRequest, Reply
from service.pipeline import ConfiguredSource, Pipeline
from service.store.refusals import Refusal, Refusals
from service.web.problems import answer, problem, status_of
from service.web.protocol import is_whole

PREFIX: Final = "/webhooks/"
HEADERS_MAX: Final = 100
"""Headers of one request."""
READ_TIMEOUT_S: Final = 15.0
"""For the whole body: a sender that drips is not waited for."""
NAMES_MAX: Final = 40
"""Header names that a refusal keeps."""
SOURCE_SHOWN_MAX: Final = 63

log = structlog.get_logger("intake")


class Hooks:
    """Receives webhooks of every source that is in force when their headers are here."""

    def __init__(
        self,
        *,
        pipeline: Pipeline,
        refusals: Refusals,
        public_url: str | None,
        body_max_bytes: int,
        wake: Callable[[], None],
        clock: Callable[[], datetime],
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self._pipeline = pipeline
        self._refusals = refusals
        self._public_url = public_url
        self._body_max_bytes = body_max_bytes
        self._wake = wake
        self._clock = clock
        self._read_timeout_s = read_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request for ``/webhooks/…``, as an ASGI application."""
        try:
            response = await self._answer(scope, receive)
        except Exception as error:  # noqa: BLE001  # nobody above tells it in our form
            log.error("fault", path=scope["path"], cause=type(error).__name__)  # noqa: TRY400  # a trace may hold a value
            response = answer(HTTPStatus.INTERNAL_SERVER_ERROR, "fault")
        if isinstance(response, Reply):
            await _tell(send, response)
        else:
            await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Reply | Response:
        name = scope["path"].removeprefix(PREFIX)
        body = b""
        configured = self._pipeline.in_force.sources.get(name)
        try:
            if configured is None:
                raise UnknownSource("no source of that name is configured", hint="see `sources` in the configuration")
            headers = _headers(scope)
            body = await self._read(headers, receive)
            request = self._inbound(scope, headers, body)
            if (greeting := configured.source.handshake(request)) is not None:
                log.info("handshake", source=name, size=len(body))
                return greeting
            if request.method != "POST":
                return answer(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", headers={"allow": "POST"})
            receipt = await self._pipeline.receive(configured, request)
        except ServiceError as error:
            return self._refuse(name, configured, scope, len(body), error)
        if receipt.accepted:
            self._wake()
        log.info(
            "received",
            source=name,
            request=receipt.request_id,
            accepted=receipt.accepted,
            duplicates=receipt.duplicates,
            size=len(body),
        )
        return configured.source.accept(accepted=receipt.accepted, duplicates=receipt.duplicates)

    async def _read(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        """Read the body within its limit, counting what arrives rather than what is announced."""
        limit = self._body_max_bytes
        announced = headers.get("content-length", "0")
        if not announced.isdecimal() or len(announced) > len(str(limit)) or int(announced) > limit:
            raise TooLarge(f"the body is larger than {limit} bytes", hint="raise BODY_MAX_BYTES")
        if is_whole(receive):  # as almost all are: then no time need be watched
            return await _body(receive, limit)
        try:
            async with asyncio.timeout(self._read_timeout_s):
                return await _body(receive, limit)
        except TimeoutError:
            raise ParseError("the body did not arrive whole") from None

    def _inbound(self, scope: Scope, headers: Mapping[str, str], body: bytes) -> InboundRequest:
        """Return the request as it was signed: the public address, the raw path and query, the raw body."""
        target = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        if scope["query_string"]:
            target += "?" + scope["query_string"].decode("latin-1")
        base = self._public_url or f"{scope['scheme']}://{headers.get('host', '')}"
        return InboundRequest(scope["method"], base + target, headers, body)

    def _refuse(
        self, name: str, configured: ConfiguredSource | None, scope: Scope, size: int, error: ServiceError
    ) -> Reply | Response:
        """Answer, and tell the operator why: a refused request of our own fault is no refusal, but it is logged."""
        status = status_of(error)
        shown = name[:SOURCE_SHOWN_MAX] if name.isprintable() and name.isascii() else "?"
        log.warning("refused", source=shown, status=status.value, error=error.name, cause=error.cause, hint=error.hint)
        if isinstance(error, RequestError):
            names = sorted({key.decode("latin-1").lower() for key, _ in scope["headers"][:NAMES_MAX]})
            printable = " ".join(key for key in names if key.isprintable())
            self._refusals.add(Refusal(self._clock(), shown, f"{error.name}: {error.cause}", printable, size))
        reply = None if configured is None else configured.source.refuse(status.value)
        return problem(error) if reply is None else reply


class Front(FastAPI):
    """The application, with webhooks answered before its middlewares, which cost more than verifying and parsing."""

    hooks: Hooks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer webhooks by ``hooks``, everything else as FastAPI does."""
        if scope["type"] == "http" and scope["path"].startswith(PREFIX) and is_name(scope["path"][len(PREFIX) :]):
            await self.hooks(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def is_name(text: str) -> bool:
    """Say whether a text may be a source's name in a path."""
    return bool(text) and "/" not in text


async def _body(receive: Receive, limit: int) -> bytes:
    """Return the body; raise ParseError where it breaks off, TooLarge past the limit."""
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ParseError("the body did not arrive whole")
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"the body is larger than {limit} bytes", hint="raise BODY_MAX_BYTES")
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _tell(send: Send, reply: Reply) -> None:
    """Send a reply, without the detours of a response object: this is what every webhook waits for."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
    headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _headers(scope: Scope) -> dict[str, str]:
    """Return the headers by lower-case name, repeated ones joined."""
    if len(scope["headers"]) > HEADERS_MAX:
        raise TooLarge(f"more than {HEADERS_MAX} headers")
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
