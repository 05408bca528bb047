"""Who goes first: what CRMs send now, then replays, then imports, and of the latter never too many at once."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from service.model import Priority
from service.schema import deliveries, events
from service.store import Store
from service.store.replay import Selection
from tests.support.clock import Clock
from tests.support.log import ACCOUNT, bury, by_hand, change, claim_one, receive, rows

pytestmark = pytest.mark.anyio

LIVE, REPLAY, IMPORT = Priority


async def waiting(store: Store, clock: Clock, **counts: int) -> None:
    """Let so many deliveries of each priority wait, the least urgent the longest."""
    for priority in reversed(Priority):
        for number in range(counts.get(priority.name.lower(), 0)):
            key = f"{priority.name.lower()}-{number}"
            await receive(store, clock, change(key, key), priority=priority)
            clock.advance(1)


async def claimed(store: Store, clock: Clock, limit: int, limit_later: int | None = None) -> list[str]:
    """Claim and return whose turn it is, in order."""
    taken = await store.deliveries.claim(
        account=ACCOUNT,
        owner="replica-a",
        now=clock(),
        lease_until=clock.after(60),
        limit=limit,
        limit_later=limit_later,
    )
    return [one.object_id for one in taken]


async def test_what_crms_send_now_goes_before_replays_and_those_before_imports(store: Store, clock: Clock) -> None:
    await waiting(store, clock, live=2, replay=2, **{"import": 2})
    assert await claimed(store, clock, 3) == ["live-0", "live-1", "replay-0"]
    await receive(store, clock, change("live-2", "live-2"))
    assert await claimed(store, clock, 9) == ["live-2", "replay-1", "import-0", "import-1"]


async def test_a_replay_waits_behind_what_came_before_it_and_an_import_behind_both(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("dead"))
    await bury(store, clock, await claim_one(store, clock))
    await receive(store, clock, change("import", "import"), priority=IMPORT)
    await store.replays.batch(Selection(), now=clock())
    await receive(store, clock, change("live", "live"))
    assert await claimed(store, clock, 9) == ["live", "451", "import"]


@pytest.mark.parametrize(
    ("limit", "limit_later", "expected"),
    [
        (6, None, ["live-0", "live-1", "replay-0", "replay-1", "import-0", "import-1"]),
        (6, 6, ["live-0", "live-1", "replay-0", "replay-1", "import-0", "import-1"]),
        (6, 3, ["live-0", "live-1", "replay-0"]),
        (6, 2, ["live-0", "live-1"]),
        (6, 0, ["live-0", "live-1"]),
        (1, 6, ["live-0"]),
    ],
)
async def test_what_is_not_live_is_taken_only_as_far_as_its_limit(
    store: Store, clock: Clock, limit: int, limit_later: int | None, expected: list[str]
) -> None:
    """What is claimed ahead and waits for its turn would be ahead of the next webhook."""
    await waiting(store, clock, live=2, replay=2, **{"import": 2})
    assert await claimed(store, clock, limit, limit_later) == expected


async def test_the_next_due_time_is_that_of_any_priority(store: Store, clock: Clock) -> None:
    await waiting(store, clock, **{"import": 1})
    assert await store.deliveries.next_due(ACCOUNT) == clock.after(-1)


@pytest.mark.parametrize("first", [REPLAY, IMPORT])
async def test_a_change_that_a_crm_sends_now_takes_its_contact_s_import_along(
    store: Store, clock: Clock, first: Priority
) -> None:
    await receive(store, clock, change("a"), priority=first)
    await receive(store, clock, change("b"))
    assert [row["priority"] for row in await rows(store, deliveries)] == [LIVE]


@pytest.mark.parametrize("second", [REPLAY, IMPORT])
async def test_an_import_of_a_contact_that_has_a_change_waiting_does_not_hold_it_back(
    store: Store, clock: Clock, second: Priority
) -> None:
    await receive(store, clock, change("a"))
    await receive(store, clock, change("b"), priority=second)
    assert [row["priority"] for row in await rows(store, deliveries)] == [LIVE]


@given(
    counts=st.fixed_dictionaries({name: st.integers(0, 4) for name in ("live", "replay", "import")}),
    limit=st.integers(1, 8),
    limit_later=st.none() | st.integers(0, 8),
)
@settings(
    max_examples=15,
    deadline=None,  # a commit takes what the disk takes
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # every example empties the log first
)
async def test_a_claim_is_bounded_and_leaves_nothing_more_urgent_than_what_it_takes(
    store: Store, clock: Clock, counts: dict[str, int], limit: int, limit_later: int | None
) -> None:
    await by_hand(store, delete(deliveries), delete(events))
    await waiting(store, clock, **counts)
    taken = await claimed(store, clock, limit, limit_later)
    later = [one for one in taken if not one.startswith("live")]
    assert len(taken) - len(later) == min(counts["live"], limit)
    room = limit if limit_later is None else min(limit, limit_later)
    wished = max(0, min(counts["replay"] + counts["import"], room - (len(taken) - len(later))))
    assert len(later) == wished
    if any(one.startswith("import") for one in taken):
        assert len([one for one in taken if one.startswith("replay")]) == counts["replay"]
