"""Reconciling: what differs is found, exactly and without a false alarm."""

import asyncio
from typing import Any

import pytest

from service.main import real_clock
from service.operations.reconcile import Difference, Report
from service.sandbox import Fault, FaultKind, Settings
from service.sandbox.settings import UNLIMITED, Switches
from tests.operations.conftest import KNOWN, PEOPLE, WHOLE
from tests.support.office import Office, numbers_of
from tests.support.sandbox import CUSTOMER, DATA_SOURCE, contact_uuid
from tests.support.wait import eventually
from tests.support.webhooks import pipedrive

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("order", ["newest_first", "oldest_first"])
async def test_every_page_is_read_in_whatever_order(office: Office, order: Any) -> None:  # noqa: ANN401  # one of two words
    office.sandbox.configure(Settings(limits=UNLIMITED, switches=Switches(list_order=order)))
    report = await office.reconciled()
    assert numbers_of(report) == WHOLE
    assert (report.differences, report.gone, report.cursor) == ([], [], None)
    assert len(office.sandbox.requests("GET")) == 3


@pytest.mark.parametrize("number", KNOWN)
async def test_what_somebody_edited_is_found_field_by_field(office: Office, number: int) -> None:
    await office.edited(number, title="Edited", notes="not ours to compare")
    report = await office.reconciled()
    assert numbers_of(report) == WHOLE | {"differing": 1}
    (event,) = [one for one in await office.service.events() if one["object_id"] == str(number)]
    (difference,) = report.differences
    assert difference.confirmed_at is not None
    assert difference == Difference(
        contact_uuid(number),
        "title",
        f"Title {number}",
        "Edited",
        event["id"],
        difference.confirmed_at,
        repairing=False,
    )
    assert "Edited" not in repr(difference), "values are shown, never logged"
    assert office.bodies() == [], "it was told, and nothing sent"


async def test_a_field_that_somebody_emptied_is_found(office: Office) -> None:
    await office.edited(200, title=None, first_name="")
    report = await office.reconciled()
    assert {(difference.name, difference.ours, difference.theirs) for difference in report.differences} == {
        ("title", "Title 200", None),
        ("first_name", "Ada", ""),
    }


async def test_a_custom_attribute_that_somebody_changed_is_found(office: Office) -> None:
    await office.told(200, "evt-more", score="3.5", seen="2026-03-01T15:02:11+01:00", newsletter="yes")
    other = {"Score": 4, "Newsletter": False, "Seen": "2026-03-01T15:02:11Z"}
    await office.edited(200, custom=[{"key": name, "value": value} for name, value in other.items()])
    report = await office.reconciled()
    assert {(difference.name, difference.ours, difference.theirs) for difference in report.differences} == {
        ("custom.Score", 3.5, 4),
        ("custom.Newsletter", True, False),
        ("custom.Seen", "2026-03-01T15:02:11+01:00", "2026-03-01T15:02:11Z"),
    }


async def test_another_way_to_write_a_value_is_no_difference(office: Office) -> None:
    """ChartMogul writes as it likes: 3 as text, an instant in UTC, true as a word."""
    await office.told(200, "evt-more", score="3", seen="2026-03-01T15:02:11+01:00", newsletter="yes", last_name="B")
    other = {"Score": "3.0", "Seen": "2026-03-01T14:02:11.000Z", "Newsletter": "true"}
    await office.edited(200, custom=[{"key": name, "value": value} for name, value in other.items()])
    assert office.sandbox.contact(contact_uuid(200))["custom"] == other
    assert numbers_of(await office.reconciled()) == WHOLE


async def test_an_attribute_that_chartmogul_ignores_is_no_difference(office: Office) -> None:
    """It was never there, and health says so already."""
    await office.told(200, "evt-more", favourite_colour="green", last_name="Okafor")
    assert "Favourite colour" not in office.sandbox.contact(contact_uuid(200))["custom"]
    assert numbers_of(await office.reconciled()) == WHOLE
    known = await office.service.store.contacts.known("default", contact_uuid(200))
    assert known.fields["custom.Favourite colour"].certain is False


async def test_contacts_that_were_merged_or_deleted_are_gone(office: Office) -> None:
    await office.asked("POST", f"/v1/contacts/{contact_uuid(1)}/merge/{contact_uuid(199)}")
    await office.asked("DELETE", f"/v1/contacts/{contact_uuid(251)}")
    report = await office.reconciled()
    assert sorted(report.gone) == [contact_uuid(199), contact_uuid(251)]
    assert (report.contacts, report.compared, report.differing) == (PEOPLE - 2, len(KNOWN) - 2, 0)


async def test_a_contact_that_changes_while_it_is_read_is_left_to_the_next_run(office: Office) -> None:
    """The page says what was before, the log what is since: to compare them would be a false alarm."""
    slow = Fault(kind=FaultKind.SLOW_BODY, method="GET", path="/v1/contacts", count=1, delay_s=1.0)
    office.sandbox.add_faults(slow)
    reading = asyncio.create_task(office.reconciled(repair=True))
    await eventually(lambda: bool(office.sandbox.requests("GET")))
    await office.told(449, "evt-meanwhile", job_title="Newer")  # on the first page, as it was made last
    report = await reading
    assert numbers_of(report) == WHOLE | {"compared": len(KNOWN) - 1, "changed_meanwhile": 1}
    assert numbers_of(await office.reconciled()) == WHOLE


async def test_a_contact_that_is_held_for_a_patch_is_left_to_the_next_run(office: Office) -> None:
    slow = Fault(kind=FaultKind.SLOW_BODY, method="PATCH", path="/v1/contacts", count=1, delay_s=1.0)
    office.sandbox.add_faults(slow)
    telling = asyncio.create_task(office.told(200, "evt-meanwhile", job_title="Newer"))
    await eventually(lambda: office.sandbox.contact(contact_uuid(200))["title"] == "Newer")
    report = await office.work(repair=True).run()
    assert numbers_of(report) == WHOLE | {"compared": len(KNOWN) - 1, "changed_meanwhile": 1}
    await telling


async def test_a_contact_that_is_made_while_the_list_is_read_is_not_gone(office: Office) -> None:
    """It stands before what was read already: that it was not seen means nothing."""
    making: list[asyncio.Task[None]] = []

    async def make() -> None:
        identity = {"customer_uuid": CUSTOMER, "data_source_uuid": DATA_SOURCE, "email": "new@made.example"}
        await office.asked("POST", "/v1/contacts", json=identity)
        await office.service.accepted(
            pipedrive(900, "evt-new", real_clock(), email="new@made.example", job_title="New")
        )
        await office.service.settled()

    def progress(report: Report) -> None:
        if report.pages == 1:
            slow = Fault(kind=FaultKind.SLOW_BODY, method="GET", path="/v1/contacts", count=1, delay_s=1.0)
            office.sandbox.add_faults(slow)
            making.append(asyncio.create_task(make()))

    report = await office.work(progress=progress).run()
    assert making[0].done()
    assert [one["state"] for one in await office.service.events() if one["object_id"] == "900"] == ["delivered"]
    assert report.gone == []
