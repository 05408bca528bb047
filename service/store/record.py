"""The conclusion of a try: events, contact, link, account and delivery, written together or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import Connection, String, and_, bindparam, delete, func, insert, select, update

from service.model import (
    AT_ONCE,
    Attempt,
    Conclusion,
    Delivery,
    DeliveryState,
    Disposition,
    EventState,
    Next,
    OutcomeKind,
    Settle,
)
from service.schema import attempts, deliveries, events, ignored_attributes, links
from service.store.accounts import record_verdict
from service.store.attributes import SeenAttributes
from service.store.contacts import conclude_hold, contact_of, release_holds
from service.store.database import Database, upserting
from service.store.lease import HELD, IS_PENDING, PENDING, lease, pending_of
from service.store.prepared import new, updating

MICROSECOND: Final = timedelta(microseconds=1)

_CLOSED: Final = {
    Next.DONE: DeliveryState.DELIVERED,
    Next.SKIP: DeliveryState.SKIPPED,
    Next.DEAD: DeliveryState.DEAD,
    Next.SHADOW: DeliveryState.SKIPPED,
}


@dataclass(frozen=True, slots=True)
class Waits:
    """Why a delivery stays open after a try that ended well: since when something waits in it, and for when."""

    since: datetime
    due_at: datetime
    settle: Settle = AT_ONCE
    settled_by: datetime | None = None


_THIS: Final = deliveries.c.id == bindparam("delivery")
_LEASE: Final = select(deliveries.c.due_at, deliveries.c.settled_by).where(HELD).with_for_update()
_ATTEMPT: Final = insert(attempts).returning(attempts.c.id)
_WAITING_SINCE: Final = select(func.min(events.c.received_at)).where(PENDING)
_ENDED: Final = {
    events.c.state: bindparam("end_state"),
    events.c.reason: bindparam("end_reason", type_=events.c.reason.type),
    events.c.by_event_id: bindparam("end_by", type_=events.c.by_event_id.type),
    events.c.delivery_id: bindparam("end_delivery"),
    events.c.attempt_id: bindparam("end_attempt"),
    events.c.config_version: func.coalesce(events.c.replay_version, bindparam("end_version", type_=String)),
    events.c.decided_at: bindparam("end_at", type_=events.c.decided_at.type),
}
_END_ONE: Final = update(events).where(events.c.id == bindparam("end_id"), IS_PENDING).values(_ENDED)
_END_MANY: Final = (
    update(events).where(events.c.id.in_(bindparam("end_ids", expanding=True)), IS_PENDING).values(_ENDED)
)


class Recorder:
    """Writes conclusions, inside a transaction that the caller opened."""

    def __init__(self, database: Database, attributes: SeenAttributes) -> None:
        self._upsert = upserting(database)
        self._attributes = attributes
        linked = self._upsert(links)
        found = ("account", "contact_uuid", "found_by", "found_at")
        self._link = linked.on_conflict_do_update(
            index_elements=["source", "object_id"], set_={name: linked.excluded[name] for name in found}
        )

    def record(self, connection: Connection, delivery: Delivery, conclusion: Conclusion, now: datetime) -> bool:
        """Write all of it; False, and nothing written, if the lease or the contact was lost meanwhile."""
        # Locked before anything is looked at: an arrival that reopens it waits for us, or we see its event.
        held = connection.execute(_LEASE, lease(delivery)).first()
        uuid = conclusion.attempt.contact_uuid
        contact = None if held is None or uuid is None else contact_of(connection, delivery, uuid)
        if held is None or (contact is not None and contact.held_by != delivery.id):
            return False  # to another delivery, say, whose PATCH may have gone over this one's
        attempt_id: int = connection.execute(_ATTEMPT, attempt_row(delivery.id, conclusion.attempt)).scalar_one()
        doubted_at: datetime | None = None
        if uuid is None:  # a fault of ours may have come after a PATCH: its intent stays in doubt
            release_holds(connection, [delivery.id], sent=True)
        elif contact is not None:
            doubted_at = conclude_hold(connection, delivery, conclusion, contact, attempt_id, now)
        _settle(connection, conclusion, delivery.id, attempt_id, now)
        self._record_link(connection, delivery, conclusion, now)
        self._record_ignored(connection, delivery.account, conclusion.ignored_attributes, now)
        self._attributes.write(connection, delivery.account, conclusion.seen_attributes, now)
        called_at = conclusion.attempt.started_at
        record_verdict(connection, delivery.account, conclusion.verdict, called_at=called_at, now=now)
        again_at = min((at for at in (conclusion.again_at, doubted_at) if at is not None), default=None)
        after = _after(delivery, conclusion, now, _waits(connection, delivery, conclusion, held, again_at, now))
        connection.execute(updating(deliveries, _THIS, tuple(after)), {"delivery": delivery.id, **new(after)})
        dead = [end for end in conclusion.dispositions if end.state is EventState.DEAD]
        if dead and after["state"] != DeliveryState.DEAD.value:
            _write_dead_letter(connection, delivery, dead, conclusion, now)
        return True

    def _record_link(self, connection: Connection, delivery: Delivery, conclusion: Conclusion, now: datetime) -> None:
        if conclusion.verdict.next is Next.RELINK or conclusion.attempt.outcome.kind is OutcomeKind.CONTACT_GONE:
            here = and_(links.c.source == delivery.source, links.c.object_id == delivery.object_id)
            connection.execute(delete(links).where(here))
        elif conclusion.link is not None:
            row = {
                "source": delivery.source,
                "object_id": delivery.object_id,
                "account": delivery.account,
                "contact_uuid": conclusion.link.contact_uuid,
                "found_by": conclusion.link.found_by,
                "found_at": now,
            }
            connection.execute(self._link, row)

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
        ended = {
            "end_state": state.value,
            "end_reason": reason,
            "end_by": by_event_id,
            "end_delivery": delivery_id,
            "end_attempt": attempt_id,
            "end_version": conclusion.config_version,
            "end_at": now,
        }
        one = len(ids) == 1
        connection.execute(_END_ONE if one else _END_MANY, ended | ({"end_id": ids[0]} if one else {"end_ids": ids}))


def _waits(  # what may keep a delivery open
    connection: Connection,
    delivery: Delivery,
    conclusion: Conclusion,
    leased: Any,  # noqa: ANN401  # a row of when it is due and until when it may settle
    again_at: datetime | None,
    now: datetime,
) -> Waits | None:
    """Say why the delivery stays open, if it does: a change came meanwhile, or a doubt's time is still to come."""
    since = connection.execute(_WAITING_SINCE, pending_of(delivery)).scalar()
    if since is not None:
        settle = conclusion.settle
        settled_by = now + settle.longest if settle.window else None
        # Where the source lets its changes settle too, the longer wait counts.
        settled_by = max((at for at in (settled_by, leased.settled_by) if at is not None), default=None)
        return Waits(since, max(now + settle.window, leased.due_at), settle, settled_by)
    return None if again_at is None else Waits(now, again_at)


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
        fresh = {
            "attempts": 0,
            "failing_since": None,
            "relinked": False,
            "opened_at": waits.since,
            "settle_us": waits.settle.window // MICROSECOND,
            "settled_by": waits.settled_by,
        }
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
