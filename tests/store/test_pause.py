"""An account is stopped by a person or a refused key, and slowed by ChartMogul: what goes on, and who ends which."""

import itertools
from datetime import timedelta

import pytest

from service.errors import NotFound, Postponed
from service.model import Next, OutcomeKind, Verdict
from service.schema import accounts
from service.store import Store
from service.store.accounts import PAUSED_WAIT, AccountState
from tests.support.clock import Clock
from tests.support.log import ACCOUNT, change, claim, claim_one, conclusion, finish, receive, rows

pytestmark = pytest.mark.anyio

EVERY = timedelta(milliseconds=25)
WAIT_MAX = timedelta(seconds=5)
KEY_REFUSED = "account refused (401)"


async def state(store: Store) -> AccountState:
    (found,) = await store.accounts.states()
    return found


async def refuse_key(store: Store, clock: Clock, key: str = "refused") -> None:
    """Record a try that was answered with 401."""
    await receive(store, clock, change(key, key))
    stopped = Verdict(Next.RETRY, KEY_REFUSED, due_at=clock(), pause=True)
    delivery = next(one for one in await claim(store, clock) if one.object_id == key)
    refused = conclusion(clock, kind=OutcomeKind.ACCOUNT_REFUSED, verdict=stopped, uuid=None)
    await store.deliveries.record(delivery, refused, now=clock())


