"""ChartMogul accounts: the pace of their calls, and whether they are held back."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, false, select, update

from service.errors import Postponed
from service.schema import accounts
from service.store.database import Database, upserting


@dataclass(frozen=True, slots=True)
class AccountState:
    """How an account stands: held back for a while, stopped until its key works again, or neither."""

    name: str
    slowed_until: datetime | None
    slowed_reason: str | None
    paused_at: datetime | None
    paused_reason: str | None


class Accounts:
    """One row an account, so that all who deliver to it together keep its pace."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._upsert = upserting(database)

    async def ensure(self, names: Iterable[str], *, now: datetime) -> None:
        """Give every configured account its row."""
        rows = [{"name": name, "next_call_at": now} for name in sorted(set(names))]
        new = self._upsert(accounts).on_conflict_do_nothing(index_elements=["name"])
        if rows:
            await self._database.write(lambda connection: connection.execute(new, rows).rowcount)

    async def reserve(self, name: str, *, every: timedelta, wait_max: timedelta, now: datetime) -> datetime:
        """Take the account's next call and return when it may be made: one call every ``every``, nobody's twice.

        Where the account is slowed, the call waits until that is over. Raises Postponed, and takes nothing, when the
        wait would be longer than ``wait_max``.
        """
        here = accounts.c.name == name

        def take(connection: Connection) -> datetime:
            row = connection.execute(
                select(accounts.c.next_call_at, accounts.c.slowed_until).where(here).with_for_update()
            ).one()
            at: datetime = max(now, row.next_call_at, row.slowed_until or now)
            if at - now > wait_max:
                raise Postponed(at)
            connection.execute(update(accounts).where(here).values(next_call_at=at + every))
            return at

        return await self._database.write(take)

    async def resume(self, name: str) -> None:
        """Let an account's deliveries go on."""
        free = update(accounts).where(accounts.c.name == name).values(paused_at=None, paused_reason=None)
        await self._database.write(lambda connection: connection.execute(free).rowcount)

    async def check(self) -> None:
        """Do what needs everything that a write needs, tables included, and change nothing."""
        nothing = update(accounts).where(false()).values(slowed_reason=None)
        await self._database.write(lambda connection: connection.execute(nothing).rowcount)

    async def paused(self) -> list[AccountState]:
        """Return the accounts that wait for their key to work again."""
        return [state for state in await self.states() if state.paused_at is not None]

    async def states(self) -> list[AccountState]:
        """Return every account, by name."""
        every = select(
            accounts.c.name,
            accounts.c.slowed_until,
            accounts.c.slowed_reason,
            accounts.c.paused_at,
            accounts.c.paused_reason,
        ).order_by(accounts.c.name)
        return await self._database.read(
            lambda connection: [AccountState(*tuple(row)) for row in connection.execute(every)]
        )
