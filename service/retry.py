"""What follows from an outcome: done, again at a later time, or a dead letter; a decision, apart from any loop."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never

from service.model import Next, Outcome, OutcomeKind, Verdict

BASE_S: Final = 2.0
"""The longest first wait; each failure doubles it."""
CAP_S: Final = 900.0
"""The longest wait between two tries."""
SERVER_ERRORS_MAX: Final = 5
"""Tries at a 500: with ChartMogul it may be a refusal in disguise, so it is not repeated for days."""
FAULTS_MAX: Final = 5
"""Tries at a fault of our own, so that a poisoned event cannot spin."""
SLOW_S: Final = 1.0
"""The shortest time that a whole account is held back after a 429 or 503; it doubles with the delivery's failures."""
SLOW_MAX_S: Final = 60.0
RETRY_AFTER_MAX_S: Final = 3600.0
"""More than an hour of Retry-After is not believed."""
PAUSE_SPREAD_S: Final = 30.0
"""Over how long the deliveries of a paused account spread, so that they do not all come back at once."""


@dataclass(frozen=True, slots=True)
class History:
    """What a delivery went through before this outcome."""

    attempts: int
    failing_since: datetime | None
    relinked: bool = False
    repeats: int = 0
    """How many tries before this one had this very outcome, without another between."""


HINTS: Final[dict[OutcomeKind, str]] = {
    OutcomeKind.APPLIED: "nothing to do",
    OutcomeKind.UNCHANGED: "nothing to do: ChartMogul holds these values",
    OutcomeKind.SHADOWED: "`explain` shows what would be sent; `deliver: live` sends what is still new of it",
    OutcomeKind.RATE_LIMITED: "other integrations use the account's 40 requests/s too; lower CHARTMOGUL_RATE_PER_S",
    OutcomeKind.OVERLOADED: "more than 20 requests ran in parallel; lower CHARTMOGUL_PARALLEL",
    OutcomeKind.UNREACHABLE: "check the network and CHARTMOGUL_BASE_URL; it is tried again by itself",
    OutcomeKind.UNKNOWN: "the call may have been applied; it is repeated, which does no harm",
    OutcomeKind.SERVER_ERROR: "read ChartMogul's message in the attempt; after mending the mapping, replay it",
    OutcomeKind.ACCOUNT_REFUSED: "check CHARTMOGUL_API_KEY, its write access and the plan; it resumes by itself",
    OutcomeKind.CONTACT_GONE: "the contact was merged or deleted in ChartMogul; check it there, then replay",
    OutcomeKind.REJECTED: "read ChartMogul's message in the attempt; after mending the mapping, replay it",
    OutcomeKind.CONTACT_UNKNOWN: "create the contact in ChartMogul or mend `resolve`, then replay; or on_unknown: skip",
    OutcomeKind.CONTACT_AMBIGUOUS: "merge the contacts in ChartMogul, then replay; or on_ambiguous: first",
    OutcomeKind.UNMAPPABLE: "mend the mapping, then replay",
    OutcomeKind.CRM_UNREACHABLE: "check the network and the host that read_back names; it is tried again by itself",
    OutcomeKind.CRM_RATE_LIMITED: "other integrations use the CRM's API too; it is tried again by itself",
    OutcomeKind.CRM_REFUSED: "check read_back's credentials and region, and what they may read",
    OutcomeKind.CRM_REJECTED: "the CRM's API does not take the record's id or a mapped field; mend it, then replay",
    OutcomeKind.FAULT: "this is our fault: please report it with the log line of the attempt",
}
"""What a person can do about each outcome."""


