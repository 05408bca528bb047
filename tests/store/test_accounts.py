"""One row an account keeps the pace of every replica."""

import asyncio
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from service.errors import Postponed, StoreError
from service.schema import accounts
from service.store import Store
from tests.support.clock import Clock
from tests.support.log import ACCOUNT, by_hand, rows

pytestmark = pytest.mark.anyio

EVERY = timedelta(milliseconds=25)
WAIT_MAX = timedelta(seconds=2)


async def reserve(store: Store, clock: Clock, wait_max: timedelta = WAIT_MAX) -> datetime:
    return (await store.accounts.reserve(ACCOUNT, every=EVERY, wait_max=wait_max, now=clock())).at


async def test_calls_are_spaced_exactly(store: Store, clock: Clock) -> None:
    """40 calls a second are 25 ms apart, to the microsecond: no drift over days, and never 41."""
    start = clock()
    assert [await reserve(store, clock) for _ in range(40)] == [start + EVERY * number for number in range(40)]


async def test_time_that_was_not_used_is_not_saved_up(store: Store, clock: Clock) -> None:
    """A quiet night must not be followed by a burst."""
    await reserve(store, clock)
    clock.advance(3600)
    assert [await reserve(store, clock) for _ in range(2)] == [clock(), clock() + EVERY]


async def test_replicas_keep_the_pace_together(store: Store, other_store: Store, clock: Clock) -> None:
    times = await asyncio.gather(*(reserve(one, clock) for one in (store, other_store) for _ in range(15)))
    assert sorted(times) == [clock() + EVERY * number for number in range(30)]


async def test_a_slowed_account_calls_when_that_is_over(store: Store, clock: Clock) -> None:
    await by_hand(store, update(accounts).values(slowed_until=clock.after(1)))
    assert [await reserve(store, clock) for _ in range(2)] == [clock.after(1), clock.after(1) + EVERY]


async def test_who_would_wait_too_long_is_postponed_and_takes_nothing(store: Store, clock: Clock) -> None:
    await by_hand(store, update(accounts).values(slowed_until=clock.after(60)))
    before = await rows(store, accounts)
    with pytest.raises(Postponed) as postponed:
        await reserve(store, clock)
    assert postponed.value.until == clock.after(60)
    assert await rows(store, accounts) == before


async def test_the_longest_wait_is_still_waited_for(store: Store, clock: Clock) -> None:
    await reserve(store, clock)
    assert await reserve(store, clock, wait_max=EVERY) == clock() + EVERY
    with pytest.raises(Postponed):
        await reserve(store, clock, wait_max=EVERY)


async def test_an_account_without_a_row_is_our_fault_and_not_the_database_s(store: Store, clock: Clock) -> None:
    with pytest.raises(StoreError) as refused:
        await store.accounts.reserve("emea", every=EVERY, wait_max=WAIT_MAX, now=clock())
    assert type(refused.value) is StoreError


async def test_accounts_get_their_row_once(store: Store, clock: Clock) -> None:
    await reserve(store, clock)
    before = await rows(store, accounts)
    await store.accounts.ensure([ACCOUNT, "emea", ACCOUNT], now=clock.advance(5))
    after = await rows(store, accounts)
    assert [row["name"] for row in after] == [ACCOUNT, "emea"]
    assert after[:1] == before
    await store.accounts.ensure([], now=clock())
    assert await rows(store, accounts) == after


async def test_a_paused_account_is_listed_until_it_is_resumed(store: Store, clock: Clock) -> None:
    await store.accounts.ensure(["emea"], now=clock())
    here = update(accounts).where(accounts.c.name == "emea")
    await by_hand(store, here.values(paused_at=clock(), paused_reason="account refused (401)"))
    (paused,) = await store.accounts.paused()
    assert (paused.name, paused.paused_at, paused.paused_reason) == ("emea", clock(), "account refused (401)")
    assert [state.name for state in await store.accounts.states()] == [ACCOUNT, "emea"]
    await store.accounts.resume("emea")
    assert await store.accounts.paused() == []
    assert (await store.accounts.states())[1].paused_reason is None
