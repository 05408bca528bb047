"""Whose change it is: contacts that are found, unknown, ambiguous or gone, and the links that remember them."""

import pytest

from service.main import real_clock
from service.sandbox import Fault, FaultKind, Seed, parse_seed
from service.store.replay import Selection
from tests.flow.steps import T0, Started, books_close, last_delivery, patched, replay, states
from tests.support.sandbox import CUSTOMER, DATA_SOURCE, RunningSandbox, contact_uuid, seed_of
from tests.support.service import Running, Shifted
from tests.support.webhooks import (
    ANA,
    ANA_UUID,
    CONFIGURATION,
    GRACE_UUID,
    JUERGEN,
    helpdesk,
    hubspot,
    hubspot_event,
    pipedrive,
)

pytestmark = pytest.mark.anyio

UNMAPPED = CONFIGURATION.replace("      email: {from: email, transform: [lower]}\n", "")
"""HubSpot's email names the person, and goes nowhere."""


async def test_a_contact_is_found_by_what_is_not_mapped_too(start: Started, sandbox: RunningSandbox) -> None:
    """HubSpot tells every property apart: the one that names the person must not be lost on the way."""
    events = [hubspot_event(201, "email", JUERGEN, T0), hubspot_event(201, "jobtitle", "Leitung", T0, number=2)]
    async with start(UNMAPPED) as service:
        await service.accepted(hubspot(events, real_clock()))
        await service.settled()
        assert await states(service) == ["ignored", "delivered"]
    assert patched(sandbox) == [{"title": "Leitung"}]


async def test_what_names_a_person_waits_with_what_it_names(start: Started, sandbox: RunningSandbox) -> None:
    """The search fails at first; its second try must know the email that the first one knew."""
    sandbox.add_faults(Fault(kind=FaultKind.RESET_BEFORE, count=1, method="GET"))
    events = [hubspot_event(201, "email", JUERGEN, T0), hubspot_event(201, "jobtitle", "Leitung", T0, number=2)]
    async with start(UNMAPPED) as service:
        await service.accepted(hubspot(events, real_clock()))
        await service.settled()
        assert [attempt["outcome"] for attempt in await service.attempts()] == ["unreachable", "applied"]
        assert await states(service) == ["ignored", "delivered"]
        assert await books_close(service)
    assert patched(sandbox) == [{"title": "Leitung"}]


async def test_what_names_a_person_is_replayed_with_what_it_names(
    start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    sandbox.load(seed_of(1))
    email = "person-7@nordwind-logistik.example"
    events = [hubspot_event(201, "email", email, T0), hubspot_event(201, "jobtitle", "Leitung", T0, number=2)]
    async with start(UNMAPPED) as service:
        await service.accepted(hubspot(events, real_clock()))
        await service.settled()
        assert await states(service) == ["dead", "dead"]
        sandbox.load(seed_of(8))
        assert (await replay(service, shifted, Selection())).events == 2
        await service.settled()
        assert await states(service) == ["ignored", "delivered"]
        assert await books_close(service)
    assert sandbox.contact(contact_uuid(7))["title"] == "Leitung"


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
    replayed = await replay(either, shifted, Selection(letters=[letter["id"]]))
    assert (replayed.events, replayed.contacts) == (1, 1)
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
        (link,) = (await service.store.ledger.story("u-301", source="helpdesk")).links
        assert link["found_by"] == f"email in {path}"
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
    story = await either.store.ledger.story("7", source="pipedrive")
    (link,) = story.links
    assert link["contact_uuid"] == contact_uuid(9)
    assert [attempt["outcome"] for attempt in story.attempts][::-1] == ["applied", "contact_gone", "applied"]


async def test_a_contact_that_stays_gone_waits_for_a_person(service: Running, sandbox: RunningSandbox) -> None:
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=404, method="PATCH"))
    await service.accepted(pipedrive(101, "9d1c2b8f", T0, job_title="CEO"))
    await service.settled()
    letter = await last_delivery(service)
    assert (letter["state"], letter["outcome"]) == ("dead", "contact_gone")
    assert sandbox.answered("PATCH", 404) == 2
    assert (await service.store.ledger.story("101")).links == ()
