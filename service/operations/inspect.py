"""One captured request through verify, parse and map: nothing is sent, nothing is stored, no server is needed."""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from service.coalesce import patch_body, plan
from service.errors import NotFound, RequestError, ServiceError
from service.model import Action, Change, Event, InboundRequest, Known, Reply, to_micros
from service.operations.trace import lines_of
from service.pipeline import ConfiguredSource
from service.translate import lacks, translate

CAPTURE_BYTES_MAX: Final = 8 * 1024 * 1024
_SHAPE: Final = '{"method", "url", "headers": {}, "body"}, with "body_base64" for bytes'


class CaptureError(ServiceError):
    """The file is not a captured request."""

    name = "not_a_capture"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the service would make of a request. ``refusal`` is why it would be turned away, None when accepted."""

    source: str
    refusal: RequestError | None
    reply: Reply | None
    changes: tuple[Change, ...]
    patches: tuple[dict[str, Any], ...]


def read_capture(text: bytes) -> InboundRequest:
    """Read a captured request; raise CaptureError naming what is missing."""
    if len(text) > CAPTURE_BYTES_MAX:
        raise CaptureError(f"larger than {CAPTURE_BYTES_MAX} bytes")
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CaptureError(f"not JSON: {error.msg} (line {error.lineno})", hint=_SHAPE) from None
    if not isinstance(document, dict):
        raise CaptureError("not a JSON object", hint=_SHAPE)
    headers = document.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise CaptureError("headers is not an object of texts", hint=_SHAPE)
    method, url = document.get("method", "POST"), document.get("url")
    if not isinstance(method, str) or not isinstance(url, str):
        raise CaptureError("method or url is missing or not a text", hint=_SHAPE)
    lowered = {name.lower(): value for name, value in headers.items()}
    return InboundRequest(method.upper(), url, lowered, _body(document))


def source_of(request: InboundRequest) -> str:
    """Return the name of the source that the request's address is for; raise NotFound if it is no webhook's."""
    _, separator, rest = request.url.partition("/webhooks/")
    name = rest.partition("?")[0].strip("/")
    if not separator or not name:
        raise NotFound("the url is not …/webhooks/SOURCE", hint="say which with --source NAME")
    return name


def inspect(
    configured: ConfiguredSource, request: InboundRequest, *, now: datetime, clear_with: str | None = None
) -> Inspection:
    """Verify, parse and map a request as of ``now``, as the service would."""
    source = configured.source
    try:
        source.verify(request, now=now)
        changes = configured.admission.admit(source.parse(request))
    except RequestError as error:
        return Inspection(configured.name, error, None, (), ())
    # A privacy deletion sends nothing: it erases.
    wanted = [one for one in changes if one.ignored is None and one.action is not Action.PRIVACY_DELETED]
    patches = tuple(
        _patch(configured, object_id, [change for change in wanted if change.object_id == object_id], now, clear_with)
        for object_id in dict.fromkeys(change.object_id for change in wanted)
    )
    return Inspection(configured.name, None, source.accept(accepted=len(changes), duplicates=0), changes, patches)


def _body(document: dict[str, Any]) -> bytes:
    if "body_base64" in document:
        try:
            return base64.b64decode(document["body_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise CaptureError("body_base64 is not base64", hint=_SHAPE) from None
    body = document.get("body", "")
    if isinstance(body, str):
        return body.encode("utf-8", "surrogatepass")
    raise CaptureError("body is not a text", hint="quote it as one JSON text: the signature is over its exact bytes")


def _patch(
    configured: ConfiguredSource, object_id: str, changes: list[Change], now: datetime, clear_with: str | None
) -> dict[str, Any]:
    """Say what one contact would be sent for its changes, were it the first that ChartMogul hears of it."""
    arrived = to_micros(now)
    events = [
        Event(number, configured.name, now, arrived if change.order_key is None else change.order_key, change)
        for number, change in enumerate(changes, 1)
    ]
    settled = translate(configured.rules, events)
    planned = plan(settled.mapped, Known(), now=now)
    body = patch_body({name: one.value for name, one in planned.send.items()}, clear_with=clear_with)
    trace = [
        {"dedup_key": change.dedup_key, **line} for change in changes for line in lines_of(configured.rules, change)
    ]
    shown: dict[str, Any] = {"object_id": object_id, "patch": body or None, "trace": trace}
    if configured.reader is not None and lacks(configured.rules, events, configured.to_find(None)):
        shown["read_back"] = True  # and what is shown is what the events say by themselves
    return shown
