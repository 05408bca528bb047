"""Each outcome has one consequence, every wait has its bounds, and nothing is tried for ever."""

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service import retry
from service.model import Next, Outcome, OutcomeKind, Verdict
from service.retry import History, decide

NOW: Final = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
RETRY_FOR: Final = timedelta(hours=72)
FIRST: Final = History(0, None)
AGAIN: Final = History(3, NOW - timedelta(hours=1))
SPENT: Final = History(200, NOW - RETRY_FOR)
RELINKED: Final = History(1, NOW - timedelta(minutes=1), relinked=True)

SLOWING: Final = (OutcomeKind.RATE_LIMITED, OutcomeKind.OVERLOADED)
READING: Final = (OutcomeKind.CRM_UNREACHABLE, OutcomeKind.CRM_RATE_LIMITED, OutcomeKind.CRM_REFUSED)
PATIENT: Final = (*SLOWING, OutcomeKind.UNREACHABLE, OutcomeKind.UNKNOWN, *READING)
COUNTED: Final = (OutcomeKind.SERVER_ERROR, OutcomeKind.FAULT)

D, R, L, X, S = Next.DONE, Next.RETRY, Next.RELINK, Next.DEAD, Next.SHADOW
TABLE: Final = {
    # outcome: at first, after some failures, after retry_for, after it was relinked
    OutcomeKind.APPLIED: (D, D, D, D),
    OutcomeKind.UNCHANGED: (D, D, D, D),
    OutcomeKind.SHADOWED: (S, S, S, S),
    OutcomeKind.RATE_LIMITED: (R, R, X, R),
    OutcomeKind.OVERLOADED: (R, R, X, R),
    OutcomeKind.UNREACHABLE: (R, R, X, R),
    OutcomeKind.UNKNOWN: (R, R, X, R),
    OutcomeKind.SERVER_ERROR: (R, R, X, R),
    OutcomeKind.FAULT: (R, R, X, R),
    OutcomeKind.ACCOUNT_REFUSED: (R, R, R, R),
    OutcomeKind.CONTACT_GONE: (L, L, L, X),
    OutcomeKind.REJECTED: (X, X, X, X),
    OutcomeKind.CONTACT_UNKNOWN: (X, X, X, X),
    OutcomeKind.CONTACT_AMBIGUOUS: (X, X, X, X),
    OutcomeKind.UNMAPPABLE: (X, X, X, X),
    OutcomeKind.CRM_UNREACHABLE: (R, R, X, R),
    OutcomeKind.CRM_RATE_LIMITED: (R, R, X, R),
    OutcomeKind.CRM_REFUSED: (R, R, X, R),
    OutcomeKind.CRM_REJECTED: (X, X, X, X),
}

kinds = st.sampled_from(OutcomeKind)
outcomes = st.builds(
    Outcome,
    kinds,
    st.none() | st.integers(100, 599),
    st.text(max_size=20),
    st.none() | st.floats(0, 999_999),
)
histories = st.builds(
    History,
    st.integers(0, 10_000),
    st.none() | st.timedeltas(timedelta(hours=-1), timedelta(hours=100)).map(lambda ago: NOW - ago),
    st.booleans(),
)
chances = st.floats(0, 1, exclude_max=True)
retry_fors = st.timedeltas(timedelta(0), timedelta(days=30))


def verdict(outcome: Outcome, history: History = FIRST, *, chance: float = 0.5) -> Verdict:
    return decide(outcome, history, now=NOW, retry_for=RETRY_FOR, chance=chance)


def wait_s(given: Verdict) -> float:
    assert given.due_at is not None
    return (given.due_at - NOW).total_seconds()


@pytest.mark.parametrize("column", range(4), ids=["first", "again", "spent", "relinked"])
@pytest.mark.parametrize("kind", OutcomeKind)
def test_what_follows_from_each_outcome(kind: OutcomeKind, column: int) -> None:
    history = (FIRST, AGAIN, SPENT, RELINKED)[column]
    assert verdict(Outcome(kind), history).next is TABLE[kind][column]


