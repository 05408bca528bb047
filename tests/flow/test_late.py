"""A PATCH that nobody saw answered lands late, over a newer one: that is put right, by one call and no more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from service.main import real_clock
from service.model import Delivery
from service.sandbox import Fault, FaultKind
from service.schema import contacts
from tests.flow.steps import T0, Started, books_close, patched, states
from tests.support.log import rows
from tests.support.sandbox import RunningSandbox
from tests.support.service import Replica, Running, replica
from tests.support.wait import eventually
from tests.support.webhooks import GRACE, GRACE_UUID, Webhook, helpdesk, pipedrive

pytestmark = pytest.mark.anyio

READ_S = 1.5
"""After so long a call is given up, and for so long it may land after that."""
LANDS_S = 2.7
"""Between the two."""
SECOND = timedelta(seconds=1)
COO = pipedrive(101, "older", T0, job_title="COO")
CEO = helpdesk("u-301", "newer", T0 + SECOND, email=GRACE, title="CEO")


def lands_late(delay_s: float = LANDS_S) -> Fault:
    return Fault(kind=FaultKind.TIMEOUT_LATE, delay_s=delay_s, count=1, method="PATCH")


@contextlib.asynccontextmanager
async def delivering(
    start: Started, *, stop_s: float = 10.0, **settings: str
) -> AsyncIterator[tuple[Running, Replica]]:
    """Run the service with a worker whose second try comes a second after the first."""
    async with start(READ_TIMEOUT_S=str(READ_S), **settings) as service, replica(service, stop_s=stop_s) as other:
        await service.service.worker.stop()
        yield service, other


async def told(service: Running, other: Replica, *webhooks: Webhook) -> None:
    await service.accepted(*webhooks)
    other.worker.wake()


def title(sandbox: RunningSandbox) -> object:
    return sandbox.contact(GRACE_UUID)["title"]


async def no_doubt_is_left(service: Running) -> bool:
    return [row["doubts"] for row in await rows(service.store, contacts)] == [None]


async def test_an_older_value_that_lands_over_a_newer_one_is_put_right_by_one_call(
    start: Started, sandbox: RunningSandbox, store_url: str
) -> None:
    sandbox.add_faults(lands_late())
    async with delivering(start, DATABASE_URL=store_url) as (service, other):
        await other.worker.start()
        await told(service, other, COO)
        await service.tried(1)
        await told(service, other, CEO)
        await eventually(lambda: title(sandbox) == "CEO")
        await eventually(lambda: title(sandbox) == "COO")  # it has landed
        await service.settled()
        assert title(sandbox) == "CEO"
        assert patched(sandbox) == [{"title": "COO"}, {"title": "CEO"}, {"title": "CEO"}]
        assert await states(service) == ["merged", "delivered"]
        assert await no_doubt_is_left(service)
        assert await books_close(service)


async def test_a_value_that_lands_late_and_was_sent_again_meanwhile_costs_no_third_call(
    start: Started, sandbox: RunningSandbox
) -> None:
    """Whichever of the two lands last, it is the same."""
    sandbox.add_faults(lands_late())
    async with delivering(start) as (service, other):
        await other.worker.start()
        await told(service, other, COO)
        await service.settled()
        assert patched(sandbox) == [{"title": "COO"}] * 2
        assert await states(service) == ["delivered"]
        assert title(sandbox) == "COO"


async def test_a_newer_value_that_lands_late_needs_no_putting_right(start: Started, sandbox: RunningSandbox) -> None:
    """The older one was confirmed meanwhile; the newer one's own retry brings it anyway."""
    sandbox.add_faults(lands_late())
    older = helpdesk("u-301", "older", T0 - SECOND, email=GRACE, title="Intern")
    async with delivering(start) as (service, other):
        await other.worker.start()
        await told(service, other, COO)
        await service.tried(1)
        await told(service, other, older)
        await service.settled()
        assert title(sandbox) == "COO"
        assert patched(sandbox) == [{"title": "COO"}, {"title": "Intern"}, {"title": "COO"}]
        assert await states(service) == ["delivered", "delivered"]


