"""Who waits for a record: at the CRM's pace, for as long as a lease bears, and for nobody who left."""

import asyncio
from datetime import timedelta

import pytest

from service.errors import DeliveryError, Postponed
from service.readback.client import (
    WAIT_S_MAX,
)
from tests.readback.directory import Directory, asked, reading
from tests.support.apis.server import Served
from tests.support.clock import START
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


async def test_calls_keep_to_the_pace(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Directory, "rate_per_s", 20.0)
    monkeypatch.setattr(Directory, "batch_max", 1)
    loop = asyncio.get_running_loop()
    async with reading(served) as client:
        began = loop.time()
        await asyncio.gather(*(client.read(str(number)) for number in range(5)))
        assert loop.time() - began >= 4 / 20
    assert len(served.calls) == 5


async def test_who_would_wait_too_long_for_the_pace_is_put_off_at_once(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Directory, "rate_per_s", 1.0)
    async with reading(served) as client:
        fit = int(WAIT_S_MAX) * Directory.batch_max + 1
        waiting = [asyncio.create_task(client.read(str(number))) for number in range(fit)]
        await asyncio.sleep(0)
        with pytest.raises(Postponed) as postponed:
            await client.read("9")
        assert postponed.value.until > START + timedelta(seconds=WAIT_S_MAX)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_who_finds_every_call_taken_by_what_hangs_is_put_off_in_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads has a lease that runs out, and a lease that runs out ten times is a dead letter."""
    monkeypatch.setattr(Directory, "batch_max", 1)
    served.hang(times=2)
    async with reading(served, wait_s=0.1) as client:
        found = await asyncio.gather(*(client.read(str(number)) for number in range(4)), return_exceptions=True)
        assert [type(one) for one in found] == [DeliveryError, DeliveryError, Postponed, Postponed]
        assert len(served.calls) == 2
        assert await client.read("3") is not None


async def test_who_waits_for_a_place_while_others_ask_for_it_gets_its_record(served: Served) -> None:
    served.delay(0.3, times=2)
    async with reading(served, wait_s=0.1) as client:
        found = await asyncio.gather(*(client.read(str(number)) for number in range(6)))
        assert None not in found
    assert sorted(map(len, asked(served))) == [3, 3]


async def test_who_is_broken_off_while_asking_for_others_puts_them_off(served: Served) -> None:
    served.hang()
    async with reading(served) as client:
        asking = asyncio.create_task(client.read("1"))
        with_it = asyncio.create_task(client.read("2"))
        await eventually(lambda: bool(served.calls))
        asking.cancel()
        with pytest.raises(Postponed):
            await with_it
        assert await client.read("2") is not None


async def test_who_goes_while_others_ask_for_it_is_not_waited_for(served: Served) -> None:
    served.delay(0.2)
    async with reading(served) as client:
        asking = asyncio.create_task(client.read("1"))
        with_it = asyncio.create_task(client.read("2"))
        await eventually(lambda: bool(served.calls))
        with_it.cancel()
        assert await asking is not None


async def test_a_stop_asks_for_nothing_more(served: Served) -> None:
    async with reading(served) as client:
        client.stop()
        with pytest.raises(Postponed):
            await client.read("1")
    assert served.calls == []
