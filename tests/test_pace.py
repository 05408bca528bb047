"""The share of its rate that an account keeps: halved once for one excess, never nothing, and given back by time."""

from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from service.pace import RECOVERS_IN, SHARE_MIN, share_after_cut, share_at
from tests.support.clock import START

shares = st.floats(SHARE_MIN, 1.0)
instants = st.integers(-600_000, 600_000).map(lambda milliseconds: START + timedelta(milliseconds=milliseconds))
since_ever = st.none() | instants


def test_an_account_that_was_never_told_to_slow_down_has_its_whole_rate() -> None:
    assert share_at(1.0, None, START) == 1.0
    assert share_after_cut(1.0, None, called_at=START, now=START) == 0.5


def test_half_the_rate_is_whole_again_after_half_the_time() -> None:
    assert share_at(0.5, START, START + RECOVERS_IN / 4) == 0.75
    assert share_at(0.5, START, START + RECOVERS_IN / 2) == 1.0
    assert share_at(0.5, START, START + timedelta(days=1)) == 1.0


@given(shares, since_ever, instants)
def test_there_is_always_a_share_and_never_more_than_the_rate(
    share: float, since: datetime | None, now: datetime
) -> None:
    assert 0 < share_at(share, since, now) <= 1


@given(shares, instants, st.lists(instants, min_size=2).map(sorted))
def test_time_never_takes_any_of_it_and_gives_all_back(share: float, since: datetime, times: list[datetime]) -> None:
    """Nor does a clock that was set back: an account slowed in the future would not come to an end."""
    by_time = [share_at(share, since, now) for now in times]
    assert all(first <= second for first, second in pairwise(by_time))
    assert all(one >= share for one in by_time)
    assert share_at(share, since, since + RECOVERS_IN) == 1.0


@given(shares, since_ever, instants, instants)
def test_a_cut_halves_what_there_is_and_leaves_something(
    share: float, since: datetime | None, called_at: datetime, now: datetime
) -> None:
    left = share_after_cut(share, since, called_at=called_at, now=now)
    if left is None:
        assert since is not None
        assert called_at <= since
    else:
        assert left == max(SHARE_MIN, share_at(share, since, now) / 2)
        assert SHARE_MIN <= left <= 0.5


@given(shares, st.lists(st.integers(0, 2_000), min_size=1, max_size=20), st.integers(0, 2_000))
def test_calls_under_way_together_are_cut_for_once(share: float, answered_ms: list[int], called_ms: int) -> None:
    """Whenever their refusals come: all were called before the first of them was answered."""
    answered = [START + timedelta(milliseconds=called_ms + ms) for ms in sorted(answered_ms)]
    since: datetime | None = None
    cuts = 0
    for number, now in enumerate(answered):
        called_at = START + timedelta(milliseconds=min(called_ms, number))
        left = share_after_cut(share, since, called_at=called_at, now=now)
        if left is not None:
            share, since, cuts = left, now, cuts + 1
    assert cuts == 1


@given(st.integers(5, 40))
def test_refused_again_and_again_an_account_still_calls(refusals: int) -> None:
    share, since, now = 1.0, None, START
    for _ in range(refusals):
        now += timedelta(seconds=1)
        left = share_after_cut(share, since, called_at=now, now=now)
        assert left is not None
        share, since = left, now
    assert share <= 0.1
    assert share_at(share, since, now + RECOVERS_IN) == 1.0
