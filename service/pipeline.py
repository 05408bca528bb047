"""The two journeys, step by step: ``receive`` (CRM to log) and ``deliver`` (log to ChartMogul)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, assert_never

from service import retry
from service.chartmogul import ChartMogul
from service.coalesce import Plan, compare, patch_body, plan
from service.errors import DeliveryError, Postponed
from service.mapping import Condition
from service.mapping import Mapping as FieldMapping
from service.model import (
    Arrival,
    Attempt,
    Conclusion,
    Confirmed,
    Delivery,
    Disposition,
    Event,
    EventState,
    InboundRequest,
    Link,
    Mapped,
    Next,
    Outcome,
    OutcomeKind,
    Receipt,
    Verdict,
)
from service.resolver import OnAmbiguous, OnUnknown, Resolver, ResolveStep
from service.sources.base import Source
from service.store import Store

DOUBTFUL: Final = frozenset({OutcomeKind.UNKNOWN, OutcomeKind.SERVER_ERROR, OutcomeKind.OVERLOADED})
"""Outcomes after which a PATCH may yet have been applied."""
BUSY_WAIT: Final = timedelta(milliseconds=250)
"""How long a delivery waits while another one has its contact."""


@dataclass(frozen=True, slots=True)
class ConfiguredSource:
    """One entry under ``sources``: the CRM's rules, and what its changes mean for which ChartMogul account."""

    name: str
    source: Source[Any]
    account: str
    mapping: FieldMapping
    when: Condition | None
    resolve: tuple[ResolveStep, ...]
    on_unknown: OnUnknown
    on_ambiguous: OnAmbiguous


@dataclass(frozen=True, slots=True)
class Settled:
    """The events of a delivery after mapping: those to send, and those that ended on the way."""

    mapped: tuple[tuple[Event, Mapped], ...]
    ended: tuple[Disposition, ...]

    @property
    def fields(self) -> list[str]:
        """Names of every field that may be sent."""
        return sorted({name for _, result in self.mapped for name in result.fields})


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

    async def receive(self, configured: ConfiguredSource, request: InboundRequest) -> Receipt:
        """CRM to log. Once this returns, the change cannot be lost. Raises RequestError or StoreError."""
        now = self._clock()
        source = configured.source
        source.verify(request, now=now)
        changes = source.parse(request)
        arrival = Arrival(configured.name, configured.account, now, source.redact(request), changes)
        return await self._store.intake.append(arrival)

    async def deliver(self, delivery: Delivery, *, lease_until: datetime) -> Conclusion | None:
        """Log to ChartMogul, one contact at a time. None when it was put off untried, or its lease lost meanwhile."""
        started_at = self._clock()
        events, link = await self._store.deliveries.pending(delivery)
        configured = self._sources.get(delivery.source)
        settled = Settled((), ())
        uuid: str | None = None
        try:
            settled = map_events(configured, events)
            if configured is None or not settled.mapped:
                return await self._conclude(delivery, started_at, settled, Outcome(OutcomeKind.UNCHANGED))
            # All of them: one that has nothing to send may still be the one that names the person.
            newest_first = sorted(events, key=lambda event: event.order, reverse=True)
            resolved = await self._resolver.resolve(
                configured.resolve,
                [event.change for event in newest_first],
                account=delivery.account,
                link=link,
                on_ambiguous=configured.on_ambiguous,
            )
            uuid = resolved.link.contact_uuid
            known = await self._hold(delivery, uuid, settled, lease_until)
            planned = plan(settled.mapped, known, resolved.fresh)
            outcome = await self._send(delivery.account, uuid, planned)
        except Postponed as wait:
            await self._store.deliveries.release(delivery, due_at=wait.until)
            return None
        except DeliveryError as error:  # unknown contact, ambiguous, or a search that failed
            return await self._conclude(delivery, started_at, settled, error.outcome, uuid)
        return await self._conclude(delivery, started_at, settled, outcome, uuid, planned, resolved.link)

    async def fail(self, delivery: Delivery, *, cause: str) -> Conclusion | None:
        """Record a fault of our own as an attempt, so that a poisoned event is not tried without end."""
        now = self._clock()
        events, _ = await self._store.deliveries.pending(delivery)
        settled = Settled(tuple((event, Mapped({})) for event in events), ())
        return await self._conclude(delivery, now, settled, Outcome(OutcomeKind.FAULT, detail=cause))

    async def probe(self, account: str) -> bool:
        """Ask ChartMogul whether a paused account's key works again; if so, let its deliveries go on."""
        try:
            outcome = await self._sinks[account].ping()
        except Postponed:
            return False
        if outcome.kind is OutcomeKind.APPLIED:
            await self._store.accounts.resume(account)
        return outcome.kind is OutcomeKind.APPLIED

    async def _hold(self, delivery: Delivery, uuid: str, settled: Settled, until: datetime) -> Mapping[str, Confirmed]:
        """Keep the contact for this delivery; raise Postponed while another one has it."""
        now = self._clock()
        known = await self._store.contacts.hold(delivery, uuid, intent=settled.fields, now=now, until=until)
        if known is None:
            raise Postponed(now + BUSY_WAIT)
        return known

    async def _send(self, account: str, uuid: str, planned: Plan) -> Outcome:
        if not planned.send:
            return Outcome(OutcomeKind.UNCHANGED)
        fields = {name: one.value for name, one in planned.send.items()}
        return await self._sinks[account].patch(uuid, patch_body(fields, clear_with=self._policy.clear_with))

    async def _conclude(  # the whole of a try, private to this file
        self,
        delivery: Delivery,
        started_at: datetime,
        settled: Settled,
        outcome: Outcome,
        uuid: str | None = None,
        planned: Plan | None = None,
        link: Link | None = None,
    ) -> Conclusion | None:
        """Let retry decide, say where each event ends, and write it all down; None if the lease was lost meanwhile."""
        now = self._clock()
        repeats = delivery.repeats if delivery.outcome == outcome.kind.value else 0
        history = retry.History(delivery.attempts, delivery.failing_since, delivery.relinked, repeats)
        verdict = retry.decide(outcome, history, now=now, retry_for=self._policy.retry_for, chance=self._chance())
        configured = self._sources.get(delivery.source)
        if outcome.kind is OutcomeKind.CONTACT_UNKNOWN and configured and configured.on_unknown is OnUnknown.SKIP:
            verdict = Verdict(Next.SKIP, f"{verdict.reason}; on_unknown is skip", hint=verdict.hint)
        if not settled.mapped and verdict.next is Next.DONE:
            verdict = Verdict(Next.SKIP, "nothing in it is for ChartMogul", hint="see the reason of each event")
        sent = {} if planned is None else {name: one.value for name, one in planned.send.items()}
        applied = verdict.next is Next.DONE and planned is not None
        compared = compare(sent, outcome.answer) if applied and outcome.answer is not None else None
        if compared is not None and compared.adjusted:
            outcome = replace(outcome, detail=f"ChartMogul stored another value in {', '.join(compared.adjusted)}")
        conclusion = Conclusion(
            Attempt(started_at, _milliseconds(now - started_at), outcome, uuid, tuple(sent)),
            verdict,
            dispositions=(*settled.ended, *_ends(settled, planned, verdict)),
            link=link,
            confirmed=_confirmed(planned, now, compared.confirmed if compared else ()) if applied and planned else {},
            uncertain=tuple(sent) if outcome.kind in DOUBTFUL else (),
            ignored_attributes=tuple(name.partition(".")[2] for name in compared.ignored) if compared else (),
            config_version=self._policy.config_version,
        )
        return conclusion if await self._store.deliveries.record(delivery, conclusion, now=now) else None


