"""How a world comes to rest, and what must be true of it then."""

from datetime import datetime, timedelta
from typing import Final

from service.model import EventState
from service.schema import deliveries, events, links
from service.store.replay import Selection
from tests.model.crms import CONTACTS
from tests.model.house import ACCOUNT
from tests.model.truth import same
from tests.model.world import LATE, LEASE, World
from tests.support.log import rows
from tests.support.sandbox import contact_uuid

ROUNDS_MAX: Final = 200
"""Rounds of claims after which nothing will ever come to rest."""
LIMIT: Final = 10
UUIDS: Final = tuple(contact_uuid(number) for number in range(CONTACTS))


async def books_close(world: World) -> None:
    """At any time: every acknowledged change is in the log, once, and accounted for."""
    books = await world.store.ledger.audit()
    assert books.findings == ()
    assert books.total == len(world.truth.told), "the log has not what was acknowledged"


async def come_to_rest(world: World) -> None:
    """Let all go well from now on, until nothing is owed and nothing can land any more; dead letters stay dead.

    Without faults a delivery calls once for its changes, and a contact once for each time that a doubt is over.
    """
    world.clear_up()
    for trying in list(world.tries):
        trying.weather = trying.search_weather = None
        trying.dies_recording = False
        await world.go(trying)
    await world.resume()
    await world.look_after()
    most = world.judge.patches + await _needed(world)
    for _ in range(ROUNDS_MAX):
        tries = await world.claim(LIMIT)
        for trying in tries:
            await world.go(trying)
        reopened = await world.look_after()
        most += reopened
        if not tries and not reopened and not await _wait(world):
            break
    else:
        raise AssertionError("it never comes to rest")
    assert world.judge.patches <= most, "more calls than changes and doubts"
    await _fields_are_right(world)


async def replay_the_dead(world: World) -> None:
    """Let a person replay every dead letter, and all of a record where a letter alone does not say whose it is."""
    await world.replay(Selection())
    await come_to_rest(world)
    for source, object_id in world.judge.unnamed:
        await world.replay(Selection(dead_only=False, source=source, object_id=object_id))
    if world.judge.unnamed:
        await come_to_rest(world)
    assert not await _in_state(world, EventState.DEAD), "dead without a reason"
    assert not await _blank_letters(world), "a letter that no replay reaches"


async def end_well(world: World) -> None:
    """At the very end: all is live and delivered, nothing is dead, and to do it all again costs no call."""
    for source in sorted(world.shadowed):
        world.switch(source, shadow=False)
    await come_to_rest(world)
    await replay_the_dead(world)
    await _everything_is_in_the_log(world)
    await _again_costs_nothing(world)
    sent = len(world.house.sandbox.requests("PATCH"))
    assert sent == world.judge.patches + world.judge.landings
    await books_close(world)


async def _again_costs_nothing(world: World) -> None:
    """To replay everything costs no call, once no field is left unsure by what went wrong."""
    for _ in range(2):
        known = [await world.store.contacts.known(ACCOUNT, uuid) for uuid in UUIDS]
        sure = all(field.certain for one in known for field in one.fields.values())
        patches = world.judge.patches
        await world.replay(Selection(dead_only=False))
        await come_to_rest(world)
        if sure:
            assert world.judge.patches == patches, "a call for what is there already"
            return
    raise AssertionError("a field stays unsure")


async def _needed(world: World) -> int:
    """Return how many calls it can take from here, when all goes well."""
    backlog = await world.store.ledger.backlog()
    known = [await world.store.contacts.known(ACCOUNT, uuid) for uuid in UUIDS]
    # Of an intent that was left behind there will be a doubt too.
    return backlog.pending + backlog.leased + sum(len(one.doubts) + 1 for one in known)


async def _wait(world: World) -> bool:
    """Let time pass until something is due, or until nothing can come any more; False when it is so already."""
    backlog = await world.store.ledger.backlog()
    if backlog.pending or backlog.leased:
        moments = [world.clock() + LEASE] if backlog.leased else []
        due_at = await world.store.deliveries.next_due(ACCOUNT)
        if due_at is not None:
            (account,) = await world.store.accounts.states()
            soonest = world.clock() + timedelta(seconds=1)
            moments.append(max(due_at, account.slowed_until or soonest, soonest))
        world.advance(min(moments))
        await world.reclaim()
    elif world.landings:
        world.advance(world.clock() + LATE)
    elif (over := await _next_doubt(world)) is not None:
        world.advance(over)
    else:
        return False
    return True


async def _next_doubt(world: World) -> datetime | None:
    """Return when the next doubt is over that nobody has a delivery for, because of shadow mode."""
    known = [await world.store.contacts.known(ACCOUNT, uuid) for uuid in UUIDS]
    untils = [doubt.until for one in known if one.shadow is not None for doubt in one.doubts]
    return min((until for until in untils if until > world.clock()), default=None)


async def _fields_are_right(world: World) -> None:
    """Every field has its newest value, but where a letter without one says that a contact is owed something.

    What is shadowed may be there, if it was tried before, and need not.
    """
    dead = await _in_state(world, EventState.DEAD) | await _in_state(world, EventState.SHADOWED)
    owed = await _blank_letters(world) | await _left_by_shadow_mode(world)
    for uuid in UUIDS:
        held = world.judge.held(uuid)
        for name in world.fields:
            allowed = world.truth.allowed(uuid, name, dead=dead)
            value = held.get(name)
            right = any(same(value, one) for one in allowed)
            assert right or uuid in owed, f"{name} of {uuid} is {value!r}, not {allowed!r}"


async def _blank_letters(world: World) -> set[str]:
    """Return the contacts that dead letters without a dead change are about."""
    filled = {row["delivery_id"] for row in await rows(world.store, events) if row["state"] == EventState.DEAD}
    letters = [row for row in await rows(world.store, deliveries) if row["state"] == "dead" and row["id"] not in filled]
    records = {(letter["source"], letter["object_id"]) for letter in letters}
    return {person.uuid for person in world.people if (person.source, str(person.id)) in records}


async def _left_by_shadow_mode(world: World) -> set[str]:
    """Return the contacts in doubt that no live source is linked to: they are mended once one is."""
    linked = {row["contact_uuid"] for row in await rows(world.store, links) if row["source"] not in world.shadowed}
    known = {uuid: await world.store.contacts.known(ACCOUNT, uuid) for uuid in UUIDS}
    return {uuid for uuid, one in known.items() if one.doubts and one.shadow is not None and uuid not in linked}


async def _everything_is_in_the_log(world: World) -> None:
    """What was acknowledged is there once, in its order, and ended as what it is."""
    log = await rows(world.store, events)
    assert [(row["source"], row["dedup_key"]) for row in log] == [told.name for told in world.truth.told]
    for row, told in zip(log, world.truth.told, strict=True):
        assert row["order_key"] == told.order[0]
        assert world.may_end(told, ignored=row["state"] == EventState.IGNORED), told
        assert row["state"] not in {EventState.PENDING, EventState.DEAD, EventState.SHADOWED}


async def _in_state(world: World, state: EventState) -> set[tuple[str, str]]:
    return {(row["source"], row["dedup_key"]) for row in await rows(world.store, events) if row["state"] == state}
