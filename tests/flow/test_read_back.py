"""Thin event in, record read back, PATCH out: each CRM that can be asked, on real HTTP; and whatever may go wrong."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, Final

import pytest

from service.main import real_clock
from service.model import OutcomeKind
from service.readback import READERS
from tests.flow.steps import Started, books_close, last_delivery, later, patched, states
from tests.readback.held import EMAIL, HELD, NAME, Held
from tests.support.apis.server import Served, serving
from tests.support.crm import Crm
from tests.support.crms import CRMS
from tests.support.sandbox import RunningSandbox
from tests.support.service import Running, Shifted
from tests.support.wait import eventually
from tests.support.webhooks import GRACE, GRACE_UUID, PUBLIC_URL, Webhook, hubspot_event

pytestmark = pytest.mark.anyio


@dataclass(frozen=True, slots=True)
class Thin:
    """How one CRM tells too little: what its event becomes without the rest, and where the record has the rest."""

    first_name: str
    email: str
    thinned: Callable[[dict[str, Any]], None] = lambda _document: None


def _merged(document: dict[str, Any]) -> None:
    """Intercom's notifications are whole, but those of merges need not be."""
    document["topic"] = "contact.merged"
    document["data"]["item"] = {"type": "contact", "id": document["data"]["item"]["id"], "role": "user"}


THIN: Final = {
    "attio": Thin("name[0].first_name", "email_addresses[0].email_address"),
    "dataverse": Thin("firstname", "emailaddress1"),
    "hubspot": Thin("firstname", "email"),
    "intercom": Thin("name", "email", _merged),
    "zoho": Thin("First_Name", "Email"),
}
every = pytest.mark.parametrize("preset", sorted(READERS))


def test_every_reader_is_under_these_tests() -> None:
    assert THIN.keys() == READERS.keys()


@dataclass(frozen=True, slots=True)
class Told:
    """A CRM that tells of one of its contacts, and its API."""

    crm: Crm
    held: Held
    served: Served
    thin: Thin

    def configuration(self, **more: Any) -> str:  # noqa: ANN401  # whatever a source may say
        """A source that needs the first name and, to find the contact, the email."""
        source = {
            "preset": self.crm.preset,
            "auth": self.crm.auth([self.crm.secrets[0]]),
            "read_back": {**self.served.api.credentials, "base_url": self.served.base_url},
            "settle": 0,
            "resolve": ["link", {"email": self.thin.email}],
            "preset_mapping": False,
            "mapping": {"first_name": self.thin.first_name},
            **({"parse": dict(self.crm.parse)} if self.crm.parse else {}),
            **more,
        }
        return json.dumps({"sources": {"crm": source}})

    def event(self) -> Webhook:
        """Tell that something about the contact changed, and little more."""
        document = json.loads(self.crm.body)
        self.thin.thinned(document)
        body = json.dumps(document).replace("991", self.held.first)
        request = self.crm.request(self.crm.secrets[0], at=real_clock(), body=body.encode())
        return Webhook(request.url.removeprefix(PUBLIC_URL), dict(request.headers), request.body)

    def holds(self) -> None:
        """Let the CRM hold the contact, whom ChartMogul knows as Grace."""
        record = json.dumps(self.held.record(self.held.first)).replace(EMAIL, GRACE)
        self.served.api.records[self.held.first] = json.loads(record)


@pytest.fixture
def told(preset: str) -> Iterator[Told]:
    crm = next(crm for crm in CRMS if crm.preset == preset)
    api = import_module(f"tests.support.apis.{preset}").Api()
    with serving(api) as served:
        yield Told(crm, HELD[preset], served, THIN[preset])


async def outcome(service: Running) -> tuple[str, str]:
    """What came of the last try, and where its delivery stands."""
    delivery = await last_delivery(service)
    return delivery["outcome"], delivery["state"]


async def warnings(service: Running) -> list[str]:
    return [reason["cause"] for reason in (await service.health())["reasons"]]


