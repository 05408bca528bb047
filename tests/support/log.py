"""Changes, arrivals and conclusions as the pipeline makes them, and a look at any table by hand."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, Executable, RowMapping, Table, select

from service.model import (
    AT_ONCE,
    Action,
    Arrival,
    Attempt,
    Carried,
    Change,
    Conclusion,
    Delivery,
    Disposition,
    EventState,
    InboundRequest,
    Known,
    Next,
    Outcome,
    OutcomeKind,
    Priority,
    Record,
    Settle,
    Verdict,
)
from service.store import Store
from service.store.embedded import Embedded
from tests.support.clock import Clock

SOURCE: Final = "pipedrive"
ACCOUNT: Final = "default"
PERSON: Final = "451"
ADA: Final = "con_7f3e1c52-6c1f-4b5c-9a62-0b7c3b1f0a11"
LEASE_S: Final = 60.0
LATE: Final = timedelta(seconds=20)
"""How long after it was given up a PATCH may land."""


def change(key: str = "d1f0-1", object_id: str = PERSON, *, values: Record | None = None, **other: Any) -> Change:  # noqa: ANN401  # any of a change's fields
    """Return a change of a person, as Pipedrive would tell it."""
    fields: dict[str, Any] = {"object_type": "person", "action": Action.UPDATED, **other}
    return Change(key, fields.pop("object_type"), object_id, fields.pop("action"), values=values or {}, **fields)


def arrival(
    *changes: Change,
    at: datetime,
    source: str = SOURCE,
    request: InboundRequest | None = None,
    settle: Settle = AT_ONCE,
    priority: Priority = Priority.LIVE,
) -> Arrival:
    """Return a verified request with these changes in it."""
    body = json.dumps({"meta": {"entity": "person", "ids": [one.dedup_key for one in changes]}}).encode()
    url = f"https://hooks.northwind.example/webhooks/{source}"
    posted = InboundRequest("POST", url, {"content-type": "application/json"}, body)
    return Arrival(source, ACCOUNT, at, request or posted, changes, settle, priority)


async def receive(
    store: Store,
    clock: Clock,
    *changes: Change,
    source: str = SOURCE,
    settle: Settle = AT_ONCE,
    priority: Priority = Priority.LIVE,
) -> None:
    """Log these changes as one request that arrives now."""
    await store.intake.append(arrival(*changes, at=clock(), source=source, settle=settle, priority=priority))


async def claim(store: Store, clock: Clock, *, limit: int = 10, owner: str = "replica-a") -> list[Delivery]:
    """Claim what is due now for a minute."""
    return await store.deliveries.claim(
        account=ACCOUNT, owner=owner, now=clock(), lease_until=clock.after(LEASE_S), limit=limit
    )


async def claim_one(store: Store, clock: Clock) -> Delivery:
    """Claim the one delivery that is due."""
    (delivery,) = await claim(store, clock)
    return delivery


def ends(*event_ids: int, state: EventState = EventState.DELIVERED, reason: str | None = None) -> list[Disposition]:
    """Say that these events end in one state."""
    return [Disposition(event_id, state, reason) for event_id in event_ids]


def conclusion(
    clock: Clock,
    dispositions: list[Disposition] | None = None,
    *,
    kind: OutcomeKind = OutcomeKind.APPLIED,
    verdict: Verdict | None = None,
    uuid: str | None = ADA,
    fields: tuple[str, ...] = (),
    **other: Any,  # noqa: ANN401  # any of a conclusion's fields
) -> Conclusion:
    """Return what a try that began now leaves behind; without a verdict it ended well."""
    attempt = Attempt(clock(), 84, Outcome(kind, 200), uuid, fields)
    return Conclusion(
        attempt, verdict or Verdict(Next.DONE, kind.value), dispositions=tuple(dispositions or ()), **other
    )


async def pending_ids(store: Store, delivery: Delivery) -> list[int]:
    """Return the ids of the events that a delivery is about."""
    return [event.id for event in (await store.deliveries.pending(delivery)).events]


async def finish(store: Store, clock: Clock, delivery: Delivery, **other: Any) -> bool:  # noqa: ANN401  # as conclusion
    """Record that all of a delivery's pending events were delivered."""
    done = conclusion(clock, ends(*await pending_ids(store, delivery)), **other)
    return await store.deliveries.record(delivery, done, now=clock())


async def hold(
    store: Store,
    clock: Clock,
    delivery: Delivery,
    *names: str,
    uuid: str = ADA,
    carrying: Mapping[str, Carried] | None = None,
) -> Known | None:
    """Hold a contact for a PATCH of these fields; None when another delivery has it."""
    intent = {name: Carried("as sent", (1, 1)) for name in names} | dict(carrying or {})
    return await store.contacts.hold(delivery, uuid, intent=intent, now=clock(), until=clock.after(LEASE_S), late=LATE)


async def bury(
    store: Store,
    clock: Clock,
    delivery: Delivery,
    reason: str = "rejected (422): email",
    **other: Any,  # noqa: ANN401  # as conclusion
) -> bool:
    """Record that ChartMogul will not have it: the delivery and its events become a dead letter."""
    dead = ends(*await pending_ids(store, delivery), state=EventState.DEAD, reason=reason)
    refused = conclusion(clock, dead, kind=OutcomeKind.REJECTED, verdict=Verdict(Next.DEAD, reason), **other)
    return await store.deliveries.record(delivery, refused, now=clock())


async def rows(store: Store, table: Table) -> list[RowMapping]:
    """Return every row of a table, oldest first."""
    every = select(table).order_by(*table.primary_key.columns)
    return await store._database.read(lambda connection: list(connection.execute(every).mappings()))


async def by_hand(store: Store, *statements: Executable) -> None:
    """Run statements that the store itself would not."""

    def run(connection: Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    await store._database.write(run)


def writing_engine(store: Store) -> Engine:
    """Return the engine that a store writes with, to listen to."""
    engine: Any = store._database._engine
    return engine._writer if isinstance(engine, Embedded) else engine._engine.sync_engine
