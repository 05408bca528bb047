"""A source in shadow mode does everything but the PATCH, and once it is live sends what is still new."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from service.main import real_clock
from service.model import EventState
from service.sandbox import Fault, FaultKind
from service.store.replay import Selection
from tests.flow.steps import T0, Started, books_close, later, patched, replay, states
from tests.support.sandbox import RunningSandbox
from tests.support.service import Running, Shifted
from tests.support.wait import eventually
from tests.support.webhooks import ANA, CONFIGURATION, GRACE, GRACE_UUID, hubspot, hubspot_event, pipedrive

pytestmark = pytest.mark.anyio

SECOND = timedelta(seconds=1)
SHADOW = CONFIGURATION.replace("    preset: pipedrive\n", "    preset: pipedrive\n    deliver: shadow\n")
"""Pipedrive is only watched; the other two are live."""


async def reasons(service: Running) -> list[str | None]:
    return [line["reason"] for line in await service.events()]


async def would_be_sent(service: Running, uuid: str = GRACE_UUID) -> dict[str, Any]:
    story = await service.store.ledger.story(uuid)
    return {one.field: one.shadowed.value for one in story.would_be_sent.get(uuid, ())}


async def gone_live(service: Running) -> None:
    """Return once nothing is shadowed any more, and nothing is owed."""

    async def now() -> bool:
        return EventState.SHADOWED not in await service.store.ledger.counts()

    await eventually(now)
    await service.settled()


async def test_what_would_be_sent_is_recorded_and_not_sent(start: Started, sandbox: RunningSandbox) -> None:
    async with start(SHADOW) as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CFO", last_name="Okafor-Bell"))
        await service.settled()
        assert (await states(service), await reasons(service)) == (["shadowed"], ["would be sent"])
        (delivery,) = await service.deliveries()
        told = delivery["state"], delivery["outcome"], delivery["reason"], delivery["contact_uuid"]
        assert told == ("skipped", "shadowed", "shadow mode: nothing is sent", GRACE_UUID)
        (attempt,) = await service.attempts()
        assert (attempt["outcome"], attempt["fields"]) == ("shadowed", '["last_name","title"]')
        assert await would_be_sent(service) == {"last_name": "Okafor-Bell", "title": "CFO"}
        assert await books_close(service)
    assert patched(sandbox) == []


async def test_what_becomes_of_each_change_is_said_against_those_before(
    start: Started, sandbox: RunningSandbox
) -> None:
    async with start(SHADOW) as service:
        for key, at, fields in (
            ("9d1c2b8f-1", T0, {"job_title": "CFO"}),
            ("9d1c2b8f-2", T0 + SECOND, {"job_title": "CFO"}),
            ("9d1c2b8f-3", T0 - SECOND, {"job_title": "Head of Finance"}),
            ("9d1c2b8f-4", T0 + 2 * SECOND, {"job_title": "COO"}),
        ):
            await service.accepted(pipedrive(101, key, at, **fields))
            await service.settled()
        assert await states(service) == ["shadowed"] * 4
        assert await reasons(service) == [
            "would be sent",
            "would change nothing: an earlier event would have brought these values",
            "would be overtaken by a newer event",
            "would be sent",
        ]
        assert (await service.events())[2]["by_event_id"] == (await service.events())[1]["id"]
        assert await would_be_sent(service) == {"title": "COO"}
        assert await books_close(service)
    assert patched(sandbox) == []


async def test_going_live_sends_the_newest_values_in_one_patch(start: Started, sandbox: RunningSandbox) -> None:
    """Three changes of a contact, told apart, are one call; what would be sent is not told of any more."""
    async with start(SHADOW) as service:
        await service.accepted(pipedrive(101, "9d1c2b8f-1", T0, job_title="CFO", last_name="Okafor-Bell"))
        await service.settled()
        await service.accepted(pipedrive(101, "9d1c2b8f-3", T0 + 2 * SECOND, job_title="CEO"))
        await service.settled()
        await service.accepted(pipedrive(101, "9d1c2b8f-2", T0 + SECOND, job_title="COO"))
        await service.settled()
        assert patched(sandbox) == []
    async with start() as service:
        await gone_live(service)
        assert patched(sandbox) == [{"title": "CEO", "last_name": "Okafor-Bell"}]
        assert await states(service) == ["merged", "delivered", "merged"]
        assert await would_be_sent(service) == {}
        assert await books_close(service)


async def test_going_live_sends_nothing_that_chartmogul_holds_by_then(start: Started, sandbox: RunningSandbox) -> None:
    """What ran beside it has sent the title meanwhile, and the first name was there from the start."""
    async with start(SHADOW) as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CFO", first_name="Grace", last_name="Bell"))
        await service.settled()
    beside(sandbox, GRACE_UUID, {"title": "CFO"})
    sandbox.forget_requests()
    async with start() as service:
        await gone_live(service)
        assert patched(sandbox) == [{"last_name": "Bell"}]
        assert [request["path"] for request in sandbox.requests("GET")] == [f"/v1/contacts/{GRACE_UUID}"]
        assert await books_close(service)


async def test_going_live_after_everything_was_sent_by_others_makes_no_patch(
    start: Started, sandbox: RunningSandbox
) -> None:
    """Also where a value was confirmed before the source was watched only, and is another by now."""
    async with start() as service:
        await service.accepted(pipedrive(101, "9d1c2b8f-1", T0, job_title="CFO"))
        await service.settled()
    async with start(SHADOW) as service:
        await service.accepted(pipedrive(101, "9d1c2b8f-2", T0 + SECOND, job_title="CEO"))
        await service.settled()
        assert await reasons(service) == [None, "would be sent"]
    beside(sandbox, GRACE_UUID, {"title": "CEO"})
    async with start() as service:
        await gone_live(service)
        assert await states(service) == ["delivered", "unchanged"]
    assert patched(sandbox)[0] == {"title": "CFO"}
    assert len(patched(sandbox)) == 2, "ours before, and theirs"


async def test_a_live_source_takes_no_notice_of_what_another_would_have_sent(
    start: Started, sandbox: RunningSandbox
) -> None:
    """HubSpot's older title is sent, though Pipedrive's would have been there; and the shadowed one goes out after."""
    async with start(SHADOW) as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", T0 + SECOND, job_title="CEO", last_name="Bell"))
        await service.settled()
        told = [hubspot_event(51, "email", GRACE, T0), hubspot_event(51, "jobtitle", "CFO", T0, number=2)]
        await service.accepted(hubspot(told, real_clock()))
        await service.settled()
        assert patched(sandbox) == [{"title": "CFO"}]
        assert await would_be_sent(service) == {"title": "CEO", "last_name": "Bell"}
        newer = [hubspot_event(51, "jobtitle", "COO", T0 + 2 * SECOND, number=3)]
        await service.accepted(hubspot(newer, real_clock()))
        await service.settled()
        assert await would_be_sent(service) == {"last_name": "Bell"}, "a newer title was confirmed"
    async with start() as service:
        await gone_live(service)
        assert patched(sandbox) == [{"title": "CFO"}, {"title": "COO"}, {"last_name": "Bell"}]
        assert await books_close(service)


async def test_what_is_none_of_our_business_or_cannot_be_delivered_ends_as_it_would_live(
    start: Started, sandbox: RunningSandbox
) -> None:
    async with start(SHADOW) as service:
        await service.accepted(pipedrive(101, "9d1c2b8f-1", T0, favourite_team="Arsenal"))
        await service.accepted(pipedrive(102, "9d1c2b8f-2", T0, email="nobody@northwind.example", job_title="CFO"))
        await service.accepted(pipedrive(103, "9d1c2b8f-3", T0, label="7"))
        await service.settled()
        assert await states(service) == ["ignored", "dead", "dead"]
        assert await books_close(service)
    assert patched(sandbox) == []


async def test_a_mended_mapping_is_tried_on_what_was_shadowed_by_a_replay(
    start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    async with start(SHADOW) as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="cfo"))
        await service.settled()
    async with start(SHADOW.replace("[trim]", "[trim, upper]")) as service:
        await replay(service, shifted, Selection(dead_only=False))
        await service.settled()
        assert (await states(service), await reasons(service)) == (["shadowed"], ["would be sent"])
        assert await would_be_sent(service) == {"title": "CFO"}
        assert await books_close(service)
    assert patched(sandbox) == []


async def test_health_tells_how_a_source_delivers_and_how_much_waits(start: Started) -> None:
    """As a fact, not as a warning: it is as it was asked for."""
    async with start(SHADOW) as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CFO"))
        await service.settled()
        report = (await service.client.get("/health")).json()
    assert (report["status"], report["reasons"]) == ("ok", [])
    told = {name: (one["deliver"], one["shadowed"]) for name, one in report["sources"].items()}
    assert told == {"pipedrive": ("shadow", 1), "hubspot": ("live", 0), "helpdesk": ("live", 0)}


async def test_a_contact_that_cannot_be_read_is_tried_again(
    start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    """Of a field that was never told of before, nothing is known: what ChartMogul has must be read."""
    async with start(SHADOW) as service:
        await service.accepted(pipedrive(101, "9d1c2b8f-1", T0, job_title="CFO"))
        await service.settled()
        sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=502, method="GET", count=1))
        await service.accepted(pipedrive(101, "9d1c2b8f-2", T0 + SECOND, last_name="Okafor"))
        await service.tried(2)
        assert [attempt["outcome"] for attempt in await service.attempts()] == ["shadowed", "unreachable"]
        later(service, shifted)
        await service.settled()
        assert await reasons(service) == ["would be sent", "would change nothing: ChartMogul has these values"]
    assert patched(sandbox) == []


async def test_what_waits_for_its_next_try_is_not_sent_after_the_switch(
    start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=429, method="PATCH", count=1))
    async with start() as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CFO"))
        await service.tried(1)
    async with start(SHADOW) as service:
        later(service, shifted)
        await service.settled()
        assert (await states(service), await reasons(service)) == (["shadowed"], ["would be sent"])
        assert await books_close(service)
    assert sandbox.answered("PATCH", 200) == 0


async def test_a_start_that_is_broken_off_while_going_live_is_gone_on_with(
    start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    """Half of it was pending again when the process ended."""
    async with start(SHADOW) as service:
        await service.accepted(pipedrive(101, "9d1c2b8f-1", T0, job_title="CFO"))
        await service.settled()
        await service.accepted(pipedrive(102, "9d1c2b8f-2", T0, email=ANA, job_title="COO"))
        await service.settled()
        await service.service.worker.stop()
        first = (await service.events())[0]["id"]
        await service.store.replays.batch(Selection(dead_only=False, events=[first]), now=shifted())
        assert await states(service) == ["pending", "shadowed"]
    async with start() as service:
        await gone_live(service)
        assert sorted(body["title"] for body in patched(sandbox)) == ["CFO", "COO"]
        assert await books_close(service)


def beside(sandbox: RunningSandbox, uuid: str, fields: dict[str, str]) -> None:
    """Let what runs beside the service update a contact."""
    url = f"{sandbox.base_url}/v1/contacts/{uuid}"
    answer = httpx.patch(url, json=fields, auth=(sandbox.api_key, ""), trust_env=False)
    assert answer.status_code == 200, answer.text
