"""Turns: so many calls at once, so many a second, in the order in which they were asked for, and none after a stop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from service.errors import Postponed
from service.limiter import WAIT_MAX, Limiter
from service.model import OutcomeKind
from service.sandbox import Limits, Settings
from service.schema import accounts
from service.store import Store
from service.store.accounts import PAUSED_WAIT
from tests.support.clock import Clock
from tests.support.log import ACCOUNT, by_hand, rows
from tests.support.sandbox import contact_uuid, running_sandbox, seed_of
from tests.support.sink import sink
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

FAST = 100_000.0
"""Calls a second: nobody waits for the rate."""


@pytest.fixture
async def log(sqlite_url: str, clock: Clock) -> AsyncIterator[Store]:
    """A log with one account."""
    store = Store(sqlite_url)
    try:
        await store.migrate()
        await store.accounts.ensure([ACCOUNT], now=clock())
        yield store
    finally:
        await store.close()


def limiter_of(log: Store, clock: Clock, *, parallel: int = 3, rate_per_s: float = FAST) -> Limiter:
    return Limiter(ACCOUNT, log.accounts, rate_per_s=rate_per_s, parallel=parallel, clock=clock)


class Calls:
    """Calls that last until they are let go, and a record of whose turn it was."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.running: list[int] = []
        self.began: list[int] = []
        self.most = 0
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self._ends: dict[int, asyncio.Event] = {}

    def ask(self, *numbers: int) -> None:
        """Let these ask for a turn, in this order."""
        for number in numbers:
            self._ends[number] = asyncio.Event()
            self.tasks[number] = asyncio.create_task(self._call(number))

    async def _call(self, number: int) -> None:
        async with self.limiter.turn():
            self.running.append(number)
            self.began.append(number)
            self.most = max(self.most, len(self.running))
            try:
                await self._ends[number].wait()
            finally:
                self.running.remove(number)

    async def run(self, *numbers: int) -> None:
        """Return once exactly these run."""
        await eventually(lambda: sorted(self.running) == sorted(numbers))

    async def wait(self, count: int) -> None:
        """Return once so many wait for their turn."""
        await eventually(lambda: sum(not place.done() for place in self.limiter._waiting) == count)

    async def end(self, *numbers: int) -> None:
        """Let these calls end."""
        for number in numbers:
            self._ends[number].set()
            await self.tasks[number]

    async def refused(self, *numbers: int) -> list[Postponed]:
        """Return why these got no turn."""
        errors = await asyncio.gather(*(self.tasks[number] for number in numbers), return_exceptions=True)
        assert all(isinstance(error, Postponed) for error in errors), errors
        return [error for error in errors if isinstance(error, Postponed)]

    async def cancel(self, *numbers: int) -> None:
        """Break these off."""
        for number in numbers:
            self.tasks[number].cancel()
        for number in numbers:
            with contextlib.suppress(asyncio.CancelledError):
                await self.tasks[number]


async def share(log: Store, clock: Clock, of_rate: float) -> None:
    """Leave the account so much of its rate."""
    await by_hand(log, update(accounts).values(share=of_rate, share_at=clock()))


async def test_no_more_than_so_many_calls_run_at_once(log: Store, clock: Clock) -> None:
    calls = Calls(limiter_of(log, clock, parallel=3))
    calls.ask(*range(8))
    await calls.run(0, 1, 2)
    await calls.wait(5)
    await calls.end(1)
    await calls.run(0, 2, 3)
    await calls.end(0, 2, 3, 4, 5, 6, 7)
    assert calls.most == 3


async def test_turns_come_in_the_order_in_which_they_were_asked_for(log: Store, clock: Clock) -> None:
    calls = Calls(limiter_of(log, clock, parallel=1))
    calls.ask(*range(6))
    for number in range(6):
        await calls.run(number)
        await calls.end(number)
    assert calls.began == list(range(6))


async def test_who_comes_later_does_not_take_the_place_that_another_waits_for(log: Store, clock: Clock) -> None:
    calls = Calls(limiter_of(log, clock, parallel=1))
    calls.ask(0, 1)
    await calls.wait(1)
    calls._ends[0].set()
    calls.ask(2)
    await calls.tasks[0]
    await calls.run(1)
    await calls.end(1, 2)
    assert calls.began == [0, 1, 2]


