"""The loop of the delivering half: claims what is due, runs it side by side within bounds, and stops cleanly."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from service.errors import StoreError
from service.model import Conclusion, Delivery, EventState, Next, Verdict
from service.pipeline import Pipeline
from service.store import Store

POLL_S: Final = 1.0
"""A lost wake-up costs this at most."""
CLAIM_EVERY_S: Final = 0.02
"""Between two claims: in a burst every webhook wakes the loop, and a claim is a transaction."""
RECLAIM_EVERY_S: Final = 5.0
"""How often expired leases and paused accounts are looked at."""
STORE_DOWN_S: Final = 1.0
"""The wait while the database does not answer."""
STOP_S: Final = 10.0
"""How long a stop waits for the calls under way; what is left is given back as of unknown outcome."""
AHEAD: Final = 2
"""Deliveries claimed for each call that may run in parallel, so that the account's pace is never waited for twice."""

log = structlog.get_logger("delivery")


class Worker:
    """Delivers until it is stopped. Any number of them may share a store, where the store allows it."""

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        *,
        parallel: Mapping[str, int],
        stop_waiting: Sequence[Callable[[], None]],
        owner: str,
        lease: timedelta,
        clock: Callable[[], datetime],
        stop_s: float = STOP_S,
    ) -> None:
        self._pipeline = pipeline
        self._store = store
        self._parallel = dict(parallel)
        self._stop_waiting = stop_waiting
        self._owner = owner
        self._lease = lease
        self._clock = clock
        self._stop_s = stop_s
        self._stopping = False
        self._running: dict[str, set[asyncio.Task[None]]] = {account: set() for account in parallel}
        self._woken = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._reclaim_at: datetime | None = None
        self._held_until: dict[str, datetime] = {}
        self._told: set[tuple[str, str]] = set()

    def wake(self) -> None:
        """Say that something may be due now."""
        self._woken.set()

    @property
    def alive(self) -> bool:
        """Say whether the loop runs."""
        return self._loop is not None and not self._loop.done()

    @property
    def underway(self) -> frozenset[asyncio.Task[None]]:
        """The deliveries that have begun and not ended; none takes longer than its lease."""
        return frozenset[asyncio.Task[None]]().union(*self._running.values())

    def serve(self, account: str, parallel: int) -> None:
        """Deliver to an account too, from now on, with so many calls at a time."""
        self._parallel[account] = parallel
        self._running.setdefault(account, set())

    async def start(self) -> None:
        """Take back what a former life left behind, and begin to deliver."""
        await self._store.deliveries.reclaim(now=self._clock(), everything=self._store.embedded)
        self._loop = asyncio.create_task(self._run())
        self._loop.add_done_callback(_tell_fault)

    async def stop(self) -> None:
        """Claim nothing more, give back what was not sent, and wait up to 10 s for what was; then give that back too.

        What was sent and is given back counts as of unknown outcome, like whatever a crash interrupts.
        """
        self._stopping = True
        self._woken.set()
        for stop in self._stop_waiting:
            stop()
        late_at = time.monotonic() + self._stop_s
        await _end({self._loop} if self._loop is not None else set(), self._stop_s)
        await _end(set(self.underway), max(0.0, late_at - time.monotonic()))

    async def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            try:
                await self._look_after()
                wait_s = await self._claim()
            except StoreError as error:
                log.warning("store_unavailable", cause=error.cause, hint=error.hint)
                wait_s = STORE_DOWN_S
                await asyncio.sleep(wait_s)
                continue
            await asyncio.sleep(min(CLAIM_EVERY_S, wait_s))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()

    async def _claim(self) -> float:
        """Claim what is due for every account with room for it; return for how long nothing more will be."""
        wait_s = POLL_S
        for account, running in list(self._running.items()):  # one may be added while we claim
            most = self._parallel[account] * AHEAD
            room = most - len(running)
            if room * 2 < most:
                continue  # claimed by the handful: a claim is a commit
            now = self._clock()
            if account in self._held_until and now < self._held_until[account]:
                wait_s = min(wait_s, (self._held_until[account] - now).total_seconds())
                continue  # a claim would say so too, but it would cost intake a transaction
            claimed = await self._store.deliveries.claim(
                account=account,
                owner=self._owner,
                now=now,
                lease_until=now + self._lease,
                limit=room,
                limit_later=max(0, self._parallel[account] - len(running)),
            )
            for delivery in claimed:
                self._begin(delivery, now + self._lease)
            if len(claimed) == room:
                continue  # there is more, but no room: the next one to end wakes us
            due_at = await self._store.deliveries.next_due(account)
            if due_at is not None and due_at > now:
                wait_s = min(wait_s, (due_at - now).total_seconds())
        return wait_s

    async def _look_after(self) -> None:
        """Every few seconds: take expired leases back, and ask whether paused accounts may go on."""
        now = self._clock()
        if self._reclaim_at is not None and now < self._reclaim_at:
            return
        self._reclaim_at = now + timedelta(seconds=RECLAIM_EVERY_S)
        reclaimed = await self._store.deliveries.reclaim(now=now)
        if reclaimed:
            log.warning("leases_expired", count=reclaimed, hint="their outcome is unknown; they are tried again")
        for state in await self._store.accounts.paused():
            if state.name not in self._running:
                continue
            if await self._pipeline.probe(state.name):
                self._held_until.pop(state.name, None)
                log.info("account_resumed", account=state.name)
            else:
                self._held_until[state.name] = self._reclaim_at

    def _begin(self, delivery: Delivery, lease_until: datetime) -> None:
        running = self._running[delivery.account]
        task = asyncio.create_task(self._deliver(delivery, lease_until))
        running.add(task)

        def end(task: asyncio.Task[None]) -> None:
            running.discard(task)
            self._woken.set()

        task.add_done_callback(end)

    async def _deliver(self, delivery: Delivery, lease_until: datetime) -> None:
        try:
            # Short of the lease: whoever claims it after us must not meet our call.
            async with asyncio.timeout(self._lease.total_seconds() * 0.9):
                conclusion = await self._pipeline.deliver(delivery, lease_until=lease_until)
        except asyncio.CancelledError:  # the service stops, and this took too long
            with contextlib.suppress(StoreError):
                await self._pipeline.give_up(delivery)
            raise
        except (StoreError, TimeoutError) as error:
            # Nothing can be written down now: the lease runs out, and says so itself.
            log.warning("attempt_not_recorded", delivery=delivery.id, cause=type(error).__name__)
            return
        except Exception as error:  # noqa: BLE001  # the one place: a fault of ours is an attempt too
            # Without its traceback and text, which may hold a value.
            log.error("fault", delivery=delivery.id, source=delivery.source, cause=_where(error))  # noqa: TRY400
            conclusion = await self._fail(delivery, error)
        if conclusion is not None:
            self._log_attempt(delivery, conclusion)
            self._hold_back(delivery.account, conclusion.verdict)

    def _hold_back(self, account: str, verdict: Verdict) -> None:
        """Claim nothing for an account that was just slowed or paused; the store says so too, to every replica."""
        until = self._reclaim_at if verdict.pause else verdict.slow_until
        if until is not None:
            self._held_until[account] = max(until, self._held_until.get(account, until))

    async def _fail(self, delivery: Delivery, error: Exception) -> Conclusion | None:
        try:
            return await self._pipeline.fail(delivery, cause=_where(error))
        except StoreError:
            return None

    def _log_attempt(self, delivery: Delivery, conclusion: Conclusion) -> None:
        """Write the one line of an attempt: ids, field names and what follows."""
        attempt, verdict = conclusion.attempt, conclusion.verdict
        say = log.warning if verdict.next.value in {"retry", "relink", "dead"} else log.info
        say(
            "attempt",
            delivery=delivery.id,
            account=delivery.account,
            source=delivery.source,
            object_id=delivery.object_id,
            contact=attempt.contact_uuid,
            outcome=attempt.outcome.kind.value,
            status=attempt.outcome.status,
            next=verdict.next.value,
            due_at=verdict.due_at.isoformat() if verdict.due_at else None,
            reason=verdict.reason,
            hint=verdict.hint,
            fields=attempt.fields,
            events=len(conclusion.dispositions),
            duration_ms=attempt.duration_ms,
        )
        for end in conclusion.dispositions:
            if end.state is EventState.DEAD and verdict.next is not Next.DEAD:
                log.warning(
                    "unmappable",
                    source=delivery.source,
                    object_id=delivery.object_id,
                    event_id=end.event_id,
                    reason=end.reason,
                    hint="mend the mapping, then replay",
                )
        for attribute in conclusion.ignored_attributes:
            if (delivery.account, attribute) in self._told:
                continue  # once is enough: health keeps the count
            self._told.add((delivery.account, attribute))
            log.warning(
                "ignored_by_chartmogul",
                account=delivery.account,
                attribute=attribute,
                hint="define it for contacts in ChartMogul, or take it out of the mapping",
            )


async def _end(tasks: set[asyncio.Task[None]], timeout_s: float) -> None:
    """Wait for tasks, and cancel those that are late."""
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=timeout_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def _tell_fault(loop: asyncio.Task[None]) -> None:
    """Say at once that nothing is delivered any more; health goes on saying it."""
    if not loop.cancelled() and (error := loop.exception()) is not None:
        log.critical("worker_stopped", cause=_where(error), hint="restart the service, and report this line to us")


def _where(error: BaseException) -> str:
    """Name an unexpected error without its text, which may hold a value."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" at {trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
    return f"{type(error).__name__}{place}"
