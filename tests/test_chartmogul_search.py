"""A search finds every contact that fits, or says why it could not tell."""

from collections.abc import Iterator
from typing import Final

import pytest

from service import chartmogul as room
from service.chartmogul import Search
from service.model import Outcome, OutcomeKind
from service.sandbox import Fault, FaultKind
from tests.support.sandbox import RunningSandbox, contact_uuid, running_sandbox, seed_of
from tests.support.sink import sink
from tests.support.wire import answering, http_answer

pytestmark = pytest.mark.anyio

UUID: Final = contact_uuid(1)
EMAIL: Final = "person-1@nordwind-logistik.example"


@pytest.fixture(scope="module")
def served() -> Iterator[RunningSandbox]:
    with running_sandbox(seed_of(3)) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(served: RunningSandbox) -> RunningSandbox:
    served.reset()
    return served


async def test_a_search_lists_the_contacts_that_fit(sandbox: RunningSandbox) -> None:
    async with sink(sandbox.base_url) as chartmogul:
        found = await chartmogul.search({"email": EMAIL, "customer_external_id": "cus_011"})
        nobody = await chartmogul.search({"email": "petra+vogel@nordwind-logistik.example"})
    assert [contact["uuid"] for contact in found.contacts] == [UUID]
    assert nobody == Search()
    first, second = sandbox.requests("GET")
    assert first["path"] == (
        "/v1/contacts?email=person-1%40nordwind-logistik.example&customer_external_id=cus_011&per_page=200"
    )
    assert "petra%2Bvogel%40" in second["path"]


async def test_a_search_reads_page_after_page(sandbox: RunningSandbox) -> None:
    sandbox.load(seed_of(450))
    async with sink(sandbox.base_url) as chartmogul:
        found = await chartmogul.search({"customer_external_id": "cus_011"})
    assert {contact["uuid"] for contact in found.contacts} == {contact_uuid(number) for number in range(450)}
    assert len(found.contacts) == 450
    assert len(sandbox.requests("GET")) == 3


async def test_a_search_ends_after_a_thousand_contacts(sandbox: RunningSandbox) -> None:
    sandbox.load(seed_of(1_201))
    async with sink(sandbox.base_url) as chartmogul:
        found = await chartmogul.search({"customer_external_id": "cus_011"})
    assert len(found.contacts) == 1_000
    assert len(sandbox.requests("GET")) == room.PAGES_MAX


@pytest.mark.parametrize(
    "rest", [b'"has_more":true,"cursor":null', b'"has_more":"yes","cursor":"MQ=="', b'"cursor":"MQ=="']
)
async def test_a_search_ends_where_no_further_page_is_told(rest: bytes) -> None:
    page = b'{"entries":[{"uuid":"con_1"},null,7],%s}' % rest
    async with answering(http_answer(page)) as wire, sink(wire.base_url) as chartmogul:
        assert await chartmogul.search({"email": EMAIL}) == Search(({"uuid": "con_1"},))
    assert len(wire.requests) == 1


@pytest.mark.parametrize("page", [b"{}", b'{"entries":null}', b'{"entries":{"uuid":"con_1"},"has_more":false}'])
async def test_an_answer_that_is_no_list_of_contacts_finds_nobody_yet(page: bytes) -> None:
    """Taken as an empty list, it would turn every change into a dead letter for an unknown contact."""
    async with answering(http_answer(page)) as wire, sink(wire.base_url) as chartmogul:
        failure = (await chartmogul.search({"email": EMAIL})).failure
    assert failure == Outcome(OutcomeKind.UNREACHABLE, 200, "the answer is not a list of contacts")


@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        (Fault(kind=FaultKind.STATUS, status=429, retry_after_s=3), OutcomeKind.RATE_LIMITED, 429),
        (Fault(kind=FaultKind.STATUS, status=503), OutcomeKind.OVERLOADED, 503),
        (Fault(kind=FaultKind.STATUS, status=500), OutcomeKind.SERVER_ERROR, 500),
        (Fault(kind=FaultKind.STATUS, status=401), OutcomeKind.ACCOUNT_REFUSED, 401),
        (Fault(kind=FaultKind.STATUS, status=502, body="html"), OutcomeKind.UNREACHABLE, 502),
        (Fault(kind=FaultKind.RESET_BEFORE), OutcomeKind.UNREACHABLE, None),
        (Fault(kind=FaultKind.GARBAGE), OutcomeKind.UNREACHABLE, 200),
        # No contact is gone because a search found no such route or customer.
        (Fault(kind=FaultKind.STATUS, status=404), OutcomeKind.REJECTED, 404),
    ],
)
async def test_a_search_that_fails_says_how_and_can_be_asked_again(
    sandbox: RunningSandbox, fault: Fault, kind: OutcomeKind, status: int | None
) -> None:
    sandbox.add_faults(fault)
    async with sink(sandbox.base_url) as chartmogul:
        search = await chartmogul.search({"email": EMAIL})
    assert search.contacts == ()
    assert search.failure is not None
    assert (search.failure.kind, search.failure.status) == (kind, status)
    assert search.failure.retry_after_s == fault.retry_after_s


async def test_a_search_that_fails_on_a_later_page_finds_nothing(sandbox: RunningSandbox) -> None:
    """Half a list could hide that a contact is one of two."""
    sandbox.load(seed_of(201))
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=503, every=2))
    async with sink(sandbox.base_url) as chartmogul:
        search = await chartmogul.search({"customer_external_id": "cus_011"})
    assert search.contacts == ()
    assert search.failure is not None
    assert search.failure.kind is OutcomeKind.OVERLOADED


async def test_a_failed_search_does_not_tell_whom_it_looked_for(sandbox: RunningSandbox) -> None:
    message = f'Can\'t find any contacts with email: "{EMAIL}"'
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=404, message=message))
    async with sink(sandbox.base_url) as chartmogul:
        failure = (await chartmogul.search({"email": EMAIL})).failure
    assert failure == Outcome(OutcomeKind.REJECTED, 404, 'Can\'t find any contacts with email: "…"')


async def test_a_contact_is_read_as_it_stands(sandbox: RunningSandbox) -> None:
    async with sink(sandbox.base_url) as chartmogul:
        read = await chartmogul.contact(UUID)
    assert (read.kind, read.status) == (OutcomeKind.APPLIED, 200)
    assert read.answer is not None
    assert (read.answer["uuid"], read.answer["email"]) == (UUID, EMAIL)
    assert [(one["method"], one["path"]) for one in sandbox.requests()] == [("GET", f"/v1/contacts/{UUID}")]


async def test_a_contact_that_is_gone_or_has_no_uuid_cannot_be_read(sandbox: RunningSandbox) -> None:
    """A path of somebody else's making is never asked for."""
    async with sink(sandbox.base_url) as chartmogul:
        gone = await chartmogul.contact(contact_uuid(99))
        other = await chartmogul.contact("con_/../customers")
    assert (gone.kind, gone.status, gone.answer) == (OutcomeKind.CONTACT_GONE, 404, None)
    assert (other.kind, other.detail) == (OutcomeKind.REJECTED, "the contact's uuid is not one of ChartMogul's")
    assert len(sandbox.requests()) == 1


async def test_a_read_that_got_no_answer_changed_nothing(sandbox: RunningSandbox) -> None:
    """Else its contact would count as in doubt."""
    sandbox.add_faults(Fault(kind=FaultKind.STATUS, status=502, method="GET", count=1))
    async with sink(sandbox.base_url) as chartmogul:
        assert (await chartmogul.contact(UUID)).kind is OutcomeKind.UNREACHABLE
