"""Ageing out: payloads, then the log of what ended; never what waits, and the books close all the while."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert

from service.model import Disposition, EventState, InboundRequest, Next, OutcomeKind, Verdict
from service.schema import attempts, deliveries, events, requests
from service.store import Store
from service.store.replay import Selection
from service.store.retention import BATCH, Aged
from tests.support.clock import START, Clock
from tests.support.log import (
    arrival,
    bury,
    change,
    claim,
    claim_one,
    conclusion,
    ends,
    finish,
    pending_ids,
    receive,
    rows,
)

pytestmark = pytest.mark.anyio

LONG_AGO = START - timedelta(days=3650)


def after(days: float) -> datetime:
    """So long after the start."""
    return START + timedelta(days=days)


async def age(store: Store, *, payloads: datetime = LONG_AGO, log: datetime = LONG_AGO) -> Aged:
    """Let the first batch of events age."""
    return await store.retention.events(after=0, payloads_before=payloads, log_before=log)


async def kept(store: Store) -> dict[str, tuple[str, bool]]:
    """The state of every event, and whether its payload is there, by its key."""
    return {row["dedup_key"]: (row["state"], row["change"] is not None) for row in await rows(store, events)}


async def closes(store: Store) -> bool:
    return (await store.ledger.audit()).findings == ()


async def told(store: Store, clock: Clock) -> None:
    """One event in every state that there is, all as old as the start."""
    await receive(store, clock, change("ignored", "1", ignored="deleted in the CRM"))
    await receive(store, clock, *(change(key, "2") for key in ("merged", "unchanged", "delivered")))
    delivery = await claim_one(store, clock)
    merged, unchanged, delivered = await pending_ids(store, delivery)
    dispositions = [
        Disposition(merged, EventState.MERGED, "overtaken by a newer event", delivered),
        *ends(unchanged, state=EventState.UNCHANGED, reason="ChartMogul has these values already"),
        *ends(delivered),
    ]
    assert await store.deliveries.record(delivery, conclusion(clock, dispositions), now=clock())
    await receive(store, clock, change("dead", "3"))
    await bury(store, clock, await claim_one(store, clock))
    await receive(store, clock, change("pending", "4"))


WAIT = {"dead": ("dead", True), "pending": ("pending", True)}
"""What waits keeps its payload however old it is."""
ENDED = ("ignored", "merged", "unchanged", "delivered")


async def test_payloads_of_what_ended_go_first(store: Store, clock: Clock) -> None:
    await told(store, clock)
    assert await age(store, payloads=after(0)) == Aged(0, 0, None), "received before, not at"
    assert await age(store, payloads=after(1)) == Aged(payloads=4)
    assert await kept(store) == {key: (key, False) for key in ENDED} | WAIT
    assert await closes(store)
    assert await age(store, payloads=after(1)) == Aged(), "once"


async def test_a_key_is_known_for_as_long_as_the_log_is_kept(store: Store, clock: Clock) -> None:
    """A CRM that repeats itself after months must not be believed twice."""
    await told(store, clock)
    await age(store, payloads=after(1))
    again = [change(key, "2") for key in ("merged", "unchanged", "delivered")]
    receipt = await store.intake.append(arrival(*again, at=after(30)))
    assert (receipt.accepted, receipt.duplicates) == (0, 3)
    while (await age(store, payloads=after(40), log=after(40))).rows:
        pass
    receipt = await store.intake.append(arrival(*again, at=after(50)))
    assert (receipt.accepted, receipt.duplicates) == (3, 0)


async def test_what_ended_long_ago_goes_but_for_what_another_names(store: Store, clock: Clock) -> None:
    """Who overtook another is kept as long as that other is: the books would not close without it."""
    await told(store, clock)
    assert await age(store, payloads=after(1), log=after(1)) == Aged(payloads=1, rows=3)
    assert await kept(store) == {"delivered": ("delivered", False)} | WAIT
    assert await closes(store)
    assert await age(store, payloads=after(1), log=after(1)) == Aged(rows=1)
    assert await kept(store) == WAIT
    assert await closes(store)


async def test_the_log_counts_from_the_end_of_a_change(store: Store, clock: Clock) -> None:
    """What waited for a year and was delivered yesterday is yesterday's."""
    await receive(store, clock, change("a"))
    clock.advance(300 * 86_400)
    await finish(store, clock, await claim_one(store, clock))
    await receive(store, clock, change("newest"))
    assert await age(store, payloads=after(270), log=after(290)) == Aged(payloads=1)
    assert await age(store, payloads=after(301), log=after(301)) == Aged(rows=1)


