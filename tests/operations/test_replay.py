"""Replays from end to end: in batches that can be gone on with, by the mapping that is asked for, in order."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from service.main import real_clock
from service.operations.replay import Replayed, replay
from service.sandbox import Seed, parse_seed
from service.schema import events
from service.store import Store
from service.store.replay import BATCH, Selection
from tests.support.clock import Clock
from tests.support.log import bury, change, claim, claim_one, finish, receive, rows
from tests.support.office import email_of
from tests.support.sandbox import CUSTOMER, DATA_SOURCE, RunningSandbox, contact_uuid, running_sandbox, seed_of
from tests.support.service import Running, configure, running
from tests.support.webhooks import CONFIGURATION, pipedrive

pytestmark = pytest.mark.anyio

EVERYTHING = Selection(dead_only=False)
UPPER = CONFIGURATION.replace("transform: [trim]", "transform: [trim, upper]", 1)
NOTED = CONFIGURATION.replace("title: {from: job_title, transform: [trim]}", "notes: job_title")
T0 = real_clock()


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox(seed_of(10)) as sandbox:
        yield sandbox


async def again(service: Running, selection: Selection, **how: object) -> Replayed:
    """Replay with a running service, and return once all is delivered."""
    done = await replay(
        service.store,
        selection,
        clock=real_clock,
        progress=lambda _: None,
        **how,  # type: ignore[arg-type]
    )
    service.service.worker.wake()
    await service.settled()
    return done


def settings(sandbox: RunningSandbox) -> dict[str, str]:
    return {"CHARTMOGUL_BASE_URL": sandbox.base_url}


def bodies(sandbox: RunningSandbox) -> list[object]:
    return [request["body"] for request in sandbox.requests("PATCH")]


async def test_a_replay_tells_how_far_it_came_and_is_gone_on_with_there(store: Store, clock: Clock) -> None:
    for number in range(3):
        await receive(store, clock, *(change(f"{number}-{one}", str(number)) for one in range(BATCH)))
        await finish(store, clock, await claim_one(store, clock))
    told: list[Replayed] = []

    def progress(done: Replayed) -> None:
        told.append(done)
        if len(told) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await replay(store, EVERYTHING, clock=clock, progress=progress)
    assert told == [Replayed(BATCH, 1, 0, BATCH), Replayed(2 * BATCH, 2, 0, 2 * BATCH)]
    assert await store.ledger.counts() == {"pending": 2 * BATCH, "delivered": BATCH}
    rest = await replay(store, EVERYTHING, after=told[-1].last_id, clock=clock, progress=lambda _: None)
    assert (rest.events, rest.contacts, rest.unreadable) == (BATCH, 1, 0)
    assert await store.ledger.counts() == {"pending": 3 * BATCH}
    assert (await store.ledger.audit()).findings == ()


async def test_what_ends_again_while_a_replay_runs_is_not_caught_up_with(store: Store, clock: Clock) -> None:
    """Else changes that cannot be delivered would be replayed without end."""
    await receive(store, clock, *(change(f"k-{one}", "1") for one in range(BATCH)), change("last", "2"))
    for delivery in await claim(store, clock):
        await bury(store, clock, delivery)
    first = await store.replays.batch(Selection(), now=clock())
    assert (first.events, first.last_id) == (BATCH, BATCH)
    await bury(store, clock, await claim_one(store, clock))
    rest = await replay(store, Selection(), after=BATCH, clock=clock, progress=lambda _: None)
    assert (rest.events, rest.contacts) == (1, 1)
    assert await store.ledger.counts() == {"dead": BATCH, "pending": 1}


async def test_a_mended_mapping_delivers_what_was_dead(tmp_path: Path, sandbox: RunningSandbox) -> None:
    bad = [{"value": "call me", "primary": True}]
    async with running(configure(tmp_path, **settings(sandbox))) as service:
        await service.accepted(pipedrive(1, "evt", T0, email=email_of(1), phones=bad, job_title="CEO"))
        await service.settled()
        assert [one["state"] for one in await service.events()] == ["dead"]
    mended = CONFIGURATION.replace('phone: {from: "phones[?primary].value",', "phone: {from: phone, on_error: skip,")
    async with running(configure(tmp_path, mended, **settings(sandbox))) as service:
        assert (await again(service, Selection())).events == 1
        assert [one["state"] for one in await service.events()] == ["delivered"]
        assert (await service.store.ledger.backlog()).dead == 0
    assert bodies(sandbox) == [{"title": "CEO"}]


async def test_changes_are_mapped_as_now_as_then_or_by_a_version(tmp_path: Path, sandbox: RunningSandbox) -> None:
    """Contacts were emptied in ChartMogul, and each mapping writes them in its own way."""
    versions = []
    for configuration, number in ((CONFIGURATION, 1), (UPPER, 2)):
        config = configure(tmp_path, configuration, **settings(sandbox))
        versions.append(config.version)
        async with running(config) as service:
            await service.accepted(pipedrive(number, f"evt-{number}", T0, email=email_of(number), job_title="Ceo"))
            await service.settled()
    assert bodies(sandbox) == [{"title": "Ceo"}, {"title": "CEO"}]
    async with running(configure(tmp_path, NOTED, **settings(sandbox))) as service:
        sandbox.forget_requests()
        await again(service, EVERYTHING)
        assert bodies(sandbox) == [{"notes": "Ceo"}, {"notes": "Ceo"}]
        sandbox.forget_requests()
        await again(service, Selection(dead_only=False, object_id="1"), version=versions[1])
        assert bodies(sandbox) == [{"title": "CEO"}]
        kept = {row["object_id"]: row["config_version"] for row in await rows(service.store, events)}
        assert kept["1"] == versions[1], "how it was mapped is written beside it, so that then means that"
        sandbox.forget_requests()
        await again(service, Selection(dead_only=False, object_id="1"), then=True)
        assert bodies(sandbox) == []
        assert {one["state"] for one in await service.events() if one["object_id"] == "1"} == {"unchanged"}
        assert (await service.store.ledger.audit()).findings == ()


async def test_a_version_that_is_not_kept_leaves_a_letter_that_says_so(tmp_path: Path, sandbox: RunningSandbox) -> None:
    async with running(configure(tmp_path, **settings(sandbox))) as service:
        await service.accepted(pipedrive(1, "evt", T0, email=email_of(1), job_title="CEO"))
        await service.settled()
        await again(service, EVERYTHING, version="0123456789ab")
        (event,) = await service.events()
        assert event["state"] == "dead"
        assert event["reason"] == "the configuration 0123456789ab is not kept; replay it with the present one"
        await again(service, Selection())
        assert [one["state"] for one in await service.events()] == ["unchanged"]


async def test_an_old_change_that_is_replayed_overwrites_nothing_newer(tmp_path: Path, sandbox: RunningSandbox) -> None:
    async with running(configure(tmp_path, **settings(sandbox))) as service:
        older = pipedrive(1, "older", T0 - timedelta(hours=1), email=email_of(1), job_title="Old", last_name="Okafor")
        await service.accepted(older)
        await service.settled()
        await service.accepted(pipedrive(1, "newer", T0, email=email_of(1), job_title="New"))
        await service.settled()
        sandbox.forget_requests()
        (first, _) = await service.events()
        await again(service, Selection(dead_only=False, events=[first["id"]]))
        assert bodies(sandbox) == []
        assert sandbox.contact(contact_uuid(1))["title"] == "New"
        assert [one["state"] for one in await service.events()] == ["merged", "delivered"]


async def test_unknown_contacts_are_delivered_once_they_are_there(tmp_path: Path, sandbox: RunningSandbox) -> None:
    """The everyday replay: somebody made the contact in ChartMogul, and says so."""
    async with running(configure(tmp_path, **settings(sandbox))) as service:
        await service.accepted(pipedrive(50, "evt", T0, email="late@made.example", job_title="CEO"))
        await service.settled()
        sandbox.load(_with("late@made.example"))
        assert (await again(service, Selection(source="pipedrive"))).contacts == 1
    assert sandbox.contact(contact_uuid(0))["title"] == "CEO"


def _with(email: str) -> Seed:
    identity = {"customer_uuid": CUSTOMER, "customer_external_id": "cus_011", "data_source_uuid": DATA_SOURCE}
    customer = {"uuid": CUSTOMER, "external_id": "cus_011", "data_source_uuid": DATA_SOURCE}
    contact = identity | {"uuid": contact_uuid(0), "position": 1, "email": email}
    return parse_seed({"customers": [customer], "contacts": [contact]})
