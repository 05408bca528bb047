"""What a try leaves in the log, once it is decided what follows from it; pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from service.coalesce import CUSTOM, Plan, again_at, compare, contact_fields, doubts_after, sure_of
from service.model import (
    NOTHING_KNOWN,
    Attempt,
    Conclusion,
    Confirmed,
    Disposition,
    Doubt,
    EventState,
    Known,
    Link,
    Next,
    Outcome,
    OutcomeKind,
    Record,
    Settle,
    Shadowed,
    Verdict,
)
from service.shadow import doubts_left, go_with, would_stand
from service.translate import Settled

DOUBTFUL: Final = frozenset({OutcomeKind.UNKNOWN, OutcomeKind.SERVER_ERROR, OutcomeKind.OVERLOADED})
"""Outcomes after which a PATCH may have been applied all the same."""
EMAIL_MAX: Final = 320
"""Characters of an email."""
IN_A_BURST: Final = Settle(timedelta(seconds=1), timedelta(seconds=10))
"""How long a contact that changed again during its own PATCH waits for more: it is likely to go on changing."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is decided by settings rather than by the flow."""

    retry_for: timedelta
    late: timedelta
    """How long after its call was given up a PATCH may still land."""
    clear_with: str | None


@dataclass(frozen=True, slots=True)
class Tried:
    """How far a try came: the contact that it held, what was known of it and planned for it, and when.

    ``in_doubt`` says that the record's contact was in doubt before.
    """

    in_doubt: bool = False
    uuid: str | None = None
    link: Link | None = None
    known: Known = NOTHING_KNOWN
    planned: Plan | None = None
    planned_at: datetime | None = None
    fresh: Record | None = None


def conclude(  # everything that a conclusion is made of
    outcome: Outcome,
    verdict: Verdict,
    settled: Settled,
    tried: Tried,
    *,
    started_at: datetime,
    now: datetime,
    version: str,
    policy: Policy,
) -> Conclusion:
    """Say what a try leaves in the log, once it is decided what follows from it; pure.

    ``version`` is that of the configuration that it was made by.
    """
    planned, done = tried.planned, verdict.next is Next.DONE
    if done and planned is None:
        verdict = Verdict(Next.SKIP, "nothing in it is for ChartMogul", hint="see the reason of each event")
    sent = {} if planned is None else planned.send
    answer = outcome.answer if done else None
    compared = None if answer is None else compare({name: one.value for name, one in sent.items()}, answer)
    if compared is not None and compared.adjusted:
        outcome = replace(outcome, detail=f"ChartMogul stored another value in {', '.join(compared.adjusted)}")
    confirmed: dict[str, Confirmed] = {}
    doubts = tried.known.doubts
    again: datetime | None = None
    shadowed: dict[str, Shadowed] | None = None
    if done and planned is not None and tried.planned_at is not None:
        doubts = doubts_after(tried.known, since=tried.planned_at)
        stands = _confirmed(planned, now, compared.ignored if compared else ())
        confirmed = sure_of({**planned.kept, **stands}, doubts)
        again = again_at(doubts, {**tried.known.fields, **confirmed})
    elif verdict.next is Next.SHADOW and planned is not None and tried.planned_at is not None:
        doubts = doubts_left(tried.known, since=tried.planned_at)
        shadowed = would_stand(planned, tried.known, now=now)
    elif outcome.kind is OutcomeKind.UNKNOWN and sent:
        doubts = (*doubts, Doubt(now + policy.late, {name: one.carried for name, one in sent.items()}))
    if verdict.next in {Next.DEAD, Next.SKIP} and settled.mapped:
        # The events end here, and must not take along what the contact is still owed because of a doubt.
        again = now if planned is None and tried.in_doubt else again_at(doubts, tried.known.fields)
    return Conclusion(
        Attempt(started_at, _milliseconds(now - started_at), outcome, tried.uuid, tuple(sent)),
        verdict,
        dispositions=(*_ended(settled, verdict, found=_stays_found(outcome, tried)), *_ends(settled, planned, verdict)),
        link=tried.link,
        confirmed=confirmed,
        uncertain=tuple(sent) if outcome.kind in DOUBTFUL else (),
        doubts=doubts,
        doubts_seen=tried.known.doubts,
        again_at=again,
        settle=IN_A_BURST,
        email=_email(answer or tried.fresh),
        ignored_attributes=tuple(name.partition(".")[2] for name in compared.ignored) if compared else (),
        seen_attributes=_attributes(answer or tried.fresh),
        config_version=version,
        shadowed=shadowed,
    )


def _ended(settled: Settled, verdict: Verdict, *, found: bool) -> tuple[Disposition, ...]:
    """Say where those end that have nothing to send: with the others, since they may be the ones that name the person.

    Else those that are left of a delivery could not be tried again, nor replayed. What one of the others was to carry
    ends as that one does: replayed alone, it need not say it again.
    """
    if verdict.next in {Next.RETRY, Next.RELINK}:
        return tuple(end for end in settled.ended if end.state is EventState.DEAD)
    if verdict.next is Next.SHADOW:
        return go_with(settled.ended, settled.mapped)
    if verdict.next is Next.DONE or not settled.mapped:
        return settled.ended
    state = EventState.DEAD if verdict.next is Next.DEAD else EventState.IGNORED
    carriers = {event.id for event, _ in settled.mapped}
    with_them = verdict.next is Next.DEAD and not found
    return tuple(
        Disposition(end.event_id, state, verdict.reason)
        if end.state is not EventState.DEAD and (with_them or end.by_event_id in carriers)
        else end
        for end in settled.ended
    )


def _stays_found(outcome: Outcome, tried: Tried) -> bool:
    """Say whether the next try will know the contact by its link."""
    return tried.link is not None and outcome.kind is not OutcomeKind.CONTACT_GONE


def _ends(settled: Settled, planned: Plan | None, verdict: Verdict) -> tuple[Disposition, ...]:
    match verdict.next:
        case Next.DONE | Next.SHADOW:
            return planned.dispositions if planned is not None else ()
        case Next.RETRY | Next.RELINK:
            return ()
        case Next.DEAD:
            return tuple(Disposition(event.id, EventState.DEAD, verdict.reason) for event, _ in settled.mapped)
        case Next.SKIP:
            return tuple(Disposition(event.id, EventState.IGNORED, verdict.reason) for event, _ in settled.mapped)
        case _:
            assert_never(verdict.next)


def _confirmed(planned: Plan, now: datetime, ignored: Sequence[str]) -> dict[str, Confirmed]:
    """Say what is known of the fields of a PATCH that was applied.

    An attribute that ChartMogul ignored keeps its order, so that no older value comes after it, but is never taken for
    being there.
    """
    return {
        name: Confirmed(one.value, one.order, one.event_id, now, certain=name not in ignored, rule=one.rule)
        for name, one in planned.send.items()
    }


def _email(contact: Record | None) -> str | None:
    """Return a contact's email as it is asked for, None where the answer has none that could be."""
    email = None if contact is None else contact.get("email")
    return email.strip().casefold()[:EMAIL_MAX] if isinstance(email, str) and email.strip() else None


def _attributes(contact: Record | None) -> tuple[str, ...]:
    """Return the names of a contact's custom attributes."""
    return tuple(
        name.removeprefix(CUSTOM) for name in (contact_fields(contact) if contact else ()) if name.startswith(CUSTOM)
    )


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
