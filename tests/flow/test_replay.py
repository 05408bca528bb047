"""A replay is mapped as it was asked for, obeys the order like any change, and lets what CRMs send now go first."""

from datetime import timedelta

import pytest

from service.model import Record
from service.sandbox import Settings
from service.sandbox.settings import UNLIMITED
from service.store.replay import Selection
from tests.flow.steps import T0, Started, books_close, patched, replay, states
from tests.support.sandbox import RunningSandbox, contact_uuid, seed_of
from tests.support.service import Shifted
from tests.support.wait import eventually
from tests.support.webhooks import CONFIGURATION, GRACE_UUID, pipedrive

pytestmark = pytest.mark.anyio

ALL = Selection(dead_only=False)
SECOND = timedelta(seconds=1)
MENDED = CONFIGURATION.replace("{from: job_title, transform: [trim]}", "{from: job_title, transform: [trim, upper]}")
"""Pipedrive's titles in capitals."""
FILTERED = CONFIGURATION.replace("    mapping:\n", '    when: {field: label, equals: "2"}\n    mapping:\n', 1)
"""Only Pipedrive's customers."""
UNMAPPABLE = CONFIGURATION.replace(
    "title: {from: job_title, transform: [trim]}", 'title: {from: label, map: {"2": CEO}}'
)
"""Pipedrive's titles by a table that lacks an entry."""


def email_of(number: int) -> str:
    return f"person-{number}@nordwind-logistik.example"


@pytest.mark.parametrize(("then", "title"), [(False, "CEO"), (True, "ceo")])
async def test_a_change_is_mapped_as_now_or_as_it_was_then(
    start: Started, sandbox: RunningSandbox, shifted: Shifted, *, then: bool, title: str
) -> None:
    """After a mapping was mended its dead letters want the new one; after a mistake, what was sent before."""
    sandbox.load(seed_of(1))
    async with start() as service:
        await service.accepted(pipedrive(7, "9d1c2b8f", T0, email=email_of(7), job_title="ceo"))
        await service.settled()
        assert await states(service) == ["dead"]
        version = service.service.config.version
    sandbox.load(seed_of(8))
    async with start(MENDED) as service:
        assert service.service.config.version != version
        assert (await replay(service, shifted, Selection(), then=then)).events == 1
        await service.settled()
        assert sandbox.contact(contact_uuid(7))["title"] == title
        (event,) = await service.events()
        assert event["config_version"] == (version if then else service.service.config.version)
        assert await books_close(service)


async def test_what_was_delivered_can_be_sent_anew_by_the_present_mapping_and_by_a_past_one(
    start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    async with start() as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="ceo"))
        await service.settled()
        version = service.service.config.version
    async with start(MENDED) as service:
        for how, title in (({}, "CEO"), ({"version": version}, "ceo"), ({}, "CEO")):
            await replay(service, shifted, ALL, **how)
            await service.settled()
            assert sandbox.contact(GRACE_UUID)["title"] == title
        assert patched(sandbox) == [{"title": title} for title in ("ceo", "CEO", "ceo", "CEO")]
        assert await states(service) == ["delivered"]