async def test_calls_begin_no_faster_than_the_rate_of_all_who_share_the_log(log: Store, clock: Clock) -> None:
    one, two = (limiter_of(log, clock, rate_per_s=50, parallel=9) for _ in range(2))
    calls, others = Calls(one), Calls(two)
    calls.ask(0, 1, 2)
    others.ask(0, 1, 2)
    await calls.run(0, 1, 2)
    await others.run(0, 1, 2)
    (row,) = await rows(log, accounts)
    assert row["next_call_at"] == clock() + timedelta(seconds=6 / 50)
    await calls.end(0, 1, 2)
    await others.end(0, 1, 2)


async def test_a_slowed_account_has_a_smaller_share_of_its_parallel_calls_too(log: Store, clock: Clock) -> None:
    """A 503 says that too many run at once; fewer a second would not help against that."""
    await share(log, clock, 0.5)
    calls = Calls(limiter_of(log, clock, parallel=4))
    calls.ask(0)
    await calls.run(0)
    calls.ask(1, 2, 3)
    await calls.run(0, 1)
    await calls.wait(2)
    await share(log, clock, 1.0)
    await calls.end(0)
    await calls.run(1, 2, 3)  # the turn that comes next says that there is room again
    await calls.end(1, 2, 3)
    assert calls.most == 3


async def test_one_call_may_always_run(log: Store, clock: Clock) -> None:
    await share(log, clock, 1 / 16)
    calls = Calls(limiter_of(log, clock, parallel=2))
    calls.ask(*range(4))
    for number in range(4):
        await eventually(lambda number=number: number in calls.running)
        await calls.end(number)
    assert calls.began == list(range(4))


async def test_when_the_share_shrinks_those_who_run_are_waited_for(log: Store, clock: Clock) -> None:
    calls = Calls(limiter_of(log, clock, parallel=4))
    calls.ask(0, 1, 2)
    await calls.run(0, 1, 2)
    await share(log, clock, 0.5)
    calls.ask(3, 4, 5)
    await calls.run(0, 1, 2, 3)
    await calls.end(0, 1)
    await calls.run(2, 3)
    await calls.wait(2)
    await calls.end(2)
    await calls.run(3, 4)
    await calls.end(3, 4, 5)


async def test_a_stop_puts_off_those_who_wait_and_those_who_come_and_lets_the_others_end(
    log: Store, clock: Clock
) -> None:
    calls = Calls(limiter_of(log, clock, parallel=2))
    calls.ask(*range(5))
    await calls.run(0, 1)
    await calls.wait(3)
    calls.limiter.stop()
    calls.ask(5)
    assert [error.until for error in await calls.refused(2, 3, 4, 5)] == [clock()] * 4, "due at once, elsewhere"
    assert sorted(calls.running) == [0, 1]
    await calls.end(0, 1)
    calls.limiter.stop()
    calls.ask(6)
    await calls.refused(6)
    assert sorted(calls.began) == [0, 1]


async def test_a_stop_puts_off_who_has_a_place_but_whose_time_has_not_come(log: Store, clock: Clock) -> None:
    await by_hand(log, update(accounts).values(next_call_at=clock() + WAIT_MAX))
    calls = Calls(limiter_of(log, clock))
    before = await rows(log, accounts)
    calls.ask(0)

    async def reserved() -> bool:
        return await rows(log, accounts) != before

    await eventually(reserved)
    calls.limiter.stop()
    await calls.refused(0)
    assert calls.began == []


async def test_a_waiter_that_is_broken_off_leaves_its_place_to_the_next(log: Store, clock: Clock) -> None:
    calls = Calls(limiter_of(log, clock, parallel=1))
    calls.ask(0, 1, 2, 3)
    await calls.wait(3)
    await calls.cancel(1, 3)
    await calls.end(0)
    await calls.run(2)
    await calls.end(2)
    calls.ask(4)
    await calls.run(4)
    await calls.end(4)


async def test_a_waiter_broken_off_just_when_its_turn_came_gives_that_on(log: Store, clock: Clock) -> None:
    calls = Calls(limiter_of(log, clock, parallel=1))
    async with calls.limiter.turn():
        calls.ask(1, 2)
        await calls.wait(2)
    calls.tasks[1].cancel()  # it was given the place, but has not run since
    await calls.run(2)
    assert calls.began == [2]
    assert calls.tasks[1].cancelled()
    await calls.end(2)


async def test_a_stop_passes_over_those_who_were_broken_off_before(log: Store, clock: Clock) -> None:
    calls = Calls(limiter_of(log, clock, parallel=1))
    calls.ask(0, 1, 2)
    await calls.wait(2)
    await calls.cancel(1)
    calls.limiter.stop()
    await calls.refused(2)
    assert calls.tasks[1].cancelled()
    await calls.end(0)


