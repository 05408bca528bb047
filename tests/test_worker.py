"""The loop: it survives a store that goes and comes back, records faults of our own, and stops in good order."""

import asyncio
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text, update
from structlog.testing import capture_logs

from service.main import real_clock
from service.model import Link
from service.resolver import Resolved, Resolver
from service.sandbox import Fault, FaultKind, Settings
from service.sandbox.settings import UNLIMITED
from service.schema import accounts
from service.worker import RECLAIM_EVERY_S
from tests.support.sandbox import RunningSandbox, seed_of
from tests.support.service import Shifted, configure, replica, running
from tests.support.wait import eventually
from tests.support.webhooks import GRACE_UUID, helpdesk, pipedrive

pytestmark = pytest.mark.anyio

T0 = real_clock()


class Broken(Resolver):
    """A resolver with a fault of ours in it, whose text has a contact's value in it."""

    async def resolve(self, *_arguments: object, **_others: object) -> Resolved:
        """Raise what nobody expected."""
        raise ZeroDivisionError("grace.okafor@harbour-analytics.example")


async def test_a_fault_of_ours_is_recorded_and_ends_after_five_tries(tmp_path: Path) -> None:
    """A poisoned event must not spin, must not keep others, and must not put its values into the log."""
    clock = Shifted()
    async with running(configure(tmp_path), clock=clock) as service, replica(service, resolver=Broken({})) as other:
        await service.service.worker.stop()
        await other.worker.start()
        with capture_logs() as lines:
            await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
            other.worker.wake()
            for tries in range(1, 6):
                await service.tried(tries)
                clock.advance(1000)
                other.worker.wake()
            await service.settled()
        (delivery,) = await service.deliveries()
        assert (delivery["state"], delivery["outcome"]) == ("dead", "fault")
        assert [attempt["outcome"] for attempt in await service.attempts()] == ["fault"] * 5
        (event,) = await service.events()
        assert "gave up after 5 tries" in event["reason"]
        faults = [line for line in lines if line["event"] == "fault"]
        assert len(faults) == 5
        assert faults[0]["cause"].startswith("ZeroDivisionError at resolve:")
        assert "grace" not in str(lines) + str(await service.attempts()) + event["reason"]


@pytest.mark.parametrize("fault", [True, False])
async def test_what_cannot_be_recorded_waits_for_its_lease(tmp_path: Path, *, fault: bool) -> None:
    """Nothing can be written down while the store is gone; the next life finds the lease, and tries again."""

    class Vanishing(Resolver):
        """Takes the store along."""

        async def resolve(self, *_arguments: object, **_others: object) -> Resolved:
            """Close the store, then fail or find the contact."""
            await service.store.close()
            if fault:
                raise ZeroDivisionError
            return Resolved(Link(GRACE_UUID, "email in email"))

    async with running(configure(tmp_path)) as service, replica(service, resolver=Vanishing({})) as other:
        await service.service.worker.stop()
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
        with capture_logs() as lines:
            await other.worker.start()
            await eventually(lambda: any(line["event"] == "store_unavailable" for line in lines))
            await other.worker.stop()
        told = [line["event"] for line in lines]
        assert ("fault" in told, "attempt_not_recorded" in told) == (fault, not fault)
    async with running(configure(tmp_path)) as service:
        await service.tried(1)
        assert (await service.attempts())[0]["outcome"] == "unknown"


async def test_a_store_that_is_locked_for_a_while_is_waited_for(tmp_path: Path, sandbox: RunningSandbox) -> None:
    """An outage of the store stops neither the process nor, once it is over, the deliveries."""
    config = configure(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url)
    async with running(config) as service, replica(service) as other:
        await service.service.worker.stop()
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
        await service.store._database.write(lambda c: c.execute(text("ALTER TABLE accounts RENAME TO away")).rowcount)
        with capture_logs() as lines:
            await other.worker.start()
            await eventually(lambda: any(line["event"] == "store_unavailable" for line in lines))
            assert other.worker.alive
            assert (await service.client.get("/health/ready")).status_code == 503
            assert (await service.client.get("/health")).status_code == 503
            back = text("ALTER TABLE away RENAME TO accounts")
            await service.store._database.write(lambda c: c.execute(back).rowcount)
            await service.settled()
    assert sandbox.contact(GRACE_UUID)["title"] == "CEO"


