"""A signed webhook goes in, a PATCH goes out: what ChartMogul holds in the end, and how many calls that took."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.main import real_clock
from service.sandbox import Fault, FaultKind, Seed, Settings, parse_seed
from service.sandbox.settings import UNLIMITED
from tests.support.sandbox import CUSTOMER, DATA_SOURCE, RunningSandbox, contact_uuid, running_sandbox, seed_of
from tests.support.service import Running, Shifted, configure, running
from tests.support.wait import eventually
from tests.support.webhooks import (
    ANA,
    ANA_UUID,
    CONFIGURATION,
    GRACE_UUID,
    JUERGEN,
    JUERGEN_UUID,
    helpdesk,
    hubspot,
    hubspot_event,
    pipedrive,
)

pytestmark = pytest.mark.anyio

T0 = real_clock()
RETRY_FOR_S = "3600"
Started = Callable[..., contextlib.AbstractAsyncContextManager[Running]]


@pytest.fixture(scope="module")
def served() -> Iterator[RunningSandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(served: RunningSandbox) -> RunningSandbox:
    served.reset()
    return served


@pytest.fixture
def shifted() -> Shifted:
    return Shifted()


@pytest.fixture
def start(tmp_path: Path, sandbox: RunningSandbox, shifted: Shifted) -> Started:
    """Starts the service against the sandbox, on SQLite unless a setting says otherwise."""

    def started(configuration: str = CONFIGURATION, **settings: str) -> contextlib.AbstractAsyncContextManager[Running]:
        own = {"CHARTMOGUL_BASE_URL": sandbox.base_url, "RETRY_FOR_S": RETRY_FOR_S, **settings}
        return running(configure(tmp_path, configuration, **own), clock=shifted)

    return started


@pytest.fixture
async def service(start: Started) -> AsyncIterator[Running]:
    async with start() as service:
        yield service


@pytest.fixture
async def either(start: Started, store_url: str) -> AsyncIterator[Running]:
    """The service on either store."""
    async with start(DATABASE_URL=store_url) as service:
        yield service


def patched(sandbox: RunningSandbox) -> list[Any]:
    """The bodies of every PATCH, in order."""
    return [request["body"] for request in sandbox.requests("PATCH")]


async def states(service: Running) -> list[str]:
    return [line["state"] for line in await service.events()]


async def last_delivery(service: Running) -> dict[str, Any]:
    return (await service.deliveries())[-1]


def later(service: Running, shifted: Shifted, seconds: float = 1000) -> None:
    """Let every wait be over."""
    shifted.advance(seconds)
    service.service.worker.wake()


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


async def test_a_contact_is_found_by_what_is_not_mapped_too(start: Started, sandbox: RunningSandbox) -> None:
    """HubSpot tells every property apart: the one that names the person must not be lost on the way."""
    unmapped = CONFIGURATION.replace("      email: {from: email, transform: [lower]}\n", "")
    events = [hubspot_event(201, "email", JUERGEN, T0), hubspot_event(201, "jobtitle", "Leitung", T0, number=2)]
    async with start(unmapped) as service:
        await service.accepted(hubspot(events, real_clock()))
        await service.settled()
        assert await states(service) == ["ignored", "delivered"]
    assert patched(sandbox) == [{"title": "Leitung"}]


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
    assert (await either.store.ledger.audit()) == []


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
    assert await either.store.ledger.audit() == []


async def test_values_already_there_cost_no_call(service: Running, sandbox: RunningSandbox) -> None:
    await service.accepted(pipedrive(101, "9d1c2b8f", T0, first_name="Grace", last_name="Okafor"))
    await service.settled()
    await service.accepted(pipedrive(101, "4f52a7e9", T0, job_title="CEO"))
    await service.settled()
    await service.accepted(pipedrive(101, "0c6d1b7e", real_clock(), job_title="CEO"))
    await service.settled()
    assert patched(sandbox) == [{"title": "CEO"}]
    assert await states(service) == ["unchanged", "delivered", "unchanged"]


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


async def test_an_unknown_contact_waits_for_a_person_and_is_replayed(
    either: Running, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    sandbox.load(seed_of(1))
    unknown = "person-7@nordwind-logistik.example"
    await either.accepted(pipedrive(7, "9d1c2b8f", T0, email=unknown, job_title="Einkauf"))
    await either.settled()
    letter = await last_delivery(either)
    assert (letter["state"], letter["outcome"]) == ("dead", "contact_unknown")
    assert (await either.health())["dead_letters"] == 1
    sandbox.load(seed_of(8))
    replayed = await either.store.ledger.replay(letter["id"], now=shifted())
    assert replayed.events == 1
    either.service.worker.wake()
    await either.settled()
    assert sandbox.contact(contact_uuid(7))["title"] == "Einkauf"
    assert await states(either) == ["delivered"]
    assert (await either.health())["dead_letters"] == 0


async def test_an_unknown_contact_may_be_skipped(start: Started, sandbox: RunningSandbox) -> None:
    skipping = CONFIGURATION.replace("    mapping:\n", "    on_unknown: skip\n    mapping:\n", 1)
    async with start(skipping) as service:
        await service.accepted(pipedrive(7, "9d1c2b8f", T0, email="nobody@elsewhere.example", job_title="CEO"))
        await service.settled()
        (event,) = await service.events()
        assert (event["state"], (await last_delivery(service))["state"]) == ("ignored", "skipped")
        assert "on_unknown is skip" in event["reason"]
        assert (await service.health())["dead_letters"] == 0
    assert patched(sandbox) == []


def twins() -> Seed:
    """Two contacts with one email."""
    shared = {"customer_uuid": CUSTOMER, "customer_external_id": "cus_011", "data_source_uuid": DATA_SOURCE}
    people = [
        {**shared, "uuid": contact_uuid(n), "position": n + 1, "email": "office@nordwind.example"} for n in (0, 1)
    ]
    customer = {"uuid": CUSTOMER, "external_id": "cus_011", "data_source_uuid": DATA_SOURCE}
    return parse_seed({"custom_attributes": [], "customers": [customer], "contacts": people})


@pytest.mark.parametrize("rule", ["dead_letter", "first"])
async def test_an_ambiguous_contact_is_decided_by_the_operator(
    start: Started, sandbox: RunningSandbox, rule: str
) -> None:
    sandbox.load(twins())
    async with start(
        CONFIGURATION.replace("    mapping:\n", f"    on_ambiguous: {rule}\n    mapping:\n", 1)
    ) as service:
        await service.accepted(pipedrive(7, "9d1c2b8f", T0, email="office@nordwind.example", job_title="Einkauf"))
        await service.settled()
        delivery = await last_delivery(service)
    if rule == "first":
        assert sandbox.contact(contact_uuid(0))["title"] == "Einkauf"
    else:
        assert (delivery["state"], delivery["outcome"]) == ("dead", "contact_ambiguous")
        assert patched(sandbox) == []


async def test_a_link_is_remembered(service: Running, sandbox: RunningSandbox) -> None:
    """The second change needs no email and no search."""
    await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="COO"))
    await service.settled()
    searches = len(sandbox.requests("GET"))
    await service.accepted(pipedrive(101, "4f52a7e9", real_clock(), email=None, job_title="CEO"))
    await service.settled()
    assert len(sandbox.requests("GET")) == searches == 1
    assert sandbox.contact(GRACE_UUID)["title"] == "CEO"


def merged_away(number: int) -> Seed:
    """The account in which the person of ``seed_of(1)`` has another uuid."""
    contact = {
        "uuid": contact_uuid(number),
        "customer_uuid": CUSTOMER,
        "customer_external_id": "cus_011",
        "data_source_uuid": DATA_SOURCE,
        "position": 1,
        "email": "person-0@nordwind-logistik.example",
    }
    customer = {"uuid": CUSTOMER, "external_id": "cus_011", "data_source_uuid": DATA_SOURCE}
    return parse_seed({"custom_attributes": [], "customers": [customer], "contacts": [contact]})


async def test_a_link_says_how_it_was_found_however_long_that_is(
    start: Started, sandbox: RunningSandbox, store_url: str
) -> None:
    """PostgreSQL holds columns to their length; a delivery that cannot be recorded would be repeated for ever."""
    path = "properties_of_the_person.addresses_of_all_kinds.electronic.preferred.email"
    deep = CONFIGURATION.replace(
        "resolve: [link, {email: email}]\n    mapping:\n      first_name: first_name",
        f"resolve: [link, {{email: {path}}}]\n    mapping:\n      first_name: first_name",
    )
    nested = {"addresses_of_all_kinds": {"electronic": {"preferred": {"email": ANA}}}}
    async with start(deep, DATABASE_URL=store_url) as service:
        await service.accepted(
            helpdesk("u-301", "evt-1", T0, email=None, title="Head of Finance", properties_of_the_person=nested)
        )
        await service.settled()
        story = await service.store.ledger.story(source="helpdesk", object_id="u-301", uuid=None)
        assert story.link is not None
        assert story.link.found_by == f"email in {path}"
    assert sandbox.contact(ANA_UUID)["title"] == "Head of Finance"


async def test_a_contact_that_is_gone_is_found_again_by_email(either: Running, sandbox: RunningSandbox) -> None:
    """A merge in ChartMogul ends a uuid; the link must not keep every later change from its person."""
    sandbox.load(seed_of(1))
    email = "person-0@nordwind-logistik.example"
    await either.accepted(pipedrive(7, "9d1c2b8f", T0, email=email, job_title="Einkauf"))
    await either.settled()
    sandbox.load(merged_away(9))
    await either.accepted(pipedrive(7, "4f52a7e9", real_clock(), email=email, job_title="Leitung"))
    await either.settled()
    assert sandbox.contact(contact_uuid(9))["title"] == "Leitung"
    assert sandbox.answered("PATCH", 404) == 1
    story = await either.store.ledger.story(source="pipedrive", object_id="7", uuid=None)
    assert story.link is not None
    assert story.link.contact_uuid == contact_uuid(9)
    assert [attempt["outcome"] for attempt in story.attempts][::-1] == ["applied", "contact_gone", "applied"]


async def test_a_contact_that_stays_gone_waits_for_a_person(service: Running, sandbox: RunningSandbox) -> None:
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=404, method="PATCH"))
    await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
    await service.settled()
    letter = await last_delivery(service)
    assert (letter["state"], letter["outcome"]) == ("dead", "contact_gone")
    assert sandbox.answered("PATCH", 404) == 2
    assert (await service.store.ledger.story(source=None, object_id="101", uuid=None)).link is None


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
        assert (await service.health())["accounts"]["default"] == {"state": "ok", "reason": None}


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
    assert await service.store.ledger.audit() == []


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


async def test_what_the_filter_leaves_out_is_ignored(start: Started, sandbox: RunningSandbox) -> None:
    only = CONFIGURATION.replace("    mapping:\n", '    when: {field: label, in: ["2"]}\n    mapping:\n', 1)
    async with start(only) as service:
        await service.accepted(pipedrive(101, "9d1c2b8f", T0, label="1", job_title="COO"))
        await service.accepted(pipedrive(101, "4f52a7e9", T0, label="2", job_title="CEO"))
        await service.settled()
        ends = {line["crm_event_id"]: (line["state"], line["reason"]) for line in await service.events()}
    assert ends == {"9d1c2b8f": ("ignored", "filtered out by `when`"), "4f52a7e9": ("delivered", None)}
    assert [body["title"] for body in patched(sandbox)] == ["CEO"]


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
    assert await either.store.ledger.audit() == []


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
        await service.store.ledger.replay(letter["id"], now=shifted())
        service.service.worker.wake()
        await service.settled()
    assert sandbox.contact(GRACE_UUID)["title"] == "CEO"


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
        assert await one.store.ledger.audit() == []


def email_of(number: int) -> str:
    return f"person-{number}@nordwind-logistik.example"
