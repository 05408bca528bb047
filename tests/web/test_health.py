"""Health names every reason for everything that is not well, and shows nothing of anybody."""

import asyncio
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from service.main import create_app, real_clock
from service.sandbox import Fault, FaultKind
from service.web.health import LATE_S, REFUSED_LATELY
from tests.support.sandbox import RunningSandbox
from tests.support.service import API_KEY, Running, Shifted, configure, running
from tests.support.wait import eventually
from tests.support.webhooks import PIPEDRIVE_PASSWORD, PUBLIC_URL, helpdesk, pipedrive

pytestmark = pytest.mark.anyio

T0 = real_clock()


async def causes(service: Running) -> list[tuple[str, str]]:
    document = await service.health()
    assert document["status"] in {"ok", "warn", "fail"}
    return [(reason["status"], reason["cause"]) for reason in document["reasons"]]


async def test_all_is_well_at_first(tmp_path: Path) -> None:
    async with running(configure(tmp_path)) as service:
        for path in ("/health/live", "/health/ready"):
            answer = await service.client.get(path)
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
            assert answer.headers["cache-control"] == "no-store"
        answer = await service.client.get("/health")
        document = answer.json()
        assert answer.status_code == 200
        assert (document["status"], document["reasons"]) == ("ok", [])
        assert document["store"] == "sqlite"
        assert (document["backlog"], document["dead_letters"]) == ({"pending": 0, "leased": 0}, 0)
        assert document["oldest_pending_age_s"] == 0
        assert document["sources"].keys() == {"pipedrive", "hubspot", "helpdesk"}
        assert document["sources"]["hubspot"] == {
            "last_received_at": None,
            "last_refused_at": None,
            "refused": 0,
            "deliver": "live",
            "shadowed": 0,
        }
        assert document["accounts"] == {"default": {"state": "ok", "reason": None, "share_of_rate": 1.0}}
        assert document["config_version"] == service.service.config.version


async def test_ready_is_said_between_start_and_stop_alone(tmp_path: Path) -> None:
    """A load balancer must not send webhooks to a service that cannot keep them."""
    app = create_app(configure(tmp_path))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC_URL) as bare:
        before = await bare.get("/health/ready")
        assert (before.status_code, before.json()) == (503, {"status": "fail", "reason": "starting or stopping"})
        async with app.router.lifespan_context(app):
            assert (await bare.get("/health/ready")).status_code == 200
        after = await bare.get("/health/ready")
        assert (after.status_code, (await bare.get("/health/live")).status_code) == (503, 200)
        assert (await bare.get("/health")).status_code == 503


async def test_a_store_that_is_gone_is_told_by_ready_and_report(tmp_path: Path) -> None:
    async with running(configure(tmp_path)) as service:
        await service.store.close()
        ready, report = await asyncio.gather(service.client.get("/health/ready"), service.client.get("/health"))
        assert (ready.status_code, report.status_code) == (503, 503)
        assert report.json()["status"] == "fail"
        assert report.json()["reasons"][0]["cause"]
        assert (await service.client.get("/health/live")).status_code == 200


async def test_dead_letters_are_a_warning(tmp_path: Path, sandbox: RunningSandbox) -> None:
    async with running(configure(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url)) as service:
        await service.accepted(pipedrive(7, "9d1c2b8f", T0, email="nobody@elsewhere.example", job_title="CEO"))
        await service.settled()
        assert await causes(service) == [("warn", "dead letters: 1")]
        document = await service.health()
        assert (document["status"], document["dead_letters"]) == ("warn", 1)
        for hidden in (API_KEY, PIPEDRIVE_PASSWORD, "nobody@elsewhere", "CEO", str(tmp_path)):
            assert hidden not in str(document)


async def test_a_paused_account_fails_and_a_slowed_one_is_shown(tmp_path: Path, sandbox: RunningSandbox) -> None:
    clock = Shifted()
    async with running(configure(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url), clock=clock) as service:
        sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=429, retry_after_s=60, count=1))
        await service.accepted(helpdesk("u-301", "evt-1", T0, title="Head of Finance"))
        await service.tried(1)
        document = await service.health()
        assert document["accounts"]["default"]["state"] == "slowed"
        assert "429" in document["accounts"]["default"]["reason"]
        assert document["status"] == "ok", "it goes on by itself"
        sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=403, message="Your trial has ended"))
        clock.advance(120)
        service.service.worker.wake()
        await service.tried(2)
        answer = await service.client.get("/health")
        assert (answer.status_code, answer.json()["status"]) == (503, "fail")
        assert answer.json()["accounts"]["default"]["state"] == "paused"
        ((status, cause),) = await causes(service)
        assert (status, cause.startswith("account default is paused: ")) == ("fail", True)


async def test_a_refusal_warns_until_the_source_is_heard_or_an_hour_passed(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    clock = Shifted()
    async with running(configure(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url), clock=clock) as service:
        wrong = pipedrive(101, "9d1c2b8f", T0, password="letmein")
        for webhook in (wrong, wrong):
            assert (await service.send(webhook)).status_code == 401
        await service.store.refusals.flush()
        assert await causes(service) == [("warn", "the last request to source pipedrive was refused")]
        assert (await service.health())["sources"]["pipedrive"]["refused"] == 2
        clock.advance(1)
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, first_name="Grace"))
        assert await causes(service) == []
        await service.settled()
        clock.advance(1)
        await service.send(wrong)
        await service.store.refusals.flush()
        assert len(await causes(service)) == 1
        clock.advance(REFUSED_LATELY.total_seconds() + 1)
        assert await causes(service) == []


async def test_a_fault_of_ours_says_nothing_here_either(tmp_path: Path) -> None:
    broken = False

    def clock() -> datetime:
        if broken:
            raise ZeroDivisionError("grace.okafor@harbour-analytics.example")
        return real_clock()

    async with running(configure(tmp_path), clock=clock) as service:
        broken = True
        answer = await service.client.get("/health")
        broken = False
        assert answer.status_code == 500
        assert answer.json()["type"] == "urn:crm-to-chartmogul:fault"


async def test_refusals_are_written_down_by_themselves(tmp_path: Path) -> None:
    async with running(configure(tmp_path)) as service:
        await service.send(pipedrive(101, "9d1c2b8f", T0, password="letmein"))

        async def written() -> bool:
            return bool(await service.store.refusals.newest(1))

        await eventually(written)


async def test_a_change_that_waits_too_long_is_a_warning(tmp_path: Path) -> None:
    clock = Shifted()
    async with running(configure(tmp_path), clock=clock) as service:  # nothing listens where ChartMogul should be
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
        await service.tried(1)
        await service.service.worker.stop()
        clock.advance(LATE_S + 10)
        said = await causes(service)
        assert said[0] == ("fail", "nothing is delivered: the worker has stopped")
        assert said[1][0] == "warn"
        assert said[1][1].startswith("the oldest change waits for 91")
        assert (await service.health())["oldest_pending_age_s"] >= LATE_S
