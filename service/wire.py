"""How HTTP answers are read, whoever gave them: within a bound, and never believed."""

import re
from typing import Final

import httpx
import orjson

from service.model import Json

RETRY_AFTER_SEEN: Final = re.compile(r"\d{1,6}(\.\d{1,3})?")


async def bounded_body(response: httpx.Response, bytes_max: int) -> bytes | None:
    """Return the body of a streamed answer, or None when it is longer than any that is understood."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > bytes_max:
            return None
        chunks.append(chunk)
    return b"".join(chunks)


def json_or_none(body: bytes | None) -> Json:
    """Return a body's JSON, None for what is none."""
    try:
        document: Json = orjson.loads(body or b"")
    except orjson.JSONDecodeError:
        return None
    return document


def retry_after_s(response: httpx.Response) -> float | None:
    """Return the seconds that an answer asks to wait; a date, which no API of ours was seen to send, is nothing."""
    text = response.headers.get("retry-after", "")
    return float(text) if RETRY_AFTER_SEEN.fullmatch(text) else None
