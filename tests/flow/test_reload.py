"""A configuration that changes while webhooks come in and deliveries are under way: each sees the old or the new."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from service.errors import ConfigError, StoreError
from service.main import real_clock
from service.reload import FAULTS_TOLD_MAX, Reload
from service.sandbox import Fault, FaultKind, Settings
from service.sandbox.settings import UNLIMITED
from service.store.replay import Selection
from service.web.health import FAULTS_SHOWN
from tests.flow.steps import T0, Started, books_close, patched, replay, states
from tests.readback.held import EMAIL, HELD, NAME
from tests.support.apis.hubspot import Api
from tests.support.apis.server import Served, serving
from tests.support.sandbox import RunningSandbox
from tests.support.service import Running, Shifted
from tests.support.wait import eventually
from tests.support.webhooks import (
    CONFIGURATION,
    GRACE,
    GRACE_UUID,
    HUBSPOT_SECRET,
    PIPEDRIVE_PASSWORD,
    helpdesk,
    hubspot,
    hubspot_event,
    pipedrive,
)

pytestmark = pytest.mark.anyio

MENDED = CONFIGURATION.replace("{from: job_title, transform: [trim]}", "{from: job_title, transform: [trim, upper]}")
"""Pipedrive's titles in capitals."""
FAULTY = CONFIGURATION.replace("preset: hubspot", "preset: hubspott").replace("title: jobtitle", "titel: jobtitle")
WITHOUT_PIPEDRIVE = "sources:\n" + CONFIGURATION[CONFIGURATION.index("  hubspot:") :]
EU = CONFIGURATION.replace("preset: pipedrive\n", "preset: pipedrive\n    account: eu\n")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], None]:
    """Writes the configuration file anew."""

    def written(text: str) -> None:
        (tmp_path / "config.yaml").write_text(text, encoding="utf-8")

    return written


async def reasons(service: Running) -> list[str]:
    return [reason["cause"] for reason in (await service.health())["reasons"]]


async def test_events_before_and_after_carry_each_their_version(
    start: Started, sandbox: RunningSandbox, write: Callable[[str], None]
) -> None:
    async with start() as service:
        old = service.service.config.version
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="ceo"))
        await service.settled()
        write(MENDED)
        new = await service.service.reload.now()
        assert new == service.service.config.version == (await service.health())["config_version"] != old
        await service.accepted(pipedrive(101, "4f52a7e9", T0.replace(year=T0.year + 1), job_title="cfo"))
        await service.settled()
        assert [event["config_version"] for event in await service.events()] == [old, new]
        assert [body["title"] for body in patched(sandbox)] == ["ceo", "CFO"]
        assert await books_close(service)


async def test_a_delivery_under_way_goes_on_with_what_it_began_with(
    start: Started, sandbox: RunningSandbox, write: Callable[[str], None]
) -> None:
    sandbox.configure(Settings(limits=UNLIMITED, latency_ms=300))
    async with start() as service:
        old = service.service.config.version
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="ceo"))
        await eventually(lambda: bool(sandbox.requests()))
        write(MENDED)
        new = await service.service.reload.now()
        assert patched(sandbox) == [], "it is still looking for the contact"
        await service.settled()
        (event,) = await service.events()
        assert (event["state"], event["config_version"]) == ("delivered", old)
        assert new != old
    assert patched(sandbox) == [{"title": "ceo"}]


@pytest.mark.parametrize(("then", "title"), [(True, "ceo"), (False, "CEO")])
async def test_a_replay_chooses_the_mapping_of_before_or_after(
    start: Started, sandbox: RunningSandbox, shifted: Shifted, write: Callable[[str], None], *, then: bool, title: str
) -> None:
    """The version of before is still known: it was kept when it came into force, as is the new one."""
    async with start() as service:
        old = service.service.config.version
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="ceo"))
        await service.settled()
        write(MENDED)
        new = await service.service.reload.now()
        await replay(service, shifted, Selection(dead_only=False), then=then)
        await service.settled()
        (event,) = await service.events()
        assert event["config_version"] == (old if then else new)
        assert sandbox.contact(GRACE_UUID)["title"] == title
        for version in (old, new):
            assert await service.store.configurations.rules(version, "pipedrive") is not None


