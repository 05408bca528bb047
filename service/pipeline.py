"""The two journeys, step by step: ``receive`` (CRM to log) and ``deliver`` (log to ChartMogul)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from service import retry
from service.admission import EVERYTHING, Admission
from service.chartmogul import ChartMogul
from service.coalesce import Plan, newest, patch_body, plan
from service.conclusion import Policy, Tried, conclude
from service.drift import Basis, Lookout
from service.errors import DeliveryError, Postponed
from service.mapping import Rules
from service.model import (
    Action,
    Arrival,
    Carried,
    Conclusion,
    Deliver,
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
from service.readback.base import Reader
from service.readback.client import ReadBack
from service.resolver import ByLink, OnAmbiguous, OnUnknown, Resolved, Resolver, ResolveStep, needed_by
from service.shadow import as_read, needs_reading, plan_shadow
from service.sources.base import Source
from service.store import Store
from service.store.opening import CrmRecord
from service.translate import ReadRecord, Settled, behind, lacks, recall, translate

BUSY_WAIT: Final = timedelta(milliseconds=250)
"""How long a delivery waits while another one has its contact."""
BEHIND_WAIT: Final = timedelta(seconds=5)
"""How long a CRM is given until its record is read again, where it cannot show yet what it just told."""
FORGOTTEN: Final = "privacy deletion in the CRM: what was kept of the record is erased"
NOT_CONFIGURED: Final = "its source is no longer configured; put it back, then replay"


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
    admission: Admission = EVERYTHING
    reader: Reader[Any] | None = None
    """How the CRM's present record is read, None where it is not."""
    deliver: Deliver = Deliver.LIVE
    layers: Mapping[str, str] = field(default_factory=dict)
    """By target, where its rule comes from: ``preset``, ``every_field``, ``define NAME``, ``source``, joined by +."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The record's fields that the rules and the way of resolving read, in alphabetical order."""
        return tuple(sorted(self.rules.needs.union(*map(needed_by, self.resolve))))

    def to_find(self, link: Link | None) -> tuple[frozenset[str], ...]:
        """Return for each step of resolving the fields that it needs; none where the contact is known already."""
        if link is not None and any(isinstance(step, ByLink) for step in self.resolve):
            return ()
        return tuple(needed for step in self.resolve if (needed := needed_by(step)))


@dataclass(frozen=True, slots=True)
class InForce:
    """What a configuration file makes of both journeys, and its version; replaced as a whole, never in part."""

    version: str
    sources: Mapping[str, ConfiguredSource]
    readbacks: Mapping[str, ReadBack]

    @property
    def bases(self) -> dict[str, Basis]:
        """By what each source's events are mapped, for whoever looks at what comes of it."""
        return {
            name: Basis(one.rules, one.source.leaves_out_empty, one.reader is not None)
            for name, one in self.sources.items()
        }


