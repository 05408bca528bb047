"""Keeps what is noticed of drift: read at the start, written as it comes, told once."""

import asyncio

import structlog

from service.drift import Lookout, hint_of, status_of
from service.store import Store

log = structlog.get_logger("drift")


async def go_on(lookout: Lookout, store: Store) -> None:
    """Let a lookout go on from what the log has. May raise StoreError."""
    lookout.restore(await store.drifts.sightings(), await store.drifts.standing())


async def write_down(lookout: Lookout, store: Store) -> None:
    """Tell of each new cause once, then write what was noticed; raise StoreError, and keep it, where that cannot be.

    Whoever breaks it off waits until that has ended.
    """
    for drift in lookout.unheard():
        cause = drift.cause
        say = log.warning if status_of(drift) == "warn" else log.info
        say(
            "drift",
            kind=cause.kind.value,
            source=cause.source,
            target=cause.target,
            path=cause.path,
            detail=drift.detail,
            event_id=drift.event_id,
            hint=hint_of(drift),
        )
    if noticed := lookout.take():
        writing = asyncio.ensure_future(store.drifts.write(noticed))
        try:
            await asyncio.shield(writing)
        finally:
            await asyncio.wait([writing])  # whether it was written must be known, or its counts are added twice
            if writing.exception() is not None:
                lookout.put_back(noticed)
