"""What is known of each ChartMogul contact, field by field, and who holds it for a PATCH."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, exists, or_, select, update

from service.model import Carried, Conclusion, Confirmed, Delivery, Doubt, Known, Next, Priority, Shadowed
from service.schema import contacts, links
from service.store.database import Database, upserting
from service.store.fields import (
    pack_carried,
    pack_doubts,
    pack_fields,
    pack_shadow,
    unpack_carried,
    unpack_doubts,
    unpack_fields,
    unpack_shadow,
)
from service.store.lease import HELD, lease
from service.store.opening import CrmRecord, Opening
from service.store.prepared import new, updating

DOUBTS_MAX: Final = 50
"""Doubts kept of one contact; of more, those that were there first are forgotten."""

PAGE: Final = 1_000
"""Uuids of one page."""

_HERE: Final = and_(contacts.c.account == bindparam("contact_account"), contacts.c.uuid == bindparam("contact_uuid"))
_HOLDABLE: Final = (
    select(contacts.c.fields, contacts.c.intent, contacts.c.doubts, contacts.c.shadow)
    .where(
        _HERE,
        or_(
            contacts.c.held_by.is_(None),
            contacts.c.held_by == bindparam("lease_id"),
            contacts.c.held_until <= bindparam("asked_at", type_=contacts.c.held_until.type),
        ),
        exists().where(HELD),
    )
    .with_for_update()
)
_CONCLUDED: Final = (
    select(contacts.c.held_by, contacts.c.fields, contacts.c.doubts, contacts.c.shadow).where(_HERE).with_for_update()
)
FOUND_BY: Final = "a PATCH whose lease was lost"
"""How a link was found that a doubt needed."""

_NEVER: Final = Confirmed(None, certain=False)
"""A field that was never confirmed, but may have been sent."""
_FREE: Final = {"held_by": None, "held_until": None}


@dataclass(frozen=True, slots=True)
class Seen:
    """A known contact: its fields, a CRM record linked to it, when it was last written, and whether it is held."""

    known: Known
    record: CrmRecord | None
    updated_at: datetime
    held: bool


class Contacts:
    """Holds: one PATCH at a time for each ChartMogul contact, whatever CRM record it is for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open = upserting(database)(contacts).on_conflict_do_nothing(index_elements=["account", "uuid"])
        self._link = upserting(database)(links).on_conflict_do_nothing(index_elements=["source", "object_id"])
        self._opening = Opening(database)

    async def hold(  # a hold is all of this
        self,
        delivery: Delivery,
        uuid: str,
        *,
        intent: Mapping[str, Carried] | None,
        now: datetime,
        until: datetime,
        late: timedelta,
    ) -> Known | None:
        """Keep a contact for one PATCH and return what is known of it; None while another delivery has it.

        None also when the lease was lost meanwhile: whoever has it now sends instead.
        ``intent`` is what the PATCH may carry: should no outcome be recorded, those fields are uncertain, and for as
        long as ``late`` after that was noticed they may land over newer ones. It is None where there will be no PATCH.
        """
        here = {"contact_account": delivery.account, "contact_uuid": uuid}

        def take(connection: Connection) -> Known | None:
            empty = {"account": delivery.account, "uuid": uuid, "fields": b"{}", "updated_at": now}
            connection.execute(self._open, empty)
            before = connection.execute(_HOLDABLE, here | lease(delivery) | {"asked_at": now}).first()
            if before is None:
                return None
            # An intent left behind belongs to a PATCH whose outcome nobody recorded.
            left = unpack_carried(before.intent)
            known = Known(
                doubted(unpack_fields(before.fields), left),
                merged((*unpack_doubts(before.doubts), *([Doubt(now + late, left)] if left else []))),
                unpack_shadow(before.shadow),
            )
            held = {
                "held_by": delivery.id,
                "held_until": until,
                "intent": None if intent is None else pack_carried({**_again(known, now), **intent}),
                "fields": pack_fields(known.fields),
                "doubts": pack_doubts(known.doubts),
            }
            connection.execute(updating(contacts, _HERE, tuple(held)), here | new(held))
            return known

        return await self._database.write(take)

    async def doubt(
        self,
        record: CrmRecord,
        uuid: str,
        doubt: Doubt,
        *,
        now: datetime,
        priority: Priority = Priority.LIVE,
    ) -> None:
        """Write down values that the contact may take on, or was seen with, against what was confirmed.

        A PATCH whose lease was lost leaves such a doubt, and so does a look at ChartMogul that found other values. The
        contact is looked at again when the doubt's time comes, by whatever delivery of the record is open then, which
        knows it by its link: a record that has none, since all its tries failed so far, gets one here.
        """
        here = and_(contacts.c.account == record.account, contacts.c.uuid == uuid)
        linked = {"source": record.source, "object_id": record.object_id, "account": record.account}
        found = {"contact_uuid": uuid, "found_by": FOUND_BY, "found_at": now}

        def write(connection: Connection) -> None:
            asked = select(contacts.c.fields, contacts.c.doubts).where(here)
            row = connection.execute(asked.with_for_update()).first()
            if row is None:
                return
            fields = doubted(unpack_fields(row.fields), doubt.fields)
            doubts = merged((*unpack_doubts(row.doubts), doubt))
            values = {"fields": pack_fields(fields), "doubts": pack_doubts(doubts)}
            connection.execute(update(contacts).where(here).values(values))
            connection.execute(self._link, linked | found)
            self._opening.open(connection, record, due_at=doubt.until, now=now, priority=priority)

        await self._database.write(write)

    async def seen(self, account: str, uuids: Sequence[str]) -> dict[str, Seen]:
        """Return those of the contacts that are known, by uuid."""
        asked = select(
            contacts.c.uuid, contacts.c.fields, contacts.c.doubts, contacts.c.updated_at, contacts.c.held_by
        ).where(contacts.c.account == account, contacts.c.uuid.in_(uuids))
        linked = (
            select(links.c.contact_uuid, links.c.source, links.c.object_id)
            .where(links.c.account == account, links.c.contact_uuid.in_(uuids))
            .order_by(links.c.found_at)
        )

        def read(connection: Connection) -> dict[str, Seen]:
            records = {
                row.contact_uuid: CrmRecord(account, row.source, row.object_id) for row in connection.execute(linked)
            }
            return {
                row.uuid: Seen(
                    Known(unpack_fields(row.fields), unpack_doubts(row.doubts)),
                    records.get(row.uuid),
                    row.updated_at,
                    row.held_by is not None,
                )
                for row in connection.execute(asked)
            }

        return await self._database.read(read)

    async def linked(self, account: str, *, after: str = "") -> list[str]:
        """Return the next uuids of an account's linked contacts after one, at most 1,000."""
        asked = (
            select(links.c.contact_uuid)
            .where(links.c.account == account, links.c.contact_uuid > after)
            .order_by(links.c.contact_uuid)
            .distinct()
            .limit(PAGE)
        )
        return await self._database.read(lambda connection: list(connection.execute(asked).scalars()))

    async def known(self, account: str, uuid: str) -> Known:
        """Return what is known of a contact; nothing when it was never held."""
        asked = select(contacts.c.fields, contacts.c.doubts, contacts.c.shadow).where(
            contacts.c.account == account, contacts.c.uuid == uuid
        )
        row = await self._database.read(lambda connection: connection.execute(asked).first())
        if row is None:
            return Known()
        return Known(unpack_fields(row.fields), unpack_doubts(row.doubts), unpack_shadow(row.shadow))


