"""A signed webhook goes in, a PATCH goes out: what ChartMogul holds in the end, and how many calls that took."""

import asyncio
from datetime import datetime
from pathlib import Path

import pytest

from service.main import real_clock
from service.sandbox import Settings
from service.sandbox.settings import UNLIMITED
from tests.flow.steps import T0, books_close, patched, states
from tests.support.sandbox import RunningSandbox, seed_of
from tests.support.service import Running, Shifted, configure, running
from tests.support.wait import eventually
from tests.support.webhooks import (
    ANA,
    ANA_UUID,
    GRACE_UUID,
    JUERGEN,
    JUERGEN_UUID,
    helpdesk,
    hubspot,
    hubspot_event,
    pipedrive,
)

pytestmark = pytest.mark.anyio


async def test_a_person_changed_in_pipedrive_is_patched(either: Running, sandbox: RunningSandbox) -> None:
    phone = [{"label": "mobile", "value": "020 7946 0099", "primary": True}]
    await either.accepted(pipedrive(101, "9d1c2b8f", T0, job_title=" CEO ", phones=phone, label="2"))
    await either.settled()
    assert patched(sandbox) == [{"title": "CEO", "phone": "+442079460099"}], "Lifecycle is Customer already"
    held = sandbox.contact(GRACE_UUID)
    assert (held["title"], held["phone"], held["first_name"]) == ("CEO", "+442079460099", "Grace")
    (event,) = await either.events()
    assert event["state"] == "delivered"


async def test_a_contact_changed_in_hubspot_is_patched(either: Running, sandbox: RunningSandbox) -> None:
    events = [
        hubspot_event(201, "email", JUERGEN.upper(), T0),
        hubspot_event(201, "jobtitle", "Geschäftsführer", T0, number=2),
        hubspot_event(201, "region", "benelux", T0, number=3),
    ]
    await either.accepted(hubspot(events, real_clock()))
    await either.settled()
    assert patched(sandbox) == [{"title": "Geschäftsführer", "custom": [{"key": "Region", "value": "BENELUX"}]}]
    assert sandbox.contact(JUERGEN_UUID)["custom"]["Lifecycle"] == "Lead", "what was not sent stays"


async def test_a_contact_of_any_other_crm_is_patched(either: Running, sandbox: RunningSandbox) -> None:
    await either.accepted(helpdesk("u-301", "evt-1", T0, title="Head of Finance", newsletter="no"))
    await either.settled()
    assert patched(sandbox) == [{"title": "Head of Finance", "custom": [{"key": "Newsletter", "value": False}]}]


async def test_a_duplicate_costs_no_call(either: Running, sandbox: RunningSandbox) -> None:
    webhook = pipedrive(101, "9d1c2b8f", T0, job_title="CEO")
    await either.accepted(webhook, webhook)
    await either.settled()
    await either.accepted(webhook)
    await either.settled()
    assert len(patched(sandbox)) == 1
    assert await states(either) == ["delivered"]


async def test_an_older_change_that_comes_late_overwrites_nothing(either: Running, sandbox: RunningSandbox) -> None:
    at = [T0.replace(microsecond=0, second=second) for second in (10, 20, 30)]
    await either.accepted(pipedrive(101, "third", at[2], job_title="CEO"))
    await either.settled()
    await either.accepted(pipedrive(101, "second", at[1], job_title="COO", last_name="Okafor-Bell"))
    await either.accepted(pipedrive(101, "first", at[0], job_title="CFO"))
    await either.settled()
    held = sandbox.contact(GRACE_UUID)
    assert (held["title"], held["last_name"]) == ("CEO", "Okafor-Bell")
    assert "COO" not in str(patched(sandbox))
    ends = {line["crm_event_id"]: (line["state"], line["by_event_id"]) for line in await either.events()}
    assert ends["third"] == ("delivered", None)
    assert ends["first"][0] == "merged"
    assert await books_close(either)


