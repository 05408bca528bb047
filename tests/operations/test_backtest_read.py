"""Changes that say little by themselves, or that the candidate reads otherwise: judged as far as they can be."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import ScalarSelect, select, update

from service.model import Action, Arrival, Change, InboundRequest, Json
from service.operations.backtest import Difference
from service.operations.backtest.sides import Fate
from service.schema import events, requests
from service.store import Store
from tests.support.backtest import (
    House,
    fates,
    found,
)
from tests.support.clock import Clock
from tests.support.log import arrival, by_hand, change

pytestmark = pytest.mark.anyio


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


HELPDESK = """\
sources:
  helpdesk:
    preset: generic
    auth: {verify: {scheme: token, token: "${HELPDESK_SECRET}", header: X-Token}}
    parse: {format: json, event_id: id, object_id: contact.id, occurred_at: at, values: contact}
    resolve: [link, {email: email}]
    mapping: {first_name: first_name, title: title}
"""


def ticket(number: int, body: bytes | None = None) -> Arrival:
    """A request of a helpdesk with one contact in it, as it was parsed by the configuration above."""
    document = (
        b'{"id": "t-%d", "at": "2026-03-02T09:00:00Z", "contact": {"id": 7, "first_name": "Amara"}, "team": "NW"}'
    )
    url = "https://hooks.northwind.example/webhooks/helpdesk"
    request = InboundRequest("POST", url, {"content-type": "application/json"}, body or document % number)
    logged = change(f"t-{number}", "7", object_type="contact", values={"id": 7, "first_name": "Amara"})
    return arrival(logged, at=Clock()(), source="helpdesk", request=request)


async def test_another_way_of_reading_is_tried_on_the_kept_requests(house: House) -> None:
    """``values`` moves to the whole document, so that the team can be mapped."""

    async def tickets(store: Store, clock: Clock) -> None:
        del clock
        for number in (1, 2, 3):
            await store.intake.append(ticket(number))
        await store.intake.append(ticket(4, b'{"id": "t-4"}'))
        await store.intake.append(ticket(5, b'{"id": "t-9", "contact": {"id": 7, "first_name": "Amara"}}'))
        await by_hand(store, update(requests).where(requests.c.id == _request_of(3)).values(raw=None))

    candidate = (
        HELPDESK.replace(", values: contact", "")
        .replace("title: title", "title: team")
        .replace("first_name: first_name", "first_name: contact.first_name")
    )
    await house.fill(tickets)
    report = await house.backtest(candidate, present=HELPDESK)
    tally = report.sources["helpdesk"]
    assert (tally.parsed_again, tally.request_gone, tally.events) == (True, 1, 5)
    assert found(report, "title", "helpdesk") == {"newly set": 2}
    assert fates(report, "helpdesk") == {("sent", "unreadable"): 1}
    (unread,) = tally.fates[Fate.SENT, Fate.UNREADABLE].tally.reasons
    assert unread.startswith("malformed: ")


def _request_of(event_id: int) -> ScalarSelect[int]:
    return select(events.c.request_id).where(events.c.id == event_id).scalar_subquery()


HUBSPOT = """\
sources:
  hubspot:
    preset: hubspot
    auth: {secret: "${HUBSPOT_SECRET}"}
    read_back: {token: "${HUBSPOT_SECRET}"}
    mapping: {first_name: firstname, title: jobtitle, phone: phone}
"""


def property_change(number: int, **values: Json) -> Change:
    """A property of a person, as HubSpot tells it, and not what else changed."""
    return change(f"hs-{number}", str(number), object_type="contact", values=values, thin=True)


async def test_fields_of_a_record_that_would_be_read_back_are_not_judged(house: House) -> None:
    """Neither what the event does not say, nor therefore whether there is anything to send in the end."""
    await house.log(property_change(1, jobtitle="CFO"), property_change(2, phone="1"), source="hubspot")
    candidate = HUBSPOT.replace("title: jobtitle", "title: {from: jobtitle, transform: [lower]}, twitter: handle")
    report = await house.backtest(candidate, present=HUBSPOT)
    tally = report.sources["hubspot"]
    assert (found(report, "title", "hubspot"), fates(report, "hubspot")) == ({"sent differently": 1}, {})
    assert (tally.would_read, tally.fields["title"].unjudged, tally.fields["twitter"].unjudged) == (2, 1, 2)
    filtered = HUBSPOT.replace("    mapping", "    when: {field: country, equals: GB}\n    mapping")
    hidden = (await house.backtest(filtered, present=HUBSPOT)).sources["hubspot"]
    assert (hidden.would_read, hidden.differ, fates(report, "hubspot")) == (2, 0, {})


async def test_a_change_that_says_all_that_is_needed_is_judged_also_where_records_are_read_back(house: House) -> None:
    whole = replace(property_change(1, firstname="Amara", jobtitle="CFO", phone="1"), thin=False)
    await house.log(whole, replace(property_change(2, jobtitle="CFO"), action=Action.DELETED), source="hubspot")
    report = await house.backtest(
        HUBSPOT.replace("title: jobtitle", "title: {const: CFO, on_error: skip}"), present=HUBSPOT
    )
    tally = report.sources["hubspot"]
    assert (tally.would_read, tally.fields["title"].same) == (0, 1)


async def test_changes_of_one_request_are_read_anew_together(house: House) -> None:
    """Each is found by its key, and what the candidate does not find any more is told."""
    batch = b'[{"id": "a", "contact": {"id": 7, "n": "A"}}, {"id": "b", "contact": {"id": 7, "n": "B"}}]'
    url = "https://hooks.northwind.example/webhooks/helpdesk"
    request = InboundRequest("POST", url, {"content-type": "application/json"}, batch)
    logged = [change(key, "7", object_type="contact", values={"first_name": key}) for key in ("a", "b", "c")]

    async def one_request(store: Store, clock: Clock) -> None:
        await store.intake.append(arrival(*logged, at=clock(), source="helpdesk", request=request))

    await house.fill(one_request)
    candidate = HELPDESK.replace(", occurred_at: at", "").replace("first_name: first_name", "first_name: n")
    report = await house.backtest(candidate, present=HELPDESK)
    examples = report.sources["helpdesk"].fields["first_name"].differences[Difference.DIFFERENT].examples
    assert [(example.old, example.new) for example in examples] == [("a", "A"), ("b", "B")]
    assert fates(report, "helpdesk") == {("sent", "unreadable"): 1}


async def test_without_read_back_a_thin_change_is_judged_as_it_is(house: House) -> None:
    await house.log(property_change(1, jobtitle="CFO"), source="hubspot")
    alone = HUBSPOT.replace('    read_back: {token: "${HUBSPOT_SECRET}"}\n', "")
    report = await house.backtest(alone.replace("title: jobtitle", "title: false"), present=alone)
    assert (fates(report, "hubspot"), report.sources["hubspot"].would_read) == ({("sent", "nothing to send"): 1}, 0)
