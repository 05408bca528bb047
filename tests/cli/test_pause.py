"""pause and resume: webhooks are taken all the while, and what waited goes out after."""

from collections.abc import Iterator

import pytest

from service.main import real_clock
from service.sandbox import Fault, FaultKind
from tests.cli.conftest import Verb, World, world_of
from tests.support.office import email_of
from tests.support.sandbox import contact_uuid, seed_of
from tests.support.wait import until
from tests.support.webhooks import Webhook, pipedrive

LONG_ENOUGH_S = 1.5
"""Longer than the worker looks away."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_of(tmp_path_factory.mktemp("pause"), seed=seed_of(20)) as world:
        yield world


@pytest.fixture(autouse=True)
def _fresh(world: World) -> Iterator[None]:
    world.sandbox.forget_requests()
    yield
    world.verb("resume")
    world.settle()


def told(number: int, event: str, title: str) -> Webhook:
    return pipedrive(number, event, real_clock(), email=email_of(number), job_title=title)


def test_a_paused_account_takes_webhooks_and_delivers_them_after(world: World) -> None:
    paused = world.verb("pause", "--reason", "migrating the CRM")
    assert (paused.code, paused.out) == (0, "account default is paused\n")
    assert world.send(told(1, "a", "First")) == 200
    assert world.send(told(1, "b", "Second")) == 200
    assert world.send(told(2, "c", "Other")) == 200
    until(lambda: world.health()["oldest_pending_age_s"] > LONG_ENOUGH_S)
    health = world.health()
    assert health["status"] == "warn", "a person did it, and nothing is lost"
    reason = {
        "status": "warn",
        "cause": "account default is paused: migrating the CRM",
        "hint": "`resume` lets it go on",
    }
    assert reason in health["reasons"]
    assert health["accounts"]["default"]["state"] == "paused"
    assert health["accounts"]["default"]["reason"] == "migrating the CRM"
    assert health["backlog"] == {"pending": 2, "leased": 0}
    assert world.sandbox.requests() == []
    resumed = world.verb("resume")
    assert (resumed.code, resumed.out) == (0, "account default goes on\n")
    world.settle()
    assert [world.sandbox.contact(contact_uuid(number))["title"] for number in (1, 2)] == ["Second", "Other"]
    assert len(world.bodies()) == 2, "what came meanwhile of one contact went out together"
    assert world.health()["status"] == "ok"
    assert world.verb("audit").code == 0


def test_a_call_under_way_ends(world: World) -> None:
    slow = Fault(kind=FaultKind.SLOW_BODY, method="PATCH", path="/v1/contacts", count=1, delay_s=1.0)
    world.sandbox.add_faults(slow)
    assert world.send(told(3, "d", "Under way")) == 200
    until(lambda: bool(world.sandbox.requests("PATCH")))
    assert world.verb("pause").code == 0
    world.settle()
    (event,) = world.verb("events", "--id", "3", "--json").json
    assert event["state"] == "delivered"


def test_a_pause_outlives_the_service(world: World) -> None:
    """Who paused it comes back to it, whatever was restarted meanwhile."""
    assert world.verb("pause").code == 0
    assert world.send(told(4, "e", "Later")) == 200
    world.process.kill()
    world.process.start()
    until(lambda: world.health()["oldest_pending_age_s"] > LONG_ENOUGH_S)
    assert world.sandbox.requests() == []
    assert world.verb("resume").code == 0
    world.settle()
    assert world.sandbox.contact(contact_uuid(4))["title"] == "Later"


def test_both_say_so_as_json_too_and_may_be_said_twice(world: World) -> None:
    for _ in range(2):
        ended = world.verb("pause", "--json")
        assert (ended.code, ended.json) == (0, {"account": "default", "state": "paused"})
    for _ in range(2):
        ended = world.verb("resume", "--json")
        assert (ended.code, ended.json) == (0, {"account": "default", "state": "ok"})


@pytest.mark.parametrize("word", ["pause", "resume"])
def test_an_account_that_is_not_there_is_named(world: World, here: Verb, word: str) -> None:
    ended = world.verb(word, "--account", "acme")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "not_found: no account 'acme' is known\n  hint: known are: default\n"
    never = here(word)
    assert never.code == 1
    assert "none yet, start the service" in never.err
