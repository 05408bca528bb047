"""What the configuration makes of a change, and what ChartMogul makes of that."""

import pytest
from structlog.testing import capture_logs

from service.sandbox import Fault, FaultKind
from service.store.replay import Selection
from tests.flow.steps import T0, Started, books_close, patched, replay, states
from tests.support.sandbox import RunningSandbox
from tests.support.service import Running, Shifted
from tests.support.webhooks import (
    ANA_UUID,
    CONFIGURATION,
    GRACE_UUID,
    helpdesk,
    pipedrive,
)

pytestmark = pytest.mark.anyio


async def test_a_change_that_cannot_be_mapped_does_not_keep_the_others(
    service: Running, sandbox: RunningSandbox
) -> None:
    bad = [{"value": "call me", "primary": True}]
    with capture_logs() as lines:
        await service.accepted(
            pipedrive(101, "9d1c2b8f", T0, phones=bad), pipedrive(101, "4f52a7e9", T0, job_title="CEO")
        )
        await service.settled()
    ends = {line["crm_event_id"]: line for line in await service.events()}
    assert (ends["9d1c2b8f"]["state"], ends["4f52a7e9"]["state"]) == ("dead", "delivered")
    assert ends["9d1c2b8f"]["reason"].startswith("cannot be mapped: phone")
    assert [line["object_id"] for line in lines if line["event"] == "unmappable"] == ["101"]
    (letter,) = await service.store.ledger.deliveries(state="dead")
    assert letter["outcome"] == "unmappable"
    assert sandbox.contact(GRACE_UUID)["title"] == "CEO"
    assert await books_close(service)


async def test_a_value_that_chartmogul_does_not_take_is_told_in_the_attempt(
    start: Started, sandbox: RunningSandbox
) -> None:
    """It answers 200 and keeps what it had: a text does not fit an attribute of yes and no."""
    plain = CONFIGURATION.replace("Newsletter: {from: newsletter, transform: [to_bool]}", "Newsletter: newsletter")
    async with start(plain) as service:
        await service.accepted(helpdesk("u-301", "evt-1", T0, newsletter="weekly", title="Head of Finance"))
        await service.settled()
        (attempt,) = await service.attempts()
        assert attempt["detail"] == "ChartMogul stored another value in custom.Newsletter"
    assert sandbox.contact(ANA_UUID)["custom"]["Newsletter"] is True


async def test_an_undefined_custom_attribute_is_told_once_and_counted(
    service: Running, sandbox: RunningSandbox
) -> None:
    """ChartMogul drops it without a word; the operator must hear of it, but not with every webhook."""
    with capture_logs() as lines:
        for number, colour in enumerate(("teal", "coral")):
            at = T0.replace(microsecond=number)
            await service.accepted(pipedrive(101, f"evt-{number}", at, favourite_colour=colour, job_title=colour))
            await service.settled()
    told = [line for line in lines if line["event"] == "ignored_by_chartmogul"]
    assert [line["attribute"] for line in told] == ["Favourite colour"]
    (attribute,) = await service.store.ledger.ignored_attributes()
    assert attribute["count"] == 2
    health = await service.health()
    assert health["status"] == "warn"
    assert "Favourite colour" in str(health["reasons"])
    assert await states(service) == ["delivered", "delivered"]
    assert sandbox.contact(GRACE_UUID)["title"] == "coral"


async def test_what_the_filter_leaves_out_is_ignored(start: Started, sandbox: RunningSandbox) -> None:
    only = CONFIGURATION.replace("    mapping:\n", '    when: {field: label, in: ["2"]}\n    mapping:\n', 1)
    async with start(only) as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, label="1", job_title="COO"))
        await service.accepted(pipedrive(101, "4f52a7e9", T0, label="2", job_title="CEO"))
        await service.settled()
        ends = {line["crm_event_id"]: (line["state"], line["reason"]) for line in await service.events()}
    assert ends == {"9d1c2b8f": ("ignored", "filtered out by `when`"), "4f52a7e9": ("delivered", None)}
    assert [body["title"] for body in patched(sandbox)] == ["CEO"]


async def test_a_source_taken_out_of_the_configuration_leaves_dead_letters(
    start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=503, method="PATCH"))
    async with start() as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
        await service.tried(1)
    sandbox.clear_faults()
    shifted.advance(1000)
    without = "sources:\n  hubspot:" + CONFIGURATION.split("  hubspot:")[1]
    async with start(without) as service:
        await service.settled()
        (event,) = await service.events()
        assert (event["state"], "no longer configured" in event["reason"]) == ("dead", True)
    async with start() as service:
        (letter,) = await service.store.ledger.deliveries(state="dead")
        await replay(service, shifted, Selection(letters=[letter["id"]]))
        await service.settled()
    assert sandbox.contact(GRACE_UUID)["title"] == "CEO"
