"""A log with a past: everything that waits in it is made to look as if it had been delivered, by plain SQL."""

from typing import Any, Final

from sqlalchemy import Connection, Table, create_engine, event, func, insert, literal, select, text, update

from service.schema import OPEN, attempts, contacts, deliveries, events, links

UUID: Final = "con_%08x-7686-11ee-86f6-8727560009c2"
BEYOND: Final = 0x8000_0000
"""Added to a delivery's id for its contact's uuid: above those that the sandbox has."""
EMAIL: Final = "person-%d@nordwind-logistik.example"
IN_A_HURRY: Final = ("journal_mode=OFF", "synchronous=OFF", "cache_size=-500000")
"""How the file is written here: should this break off, there is nothing to keep."""


def end_everything(url: str) -> None:
    """End every delivery with its events, each with an attempt, a link and a contact. No service may have the log."""
    engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def _hurry(connection: Any, _record: object) -> None:  # noqa: ANN401  # the driver's
        for pragma in IN_A_HURRY:
            connection.execute(f"PRAGMA {pragma}")

    with engine.begin() as connection:
        _end_events(connection)
        uuid, at = func.printf(UUID, deliveries.c.id + BEYOND), deliveries.c.opened_at
        own = {"source": deliveries.c.source, "object_id": deliveries.c.object_id, "account": deliveries.c.account}
        call = {"started_at": at, "duration_ms": 84, "outcome": "applied", "status": 200, "fields": '["title"]'}
        _derive(connection, attempts, id=deliveries.c.id, delivery_id=deliveries.c.id, contact_uuid=uuid, **call)
        _derive(connection, links, **own, contact_uuid=uuid, found_by="email in email", found_at=at)
        email = func.printf(EMAIL, deliveries.c.id)
        account = deliveries.c.account
        _derive(connection, contacts, account=account, uuid=uuid, email=email, fields=b"{}", updated_at=at)
        closed = {"state": "delivered", "closed_at": at, "contact_uuid": uuid, "outcome": "applied", "fence": 1}
        connection.execute(update(deliveries).values(closed))
    engine.dispose()


def _end_events(connection: Connection) -> None:
    """Say of each event that it was delivered by its delivery, whose one attempt has the same id."""
    own = (
        select(deliveries.c.id)
        .where(deliveries.c.source == events.c.source, deliveries.c.object_id == events.c.object_id, text(OPEN))
        .scalar_subquery()
    )
    ended = {"state": "delivered", "decided_at": events.c.received_at, "delivery_id": own, "attempt_id": own}
    connection.execute(update(events).values(ended))


def _derive(connection: Connection, table: Table, **columns: Any) -> None:  # noqa: ANN401  # columns and plain values
    """Insert a row for each delivery."""
    row = [value if hasattr(value, "label") else literal(value) for value in columns.values()]
    connection.execute(insert(table).from_select(list(columns), select(*row).select_from(deliveries)))
