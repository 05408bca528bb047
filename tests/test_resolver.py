"""A CRM contact is found by the steps of its source, in their order, and never taken for another one."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import orjson
import pytest

from service import resolver as room
from service.chartmogul import ChartMogul
from service.coalesce import plan
from service.errors import DeliveryError, Postponed
from service.model import NOTHING_KNOWN, Action, Change, Event, Json, Link, Mapped, Outcome, OutcomeKind
from service.paths import Path
from service.resolver import ByCustomer, ByEmail, ByLink, ByUuid, OnAmbiguous, Resolved, Resolver, ResolveStep
from service.sandbox import Fault, FaultKind, Settings, parse_seed
from tests.support.sandbox import CUSTOMER, DATA_SOURCE, RunningSandbox, contact_uuid, running_sandbox
from tests.support.sink import put_off, sink
from tests.support.wire import answering, http_answer

pytestmark = pytest.mark.anyio

OTHER_CUSTOMER: Final = "cus_7d0b9e14-2c7e-11ee-a3c5-4f1e0a9b62d8"
ADA, ADA_TWIN, GRACE = contact_uuid(1), contact_uuid(2), contact_uuid(3)
LINK: Final = Link(contact_uuid(7), "email in email")

BY_LINK: Final = ByLink()
BY_UUID: Final = ByUuid(Path.parse("chartmogul_uuid"))
BY_EMAIL: Final = ByEmail(Path.parse("emails[?primary].value"))
BY_PLAIN_EMAIL: Final = ByEmail(Path.parse("email"))
BY_CUSTOMER: Final = ByCustomer(Path.parse("company_id"), Path.parse("email"))


def person(uuid: str, email: str | None, *, customer: tuple[str, str] = (CUSTOMER, "cus_011")) -> dict[str, object]:
    return {
        "uuid": uuid,
        "customer_uuid": customer[0],
        "customer_external_id": customer[1],
        "data_source_uuid": DATA_SOURCE,
        "email": email,
    }


SEED: Final = parse_seed(
    {
        "custom_attributes": ["Lifecycle"],
        "customers": [
            {"uuid": CUSTOMER, "external_id": "cus_011", "data_source_uuid": DATA_SOURCE},
            {"uuid": OTHER_CUSTOMER, "external_id": "4711", "data_source_uuid": DATA_SOURCE},
        ],
        "contacts": [
            # The twin is the older one: which is first must not hang on ChartMogul's order.
            person(ADA_TWIN, "Ada.Lind@nordwind-logistik.example", customer=(OTHER_CUSTOMER, "4711")),
            person(ADA, "ada.lind@nordwind-logistik.example"),
            {**person(GRACE, "grace@kite-and-co.example"), "title": "CFO", "custom": {"Lifecycle": "Lead"}},
        ],
    }
)


@pytest.fixture(scope="module")
def served() -> Iterator[RunningSandbox]:
    with running_sandbox(SEED) as sandbox:
        yield sandbox


@pytest.fixture
async def resolver(sandbox: RunningSandbox) -> AsyncIterator[Resolver]:
    async with sink(sandbox.base_url) as chartmogul:
        yield Resolver({"default": chartmogul})


def change(values: dict[str, Json], previous: dict[str, Json] | None = None) -> Change:
    return Change("k", "contact", "51", Action.UPDATED, values=values, previous=previous)


async def find(
    resolver: Resolver,
    steps: list[ResolveStep],
    *changes: Change,
    link: Link | None = None,
    on_ambiguous: OnAmbiguous = OnAmbiguous.DEAD_LETTER,
) -> Resolved:
    return await resolver.resolve(steps, changes, account="default", link=link, on_ambiguous=on_ambiguous)


async def outcome_of(resolver: Resolver, steps: list[ResolveStep], *changes: Change) -> Outcome:
    with pytest.raises(DeliveryError) as caught:
        await find(resolver, steps, *changes)
    assert str(caught.value) == caught.value.outcome.detail
    return caught.value.outcome


def searched(sandbox: RunningSandbox) -> list[str]:
    return [
        request["path"].removeprefix("/v1/contacts?").removesuffix("&per_page=200") for request in sandbox.requests()
    ]


async def test_a_link_is_taken_without_a_call(resolver: Resolver, sandbox: RunningSandbox) -> None:
    found = await find(resolver, [BY_LINK, BY_EMAIL], change({"email": "grace@kite-and-co.example"}), link=LINK)
    assert found == Resolved(LINK)
    assert sandbox.requests() == []


async def test_without_a_link_the_next_step_is_taken(resolver: Resolver) -> None:
    found = await find(resolver, [BY_LINK, BY_PLAIN_EMAIL], change({"email": "grace@kite-and-co.example"}))
    assert found.link == Link(GRACE, "email in email")


async def test_the_records_own_uuid_is_taken_without_a_call(resolver: Resolver, sandbox: RunningSandbox) -> None:
    found = await find(resolver, [BY_UUID], change({"chartmogul_uuid": f" {ADA} "}))
    assert found == Resolved(Link(ADA, "uuid in chartmogul_uuid"))
    assert sandbox.requests() == []


async def test_one_contact_has_one_spelling(resolver: Resolver) -> None:
    """What is known of a contact, and who holds it, hangs on its uuid."""
    uuid = "con_ABCDEF01-7686-11EE-86F6-8727560009C2"
    assert (await find(resolver, [BY_UUID], change({"chartmogul_uuid": uuid}))).link.contact_uuid == uuid.lower()


async def test_the_newest_uuid_counts(resolver: Resolver) -> None:
    changes = change({"title": "CFO"}), change({"chartmogul_uuid": ADA}), change({"chartmogul_uuid": GRACE})
    assert (await find(resolver, [BY_UUID], *changes)).link.contact_uuid == ADA


@pytest.mark.parametrize("uuid", ["cus_5f1c3a7e-2c7e-11ee-8d0f-2b9a64c1e7d3", f"{ADA}/merge/{GRACE}", "51", 51])
async def test_a_uuid_that_is_none_is_told_and_not_passed_over(
    resolver: Resolver, sandbox: RunningSandbox, uuid: Json
) -> None:
    """A later step might find another contact than the one that somebody meant."""
    record = change({"chartmogul_uuid": uuid, "email": "grace@kite-and-co.example"})
    assert await outcome_of(resolver, [BY_UUID, BY_PLAIN_EMAIL], record) == Outcome(
        OutcomeKind.UNMAPPABLE, detail="chartmogul_uuid is not the uuid of a ChartMogul contact"
    )
    assert sandbox.requests() == []


@pytest.mark.parametrize("blank", [{}, {"chartmogul_uuid": None}, {"chartmogul_uuid": "  "}, {"chartmogul_uuid": True}])
async def test_a_record_without_uuid_is_for_the_next_step(resolver: Resolver, blank: dict[str, Json]) -> None:
    found = await find(resolver, [BY_UUID, BY_PLAIN_EMAIL], change({**blank, "email": "grace@kite-and-co.example"}))
    assert found.link.contact_uuid == GRACE


async def test_steps_go_in_the_order_of_the_configuration(resolver: Resolver) -> None:
    record = change({"chartmogul_uuid": ADA, "email": "grace@kite-and-co.example"})
    orders: list[tuple[list[ResolveStep], str]] = [
        ([BY_LINK, BY_UUID, BY_PLAIN_EMAIL], LINK.contact_uuid),
        ([BY_UUID, BY_LINK, BY_PLAIN_EMAIL], ADA),
        ([BY_PLAIN_EMAIL, BY_UUID, BY_LINK], GRACE),
    ]
    for steps, uuid in orders:
        assert (await find(resolver, steps, record, link=LINK)).link.contact_uuid == uuid


@pytest.mark.parametrize("email_filter", ["case_insensitive", "exact"])
async def test_an_email_is_found_whatever_its_case(
    resolver: Resolver, sandbox: RunningSandbox, email_filter: str
) -> None:
    sandbox.configure(Settings().changed({"switches": {"email_filter": email_filter}}))
    spelled = "grace@kite-and-co.example" if email_filter == "exact" else "Grace@Kite-and-Co.example"
    record = change({"emails": [{"value": "old@kite.example"}, {"primary": True, "value": f" {spelled} "}]})
    found = await find(resolver, [BY_EMAIL], record)
    assert found.link == Link(GRACE, "email in emails[?primary].value")


async def test_the_contact_comes_as_it_was_read_so_that_what_it_holds_is_not_sent(resolver: Resolver) -> None:
    fresh = (await find(resolver, [BY_PLAIN_EMAIL], change({"email": "grace@kite-and-co.example"}))).fresh
    assert fresh is not None
    event = Event(1, "hubspot", datetime(2026, 3, 2, tzinfo=UTC), 1, change({}))
    fields: dict[str, Json] = {"title": "CFO", "custom.Lifecycle": "Lead", "phone": None, "notes": "Met in Porto."}
    assert set(plan([(event, Mapped(fields))], NOTHING_KNOWN, now=event.received_at, fresh=fresh).send) == {"notes"}


async def test_a_changed_email_is_searched_by_the_new_one_then_by_the_one_before(
    resolver: Resolver, sandbox: RunningSandbox
) -> None:
    """ChartMogul still has the old one: it is this very change that will bring the new one there."""
    record = change({"email": "grace.okafor@kite-and-co.example"}, {"email": "grace@kite-and-co.example"})
    assert (await find(resolver, [BY_PLAIN_EMAIL], record)).link == Link(GRACE, "email in email")
    assert searched(sandbox) == ["email=grace.okafor%40kite-and-co.example", "email=grace%40kite-and-co.example"]


async def test_a_contact_with_the_new_email_comes_before_one_with_the_old(resolver: Resolver) -> None:
    record = change({"email": "grace@kite-and-co.example"}, {"email": "ada.lind@nordwind-logistik.example"})
    assert (await find(resolver, [BY_PLAIN_EMAIL], record)).link.contact_uuid == GRACE


async def test_emails_are_searched_newest_first_each_once_and_four_at_most(
    resolver: Resolver, sandbox: RunningSandbox
) -> None:
    changes = [
        change({"email": f"grace{number}@kite-and-co.example"}, {"email": f"grace{number - 1}@kite-and-co.example"})
        for number in range(9, 3, -1)
    ]
    changes.insert(1, changes[0])
    assert (await outcome_of(resolver, [BY_PLAIN_EMAIL], *changes)).kind is OutcomeKind.CONTACT_UNKNOWN
    assert searched(sandbox) == [f"email=grace{number}%40kite-and-co.example" for number in (9, 8, 7, 6)]
    assert room.EMAILS_MAX == 4


@pytest.mark.parametrize(
    "email", [None, "", "   ", True, 3.5, ["grace@kite-and-co.example"], "x" * 321, "grace\n@kite-and-co.example"]
)
async def test_what_is_no_email_is_not_searched(resolver: Resolver, sandbox: RunningSandbox, email: Json) -> None:
    assert (await outcome_of(resolver, [BY_PLAIN_EMAIL], change({"email": email}))).kind is OutcomeKind.CONTACT_UNKNOWN
    assert sandbox.requests() == []


async def test_nobody_found_names_the_steps_that_were_tried(resolver: Resolver) -> None:
    record = change({"email": "petra.vogel@kite-and-co.example", "company_id": 4711})
    steps: list[ResolveStep] = [BY_LINK, BY_UUID, BY_PLAIN_EMAIL, BY_CUSTOMER]
    assert await outcome_of(resolver, steps, record) == Outcome(
        OutcomeKind.CONTACT_UNKNOWN,
        detail="no contact by link, uuid in chartmogul_uuid, email in email, customer in company_id and email in email",
    )


async def test_two_contacts_with_one_email_are_a_question_for_a_person(resolver: Resolver) -> None:
    record = change({"email": "ada.lind@nordwind-logistik.example"})
    assert await outcome_of(resolver, [BY_PLAIN_EMAIL], record) == Outcome(
        OutcomeKind.CONTACT_AMBIGUOUS, detail="2 contacts have the email in email"
    )


@pytest.mark.parametrize("list_order", ["newest_first", "oldest_first"])
async def test_the_first_of_two_is_the_same_one_every_time(
    resolver: Resolver, sandbox: RunningSandbox, list_order: str
) -> None:
    sandbox.configure(Settings().changed({"switches": {"list_order": list_order}}))
    record = change({"email": "ada.lind@nordwind-logistik.example"})
    found = await find(resolver, [BY_PLAIN_EMAIL], record, on_ambiguous=OnAmbiguous.FIRST)
    assert found.link.contact_uuid == ADA


@pytest.mark.parametrize(("company", "uuid"), [("cus_011", ADA), (" 4711 ", ADA_TWIN), (4711, ADA_TWIN)])
async def test_an_email_is_looked_for_among_the_contacts_of_one_customer(
    resolver: Resolver, sandbox: RunningSandbox, company: Json, uuid: str
) -> None:
    record = change({"email": "ada.lind@nordwind-logistik.example", "company_id": company})
    found = await find(resolver, [BY_CUSTOMER], record)
    assert found.link == Link(uuid, "email in email")
    (query,) = searched(sandbox)
    assert query.startswith(f"customer_external_id={str(company).strip()}&email=")


async def test_without_a_customer_an_email_is_not_looked_for_among_everybody(
    resolver: Resolver, sandbox: RunningSandbox
) -> None:
    record = change({"email": "grace@kite-and-co.example", "company_id": None})
    assert (await outcome_of(resolver, [BY_CUSTOMER], record)).kind is OutcomeKind.CONTACT_UNKNOWN
    assert sandbox.requests() == []


ENTRY: Final[dict[str, Json]] = {
    "uuid": ADA,
    "email": "ada.lind@nordwind-logistik.example",
    "customer_external_id": "cus_011",
}


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({}, True),
        ({"email": "ada.linder@nordwind-logistik.example"}, False),
        ({"email": None}, False),
        ({"uuid": "con_1/merge/con_2"}, False),
        ({"uuid": None}, False),
        ({"customer_external_id": "4711"}, False),
        ({"customer_external_id": None}, False),
    ],
)
async def test_a_listed_contact_that_does_not_fit_is_not_taken(other: dict[str, Json], *, found: bool) -> None:
    """How ChartMogul's filters compare is not documented, and an unknown one could be passed over."""
    page = orjson.dumps({"entries": [{**ENTRY, **other}], "has_more": False})
    record = change({"email": "ada.lind@nordwind-logistik.example", "company_id": "cus_011"})
    async with answering(http_answer(page)) as wire, sink(wire.base_url) as chartmogul:
        resolver = Resolver({"default": chartmogul})
        if found:
            assert (await find(resolver, [BY_CUSTOMER], record)).link.contact_uuid == ADA
        else:
            assert (await outcome_of(resolver, [BY_CUSTOMER], record)).kind is OutcomeKind.CONTACT_UNKNOWN


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(kind=FaultKind.STATUS, status=429, retry_after_s=3), OutcomeKind.RATE_LIMITED),
        (Fault(kind=FaultKind.STATUS, status=401), OutcomeKind.ACCOUNT_REFUSED),
        # Of a read, an unknown outcome is no reason to doubt what the contact holds.
        (Fault(kind=FaultKind.RESET_BEFORE), OutcomeKind.UNREACHABLE),
        (Fault(kind=FaultKind.STATUS, status=504, body="html"), OutcomeKind.UNREACHABLE),
        (Fault(kind=FaultKind.GARBAGE), OutcomeKind.UNREACHABLE),
    ],
)
async def test_a_search_that_fails_stops_the_steps(
    resolver: Resolver, sandbox: RunningSandbox, fault: Fault, kind: OutcomeKind
) -> None:
    """A later step might find another contact than the one that this step would have found."""
    sandbox.add_faults(replace(fault, count=1))
    record = change({"email": "grace@kite-and-co.example", "company_id": "cus_011"})
    outcome = await outcome_of(resolver, [BY_PLAIN_EMAIL, BY_CUSTOMER], record)
    assert (outcome.kind, outcome.retry_after_s) == (kind, fault.retry_after_s)
    assert len(sandbox.requests()) == 1


