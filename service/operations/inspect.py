"""A request or a change through verify, parse and map: nothing is sent, nothing is stored, no server is needed."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import orjson

from service.coalesce import patch_body, plan
from service.errors import NotFound, RequestError, ServiceError
from service.model import Action, Change, Event, InboundRequest, Known, Reply, to_micros
from service.operations.trace import lines_of
from service.pipeline import ConfiguredSource
from service.readback.base import Reading
from service.times import isoformat_z
from service.translate import ReadRecord, lacks, translate

CAPTURE_BYTES_MAX: Final = 8 * 1024 * 1024

Records: TypeAlias = Mapping[str, Reading | None]
"""Records as their CRM's API would give them, by id; None for one that is gone."""
NO_RECORDS: Final[Records] = MappingProxyType({})

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
    configured: ConfiguredSource,
    request: InboundRequest,
    *,
    now: datetime,
    clear_with: str | None = None,
    prove: bool = True,
    records: Records = NO_RECORDS,
) -> Inspection:
    """Verify, parse and map a request as of ``now``, as the service would.

    ``prove`` False leaves out the proof: a kept request has no credentials any more. ``records`` are what the CRM's API
    would give where records are read back; without one, what is shown is what the events say by themselves.
    """
    source = configured.source
    try:
        if prove:
            source.verify(request, now=now)
        changes = configured.admission.admit(source.parse(request))
    except RequestError as error:
        return Inspection(configured.name, error, None, (), ())
    reply = source.accept(accepted=len(changes), duplicates=0)
    patches = patches_of(configured, changes, now=now, clear_with=clear_with, records=records)
    return Inspection(configured.name, None, reply, changes, patches)


def patches_of(
    configured: ConfiguredSource,
    changes: Sequence[Change],
    *,
    now: datetime,
    clear_with: str | None = None,
    records: Records = NO_RECORDS,
) -> tuple[dict[str, Any], ...]:
    """Say what each contact would be sent for its changes, were it the first that ChartMogul hears of it."""
    # A privacy deletion sends nothing: it erases.
    wanted = [one for one in changes if one.ignored is None and one.action is not Action.PRIVACY_DELETED]
    return tuple(
        _patch(configured, [change for change in wanted if change.object_id == object_id], now, clear_with, records)
        for object_id in dict.fromkeys(change.object_id for change in wanted)
    )


def event_line(change: Change) -> dict[str, Any]:
    """Show a change, every field of it."""
    return {
        "dedup_key": change.dedup_key,
        "crm_event_id": change.crm_event_id,
        "object_type": change.object_type,
        "object_id": change.object_id,
        "action": change.action,
        "occurred_at": change.occurred_at and isoformat_z(change.occurred_at),
        "order_key": change.order_key,
        "changed_fields": change.changed_fields,
        "values": change.values,
        "previous": change.previous,
        "merged_from": change.merged_from,
        "merged_into": change.merged_into,
        "origin": change.origin,
        "actor": change.actor,
        "tenant": change.tenant,
        "attempt": change.attempt,
        "thin": change.thin,
        "ignored": change.ignored,
    }


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
    configured: ConfiguredSource, changes: list[Change], now: datetime, clear_with: str | None, records: Records
) -> dict[str, Any]:
    object_id = changes[0].object_id
    arrived = to_micros(now)
    events = [
        Event(number, configured.name, now, arrived if change.order_key is None else change.order_key, change)
        for number, change in enumerate(changes, 1)
    ]
    asked = configured.reader is not None and lacks(configured.rules, events, configured.to_find(None))
    read = ReadRecord(records[object_id]) if asked and object_id in records else None
    settled = translate(configured.rules, events, read=read)
    planned = plan(settled.mapped, Known(), now=now)
    body = patch_body({name: one.value for name, one in planned.send.items()}, clear_with=clear_with)
    trace = [
        {"dedup_key": change.dedup_key, **line} for change in changes for line in lines_of(configured.rules, change)
    ]
    shown: dict[str, Any] = {"object_id": object_id, "patch": body or None, "trace": trace}
    if not body and settled.ended:
        shown["reason"] = settled.ended[-1].reason
    if asked and read is None:
        shown["read_back"] = True  # and what is shown is what the events say by themselves
    return shown
