"""The two journeys, step by step: ``receive`` (CRM to log) and ``deliver`` (log to ChartMogul)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, assert_never

from service import retry
from service.chartmogul import ChartMogul
from service.coalesce import Plan, again_at, compare, doubts_after, newest, patch_body, plan, sure_of
from service.errors import DeliveryError, Postponed
from service.mapping import Rules
from service.model import (
    NOTHING_KNOWN,
    Arrival,
    Attempt,
    Conclusion,
    Confirmed,
    Delivery,
    Disposition,
    Doubt,
    Event,
    EventState,
    InboundRequest,
    Known,
    Link,
    Mapped,
    Next,
    Outcome,
    OutcomeKind,
    Owed,
    Receipt,
    Record,
    Settle,
    Verdict,
)
from service.resolver import OnAmbiguous, OnUnknown, Resolved, Resolver, ResolveStep
from service.sources.base import Source
from service.store import Store
from service.store.opening import CrmRecord

DOUBTFUL: Final = frozenset({OutcomeKind.UNKNOWN, OutcomeKind.SERVER_ERROR, OutcomeKind.OVERLOADED})
"""Outcomes after which a PATCH may have been applied all the same."""
EMAIL_MAX: Final = 320
"""Characters of an email."""
IN_A_BURST: Final = Settle(timedelta(seconds=1), timedelta(seconds=10))
"""How long a contact that changed again during its own PATCH waits for more: it is likely to go on changing."""
BUSY_WAIT: Final = timedelta(milliseconds=250)
"""How long a delivery waits while another one has its contact."""


@dataclass(frozen=True, slots=True)
class ConfiguredSource:
    """One entry under ``sources``: the CRM's rules, and what its changes mean for which ChartMogul account."""

    name: str
    source: Source[Any]
    account: str
    rules: Rules
    resolve: tuple[ResolveStep, ...]
    on_unknown: OnUnknown
    on_ambiguous: OnAmbiguous
    settle: Settle


@dataclass(frozen=True, slots=True)
class Settled:
    """The events of a delivery after mapping: those to send, and those that ended on the way."""

    mapped: tuple[tuple[Event, Mapped], ...]
    ended: tuple[Disposition, ...]


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