async def test_a_webhook_sees_the_sources_of_its_time(
    start: Started, sandbox: RunningSandbox, write: Callable[[str], None]
) -> None:
    """One that is gone is unknown, and what it still owes waits for a person; one that is new is heard at once."""
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=503, count=1))
    async with start(WITHOUT_PIPEDRIVE) as service:
        webhook = pipedrive(101, "9d1c2b8f", T0, job_title="CEO")
        assert (await service.send(webhook)).status_code == 404
        write(CONFIGURATION)
        with capture_logs() as lines:
            await service.service.reload.now()
        await service.accepted(webhook)
        (loaded,) = [line for line in lines if line["event"] == "configuration_loaded"]
        assert (loaded["added"], loaded["removed"], loaded["changed"]) == (["pipedrive"], [], [])
        await service.tried(1)
        write(WITHOUT_PIPEDRIVE)
        with capture_logs() as lines:
            await service.service.reload.now()
        (loaded,) = [line for line in lines if line["event"] == "configuration_loaded"]
        assert (loaded["removed"], loaded["version"]) == (["pipedrive"], service.service.config.version)
        assert (await service.send(webhook)).status_code == 404
        assert "pipedrive" not in (await service.health())["sources"]


async def test_what_a_source_that_is_gone_still_owes_waits_for_a_person(
    start: Started, sandbox: RunningSandbox, shifted: Shifted, write: Callable[[str], None]
) -> None:
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=502, count=1))
    async with start() as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
        await service.tried(1)
        write(WITHOUT_PIPEDRIVE)
        await service.service.reload.now()
        shifted.advance(1000)
        service.service.worker.wake()
        await service.settled()
        (event,) = await service.events()
        assert (event["state"], "no longer configured" in event["reason"]) == ("dead", True)
        write(CONFIGURATION)
        await service.service.reload.now()
        await replay(service, shifted, Selection())
        await service.settled()
        assert await states(service) == ["delivered"]
        assert await books_close(service)


async def test_a_faulty_file_is_refused_with_its_report_and_the_old_one_goes_on(
    start: Started, sandbox: RunningSandbox, write: Callable[[str], None]
) -> None:
    async with start() as service:
        old = service.service.config.version
        write(FAULTY)
        with capture_logs() as lines, pytest.raises(ConfigError) as refused:
            await service.service.reload.now()
        told = [line for line in lines if line["event"] == "configuration_refused"]
        assert [line["nearest"] for line in told] == ["hubspot", "title"][: len(told)]
        assert {line["running"] for line in told} == {old}
        assert len(told) == len(refused.value.faults)
        health = await service.health()
        assert (health["status"], health["config_version"]) == ("warn", old)
        assert health["config_refused"]["faults"] == [str(fault) for fault in refused.value.faults]
        assert health["config_refused"]["at"]
        (reason,) = health["reasons"]
        assert f"version {old} goes on" in reason["cause"]
        assert "check" in reason["hint"]
        for secret in (PIPEDRIVE_PASSWORD, HUBSPOT_SECRET):
            assert secret not in str(lines) + str(health)
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="ceo"))
        await service.settled()
        (event,) = await service.events()
        assert event["config_version"] == old
        assert sandbox.contact(GRACE_UUID)["title"] == "ceo"


@pytest.mark.parametrize("after", [MENDED, CONFIGURATION], ids=["mended", "as it was"])
async def test_a_refused_file_is_forgotten_once_a_right_one_is_there(
    start: Started, write: Callable[[str], None], *, after: str
) -> None:
    async with start() as service:
        write(FAULTY)
        with pytest.raises(ConfigError):
            await service.service.reload.now()
        write(after)
        await service.service.reload.now()
        health = await service.health()
        assert (health["status"], health["config_refused"]) == ("ok", None)


