"""What the journeys decide by themselves; the whole of them is in ``flow``."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from service.main import real_clock
from service.schema import accounts
from tests.support.log import by_hand
from tests.support.service import configure, replica, running
from tests.support.webhooks import pipedrive

pytestmark = pytest.mark.anyio


async def test_a_try_whose_lease_was_lost_leaves_no_trace_and_is_not_told_as_done(tmp_path: Path) -> None:
    """Whoever has the lease now tells what comes of it."""
    async with running(configure(tmp_path)) as service, replica(service) as other:
        await service.service.worker.stop()
        now = real_clock()
        await service.accepted(pipedrive(101, "pd-1", now, job_title="CFO", email=None))
        until = now + timedelta(seconds=60)
        (lost,) = await service.store.deliveries.claim(
            account="default", owner="first", now=real_clock(), lease_until=until, limit=1
        )
        await service.store.deliveries.reclaim(now=until)
        assert await other.pipeline.deliver(lost, lease_until=until) is None
        assert await service.store.ledger.counts() == {"pending": 1}


async def test_a_paused_account_that_is_slowed_too_is_not_probed_before_its_time(tmp_path: Path) -> None:
    """A probe is a call like any other, and keeps to what ChartMogul asked for."""
    async with running(configure(tmp_path)) as service, replica(service) as other:
        await service.service.worker.stop()
        now = real_clock()
        held = {"slowed_until": now + timedelta(minutes=5), "paused_at": now, "paused_reason": "account refused (401)"}
        await by_hand(service.store, update(accounts).values(held))
        assert await other.pipeline.probe("default") is False
        (state,) = await service.store.accounts.paused()
        assert state.paused_reason == "account refused (401)"
