"""Lets what is old go: payloads after some days, and the log of what ended after some more; hour by hour."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from service.store import Store
from service.store.retention import BATCH

BREATH_S: Final = 0.02
"""Between two batches: intake and delivery come first."""


@dataclass(frozen=True, slots=True)
class Keep:
    """For how long payloads and the log are kept. What waits is kept whatever its age."""

    payloads: timedelta
    log: timedelta


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep let go: payloads (of requests and of changes), and rows of what ended."""

    payloads: int = 0
    rows: int = 0


async def sweep(store: Store, keep: Keep, *, now: datetime) -> Swept:
    """Go through the whole log once, in batches of 500 rows, and let go of what is older than it is kept."""
    payloads_before, log_before = now - keep.payloads, now - keep.log
    payloads = rows = 0
    while (gone := await store.retention.requests(before=payloads_before)) > 0:
        payloads += gone
        if gone < BATCH:
            break
        await asyncio.sleep(BREATH_S)
    after: int | None = 0
    while after is not None:
        aged = await store.retention.events(after=after, payloads_before=payloads_before, log_before=log_before)
        payloads, rows, after = payloads + aged.payloads, rows + aged.rows, aged.last_id
        await asyncio.sleep(BREATH_S)
    after = 0
    while after is not None:
        aged = await store.retention.deliveries(after=after, log_before=log_before)
        rows, after = rows + aged.rows, aged.last_id
        await asyncio.sleep(BREATH_S)
    return Swept(payloads, rows)