async def test_a_newer_value_is_sent_again_with_the_next_change_if_that_comes_first(
    start: Started, sandbox: RunningSandbox
) -> None:
    sandbox.add_faults(lands_late())
    async with delivering(start) as (service, other):
        await other.worker.start()
        await told(service, other, COO)
        await service.tried(1)
        await told(service, other, CEO)
        await eventually(lambda: title(sandbox) == "COO" and len(patched(sandbox)) == 2)
        await told(service, other, helpdesk("u-301", "more", T0 + 2 * SECOND, email=GRACE, last_name="Bell"))
        await service.settled()
        held = sandbox.contact(GRACE_UUID)
        assert (held["title"], held["last_name"]) == ("CEO", "Bell")
        assert sum(body.get("title") == "CEO" for body in patched(sandbox)) == 2
        assert await no_doubt_is_left(service)
        assert await books_close(service)


async def test_a_change_that_becomes_a_dead_letter_meanwhile_does_not_keep_it_from_being_put_right(
    start: Started, sandbox: RunningSandbox
) -> None:
    sandbox.add_faults(lands_late())
    async with delivering(start) as (service, other):
        await other.worker.start()
        await told(service, other, COO)
        await service.tried(1)
        await told(service, other, CEO)
        await eventually(lambda: title(sandbox) == "CEO")
        await service.until(lambda backlog: backlog.leased == 0)
        sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=422, count=1, method="PATCH", message="no such name"))
        await told(service, other, helpdesk("u-301", "refused", T0 + 2 * SECOND, email=GRACE, last_name="?"))
        await service.settled()
        assert title(sandbox) == "CEO"
        assert patched(sandbox) == [{"title": "COO"}, {"title": "CEO"}, {"last_name": "?"}, {"title": "CEO"}]
        assert await states(service) == ["merged", "delivered", "dead"]
        (letter,) = await service.store.ledger.deliveries(state="dead")
        assert letter["outcome"] == "rejected"
        assert await books_close(service)


async def test_a_try_whose_lease_was_lost_after_it_sent_is_put_right(
    start: Started, sandbox: RunningSandbox, store_url: str
) -> None:
    """A process that slept, or was taken for dead: its PATCH lands after that of its successor."""
    sandbox.add_faults(lands_late(0.8))
    async with delivering(start, DATABASE_URL=store_url) as (service, other):
        await service.accepted(COO)
        stale = await claimed(service)
        late = asyncio.create_task(other.pipeline.deliver(stale, lease_until=real_clock() + SECOND))
        await eventually(lambda: bool(sandbox.requests("PATCH")))
        assert await service.store.deliveries.reclaim(now=real_clock() + SECOND / 10, everything=True) == 1
        await service.accepted(pipedrive(101, "newer", T0 + SECOND, job_title="CEO"))
        await other.worker.start()
        await eventually(lambda: title(sandbox) == "CEO")
        assert not late.done()
        assert await late is None, "whoever has the lease now tells what comes of it"
        assert title(sandbox) == "COO"
        await service.settled()
        assert title(sandbox) == "CEO"
        assert patched(sandbox) == [{"title": "COO"}, {"title": "CEO"}, {"title": "CEO"}]
        assert await states(service) == ["merged", "delivered"]
        assert await no_doubt_is_left(service)
        assert await books_close(service)


async def claimed(service: Running) -> Delivery:
    """Claim the one delivery by hand."""
    now = real_clock()
    (delivery,) = await service.store.deliveries.claim(
        account="default", owner="sleeper", now=now, lease_until=now + SECOND, limit=1
    )
    return delivery


