"""The conclusion of a try: events, contact, link, account and delivery, written together or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import Connection, and_, delete, func, insert, select, update

from service.model import (
    Attempt,
    Conclusion,
    Delivery,
    DeliveryState,
    Disposition,
    EventState,
    Link,
    Next,
    OutcomeKind,
)
from service.schema import attempts, deliveries, events, ignored_attributes, links
from service.store.accounts import record_verdict
from service.store.contacts import conclude_hold, is_ours, release_holds
from service.store.database import Database, upserting
from service.store.lease import held

_CLOSED: Final = {
    Next.DONE: DeliveryState.DELIVERED,
    Next.SKIP: DeliveryState.SKIPPED,
    Next.DEAD: DeliveryState.DEAD,
}


@dataclass(frozen=True, slots=True)
class Waits:
    """Why a delivery stays open after a try that ended well: since when something waits in it, and for when."""

    since: datetime
    due_at: datetime


class Recorder:
    """Writes conclusions, inside a transaction that the caller opened."""

    def __init__(self, database: Database) -> None:
        self._upsert = upserting(database)

    def record(self, connection: Connection, delivery: Delivery, conclusion: Conclusion, now: datetime) -> bool:
        """Write all of it; False, and nothing written, if the lease or the contact was lost meanwhile."""
        # Locked before anything is looked at: an arrival that reopens it waits for us, or we see its event.
        asked = select(deliveries.c.due_at).where(*held(delivery)).with_for_update()
        lease = connection.execute(asked).first()
        uuid = conclusion.attempt.contact_uuid
        if lease is None or (uuid is not None and not is_ours(connection, delivery, uuid)):
            return False
        attempt_id: int = connection.execute(
            insert(attempts).values(attempt_row(delivery.id, conclusion.attempt)).returning(attempts.c.id)
        ).scalar_one()
        doubted_at: datetime | None = None
        if uuid is None:  # a fault of ours may have come after a PATCH: its intent stays in doubt
            release_holds(connection, [delivery.id], sent=True)
        else:
            doubted_at = conclude_hold(connection, delivery, conclusion, attempt_id, now)
        _settle(connection, conclusion, delivery.id, attempt_id, now)
        self._record_link(connection, delivery, conclusion, now)
        self._record_ignored(connection, delivery.account, conclusion.ignored_attributes, now)
        called_at = conclusion.attempt.started_at
        record_verdict(connection, delivery.account, conclusion.verdict, called_at=called_at, now=now)
        waiting_since = connection.execute(select(func.min(events.c.received_at)).where(*pending_of(delivery))).scalar()
        again_at = min((at for at in (conclusion.again_at, doubted_at) if at is not None), default=None)
        waits = None
        if waiting_since is not None:  # settling included: a change that came meanwhile may have put it off
            waits = Waits(waiting_since, max(now, lease.due_at))
        elif again_at is not None:
            waits = Waits(now, again_at)
        after = _after(delivery, conclusion, now, waits)
        connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(after))
        dead = [end for end in conclusion.dispositions if end.state is EventState.DEAD]
        if dead and after["state"] != DeliveryState.DEAD.value:
            _write_dead_letter(connection, delivery, dead, conclusion, now)
        return True

    def _record_link(self, connection: Connection, delivery: Delivery, conclusion: Conclusion, now: datetime) -> None:
        if conclusion.verdict.next is Next.RELINK or conclusion.attempt.outcome.kind is OutcomeKind.CONTACT_GONE:
            here = and_(links.c.source == delivery.source, links.c.object_id == delivery.object_id)
            connection.execute(delete(links).where(here))
        elif conclusion.link is not None:
            connection.execute(self._link(delivery, conclusion.link, now))

    def _link(self, delivery: Delivery, link: Link, now: datetime) -> Any:  # noqa: ANN401  # either dialect's insert
        found = {
            "account": delivery.account,
            "contact_uuid": link.contact_uuid,
            "found_by": link.found_by,
            "found_at": now,
        }
        return (
            self._upsert(links)
            .values(source=delivery.source, object_id=delivery.object_id, **found)
            .on_conflict_do_update(index_elements=["source", "object_id"], set_=found)
        )

    def _record_ignored(self, connection: Connection, account: str, attributes: Sequence[str], now: datetime) -> None:
        for attribute in sorted(attributes):  # in one order everywhere, so that two replicas never wait for each other
            connection.execute(
                self._upsert(ignored_attributes)
                .values(account=account, attribute=attribute, first_seen_at=now, last_seen_at=now, count=1)
                .on_conflict_do_update(
                    index_elements=["account", "attribute"],
                    set_={"last_seen_at": now, "count": ignored_attributes.c.count + 1},
                )
            )


def pending_of(delivery: Delivery) -> tuple[Any, ...]:
    """Select the events that a delivery is about."""
    return (
        events.c.source == delivery.source,
        events.c.object_id == delivery.object_id,
        events.c.state == EventState.PENDING.value,
    )


def attempt_row(delivery_id: int, attempt: Attempt) -> dict[str, Any]:
    """Give an attempt the form of its table."""
    return {
        "delivery_id": delivery_id,
        "started_at": attempt.started_at,
        "duration_ms": attempt.duration_ms,
        "contact_uuid": attempt.contact_uuid,
        "outcome": attempt.outcome.kind.value,
        "status": attempt.outcome.status,
        "detail": attempt.outcome.detail or None,
        "fields": orjson.dumps(attempt.fields).decode(),
    }


def _settle(connection: Connection, conclusion: Conclusion, delivery_id: int, attempt_id: int, now: datetime) -> None:
    """End the events: a burst has many of them, and few ways to end."""
    alike: dict[tuple[EventState, str | None, int | None], list[int]] = {}
    for end in conclusion.dispositions:
        alike.setdefault((end.state, end.reason, end.by_event_id), []).append(end.event_id)
    for (state, reason, by_event_id), ids in alike.items():
        connection.execute(
            update(events)
            .where(events.c.id.in_(ids), events.c.state == EventState.PENDING.value)
            .values(
                state=state.value,
                reason=reason,
                by_event_id=by_event_id,
                delivery_id=delivery_id,
                attempt_id=attempt_id,
                config_version=func.coalesce(events.c.replay_version, conclusion.config_version),
                decided_at=now,
            )
        )


def _after(delivery: Delivery, conclusion: Conclusion, now: datetime, waits: Waits | None) -> dict[str, Any]:
    """Say how the delivery stands after this try: closed, or pending with the time of the next one."""
    verdict, kind = conclusion.verdict, conclusion.attempt.outcome.kind.value
    row: dict[str, Any] = {
        "lease_owner": None,
        "lease_until": None,
        "lost": 0,
        "contact_uuid": conclusion.attempt.contact_uuid,
        "outcome": kind,
        "repeats": delivery.repeats + 1 if delivery.outcome == kind else 1,
        "reason": verdict.reason,
    }
    closed = _CLOSED.get(verdict.next)
    if closed is None:  # tried again; what a refused key stopped was not this delivery's failure
        return row | {
            "state": DeliveryState.PENDING.value,
            "due_at": verdict.due_at or now,
            "attempts": delivery.attempts + (0 if verdict.pause else 1),
            "failing_since": None if verdict.pause else delivery.failing_since or now,
            "relinked": delivery.relinked or verdict.next is Next.RELINK,
        }
    if waits is not None:  # the same duty, begun afresh
        fresh = {"attempts": 0, "failing_since": None, "relinked": False, "opened_at": waits.since}
        return row | fresh | {"state": DeliveryState.PENDING.value, "due_at": waits.due_at}
    return row | {"state": closed.value, "closed_at": now}


def _write_dead_letter(
    connection: Connection, delivery: Delivery, dead: Sequence[Disposition], conclusion: Conclusion, now: datetime
) -> None:
    """Give dead events a letter of their own where their delivery goes on, or ended well, without them."""
    outcome = conclusion.attempt.outcome.kind if conclusion.verdict.next is Next.DEAD else OutcomeKind.UNMAPPABLE
    letter = {
        "account": delivery.account,
        "source": delivery.source,
        "object_id": delivery.object_id,
        "state": DeliveryState.DEAD.value,
        "opened_at": now,
        "due_at": now,
        "closed_at": now,
        "changes": len(dead),
        "contact_uuid": conclusion.attempt.contact_uuid,
        "outcome": outcome.value,
        "reason": dead[0].reason,
    }
    letter_id = connection.execute(insert(deliveries).values(letter).returning(deliveries.c.id)).scalar_one()
    moved = update(events).where(events.c.delivery_id == delivery.id, events.c.state == EventState.DEAD.value)
    connection.execute(moved.values(delivery_id=letter_id))