async def test_a_file_of_many_faults_is_told_in_part(start: Started, write: Callable[[str], None]) -> None:
    async with start() as service:
        wrong = "".join(f"      field_{number}: x\n" for number in range(FAULTS_TOLD_MAX + 50))
        write(CONFIGURATION.replace("    mapping:\n", f"    mapping:\n{wrong}", 1))
        with capture_logs() as lines, pytest.raises(ConfigError):
            await service.service.reload.now()
        told = [line for line in lines if line["event"] == "configuration_refused"]
        assert len(told) == FAULTS_TOLD_MAX + 1
        assert "150 faults" in told[-1]["found"]
        assert len((await service.health())["config_refused"]["faults"]) == FAULTS_SHOWN


async def test_a_rotated_secret_is_taken_and_the_old_one_refused(start: Started, tmp_path: Path) -> None:
    secret = tmp_path / "secrets" / "pipedrive_key"
    secret.parent.mkdir()
    secret.write_text(PIPEDRIVE_PASSWORD)
    async with start(CONFIGURATION.replace("${PIPEDRIVE_PASSWORD}", "${PIPEDRIVE_KEY}")) as service:
        old = service.service.config.version
        secret.write_text("pd-b8f5e6a7c90d1c2b\n")
        with capture_logs() as lines:
            assert await service.service.reload.now() == old, "a secret is no part of the version"
        (line,) = [line for line in lines if line["event"] == "configuration_loaded"]
        assert line["changed"] == ["pipedrive"]
        assert (await service.send(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))).status_code == 401
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, password="pd-b8f5e6a7c90d1c2b", job_title="CEO"))
        assert "b8f5e6a7c90d1c2b" not in str(lines)


async def test_settings_wait_for_a_restart_and_say_so_once(
    start: Started, tmp_path: Path, write: Callable[[str], None]
) -> None:
    (tmp_path / ".env").write_text("")
    async with start() as service:
        (tmp_path / ".env").write_text("PAYLOAD_DAYS=7\nADMIN_TOKEN=0c6d1b7e4f524a7e9d1c\n")
        write(MENDED)
        with capture_logs() as lines:
            version = await service.service.reload.now()
            await service.service.reload.now()
        (line,) = [line for line in lines if line["event"] == "needs_restart"]
        assert line["settings"] == ["ADMIN_TOKEN", "PAYLOAD_DAYS"]
        assert service.service.config.settings.payload_days == 30
        assert (await service.health())["config_version"] == version, "the file is taken all the same"
        assert await reasons(service) == ["settings that changed since the start: ADMIN_TOKEN, PAYLOAD_DAYS"]
        assert "0c6d1b7e4f524a7e9d1c" not in str(lines) + str(await service.health())
        (tmp_path / ".env").write_text("")
        await service.service.reload.now()
        assert await reasons(service) == []


async def test_an_account_that_no_source_used_before_is_delivered_to(
    start: Started, sandbox: RunningSandbox, write: Callable[[str], None]
) -> None:
    async with start(CHARTMOGUL_ACCOUNTS__EU__API_KEY="cm-key-eu") as service:
        assert service.service.sinks.keys() == {"default"}
        write(EU)
        await service.service.reload.now()
        assert service.service.sinks.keys() == {"default", "eu"}
        await service.accepted(
            pipedrive(101, "9d1c2b8f", T0, job_title="CEO"), helpdesk("u-301", "evt-1", T0, title="CFO")
        )
        await service.settled()
        assert await states(service) == ["delivered", "delivered"]
        assert {delivery["account"] for delivery in await service.deliveries()} == {"default", "eu"}
        assert sandbox.contact(GRACE_UUID)["title"] == "CEO"
        write(CONFIGURATION)
        await service.service.reload.now()
        write(EU)
        await service.service.reload.now()
        await service.accepted(pipedrive(101, "4f52a7e9", T0.replace(year=T0.year + 1), job_title="CFO"))
        await service.settled()
    assert sandbox.contact(GRACE_UUID)["title"] == "CFO"