async def test_no_id_is_given_twice(store: Store, clock: Clock) -> None:
    """What is known of a contact names the event that set it: another of that number would pass for it, and win."""
    await receive(store, clock, change("a"))
    await finish(store, clock, await claim_one(store, clock))
    tables = (events, deliveries, attempts)
    before = [[row["id"] for row in await rows(store, table)] for table in tables]
    while (await age(store, payloads=after(1), log=after(1))).rows:
        pass
    await store.retention.deliveries(after=0, log_before=after(1))
    await receive(store, clock, change("b"))
    await finish(store, clock, await claim_one(store, clock))
    for table, ids in zip(tables, before, strict=True):
        assert max(row["id"] for row in await rows(store, table)) > max(ids)
    (known,) = [row for row in await rows(store, events) if row["dedup_key"] == "a"]
    assert known["change"] is None, "the payload of a newest one goes all the same"
    assert await closes(store)


async def test_what_is_tried_again_while_it_ages_keeps_its_payload(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a"))
    delivery = await claim_one(store, clock)
    retry = Verdict(Next.RETRY, "rate limited", due_at=clock.after(60))
    assert await store.deliveries.record(
        delivery, conclusion(clock, kind=OutcomeKind.RATE_LIMITED, verdict=retry, uuid=None), now=clock()
    )
    assert await age(store, payloads=after(1), log=after(1)) == Aged()
    clock.advance(90)
    (event,) = (await store.deliveries.pending(await claim_one(store, clock))).events
    assert event.change.dedup_key == "a"


async def test_requests_go_with_their_time_of_arrival(store: Store, clock: Clock) -> None:
    """Whole, whatever became of what was in them: a change holds all that it needs."""
    await told(store, clock)
    clock.advance(86_400)
    await receive(store, clock, change("young", "5"))
    assert await store.retention.requests(before=after(0)) == 0
    assert await store.retention.requests(before=after(0.5)) == 4
    (left,) = await rows(store, requests)
    assert left["received_at"] == after(1)
    assert await store.retention.requests(before=after(0.5)) == 0
    assert {"dead": ("dead", True), "pending": ("pending", True)}.items() <= (await kept(store)).items()
    (delivery,) = [one for one in await claim(store, clock) if one.object_id == "4"]
    assert [event.change.dedup_key for event in (await store.deliveries.pending(delivery)).events] == ["pending"]
    assert await closes(store)


async def test_requests_go_in_batches(store: Store, clock: Clock) -> None:
    for number in range(3):
        await receive(store, clock, change(f"k{number}", str(number)))
    (first, *_) = await rows(store, requests)
    many = [dict(first) | {"id": number} for number in range(1, BATCH + 11)]
    await store._database.write(lambda connection: connection.execute(insert(requests), many).rowcount)
    assert await store.retention.requests(before=after(1)) == BATCH
    assert await store.retention.requests(before=after(1)) == 13
    assert await rows(store, requests) == []


async def test_events_are_walked_in_batches_and_no_further_than_they_are_old(store: Store, clock: Clock) -> None:
    async def ended(count: int, name: str) -> None:
        await receive(store, clock, *(change(f"{name}-{number}") for number in range(count)))
        await finish(store, clock, await claim_one(store, clock))

    await ended(BATCH + 100, "old")
    clock.advance(86_400)
    await ended(BATCH + 100, "young")
    first = await store.retention.events(after=0, payloads_before=after(0.5), log_before=LONG_AGO)
    assert (first.payloads, first.rows, first.last_id) == (BATCH, 0, BATCH)
    second = await store.retention.events(after=BATCH, payloads_before=after(0.5), log_before=LONG_AGO)
    assert (second.payloads, second.rows, second.last_id) == (100, 0, 2 * BATCH)
    third = await store.retention.events(after=2 * BATCH, payloads_before=after(0.5), log_before=LONG_AGO)
    assert third == Aged(0, 0, None), "only young ones: those behind them are younger"
    assert sum(payload for _, payload in (await kept(store)).values()) == BATCH + 100


async def test_deliveries_go_once_none_of_their_events_is_left(store: Store, clock: Clock) -> None:
    """With their attempts; dead letters and what is owed stay."""
    await told(store, clock)
    assert await store.retention.deliveries(after=0, log_before=after(1)) == Aged()
    while (await age(store, payloads=after(1), log=after(1))).rows:
        pass
    assert await store.retention.deliveries(after=0, log_before=after(0)) == Aged(), "closed before, not at"
    assert await store.retention.deliveries(after=0, log_before=after(1)) == Aged(rows=1)
    assert {row["state"] for row in await rows(store, deliveries)} == {"dead", "pending"}
    assert [row["outcome"] for row in await rows(store, attempts)] == ["rejected"]
    assert await closes(store)


async def test_deliveries_are_walked_in_batches(store: Store, clock: Clock) -> None:
    await receive(store, clock, change("a"))
    await finish(store, clock, await claim_one(store, clock))
    (done,), (tried,) = await rows(store, deliveries), await rows(store, attempts)
    ids = range(100, 100 + BATCH + 10)

    def write(connection: Connection) -> None:
        connection.execute(insert(deliveries), [dict(done) | {"id": one} for one in (*ids, 1000)])
        connection.execute(insert(attempts), [dict(tried) | {"id": one, "delivery_id": one} for one in (*ids, 1000)])

    await store._database.write(write)
    assert await store.retention.deliveries(after=0, log_before=LONG_AGO) == Aged(), "those behind them are younger"
    first = await store.retention.deliveries(after=0, log_before=after(1))
    assert (first.rows, first.last_id) == (BATCH - 1, ids[BATCH - 2])
    assert first.last_id is not None
    assert await store.retention.deliveries(after=first.last_id, log_before=after(1)) == Aged(rows=11)
    left = [done["id"], 1000]
    assert [row["id"] for row in await rows(store, deliveries)] == left, "one has an event yet, one is the newest"
    assert [row["delivery_id"] for row in await rows(store, attempts)] == left
    assert await closes(store)


async def test_what_was_replayed_of_an_old_letter_is_not_taken_for_old(store: Store, clock: Clock) -> None:
    """The letter is put away at the replay, and goes by that time."""
    await told(store, clock)
    clock.advance(500 * 86_400)
    await store.replays.batch(Selection(), now=clock())
    assert (await kept(store))["dead"] == ("pending", True)
    while (await age(store, payloads=after(499), log=after(499))).rows:
        pass
    assert set(await kept(store)) == {"dead", "pending"}
    assert (await store.retention.deliveries(after=0, log_before=after(499))).rows == 1
    assert await closes(store)


async def test_nothing_that_was_let_go_is_left_on_an_embedded_disk(
    sqlite_url: str, tmp_path: Path, clock: Clock
) -> None:
    store = Store(sqlite_url)
    await store.migrate()
    await store.accounts.ensure(["default"], now=clock())
    request = InboundRequest("POST", "https://hooks.northwind.example/webhooks/crm", {}, b"canary-7b1e")
    one = change("a", values={"title": "canary-7b1e"})
    await store.intake.append(arrival(one, at=clock(), request=request))
    await finish(store, clock, await claim_one(store, clock))
    await age(store, payloads=after(1))
    await store.retention.requests(before=after(1))
    await store.close()
    assert b"canary-7b1e" not in (tmp_path / "log.db").read_bytes()
