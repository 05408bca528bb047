"""ChartMogul accounts: the pace of their calls, and whether they are held back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update

from service.errors import NotFound, Postponed
from service.model import Verdict, from_micros
from service.pace import share_after_cut, share_at
from service.schema import accounts
from service.store.database import Database, upserting
from service.store.prepared import new, updating

PAUSED_WAIT: Final = timedelta(seconds=5)
"""How long a call is put off that a person's pause met on its way."""


_THIS: Final = accounts.c.name == bindparam("account")
_ASKED: Final = (
    select(
        accounts.c.next_call_at,
        accounts.c.slowed_until,
        accounts.c.share,
        accounts.c.share_at,
        accounts.c.paused_by_hand,
    )
    .where(_THIS)
    .with_for_update()
)
_TAKEN: Final = updating(accounts, _THIS, ("next_call_at",))


@dataclass(frozen=True, slots=True)
class AccountState:
    """How an account stands: held back for a while, stopped by a person or until its key works again, or neither.

    ``share`` is how much of its rate it had at ``share_at``, 1 being all; time gives it back.
    """

    name: str
    slowed_until: datetime | None
    slowed_reason: str | None
    share: float
    share_at: datetime | None
    paused_at: datetime | None
    paused_reason: str | None
    paused_by_hand: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """When the account's next call may be made, and the share of its rate and of its parallel calls until further."""

    at: datetime
    share: float


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

    async def reserve(self, name: str, *, every: timedelta, wait_max: timedelta, now: datetime) -> Turn:
        """Take the account's next call and return when it may be made: one call every ``every``, nobody's twice.

        Where the account is slowed, the call waits until that is over, and the next ones come at its share of the
        rate. Raises Postponed, and takes nothing, when the wait would be longer than ``wait_max`` or a person paused
        the account.
        """

        def take(connection: Connection) -> Turn:
            row = connection.execute(_ASKED, {"account": name}).one()
            if row.paused_by_hand:
                raise Postponed(now + PAUSED_WAIT)
            at: datetime = max(now, row.next_call_at, row.slowed_until or now)
            if at - now > wait_max:
                raise Postponed(at)
            share = share_at(row.share, row.share_at, now)
            connection.execute(_TAKEN, {"account": name, **new({"next_call_at": at + every / share})})
            return Turn(at, share)

        return await self._database.write(take)

    async def pause(self, name: str, *, reason: str, now: datetime) -> None:
        """Stop an account's deliveries until ``resume``; intake goes on. Raises NotFound for an unknown account."""
        stopped = {"paused_at": now, "paused_reason": reason, "paused_by_hand": True}
        await self._update_known(name, stopped)

    async def resume(self, name: str) -> None:
        """Let an account's deliveries go on, whoever stopped them. Raises NotFound for an unknown account."""
        await self._update_known(name, _RUNNING)

    async def key_works(self, name: str) -> None:
        """Let the deliveries go on that a refused key stopped; a person's pause stays."""
        free = update(accounts).where(accounts.c.name == name, ~accounts.c.paused_by_hand).values(_RUNNING)
        await self._database.write(lambda connection: connection.execute(free).rowcount)

    async def _update_known(self, name: str, values: Mapping[str, object]) -> None:
        changed = update(accounts).where(accounts.c.name == name).values(dict(values))
        if not await self._database.write(lambda connection: connection.execute(changed).rowcount):
            known = ", ".join(state.name for state in await self.states())
            raise NotFound(f"no account {name!r} is known", hint=f"known are: {known or 'none yet, start the service'}")

    async def check(self) -> None:
        """Write something, so that a disk that is full or read-only is met here too, and change nothing."""
        nobody = {"name": "", "next_call_at": from_micros(0)}

        def come_and_go(connection: Connection) -> None:
            connection.execute(insert(accounts).values(nobody))
            connection.execute(delete(accounts).where(accounts.c.name == ""))

        await self._database.write(come_and_go)

    async def paused(self) -> list[AccountState]:
        """Return the accounts that wait for their key to work again."""
        return [state for state in await self.states() if state.paused_at is not None and not state.paused_by_hand]

    async def states(self) -> list[AccountState]:
        """Return every account, by name."""
        every = select(
            accounts.c.name,
            accounts.c.slowed_until,
            accounts.c.slowed_reason,
            accounts.c.share,
            accounts.c.share_at,
            accounts.c.paused_at,
            accounts.c.paused_reason,
            accounts.c.paused_by_hand,
        ).order_by(accounts.c.name)
        return await self._database.read(
            lambda connection: [AccountState(*tuple(row)) for row in connection.execute(every)]
        )


_RUNNING: Final = {"paused_at": None, "paused_reason": None, "paused_by_hand": False}


def record_verdict(connection: Connection, name: str, verdict: Verdict, *, called_at: datetime, now: datetime) -> None:
    """Slow an account down, or stop it, as an answer to a call of ``called_at`` demands."""
    if verdict.slow_until is None and not verdict.pause:
        return
    here = update(accounts).where(accounts.c.name == name)
    if verdict.slow_until is not None:
        # Of several answers at once, the longest wait counts.
        shorter = or_(accounts.c.slowed_until.is_(None), accounts.c.slowed_until < verdict.slow_until)
        slowed = here.where(shorter)
        connection.execute(slowed.values(slowed_until=verdict.slow_until, slowed_reason=verdict.reason))
        asked = select(accounts.c.share, accounts.c.share_at).where(accounts.c.name == name).with_for_update()
        row = connection.execute(asked).one()
        share = share_after_cut(row.share, row.share_at, called_at=called_at, now=now)
        if share is not None:
            connection.execute(here.values(share=share, share_at=now))
    if verdict.pause:
        first = here.where(accounts.c.paused_at.is_(None))
        connection.execute(first.values(paused_at=now, paused_reason=verdict.reason))
