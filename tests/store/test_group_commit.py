"""Arrivals that wait together share a commit, and none of them pays for another's fault."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from service.errors import Overloaded, StoreError, StoreUnavailable
from service.model import Change, Receipt
from service.schema import deliveries, events, requests
from service.store import Store
from service.store.intake import GROUP_MAX
from tests.support.clock import Clock
from tests.support.log import arrival, change, rows, writing_engine

pytestmark = pytest.mark.anyio


@contextmanager
def counted_commits(store: Store) -> Iterator[list[None]]:
    """Gather one entry for each commit of the store's writing engine."""
    commits: list[None] = []

    def count(_connection: object) -> None:
        commits.append(None)

    event.listen(writing_engine(store), "commit", count)
    yield commits
    event.remove(writing_engine(store), "commit", count)


def people(count: int) -> list[Change]:
    return [change(f"d1f0-{number}", str(number)) for number in range(count)]


async def test_concurrent_arrivals_share_commits(store: Store, clock: Clock) -> None:
    """The disk, not the CPU, bounds intake: one sync must carry many."""
    with counted_commits(store) as commits:
        receipts = await asyncio.gather(*(store.intake.append(arrival(one, at=clock())) for one in people(100)))
    assert set(receipts) == {Receipt(1, 0)}
    assert len(await rows(store, events)) == 100
    assert len(commits) <= 3


async def test_a_group_has_its_limit(store: Store, clock: Clock) -> None:
    with counted_commits(store) as commits:
        await asyncio.gather(*(store.intake.append(arrival(one, at=clock())) for one in people(GROUP_MAX + 1)))
    assert len(commits) == 2
    assert len(await rows(store, events)) == GROUP_MAX + 1


async def test_each_of_a_group_gets_its_own_receipt(store: Store, clock: Clock) -> None:
    first, second, third = people(3)
    receipts = await asyncio.gather(
        store.intake.append(arrival(first, second, at=clock())),
        store.intake.append(arrival(second, third, at=clock())),
        store.intake.append(arrival(third, at=clock())),
    )
    assert list(receipts) == [Receipt(2, 0), Receipt(1, 1), Receipt(0, 1)]
    assert len(await rows(store, requests)) == 2


async def test_past_the_limit_of_waiting_arrivals_are_refused_and_those_within_it_stored(
    store_url: str, store: Store, clock: Clock
) -> None:
    narrow = Store(store_url, waiting_max=5)
    try:
        ends = await asyncio.gather(
            *(narrow.intake.append(arrival(one, at=clock())) for one in people(12)), return_exceptions=True
        )
        refused = [end for end in ends if isinstance(end, Overloaded)]
        assert len(refused) == 7
        assert len(await rows(store, events)) == 5
        assert await narrow.intake.append(arrival(change("d1f0-later"), at=clock())) == Receipt(1, 0)
    finally:
        await narrow.close()


BEYOND_JSON = change("bad", values={"revenue": 2**64})
LONE_SURROGATE = change("bad-\ud800")


@pytest.mark.parametrize("bad", [BEYOND_JSON, LONE_SURROGATE], ids=["a number beyond 64 bits", "a lone surrogate"])
async def test_an_arrival_that_cannot_be_kept_fails_alone(store: Store, clock: Clock, bad: Change) -> None:
    """One sender's oddity must not turn away what the others of its group sent."""
    good = people(6)
    ends = await asyncio.wait_for(
        asyncio.gather(
            *(store.intake.append(arrival(one, at=clock())) for one in [*good[:3], bad, *good[3:]]),
            return_exceptions=True,
        ),
        timeout=10,
    )
    assert [end for end in ends if not isinstance(end, BaseException)] == [Receipt(1, 0)] * 6
    assert type(ends[3]) is StoreError
    assert sorted(row["dedup_key"] for row in await rows(store, events)) == [one.dedup_key for one in good]
    assert len(await rows(store, requests)) == len(await rows(store, deliveries)) == 6


async def test_a_nul_character_fails_alone_where_the_engine_cannot_keep_it(store: Store, clock: Clock) -> None:
    """PostgreSQL has no NUL in text; SQLite keeps it."""
    ends = await asyncio.gather(
        *(store.intake.append(arrival(one, at=clock())) for one in (change("a", "1"), change("b", "4\x005"))),
        return_exceptions=True,
    )
    assert ends[0] == Receipt(1, 0)
    if store.embedded:
        assert ends[1] == Receipt(1, 0)
    else:
        assert type(ends[1]) is StoreError
        assert "\x00" not in str(ends[1])


async def test_a_sender_that_hangs_up_harms_neither_its_change_nor_the_others(store: Store, clock: Clock) -> None:
    waiting = [asyncio.create_task(store.intake.append(arrival(one, at=clock()))) for one in people(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[3].cancel()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [
        asyncio.CancelledError,
        Receipt,
        Receipt,
        asyncio.CancelledError,
        Receipt,
    ]
    assert len(await rows(store, events)) == 5


async def test_a_sender_that_hangs_up_is_passed_over_when_the_group_fails(store: Store, clock: Clock) -> None:
    waiting = [asyncio.create_task(store.intake.append(arrival(one, at=clock()))) for one in (BEYOND_JSON, change())]
    await asyncio.sleep(0)
    waiting[0].cancel()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [asyncio.CancelledError, Receipt]


async def test_no_caller_waits_for_ever_when_committing_is_broken_off(store: Store, clock: Clock) -> None:
    """At the end of the loop, the committer is cancelled with everything else: nobody may be told that it is stored."""
    waiting = [asyncio.create_task(store.intake.append(arrival(one, at=clock()))) for one in people(GROUP_MAX + 2)]
    await asyncio.sleep(0)
    committer = store.intake._committer
    assert committer is not None
    committer.cancel()
    ends = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), timeout=10)
    assert {type(end) for end in ends} == {StoreUnavailable}
    assert (await store.intake.append(arrival(change("after"), at=clock()))).accepted == 1
