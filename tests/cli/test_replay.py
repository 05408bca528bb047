"""replay: which changes are tried again, what each way to say so means, and how it ends."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import update

from service.main import real_clock
from service.model import Change, EventState, Next, OutcomeKind, Verdict
from service.schema import events
from service.store import Store
from service.store.replay import BATCH
from tests.support.clock import Clock
from tests.support.log import by_hand, change, claim, claim_one, conclusion, ends, finish, pending_ids, receive
from tests.support.service import environment
from tests.support.verbs import Ended, verb

T = TypeVar("T")

NOW = real_clock()
LETTERS = {"old": 1, "new": 2, "hub": 3}
"""Delivery ids of the dead letters, by the key of the one change in each."""


@dataclass(frozen=True, slots=True)
class History:
    """A log where no service runs, so that what a replay set going stays where it was put."""

    directory: Path

    def verb(self, *words: str) -> Ended:
        """Run a verb on it."""
        return verb(*words, environ=environment(self.directory), directory=self.directory)

    def states(self) -> dict[str, str]:
        """The state of every change, by its key."""
        return {line["dedup_key"]: line["state"] for line in self.verb("events", "--json", "--limit", "1000").json}

    def pending(self) -> set[str]:
        """The keys of what is owed again."""
        return {key for key, state in self.states().items() if state == "pending"}

    def letters(self) -> set[int]:
        """The ids of the dead letters."""
        return {line["id"] for line in self.verb("dead-letters", "--json").json}

    def store(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """Do something with its store."""

        async def run() -> T:
            (self.directory / "data").mkdir(exist_ok=True)
            store = Store(f"sqlite:///{self.directory / 'data' / 'crm-to-chartmogul.db'}")
            try:
                await store.migrate()
                await store.accounts.ensure(["default"], now=NOW)
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(run())


async def buried(
    store: Store,
    at: datetime,
    *changes: Change,
    source: str = "pipedrive",
    kind: OutcomeKind = OutcomeKind.REJECTED,
) -> int:
    """Let changes of one record end as a dead letter, and return its id."""
    clock = Clock(at)
    await receive(store, clock, *changes, source=source)
    delivery = await claim_one(store, clock)
    dead = ends(*await pending_ids(store, delivery), state=EventState.DEAD, reason=kind.value)
    refused = conclusion(clock, dead, kind=kind, verdict=Verdict(Next.DEAD, kind.value))
    assert await store.deliveries.record(delivery, refused, now=at)
    return delivery.id


async def written(store: Store) -> None:
    """Three dead letters and a change that was delivered."""
    before = NOW - timedelta(hours=50)
    lately = NOW - timedelta(hours=10)
    assert await buried(store, before, change("old", "101")) == LETTERS["old"]
    assert await buried(store, lately, change("new", "102"), kind=OutcomeKind.CONTACT_UNKNOWN) == LETTERS["new"]
    assert await buried(store, lately, change("hub", "201"), source="hubspot") == LETTERS["hub"]
    clock = Clock(lately)
    await receive(store, clock, change("done", "103"))
    assert await finish(store, clock, await claim_one(store, clock))


@pytest.fixture
def history(tmp_path: Path) -> History:
    history = History(tmp_path)
    history.store(written)
    return history


DAY_AGO = (NOW - timedelta(hours=24)).isoformat()
WAYS: dict[str, tuple[list[str], set[str]]] = {
    "a letter": (["1"], {"old"}),
    "two letters": (["1", "3"], {"old", "hub"}),
    "a letter that another condition leaves out": (["1", "--source", "hubspot"], set()),
    "all letters": (["--all"], {"old", "new", "hub"}),
    "a change by its id, however it ended": (["--event", "4"], {"done"}),
    "several changes": (["--event", "4", "--event", "1"], {"done", "old"}),
    "a source": (["--source", "pipedrive"], {"old", "new"}),
    "a record": (["--id", "102"], {"new"}),
    "a record of another source": (["--id", "102", "--source", "hubspot"], set()),
    "a cause": (["--cause", "rejected"], {"old", "hub"}),
    "since so long ago": (["--since", "36h"], {"new", "hub"}),
    "since an instant": (["--since", DAY_AGO], {"new", "hub"}),
    "until so long ago": (["--until", "36h"], {"old"}),
    "until an instant": (["--until", DAY_AGO], {"old"}),
    "between": (["--since", "3d", "--until", DAY_AGO], {"old"}),
    "between nothing": (["--since", "30h", "--until", "20h"], set()),
    "whatever ended of a source": (["--ended", "--source", "pipedrive"], {"old", "new", "done"}),
    "whatever ended": (["--ended", "--all"], {"old", "new", "hub", "done"}),
    "what comes after another": (["--all", "--after", "2"], {"hub"}),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_say_which_means_exactly_those(history: History, way: str) -> None:
    words, expected = WAYS[way]
    done = history.verb("replay", *words, "--json")
    assert done.code == 0, done.err
    assert done.json | {"last_id": 0} == {
        "events": len(expected),
        "contacts": len(expected),
        "unreadable": 0,
        "last_id": 0,
    }
    assert history.pending() == expected
    assert history.letters() == {LETTERS[key] for key in LETTERS.keys() - expected}, "an emptied letter is put away"
    assert history.verb("audit").code == 0


@pytest.mark.parametrize("way", [way for way in WAYS if "after" not in way])
def test_a_dry_run_counts_the_same_and_changes_nothing(history: History, way: str) -> None:
    words, expected = WAYS[way]
    before = history.states()
    counted = history.verb("replay", *words, "--dry-run", "--json")
    assert (counted.code, counted.json) == (0, {"changes": len(expected)})
    told = history.verb("replay", *words, "--dry-run")
    assert (told.code, told.out) == (0, f"{len(expected)} changes would be tried again\n")
    assert history.states() == before


def test_what_is_tried_again_waits_behind_what_crms_send(history: History) -> None:
    assert history.verb("replay", "--all").out == "3 changes of 3 contacts are pending again\n"
    opened = history.verb("deliveries", "--state", "pending", "--json").json
    assert [line["priority"] for line in opened] == [1, 1, 1]


WRONG = {
    "nothing said": [],
    "not even of what": ["--ended"],
    "a start alone": ["--after", "7"],
    "no id": ["first"],
    "no cause": ["--cause", "tired"],
    "no time": ["--since", "yesterday"],
    "no time to end at": ["--all", "--until", "36x"],
    "longer ago than there is time": ["--since", "999999w"],
}


@pytest.mark.parametrize("way", WRONG)
def test_what_says_nothing_ends_with_2_and_changes_nothing(history: History, way: str) -> None:
    before = history.states()
    ended = history.verb("replay", *WRONG[way])
    assert (ended.code, ended.out) == (2, "")
    assert "Traceback" not in ended.err
    assert history.states() == before


@pytest.mark.parametrize("letter", ["4", "99"])
def test_what_is_no_dead_letter_is_said_so_with_what_to_do(history: History, letter: str) -> None:
    """One wrong id stops all: a typing error must not set half of the others going."""
    ended = history.verb("replay", "1", letter)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        f"not_found: delivery {letter} is not a dead letter\n  hint: see `dead-letters` for those that are\n"
    )
    assert history.pending() == set()


def test_what_was_tried_again_is_no_letter_any_more(history: History) -> None:
    assert history.verb("replay", "1").code == 0
    assert history.verb("replay", "1").code == 1
    assert history.verb("replay", "--all", "--json").json["events"] == 2


def test_changes_without_a_payload_stay_and_end_with_3(history: History) -> None:
    """They cannot be mapped again: to call them pending would lose the word of how they ended."""
    history.store(lambda store: by_hand(store, update(events).where(events.c.dedup_key == "old").values(change=None)))
    told = history.verb("replay", "--all")
    assert told.code == 3
    assert told.out == "2 changes of 2 contacts are pending again; 1 have no payload any more\n"
    assert history.states()["old"] == "dead"
    assert history.letters() == {LETTERS["old"]}
    again = history.verb("replay", "--all", "--json")
    assert (again.code, again.json["unreadable"]) == (3, 1)


def test_letters_of_more_than_a_batch_are_tried_again_whole(history: History) -> None:
    """The first batch empties a letter that the second still names."""

    async def many(store: Store) -> tuple[int, int]:
        small = await buried(store, NOW, change("small", "300"))
        big = await buried(store, NOW, *(change(f"big-{number}", "301") for number in range(BATCH)))
        return small, big

    letters = history.store(many)
    done = history.verb("replay", *map(str, letters), "--json")
    assert done.code == 0, done.err
    assert (done.json["events"], done.json["contacts"]) == (BATCH + 1, 3)
    assert history.letters() == set(LETTERS.values())


def test_a_mapping_of_before_is_asked_for_change_by_change(history: History) -> None:
    """Which configuration will map a change is written beside it: then, another version, or the present one."""

    def asked(store: Store) -> Awaitable[list[dict[str, Any]]]:
        return store.ledger.events()

    used = update(events).values(config_version="aaaaaaaaaaaa")
    history.store(lambda store: by_hand(store, used))
    history.verb("replay", "1", "--mapping", "then")
    history.verb("replay", "2", "--mapping", "bbbbbbbbbbbb")
    history.verb("replay", "3")
    versions = {line["dedup_key"]: line["replay_version"] for line in history.store(asked)}
    assert versions == {"old": "aaaaaaaaaaaa", "new": "bbbbbbbbbbbb", "hub": None, "done": None}


def test_one_contact_has_one_delivery_whatever_is_tried_again(history: History) -> None:
    async def more(store: Store) -> None:
        await buried(store, NOW, change("more-1", "101"), change("more-2", "101"))
        await receive(store, Clock(NOW), change("live", "101"))
        assert await claim(store, Clock(NOW - timedelta(1))) == []

    history.store(more)
    done = history.verb("replay", "--id", "101", "--json")
    assert (done.json["events"], done.json["contacts"]) == (3, 1)
    (opened,) = history.verb("deliveries", "--state", "pending", "--json").json
    assert (opened["changes"], opened["priority"]) == (4, 0), "what a CRM just sent does not wait for it"
    assert history.verb("audit").code == 0