@dataclass(frozen=True, slots=True)
class Policy:
    """What is decided by settings rather than by the flow."""

    retry_for: timedelta
    clear_with: str | None
    config_version: str


def map_events(configured: ConfiguredSource | None, events: Sequence[Event]) -> Settled:
    """Map a contact's events. Filtered ones end as ignored, unmappable ones as dead; the rest go on."""
    if configured is None:
        reason = "its source is no longer configured; put it back, then replay"
        return Settled((), tuple(Disposition(event.id, EventState.DEAD, reason) for event in events))
    mapped: list[tuple[Event, Mapped]] = []
    ended: list[Disposition] = []
    for event in events:
        if configured.when is not None and not configured.when.holds(event.change):
            ended.append(Disposition(event.id, EventState.IGNORED, "filtered out by `when`"))
            continue
        result = configured.mapping.apply(event.change)
        if result.faults:
            ended.append(Disposition(event.id, EventState.DEAD, f"cannot be mapped: {'; '.join(result.faults)}"))
        elif not result.fields:
            ended.append(Disposition(event.id, EventState.IGNORED, "no mapped field in it"))
        else:
            mapped.append((event, result))
    return Settled(tuple(mapped), tuple(ended))


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


def _confirmed(planned: Plan, now: datetime, names: Sequence[str]) -> dict[str, Confirmed]:
    """Say what is known of the contact after a PATCH that was applied, or that was not needed."""
    sent = {name: planned.send[name] for name in names}
    fresh = {name: Confirmed(one.value, one.event.order, one.event.id, now) for name, one in sent.items()}
    return {**planned.kept, **fresh}


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
