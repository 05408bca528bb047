"""What is noticed of drift is written whole or kept for the next time, also while the service stops."""

import asyncio
import contextlib

import pytest

from service.model import Cause, Json
from service.operations.watching import write_down
from service.store import Store
from tests.drift.watching import SOURCE, STOOD_IN, Watching

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("turns", [1, 2, 3, 5, 8])
async def test_a_stop_amid_the_writing_counts_nothing_twice(store: Store, turns: int) -> None:
    stage: dict[str, Json] = {"from": "label", "map": {"1": "Lead"}, "default": "Other"}
    lookout = Watching({"mapping": {"custom": {"Stage": stage}}}).see({"label": "9"}, 3).lookout
    writing = asyncio.create_task(write_down(lookout, store))
    for _ in range(turns):
        await asyncio.sleep(0)
    writing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await writing
    await write_down(lookout, store)
    (drift,) = await store.drifts.standing()
    assert (drift.cause, drift.count) == (Cause(SOURCE, STOOD_IN, "custom.Stage", "label"), 3)