def contact_of(connection: Connection, delivery: Delivery, uuid: str) -> Any:  # noqa: ANN401  # a row of four columns
    """Read and lock what a conclusion changes of a contact; None where there is no such contact."""
    return connection.execute(_CONCLUDED, {"contact_account": delivery.account, "contact_uuid": uuid}).first()


def conclude_hold(
    connection: Connection,
    delivery: Delivery,
    conclusion: Conclusion,
    row: Any,  # noqa: ANN401  # as contact_of gave it
    attempt_id: int,
    now: datetime,
) -> datetime | None:
    """Write down what a PATCH confirmed and what it left in doubt, and let the contact go, which must be ours.

    Return when the contact must be looked at again because of doubts that the conclusion could not know of.
    """
    confirmed = {
        name: one if one.attempt_id is not None else replace(one, attempt_id=attempt_id)
        for name, one in conclusion.confirmed.items()
    }
    # Those that came in while the contact was held are nobody's business yet.
    unseen = [doubt for doubt in unpack_doubts(row.doubts) if doubt not in conclusion.doubts_seen]
    unsure = {*conclusion.uncertain, *(name for doubt in unseen for name in doubt.fields)}
    fields = doubted({**unpack_fields(row.fields), **confirmed}, unsure)
    doubts = merged((*conclusion.doubts, *unseen))
    values = {"fields": pack_fields(fields), "doubts": pack_doubts(doubts), "intent": None, "updated_at": now}
    if row.shadow is not None or conclusion.shadowed is not None:
        values["shadow"] = pack_shadow(shadow_after(unpack_shadow(row.shadow), conclusion, in_doubt=bool(doubts)))
    if conclusion.email is not None:
        values["email"] = conclusion.email
    here = {"contact_account": delivery.account, "contact_uuid": conclusion.attempt.contact_uuid}
    concluded = _FREE | values
    connection.execute(updating(contacts, _HERE, tuple(concluded)), here | new(concluded))
    return min((doubt.until for doubt in unseen), default=None)


