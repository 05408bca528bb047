"""Sends what sources in shadow mode only recorded, once they are live: through the log, behind everything else."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from service.model import Deliver
from service.pipeline import ConfiguredSource
from service.store import Store

BREATH_S: Final = 0.02
"""Between two batches: intake and delivery come first."""


async def go_live(
    store: Store, sources: Callable[[], Mapping[str, ConfiguredSource]], *, clock: Callable[[], datetime]
) -> int:
    """Let the shadowed changes of every live source become pending again; return how many there were.

    From then on they are changes like any other: mapped by the present rules, ordered, merged, and compared with what
    is there. What confirmed values shadow mode left undone is made good too. Broken off, it is gone on with by doing it
    again; on several replicas each change is taken once. Which ``sources`` are live is asked before each batch, so that
    one that is only watched again keeps the rest. What is shadowed meanwhile is left to the next time.
    """
    began, reopened = clock(), 0
    for name in await store.shadows.waiting(_live(sources())):
        while name in _live(sources()) and (batch := await store.shadows.reopen(name, until=began, now=clock())) > 0:
            reopened += batch
            await asyncio.sleep(BREATH_S)
    await store.shadows.make_good(_live(sources()), now=clock())
    return reopened


def _live(sources: Mapping[str, ConfiguredSource]) -> list[str]:
    return [name for name, one in sources.items() if one.deliver is Deliver.LIVE]
