"""Replays a selection of changes batch by batch, behind what CRMs send now; it can be broken off and gone on with."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from service.store import Store
from service.store.replay import Batch, Selection

BREATH_S: Final = 0.02
"""Between two batches: a service on the same file wants to write too."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """How far a replay came: changes and contacts set going, changes whose payload is gone, and the last id seen."""

    events: int = 0
    contacts: int = 0
    unreadable: int = 0
    last_id: int = 0


async def replay(
    store: Store,
    selection: Selection,
    *,
    after: int = 0,
    version: str | None = None,
    then: bool = False,
    clock: Callable[[], datetime],
    progress: Callable[[Replayed], None],
) -> Replayed:
    """Make the selected changes pending again, in the order of their ids from ``after`` on; tell after each batch.

    ``then`` maps each change by the configuration that mapped it before, ``version`` all of them by that one, neither
    by the present one. Changes that ended only after the start are left alone, so that it comes to an end.
    """
    done = Replayed(last_id=after)
    while True:
        batch = await store.replays.batch(selection, after=done.last_id, version=version, then=then, now=clock())
        done = _with(done, batch)
        progress(done)
        if batch.last_id is None:
            return done
        await asyncio.sleep(BREATH_S)


def _with(done: Replayed, batch: Batch) -> Replayed:
    return Replayed(
        done.events + batch.events,
        done.contacts + batch.contacts,
        done.unreadable + batch.unreadable,
        batch.last_id or done.last_id,
    )
