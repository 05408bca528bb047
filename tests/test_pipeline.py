"""What the journeys decide by themselves; the whole of them is in ``test_flow``."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from service.main import real_clock
from service.schema import accounts
from tests.support.log import by_hand
from tests.support.service import configure, running

pytestmark = pytest.mark.anyio


async def test_a_paused_account_that_is_slowed_too_is_not_probed_before_its_time(tmp_path: Path) -> None:
    """A probe is a call like any other, and keeps to what ChartMogul asked for."""
    async with running(configure(tmp_path)) as service:
        await service.service.worker.stop()
        now = real_clock()
        held = {"slowed_until": now + timedelta(minutes=5), "paused_at": now, "paused_reason": "account refused (401)"}
        await by_hand(service.store, update(accounts).values(held))
        assert await service.service.pipeline.probe("default") is False
        (state,) = await service.store.accounts.paused()
        assert state.paused_reason == "account refused (401)"