async def test_a_try_whose_lease_was_lost_after_its_successor_ended_opens_the_contact_again(
    start: Started, sandbox: RunningSandbox
) -> None:
    """Nothing is owed any more when the sleeper wakes, and still it may have written over the newer value."""
    sandbox.add_faults(lands_late(1.2))
    async with start(READ_TIMEOUT_S="2") as service, replica(service) as sleeper, replica(service) as other:
        await service.service.worker.stop()
        await service.accepted(COO)
        stale = await claimed(service)
        late = asyncio.create_task(sleeper.pipeline.deliver(stale, lease_until=real_clock() + SECOND))
        await eventually(lambda: bool(sandbox.requests("PATCH")))
        await service.store.deliveries.reclaim(now=real_clock(), everything=True)
        await service.accepted(pipedrive(101, "newer", T0 + SECOND, job_title="CEO"))
        assert await other.pipeline.deliver(await claimed(service), lease_until=real_clock() + SECOND) is not None
        (open_one,) = await service.deliveries()
        assert open_one["state"] == "pending", "it is in doubt already: an intent was left behind"
        assert await late is None
        assert title(sandbox) == "COO"
        await other.worker.start()
        await service.settled()
        assert title(sandbox) == "CEO"
        assert patched(sandbox) == [{"title": "COO"}, {"title": "CEO"}, {"title": "CEO"}]
        assert await no_doubt_is_left(service)


async def test_what_a_stopped_service_may_have_sent_is_put_right_by_its_next_life(
    start: Started, sandbox: RunningSandbox
) -> None:
    sandbox.add_faults(lands_late(0.8))
    async with delivering(start, stop_s=0.05) as (service, other):
        await other.worker.start()
        await told(service, other, COO)
        await eventually(lambda: bool(sandbox.requests("PATCH")))
        await other.worker.stop()
        assert [attempt["outcome"] for attempt in await service.attempts()] == ["unknown"]
        await service.accepted(pipedrive(101, "newer", T0 + SECOND, job_title="CEO"))
        async with replica(service) as next_life:
            await next_life.worker.start()
            await eventually(lambda: title(sandbox) == "CEO")
            await eventually(lambda: title(sandbox) == "COO")
            await service.settled()
            assert title(sandbox) == "CEO"
            assert patched(sandbox) == [{"title": "COO"}, {"title": "CEO"}, {"title": "CEO"}]
            assert await books_close(service)


async def test_an_attribute_that_chartmogul_ignores_keeps_its_order(service: Running, sandbox: RunningSandbox) -> None:
    """Once it is defined there, an older value must not be the one that it gets."""
    await service.accepted(pipedrive(101, "newer", T0 + SECOND, favourite_colour="teal", job_title="CEO"))
    await service.settled()
    await service.accepted(pipedrive(101, "older", T0, favourite_colour="coral", last_name="Bell"))
    await service.settled()
    assert patched(sandbox)[1:] == [{"last_name": "Bell"}]
    assert await states(service) == ["delivered", "delivered"]
    await service.accepted(pipedrive(101, "newest", T0 + 2 * SECOND, favourite_colour="teal", job_title="CEO"))
    await service.settled()
    assert patched(sandbox)[2:] == [{"custom": [{"key": "Favourite colour", "value": "teal"}]}], "never taken for there"
    await service.accepted(pipedrive(101, "oldest", T0 - SECOND, favourite_colour="mauve"))
    await service.settled()
    assert len(patched(sandbox)) == 3
    assert (await states(service))[-1] == "merged"
    assert await books_close(service)


async def test_a_patch_whose_lease_was_lost_before_its_end_leaves_the_contact_in_doubt(
    start: Started, sandbox: RunningSandbox
) -> None:
    """Whoever has the lease now may have sent a newer value before this one landed."""
    sandbox.add_faults(lands_late())
    async with delivering(start) as (service, other):
        await service.accepted(COO)
        until = real_clock() + timedelta(seconds=60)
        claims: dict[str, Any] = {"account": "default", "owner": "first", "limit": 1}
        (lost,) = await service.store.deliveries.claim(now=real_clock(), lease_until=until, **claims)
        trying = asyncio.create_task(other.pipeline.deliver(lost, lease_until=until))
        await eventually(lambda: len(patched(sandbox)) == 1)
        assert await service.store.deliveries.reclaim(now=until) == 1
        assert await trying is None
        (doubt,) = (await service.store.contacts.known("default", GRACE_UUID)).doubts
        assert {name: carried.value for name, carried in doubt.fields.items()} == {"title": "COO"}
        assert await states(service) == ["pending"]