async def test_a_stop_at_the_moment_of_a_break_off_is_heard_by_nobody_in_vain(log: Store, clock: Clock) -> None:
    calls = Calls(limiter_of(log, clock, parallel=1))
    async with calls.limiter.turn():
        calls.ask(1)
        await calls.wait(1)
        calls.limiter.stop()
        calls.tasks[1].cancel()
        await calls.cancel(1)
    assert (calls.limiter._running, calls.began) == (0, [])


async def test_who_is_broken_off_while_its_time_has_not_come_gives_its_place_back(log: Store, clock: Clock) -> None:
    await by_hand(log, update(accounts).values(next_call_at=clock() + WAIT_MAX))
    calls = Calls(limiter_of(log, clock, parallel=1))
    calls.ask(0)
    await eventually(lambda: calls.limiter._running == 1)
    await calls.cancel(0)
    assert calls.limiter._running == 0


async def test_a_call_that_fails_gives_its_place_back(log: Store, clock: Clock) -> None:
    limiter = limiter_of(log, clock, parallel=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with limiter.turn():
                raise ZeroDivisionError
    async with asyncio.timeout(5), limiter.turn():
        pass


async def test_a_turn_too_far_away_is_put_off_until_then(log: Store, clock: Clock) -> None:
    later = clock() + WAIT_MAX + timedelta(seconds=1)
    await by_hand(log, update(accounts).values(slowed_until=later))
    calls = Calls(limiter_of(log, clock, parallel=1))
    calls.ask(0, 1, 2)
    assert [error.until for error in await calls.refused(0, 1, 2)] == [later] * 3
    assert calls.limiter._running == 0


async def test_an_account_that_a_person_paused_puts_every_call_off(log: Store, clock: Clock) -> None:
    await log.accounts.pause(ACCOUNT, reason="audit", now=clock())
    calls = Calls(limiter_of(log, clock, parallel=1))
    calls.ask(0, 1)
    assert [error.until for error in await calls.refused(0, 1)] == [clock() + PAUSED_WAIT] * 2
    await log.accounts.resume(ACCOUNT)
    calls.ask(2)
    await calls.run(2)
    await calls.end(2)


async def test_callers_wait_their_turn_and_never_for_a_connection(log: Store, clock: Clock) -> None:
    """200 callers of 4 connections take longer together than a read may: whoever waits must not run out of time."""
    slow = Settings(limits=Limits(rate_per_s=None, parallel=4), latency_ms=25)
    limiter = limiter_of(log, clock, parallel=4)
    with running_sandbox(seed_of(3), slow) as sandbox:
        async with sink(sandbox.base_url, turn=limiter.turn, read_s=1.0, connect_s=1.0) as chartmogul:
            calls = (chartmogul.patch(contact_uuid(number % 3), {"position": number}) for number in range(200))
            outcomes = await asyncio.gather(*calls)
        assert {outcome.kind for outcome in outcomes} == {OutcomeKind.APPLIED}
        assert sandbox.counters()["in_flight_max"] == 4
        assert sandbox.answered("PATCH", 200) == 200


@given(
    parallel=st.integers(1, 3),
    steps=st.lists(st.tuples(st.sampled_from(["ask", "end", "cancel", "breathe"]), st.integers(0, 9)), max_size=20),
)
@settings(
    max_examples=30,
    deadline=None,  # a turn takes what the disk takes
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # every example has a limiter of its own
)
async def test_whoever_asks_ends_or_is_broken_off_no_place_is_lost_or_given_twice(
    log: Store, clock: Clock, parallel: int, steps: list[tuple[str, int]]
) -> None:
    calls = Calls(limiter_of(log, clock, parallel=parallel))
    for step, number in steps:
        match step:
            case "ask" if number not in calls.tasks:
                calls.ask(number)
            case "end" if number in calls.running:
                calls._ends[number].set()
            case "cancel" if number in calls.tasks:
                calls.tasks[number].cancel()
            case _:
                await asyncio.sleep(0.001)
    for end in calls._ends.values():
        end.set()
    await asyncio.gather(*calls.tasks.values(), return_exceptions=True)
    assert calls.most <= parallel
    assert (calls.limiter._running, calls.running) == (0, [])
    calls.ask(*range(100, 100 + parallel))
    await calls.run(*range(100, 100 + parallel))
    await calls.end(*range(100, 100 + parallel))