async def test_an_account_keeps_its_pace_and_its_connections(start: Started, write: Callable[[str], None]) -> None:
    """Another limiter would let twice as many calls run at once, and another client would leave the first one open."""
    async with start() as service:
        clients = service.service.clients
        before = {**clients.sinks}, {**clients._limiters}
        write(MENDED)
        await service.service.reload.now()
        assert (clients.sinks, clients._limiters) == before


async def test_a_delivery_under_way_ends_by_what_it_began_with(
    start: Started, sandbox: RunningSandbox, write: Callable[[str], None]
) -> None:
    """Nobody of that email is in ChartMogul, which was a dead letter then, and would be passed over by now."""
    sandbox.configure(Settings(limits=UNLIMITED, latency_ms=300))
    async with start() as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, email="nobody@northwind.example", job_title="ceo"))
        await eventually(lambda: bool(sandbox.requests()))
        write(CONFIGURATION.replace("preset: pipedrive\n", "preset: pipedrive\n    on_unknown: skip\n"))
        await service.service.reload.now()
        await service.settled()
        assert await states(service) == ["dead"]


async def test_two_reloads_that_come_together_come_one_after_the_other(
    start: Started, write: Callable[[str], None]
) -> None:
    async with start() as service:
        write(MENDED)
        with capture_logs() as lines:
            first, second = await asyncio.gather(service.service.reload.now(), service.service.reload.now())
        assert first == second
        loaded = [line for line in lines if line["event"] == "configuration_loaded"]
        assert [line["changed"] for line in loaded] == [["pipedrive"], []]


async def test_a_log_that_cannot_keep_the_rules_leaves_everything_as_it_was(
    start: Started, write: Callable[[str], None]
) -> None:
    """What maps an event must be known to whoever replays it later."""
    async with start() as service:
        old = service.service.pipeline.in_force
        write(MENDED)
        await service.store.close()
        with pytest.raises(StoreError):
            await service.service.reload.now()
        assert service.service.pipeline.in_force is old
        assert service.service.config.version == old.version


def reading(served: Served, **more: object) -> str:
    """HubSpot alone, its contacts read back."""
    source = {
        "preset": "hubspot",
        "auth": {"secret": HUBSPOT_SECRET},
        "read_back": {**served.api.credentials, "base_url": served.base_url},
        "settle": 0,
        "resolve": ["link", {"email": "email"}],
        "preset_mapping": False,
        "mapping": {"first_name": "firstname"},
        **more,
    }
    return json.dumps({"sources": {"hubspot": source}})


@pytest.fixture
def crm() -> Iterator[Served]:
    """A HubSpot that holds Grace."""
    api = Api()
    record = json.dumps(HELD["hubspot"].record("201")).replace(EMAIL, GRACE)
    api.records["201"] = json.loads(record)
    with serving(api) as served:
        yield served


async def tell(service: Running, number: int) -> None:
    await service.accepted(hubspot([hubspot_event(201, "company", "Harbour", T0, number=number)], real_clock()))


async def test_a_crm_whose_reading_did_not_change_keeps_its_client(
    start: Started, crm: Served, write: Callable[[str], None]
) -> None:
    """It knows its access token, and how long its CRM asked it to wait."""
    async with start(reading(crm)) as service:
        before = service.service.readbacks["hubspot"]
        crm.refuse(429, headers={"retry-after": "60"})
        await tell(service, 1)
        await service.tried(1)
        write(reading(crm, on_unknown="skip"))
        await service.service.reload.now()
        assert service.service.readbacks["hubspot"] is before
        assert "cannot be read back" in (await reasons(service))[0]


@pytest.mark.parametrize("other", ["credentials", "needs", "none"])
async def test_a_crm_that_is_read_in_another_way_gets_another_client(
    start: Started, crm: Served, sandbox: RunningSandbox, write: Callable[[str], None], *, other: str
) -> None:
    async with start(reading(crm)) as service:
        before = service.service.readbacks["hubspot"]
        api = crm.api
        assert isinstance(api, Api)
        if other == "credentials":
            api.credentials = {"token": "pat-eu1-0c6d1b7e-4f52-4a7e-9d1c-2b8f5e6a7c90"}
        ways: dict[str, dict[str, object]] = {
            "credentials": {},
            "needs": {"mapping": {"first_name": "lastname"}},
            "none": {"read_back": None},
        }
        write(reading(crm, **ways[other]).replace('"read_back": null, ', ""))
        await service.service.reload.now()
        assert service.service.readbacks.get("hubspot") is not before
        await eventually(lambda: before._client.is_closed)
        if other == "credentials":
            await tell(service, 1)
            await service.settled()
            assert patched(sandbox) == [{"first_name": NAME}]


