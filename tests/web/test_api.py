"""What an operator is told over HTTP, and that it is for nobody else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from structlog.testing import capture_logs

from service.main import create_app, real_clock
from service.web.api import ID_MAX
from tests.support.sandbox import RunningSandbox
from tests.support.service import Running, configure, running
from tests.support.webhooks import CONFIGURATION, GRACE, GRACE_UUID, SECRETS, helpdesk, pipedrive

pytestmark = pytest.mark.anyio

TOKEN: Final = "0c6d1b7e-4f52-4a7e-9d1c-2b8f5e6a7c90"
T0: Final = real_clock()
MENDED: Final = CONFIGURATION.replace(
    "{from: job_title, transform: [trim]}", "{from: job_title, transform: [trim, upper]}"
)
FAULTY: Final = CONFIGURATION.replace("first_name: first_name", "frist_name: first_name")
ADDRESSES: Final = [
    ("POST", "/api/v1/config/reload"),
    ("GET", "/api/v1/config"),
    ("GET", "/api/v1/events/1"),
    ("GET", "/api/v1/events/1/trace"),
    ("GET", "/api/v1/contacts/101"),
]
every = pytest.mark.parametrize(("method", "path"), ADDRESSES)


class Operator:
    """Asks with the token."""

    def __init__(self, service: Running, directory: Path) -> None:
        self.service = service
        self._directory = directory

    async def ask(self, path: str, method: str = "GET", **how: Any) -> httpx.Response:  # noqa: ANN401  # as httpx takes it
        """Ask for a path below /api/v1."""
        headers = {"authorization": f"Bearer {TOKEN}"}
        answer = await self.service.client.request(method, f"/api/v1{path}", headers=headers, **how)
        assert answer.headers["cache-control"] == "no-store", "an answer may hold contact values"
        return answer

    def write(self, configuration: str) -> None:
        """Change the configuration file."""
        (self._directory / "config.yaml").write_text(configuration)


@asynccontextmanager
async def operating(directory: Path, **settings: str) -> AsyncIterator[Operator]:
    async with running(configure(directory, ADMIN_TOKEN=TOKEN, **settings)) as service:
        yield Operator(service, directory)


@pytest.fixture
async def operator(tmp_path: Path, sandbox: RunningSandbox) -> AsyncIterator[Operator]:
    async with operating(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url) as operator:
        yield operator


async def test_every_route_is_under_these_tests(tmp_path: Path) -> None:
    paths = create_app(configure(tmp_path, ADMIN_TOKEN=TOKEN)).openapi()["paths"]
    routes = {
        (method.upper(), path.format(event_id=1, contact=101))
        for path, methods in paths.items()
        if path.startswith("/api/")
        for method in methods
    }
    assert routes == set(ADDRESSES)


@every
async def test_without_a_token_in_the_settings_there_is_no_such_route(tmp_path: Path, method: str, path: str) -> None:
    """Nobody can guess what is not there."""
    async with running(configure(tmp_path)) as service:
        for headers in ({}, {"authorization": f"Bearer {TOKEN}"}, {"authorization": "Bearer "}):
            answer = await service.client.request(method, path, headers=headers)
            assert (answer.status_code, answer.json()["type"]) == (404, "urn:crm-to-chartmogul:not_found")


@every
@pytest.mark.parametrize("shown", [{}, {"authorization": "Bearer letmein"}])
async def test_without_the_token_nothing_is_told_or_done(
    operator: Operator, method: str, path: str, shown: dict[str, str]
) -> None:
    operator.write(MENDED)
    running_version = operator.service.service.pipeline.in_force.version
    answer = await operator.service.client.request(method, path, headers=shown)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json().keys() == {"type", "title", "status", "detail", "hint"}
    assert answer.json()["type"] == "urn:crm-to-chartmogul:access_denied"
    assert operator.service.service.pipeline.in_force.version == running_version


async def test_health_and_webhooks_ask_for_no_token(operator: Operator) -> None:
    await operator.service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
    for path in ("/health", "/health/live", "/health/ready"):
        assert (await operator.service.client.get(path)).status_code == 200


async def test_an_event_is_shown_as_it_is_listed_and_with_its_trace(operator: Operator) -> None:
    await operator.service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title=" CEO ", label="1"))
    await operator.service.settled()
    document = (await operator.ask("/events/1")).json()
    trace = document.pop("trace")
    assert (document["crm_event_id"], document["state"]) == ("9d1c2b8f", "delivered")
    (listed,) = await operator.service.events()
    assert document.keys() == listed.keys()
    assert document["received_at"].endswith("Z")
    assert trace == (await operator.ask("/events/1/trace")).json()
    assert trace["config_version"] == operator.service.service.pipeline.in_force.version
    assert (trace["event"], trace["state"], trace["notes"]) == (1, "delivered", [])
    assert (trace["attempt"]["outcome"], trace["attempt"]["fields"]) == ("applied", ["title", "custom.Lifecycle"])
    lines = {line["target"]: line for line in trace["fields"]}
    assert lines["title"] == {
        "target": "title",
        "path": "job_title",
        "raw": " CEO ",
        "steps": [{"step": "trim", "value": "CEO"}],
        "result": "set",
        "value": "CEO",
        "reason": None,
    }
    assert lines["custom.Lifecycle"]["steps"] == [{"step": "map", "value": "Lead"}]
    assert lines["phone"]["result"] == "skip"
    assert lines["phone"]["reason"].startswith("missing")


@pytest.mark.parametrize(
    "event_id", ["7", "0", "-1", "1.5", "x", "1e3", "\u0661", str(ID_MAX), str(ID_MAX + 1), "9" * 500]
)
async def test_an_event_that_is_not_there_is_not_found(operator: Operator, event_id: str) -> None:
    for path in (f"/events/{event_id}", f"/events/{event_id}/trace"):
        answer = await operator.ask(path)
        assert answer.status_code == 404
        document = answer.json()
        assert (document["type"], document["status"]) == ("urn:crm-to-chartmogul:not_found", 404)
        assert document["detail"]
        assert document["hint"]


@pytest.mark.parametrize("named", ["101", GRACE_UUID, GRACE])
async def test_a_person_s_story_is_told_with_the_traces_of_the_newest_events(operator: Operator, named: str) -> None:
    await operator.service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
    await operator.service.settled()
    story = (await operator.ask(f"/contacts/{named}")).json()
    assert story["person"] == {"records": [["pipedrive", "101"]], "contacts": [["default", GRACE_UUID]]}
    (blame,) = [one for one in story["fields"][GRACE_UUID] if one["field"] == "title"]
    assert (blame["known"]["value"], blame["known"]["rule"]) == ("CEO", "job_title | trim")
    assert [trace["event"] for trace in story["traces"]] == [event["id"] for event in story["events"]]


async def test_an_id_with_a_slash_is_found(operator: Operator) -> None:
    for named in ("north/101", "north%2F101"):
        assert (await operator.ask(f"/contacts/{named}")).status_code == 404
    await operator.service.accepted(helpdesk("north/101", "9d1c2b8f", T0, title="CEO"))
    await operator.service.settled()
    for named in ("north/101", "north%2F101"):
        assert (await operator.ask(f"/contacts/{named}")).json()["person"]["records"] == [["helpdesk", "north/101"]]


async def test_a_story_is_narrowed_to_one_source(operator: Operator) -> None:
    await operator.service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
    assert (await operator.ask("/contacts/101", params={"source": "pipedrive"})).status_code == 200
    assert (await operator.ask("/contacts/101", params={"source": "hubspot"})).status_code == 404


async def test_nobody_is_not_found_and_not_repeated(operator: Operator) -> None:
    answer = await operator.ask("/contacts/nobody@elsewhere.example")
    assert answer.status_code == 404
    assert "nobody@elsewhere" not in answer.text


async def test_whatever_a_person_is_called_is_looked_for_on_either_store(
    tmp_path: Path, sandbox: RunningSandbox, store_url: str
) -> None:
    """PostgreSQL keeps no NUL in a text, and takes none in a question either."""
    odd = ["%00", "a%00b@northwind.example", "con_%00", "%ff", "%ed%a0%80", "%F0%9F%A6%8A", "%25", "'", "x" * 5_000]
    async with operating(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url, DATABASE_URL=store_url) as operator:
        for named in odd:
            assert (await operator.ask(f"/contacts/{named}")).status_code == 404, named
            assert (await operator.ask(f"/contacts/101?source={named}")).status_code == 404, named


async def test_a_number_that_json_does_not_hold_is_shown_in_a_trace_as_text(operator: Operator) -> None:
    operator.write(CONFIGURATION.replace("transform: [trim]", "transform: [to_number, to_string]"))
    await operator.ask("/config/reload", "POST")
    await operator.service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="7" * 30))
    await operator.service.settled()
    answer = await operator.ask("/events/1/trace")
    assert answer.status_code == 200
    (title,) = [line for line in answer.json()["fields"] if line["target"] == "title"]
    assert title["steps"][0] == {"step": "to_number", "value": "7" * 30}


async def test_the_configuration_in_force_is_shown_without_secrets(operator: Operator) -> None:
    answer = await operator.ask("/config")
    document = answer.json()
    assert (document["version"], document["refused"]) == (operator.service.service.pipeline.in_force.version, None)
    assert document["sources"].keys() == {"pipedrive", "hubspot", "helpdesk"}
    shown = document["sources"]["pipedrive"]
    assert (shown["preset"], shown["account"], shown["deliver"]) == ("pipedrive", "default", "live")
    assert {"title", "custom.Lifecycle"} <= set(shown["targets"])
    assert not [secret for secret in (*SECRETS.values(), TOKEN) if secret in answer.text]


async def test_a_changed_configuration_is_taken_at_once(operator: Operator, sandbox: RunningSandbox) -> None:
    before = operator.service.service.pipeline.in_force.version
    same = await operator.ask("/config/reload", "POST")
    assert (same.status_code, same.json()) == (200, {"version": before, "changed": False})
    operator.write(MENDED)
    answer = await operator.ask("/config/reload", "POST")
    assert answer.status_code == 200
    after = answer.json()["version"]
    assert (answer.json()["changed"], after != before) == (True, True)
    assert (await operator.ask("/config")).json()["version"] == after
    await operator.service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="ceo"))
    await operator.service.settled()
    assert sandbox.contact(GRACE_UUID)["title"] == "CEO"


async def test_a_faulty_configuration_is_refused_with_every_fault_while_the_one_before_goes_on(
    operator: Operator, tmp_path: Path
) -> None:
    before = operator.service.service.pipeline.in_force.version
    operator.write(FAULTY)
    answer = await operator.ask("/config/reload", "POST")
    document = answer.json()
    assert (answer.status_code, document["type"]) == (422, "urn:crm-to-chartmogul:config_error")
    assert (document["version"], document["status"]) == (before, 422)
    assert "mend the file" in document["hint"]
    faults = document["faults"]
    assert [fault.keys() for fault in faults] == [{"where", "path", "found", "allowed", "nearest"}] * 2
    assert {fault["nearest"] for fault in faults} == {"first_name"}
    assert faults[0]["where"].startswith(f"{tmp_path}/config.yaml:")
    refused = (await operator.ask("/config")).json()
    assert (refused["version"], refused["refused"]["faults"]) == (before, faults)
    operator.write(MENDED)
    assert (await operator.ask("/config/reload", "POST")).json()["changed"]
    assert (await operator.ask("/config")).json()["refused"] is None


async def test_a_log_that_cannot_be_read_is_said_so(operator: Operator) -> None:
    await operator.service.store.close()
    answer = await operator.ask("/events/1")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:crm-to-chartmogul:store_unavailable")
    assert answer.json()["detail"]


async def test_what_is_asked_for_leaves_no_value_in_the_log(operator: Operator) -> None:
    """An address may name a person by email, and an answer holds what their payload held."""
    await operator.service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="canary-7b1e"))
    await operator.service.settled()
    with capture_logs() as lines:
        for path in ("/events/1", f"/contacts/{GRACE}", "/contacts/canary-7b1e@northwind.example"):
            await operator.ask(path)
    assert not [line for line in lines if "canary" in str(line) or GRACE in str(line)]


async def test_a_fault_of_our_own_names_its_route_and_not_whom_it_was_asked_about(operator: Operator) -> None:
    async def broken(contact: str) -> None:
        raise RuntimeError(contact)

    operator.service.app.add_api_route("/api/v1/broken/{contact}", broken)
    with capture_logs() as lines:
        answer = await operator.service.client.get(f"/api/v1/broken/{GRACE}")
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:crm-to-chartmogul:fault")
    (line,) = [line for line in lines if line["event"] == "fault"]
    assert (line["path"], line["cause"]) == ("/api/v1/broken/{contact}", "RuntimeError")
    assert GRACE not in str(lines) + answer.text


async def test_what_another_method_is_for_is_told(operator: Operator) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    answer = await operator.service.client.get("/api/v1/config/reload", headers=headers)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
