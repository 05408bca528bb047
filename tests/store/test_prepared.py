"""Statements compiled once must do what the same statement does when SQLAlchemy runs it."""

from functools import partial

import pytest
from sqlalchemy import Connection, insert

from service.model import to_micros
from service.schema import requests
from service.store import Store
from service.store.database import upserting
from service.store.intake import LANE_BITS, _Ids
from service.store.prepared import Prepared
from tests.support.clock import Clock
from tests.support.log import rows

pytestmark = pytest.mark.anyio

COLUMNS = ("id", "source", "received_at", "raw")


async def test_rows_come_back_as_they_were_given(store: Store, clock: Clock) -> None:
    prepared = Prepared(insert(requests), COLUMNS)
    given = [(number, "pipedrive", to_micros(clock()), b"j{}") for number in (1, 2)]
    for row in given:  # the second time it is compiled already
        await store._database.write(partial(prepared.run, rows=[row]))
    kept = [(row["id"], row["source"], row["received_at"], row["raw"]) for row in await rows(store, requests)]
    assert kept == [(number, "pipedrive", clock(), b"j{}") for number in (1, 2)]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 300])
async def test_of_many_rows_those_that_were_new_come_back_in_their_order(
    store: Store, clock: Clock, count: int
) -> None:
    upsert = upserting(store._database)(requests).on_conflict_do_nothing(index_elements=["id"])
    prepared = Prepared(upsert.returning(requests.c.id, requests.c.source), COLUMNS)
    given = [(number, f"crm-{number}", to_micros(clock()), b"j{}") for number in range(1, count + 1)]

    def insert_all(connection: Connection) -> list[tuple[int, str]]:
        return [tuple(row) for row in prepared.returning(connection, given)]

    odd = [row for row in given if row[0] % 2]
    await store._database.write(lambda connection: list(prepared.returning(connection, odd)))
    assert await store._database.write(insert_all) == [row[:2] for row in given if row[0] % 2 == 0]
    assert len(await rows(store, requests)) == count


async def test_columns_in_another_order_than_the_table_s_are_refused(store: Store) -> None:
    """Values in the wrong columns would be stored without a word."""
    prepared = Prepared(insert(requests), ("raw", "id", "source", "received_at"))
    with pytest.raises(AssertionError, match="come in the order"):
        await store._database.write(lambda connection: prepared.run(connection, [(b"", 1, "a", 0)]))


def test_ids_rise_though_the_clock_stands_still_or_goes_back() -> None:
    ids = _Ids()
    given = [ids.next(micros) for micros in (1_000, 1_000, 900, 5_000)]
    assert given == sorted(set(given))
    assert {one & ((1 << LANE_BITS) - 1) for one in given} == {ids._lane}
    assert given[-1] >> LANE_BITS == 5_000