class Pipeline:
    """The steps of both journeys, in their order. It knows no SQL, no HTTP status, no loop and no sleep."""

    def __init__(
        self,
        *,
        store: Store,
        sources: Mapping[str, ConfiguredSource],
        sinks: Mapping[str, ChartMogul],
        resolver: Resolver,
        policy: "Policy",
        clock: Callable[[], datetime],
        chance: Callable[[], float],
    ) -> None:
        self._store = store
        self._sources = sources
        self._sinks = sinks
        self._resolver = resolver
        self._policy = policy
        self._clock = clock
        self._chance = chance
        self._past: dict[tuple[str, str], Rules | None] = {}

    async def receive(self, configured: ConfiguredSource, request: InboundRequest) -> Receipt:
        """CRM to log. Once this returns, the change cannot be lost. Raises RequestError or StoreError."""
        now = self._clock()
        source = configured.source
        source.verify(request, now=now)
        changes = source.parse(request)
        arrival = Arrival(configured.name, configured.account, now, source.redact(request), changes, configured.settle)
        return await self._store.intake.append(arrival)

    async def deliver(self, delivery: Delivery, *, lease_until: datetime) -> Conclusion | None:
        """Log to ChartMogul, one contact at a time. None when it was put off untried, or its lease lost meanwhile."""
        started_at = self._clock()
        owed = await self._store.deliveries.pending(delivery)
        configured = self._sources.get(delivery.source)
        settled, tried = Settled((), ()), Tried(owed.in_doubt)
        try:
            settled = map_events(configured, owed.events, past=await self._past_rules(owed.events))
            if configured is None or not (settled.mapped or owed.in_doubt):
                return await self._conclude(delivery, started_at, settled, Outcome(OutcomeKind.UNCHANGED), tried)
            resolved = await self._resolve(delivery, configured, owed, settled)
            tried = replace(tried, uuid=resolved.link.contact_uuid, fresh=resolved.fresh)
            planned_at = self._clock()
            known = await self._hold(delivery, resolved.link.contact_uuid, settled, planned_at, lease_until)
            planned = plan(settled.mapped, known, now=planned_at, fresh=resolved.fresh)
            link = None if resolved.link == owed.link else resolved.link
            tried = replace(tried, link=link, known=known, planned=planned, planned_at=planned_at)
            outcome = await self._send(delivery.account, resolved.link.contact_uuid, planned)
        except Postponed as wait:
            await self._store.deliveries.release(delivery, due_at=wait.until)
            return None
        except DeliveryError as error:  # unknown contact, ambiguous, or a search that failed
            return await self._conclude(delivery, started_at, settled, error.outcome, tried)
        return await self._conclude(delivery, started_at, settled, outcome, tried)

    async def fail(self, delivery: Delivery, *, cause: str) -> Conclusion | None:
        """Record a fault of our own as an attempt, so that a poisoned event is not tried without end."""
        now = self._clock()
        owed = await self._store.deliveries.pending(delivery)
        settled = Settled(tuple((event, Mapped({})) for event in owed.events), ())
        fault = Outcome(OutcomeKind.FAULT, detail=cause)
        return await self._conclude(delivery, now, settled, fault, Tried(owed.in_doubt))

    async def give_up(self, delivery: Delivery) -> None:
        """Give back a delivery that was broken off: what was sent of it, nobody knows."""
        await self._store.deliveries.give_up(delivery, now=self._clock())

    async def probe(self, account: str) -> bool:
        """Ask ChartMogul whether a paused account's key works again; if so, let its deliveries go on."""
        try:
            outcome = await self._sinks[account].ping()
        except Postponed:
            return False
        if outcome.kind is OutcomeKind.APPLIED:
            await self._store.accounts.key_works(account)
        return outcome.kind is OutcomeKind.APPLIED

    async def _resolve(
        self, delivery: Delivery, configured: ConfiguredSource, owed: Owed, settled: Settled
    ) -> Resolved:
        if owed.link is not None and not settled.mapped:  # nothing new: the contact is in doubt
            return Resolved(owed.link)
        # All of them: one that has nothing to send may still be the one that names the person.
        newest_first = sorted(owed.events, key=lambda event: event.order, reverse=True)
        return await self._resolver.resolve(
            configured.resolve,
            [event.change for event in newest_first],
            account=delivery.account,
            link=owed.link,
            on_ambiguous=configured.on_ambiguous,
        )

    async def _hold(self, delivery: Delivery, uuid: str, settled: Settled, now: datetime, until: datetime) -> Known:
        """Keep the contact for this delivery; raise Postponed while another one has it."""
        intent = {name: planned.carried for name, planned in newest(settled.mapped).items()}
        late = self._policy.late
        known = await self._store.contacts.hold(delivery, uuid, intent=intent, now=now, until=until, late=late)
        if known is None:
            raise Postponed(now + BUSY_WAIT)
        return known

    async def _send(self, account: str, uuid: str, planned: Plan) -> Outcome:
        if not planned.send:
            return Outcome(OutcomeKind.UNCHANGED)
        fields = {name: one.value for name, one in planned.send.items()}
        return await self._sinks[account].patch(uuid, patch_body(fields, clear_with=self._policy.clear_with))

    async def _past_rules(self, events: Sequence[Event]) -> dict[tuple[str, str], Rules | None]:
        """Return the rules of past configurations that replays ask for, by version and source; None if not kept."""
        for event in events:
            version, source = event.replay_version, event.source
            if version is not None and (version, source) not in self._past:
                kept = await self._store.configurations.rules(version, source)
                self._past[version, source] = None if kept is None else Rules.parse(kept)
        return self._past

    async def _conclude(
        self, delivery: Delivery, started_at: datetime, settled: Settled, outcome: Outcome, tried: Tried
    ) -> Conclusion | None:
        """Let retry decide, say where each event ends, and write it all down; None if the lease was lost meanwhile."""
        now = self._clock()
        verdict = self._decide(delivery, outcome, now)
        conclusion = conclude(outcome, verdict, settled, tried, started_at=started_at, now=now, policy=self._policy)
        if await self._store.deliveries.record(delivery, conclusion, now=now):
            return conclusion
        unsent = outcome.kind is OutcomeKind.UNREACHABLE
        if tried.uuid is not None and tried.planned is not None and tried.planned.send and not unsent:
            # Whoever has the lease now may have sent before this landed.
            late = Doubt(now + self._policy.late, {name: one.carried for name, one in tried.planned.send.items()})
            record = CrmRecord(delivery.account, delivery.source, delivery.object_id)
            await self._store.contacts.doubt(record, tried.uuid, late, now=now)
        return None

    def _decide(self, delivery: Delivery, outcome: Outcome, now: datetime) -> Verdict:
        repeats = delivery.repeats if delivery.outcome == outcome.kind.value else 0
        history = retry.History(delivery.attempts, delivery.failing_since, delivery.relinked, repeats)
        verdict = retry.decide(outcome, history, now=now, retry_for=self._policy.retry_for, chance=self._chance())
        configured = self._sources.get(delivery.source)
        if outcome.kind is OutcomeKind.CONTACT_UNKNOWN and configured and configured.on_unknown is OnUnknown.SKIP:
            return Verdict(Next.SKIP, f"{verdict.reason}; on_unknown is skip", hint=verdict.hint)
        return verdict


