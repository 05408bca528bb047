"""What is wrong is named with what to do about it, what is well is said to be, and nothing is changed by looking."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text, update

from service.errors import Fault as ConfigurationFault
from service.main import open_store, real_clock
from service.model import Json
from service.operations.doctor import Setup, examine
from service.readback.base import Call, Reader, Reading, TokenSpec
from service.schema import ignored_attributes
from service.store import Store
from service.store.migrate import HEAD
from service.store.refusals import Refusal
from tests.support.apis.base import ApiAnswer, ApiRequest
from tests.support.apis.server import serving
from tests.support.clock import Clock
from tests.support.doctor import looked_at, of, one_of, reach_of, setup_of, worse
from tests.support.log import by_hand, change, receive
from tests.support.sandbox import RunningSandbox, running_sandbox
from tests.support.service import NOWHERE, configure, running
from tests.support.webhooks import CONFIGURATION, pipedrive

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def served() -> Iterator[RunningSandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


async def test_a_running_service_that_is_well_is_said_to_be(tmp_path: Path, sandbox: RunningSandbox) -> None:
    config = configure(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url)
    async with running(config) as service:
        await service.accepted(pipedrive(101, "evt-1", real_clock(), job_title="CEO", label="1"))
        await service.settled()
        findings = await looked_at(setup_of(config))
        assert worse(findings) == []
        assert one_of(findings, "tables").seen == f"at version {HEAD}, the newest"
        assert one_of(findings, "store").seen.endswith("a service runs on it")
        assert one_of(findings, "account").seen.startswith("the key works, answered after ")
        assert one_of(findings, "chartmogul").seen == f"{sandbox.base_url} answers, by plain http on this machine"
        assert one_of(findings, "webhooks", "pipedrive").seen.startswith("last received ")
        assert one_of(findings, "webhooks", "hubspot").hint.endswith("run `sample hubspot`")
        taken = one_of(findings, "attributes", "pipedrive").seen
        assert taken == "taken by ChartMogul: Lifecycle; not sent lately: Favourite colour"
        assert (await service.health())["status"] == "ok"


async def test_an_attribute_that_chartmogul_ignores_is_named_until_it_is_taken(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    config = configure(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url)
    async with running(config) as service:
        await service.accepted(pipedrive(101, "evt-1", real_clock(), favourite_colour="teal"))
        await service.settled()
        found = one_of(worse(await looked_at(setup_of(config))), "attributes", "pipedrive")
        assert found.seen == "custom attribute 'Favourite colour' is ignored by ChartMogul, 1 times"
        long_ago = real_clock() - timedelta(days=30)
        await by_hand(service.store, update(ignored_attributes).values(last_seen_at=long_ago))
        findings = await looked_at(setup_of(config))
        assert worse(findings) == []
        assert "taken by ChartMogul: Favourite colour" in one_of(findings, "attributes", "pipedrive").seen


async def test_a_source_in_shadow_mode_is_told_with_what_waits_even_when_it_is_gone(
    tmp_path: Path, sandbox: RunningSandbox
) -> None:
    shadow = CONFIGURATION.replace("preset: pipedrive\n", "preset: pipedrive\n    deliver: shadow\n")
    config = configure(tmp_path, shadow, CHARTMOGUL_BASE_URL=sandbox.base_url)
    assert one_of(await looked_at(setup_of(config)), "deliver").seen == "shadow mode: nothing is sent"
    async with running(config) as service:
        await service.accepted(pipedrive(101, "evt-1", real_clock(), job_title="CEO"))
        await service.settled()
        findings = await looked_at(setup_of(config))
        found = one_of(findings, "deliver")
        assert (found.about, found.status) == ("pipedrive", "ok")
        assert found.seen == "shadow mode: nothing is sent; 1 changes wait until it is live"
        setup = setup_of(config)
        del setup.sources["pipedrive"]
        found = one_of(worse(await looked_at(setup)), "deliver", "pipedrive")
        assert found.seen == "1 shadowed changes of it wait, and it is not configured"
        faulty = (ConfigurationFault("config.yaml:3:13", "sources.pipedrive.preset", "'pipe'", "pipedrive", None),)
        assert of(await looked_at(replace(setup, faults=faulty)), "deliver") == [], "it is only faulty"


async def test_an_account_that_is_paused_is_named(tmp_path: Path, sandbox: RunningSandbox) -> None:
    region = "      custom:\n        Region: {from: region, transform: [upper]}\n"
    assert region in CONFIGURATION
    config = configure(tmp_path, CONFIGURATION.replace(region, ""), CHARTMOGUL_BASE_URL=sandbox.base_url)
    store = open_store(config.settings)
    await store.migrate()
    await store.accounts.ensure(["default"], now=real_clock())
    await store.accounts.pause("default", reason="migrating", now=real_clock())
    findings = await looked_at(setup_of(config))
    assert of(findings, "attributes", "hubspot") == [], "it sets none"
    found = one_of(worse(findings), "account")
    assert (found.seen, found.hint) == ("it is paused: migrating", "`resume` lets it go on")
    await by_hand(store, text("UPDATE accounts SET paused_by_hand = false"))
    assert "mend the key" in one_of(worse(await looked_at(setup_of(config))), "account").hint
    await store.close()


async def test_nothing_is_made_by_looking(tmp_path: Path, sandbox: RunningSandbox) -> None:
    config = configure(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url)
    findings = await looked_at(setup_of(config))
    assert worse(findings) == []
    assert one_of(findings, "store").seen.endswith("is not there yet")
    assert not (tmp_path / "data").exists()
    assert of(findings, "webhooks") == []


async def test_every_fault_of_the_configuration_is_a_finding() -> None:
    faults = (
        ConfigurationFault("config.yaml:3:13", "sources.crm.preset", "'hubspott'", "hubspot, pipedrive", "hubspot"),
    )
    findings = await examine(Setup(faults, None), clock=real_clock)
    assert [(found.check, found.status) for found in findings] == [("configuration", "fail")]
    assert "did you mean 'hubspot'?" in findings[0].seen


PUBLIC = {
    "http://127.0.0.1:8080": ("warn", "plain http on this machine; signed by hubspot"),
    "https://hooks.northwind.example": ("ok", "https://hooks.northwind.example; signed by hubspot"),
}


@pytest.mark.parametrize("url", PUBLIC)
async def test_the_public_address_is_told_with_who_signs_it(tmp_path: Path, url: str) -> None:
    setup = replace(setup_of(configure(tmp_path, PUBLIC_URL=url)), reach=None, database_url=None, admin_token=True)
    findings = await looked_at(setup)
    status, seen = PUBLIC[url]
    assert (one_of(findings, "public_url").status, seen in one_of(findings, "public_url").seen) == (status, True)
    assert one_of(findings, "admin_token").seen == "ADMIN_TOKEN is set"


async def test_no_public_address_is_needed_where_none_is_signed(tmp_path: Path) -> None:
    unsigned = CONFIGURATION.partition("  hubspot:\n")[0].partition("      custom:")[0]
    setup = replace(setup_of(configure(tmp_path, unsigned, PUBLIC_URL="")), reach=None, database_url=None)
    findings = await looked_at(setup)
    assert worse(findings) == []
    assert one_of(findings, "public_url").seen == "not set; no source signs its address"


PASSWORDS = {
    "short": ("letmein", "1 configured; one is shorter than 16 characters"),
    "pasted": ("pd-7f3a9c51e0b24d68 ", "1 configured; one begins or ends with a blank or a line break"),
    "good": ("pd-7f3a9c51e0b24d68", None),
}


@pytest.mark.parametrize("name", PASSWORDS)
async def test_a_secret_that_looks_wrong_is_named_and_not_shown(tmp_path: Path, name: str) -> None:
    password, seen = PASSWORDS[name]
    config = configure(tmp_path, PIPEDRIVE_PASSWORD=password)
    findings = await examine(replace(setup_of(config), reach=None, database_url=None), clock=real_clock)
    assert [found.seen for found in worse(findings)] == ([] if seen is None else [seen])
    assert password.strip() not in repr(findings)


async def test_an_open_door_is_named(tmp_path: Path) -> None:
    open_door = CONFIGURATION.replace(
        '{username: crm, password: "${PIPEDRIVE_PASSWORD}"}', '{none: "I accept unauthenticated webhooks"}'
    )
    setup = replace(setup_of(configure(tmp_path, open_door)), reach=None, database_url=None)
    found = one_of(worse(await looked_at(setup)), "secret", "pipedrive")
    assert found.seen == "none: it takes webhooks of anybody"


async def test_a_source_that_was_refused_since_it_was_heard_is_named_with_the_reason(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    setup = replace(setup_of(configure(tmp_path, DATABASE_URL=url)), reach=None)
    store, clock = Store(url), Clock()
    await store.migrate()
    for reason in ("not_verified: the header authorization is missing", "not_verified: the password is wrong"):
        store.refusals.add(Refusal(clock(), "pipedrive", reason, "host", 120))
    store.refusals.add(Refusal(clock(), "hubspot", "malformed: the body is not JSON", "host", 3))
    await store.refusals.flush()
    findings = await looked_at(setup)
    refused = "2 refused, last 2026-03-02T09:30:00.000Z: not_verified: the password is wrong"
    assert one_of(worse(findings), "webhooks", "pipedrive").seen == f"nothing received yet; {refused}"
    assert "doctor --verify" in one_of(worse(findings), "webhooks", "hubspot").hint
    await receive(store, clock, change(), source="pipedrive")
    found = one_of(await looked_at(setup), "webhooks", "pipedrive")
    assert (found.status, found.seen) == ("ok", f"last received 2026-03-02T09:30:00.000Z; {refused}")
    await by_hand(store, text("DELETE FROM refusals"))
    assert "for a reason that is kept no more" in one_of(await looked_at(setup), "webhooks", "hubspot").seen
    await store.close()


class Probing(Reader[TokenSpec]):
    """A CRM whose credentials can be tried, or not."""

    preset = "probing"
    Spec = TokenSpec
    rate_per_s = 100.0

    def __init__(self, spec: TokenSpec, *, path: str | None) -> None:
        super().__init__(spec)
        self._path = path

    @property
    def host(self) -> str:
        """Nowhere: the base URL of the test counts."""
        return NOWHERE

    def call(self, object_ids: Sequence[str], fields: Sequence[str]) -> Call:
        """Ask for one record."""
        del fields
        return Call("GET", f"/people/{object_ids[0]}")

    def read(self, document: Json, object_ids: Sequence[str]) -> dict[str, Reading]:
        """Find nothing."""
        del document, object_ids
        return {}

    def probe(self) -> Call | None:
        """Ask who we are."""
        return None if self._path is None else Call("GET", self._path)


class Api:
    """Knows one token."""

    def __init__(self) -> None:
        self.credentials: Mapping[str, str] = {"token": "crm-token-8f2c7a1d"}
        self.records: dict[str, dict[str, Any]] = {}

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer who asks."""
        known = request.headers.get("authorization") == f"Bearer {self.credentials['token']}"
        return ApiAnswer(200, {"user": 7}) if known else ApiAnswer(401, {"error": "no such token"})


@pytest.mark.parametrize(
    ("token", "path", "status", "seen"),
    [
        ("crm-token-8f2c7a1d", "/me", "ok", "the credentials work"),
        ("crm-token-of-last-year", "/me", "fail", "crm refused (401)"),
        ("crm-token-8f2c7a1d", None, "ok", "not tried"),
    ],
)
async def test_the_credentials_of_reading_back_are_tried(
    tmp_path: Path, token: str, path: str | None, status: str, seen: str
) -> None:
    configured = configure(tmp_path).sources["pipedrive"]
    with serving(Api()) as served:
        reader = Probing(TokenSpec(token=SecretStr(token), base_url=served.base_url), path=path)
        sources = {"pipedrive": replace(configured, reader=reader), "hubspot": configured}
        setup = Setup((), "1", sources, reach=reach_of(NOWHERE))
        findings = await examine(setup, clock=real_clock)
    found = one_of(findings, "read_back", "pipedrive")
    assert (found.status, found.seen.startswith(seen)) == (status, True)
    assert token not in repr(findings)
