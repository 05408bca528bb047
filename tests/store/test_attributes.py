"""Custom attributes that ChartMogul has shown: each is noted once, with the try that saw it, on either engine."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import event

from service.schema import seen_attributes
from service.store import Store
from service.store import attributes as noting
from service.store.history import History
from tests.support.clock import Clock
from tests.support.log import (
    ACCOUNT,
    bury,
    by_hand,
    change,
    claim,
    claim_one,
    conclusion,
    finish,
    hold,
    receive,
    rows,
    writing_engine,
)

pytestmark = pytest.mark.anyio


async def deliver(store: Store, clock: Clock, key: str, *seen: str, **other: Any) -> bool:  # noqa: ANN401  # as conclusion
    """Record a delivery whose contact came back with these attributes."""
    await receive(store, clock, change(key))
    delivery = await claim_one(store, clock)
    await hold(store, clock, delivery, "title")
    return await finish(store, clock, delivery, seen_attributes=seen, **other)


async def noted(store: Store) -> list[tuple[str, str]]:
    return [(row["account"], row["attribute"]) for row in await rows(store, seen_attributes)]


async def test_each_attribute_is_noted_once_with_the_time_it_was_first_shown(
    store: Store, other_store: Store, clock: Clock
) -> None:
    first = clock()
    assert await deliver(store, clock, "d1f0-1", "Lifecycle", "Tier")
    clock.advance(60)
    assert await deliver(store, clock, "d1f0-2", "Tier", "Region")
    assert await deliver(other_store, clock, "d1f0-3", "Tier"), "another replica has noted nothing yet"
    assert [(row["attribute"], row["first_seen_at"] == first) for row in await rows(store, seen_attributes)] == [
        ("Lifecycle", True),
        ("Region", False),
        ("Tier", True),
    ]


async def test_what_was_noted_before_costs_no_statement(store: Store, clock: Clock) -> None:
    assert await deliver(store, clock, "d1f0-1", "Lifecycle", "Tier")
    statements: list[str] = []
    listening = lambda *told: statements.append(told[2])  # noqa: E731  # the listener is taken off by its identity
    event.listen(writing_engine(store), "before_cursor_execute", listening)
    assert await deliver(store, clock, "d1f0-2", "Tier", "Lifecycle")
    event.remove(writing_engine(store), "before_cursor_execute", listening)
    assert statements
    assert not [statement for statement in statements if "seen_attributes" in statement]


async def test_a_try_whose_lease_was_lost_notes_nothing_and_the_next_one_does(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("d1f0-1"))
    delivery = await claim_one(store, clock)
    clock.advance(120)
    await store.deliveries.reclaim(now=clock())
    assert not await store.deliveries.record(delivery, conclusion(clock, seen_attributes=("Tier",)), now=clock())
    assert await noted(store) == []
    clock.advance(120)
    assert await finish(store, clock, await claim_one(store, clock), uuid=None, seen_attributes=("Tier",))
    assert await noted(store) == [(ACCOUNT, "Tier")]


async def test_replicas_that_see_the_same_at_once_do_not_wait_for_each_other_in_vain(
    store: Store, other_store: Store, clock: Clock
) -> None:
    names = [f"Attribute {number}" for number in range(50)]
    for key in ("d1f0-1", "d1f0-2"):
        await receive(store, clock, change(key, object_id=key))
    deliveries = await claim(store, clock)
    ended = await asyncio.gather(
        finish(store, clock, deliveries[0], uuid=None, seen_attributes=tuple(names)),
        finish(other_store, clock, deliveries[1], uuid=None, seen_attributes=tuple(reversed(names))),
    )
    assert all(ended)
    assert len(await noted(store)) == 50


async def test_names_that_no_mapping_could_set_are_left_out(store: Store, clock: Clock) -> None:
    assert await deliver(store, clock, "d1f0-1", "x" * 256, "a\x00b", "", "Größe ß")
    assert await noted(store) == [(ACCOUNT, ""), (ACCOUNT, "Größe ß")]


async def test_a_process_notes_no_more_than_its_limit(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noting, "NOTED_MAX", 2)
    assert await deliver(store, clock, "d1f0-1", "a", "b", "c")
    assert await deliver(store, clock, "d1f0-2", "d")
    assert await noted(store) == [(ACCOUNT, "a"), (ACCOUNT, "b")]


async def test_an_account_is_told_of_once_any_of_its_contacts_was_seen(
    store: Store, store_url: str, clock: Clock
) -> None:
    history = await History.open(store_url)
    try:
        assert await history.attributes.by_account(["default", "eu"]) == {}
        await receive(store, clock, change("d1f0-0"))
        assert await bury(store, clock, await claim_one(store, clock), uuid=None)
        assert await history.attributes.by_account(["default", "eu"]) == {}, "nothing came back"
        assert await deliver(store, clock, "d1f0-1", email="amara.okafor@northwind.example")
        assert await history.attributes.by_account(["default", "eu"]) == {"default": frozenset()}
        assert await deliver(store, clock, "d1f0-2", "Tier", "Region")
        shown = {"default": frozenset({"Tier", "Region"})}
        assert await history.attributes.by_account(["default", "eu"]) == shown
        await by_hand(store, seen_attributes.insert().values(account="eu", attribute="Plan", first_seen_at=clock()))
        assert await history.attributes.by_account(["default", "eu"]) == shown | {"eu": frozenset({"Plan"})}
    finally:
        await history.close()