async def test_a_burst_of_property_events_becomes_few_patches(
    either: Running, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    sandbox.configure(Settings(limits=UNLIMITED, latency_ms=40))
    await either.accepted(hubspot([hubspot_event(201, "email", JUERGEN, T0)], shifted()))
    for number in range(60):
        at = T0.replace(microsecond=number * 1000)
        await either.accepted(
            hubspot([hubspot_event(201, "jobtitle", f"Draft {number}", at, number=number)], shifted())
        )
    await either.settled()
    assert sandbox.contact(JUERGEN_UUID)["title"] == "Draft 59"
    assert len(patched(sandbox)) < 20
    assert sandbox.answered("PATCH", 200) == len(patched(sandbox))
    assert sum((await either.store.ledger.counts()).values()) == 61
    assert await books_close(either)


async def test_values_already_there_cost_no_call(service: Running, sandbox: RunningSandbox) -> None:
    await service.accepted(pipedrive(101, "9d1c2b8f", T0, first_name="Grace", last_name="Okafor"))
    await service.settled()
    await service.accepted(pipedrive(101, "4f52a7e9", T0, job_title="CEO"))
    await service.settled()
    await service.accepted(pipedrive(101, "0c6d1b7e", real_clock(), job_title="CEO"))
    await service.settled()
    assert patched(sandbox) == [{"title": "CEO"}]
    assert await states(service) == ["unchanged", "delivered", "unchanged"]


async def test_two_crms_of_one_contact_take_turns_and_the_newest_wins(either: Running, sandbox: RunningSandbox) -> None:
    """Two PATCHes of one contact at a time could land in either order."""
    sandbox.configure(Settings(limits=UNLIMITED, latency_ms=30))
    sent = []
    for number in range(8):
        at = T0.replace(microsecond=number * 10)
        sent.append(pipedrive(101, f"evt-{number}", at, email=ANA, job_title=f"Pipedrive {number}"))
        sent.append(helpdesk("u-301", f"evt-{number}", at.replace(microsecond=number * 10 + 5), title=f"Desk {number}"))
    sent.reverse()
    await asyncio.gather(*[either.send(webhook) for webhook in sent])
    await either.settled()
    assert sandbox.contact(ANA_UUID)["title"] == "Desk 7"
    spans = sorted(
        (request["at"], request["took_ms"]) for request in sandbox.requests("PATCH") if ANA_UUID in request["path"]
    )
    assert spans
    starts = [instant(at) for at, _ in spans]
    ended = [instant(at) + took / 1000 for at, took in spans]
    assert all(end <= begin + 0.001 for end, begin in zip(ended, starts[1:], strict=False)), "never two at once"
    assert await books_close(either)


def instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def test_a_change_during_a_patch_keeps_the_delivery_open_and_goes_out_after(
    either: Running, sandbox: RunningSandbox
) -> None:
    sandbox.configure(Settings(limits=UNLIMITED, latency_ms=200))
    await either.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="COO"))
    await eventually(lambda: bool(sandbox.requests("PATCH")))
    await either.accepted(pipedrive(101, "4f52a7e9", real_clock(), job_title="CEO"))
    await either.settled()
    assert [body["title"] for body in patched(sandbox)] == ["COO", "CEO"]
    assert await states(either) == ["delivered", "delivered"]
    assert len(await either.deliveries()) == 1


async def test_two_replicas_share_the_work_without_a_second_call(
    tmp_path: Path, sandbox: RunningSandbox, postgres_url: str
) -> None:
    """Every change is delivered once, whichever replica heard of it."""
    sandbox.load(seed_of(12))
    config = configure(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url, DATABASE_URL=postgres_url)
    async with running(config) as one, running(config) as two:
        webhooks = [
            pipedrive(n, f"evt-{n}-{turn}", T0.replace(microsecond=turn), email=email_of(n), job_title=f"Title {turn}")
            for n in range(12)
            for turn in range(4)
        ]
        answers = await asyncio.gather(*[(one, two)[i % 2].send(webhook) for i, webhook in enumerate(webhooks)])
        again = await asyncio.gather(*[(two, one)[i % 2].send(webhook) for i, webhook in enumerate(webhooks)])
        assert [answer.json()["accepted"] for answer in answers] == [1] * 48
        assert [answer.json()["duplicates"] for answer in again] == [1] * 48
        await one.settled()
        assert {contact["title"] for contact in sandbox.contacts()} == {"Title 3"}
        assert await books_close(one)


def email_of(number: int) -> str:
    return f"person-{number}@nordwind-logistik.example"