async def test_a_client_is_closed_when_the_last_delivery_that_uses_it_has_ended(
    start: Started, crm: Served, sandbox: RunningSandbox, write: Callable[[str], None]
) -> None:
    """A reload must not break off what is being read."""
    sandbox.configure(Settings(limits=UNLIMITED, latency_ms=300))
    async with start(reading(crm)) as service:
        before = service.service.readbacks["hubspot"]
        await tell(service, 1)
        await eventually(lambda: bool(sandbox.requests()))
        write(reading(crm, mapping={"last_name": "firstname", "title": "jobtitle"}))
        await service.service.reload.now()
        assert service.service.readbacks["hubspot"] is not before
        await eventually(lambda: bool(sandbox.requests("PATCH")))
        assert not (before._client.is_closed and service.service.worker.underway)
        await service.settled()
        await eventually(lambda: before._client.is_closed)
        assert before not in service.service.clients._open, "nothing is kept of it"
    assert patched(sandbox) == [{"first_name": NAME}]


async def test_a_stop_closes_what_a_reload_still_keeps(
    start: Started, crm: Served, sandbox: RunningSandbox, write: Callable[[str], None]
) -> None:
    sandbox.configure(Settings(limits=UNLIMITED, latency_ms=300))
    async with start(reading(crm)) as service:
        before = service.service.readbacks["hubspot"]
        await tell(service, 1)
        await eventually(lambda: bool(sandbox.requests()))
        write(reading(crm, mapping={"last_name": "lastname"}))
        await service.service.reload.now()
        now = service.service.readbacks["hubspot"]
        assert now is not before
    assert before._client.is_closed
    assert now._client.is_closed
    assert service.service.sinks["default"]._client.is_closed


async def renamed(service: Running, table: str, name: str) -> None:
    statement = text(f"ALTER TABLE {table} RENAME TO {name}")
    await service.store._database.write(lambda connection: connection.execute(statement).rowcount)


class Looking:
    """A reload of the running service that looks very often, and the lines that it wrote."""

    def __init__(self, service: Running, *, every_s: float = 0.01) -> None:
        parts = service.service
        self.reload = Reload(
            parts.config,
            store=parts.store,
            pipeline=parts.pipeline,
            worker=parts.worker,
            clients=parts.clients,
            clock=parts.clock,
            every_s=every_s,
        )
        self._lines: list[MutableMapping[str, Any]] = []

    @property
    def followed(self) -> int:
        """How often something came into force."""
        return self.count("configuration_loaded")

    def count(self, event: str) -> int:
        """Say how many such lines there are."""
        return sum(line["event"] == event for line in self._lines)

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator["Looking"]:
        """Watch for as long as the block runs."""
        with capture_logs() as self._lines:
            watch = asyncio.create_task(self.reload.watch())
            yield self
            assert not watch.done()
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch


async def test_a_changed_file_is_taken_by_itself(start: Started, write: Callable[[str], None]) -> None:
    async with start() as service, Looking(service).watching() as looking:
        write(MENDED)
        await eventually(lambda: looking.followed == 1)
        assert service.service.pipeline.in_force.version == looking.reload.running.version


async def test_a_change_that_is_refused_is_tried_once(start: Started, write: Callable[[str], None]) -> None:
    """Not every two seconds: the log is read by people."""
    async with start() as service, Looking(service).watching() as looking:
        write(FAULTY)
        await eventually(lambda: looking.reload.refused is not None)
        first = looking.count("configuration_refused")
        write(MENDED)
        await eventually(lambda: looking.followed == 1)
        assert looking.count("configuration_refused") == first
        assert looking.reload.refused is None


