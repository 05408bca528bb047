"""Pages: 200 rows at most, and a cursor that is base64 of creation time and uuid of a page's last row.

https://dev.chartmogul.com/docs/pagination
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from service.sandbox.answers import Refused, error
from service.sandbox.clock import as_iso, from_iso

PER_PAGE_MAX: Final = 200

Key = tuple[int, str]


def per_page(query: Mapping[str, str]) -> int:
    """The page size asked for; 200 where none, none usable or a larger one is asked for."""
    asked = query.get("per_page", "")
    size = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < len("1000000") else PER_PAGE_MAX
    return min(size, PER_PAGE_MAX) or PER_PAGE_MAX


def to_cursor(key: Key) -> str:
    """The cursor that leads past the row created at this nanosecond under this uuid."""
    created_ns, uuid = key
    return base64.b64encode(f"{as_iso(created_ns)}&{uuid}".encode()).decode()


def from_cursor(cursor: str) -> Key:
    """The row that a cursor leads past. Raises Refused (400) for a text that is no cursor."""
    try:
        instant, _, uuid = base64.b64decode(cursor, validate=True).decode().partition("&")
        return from_iso(instant), uuid
    except (binascii.Error, ValueError):
        raise Refused(error(400, "The cursor provided is not valid", "cursor")) from None
