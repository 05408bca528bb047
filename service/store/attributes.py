"""Which custom attributes ChartMogul has ever shown: what it shows is defined, and what it does not know it drops."""

from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, exists, select

from service.schema import contacts, seen_attributes
from service.store.database import Database, upserting

NOTED_MAX: Final = 10_000
"""Attributes that a process notes; what it meets beyond is left out."""
NAME_MAX: Final = 255
"""Characters of a name; longer ones are no attributes that a mapping could set."""


class SeenAttributes:
    """Notes each attribute once. What this process has noted before costs a look into a set, and no statement."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted: set[tuple[str, str]] = set()
        self._insert = upserting(database)(seen_attributes).on_conflict_do_nothing()

    def write(self, connection: Connection, account: str, names: Collection[str], now: datetime) -> None:
        """Write down those that are new, inside a transaction that the caller opened."""
        rows = [{"account": account, "attribute": name, "first_seen_at": now} for name in self._new(account, names)]
        if rows:
            connection.execute(self._insert, rows)

    def noted(self, account: str, names: Collection[str]) -> None:
        """Remember that they are written down: their transaction is over."""
        self._noted.update((account, name) for name in self._new(account, names))

    async def by_account(self, accounts: Collection[str]) -> dict[str, frozenset[str]]:
        """Return the attributes that ChartMogul has shown, of those accounts of which any contact was seen."""

        def read(connection: Connection) -> dict[str, frozenset[str]]:
            shown = {account: _shown(connection, account) for account in accounts}
            return {account: names for account, names in shown.items() if names or _any_contact(connection, account)}

        return await self._database.read(read)

    def _new(self, account: str, names: Collection[str]) -> list[str]:
        if all((account, name) in self._noted for name in names):
            return []
        # In one order everywhere, so that two replicas never wait for each other; PostgreSQL knows no NUL.
        fit = sorted(name for name in names if len(name) <= NAME_MAX and "\x00" not in name)
        return [name for name in fit if (account, name) not in self._noted][: NOTED_MAX - len(self._noted)]


def _shown(connection: Connection, account: str) -> frozenset[str]:
    named = select(seen_attributes.c.attribute).where(seen_attributes.c.account == account)
    return frozenset(connection.execute(named).scalars())


def _any_contact(connection: Connection, account: str) -> bool:
    """Say whether ChartMogul ever returned a contact: then its email is known."""
    found = exists().where(contacts.c.account == account, contacts.c.email.is_not(None))
    return bool(connection.execute(select(found)).scalar())