async def test_an_account_that_a_person_paused_is_not_claimed_and_intake_goes_on(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a"))
    await store.accounts.pause(ACCOUNT, reason="the mapping is being mended", now=clock())
    clock.advance(86_400)
    await receive(store, clock, change("b", "982"))
    assert await claim(store, clock) == []
    assert await store.ledger.counts() == {"pending": 2}
    found = await state(store)
    assert (found.paused_by_hand, found.paused_reason) == (True, "the mapping is being mended")
    await store.accounts.resume(ACCOUNT)
    assert len(await claim(store, clock)) == 2
    found = await state(store)
    assert (found.paused_by_hand, found.paused_at, found.paused_reason) == (False, None, None)


async def test_a_person_s_pause_ends_by_a_person_alone(store: Store, clock: Clock) -> None:
    """That the key works is no reason to go on: nobody said that it did not."""
    await store.accounts.pause(ACCOUNT, reason="audit", now=clock())
    assert await store.accounts.paused() == [], "there is no key to probe"
    await store.accounts.key_works(ACCOUNT)
    assert (await state(store)).paused_by_hand


async def test_a_refused_key_s_pause_ends_when_it_works_or_by_a_person(store: Store, clock: Clock) -> None:
    for end in (store.accounts.key_works, store.accounts.resume):
        await refuse_key(store, clock, end.__name__)
        assert [one.paused_reason for one in await store.accounts.paused()] == [KEY_REFUSED]
        await end(ACCOUNT)
        assert (await state(store)).paused_at is None


async def test_a_person_may_pause_what_a_refused_key_stopped(store: Store, clock: Clock) -> None:
    await refuse_key(store, clock)
    await store.accounts.pause(ACCOUNT, reason="until Monday", now=clock.advance(60))
    await store.accounts.key_works(ACCOUNT)
    found = await state(store)
    assert (found.paused_by_hand, found.paused_reason, found.paused_at) == (True, "until Monday", clock())


async def test_a_call_under_way_does_not_take_a_person_s_pause_for_its_own(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a"))
    delivery = await claim_one(store, clock)
    await store.accounts.pause(ACCOUNT, reason="audit", now=clock())
    paused_at = clock()
    clock.advance(1)
    stopped = Verdict(Next.RETRY, KEY_REFUSED, due_at=clock(), pause=True)
    refused = conclusion(clock, kind=OutcomeKind.ACCOUNT_REFUSED, verdict=stopped, uuid=None)
    await store.deliveries.record(delivery, refused, now=clock())
    found = await state(store)
    assert (found.paused_by_hand, found.paused_reason, found.paused_at) == (True, "audit", paused_at)


async def test_what_was_claimed_before_the_pause_is_put_off_at_its_turn(store: Store, clock: Clock) -> None:
    await store.accounts.pause(ACCOUNT, reason="audit", now=clock())
    before = await rows(store, accounts)
    with pytest.raises(Postponed) as postponed:
        await store.accounts.reserve(ACCOUNT, every=EVERY, wait_max=WAIT_MAX, now=clock())
    assert postponed.value.until == clock() + PAUSED_WAIT
    assert await rows(store, accounts) == before


async def test_a_probe_of_a_refused_key_may_take_its_turn(store: Store, clock: Clock) -> None:
    """Else nobody would learn that the key works again."""
    await refuse_key(store, clock)
    assert (await store.accounts.reserve(ACCOUNT, every=EVERY, wait_max=WAIT_MAX, now=clock())).at == clock()


@pytest.mark.parametrize("verb", ["pause", "resume"])
async def test_an_account_that_is_not_known_is_not_found_and_those_that_are_get_named(
    store: Store, clock: Clock, verb: str
) -> None:
    await store.accounts.ensure(["emea"], now=clock())
    tries = {
        "pause": lambda: store.accounts.pause("emae", reason="audit", now=clock()),
        "resume": lambda: store.accounts.resume("emae"),
    }
    with pytest.raises(NotFound, match="'emae'") as unknown:
        await tries[verb]()
    assert unknown.value.hint == f"known are: {ACCOUNT}, emea"
    assert [one.paused_at for one in await store.accounts.states()] == [None, None]


async def test_a_service_that_never_started_says_that_it_knows_no_account(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    try:
        await store.migrate()
        with pytest.raises(NotFound) as unknown:
            await store.accounts.resume(ACCOUNT)
        assert unknown.value.hint == "known are: none yet, start the service"
    finally:
        await store.close()


async def slow_down(store: Store, clock: Clock, *, called_s_ago: float = 0, for_s: float = 1) -> None:
    """Record a try that was told to slow down, and that began so long ago."""
    key = f"slow-{len(await store.ledger.deliveries(limit=999))}"
    await receive(store, clock, change(key, key))
    await store.accounts.resume(ACCOUNT)
    (delivery,) = await store.deliveries.claim(
        account=ACCOUNT, owner="a", now=clock.after(3600), lease_until=clock.after(7200), limit=1
    )
    told = Verdict(Next.RETRY, "rate limited (429)", due_at=clock.after(86_400), slow_until=clock.after(for_s))
    now = clock()
    clock.advance(-called_s_ago)
    answer = conclusion(clock, kind=OutcomeKind.RATE_LIMITED, verdict=told, uuid=None)
    clock.advance(called_s_ago)
    assert await store.deliveries.record(delivery, answer, now=now)


async def next_turns(store: Store, clock: Clock, count: int) -> list[timedelta]:
    """Reserve so many turns and return the time between them."""
    at = [
        (await store.accounts.reserve(ACCOUNT, every=EVERY, wait_max=timedelta(hours=1), now=clock())).at
        for _ in range(count)
    ]
    return [second - first for first, second in itertools.pairwise(at)]


async def test_an_account_told_to_slow_down_keeps_half_of_its_rate_and_gets_it_back_with_time(
    store: Store, clock: Clock
) -> None:
    assert (await state(store)).share == 1
    await slow_down(store, clock)
    assert ((await state(store)).share, (await state(store)).share_at) == (0.5, clock())
    assert await next_turns(store, clock, 3) == [EVERY * 2, EVERY * 2]
    clock.advance(15)  # a quarter of a minute gives a quarter of the rate
    assert await next_turns(store, clock, 3) == [EVERY / 0.75, EVERY / 0.75]
    clock.advance(3600)
    assert await next_turns(store, clock, 3) == [EVERY, EVERY]


async def test_of_calls_under_way_together_the_first_that_is_refused_slows_for_all(store: Store, clock: Clock) -> None:
    """Sixteen refusals of one excess are one reason: cut for each, the account would stand still."""
    for _ in range(16):
        await slow_down(store, clock, called_s_ago=0.5)
        clock.advance(0.01)
    assert (await state(store)).share == 0.5
    clock.advance(0.5)
    await slow_down(store, clock, called_s_ago=0.1)
    assert 0.25 < (await state(store)).share < 0.26, "this one was made at half the rate already, and was too much"


async def test_a_slowed_account_s_turns_say_what_share_of_its_parallel_calls_it_has(store: Store, clock: Clock) -> None:
    async def share() -> float:
        return (await store.accounts.reserve(ACCOUNT, every=EVERY, wait_max=WAIT_MAX, now=clock())).share

    assert await share() == 1
    await slow_down(store, clock)
    assert await share() == 0.5
    clock.advance(6)
    assert await share() == pytest.approx(0.6)


async def test_replicas_keep_the_slower_pace_together(store: Store, other_store: Store, clock: Clock) -> None:
    await slow_down(store, clock)
    reserved = [
        (await one.accounts.reserve(ACCOUNT, every=EVERY, wait_max=WAIT_MAX, now=clock())).at
        for one in (store, other_store, store, other_store)
    ]
    assert reserved == [clock.after(1) + EVERY * 2 * number for number in range(4)]


async def test_an_answer_that_slows_nothing_leaves_the_share(store: Store, clock: Clock) -> None:
    await slow_down(store, clock)
    await receive(store, clock, change("fine", "fine"))
    clock.advance(5)
    assert await finish(store, clock, await claim_one(store, clock), uuid=None)
    assert (await state(store)).share == 0.5