async def test_a_file_that_cannot_even_be_looked_at_is_refused_and_does_not_end_the_watch(
    start: Started, tmp_path: Path, write: Callable[[str], None]
) -> None:
    async with start() as service, Looking(service).watching() as looking:
        (tmp_path / "config.yaml").unlink()
        (tmp_path / "config.yaml").symlink_to("x" * 300)
        await eventually(lambda: looking.reload.refused is not None)
        (tmp_path / "config.yaml").unlink()
        write(MENDED)
        await eventually(lambda: looking.followed == 1)


async def test_a_file_that_keeps_changing_is_left_until_it_rests(
    start: Started, tmp_path: Path, write: Callable[[str], None]
) -> None:
    """An editor writes a large file in parts, and half of it may well be a right configuration, or a faulty one."""
    async with start() as service, Looking(service, every_s=0.05).watching() as looking:
        for number in range(40):  # faster than it is looked at
            (tmp_path / "half").write_text(f"{FAULTY}# {number}\n")
            (tmp_path / "half").replace(tmp_path / "config.yaml")
            await asyncio.sleep(0.01)
        write(MENDED)
        await eventually(lambda: looking.followed == 1)
        assert looking.count("configuration_refused") == 0


async def test_what_the_log_could_not_keep_is_tried_again(start: Started, write: Callable[[str], None]) -> None:
    async with start() as service, Looking(service).watching() as looking:
        await renamed(service, "configurations", "away")
        write(MENDED)
        await eventually(lambda: looking.count("configuration_waits") > 1)
        await renamed(service, "away", "configurations")
        await eventually(lambda: looking.followed == 1)


async def test_a_fault_of_ours_does_not_end_the_watch(start: Started, write: Callable[[str], None]) -> None:
    async with start() as service:
        broken = True

        def clock() -> datetime:
            if broken:
                raise ZeroDivisionError("Amara Okafor")
            return real_clock()

        looking = Looking(service)
        looking.reload._clock = clock
        async with looking.watching():
            write(MENDED)
            await eventually(lambda: looking.count("fault") == 1)
            assert looking.followed == 0
            broken = False
            looking.reload.ask()
            await eventually(lambda: looking.followed == 1)
            assert "Amara" not in str(looking._lines)


async def test_who_asks_is_served_at_once(start: Started, write: Callable[[str], None]) -> None:
    async with start() as service, Looking(service, every_s=3600).watching() as looking:
        looking.reload.ask()
        await eventually(lambda: looking.followed == 1)
        write(MENDED)
        looking.reload.ask()
        await eventually(lambda: looking.followed == 2)
        assert looking.reload.running.version == service.service.pipeline.in_force.version


async def test_an_operator_reloads_over_http(start: Started, write: Callable[[str], None]) -> None:
    async with start(ADMIN_TOKEN="0c6d1b7e4f524a7e9d1c2b8f") as service:
        operator = {"authorization": "Bearer 0c6d1b7e4f524a7e9d1c2b8f"}
        old = service.service.config.version
        for text, status in ((MENDED, 200), (FAULTY, 422)):
            write(text)
            answer = await service.client.post("/api/v1/config/reload", headers=operator)
            assert answer.status_code == status, answer.text
            assert answer.json()["version"] == service.service.config.version != old
        assert (await service.client.get("/api/v1/config", headers=operator)).json()["refused"]["faults"]
        assert (await service.client.post("/api/v1/config/reload")).status_code == 401


async def test_it_runs_where_there_is_no_such_signal(
    start: Started, monkeypatch: pytest.MonkeyPatch, write: Callable[[str], None]
) -> None:
    monkeypatch.delattr(signal, "SIGHUP")
    async with start() as service:
        write(MENDED)
        assert await service.service.reload.now() == service.service.config.version


async def test_it_runs_in_a_thread_that_gets_no_signals(start: Started) -> None:
    """As a program may that holds it inside."""

    async def status() -> str:
        async with start() as service:
            report: str = (await service.health())["status"]
            return report

    assert await asyncio.to_thread(lambda: asyncio.run(status())) == "ok"