@pytest.mark.parametrize("kind", OutcomeKind)
def test_every_outcome_tells_a_person_what_to_do(kind: OutcomeKind) -> None:
    assert len(retry.HINTS[kind]) > 10
    for history in (FIRST, AGAIN, SPENT, RELINKED):
        assert verdict(Outcome(kind), history).hint == retry.HINTS[kind]


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome(OutcomeKind.APPLIED, 200), "applied"),
        (Outcome(OutcomeKind.UNCHANGED), "unchanged"),
        (Outcome(OutcomeKind.UNREACHABLE, detail="ConnectError"), "unreachable: ConnectError"),
        (Outcome(OutcomeKind.OVERLOADED, 503), "overloaded (503)"),
        (
            Outcome(OutcomeKind.ACCOUNT_REFUSED, 401, "No valid API key provided"),
            "account refused (401): No valid API key provided",
        ),
    ],
)
def test_the_reason_says_what_was_answered(outcome: Outcome, reason: str) -> None:
    assert verdict(outcome).reason == reason


@given(outcomes, histories, chances, retry_fors)
def test_a_verdict_is_whole(outcome: Outcome, history: History, chance: float, retry_for: timedelta) -> None:
    """The reason is free of leftovers, there is a hint, and a time exactly where there is another try, never past."""
    given = decide(outcome, history, now=NOW, retry_for=retry_for, chance=chance)
    assume("None" not in outcome.detail)
    assert given.reason
    assert "None" not in given.reason
    assert given.hint
    assert (given.due_at is not None) == (given.next in {Next.RETRY, Next.RELINK})
    assert given.due_at is None or given.due_at >= NOW
    assert given.pause == (outcome.kind is OutcomeKind.ACCOUNT_REFUSED)
    assert (given.slow_until is not None) == (outcome.kind in SLOWING)


@given(
    st.sampled_from([OutcomeKind.UNREACHABLE, OutcomeKind.UNKNOWN, *COUNTED]),
    st.integers(0, 3),
    chances,
)
def test_the_jitter_is_full_and_its_bound_doubles(kind: OutcomeKind, attempts: int, chance: float) -> None:
    bound_s = retry.BASE_S * 2**attempts
    waited_s = wait_s(verdict(Outcome(kind), History(attempts, NOW), chance=chance))
    assert 0 <= waited_s <= bound_s
    assert waited_s == pytest.approx(bound_s * chance, abs=1e-5)


@given(st.sampled_from([OutcomeKind.UNREACHABLE, OutcomeKind.UNKNOWN]), st.integers(0, 100_000), chances)
def test_no_wait_is_longer_than_the_cap(kind: OutcomeKind, attempts: int, chance: float) -> None:
    assert 0 <= wait_s(verdict(Outcome(kind), History(attempts, NOW), chance=chance)) <= retry.CAP_S


def test_the_cap_is_reached() -> None:
    assert wait_s(verdict(Outcome(OutcomeKind.UNREACHABLE), History(9, NOW), chance=0.999)) > 0.99 * retry.CAP_S


@pytest.mark.parametrize("kind", [*PATIENT, *COUNTED])
def test_retry_after_is_waited_for_and_the_jitter_comes_on_top(kind: OutcomeKind) -> None:
    """All who were told the same time would otherwise come back at once."""
    outcome = Outcome(kind, retry_after_s=30.0)
    assert wait_s(verdict(outcome, chance=0)) == 30
    assert wait_s(verdict(outcome, chance=0.5)) == 31


@given(st.sampled_from([*PATIENT, *COUNTED]), st.floats(0, 999_999), chances)
def test_retry_after_is_honoured_up_to_an_hour(kind: OutcomeKind, retry_after_s: float, chance: float) -> None:
    waited_s = wait_s(verdict(Outcome(kind, retry_after_s=retry_after_s), chance=chance))
    least_s = min(retry_after_s, retry.RETRY_AFTER_MAX_S)
    assert least_s - 1e-5 <= waited_s <= max(least_s + retry.BASE_S, retry.SLOW_S) + 1e-5


@pytest.mark.parametrize("kind", SLOWING)
def test_a_limit_holds_the_whole_account_back(kind: OutcomeKind) -> None:
    first, later = verdict(Outcome(kind), chance=0), verdict(Outcome(kind), History(3, NOW), chance=0)
    assert first.slow_until == first.due_at == NOW + timedelta(seconds=1)
    assert later.slow_until == later.due_at == NOW + timedelta(seconds=8)
    asked = verdict(Outcome(kind, retry_after_s=30.0), chance=0.5)
    assert asked.slow_until == NOW + timedelta(seconds=30)


