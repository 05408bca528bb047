"""erase: of a person nothing is left to read, whether the service runs or not, and the order of things outlives it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from service.main import real_clock
from service.sandbox import Fault, FaultKind
from service.store.erase import REASON
from tests.cli.conftest import World, world_of
from tests.support.office import email_of
from tests.support.sandbox import contact_uuid, seed_of
from tests.support.wait import until
from tests.support.webhooks import hubspot, hubspot_event, pipedrive

CANARY = "canary-7b1e"
NOW = real_clock()
READING = (
    ["events", "--limit", "1000"],
    ["deliveries", "--limit", "1000"],
    ["dead-letters", "--limit", "1000"],
    ["refusals"],
    ["audit"],
    ["reconcile"],
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_of(tmp_path_factory.mktemp("erase"), seed=seed_of(20)) as world:
        yield world


def holding(world: World) -> set[str]:
    """The files of the service that hold the canary, and the verbs that show it."""
    files = [*(world.process.directory / "data").iterdir(), world.process.directory / "serve.log"]
    found = {path.name for path in files if CANARY.encode() in path.read_bytes().lower()}
    for words in READING:
        for form in ([], ["--json"]):
            if CANARY in world.verb(*words, *form).out.lower():
                found.add(words[0])
    return found


def telling(world: World, number: int) -> set[str]:
    """The ways to name a person in which `explain` tells the canary."""
    names = (str(number), contact_uuid(number), email_of(number))
    return {name for name in names if CANARY in world.verb("explain", name, "--json").out.lower()}


def tell_much(world: World, number: int) -> None:
    """Let the CRM tell of one person all that ends in different ways, the canary in each payload."""
    email, bad = email_of(number), [{"value": CANARY, "primary": True}]
    world.tell(
        pipedrive(number, f"{number}-1", NOW, email=email, job_title=CANARY, last_name=CANARY.title()),
        pipedrive(number, f"{number}-2", NOW - timedelta(days=1), email=email, job_title=f"{CANARY} before"),
        pipedrive(number, f"{number}-3", NOW, email=email, job_title=CANARY),
        pipedrive(number, f"{number}-4", NOW, email=email, phones=bad),
    )
    assert world.verb("pause").code == 0
    assert world.send(pipedrive(number, f"{number}-5", NOW, email=email, first_name=CANARY)) == 200


def ends_of(world: World, number: int) -> dict[str, tuple[str, str | None]]:
    """How each change of a person ended, and why."""
    lines = world.verb("events", "--id", str(number), "--json").json
    return {line["crm_event_id"]: (line["state"], line["reason"]) for line in lines}


@pytest.mark.parametrize("named", ["id", "uuid", "email"])
def test_nothing_of_a_person_is_left_while_the_service_runs(world: World, named: str) -> None:
    number = {"id": 1, "uuid": 2, "email": 3}[named]
    tell_much(world, number)
    assert {path for path in holding(world) if path.endswith((".db", "-wal"))}
    assert telling(world, number) == {str(number), contact_uuid(number), email_of(number)}
    before = ends_of(world, number)
    name = {"id": str(number), "uuid": contact_uuid(number), "email": email_of(number)}[named]
    told = world.verb("erase", name, "--source", "pipedrive")
    assert (told.code, told.out) == (0, "erased: 5 changes, 5 requests, the values of 1 contacts\n")
    assert holding(world) == set()
    assert telling(world, number) == set()
    after = ends_of(world, number)
    assert {key: end[0] for key, end in before.items()} == {
        f"{number}-1": "delivered",
        f"{number}-2": "merged",
        f"{number}-3": "unchanged",
        f"{number}-4": "dead",
        f"{number}-5": "pending",
    }
    ignored = ("ignored", REASON)
    assert after == before | {f"{number}-4": ignored, f"{number}-5": ignored}
    assert world.verb("dead-letters").out == "none\n"
    assert world.verb("audit").code == 0
    world.sandbox.forget_requests()
    assert world.verb("resume").code == 0
    world.tell(pipedrive(19, f"after-{number}", NOW, email=email_of(19), job_title=f"Title {number}"))
    assert world.bodies() == [{"title": f"Title {number}"}], "what waited of them was not sent"


def test_order_outlives_the_person(world: World) -> None:
    """An older change that comes late loses as before, and a newer one is sent whatever it says."""
    number = 4
    world.tell(pipedrive(number, "4-1", NOW, email=email_of(number), job_title="Held"))
    assert world.verb("erase", str(number), "--json").json == {
        "events": 1,
        "requests": 1,
        "contacts": 1,
        "busy": 0,
        "scrubbed": True,
    }
    world.sandbox.forget_requests()
    world.tell(pipedrive(number, "4-0", NOW - timedelta(hours=1), email=email_of(number), job_title="Older"))
    assert world.bodies() == []
    assert ends_of(world, number)["4-0"][0] == "merged"
    world.tell(pipedrive(number, "4-2", NOW + timedelta(seconds=1), email=email_of(number), job_title="Held"))
    assert world.bodies() == [{"title": "Held"}]
    assert world.verb("audit").code == 0


def test_a_delivery_of_theirs_is_waited_for(world: World) -> None:
    number = 5
    slow = Fault(kind=FaultKind.SLOW_BODY, method="PATCH", path="/v1/contacts", count=1, delay_s=2.0)
    world.sandbox.add_faults(slow)
    world.sandbox.forget_requests()
    assert world.send(pipedrive(number, "5-1", NOW, email=email_of(number), job_title=CANARY)) == 200
    until(lambda: bool(world.sandbox.requests("PATCH")))
    told = world.verb("erase", str(number), "--wait-s", "0")
    assert (told.code, told.out) == (1, "nothing was erased: a delivery of theirs is under way; try again\n")
    assert world.verb("erase", str(number), "--json").json["events"] == 1
    assert holding(world) == set()
    assert ends_of(world, number) == {"5-1": ("delivered", None)}


def test_what_others_said_in_the_same_request_is_delivered(world: World) -> None:
    """HubSpot tells of a hundred people at once."""
    assert world.verb("pause").code == 0
    events = [
        hubspot_event(206, "email", email_of(6), NOW),
        hubspot_event(206, "jobtitle", CANARY, NOW, number=2),
        hubspot_event(207, "email", email_of(7), NOW, number=3),
        hubspot_event(207, "jobtitle", "Still told", NOW, number=4),
    ]
    assert world.send(hubspot(events, real_clock())) == 200
    assert world.verb("erase", "206").out == "erased: 2 changes, 1 requests, the values of 0 contacts\n"
    assert holding(world) == set()
    world.sandbox.forget_requests()
    assert world.verb("resume").code == 0
    world.settle()
    assert world.bodies() == [{"title": "Still told"}]
    assert world.sandbox.contact(contact_uuid(7))["title"] == "Still told"


def test_nobody_and_two_of_one_id_are_said_so(world: World) -> None:
    told = world.verb("erase", "nobody@northwind.example")
    assert (told.code, told.out) == (1, "")
    hint = "give a CRM record's id, a con_ uuid or an email"
    assert told.err == f"not_found: nobody of that name is in the log\n  hint: {hint}\n"
    world.tell(
        pipedrive(308, "8-1", NOW, email=email_of(8), job_title="One"),
        hubspot([hubspot_event(308, "email", email_of(9), NOW, number=9)], real_clock()),
    )
    told = world.verb("erase", "308")
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith("error: several people have that id: hubspot, pipedrive\n")
    assert world.verb("erase", "308", "--source", "hubspot").code == 0
    assert "One" in world.verb("explain", email_of(8)).out


def test_nothing_of_a_person_is_left_where_no_service_runs(tmp_path: Path) -> None:
    with world_of(tmp_path, seed=seed_of(3)) as world:
        tell_much(world, 1)
        assert world.process.terminate() == 0
        assert "crm-to-chartmogul.db" in holding(world), "closed, all stands in the file itself"
        assert world.verb("erase", email_of(1)).code == 0
        assert holding(world) == set()
        assert telling(world, 1) == set()
        assert world.verb("audit").code == 0
