"""Replay: changes that ended become pending again, in small batches, and obey the order like any other."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, exists, false, func, select, update

from service.errors import NotFound
from service.model import DeliveryState, EventState, OutcomeKind
from service.schema import deliveries, events
from service.store.database import Database
from service.store.opening import Opening
from service.store.reopening import make_pending, open_for
from service.store.shadow import forget_shadow

BATCH: Final = 500
"""Events of one batch: one transaction, and no longer."""

_FULL: Final = exists().where(events.c.delivery_id == deliveries.c.id, events.c.state == EventState.DEAD.value)
"""A letter has a dead change in it."""
_ENDED: Final = [state.value for state in EventState if state is not EventState.PENDING]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which changes are replayed: all that ended, or only the dead ones, as far as every condition that is given fits.

    ``letters`` are ids of dead letters. ``since`` and ``until`` go by the time a change was received, the latter not
    included. ``cause`` is the outcome that the delivery ended with.
    """

    dead_only: bool = True
    letters: Sequence[int] = ()
    events: Sequence[int] = ()
    source: str | None = None
    object_id: str | None = None
    cause: OutcomeKind | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one batch set going: how many changes, of how many contacts, and the id to go on after; None at the end.

    A dead letter without a change sets its contact going too: it was to be told again what was confirmed before.

    ``unreadable`` counts changes whose payload has aged out or was erased: they stay as they are.
    """

    events: int
    contacts: int
    unreadable: int
    last_id: int | None


class Replays:
    """Makes ended changes pending again. Changes that their source ignored are none of a delivery, and stay."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._opening = Opening(database)

    async def count(self, selection: Selection) -> int:
        """Count the changes that a selection means."""
        counted = select(func.count()).select_from(events).where(*_wanted(selection))
        return await self._database.read(lambda connection: connection.execute(counted).scalar_one())

    async def batch(
        self, selection: Selection, *, after: int = 0, version: str | None = None, then: bool = False, now: datetime
    ) -> Batch:
        """Replay the next changes after an id. ``then`` maps each as it was mapped, ``version`` by that configuration.

        Without either, the present configuration maps them. Raises NotFound for a letter that is not dead.
        """

        def run(connection: Connection) -> Batch:
            if after == 0:  # those that the batches before emptied are put away
                _require_dead(connection, selection.letters)
            asked = (
                select(
                    events.c.id,
                    events.c.account,
                    events.c.source,
                    events.c.object_id,
                    events.c.delivery_id,
                    events.c.attempt_id,
                    events.c.state,
                    events.c.change.is_(None).label("unreadable"),
                )
                .where(*_wanted(selection), events.c.id > after)
                .order_by(events.c.id)
                .limit(BATCH)
                .with_for_update()  # of two that replay at once, one does it
            )
            rows = connection.execute(asked).all()
            readable = [row for row in rows if not row.unreadable]
            blank = connection.execute(_blank_letters(selection)).all() if after == 0 else []
            records = open_for(connection, self._opening, readable, now)
            records |= open_for(connection, self._opening, blank, now, changes=0)
            make_pending(connection, [row.id for row in readable], version, then=then)
            forget_shadow(connection, [row for row in readable if row.state == EventState.SHADOWED])
            letters = {row.delivery_id for row in (*readable, *blank)} | set(selection.letters)
            self._close_letters(connection, letters, now)
            last_id = rows[-1].id if len(rows) == BATCH else None
            return Batch(len(readable), len(records), len(rows) - len(readable), last_id)

        return await self._database.write(run)

    def _close_letters(self, connection: Connection, delivery_ids: set[int], now: datetime) -> None:
        """Put away the dead letters that are empty now."""
        emptied = (
            update(deliveries)
            .where(deliveries.c.id.in_(sorted(delivery_ids)), deliveries.c.state == DeliveryState.DEAD.value, ~_FULL)
            .values(state=DeliveryState.SKIPPED.value, reason="replayed", closed_at=now)
        )
        connection.execute(emptied)


def _blank_letters(selection: Selection) -> Select[Any]:
    """Select the dead letters without a dead change that are meant: what a contact was owed because of a doubt."""
    wanted = [deliveries.c.state == DeliveryState.DEAD.value, ~_FULL]
    if selection.letters:
        wanted.append(deliveries.c.id.in_(selection.letters))
    if selection.source is not None:
        wanted.append(deliveries.c.source == selection.source)
    if selection.object_id is not None:
        wanted.append(deliveries.c.object_id == selection.object_id)
    if selection.cause is not None:
        wanted.append(deliveries.c.outcome == selection.cause.value)
    if selection.events or selection.since is not None or selection.until is not None:
        wanted.append(false())  # it has no change that could be one of these, or of that time
    columns = (deliveries.c.id.label("delivery_id"), deliveries.c.account, deliveries.c.source, deliveries.c.object_id)
    return select(*columns).where(*wanted).order_by(deliveries.c.id).with_for_update()


def _require_dead(connection: Connection, letters: Sequence[int]) -> None:
    dead = select(deliveries.c.id).where(deliveries.c.id.in_(letters), deliveries.c.state == DeliveryState.DEAD.value)
    wrong = sorted(set(letters) - set(connection.execute(dead.with_for_update()).scalars())) if letters else []
    if wrong:
        raise NotFound(f"delivery {wrong[0]} is not a dead letter", hint="see `dead-letters` for those that are")


def _wanted(selection: Selection) -> list[ColumnElement[bool]]:
    states = [EventState.DEAD.value] if selection.dead_only else _ENDED
    wanted: list[ColumnElement[bool]] = [events.c.state.in_(states), events.c.delivery_id.is_not(None)]
    if selection.letters:
        wanted.append(events.c.delivery_id.in_(selection.letters))
    if selection.events:
        wanted.append(events.c.id.in_(selection.events))
    if selection.source is not None:
        wanted.append(events.c.source == selection.source)
    if selection.object_id is not None:
        wanted.append(events.c.object_id == selection.object_id)
    if selection.since is not None:
        wanted.append(events.c.received_at >= selection.since)
    if selection.until is not None:
        wanted.append(events.c.received_at < selection.until)
    if selection.cause is not None:
        ended_so = deliveries.c.outcome == selection.cause.value
        wanted.append(exists().where(deliveries.c.id == events.c.delivery_id, ended_so))
    return wanted