async def test_a_past_filter_belongs_to_a_past_mapping(
    start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    async with start(FILTERED) as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO", label="1"))
        await service.settled()
        assert await states(service) == ["ignored"]
        version = service.service.config.version
    async with start() as service:
        await replay(service, shifted, ALL, version=version)
        await service.settled()
        (event,) = await service.events()
        assert (event["state"], event["reason"]) == ("ignored", "filtered out by `when`")
        await replay(service, shifted, ALL)
        await service.settled()
        assert await states(service) == ["delivered"]
    assert sandbox.contact(GRACE_UUID)["title"] == "CEO"


async def test_a_version_that_is_not_kept_leaves_a_dead_letter_that_says_so(
    start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    """Rather than to map by other rules than were asked for."""
    async with start() as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
        await service.settled()
        await replay(service, shifted, ALL, version="0c6d1b7e4f52")
        await service.settled()
        (event,) = await service.events()
        expected = "the configuration 0c6d1b7e4f52 is not kept; replay it with the present one"
        assert (event["state"], event["reason"]) == ("dead", expected)
        (letter,) = await service.store.ledger.deliveries(state="dead")
        assert (letter["outcome"], letter["reason"]) == ("unmappable", expected)
        assert await books_close(service)
        await replay(service, shifted, Selection(letters=[letter["id"]]))
        await service.settled()
        assert await states(service) == ["unchanged"]
        assert await books_close(service)
    assert len(patched(sandbox)) == 1


async def test_each_change_is_replayed_by_the_version_that_mapped_it_however_many_there_were_since(
    start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    """Some delivered, merged and unchanged, one that the filter left out, and one that died: each by its own."""
    sandbox.load(seed_of(1))
    versions: list[str] = []
    told = [pipedrive(number, f"evt-{number}", T0, email=email_of(0), label="1") for number in range(3)]
    older, same = [pipedrive(0, f"{at}", T0 + at * SECOND, email=email_of(0), label="1") for at in (-1, 1)]
    for webhooks, configuration in (
        ([told[0], older, same], CONFIGURATION),
        ([told[1]], FILTERED),
        ([told[2]], UNMAPPABLE),
    ):
        async with start(configuration) as service:
            for webhook in webhooks:
                await service.accepted(webhook)
                await service.settled()
                versions.append(service.service.config.version)
    async with start(MENDED) as service:
        assert service.service.config.version not in versions
        before = [(event["state"], event["config_version"]) for event in await service.events()]
        ends = ["delivered", "merged", "unchanged", "ignored", "dead"]
        assert before == list(zip(ends, versions, strict=True))
        assert (await replay(service, shifted, ALL, then=True)).events == 5
        await service.settled()
        again = await service.events()
        assert [event["config_version"] for event in again] == versions
        assert [event["state"] for event in again] == ["merged", "merged", "unchanged", "ignored", "dead"]
        assert [event["reason"] for event in again[3:]] == [
            "filtered out by `when`",
            "cannot be mapped: title: map: found a value without an entry; add one, or a default",
        ]
        assert await books_close(service)


async def test_a_version_that_this_release_cannot_read_any_more_leaves_a_dead_letter_that_says_so(
    start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    """A transform that an upgrade took away must neither be a fault nor stop the contact's other changes."""
    old: dict[str, Record] = {"pipedrive": {"mapping": {"title": {"from": "job_title", "transform": ["capitalise"]}}}}
    async with start() as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="ceo"))
        await service.settled()
        await service.store.configurations.keep("0c6d1b7e4f52", old, now=shifted())
        await replay(service, shifted, ALL, version="0c6d1b7e4f52")
        await service.accepted(pipedrive(101, "e41b9f60", T0 + SECOND, job_title="COO"))
        await service.settled()
        dead, live = await service.events()
        assert (dead["state"], dead["config_version"]) == ("dead", "0c6d1b7e4f52")
        assert dead["reason"].startswith("the configuration 0c6d1b7e4f52 is written in a way that this release")
        assert live["state"] == "delivered"
        (letter,) = await service.store.ledger.deliveries(state="dead")
        assert (letter["outcome"], letter["reason"]) == ("unmappable", dead["reason"])
        assert {attempt["outcome"] for attempt in await service.attempts()} <= {"applied", "unchanged"}
        await replay(service, shifted, Selection(letters=[letter["id"]]))
        await service.settled()
        assert await states(service) == ["merged", "delivered"]
        assert await books_close(service)
    assert sandbox.contact(GRACE_UUID)["title"] == "COO"


async def test_a_version_that_is_kept_after_it_was_asked_for_in_vain_is_found(
    start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    """Another replica may be the one that starts with it."""
    async with start() as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="ceo"))
        await service.settled()
        await replay(service, shifted, ALL, version="0c6d1b7e4f52")
        await service.settled()
        assert await states(service) == ["dead"]
        upper: dict[str, Record] = {"pipedrive": {"mapping": {"title": {"from": "job_title", "transform": ["upper"]}}}}
        await service.store.configurations.keep("0c6d1b7e4f52", upper, now=shifted())
        await replay(service, shifted, ALL, then=True)
        await service.settled()
        assert await states(service) == ["delivered"]
    assert sandbox.contact(GRACE_UUID)["title"] == "CEO"


@pytest.mark.parametrize("mended", [False, True])
async def test_an_old_change_that_is_replayed_never_overwrites_a_newer_value(
    start: Started, sandbox: RunningSandbox, shifted: Shifted, *, mended: bool
) -> None:
    async with start() as service:
        await service.accepted(pipedrive(101, "older", T0, job_title="coo", last_name="Okafor-Bell"))
        await service.settled()
        await service.accepted(pipedrive(101, "newer", T0 + SECOND, job_title="ceo"))
        await service.settled()
    async with start(MENDED if mended else CONFIGURATION) as service:
        older = (await service.events())[0]["id"]
        await replay(service, shifted, Selection(events=[older], dead_only=False))
        await service.settled()
        assert sandbox.contact(GRACE_UUID)["title"] == "ceo"
        assert (await states(service)) == ["merged", "delivered"]
        await replay(service, shifted, ALL)
        await service.settled()
        assert sandbox.contact(GRACE_UUID)["title"] == ("CEO" if mended else "ceo")
        assert await books_close(service)
    assert len(patched(sandbox)) == (3 if mended else 2)
    assert "coo" not in str(patched(sandbox)[1:]).lower()


async def test_what_crms_send_now_goes_before_a_replay(
    start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    """A replay of a month must not keep today's changes waiting."""
    sandbox.load(seed_of(31))
    async with start() as service:
        for number in range(30):
            await service.accepted(pipedrive(number, f"evt-{number}", T0, email=email_of(number), job_title="lead"))
        await service.settled()
    sandbox.forget_requests()
    sandbox.configure(Settings(limits=UNLIMITED, latency_ms=50))
    async with start(MENDED, CHARTMOGUL_PARALLEL="2") as service:
        assert (await replay(service, shifted, ALL)).events == 30
        await eventually(lambda: len(patched(sandbox)) > 2)
        await service.accepted(pipedrive(30, "live", T0, email=email_of(30), job_title="now"))
        before = len(patched(sandbox))
        await service.settled()
        titles = [body["title"] for body in patched(sandbox)]
        assert sorted(titles) == ["LEAD"] * 30 + ["NOW"]
        assert titles.index("NOW") <= before + 6, "only what was under way or claimed already"
        assert await books_close(service)
