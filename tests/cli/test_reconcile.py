"""reconcile: what an operator is told, and how it ends, beside a running service."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from service.main import real_clock
from service.sandbox import Fault, FaultKind
from tests.cli.conftest import Verb, World, world_of
from tests.support.office import email_of
from tests.support.sandbox import contact_uuid, seed_of
from tests.support.verbs import process_verb
from tests.support.wait import until
from tests.support.webhooks import pipedrive

PEOPLE = 250
KNOWN = (0, 10, 249)
CLEAN = "250 contacts, 3 known and compared, 0 fields differ, 0 sent again, 0 gone, 0 changed meanwhile\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_of(tmp_path_factory.mktemp("reconcile"), seed=seed_of(PEOPLE)) as world:
        now = real_clock()
        world.tell(
            *(pipedrive(number, f"evt-{number}", now, email=email_of(number), job_title="CEO") for number in KNOWN)
        )
        world.sandbox.forget_requests()
        yield world


def call(world: World, method: str, number: int, **fields: object) -> None:
    """Let somebody else make a call about a contact."""
    url = f"{world.sandbox.base_url}/v1/contacts/{contact_uuid(number)}"
    httpx.request(method, url, json=fields, auth=("another-key", ""), trust_env=False).raise_for_status()


def test_where_nothing_differs_it_ends_with_0(world: World) -> None:
    told = world.verb("reconcile")
    assert (told.code, told.out, told.err) == (0, CLEAN, "")
    shown = world.verb("reconcile", "--json")
    assert shown.code == 0
    assert shown.json == {
        "pages": 2,
        "contacts": PEOPLE,
        "compared": 3,
        "changed_meanwhile": 0,
        "differing": 0,
        "repairing": 0,
        "differences": [],
        "gone": [],
        "cursor": None,
    }


def test_what_differs_is_shown_with_both_values_and_3(world: World) -> None:
    call(world, "PATCH", 10, title="Edited by hand")
    told = world.verb("reconcile")
    assert told.code == 3
    head, line, end = (line.rstrip() for line in told.out.splitlines())
    assert head.split("  ")[0] == "contact"
    for part in (contact_uuid(10), "title", "CEO", "Edited by hand"):
        assert part in line
    assert "is sent again" not in line
    assert end == CLEAN.replace("0 fields", "1 fields").rstrip()
    shown = world.verb("reconcile", "--json")
    assert shown.code == 3
    (difference,) = shown.json["differences"]
    assert (difference["uuid"], difference["name"]) == (contact_uuid(10), "title")
    assert (difference["ours"], difference["theirs"], difference["repairing"]) == ("CEO", "Edited by hand", False)


def test_values_are_shown_by_it_alone(world: World) -> None:
    call(world, "PATCH", 10, title="Edited in secret")
    assert "Edited in secret" in world.verb("reconcile").out
    told = [world.verb(*words).out for words in (["events"], ["deliveries", "--json"], ["audit"])]
    assert "Edited in secret" not in "".join(told) + world.process.log


def test_a_repair_is_sent_once_and_ends_with_0(world: World) -> None:
    call(world, "PATCH", 10, title="Edited")
    call(world, "PATCH", 249, title="Edited")
    world.sandbox.forget_requests()
    told = world.verb("reconcile", "--repair")
    assert told.code == 0, "nothing is left to do about it"
    assert told.out.count("is sent again") == 2
    assert "2 fields differ, 2 sent again" in told.out
    world.settle()
    assert world.bodies() == [{"title": "CEO"}] * 2
    assert world.verb("reconcile", "--repair").out == CLEAN
    world.settle()
    assert len(world.bodies()) == 2
    assert world.verb("audit").code == 0


def refusing() -> Fault:
    """Let lists be answered with 500, at once."""
    return Fault(kind=FaultKind.STATUS, status=500, method="GET", path="/v1/contacts", retry_after_s=0)


def test_a_run_that_was_broken_off_is_gone_on_with_as_it_tells(world: World) -> None:
    call(world, "PATCH", 0, title="Edited")  # on the second page
    slow = Fault(kind=FaultKind.SLOW_BODY, method="GET", path="/v1/contacts", count=1, delay_s=1.0)
    world.sandbox.forget_requests()
    world.sandbox.add_faults(slow)
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(
            process_verb, "reconcile", environ=world.process.environ, directory=world.process.directory
        )
        until(lambda: bool(world.sandbox.requests("GET")))
        world.sandbox.add_faults(refusing())
        told = running.result()
    world.sandbox.clear_faults()
    assert (told.code, told.out) == (1, "")
    broken, cause, hint = told.err.splitlines()
    assert broken.startswith("broken off after 200 contacts: go on with --cursor ")
    assert cause.startswith("error: ChartMogul does not list its contacts: server_error (500)")
    assert hint == "  hint: go on later, with --cursor as it was told"
    rest = world.verb("reconcile", "--cursor", broken.rpartition(" ")[2], "--repair", "--json")
    assert rest.code == 0
    assert (rest.json["pages"], rest.json["contacts"]) == (1, PEOPLE - 200)
    assert [difference["uuid"] for difference in rest.json["differences"]] == [contact_uuid(0)]
    world.settle()


def test_a_run_that_never_began_is_begun_again(world: World) -> None:
    world.sandbox.add_faults(refusing())
    told = world.verb("reconcile")
    world.sandbox.clear_faults()
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith("broken off after 0 contacts: begin again\n")


def test_contacts_that_are_gone_are_named_with_3(world: World) -> None:
    call(world, "DELETE", 249)
    told = world.verb("reconcile", "--repair")
    assert told.code == 3
    gone = f"{contact_uuid(249)} is gone: merged or deleted in ChartMogul; its next change finds it anew\n"
    assert gone in told.out


def test_an_account_that_is_not_there_is_told_with_those_that_are(here: Verb) -> None:
    told = here("reconcile", "--account", "nobodys")
    assert (told.code, told.out) == (2, "")
    assert "known are default" in told.err


def test_it_needs_the_key_that_the_service_needs(here: Verb) -> None:
    told = here("reconcile", CHARTMOGUL_API_KEY="")
    assert told.code == 2
    assert "CHARTMOGUL_API_KEY" in told.err