async def test_a_loop_that_dies_says_so_and_health_too(tmp_path: Path) -> None:
    broken = False

    def clock() -> datetime:
        if broken:
            raise ZeroDivisionError("grace.okafor@harbour-analytics.example")
        return real_clock()

    async with running(configure(tmp_path), clock=clock) as service:
        with capture_logs() as lines:
            broken = True
            service.service.worker.wake()
            await eventually(lambda: any(line["event"] == "worker_stopped" for line in lines))
            broken = False
        (line,) = [line for line in lines if line["event"] == "worker_stopped"]
        assert line["cause"].startswith("ZeroDivisionError at clock:")
        health = await service.client.get("/health")
        assert health.status_code == 503
        assert "nothing is delivered: the worker has stopped" in str(health.json()["reasons"])


async def test_a_stop_waits_for_what_is_under_way(tmp_path: Path, sandbox: RunningSandbox) -> None:
    sandbox.configure(Settings(limits=UNLIMITED, latency_ms=300))
    async with running(configure(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url)) as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
        await eventually(lambda: bool(sandbox.requests("PATCH")))
        await service.service.worker.stop()
        assert [event["state"] for event in await service.events()] == ["delivered"]


async def test_a_stop_cancels_what_is_late_and_the_next_life_repeats_it(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    """A call that hangs must not hold up a rolling deploy; its outcome is unknown, so it is made again."""
    sandbox.add_faults(Fault(kind=FaultKind.TIMEOUT_AFTER, delay_s=60, count=1, method="PATCH"))
    config = configure(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url)
    async with running(config) as service, replica(service, stop_s=0.1) as other:
        await service.service.worker.stop()
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
        await other.worker.start()
        await eventually(lambda: bool(sandbox.requests("PATCH")))
        began = time.monotonic()
        await other.worker.stop()
        assert time.monotonic() - began < 5
        backlog = await service.store.ledger.backlog()
        assert (backlog.leased, backlog.pending) == (0, 1), "given back, so that another replica may go on at once"
        assert [attempt["outcome"] for attempt in await service.attempts()] == ["unknown"]
    async with running(config) as service:
        await service.settled()
        outcomes = [attempt["outcome"] for attempt in await service.attempts()]
        assert outcomes == ["unknown", "applied"]
    assert sandbox.contact(GRACE_UUID)["title"] == "CEO"


async def test_a_stop_gives_back_at_once_what_waits_for_its_turn(tmp_path: Path, sandbox: RunningSandbox) -> None:
    """Nothing of it was sent: it is due as before, untried, and no replica has to wait for a lease to run out."""
    sandbox.add_faults(Fault(kind=FaultKind.TIMEOUT_BEFORE, delay_s=60, count=1, method="PATCH"))
    config = configure(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url)
    async with running(config) as service, replica(service, parallel=1, stop_s=10.0) as other:
        await service.service.worker.stop()
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
        await other.worker.start()
        await eventually(lambda: bool(sandbox.requests("PATCH")))
        await service.accepted(helpdesk("u-301", "evt-1", T0, title="Head of Finance"))
        other.worker.wake()
        await eventually(lambda: len(other.limiter._waiting) == 1)
        stopping = asyncio.create_task(other.worker.stop())
        await service.until(lambda backlog: (backlog.leased, backlog.pending) == (1, 1))
        assert not stopping.done(), "what was sent is still waited for"
        hanging, waiting = await service.deliveries()
        assert (hanging["state"], waiting["state"], waiting["source"]) == ("leased", "pending", "helpdesk")
        assert (waiting["attempts"], waiting["lost"], waiting["outcome"]) == (0, 0, None)
        assert waiting["due_at"] <= real_clock()
        assert await service.attempts() == []
        sandbox.clear_faults()  # which closes the connection
        await stopping
        assert [attempt["outcome"] for attempt in await service.attempts()] == ["unknown"]
        assert len(sandbox.requests("GET")) == 1, "the second was not even searched for"


async def test_a_stop_takes_no_longer_than_it_may_however_much_hangs(tmp_path: Path, sandbox: RunningSandbox) -> None:
    """An orchestrator kills after its own time, and what it kills is found by nobody for a lease."""
    sandbox.load(seed_of(6))
    sandbox.add_faults(Fault(kind=FaultKind.TIMEOUT_BEFORE, delay_s=60))
    config = configure(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url)
    async with running(config) as service, replica(service, parallel=3, stop_s=0.5) as other:
        await service.service.worker.stop()
        for number in range(6):
            email = f"person-{number}@nordwind-logistik.example"
            await service.accepted(pipedrive(number, f"evt-{number}", T0, email=email, job_title="CEO"))
        await other.worker.start()
        await eventually(lambda: len(sandbox.requests()) == 3 and len(other.limiter._waiting) == 3)
        began = time.monotonic()
        await other.worker.stop()
        assert 0.4 < time.monotonic() - began < 2.5
        backlog = await service.store.ledger.backlog()
        assert (backlog.leased, backlog.pending) == (0, 6)
        assert [attempt["outcome"] for attempt in await service.attempts()] == ["unknown"] * 3
        assert [row["lost"] for row in await service.deliveries()] == [0] * 6, "a stop makes nothing suspect"
        assert (await service.store.ledger.audit()).findings == ()


async def test_a_worker_that_never_started_stops(tmp_path: Path) -> None:
    async with running(configure(tmp_path)) as service, replica(service) as other:
        await other.worker.stop()
        assert not other.worker.alive


async def test_an_expired_lease_is_taken_back_and_said_so(
    tmp_path: Path, sandbox: RunningSandbox, postgres_url: str
) -> None:
    """A replica that died keeps nothing for longer than its lease."""
    clock = Shifted()
    config = configure(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url, DATABASE_URL=postgres_url)
    async with running(config, clock=clock) as service, replica(service) as other:
        await service.service.worker.stop()
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
        now = clock()
        (lost,) = await service.store.deliveries.claim(
            account="default", owner="replica-z", now=now, lease_until=now + timedelta(seconds=60), limit=5
        )
        assert lost.attempts == 0
        with capture_logs() as lines:
            await other.worker.start()
            clock.advance(60 + RECLAIM_EVERY_S)
            other.worker.wake()
            await service.settled()
        assert [line["count"] for line in lines if line["event"] == "leases_expired"] == [1]
        assert [attempt["outcome"] for attempt in await service.attempts()] == ["unknown", "applied"]


async def test_no_more_is_claimed_than_may_run(tmp_path: Path, sandbox: RunningSandbox) -> None:
    """What waits in the log can be taken by another replica; what waits in a process cannot."""
    sandbox.configure(Settings(limits=UNLIMITED, latency_ms=30))
    settings = {"CHARTMOGUL_BASE_URL": sandbox.base_url, "CHARTMOGUL_PARALLEL": "1"}
    async with running(configure(tmp_path, **settings)) as service:
        webhooks = [helpdesk(f"u-{number}", f"evt-{number}", T0, title=f"Title {number}") for number in range(9)]
        await asyncio.gather(*[service.send(webhook) for webhook in webhooks])
        most = 0
        while (backlog := await service.store.ledger.backlog()).pending + backlog.leased:
            most = max(most, backlog.leased)
        assert 0 < most <= 2
    assert sandbox.counters()["in_flight_max"] == 1


async def test_an_account_that_is_configured_no_more_is_not_probed(tmp_path: Path, sandbox: RunningSandbox) -> None:
    """It may still be paused in the log; its key is gone, and the others must be delivered."""
    config = configure(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url)
    async with running(config) as service, replica(service) as other:
        await service.service.worker.stop()
        await service.store.accounts.ensure(["emea"], now=real_clock())
        paused = update(accounts).where(accounts.c.name == "emea").values(paused_at=real_clock(), paused_reason="401")
        await service.store._database.write(lambda connection: connection.execute(paused).rowcount)
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
        await other.worker.start()
        await service.settled()
        (state,) = await service.store.accounts.paused()
        assert state.name == "emea"
    assert sandbox.contact(GRACE_UUID)["title"] == "CEO"
