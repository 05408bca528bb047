"""How HTTP answers are read, whoever gave them: within a bound, and never believed."""

import re
from email.utils import parsedate_to_datetime
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
    """Return the seconds that an answer asks to wait, None where it does not say.

    A date, as Attio sends, counts from the answer's own ``Date``: whether our clock is right does not matter then.
    """
    text = response.headers.get("retry-after", "")
    if RETRY_AFTER_SEEN.fullmatch(text):
        return float(text)
    try:
        until, now = (parsedate_to_datetime(date) for date in (text, response.headers.get("date", "")))
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):  # TypeError: one of them has no time zone
        return None