class Pipeline:
    """The steps of both journeys, in their order. It knows no SQL, no HTTP status, no loop and no sleep.

    What is ``in_force`` may be replaced at any time: each delivery goes on with what it began with. ``lookout`` looks
    at what was mapped, as far as that was by what is in force.
    """

    def __init__(
        self,
        *,
        store: Store,
        in_force: InForce,
        sinks: Mapping[str, ChartMogul],
        resolver: Resolver,
        policy: Policy,
        clock: Callable[[], datetime],
        chance: Callable[[], float],
    ) -> None:
        self.in_force = in_force
        self.lookout = Lookout()
        self._store = store
        self._sinks = sinks
        self._resolver = resolver
        self._policy = policy
        self._clock = clock
        self._chance = chance
        self._past: dict[tuple[str, str], Rules | str] = {}

    async def receive(self, configured: ConfiguredSource, request: InboundRequest) -> Receipt:
        """CRM to log. Once this returns, the change cannot be lost. Raises RequestError or StoreError."""
        now = self._clock()
        source = configured.source
        source.verify(request, now=now)
        changes = configured.admission.admit(source.parse(request))
        arrival = Arrival(configured.name, configured.account, now, source.redact(request), changes, configured.settle)
        return await self._store.intake.append(arrival)

    async def deliver(self, delivery: Delivery, *, lease_until: datetime) -> Conclusion | None:
        """Log to ChartMogul, one contact at a time. None when it was put off untried, or its lease lost meanwhile."""
        started_at, in_force = self._clock(), self.in_force
        owed = await self._store.deliveries.pending(delivery)
        configured = in_force.sources.get(delivery.source)
        if any(event.change.action is Action.PRIVACY_DELETED for event in owed.events):
            return await self._forget(delivery, in_force, started_at, owed)
        settled, tried = _unmapped(owed), Tried(owed.in_doubt)
        try:
            owed = await self._follow_merges(delivery, owed)
            tried = Tried(owed.in_doubt)
            settled = await self._translate(in_force, delivery, owed)
            if configured is None or not (settled.mapped or owed.in_doubt):
                return await self._conclude(
                    delivery, in_force, started_at, settled, Outcome(OutcomeKind.UNCHANGED), tried
                )
            resolved = await self._resolve(delivery, configured, owed, settled)
            uuid, link = resolved.link.contact_uuid, None if resolved.link == owed.link else resolved.link
            tried = replace(tried, uuid=uuid, link=link, fresh=resolved.fresh)
            planned, tried = await self._plan(delivery, configured.deliver, settled, resolved, tried, until=lease_until)
            outcome = await self._send(delivery.account, configured.deliver, uuid, planned)
        except Postponed as wait:
            await self._store.deliveries.release(delivery, due_at=wait.until)
            return None
        except DeliveryError as error:  # unknown contact, ambiguous, or something that could not be read
            return await self._conclude(delivery, in_force, started_at, settled, error.outcome, tried)
        return await self._conclude(delivery, in_force, started_at, settled, outcome, tried)

    async def fail(self, delivery: Delivery, *, cause: str) -> Conclusion | None:
        """Record a fault of our own as an attempt, so that a poisoned event is not tried without end."""
        now, in_force = self._clock(), self.in_force
        owed = await self._store.deliveries.pending(delivery)
        fault = Outcome(OutcomeKind.FAULT, detail=cause)
        return await self._conclude(delivery, in_force, now, _unmapped(owed), fault, Tried(owed.in_doubt))

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

    def look_by_present_rules(self) -> None:
        """Let the lookout go by the rules in force."""
        if self.lookout.version != self.in_force.version:
            self.lookout.follow(self.in_force.version, self.in_force.bases)

    async def _forget(
        self, delivery: Delivery, in_force: InForce, started_at: datetime, owed: Owed
    ) -> Conclusion | None:
        """Erase what is kept of a record whose CRM forgot it; None if that must wait, or the lease was lost."""
        try:
            if not await self._store.eraser.forget(delivery, now=self._clock()):
                return None
        except Postponed as wait:
            await self._store.deliveries.release(delivery, due_at=wait.until)
            return None
        settled = Settled(ended=tuple(Disposition(event.id, EventState.IGNORED, FORGOTTEN) for event in owed.events))
        return await self._conclude(delivery, in_force, started_at, settled, Outcome(OutcomeKind.UNCHANGED), Tried())

    async def _follow_merges(self, delivery: Delivery, owed: Owed) -> Owed:
        """Let links follow the records that survive a merge, and return what is owed with the link as it is then."""
        for change in (event.change for event in owed.events):
            survivor = change.merged_into or delivery.object_id
            absorbed = change.merged_from if change.merged_into is None else (delivery.object_id,)
            if not absorbed or absorbed == (survivor,):
                continue
            followed = await self._store.links.follow(delivery.source, survivor, absorbed, now=self._clock())
            own = followed if survivor == delivery.object_id else None
            owed = Owed(owed.events, None) if own is None else Owed(owed.events, own[0], in_doubt=own[1])
        return owed

    async def _translate(self, in_force: InForce, delivery: Delivery, owed: Owed) -> Settled:
        """Map the events, over the record as its CRM has it now where they say too little by themselves."""
        configured = in_force.sources.get(delivery.source)
        if configured is None:
            return Settled(ended=tuple(Disposition(event.id, EventState.DEAD, NOT_CONFIGURED) for event in owed.events))
        past = await self._past_rules(owed.events)
        read: ReadRecord | None = None
        readback = in_force.readbacks.get(delivery.source)
        if readback is not None and lacks(configured.rules, owed.events, configured.to_find(owed.link)):
            read = ReadRecord(await readback.read(delivery.object_id))
            if behind(configured.rules, owed.events, read, now=self._clock()):
                raise Postponed(self._clock() + BEHIND_WAIT)
        return translate(configured.rules, owed.events, past=past, read=read)

    async def _resolve(
        self, delivery: Delivery, configured: ConfiguredSource, owed: Owed, settled: Settled
    ) -> Resolved:
        if owed.link is not None and not settled.mapped:  # nothing new: the contact is in doubt
            return Resolved(owed.link)
        # All of them: one that has nothing to send may still be the one that names the person.
        newest_first = sorted(owed.events, key=lambda event: event.order, reverse=True)
        record = [] if settled.record is None else [settled.record]
        return await self._resolver.resolve(
            configured.resolve,
            [*record, *(event.change for event in newest_first)],
            account=delivery.account,
            link=owed.link,
            on_ambiguous=configured.on_ambiguous,
        )

    async def _plan(  # all that a plan is made of
        self,
        delivery: Delivery,
        deliver: Deliver,
        settled: Settled,
        resolved: Resolved,
        tried: Tried,
        *,
        until: datetime,
    ) -> tuple[Plan, Tried]:
        """Keep the contact, read it where too little is known of it, and say what is to be sent, or would be."""
        uuid, now, chosen = resolved.link.contact_uuid, self._clock(), newest(settled.mapped)
        intent = None if deliver is Deliver.SHADOW else {name: planned.carried for name, planned in chosen.items()}
        known = before = await self._hold(delivery, uuid, intent, now, until)
        fresh = resolved.fresh
        if fresh is None and needs_reading(deliver, chosen, known):
            fresh = await self._read(delivery.account, uuid)
            before = as_read(known, fresh)
        plans = plan if deliver is Deliver.LIVE else plan_shadow
        planned = plans(settled.mapped, before, now=now, fresh=fresh)
        return planned, replace(tried, fresh=fresh, known=known, planned=planned, planned_at=now)

    async def _hold(
        self, delivery: Delivery, uuid: str, intent: Mapping[str, Carried] | None, now: datetime, until: datetime
    ) -> Known:
        """Keep the contact for this delivery; raise Postponed while another one has it."""
        late = self._policy.late
        known = await self._store.contacts.hold(delivery, uuid, intent=intent, now=now, until=until, late=late)
        if known is None:
            raise Postponed(now + BUSY_WAIT)
        return known

    async def _read(self, account: str, uuid: str) -> Record:
        """Return a contact as it stands in ChartMogul; raise DeliveryError where it cannot be had."""
        read = await self._sinks[account].contact(uuid)
        if read.answer is None:
            raise DeliveryError(read)
        return read.answer

    async def _send(self, account: str, deliver: Deliver, uuid: str, planned: Plan) -> Outcome:
        if deliver is Deliver.SHADOW:
            return Outcome(OutcomeKind.SHADOWED)
        if not planned.send:
            return Outcome(OutcomeKind.UNCHANGED)
        fields = {name: one.value for name, one in planned.send.items()}
        return await self._sinks[account].patch(uuid, patch_body(fields, clear_with=self._policy.clear_with))

    async def _past_rules(self, events: Sequence[Event]) -> dict[tuple[str, str], Rules | str]:
        """Return the rules of past configurations that replays ask for, by version and source; else what hinders."""
        for event in events:
            version, source = event.replay_version, event.source
            if version is not None and not isinstance(self._past.get((version, source)), Rules):  # it may come yet
                self._past[version, source] = recall(await self._store.configurations.rules(version, source))
        return self._past

    async def _conclude(
        self,
        delivery: Delivery,
        in_force: InForce,
        started_at: datetime,
        settled: Settled,
        outcome: Outcome,
        tried: Tried,
    ) -> Conclusion | None:
        """Let retry decide, say where each event ends, and write it all down; None if the lease was lost meanwhile."""
        now = self._clock()
        verdict = self._decide(delivery, in_force.sources.get(delivery.source), outcome, now)
        version, policy = in_force.version, self._policy
        conclusion = conclude(
            outcome, verdict, settled, tried, started_at=started_at, now=now, version=version, policy=policy
        )
        if await self._store.deliveries.record(delivery, conclusion, now=now):
            self._look(in_force, delivery.source, settled, conclusion, now)
            return conclusion
        unsent = outcome.kind in {OutcomeKind.UNREACHABLE, OutcomeKind.SHADOWED}
        if tried.uuid is not None and tried.planned is not None and tried.planned.send and not unsent:
            # Whoever has the lease now may have sent before this landed.
            late = Doubt(now + self._policy.late, {name: one.carried for name, one in tried.planned.send.items()})
            record = CrmRecord(delivery.account, delivery.source, delivery.object_id)
            await self._store.contacts.doubt(record, tried.uuid, late, now=now)
        return None

    def _look(self, in_force: InForce, source: str, settled: Settled, conclusion: Conclusion, now: datetime) -> None:
        """Look at the events that end, each once, unless other rules have come into force meanwhile."""
        if in_force is self.in_force:
            self.look_by_present_rules()
            ended = {end.event_id for end in conclusion.dispositions}
            self.lookout.observe(source, (one for one in settled.told if one[0].id in ended), at=now)

    def _decide(
        self, delivery: Delivery, configured: ConfiguredSource | None, outcome: Outcome, now: datetime
    ) -> Verdict:
        repeats = delivery.repeats if delivery.outcome == outcome.kind.value else 0
        history = retry.History(delivery.attempts, delivery.failing_since, delivery.relinked, repeats)
        verdict = retry.decide(outcome, history, now=now, retry_for=self._policy.retry_for, chance=self._chance())
        if outcome.kind is OutcomeKind.CONTACT_UNKNOWN and configured and configured.on_unknown is OnUnknown.SKIP:
            return Verdict(Next.SKIP, f"{verdict.reason}; on_unknown is skip", hint=verdict.hint)
        return verdict


def _unmapped(owed: Owed) -> Settled:
    """Return the events of a try that did not come as far as mapping: they end, or wait, all alike."""
    return Settled(tuple((event, Mapped({})) for event in owed.events))