def shadow_after(
    before: Mapping[str, Shadowed] | None, conclusion: Conclusion, *, in_doubt: bool
) -> dict[str, Shadowed] | None:
    """Return what stands of shadow mode after a try: all that no newer value was confirmed of since.

    It is empty rather than None where the contact is still to be read before the next PATCH, or is owed a confirmed
    value that shadow mode did not send once more.
    """
    stands = {
        name: one
        for name, one in {**(before or {}), **(conclusion.shadowed or {})}.items()
        if name not in conclusion.confirmed or conclusion.confirmed[name].order < one.order
    }
    waits = conclusion.verdict.next in {Next.RETRY, Next.RELINK} or (in_doubt and conclusion.shadowed is not None)
    return stands if stands or waits else None


def release_holds(connection: Connection, delivery_ids: Sequence[int], *, sent: bool) -> None:
    """Let go what deliveries held. Where something may have been sent, its intent stays, for the next to doubt."""
    free = _FREE | ({} if sent else {"intent": None})
    connection.execute(update(contacts).where(contacts.c.held_by.in_(delivery_ids)).values(free))


def doubted(fields: Mapping[str, Confirmed], names: Iterable[str]) -> dict[str, Confirmed]:
    """Return the fields with the named ones marked as uncertain, values and order kept."""
    after = dict(fields)
    for name in names:
        after[name] = replace(after.get(name, _NEVER), certain=False)
    return after


def merged(doubts: Iterable[Doubt]) -> tuple[Doubt, ...]:
    """Put doubts together: the same PATCH that once more got no answer prolongs the doubt about it."""
    kept: list[Doubt] = []
    for doubt in doubts:
        until = max([doubt.until, *(one.until for one in kept if one.fields == doubt.fields)])
        kept = [*(one for one in kept if one.fields != doubt.fields), Doubt(until, doubt.fields)]
    return tuple(kept[-DOUBTS_MAX:])


def _again(known: Known, now: datetime) -> dict[str, Carried]:
    """Return what may be sent once more, because the time of a doubt about it has come."""
    names = {name for doubt in known.doubts if doubt.until <= now for name in doubt.fields}
    return {name: Carried(one.value, one.order) for name, one in known.fields.items() if name in names}
