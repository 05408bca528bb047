"""What is known of each ChartMogul contact, field by field, and who holds it for a PATCH."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, and_, exists, or_, select, update

from service.model import Carried, Conclusion, Confirmed, Delivery, Doubt, Known
from service.schema import contacts
from service.store.database import Database, upserting
from service.store.fields import pack_carried, pack_doubts, pack_fields, unpack_carried, unpack_doubts, unpack_fields
from service.store.lease import held
from service.store.opening import Opening, Record

DOUBTS_MAX: Final = 50
"""Doubts kept of one contact; of more, those whose time comes first are forgotten."""

_NEVER: Final = Confirmed(None, certain=False)
"""A field that was never confirmed, but may have been sent."""
_FREE: Final = {"held_by": None, "held_until": None}


class Contacts:
    """Holds: one PATCH at a time for each ChartMogul contact, whatever CRM record it is for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open = upserting(database)(contacts).on_conflict_do_nothing(index_elements=["account", "uuid"])
        self._opening = Opening(database)

    async def hold(  # a hold is all of this
        self,
        delivery: Delivery,
        uuid: str,
        *,
        intent: Mapping[str, Carried],
        now: datetime,
        until: datetime,
        late: timedelta,
    ) -> Known | None:
        """Keep a contact for one PATCH and return what is known of it; None while another delivery has it.

        None also when the lease was lost meanwhile: whoever has it now sends instead.
        ``intent`` is what the PATCH may carry: should no outcome be recorded, those fields are uncertain, and for as
        long as ``late`` after that was noticed they may land over newer ones.
        """
        here = and_(contacts.c.account == delivery.account, contacts.c.uuid == uuid)
        free = or_(contacts.c.held_by.is_(None), contacts.c.held_by == delivery.id, contacts.c.held_until <= now)
        leased = exists().where(*held(delivery))

        def take(connection: Connection) -> Known | None:
            empty = {"account": delivery.account, "uuid": uuid, "fields": b"{}", "updated_at": now}
            connection.execute(self._open, empty)
            before = connection.execute(
                select(contacts.c.fields, contacts.c.intent, contacts.c.doubts)
                .where(here, free, leased)
                .with_for_update()
            ).first()
            if before is None:
                return None
            # An intent left behind belongs to a PATCH whose outcome nobody recorded.
            left = unpack_carried(before.intent)
            known = Known(
                doubted(unpack_fields(before.fields), left),
                with_doubt(unpack_doubts(before.doubts), Doubt(now + late, left) if left else None),
            )
            connection.execute(
                update(contacts)
                .where(here)
                .values(
                    held_by=delivery.id,
                    held_until=until,
                    intent=pack_carried({**_again(known, now), **intent}),
                    fields=pack_fields(known.fields),
                    doubts=pack_doubts(known.doubts),
                )
            )
            return known

        return await self._database.write(take)

    async def doubt(self, delivery: Delivery, uuid: str, doubt: Doubt, *, now: datetime) -> None:
        """Write down that a PATCH went out whose lease was lost: its values may stand over those of its successor.

        The contact is looked at again when the doubt's time comes, by whatever delivery is open then.
        """
        here = and_(contacts.c.account == delivery.account, contacts.c.uuid == uuid)

        def write(connection: Connection) -> None:
            row = connection.execute(select(contacts.c.doubts).where(here).with_for_update()).first()
            if row is None:
                return
            doubts = with_doubt(unpack_doubts(row.doubts), doubt)
            connection.execute(update(contacts).where(here).values(doubts=pack_doubts(doubts)))
            contact = Record(delivery.account, delivery.source, delivery.object_id)
            self._opening.open(connection, contact, due_at=doubt.until, now=now)

        await self._database.write(write)

    async def known(self, account: str, uuid: str) -> Known:
        """Return what is known of a contact; nothing when it was never held."""
        asked = select(contacts.c.fields, contacts.c.doubts).where(
            contacts.c.account == account, contacts.c.uuid == uuid
        )
        row = await self._database.read(lambda connection: connection.execute(asked).first())
        return Known() if row is None else Known(unpack_fields(row.fields), unpack_doubts(row.doubts))


def conclude_hold(
    connection: Connection, delivery: Delivery, conclusion: Conclusion, attempt_id: int, now: datetime
) -> datetime | None:
    """Write down what a PATCH confirmed and what it left in doubt, and let the contact go, which must be ours.

    Return when the contact must be looked at again because of doubts that the conclusion could not know of.
    """
    uuid = conclusion.attempt.contact_uuid
    here = and_(contacts.c.account == delivery.account, contacts.c.uuid == uuid)
    row = connection.execute(select(contacts.c.fields, contacts.c.doubts).where(here).with_for_update()).first()
    if row is None:
        return None
    confirmed = {
        name: one if one.attempt_id is not None else replace(one, attempt_id=attempt_id)
        for name, one in conclusion.confirmed.items()
    }
    fields = doubted({**unpack_fields(row.fields), **confirmed}, conclusion.uncertain)
    # Those that came in while the contact was held are nobody's business yet.
    unseen = unpack_doubts(row.doubts)[conclusion.doubts_seen :]
    doubts = with_doubt((*conclusion.doubts, *unseen), None)
    values = {"fields": pack_fields(fields), "doubts": pack_doubts(doubts), "intent": None, "updated_at": now}
    if conclusion.email is not None:
        values["email"] = conclusion.email
    connection.execute(update(contacts).where(here).values(_FREE | values))
    return min((doubt.until for doubt in unseen), default=None)


def is_ours(connection: Connection, delivery: Delivery, uuid: str) -> bool:
    """Say whether no other delivery took the contact since: its PATCH may have gone over this one's."""
    holder = select(contacts.c.held_by).where(contacts.c.account == delivery.account, contacts.c.uuid == uuid)
    row = connection.execute(holder.with_for_update()).first()
    return row is None or row.held_by == delivery.id


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


def with_doubt(doubts: Sequence[Doubt], new: Doubt | None) -> tuple[Doubt, ...]:
    """Add a doubt. The same PATCH that once more got no answer prolongs the doubt about it."""
    others = [doubt for doubt in doubts if new is None or doubt.fields != new.fields]
    return (*others, *([] if new is None else [new]))[-DOUBTS_MAX:]


def _again(known: Known, now: datetime) -> dict[str, Carried]:
    """Return what may be sent once more, because the time of a doubt about it has come."""
    names = {name for doubt in known.doubts if doubt.until <= now for name in doubt.fields}
    return {name: Carried(one.value, one.order) for name, one in known.fields.items() if name in names}
