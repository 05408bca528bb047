"""Repairing what differs, and what a comparison does when ChartMogul does not answer it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from service.errors import ServiceError
from service.main import real_clock
from service.model import Priority
from service.operations.reconcile import Reconciliation, Report
from service.sandbox import Fault, FaultKind, Settings
from service.sandbox.settings import UNLIMITED, Limits, Switches
from service.schema import links
from tests.operations.conftest import KNOWN, PEOPLE, WHOLE
from tests.support.log import by_hand
from tests.support.office import TYPED, Office, email_of, numbers_of
from tests.support.sandbox import RunningSandbox, contact_uuid
from tests.support.service import configure, replica, running
from tests.support.sink import sink
from tests.support.webhooks import hubspot, hubspot_event, pipedrive

pytestmark = pytest.mark.anyio

T0 = real_clock()


def failing(**how: Any) -> Fault:  # noqa: ANN401  # any field of a fault
    """Let lists be answered with 500, at once."""
    return Fault(kind=FaultKind.STATUS, status=500, method="GET", path="/v1/contacts", retry_after_s=0, **how)


async def test_a_repair_sends_each_contact_once_and_then_nothing_differs(office: Office) -> None:
    await office.edited(0, title="Edited", first_name="Edited")
    await office.edited(251, title="Edited")
    report = await office.reconciled(repair=True)
    assert numbers_of(report) == WHOLE | {"differing": 3, "repairing": 3}
    assert all(difference.repairing for difference in report.differences)
    await office.service.settled()
    by_contact = {request["path"]: request["body"] for request in office.sandbox.requests("PATCH")}
    assert by_contact == {
        f"/v1/contacts/{contact_uuid(0)}": {"title": "Title 0", "first_name": "Ada"},
        f"/v1/contacts/{contact_uuid(251)}": {"title": "Title 251"},
    }
    assert len(office.bodies()) == 2
    repairs = [one for one in await office.service.deliveries() if one["priority"] == Priority.REPLAY]
    assert {one["object_id"] for one in repairs} == {"0", "251"}, "behind what CRMs send now"
    assert numbers_of(await office.reconciled(repair=True)) == WHOLE
    await office.service.settled()
    assert office.bodies() == []
    assert (await office.service.store.ledger.audit()).findings == ()


async def test_a_person_that_two_crms_know_is_repaired_once(office: Office) -> None:
    events = [hubspot_event(77, "email", email_of(200), T0), hubspot_event(77, "region", "dach", T0, number=2)]
    await office.service.accepted(hubspot(events, real_clock()))
    await office.service.settled()
    await office.edited(200, title="Edited", custom=[{"key": "Region", "value": "Edited"}])
    assert (await office.reconciled(repair=True)).repairing == 2
    await office.service.settled()
    assert office.bodies() == [{"title": "Title 200", "custom": [{"key": "Region", "value": "DACH"}]}]


async def test_a_change_that_comes_before_a_repair_went_out_is_sent_in_its_place(office: Office) -> None:
    await office.edited(200, title="Edited", first_name="Edited")
    await office.service.service.worker.stop()
    async with sink(office.sandbox.base_url) as chartmogul:
        store = office.service.store
        work = Reconciliation(store, chartmogul, repair=True, clock=real_clock, progress=lambda _: None)
        assert (await work.run()).repairing == 2
    office.sandbox.forget_requests()
    await office.service.accepted(pipedrive(200, "evt-newer", real_clock(), email=email_of(200), job_title="Newest"))
    async with replica(office.service) as other:
        await other.worker.start()
        await office.service.settled()
    assert office.bodies() == [{"title": "Newest", "first_name": "Ada"}]


async def test_what_no_record_is_linked_to_is_told_but_not_repaired(office: Office) -> None:
    """There is no delivery that could send it."""
    await by_hand(office.service.store, delete(links).where(links.c.object_id == "200"))
    await office.edited(200, title="Edited")
    report = await office.reconciled(repair=True)
    assert numbers_of(report) == WHOLE | {"differing": 1}
    assert [difference.repairing for difference in report.differences] == [False]


async def test_a_page_that_fails_for_a_while_is_asked_for_again(office: Office) -> None:
    office.sandbox.add_faults(failing(count=2))
    assert numbers_of(await office.reconciled()) == WHOLE
    assert len(office.sandbox.requests("GET")) == 5


async def test_a_comparison_that_was_broken_off_is_gone_on_with_at_its_cursor(office: Office) -> None:
    await office.edited(449, title="Edited")  # on the first page
    await office.edited(0, title="Edited")  # on the last
    await office.asked("DELETE", f"/v1/contacts/{contact_uuid(251)}")

    def progress(report: Report) -> None:
        if report.pages == 1:
            office.sandbox.add_faults(failing())

    broken = office.work(progress=progress)
    with pytest.raises(ServiceError, match=r"ChartMogul does not list its contacts: server_error \(500\)") as told:
        await broken.run()
    assert told.value.hint == "go on later, with --cursor as it was told"
    assert (broken.report.pages, broken.report.contacts) == (1, 200)
    assert [difference.uuid for difference in broken.report.differences] == [contact_uuid(449)]
    assert broken.report.cursor is not None
    office.sandbox.clear_faults()
    rest = await office.work().run(cursor=broken.report.cursor)
    assert (rest.pages, rest.contacts) == (2, PEOPLE - 1 - 200)
    assert [difference.uuid for difference in rest.differences] == [contact_uuid(0)]
    assert broken.report.compared + rest.compared == len(KNOWN) - 1
    assert rest.gone == [], "what came before the cursor was not seen: nobody is called gone for that"


REFUSED = {
    "a key that is refused": (None, Switches(trial_expired=True), r"account_refused \(403\) Your trial has expired"),
    "a cursor that is none": ("nonsense", Switches(), r"rejected \(400\) The cursor provided is not valid"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_will_be_refused_again_is_not_asked_again(office: Office, what: str) -> None:
    cursor, switches, cause = REFUSED[what]
    office.sandbox.configure(Settings(limits=UNLIMITED, switches=switches))
    office.sandbox.forget_requests()
    with pytest.raises(ServiceError, match=cause):
        await office.work().run(cursor=cursor)
    assert len(office.sandbox.requests("GET")) == 1


async def test_an_account_that_a_person_paused_is_said_so(office: Office) -> None:
    await office.service.store.accounts.pause("default", reason="migrating", now=real_clock())
    office.sandbox.forget_requests()
    with pytest.raises(ServiceError, match="account default is paused: migrating") as told:
        await office.work().run()
    assert told.value.hint == "`resume` it first"
    assert office.sandbox.requests() == []


async def test_an_account_that_was_told_to_slow_down_is_waited_for(office: Office) -> None:
    """Its deliveries were: a comparison beside them must neither give up nor push on."""
    office.sandbox.add_faults(
        Fault(kind=FaultKind.STATUS, status=429, method="PATCH", path="/v1/contacts", count=1, retry_after_s=7)
    )
    await office.service.accepted(pipedrive(200, "evt-more", real_clock(), email=email_of(200), job_title="More"))
    await office.service.tried(len(KNOWN) + 1)
    slowed = asyncio.get_running_loop().time()
    report = await office.work().run()
    assert asyncio.get_running_loop().time() - slowed > 5
    assert report.contacts == PEOPLE
    await office.service.settled()
    assert office.sandbox.answered("GET", 429) == 0


async def test_comparing_keeps_to_the_pace_of_the_account(tmp_path: Path, sandbox: RunningSandbox) -> None:
    """Deliveries go on beside it, and neither is told to slow down."""
    settings = {"CHARTMOGUL_BASE_URL": sandbox.base_url, "CHARTMOGUL_RATE_PER_S": "20"}
    async with running(configure(tmp_path, TYPED, **settings)) as service:
        office = Office(service, sandbox)
        sandbox.configure(Settings(limits=Limits(rate_per_s=20, burst=20, parallel=20)))
        for number in range(20):
            await service.accepted(pipedrive(number, f"evt-{number}", T0, email=email_of(number), job_title="CEO"))
        report = await office.work().run()
        assert report.contacts == PEOPLE
        await service.settled()
        assert [sandbox.answered(method, 429) for method in ("GET", "PATCH")] == [0, 0]
        assert sandbox.answered("PATCH", 200) == 20
