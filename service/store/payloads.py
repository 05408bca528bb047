"""How requests and changes are kept: JSON, compressed where that saves anything."""

import base64
import zlib
from typing import Any, Final

import orjson
from sqlalchemy import Row

from service.model import Action, Change, InboundRequest

_COMPRESS_FROM: Final = 512
"""Bytes below which compressing costs more than it saves."""
_LEVEL: Final = 1
_PLAIN: Final = b"j"
_PACKED: Final = b"z"


def pack_request(request: InboundRequest, *, compress: bool = True) -> bytes:
    """Keep a request, headers and body, in the form that ``inspect`` reads."""
    head: dict[str, object] = {"method": request.method, "url": request.url, "headers": dict(request.headers)}
    return _pack(orjson.dumps(head) + b"\n" + request.body, compress=compress)


def unpack_request(packed: bytes) -> InboundRequest:
    """Return the request that was packed."""
    head, _, body = _unpack(packed).partition(b"\n")
    fields = orjson.loads(head)
    return InboundRequest(fields["method"], fields["url"], fields["headers"], body)


def as_capture(request: InboundRequest) -> dict[str, object]:
    """Show a kept request in the form that ``inspect`` reads."""
    capture: dict[str, object] = {"method": request.method, "url": request.url, "headers": dict(request.headers)}
    try:
        capture["body"] = request.body.decode()
    except UnicodeDecodeError:
        capture["body_base64"] = base64.b64encode(request.body).decode()
    return capture


def pack_change(change: Change, *, compress: bool = True) -> bytes:
    """Keep what of a change has no column of its own."""
    rest: dict[str, Any] = {"v": change.values}
    if change.previous is not None:
        rest["p"] = change.previous
    if change.changed_fields is not None:
        rest["c"] = change.changed_fields
    if change.merged_from:
        rest["mf"] = change.merged_from
    if change.merged_into is not None:
        rest["mi"] = change.merged_into
    if change.thin:
        rest["t"] = True
    optional = {"o": change.origin, "a": change.actor, "n": change.tenant, "r": change.attempt}
    rest.update({key: value for key, value in optional.items() if value is not None})
    return _pack(orjson.dumps(rest), compress=compress)


def unpack_change(row: Row[Any]) -> Change:
    """Return the change of a row of the events table, packed part and columns together."""
    rest = orjson.loads(_unpack(row.change))
    changed = rest.get("c")
    return Change(
        dedup_key=row.dedup_key,
        object_type=row.object_type,
        object_id=row.object_id,
        action=Action(row.action),
        crm_event_id=row.crm_event_id,
        occurred_at=row.occurred_at,
        changed_fields=None if changed is None else tuple(changed),
        values=rest["v"],
        previous=rest.get("p"),
        merged_from=tuple(rest.get("mf", ())),
        merged_into=rest.get("mi"),
        origin=rest.get("o"),
        actor=rest.get("a"),
        tenant=rest.get("n"),
        attempt=rest.get("r"),
        thin=rest.get("t", False),
    )


def _pack(plain: bytes, *, compress: bool) -> bytes:
    return _PLAIN + plain if not compress or len(plain) < _COMPRESS_FROM else _PACKED + zlib.compress(plain, _LEVEL)


def _unpack(packed: bytes) -> bytes:
    return packed[1:] if packed[:1] == _PLAIN else zlib.decompress(packed[1:])