async def test_a_search_that_is_put_off_is_not_an_outcome(sandbox: RunningSandbox) -> None:
    async with sink(sandbox.base_url, turn=put_off(datetime(2026, 3, 2, 9, 31, tzinfo=UTC))) as chartmogul:
        with pytest.raises(Postponed):
            await find(Resolver({"default": chartmogul}), [BY_PLAIN_EMAIL], change({"email": "grace@kite.example"}))
    assert sandbox.requests() == []


async def test_each_account_is_searched_with_its_own_key(sandbox: RunningSandbox) -> None:
    async with sink(sandbox.base_url, key="bad-key") as wrong, sink(sandbox.base_url) as right:
        sinks: dict[str, ChartMogul] = {"default": wrong, "benelux": right}
        record = change({"email": "grace@kite-and-co.example"})
        found = await Resolver(sinks).resolve(
            [BY_PLAIN_EMAIL], [record], account="benelux", link=None, on_ambiguous=OnAmbiguous.DEAD_LETTER
        )
    assert found.link.contact_uuid == GRACE


async def test_no_failure_tells_whom_it_was_about(resolver: Resolver) -> None:
    ada = change({"email": "ada.lind@nordwind-logistik.example", "chartmogul_uuid": "Ada Lind"})
    unknown = change({"email": "petra.vogel@kite-and-co.example"})
    outcomes = [
        await outcome_of(resolver, [BY_UUID], ada),
        await outcome_of(resolver, [BY_PLAIN_EMAIL], ada),
        await outcome_of(resolver, [BY_PLAIN_EMAIL], unknown),
    ]
    for outcome in outcomes:
        assert "@" not in repr(outcome)
        assert "Lind" not in repr(outcome)
