"""What is known of each ChartMogul contact, field by field, and who holds it for a PATCH."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import orjson
from sqlalchemy import Connection, and_, exists, or_, select, update

from service.model import Confirmed, Delivery, from_micros, to_micros
from service.schema import contacts
from service.store.database import Database, upserting
from service.store.lease import held

_NEVER: Final = Confirmed(None, certain=False)
"""A field that was never confirmed, but may have been sent."""


class Contacts:
    """Holds: one PATCH at a time for each ChartMogul contact, whatever CRM record it is for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open = upserting(database)(contacts).on_conflict_do_nothing(index_elements=["account", "uuid"])

    async def hold(
        self, delivery: Delivery, uuid: str, *, intent: Sequence[str], now: datetime, until: datetime
    ) -> Mapping[str, Confirmed] | None:
        """Keep a contact for one PATCH and return its fields as last confirmed; None while another delivery has it.

        None also when the lease was lost meanwhile: whoever has it now sends instead.
        ``intent`` names the fields that the PATCH may carry: should no outcome be recorded, they are uncertain.
        """
        here = and_(contacts.c.account == delivery.account, contacts.c.uuid == uuid)
        free = or_(contacts.c.held_by.is_(None), contacts.c.held_by == delivery.id, contacts.c.held_until <= now)
        leased = exists().where(*held(delivery))

        def take(connection: Connection) -> Mapping[str, Confirmed] | None:
            empty = {"account": delivery.account, "uuid": uuid, "fields": b"{}", "updated_at": now}
            connection.execute(self._open, empty)
            before = connection.execute(
                select(contacts.c.fields, contacts.c.intent).where(here, free, leased).with_for_update()
            ).first()
            if before is None:
                return None
            # An intent left behind belongs to a PATCH whose outcome nobody recorded.
            fields = doubted(unpack_fields(before.fields), orjson.loads(before.intent or "[]"))
            connection.execute(
                update(contacts)
                .where(here)
                .values(
                    held_by=delivery.id,
                    held_until=until,
                    intent=orjson.dumps(list(intent)).decode(),
                    fields=pack_fields(fields),
                )
            )
            return fields

        return await self._database.write(take)

    async def fields(self, account: str, uuid: str) -> dict[str, Confirmed]:
        """Return what is known of a contact; nothing when it was never held."""
        known = select(contacts.c.fields).where(contacts.c.account == account, contacts.c.uuid == uuid)
        packed = await self._database.read(lambda connection: connection.execute(known).scalar())
        return {} if packed is None else unpack_fields(packed)


def conclude_hold(
    connection: Connection,
    delivery: Delivery,
    uuid: str,
    *,
    confirmed: Mapping[str, Confirmed],
    uncertain: Iterable[str],
    now: datetime,
) -> bool:
    """Write down what a PATCH confirmed and what it left uncertain, and let the contact go.

    False, and nothing written, if the hold ran out and another delivery took the contact: its PATCH may have gone over
    this one, so that nothing is known to stand.
    """
    here = and_(contacts.c.account == delivery.account, contacts.c.uuid == uuid)
    before = connection.execute(select(contacts.c.fields, contacts.c.held_by).where(here).with_for_update()).first()
    if before is None:
        return True
    if before.held_by != delivery.id:
        return False
    fields = doubted({**unpack_fields(before.fields), **confirmed}, uncertain)
    free = {"held_by": None, "held_until": None, "intent": None}
    connection.execute(update(contacts).where(here).values(**free, fields=pack_fields(fields), updated_at=now))
    return True


def release_holds(connection: Connection, delivery_ids: Sequence[int], *, sent: bool) -> None:
    """Let go what deliveries held. Where something may have been sent, its intent stays, for the next to doubt."""
    free = {"held_by": None, "held_until": None} | ({} if sent else {"intent": None})
    connection.execute(update(contacts).where(contacts.c.held_by.in_(delivery_ids)).values(free))


def doubted(fields: Mapping[str, Confirmed], names: Iterable[str]) -> dict[str, Confirmed]:
    """Return the fields with the named ones marked as uncertain, values and order kept."""
    after = dict(fields)
    for name in names:
        known = after.get(name, _NEVER)
        after[name] = Confirmed(known.value, known.order, known.event_id, known.confirmed_at, certain=False)
    return after


def pack_fields(fields: Mapping[str, Confirmed]) -> bytes:
    """Turn a contact's fields into JSON."""
    return orjson.dumps(
        {
            name: [
                known.value,
                *known.order,
                known.event_id,
                None if known.confirmed_at is None else to_micros(known.confirmed_at),
                known.certain,
            ]
            for name, known in fields.items()
        }
    )


def unpack_fields(packed: bytes) -> dict[str, Confirmed]:
    """Turn JSON back into a contact's fields."""
    return {
        name: Confirmed(
            value,
            (order_key, arrival),
            event_id,
            None if confirmed_us is None else from_micros(confirmed_us),
            certain=certain,
        )
        for name, (value, order_key, arrival, event_id, confirmed_us, certain) in orjson.loads(packed).items()
    }
