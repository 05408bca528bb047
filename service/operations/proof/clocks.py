"""The times that a request names: whichever its sender signed, a proof holds as of it; pure."""

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

import orjson

from service.errors import ParseError
from service.model import InboundRequest, Json
from service.operations.proof.twist import Try, Twist
from service.sources.base import HEADER_MAX, read_json
from service.times import isoformat_z, parse_instant

TIMES_MAX: Final = 12
"""Times of one request that are tried."""
FIELDS_MAX: Final = 50
"""Fields of a body that are looked at for a time."""

_NUMBER: Final = re.compile(r"(?<![0-9A-Za-z])[0-9]{10}(?:[0-9]{3}){0,2}(?![0-9A-Za-z])")
_ISO: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,15}(?:Z|[+-][0-9]{2}:?[0-9]{2})?")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{4,}\.([A-Za-z0-9_-]{4,})\.[A-Za-z0-9_-]{4,}")
_NO_PROOF: Final = frozenset({"content-length", "date", "if-modified-since"})


def clock_twists(request: InboundRequest, now: datetime) -> Iterator[Twist]:
    """Yield each time that the request names, as the time at which it is proved: headers first, then the body."""
    for at in list(dict.fromkeys(_times(request)))[:TIMES_MAX]:
        off_s = round((now - at).total_seconds())
        where = "before" if off_s > 0 else "after"
        says = f"the clock shows {isoformat_z(at)}, {abs(off_s)} s {where} the time that counted"
        do = "if it was captured then, say so with --now; if it was just sent, set the clock that is off by that"
        yield Twist("clock", says, do, _at(at))


def _at(at: datetime) -> Callable[[Try], Try]:
    return lambda to: replace(to, now=at)


def _times(request: InboundRequest) -> Iterator[datetime]:
    for name, value in request.headers.items():
        if name not in _NO_PROOF and len(value) <= HEADER_MAX:
            for text in (*_NUMBER.findall(value), *_ISO.findall(value)):
                yield from _read(text)
            for claims in _TOKEN.findall(value):
                yield from _fields(_claims(claims))
    try:
        yield from _fields(read_json(request.body))
    except ParseError:
        return


def _read(value: Json) -> Iterator[datetime]:
    try:
        yield parse_instant(value)
    except ValueError:
        return


def _claims(text: str) -> Json:
    """Return the claims of a JSON web token; null where it is none."""
    try:
        claims: Json = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        return None
    return claims


def _fields(document: Json) -> Iterator[datetime]:
    """Yield the times in an object's fields, and in those of the objects right below it."""
    first = document[0] if isinstance(document, list) and document else document
    values = list(first.values()) if isinstance(first, dict) else []
    inner = [deep for value in values if isinstance(value, dict) for deep in value.values()]
    for value in [*values, *inner][:FIELDS_MAX]:
        if (isinstance(value, int) and value >= 10**9) or (isinstance(value, str) and _looks_like_time(value)):
            yield from _read(value)


def _looks_like_time(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None or _ISO.fullmatch(text) is not None