def decide(  # noqa: PLR0911  # one consequence for each outcome
    outcome: Outcome, history: History, *, now: datetime, retry_for: timedelta, chance: float
) -> Verdict:
    """Say what follows. ``chance`` is uniform in [0, 1): the jitter is full, so tries spread over the whole wait."""
    kind, hint = outcome.kind, HINTS[outcome.kind]
    match kind:
        case OutcomeKind.APPLIED | OutcomeKind.UNCHANGED:
            return Verdict(Next.DONE, kind.value, hint=hint)
        case OutcomeKind.SHADOWED:
            return Verdict(Next.SHADOW, "shadow mode: nothing is sent", hint=hint)
        case OutcomeKind.RATE_LIMITED | OutcomeKind.OVERLOADED:
            slow_until = now + timedelta(seconds=_slow_s(outcome, history))
            return _again(outcome, history, now, retry_for, chance, slow_until)
        case (
            OutcomeKind.UNREACHABLE
            | OutcomeKind.UNKNOWN
            | OutcomeKind.CRM_UNREACHABLE
            | OutcomeKind.CRM_RATE_LIMITED
            | OutcomeKind.CRM_REFUSED
        ):
            return _again(outcome, history, now, retry_for, chance)
        case OutcomeKind.SERVER_ERROR:
            return _again(outcome, history, now, retry_for, chance, tries_max=SERVER_ERRORS_MAX)
        case OutcomeKind.FAULT:
            return _again(outcome, history, now, retry_for, chance, tries_max=FAULTS_MAX)
        case OutcomeKind.ACCOUNT_REFUSED:
            later = now + timedelta(seconds=PAUSE_SPREAD_S * chance)
            return Verdict(Next.RETRY, _reason(outcome), due_at=later, pause=True, hint=hint)
        case OutcomeKind.CONTACT_GONE if not history.relinked:
            return Verdict(Next.RELINK, _reason(outcome), due_at=now, hint=hint)
        case (
            OutcomeKind.CONTACT_GONE
            | OutcomeKind.REJECTED
            | OutcomeKind.CONTACT_UNKNOWN
            | OutcomeKind.CONTACT_AMBIGUOUS
            | OutcomeKind.UNMAPPABLE
            | OutcomeKind.CRM_REJECTED
        ):
            return Verdict(Next.DEAD, _reason(outcome), hint=hint)
        case _:
            assert_never(kind)


def _again(  # the whole of a decision, private to this file
    outcome: Outcome,
    history: History,
    now: datetime,
    retry_for: timedelta,
    chance: float,
    slow_until: datetime | None = None,
    *,
    tries_max: int | None = None,
) -> Verdict:
    since = history.failing_since or now
    hint = HINTS[outcome.kind]
    if tries_max is not None and history.repeats + 1 >= tries_max:
        return Verdict(Next.DEAD, f"{_reason(outcome)}; gave up after {tries_max} tries", hint=hint)
    if now - since >= retry_for:
        hours = retry_for.total_seconds() / 3600
        return Verdict(Next.DEAD, f"{_reason(outcome)}; gave up after {hours:g} h", slow_until=slow_until, hint=hint)
    wait_s = min(CAP_S, BASE_S * 2.0 ** min(history.attempts, 30)) * chance
    if outcome.retry_after_s is not None:
        wait_s += min(outcome.retry_after_s, RETRY_AFTER_MAX_S)
    due_at = now + timedelta(seconds=wait_s)
    if slow_until is not None:
        due_at = max(due_at, slow_until)
    return Verdict(Next.RETRY, _reason(outcome), due_at=due_at, slow_until=slow_until, hint=hint)


def _slow_s(outcome: Outcome, history: History) -> float:
    if outcome.retry_after_s is not None:
        return max(SLOW_S, min(outcome.retry_after_s, RETRY_AFTER_MAX_S))
    return min(SLOW_MAX_S, SLOW_S * 2.0 ** min(history.attempts, 30))


def _reason(outcome: Outcome) -> str:
    kind = outcome.kind.value.replace("_", " ")
    answered = f"{kind} ({outcome.status})" if outcome.status is not None else kind
    return f"{answered}: {outcome.detail}" if outcome.detail else answered
