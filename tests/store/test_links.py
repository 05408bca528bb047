"""Links follow the record that survives a merge."""

import pytest

from service.model import Carried, Doubt, Link
from service.schema import links
from service.store import Store
from service.store.opening import CrmRecord
from tests.support.canary import delivered
from tests.support.clock import Clock
from tests.support.log import ACCOUNT, ADA, SOURCE, claim, rows

pytestmark = pytest.mark.anyio

GRACE = "con_36399f04-7686-11ee-86f6-8727560009c2"


async def linked(store: Store) -> dict[tuple[str, str], str]:
    return {(row["source"], row["object_id"]): row["contact_uuid"] for row in await rows(store, links)}


async def test_a_survivor_without_a_link_takes_over_that_of_the_absorbed(store: Store, clock: Clock) -> None:
    await delivered(store, clock, "a", "7")
    expected = (Link(ADA, "merge of 7"), False)
    assert await store.links.follow(SOURCE, "8", ["7"], now=clock()) == expected
    assert await linked(store) == {(SOURCE, "8"): ADA}
    assert await store.links.follow(SOURCE, "8", ["7"], now=clock()) == expected, "again, after a crash"
    assert await linked(store) == {(SOURCE, "8"): ADA}


async def test_a_survivor_keeps_its_own_link(store: Store, clock: Clock) -> None:
    await delivered(store, clock, "a", "7")
    await delivered(store, clock, "b", "8", uuid=GRACE)
    found = await store.links.follow(SOURCE, "8", ["7"], now=clock())
    assert found == (Link(GRACE, "email in emails[?primary].value"), False)
    assert await linked(store) == {(SOURCE, "8"): GRACE}


async def test_of_several_absorbed_the_link_that_was_found_last_is_taken(store: Store, clock: Clock) -> None:
    await delivered(store, clock, "a", "6", uuid=GRACE)
    clock.advance(60)
    await delivered(store, clock, "b", "7")
    assert await store.links.follow(SOURCE, "8", ["6", "7"], now=clock()) == (Link(ADA, "merge of 7"), False)
    assert await linked(store) == {(SOURCE, "8"): ADA}


async def test_what_the_contact_is_owed_because_of_a_doubt_follows_too(store: Store, clock: Clock) -> None:
    """Else the absorbed record's delivery finds no link when the time comes, and nobody looks at the contact again."""
    await delivered(store, clock, "a", "7")
    doubt = Doubt(clock.after(20), {"title": Carried("CFO", (1, 1))})
    await store.contacts.doubt(CrmRecord(ACCOUNT, SOURCE, "7"), ADA, doubt, now=clock())
    assert await store.links.follow(SOURCE, "8", ["7"], now=clock()) == (Link(ADA, "merge of 7"), True)
    assert [one.object_id for one in await claim(store, clock)] == ["8"]
    clock.advance(20)
    (absorbed,) = await claim(store, clock)
    assert (await store.deliveries.pending(absorbed)).link is None
    assert await store.links.follow(SOURCE, "8", ["7"], now=clock()) == (Link(ADA, "merge of 7"), True)
    assert await claim(store, clock) == [], "opened once"


async def test_where_nobody_was_linked_there_is_no_link(store: Store, clock: Clock) -> None:
    assert await store.links.follow(SOURCE, "8", ["7"], now=clock()) is None


async def test_another_crms_record_of_the_same_id_is_not_touched(store: Store, clock: Clock) -> None:
    await delivered(store, clock, "a", "7", source="hubspot")
    assert await store.links.follow(SOURCE, "8", ["7"], now=clock()) is None
    assert await linked(store) == {("hubspot", "7"): ADA}


async def test_a_record_that_names_itself_among_the_absorbed_keeps_its_link(store: Store, clock: Clock) -> None:
    await delivered(store, clock, "a", "8")
    found = await store.links.follow(SOURCE, "8", ["8"], now=clock())
    assert found is not None
    assert await linked(store) == {(SOURCE, "8"): ADA}
