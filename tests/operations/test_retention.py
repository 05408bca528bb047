"""The sweep: a whole log goes through it in small steps beside a running service, and settings say what it lets go."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from service.errors import ConfigError
from service.main import real_clock
from service.operations.retention import Keep, Swept, sweep
from service.schema import attempts, deliveries, events, requests
from service.store import Store
from service.store.retention import BATCH
from tests.support.clock import START, Clock
from tests.support.log import change, claim_one, finish, receive, rows
from tests.support.office import email_of
from tests.support.sandbox import RunningSandbox, contact_uuid, running_sandbox, seed_of
from tests.support.service import Running, Shifted, configure, running
from tests.support.webhooks import pipedrive

pytestmark = pytest.mark.anyio

KEEP = Keep(payloads=timedelta(days=30), log=timedelta(days=400))
DAY_S = 86_400.0
PEOPLE = 20


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox(seed_of(PEOPLE)) as sandbox:
        yield sandbox


@pytest.fixture
def shifted() -> Shifted:
    return Shifted()


@pytest.fixture
async def service(tmp_path: Path, sandbox: RunningSandbox, shifted: Shifted) -> AsyncIterator[Running]:
    async with running(configure(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url), clock=shifted) as service:
        yield service


async def filled(store: Store, clock: Clock, batches: int) -> None:
    """Some hundreds of changes of one person each day, delivered."""
    for day in range(batches):
        await receive(store, clock, *(change(f"{day}-{number}") for number in range(BATCH)))
        await finish(store, clock, await claim_one(store, clock))
        clock.advance(DAY_S)


async def closes(store: Store) -> bool:
    return (await store.ledger.audit()).findings == ()


async def test_payloads_go_after_some_days_and_the_log_after_many(store: Store, clock: Clock) -> None:
    await filled(store, clock, 3)
    await receive(store, clock, change("waits"))
    assert await sweep(store, KEEP, now=START + timedelta(days=30)) == Swept(), "as long as they are kept"
    assert await sweep(store, KEEP, now=START + timedelta(days=30.5)) == Swept(payloads=BATCH + 1)
    assert await closes(store)
    assert await sweep(store, KEEP, now=START + timedelta(days=40)) == Swept(payloads=2 * BATCH + 3)
    assert await rows(store, requests) == []
    assert await closes(store)
    assert await sweep(store, KEEP, now=START + timedelta(days=500)) == Swept(rows=3 * BATCH + 2)
    assert [(row["dedup_key"], row["change"] is None) for row in await rows(store, events)] == [("waits", False)]
    assert [row["state"] for row in await rows(store, deliveries)] == ["delivered", "pending"]
    assert len(await rows(store, attempts)) == 1, "the newest, so that no id is ever given twice"
    assert await closes(store)


async def test_a_second_sweep_writes_nothing(sqlite_url: str, tmp_path: Path, clock: Clock) -> None:
    """It comes every hour: what is kept for a year must not be written anew each time."""
    store = Store(sqlite_url)
    await store.migrate()
    await store.accounts.ensure(["default"], now=clock())
    await filled(store, clock, 4)
    now = START + timedelta(days=60)
    assert (await sweep(store, KEEP, now=now)).payloads == 4 * BATCH + 4
    await store._database.scrub()
    assert await sweep(store, KEEP, now=now + timedelta(hours=1)) == Swept()
    assert (tmp_path / "log.db-wal").stat().st_size == 0
    await store.close()


async def test_a_sweep_keeps_nobody_waiting(service: Running, shifted: Shifted) -> None:
    clock = Clock(shifted())
    await service.service.worker.stop()
    await filled(service.store, clock, 4)
    shifted.advance(60 * DAY_S)
    sweeping = asyncio.create_task(sweep(service.store, KEEP, now=shifted()))
    answered: list[float] = []
    while not sweeping.done():
        number = len(answered) % PEOPLE
        started = asyncio.get_running_loop().time()
        event = f"evt-{len(answered)}"
        await service.accepted(pipedrive(number, event, real_clock(), email=email_of(number), job_title=event))
        answered.append(asyncio.get_running_loop().time() - started)
    assert (await sweeping).payloads == 4 * BATCH + 4
    assert len(answered) > 3
    assert max(answered) < 2
    assert await closes(service.store)


@pytest.mark.parametrize("since", [0, 1], ids=["the last change of all", "one with others after it"])
async def test_an_older_change_loses_even_to_one_that_has_aged_out(
    service: Running, sandbox: RunningSandbox, shifted: Shifted, since: int
) -> None:
    """What is known of a contact is kept without end, and no later change may be taken for the one that set it."""
    await service.accepted(pipedrive(7, "evt-new", real_clock(), email=email_of(7), job_title="Newer"))
    await service.settled()
    shifted.advance(500 * DAY_S)
    for number in range(since):
        at = real_clock()
        await service.accepted(pipedrive(number, f"evt-{number}", at, email=email_of(number), job_title="Since"))
        service.service.worker.wake()
        await service.settled()
    await sweep(service.store, KEEP, now=shifted())
    older = real_clock() - timedelta(days=1)
    await service.accepted(pipedrive(7, "evt-old", older, email=email_of(7), job_title="Older"))
    service.service.worker.wake()
    await service.settled()
    assert sandbox.contact(contact_uuid(7))["title"] == "Newer"
    (event,) = [one for one in await service.events() if one["crm_event_id"] == "evt-old"]
    assert event["state"] == "merged"


async def test_the_books_close_though_what_won_has_aged_out(service: Running, shifted: Shifted) -> None:
    for number in (7, 8):
        at = real_clock()
        await service.accepted(pipedrive(number, f"evt-{number}", at, email=email_of(number), job_title="Newer"))
        await service.settled()
    shifted.advance(500 * DAY_S)
    await sweep(service.store, KEEP, now=shifted())
    older = real_clock() - timedelta(days=1)
    await service.accepted(pipedrive(7, "evt-old", older, email=email_of(7), job_title="Older"))
    service.service.worker.wake()
    await service.settled()
    assert await closes(service.store)


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        ({"PAYLOAD_DAYS": "0"}, "PAYLOAD_DAYS"),
        ({"PAYLOAD_DAYS": "1.5"}, "PAYLOAD_DAYS"),
        ({"LOG_DAYS": "6"}, "LOG_DAYS"),
        ({"LOG_DAYS": "40000"}, "LOG_DAYS"),
        ({"PAYLOAD_DAYS": "30", "LOG_DAYS": "29"}, "at least PAYLOAD_DAYS"),
    ],
)
def test_days_that_cannot_be_kept_are_refused(tmp_path: Path, settings: dict[str, str], allowed: str) -> None:
    with pytest.raises(ConfigError) as told:
        configure(tmp_path, **settings)
    assert allowed in str(told.value)


def test_days_are_kept_as_they_are_set(tmp_path: Path) -> None:
    usual = configure(tmp_path).settings
    assert (usual.payload_days, usual.log_days) == (30, 400)
    least = configure(tmp_path, PAYLOAD_DAYS="1", LOG_DAYS="7").settings
    assert (least.payload_days, least.log_days) == (1, 7)
    same = configure(tmp_path, PAYLOAD_DAYS="90", LOG_DAYS="90").settings
    assert (same.payload_days, same.log_days) == (90, 90)
