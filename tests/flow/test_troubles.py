"""What goes wrong at ChartMogul or on the way there is tried again, or waits for a person."""

import pytest
from structlog.testing import capture_logs

from service.sandbox import Fault, FaultKind
from tests.flow.steps import RETRY_FOR_S, T0, Started, last_delivery, later, patched, states
from tests.support.sandbox import RunningSandbox
from tests.support.service import Running, Shifted
from tests.support.wait import eventually
from tests.support.webhooks import (
    GRACE_UUID,
    helpdesk,
    pipedrive,
)

pytestmark = pytest.mark.anyio


AGAIN = {
    "429 without Retry-After": (Fault(kind=FaultKind.STATUS, status=429, count=1, method="PATCH"), "rate_limited"),
    "429 with Retry-After": (
        Fault(kind=FaultKind.STATUS, status=429, count=1, retry_after_s=90, method="PATCH"),
        "rate_limited",
    ),
    "503": (Fault(kind=FaultKind.STATUS, status=503, count=1, method="PATCH"), "overloaded"),
    "500": (Fault(kind=FaultKind.STATUS, status=500, count=1, method="PATCH"), "server_error"),
    "502 with HTML": (Fault(kind=FaultKind.STATUS, status=502, body="html", count=1, method="PATCH"), "unknown"),
    "504 after it was applied": (
        Fault(kind=FaultKind.STATUS, status=504, applied=True, count=1, method="PATCH"),
        "unknown",
    ),
    "HTML with 200": (Fault(kind=FaultKind.GARBAGE, count=1, method="PATCH"), "unknown"),
    "a reset": (Fault(kind=FaultKind.RESET_BEFORE, count=1, method="PATCH"), "unknown"),
    "a reset after it was applied": (Fault(kind=FaultKind.RESET_AFTER, count=1, method="PATCH"), "unknown"),
    "an answer cut off": (Fault(kind=FaultKind.TRUNCATED_JSON, count=1, method="PATCH"), "unknown"),
    "silence after it was applied": (
        Fault(kind=FaultKind.TIMEOUT_AFTER, delay_s=30, count=1, method="PATCH"),
        "unknown",
    ),
    "a search that is refused for now": (
        Fault(kind=FaultKind.STATUS, status=429, count=1, method="GET"),
        "rate_limited",
    ),
    "a search that breaks": (Fault(kind=FaultKind.RESET_BEFORE, count=1, method="GET"), "unreachable"),
}


@pytest.mark.parametrize("name", AGAIN)
async def test_what_goes_wrong_for_a_while_is_tried_again(
    start: Started, sandbox: RunningSandbox, shifted: Shifted, name: str
) -> None:
    fault, outcome = AGAIN[name]
    sandbox.add_faults(fault)
    async with start(READ_TIMEOUT_S="0.5", CONNECT_TIMEOUT_S="0.5") as service:
        before = shifted()
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
        await service.tried(1)
        if fault.retry_after_s is not None:
            assert ((await last_delivery(service))["due_at"] - before).total_seconds() >= fault.retry_after_s
            assert (await service.health())["accounts"]["default"]["state"] == "slowed"
            assert len(sandbox.requests("PATCH")) == 1
        later(service, shifted)
        await service.settled()
        assert await states(service) == ["delivered"]
        outcomes = [attempt["outcome"] for attempt in await service.attempts()]
        assert (outcomes[0], outcomes[-1]) == (outcome, "applied")
    assert sandbox.contact(GRACE_UUID)["title"] == "CEO"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_what_may_have_been_applied_is_not_taken_for_undone(
    service: Running, sandbox: RunningSandbox, shifted: Shifted, status: int
) -> None:
    """COO may have landed although nobody said so: going back to CFO must be sent, not found to be there already."""
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=status, applied=True, count=1, every=2, method="PATCH"))
    for number, title in enumerate(("CFO", "COO", "CFO")):
        at = T0.replace(microsecond=number)
        await service.accepted(pipedrive(101, f"evt-{number}", at, job_title=title, last_name=f"Okafor {number}"))
        if number < 2:
            await service.tried(number + 1)
    later(service, shifted)
    await service.settled()
    assert sandbox.contact(GRACE_UUID)["title"] == "CFO"


async def test_a_server_error_is_tried_five_times(service: Running, sandbox: RunningSandbox, shifted: Shifted) -> None:
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=500, method="PATCH", message="something broke"))
    await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
    for tries in range(1, 6):
        await service.tried(tries)
        later(service, shifted)
    await service.settled()
    letter = await last_delivery(service)
    assert (letter["state"], letter["outcome"]) == ("dead", "server_error")
    assert sandbox.answered("PATCH", 500) == 5
    (event,) = await service.events()
    assert (event["state"], "something broke" in event["reason"]) == ("dead", True)


async def test_what_goes_wrong_for_too_long_waits_for_a_person(
    service: Running, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    sandbox.add_faults(Fault(kind=FaultKind.RESET_BEFORE, method="PATCH"))
    await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
    for tries in range(1, 3):
        await service.tried(tries)
        later(service, shifted, float(RETRY_FOR_S) + 1)
    await service.settled()
    assert ((await last_delivery(service))["state"], await states(service)) == ("dead", ["dead"])


@pytest.mark.parametrize("status", [400, 422])
async def test_what_chartmogul_will_never_take_waits_for_a_person_at_once(
    service: Running, sandbox: RunningSandbox, status: int
) -> None:
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=status, message="Title is too strange", method="PATCH"))
    await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
    await service.settled()
    letter = await last_delivery(service)
    assert (letter["state"], letter["outcome"]) == ("dead", "rejected")
    assert "Title is too strange" in letter["reason"]
    assert len(patched(sandbox)) == 1


async def test_a_refused_key_pauses_the_account_and_it_resumes_by_itself(
    start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    """Nothing is burnt while the key is wrong: intake goes on, no try is counted, and nobody has to press a button."""
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=401))
    async with start() as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
        await service.tried(1)
        health = await service.health()
        assert (health["status"], health["accounts"]["default"]["state"]) == ("fail", "paused")
        assert "API key" in str(health["reasons"])
        assert (await service.client.get("/health/ready")).status_code == 200, "webhooks are still taken"
        await service.accepted(helpdesk("u-301", "evt-1", T0, title="Head of Finance"))
        calls = len(sandbox.requests())
        for _ in range(3):
            later(service, shifted, 6)
            await eventually(lambda: sandbox.counters()["answers"].get("GET", {}) != {})
            sandbox.forget_requests()
        assert calls <= 2
        assert patched(sandbox) == []
        sandbox.clear_faults()
        with capture_logs() as lines:
            later(service, shifted, 60)
            await service.settled()
        assert "account_resumed" in [line["event"] for line in lines]
        assert (await service.deliveries())[0]["attempts"] == 0
        assert await states(service) == ["delivered", "delivered"]
        assert (await service.health())["accounts"]["default"] == {"state": "ok", "reason": None, "share_of_rate": 1.0}