@every
async def test_a_thin_event_is_read_back_and_sent(told: Told, start: Started, sandbox: RunningSandbox) -> None:
    told.holds()
    async with start(told.configuration()) as service:
        await service.accepted(told.event())
        await service.settled()
        assert patched(sandbox) == [{"first_name": NAME}]
        assert sandbox.contact(GRACE_UUID)["first_name"] == NAME
        assert await states(service) == ["delivered"]
        assert await books_close(service)
        await service.accepted(told.event())
        assert await states(service) == ["delivered"], "a repetition"


@every
async def test_a_record_that_is_gone_ends_as_ignored(
    told: Told, start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    """It is asked for again for a while, since what is new may not be there yet."""
    async with start(told.configuration()) as service:
        await service.accepted(told.event())
        await eventually(lambda: bool(told.served.calls))
        await service.until(lambda backlog: backlog.leased == 0)
        assert await states(service) == ["pending"]
        later(service, shifted)
        await service.settled()
        (event,) = await service.events()
        assert (event["state"], event["reason"]) == ("ignored", "gone: the CRM has no such record any more")
        assert sandbox.requests() == []
        assert await books_close(service)


@every
async def test_credentials_that_the_crm_refuses_are_seen_and_nothing_is_burnt(told: Told, start: Started) -> None:
    told.holds()
    wrong = {name: "wrong" for name in told.served.api.credentials if name in {"token", "client_secret"}}
    refused = {**told.served.api.credentials, **wrong, "base_url": told.served.base_url}
    async with start(told.configuration(read_back=refused)) as service:
        await service.accepted(told.event())
        await service.tried(1)
        kind, state = await outcome(service)
        assert (kind, state) == (OutcomeKind.CRM_REFUSED, "pending")
        assert any("records of source crm cannot be read back: crm_refused" in one for one in await warnings(service))
        assert await states(service) == ["pending"]


@every
@pytest.mark.parametrize("trouble", ["429", "silence", "503"])
async def test_a_crm_that_limits_us_or_does_not_answer_is_asked_again(
    told: Told, start: Started, sandbox: RunningSandbox, shifted: Shifted, trouble: str
) -> None:
    told.holds()
    expected = OutcomeKind.CRM_RATE_LIMITED if trouble == "429" else OutcomeKind.CRM_UNREACHABLE
    match trouble:
        case "429":
            told.served.refuse(429, headers={"retry-after": "20"}, document={"message": "slow down"})
        case "503":
            told.served.refuse(503, document={"message": "maintenance"})
        case _:
            told.served.hang()
    async with start(told.configuration(), CONNECT_TIMEOUT_S="0.5", READ_TIMEOUT_S="0.5") as service:
        await service.accepted(told.event())
        await service.tried(1)
        assert await outcome(service) == (expected, "pending")
        assert await warnings(service) != []
        later(service, shifted)
        await service.settled()
        assert patched(sandbox) == [{"first_name": NAME}]
        assert (await service.health())["status"] == "ok"
        assert await books_close(service)


HUBSPOT = pytest.mark.parametrize("preset", ["hubspot"])


def edited(record: int | str, name: str, value: str, *, at: int = 0, number: int = 1) -> dict[str, Any]:
    return hubspot_event(int(record), name, value, EDITED + timedelta(seconds=at), number=number)


def sent(told: Told, *events: dict[str, Any]) -> Webhook:
    body = json.dumps(list(events)).encode()
    request = told.crm.request(told.crm.secrets[0], at=real_clock(), body=body)
    return Webhook(request.url.removeprefix(PUBLIC_URL), dict(request.headers), request.body)


def reads(told: Told) -> list[list[str]]:
    """The ids that each call asked for."""
    return [[one["id"] for one in json.loads(call.body)["inputs"]] for call in told.served.calls]


EDITED = datetime(2026, 3, 2, 9, 29, 58, 120_000, tzinfo=UTC)
"""When the records of these tests were changed last."""


@HUBSPOT
async def test_what_needs_no_record_reads_none(told: Told, start: Started, sandbox: RunningSandbox) -> None:
    told.holds()
    async with start(told.configuration()) as service:
        await service.accepted(told.event())
        await service.settled()
        assert len(told.served.calls) == 1
        await service.accepted(sent(told, edited(told.held.first, "firstname", "Adaeze", at=9, number=2)))
        await service.settled()
        assert len(told.served.calls) == 1, "the link is known, and the event has all that is mapped"
        assert sandbox.contact(GRACE_UUID)["first_name"] == "Adaeze"


@HUBSPOT
async def test_many_records_share_a_call(told: Told, start: Started) -> None:
    ids = [str(int(told.held.first) + number) for number in range(20)]
    for one in ids:
        told.served.api.records[one] = told.held.record(one)
    async with start(told.configuration(on_unknown="skip")) as service:
        await service.accepted(sent(told, *(edited(one, "firstname", NAME) for one in ids)))
        await service.settled()
        assert sorted(one for call in reads(told) for one in call) == ids
        assert len(told.served.calls) < 10


@HUBSPOT
async def test_an_answer_that_lags_behind_a_webhook_does_not_win(
    told: Told, start: Started, sandbox: RunningSandbox
) -> None:
    told.holds()
    mapping = {"first_name": "firstname", "title": "jobtitle"}
    async with start(told.configuration(mapping=mapping)) as service:
        await service.accepted(sent(told, edited(told.held.first, "firstname", "Adaeze", at=60)))
        await service.settled()
        assert sandbox.contact(GRACE_UUID)["first_name"] == "Adaeze"
        earlier = edited(told.held.first, "jobtitle", "CFO", at=30, number=2)
        await service.accepted(sent(told, earlier))
        await service.settled()
        assert sandbox.contact(GRACE_UUID)["title"] == "CFO", "what was read was older than both"
        assert await books_close(service)


def plain(told: Told, kind: str, at: datetime) -> Webhook:
    """Tell that something happened to the contact, and no value."""
    event = hubspot_event(int(told.held.first), "", "", at) | {"subscriptionType": f"contact.{kind}"}
    return sent(told, {name: value for name, value in event.items() if not name.startswith("property")})


@HUBSPOT
async def test_a_record_that_the_crm_does_not_show_yet_is_read_again_soon(
    told: Told, start: Started, sandbox: RunningSandbox, shifted: Shifted
) -> None:
    """It told of it a moment ago: what is not there yet is not gone, and what is old will not stay so."""
    async with start(told.configuration()) as service:
        await service.accepted(plain(told, "creation", shifted()))
        await eventually(lambda: len(told.served.calls) == 1)
        told.holds()
        later(service, shifted, 5)
        await eventually(lambda: len(told.served.calls) == 2)
        record = dict(told.served.api.records[told.held.first])
        told.served.api.records[told.held.first] = record | {"updatedAt": shifted().isoformat()}
        later(service, shifted, 5)
        await service.settled()
        assert patched(sandbox) == [{"first_name": NAME}]
        assert len(told.served.calls) == 3
        assert await books_close(service)


@HUBSPOT
async def test_the_survivor_of_a_merge_is_read_back(told: Told, start: Started, sandbox: RunningSandbox) -> None:
    told.holds()
    merge = edited(told.held.first, "", "") | {
        "subscriptionType": "contact.merge",
        "primaryObjectId": int(told.held.first),
        "mergedObjectIds": [int(told.held.second)],
    }
    async with start(told.configuration()) as service:
        await service.accepted(sent(told, {name: merge[name] for name in merge if not name.startswith("property")}))
        await service.settled()
        assert patched(sandbox) == [{"first_name": NAME}]
        assert (await service.store.ledger.story(told.held.first)).links[0]["contact_uuid"] == GRACE_UUID


@HUBSPOT
async def test_a_stop_waits_for_no_crm(told: Told, start: Started) -> None:
    """Reading changes nothing there, so that it can be broken off."""
    told.holds()
    told.served.hang()
    async with start(told.configuration(), READ_TIMEOUT_S="1") as service:
        await service.accepted(told.event())
        await eventually(lambda: bool(told.served.calls))
        await service.service.worker.stop()
        (state,) = await states(service)
        assert state == "pending"