@dataclass(frozen=True, slots=True)
class Policy:
    """What is decided by settings rather than by the flow."""

    retry_for: timedelta
    late: timedelta
    """How long after its call was given up a PATCH may still land."""
    clear_with: str | None
    config_version: str


def map_events(
    configured: ConfiguredSource | None,
    events: Sequence[Event],
    *,
    past: Mapping[tuple[str, str], Rules | None] = MappingProxyType({}),
) -> Settled:
    """Map a contact's events. Filtered ones end as ignored, unmappable ones as dead; the rest go on.

    ``past`` holds the rules of earlier configurations, for events that a replay wants mapped by them.
    """
    if configured is None:
        reason = "its source is no longer configured; put it back, then replay"
        return Settled((), tuple(Disposition(event.id, EventState.DEAD, reason) for event in events))
    mapped: list[tuple[Event, Mapped]] = []
    ended: list[Disposition] = []
    for event in events:
        version = event.replay_version
        rules = configured.rules if version is None else past.get((version, event.source))
        if rules is None:
            reason = f"the configuration {version} is not kept; replay it with the present one"
            ended.append(Disposition(event.id, EventState.DEAD, reason))
            continue
        if rules.when is not None and not rules.when.holds(event.change):
            ended.append(Disposition(event.id, EventState.IGNORED, "filtered out by `when`"))
            continue
        result = rules.mapping.apply(event.change)
        if result.faults:
            ended.append(Disposition(event.id, EventState.DEAD, f"cannot be mapped: {'; '.join(result.faults)}"))
        elif not result.fields:
            ended.append(Disposition(event.id, EventState.IGNORED, "no mapped field in it"))
        else:
            mapped.append((event, result))
    return Settled(tuple(mapped), tuple(ended))


def conclude(  # everything that a conclusion is made of
    outcome: Outcome,
    verdict: Verdict,
    settled: Settled,
    tried: Tried,
    *,
    started_at: datetime,
    now: datetime,
    policy: Policy,
) -> Conclusion:
    """Say what a try leaves in the log, once it is decided what follows from it; pure."""
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
    if done and planned is not None and tried.planned_at is not None:
        doubts = doubts_after(tried.known, since=tried.planned_at)
        stands = _confirmed(planned, now, compared.ignored if compared else ())
        confirmed = sure_of({**planned.kept, **stands}, doubts)
        again = again_at(doubts, {**tried.known.fields, **confirmed})
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
        config_version=policy.config_version,
    )


def _ended(settled: Settled, verdict: Verdict, *, found: bool) -> tuple[Disposition, ...]:
    """Say where those end that have nothing to send: with the others, since they may be the ones that name the person.

    Else those that are left of a delivery could not be tried again, nor replayed.
    """
    if verdict.next in {Next.RETRY, Next.RELINK}:
        return tuple(end for end in settled.ended if end.state is EventState.DEAD)
    if verdict.next is Next.DEAD and settled.mapped and not found:
        return tuple(
            end if end.state is EventState.DEAD else Disposition(end.event_id, EventState.DEAD, verdict.reason)
            for end in settled.ended
        )
    return settled.ended


def _stays_found(outcome: Outcome, tried: Tried) -> bool:
    """Say whether the next try will know the contact by its link."""
    return tried.link is not None and outcome.kind is not OutcomeKind.CONTACT_GONE


def _ends(settled: Settled, planned: Plan | None, verdict: Verdict) -> tuple[Disposition, ...]:
    match verdict.next:
        case Next.DONE:
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


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