@given(st.sampled_from(SLOWING), histories, st.none() | st.floats(0, 999_999), chances)
def test_an_account_is_never_held_back_for_nothing_nor_for_long(
    kind: OutcomeKind, history: History, retry_after_s: float | None, chance: float
) -> None:
    given = verdict(Outcome(kind, retry_after_s=retry_after_s), history, chance=chance)
    assert given.slow_until is not None
    slowed_s = (given.slow_until - NOW).total_seconds()
    assert retry.SLOW_S <= slowed_s <= (retry.SLOW_MAX_S if retry_after_s is None else retry.RETRY_AFTER_MAX_S)
    assert given.due_at is None or given.due_at >= given.slow_until


def test_a_dead_letter_after_a_limit_still_slows_the_account() -> None:
    given = verdict(Outcome(OutcomeKind.RATE_LIMITED, 429), SPENT)
    assert given.next is Next.DEAD
    assert given.slow_until is not None


@pytest.mark.parametrize("kind", COUNTED)
def test_a_500_and_a_fault_of_ours_are_tried_five_times(kind: OutcomeKind) -> None:
    """A 500 may be a refusal in disguise: https://github.com/chartmogul/chartmogul-php/issues/132."""
    verdicts = [verdict(Outcome(kind, 500, "schema"), History(repeats, NOW, repeats=repeats)) for repeats in range(5)]
    assert [it.next for it in verdicts] == [Next.RETRY] * 4 + [Next.DEAD]
    assert verdicts[-1].reason == f"{kind.value.replace('_', ' ')} (500): schema; gave up after 5 tries"


@pytest.mark.parametrize("kind", COUNTED)
def test_tries_that_failed_for_another_reason_do_not_count_towards_five(kind: OutcomeKind) -> None:
    """An outage of an hour, then one 500, is no reason to give up."""
    assert verdict(Outcome(kind, 500), History(12, NOW, repeats=0)).next is Next.RETRY


@pytest.mark.parametrize("kind", [*PATIENT, *COUNTED])
def test_what_fails_for_retry_for_is_given_up(kind: OutcomeKind) -> None:
    just_before = History(3, NOW - RETRY_FOR + timedelta(microseconds=1))
    assert verdict(Outcome(kind), just_before).next is Next.RETRY
    given = verdict(Outcome(kind), dataclasses.replace(just_before, failing_since=NOW - RETRY_FOR))
    assert given.next is Next.DEAD
    assert given.reason.endswith("; gave up after 72 h")


def test_the_time_of_giving_up_is_told_as_it_was_set() -> None:
    outcome, history = Outcome(OutcomeKind.UNREACHABLE), History(3, NOW - timedelta(hours=2))
    given = decide(outcome, history, now=NOW, retry_for=timedelta(minutes=90), chance=0.5)
    assert given.reason == "unreachable; gave up after 1.5 h"


def test_the_first_failure_is_tried_again_however_many_tries_were_before_it() -> None:
    """Without a time of the first failure, it is this one."""
    assert verdict(Outcome(OutcomeKind.UNREACHABLE), History(500, None)).next is Next.RETRY


@given(histories, chances, retry_fors)
def test_a_refused_key_stops_the_account_and_burns_no_delivery(
    history: History, chance: float, retry_for: timedelta
) -> None:
    refused = Outcome(OutcomeKind.ACCOUNT_REFUSED, 401, "No valid API key provided")
    given = decide(refused, history, now=NOW, retry_for=retry_for, chance=chance)
    assert (given.next, given.pause, given.slow_until) == (Next.RETRY, True, None)
    assert 0 <= wait_s(given) <= retry.PAUSE_SPREAD_S


def test_a_contact_that_is_gone_is_looked_up_again_at_once_but_once() -> None:
    """A merge in ChartMogul makes a uuid stale; its other half is found by the search."""
    gone = Outcome(OutcomeKind.CONTACT_GONE, 404, "Contact does not exist (contact_uuid)")
    assert verdict(gone).next is Next.RELINK
    assert verdict(gone).due_at == NOW
    again = verdict(gone, RELINKED)
    assert (again.next, again.reason) == (Next.DEAD, "contact gone (404): Contact does not exist (contact_uuid)")
