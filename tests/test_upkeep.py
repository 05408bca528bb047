"""What is done by the clock alone: it is told where it did anything, and a log that is away costs nothing but time."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.main import real_clock
from service.upkeep import _again_and_again, beside
from tests.support.sandbox import RunningSandbox
from tests.support.service import Shifted, configure, running
from tests.support.wait import eventually
from tests.support.webhooks import pipedrive

pytestmark = pytest.mark.anyio

DAY_S = 86_400.0
WRONG = pipedrive(101, "9d1c2b8f", real_clock(), password="letmein")


async def test_what_is_old_is_let_go_and_told(tmp_path: Path, sandbox: RunningSandbox) -> None:
    clock = Shifted()
    async with running(configure(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url), clock=clock) as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", clock(), job_title="CEO"))
        await service.settled()
        clock.advance(31 * DAY_S)
        with capture_logs() as lines:
            await service.service.upkeep._sweep()
            await service.service.upkeep._sweep()
        (line,) = [line for line in lines if line["event"] == "aged_out"]
        assert line["payloads"] > 0


async def test_a_log_that_is_away_is_waited_for(tmp_path: Path) -> None:
    async with running(configure(tmp_path)) as service:
        assert (await service.send(WRONG)).status_code == 401
        await service.store.close()
        upkeep = service.service.upkeep
        for work in (upkeep._flush, upkeep._sweep, upkeep._go_live):
            await work()


async def test_a_refusal_of_the_last_second_is_written_down(tmp_path: Path) -> None:
    config = configure(tmp_path)
    async with running(config) as service:
        assert (await service.send(WRONG)).status_code == 401
    async with running(config) as service:
        assert [refusal.source for refusal in await service.store.refusals.newest(10)] == ["pipedrive"]


async def test_a_fault_of_ours_is_told_and_tried_again() -> None:
    """Else nothing would go live any more, and nobody would know; and the stop would meet the fault."""
    times = 0

    async def work() -> None:
        nonlocal times
        times += 1
        raise ZeroDivisionError("Amara Okafor")

    with capture_logs() as lines:
        async with beside(_again_and_again(work, 0.0, 0.01)):
            await eventually(lambda: times > 1)
    assert {(line["event"], line["cause"]) for line in lines} == {("fault", "ZeroDivisionError")}
    assert "Amara" not in str(lines)
