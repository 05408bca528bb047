"""Who is meant: a CRM record's id, a ``con_`` uuid or an email becomes the records and contacts of one person."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Select, select, tuple_, union

from service.schema import contacts, events, links, source_marks

RECORDS_MAX: Final = 1_000
"""CRM records of one person that are looked at."""


@dataclass(frozen=True, slots=True)
class Person:
    """The CRM records (source, id) of a person, and the ChartMogul contacts (account, uuid) that they are linked to."""

    records: tuple[tuple[str, str], ...]
    contacts: tuple[tuple[str, str], ...]


def find_person(connection: Connection, named: str, *, source: str | None = None) -> Person:
    """Find whom an operator means; of a person that several CRMs know, ``source`` narrows a record's id to one of them.

    Every record that is linked to a contact of the person belongs to them too.
    """
    found = _contacts_named(connection, named)
    records = [] if found else _records_named(connection, named, source)
    if records:
        here = tuple_(links.c.source, links.c.object_id).in_(records)
        linked = select(links.c.account, links.c.contact_uuid).where(here)
        found = [(row.account, row.contact_uuid) for row in connection.execute(linked.distinct())]
    theirs = select(links.c.source, links.c.object_id).where(
        tuple_(links.c.account, links.c.contact_uuid).in_(sorted(found))
    )
    linked_too = [(row.source, row.object_id) for row in connection.execute(theirs.limit(RECORDS_MAX))] if found else []
    return Person(tuple(sorted({*records, *linked_too})), tuple(sorted(set(found))))


def _contacts_named(connection: Connection, named: str) -> list[tuple[str, str]]:
    value = named.strip().casefold()
    if value.startswith("con_"):
        column = contacts.c.uuid
    elif "@" in value:
        column = contacts.c.email
    else:
        return []
    asked = select(contacts.c.account, contacts.c.uuid).where(column == value).limit(RECORDS_MAX)
    return [(row.account, row.uuid) for row in connection.execute(asked)]


def _records_named(connection: Connection, named: str, source: str | None) -> list[tuple[str, str]]:
    # By source, so that each is a look into an index: a log is long.
    known = [source] if source is not None else list(connection.execute(select(source_marks.c.source)).scalars())
    both: list[Select[tuple[str, str]]] = [
        select(table.c.source, table.c.object_id).where(table.c.source.in_(known), table.c.object_id == named)
        for table in (links, events)
    ]
    return [(row.source, row.object_id) for row in connection.execute(union(*both).limit(RECORDS_MAX))]
