"""Compares ChartMogul's contacts, page by page, with what was confirmed, and has what differs sent again."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from service.chartmogul import ChartMogul, Page
from service.coalesce import CUSTOM, contact_fields, same_value
from service.errors import Postponed, ServiceError
from service.model import Carried, Doubt, Json, OutcomeKind, Priority, Record
from service.store import Store
from service.store.contacts import Seen

TRIES: Final = 6
"""Tries at one page; between them 1, 2, 4, 8 and 16 s."""
FINAL: Final = frozenset({OutcomeKind.ACCOUNT_REFUSED, OutcomeKind.REJECTED})
"""Answers that a further try would get again."""
DIFFERENCES_MAX: Final = 1_000
"""Differences that a report lists; more are counted."""
BEFORE_ALL: Final = (-1, -1)
"""The order of a value that somebody else gave a contact: every event is newer."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that ChartMogul holds another value in than it confirmed. ``repairing`` says that ours is sent again."""

    uuid: str
    name: str
    ours: Json = field(repr=False)
    theirs: Json = field(repr=False)
    event_id: int | None
    confirmed_at: datetime | None
    repairing: bool


@dataclass(slots=True)
class Report:
    """What a comparison found. Contacts that changed while they were read are left to the next one."""

    pages: int = 0
    contacts: int = 0
    compared: int = 0
    changed_meanwhile: int = 0
    differing: int = 0
    repairing: int = 0
    differences: list[Difference] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    """Known contacts that ChartMogul does not list any more: merged or deleted there."""
    cursor: str | None = None
    """Where to go on, should it be broken off."""


class Reconciliation:
    """One account's comparison. Its calls keep to the account's pace like any other."""

    def __init__(
        self,
        store: Store,
        sink: ChartMogul,
        *,
        repair: bool,
        clock: Callable[[], datetime],
        progress: Callable[[Report], None],
    ) -> None:
        self._store = store
        self._sink = sink
        self._account = sink.account.name
        self._repair = repair
        self._clock = clock
        self._progress = progress
        self.report = Report()

    async def run(self, *, cursor: str | None = None) -> Report:
        """Compare every contact from a cursor on. Raises ServiceError when a page cannot be had; the report stays."""
        report, listed = self.report, set[str]()
        report.cursor = cursor
        # Asked first: who is linked while the list is read may be too new to stand in it.
        linked = await self._linked() if cursor is None else []  # from a cursor on, not all are listed
        while True:
            asked_at = self._clock()
            page = await self._page(report.cursor)
            listed |= {str(contact.get("uuid")) for contact in page.contacts}
            await self._compare(page.contacts, asked_at)
            report.pages, report.cursor = report.pages + 1, page.cursor
            self._progress(report)
            if page.cursor is None:
                break
        report.gone = [uuid for uuid in linked if uuid not in listed]
        return report

    async def _page(self, cursor: str | None) -> Page:
        reason = ""
        for tries in range(TRIES):
            wait_s = 2.0**tries
            try:
                page = await self._sink.page(cursor=cursor)
            except Postponed as held:
                await self._refuse_paused()
                reason, wait_s = held.cause, (held.until - self._clock()).total_seconds()
            else:
                failure = page.failure
                if failure is None:
                    return page
                reason = f"{failure.kind.value} ({failure.status or 'no answer'}) {failure.detail}"
                if failure.kind in FINAL:
                    break
                wait_s = wait_s if failure.retry_after_s is None else failure.retry_after_s
            if tries < TRIES - 1:
                await asyncio.sleep(wait_s)
        raise ServiceError(
            f"ChartMogul does not list its contacts: {reason}", hint="go on later, with --cursor as it was told"
        )

    async def _refuse_paused(self) -> None:
        """Raise ServiceError where a person paused the account: nobody knows for how long."""
        for state in await self._store.accounts.states():
            if state.name == self._account and state.paused_by_hand:
                raise ServiceError(f"account {state.name} is paused: {state.paused_reason}", hint="`resume` it first")

    async def _compare(self, contacts: tuple[Record, ...], asked_at: datetime) -> None:
        by_uuid = {str(contact.get("uuid")): contact for contact in contacts}
        seen = await self._store.contacts.seen(self._account, list(by_uuid))
        self.report.contacts += len(contacts)
        for uuid, ours in seen.items():
            if ours.held or ours.updated_at >= asked_at:
                self.report.changed_meanwhile += 1
                continue
            self.report.compared += 1
            differing = _differing(ours, contact_fields(by_uuid[uuid]))
            if differing:
                await self._tell(uuid, ours, differing)

    async def _tell(self, uuid: str, ours: Seen, differing: Mapping[str, Json]) -> None:
        report, repairing = self.report, self._repair and ours.record is not None
        report.differing += len(differing)
        for name, theirs in differing.items():
            known = ours.known.fields[name]
            if len(report.differences) < DIFFERENCES_MAX:
                report.differences.append(
                    Difference(uuid, name, known.value, theirs, known.event_id, known.confirmed_at, repairing)
                )
        if repairing and ours.record is not None:
            now = self._clock()
            doubt = Doubt(now, {name: Carried(theirs, BEFORE_ALL) for name, theirs in differing.items()})
            await self._store.contacts.doubt(ours.record, uuid, doubt, now=now, priority=Priority.REPLAY)
            report.repairing += len(differing)

    async def _linked(self) -> list[str]:
        linked: list[str] = []
        while uuids := await self._store.contacts.linked(self._account, after=linked[-1] if linked else ""):
            linked += uuids
        return linked


def _differing(ours: Seen, theirs: Mapping[str, Json]) -> dict[str, Json]:
    """Return what ChartMogul holds in the fields that differ; what was never sure, or is not shown, says nothing."""
    return {
        name: theirs.get(name)
        for name, known in ours.known.fields.items()
        if known.certain
        and known.event_id is not None
        and (name in theirs or name.startswith(CUSTOM))
        and not same_value(known.value, theirs.get(name))
    }
