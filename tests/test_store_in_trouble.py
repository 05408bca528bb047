"""A log that cannot be written: senders are told to come again, health says why, and all of it mends by itself."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from service.main import real_clock
from service.sandbox import Fault, FaultKind
from tests.support.office import email_of
from tests.support.sandbox import RunningSandbox, contact_uuid, running_sandbox, seed_of
from tests.support.service import Process, configure, running
from tests.support.trouble import full, locked, no_growth, small_disk, unchangeable
from tests.support.verbs import verb
from tests.support.wait import eventually, until
from tests.support.webhooks import Webhook, pipedrive

PEOPLE = 20
BUSY_S = 0.5
"""How long these services wait for a lock of another process."""
TAKEN_S = 30.0
"""How long a sender repeats itself."""
DATABASE = "crm-to-chartmogul.db"


@dataclass
class Post:
    """A running service, its files, and CRMs that send to it."""

    process: Process
    sandbox: RunningSandbox
    acknowledged: set[str] = field(default_factory=set)

    @property
    def data(self) -> Path:
        """Where its log is."""
        return self.process.directory / "data"

    @property
    def files(self) -> tuple[Path, Path]:
        """The log, and what is written before it."""
        return self.data / DATABASE, self.data / f"{DATABASE}-wal"

    @property
    def pid(self) -> int:
        """The process that must outlive the trouble."""
        assert self.process._process is not None
        assert self.process._process.poll() is None, self.process.log
        return self.process._process.pid

    def send(self, event: str, number: int = 0) -> httpx.Response:
        """Tell a person's new title, and remember what was acknowledged."""
        webhook = telling(event, number)
        url = self.process.url + webhook.target
        answer = httpx.post(url, content=webhook.body, headers=webhook.headers, trust_env=False, timeout=30)
        if answer.status_code == 200:
            self.acknowledged.add(event)
        return answer

    def ask(self, path: str) -> tuple[int, Any]:
        """What the service says of itself."""
        answer = httpx.get(self.process.url + path, trust_env=False, timeout=30)
        return answer.status_code, answer.json()

    def verb(self, *words: str) -> Any:  # noqa: ANN401  # whatever JSON holds
        """What a verb prints."""
        return verb(*words, "--json", environ=self.process.environ, directory=self.process.directory).json

    def close_books(self) -> None:
        """All that was acknowledged is in the log once, and delivered or overtaken; ask once nothing is owed."""
        events = self.verb("events", "--limit", "1000")
        assert {event["crm_event_id"] for event in events} == self.acknowledged
        assert len(events) == len(self.acknowledged)
        assert {event["state"] for event in events} <= {"delivered", "merged", "unchanged"}
        assert self.verb("audit")["findings"] == []

    def title(self, number: int) -> object:
        """What ChartMogul holds."""
        return self.sandbox.contact(contact_uuid(number))["title"]


def telling(event: str, number: int) -> Webhook:
    return pipedrive(number, event, real_clock(), email=email_of(number), job_title=f"Title of {event}")


Trouble = Callable[[Post], contextlib.AbstractContextManager[object]]


@contextlib.contextmanager
def read_only(post: Post) -> Iterator[None]:
    with unchangeable(*post.files) as so:
        if not so:
            pytest.skip("files cannot be made unchangeable here")
        yield


FULL = "the disk is full"
LOCKED = "another process has the lock"
TROUBLES: dict[str, tuple[Trouble, str]] = {
    "a file may not grow": (lambda post: no_growth(post.pid), "disk I/O error"),
    FULL: (lambda post: full(post.data), "database or disk is full"),
    "the files are read-only": (read_only, "disk I/O error"),
    LOCKED: (lambda post: locked(post.data / DATABASE), "database is locked"),
}
IMPATIENT = {"LEASE_S": "5", "READ_TIMEOUT_S": "3", "CONNECT_TIMEOUT_S": "1"}
"""What could not be written down is tried again soon."""


@pytest.fixture
def post(tmp_path: Path, what: str) -> Iterator[Post]:
    """A service that runs; where its disk is to be full, on one of its own."""
    data = tmp_path / "data"
    data.mkdir()
    url = f"sqlite:///{data / DATABASE}?timeout={BUSY_S}"
    with contextlib.ExitStack() as stack:
        if what == FULL and not stack.enter_context(small_disk(data)):
            pytest.skip("no disk of its own can be mounted here")
        sandbox = stack.enter_context(running_sandbox(seed_of(PEOPLE)))
        own = {"CHARTMOGUL_BASE_URL": sandbox.base_url, "DATABASE_URL": url, **IMPATIENT}
        process = stack.enter_context(Process(tmp_path, **own))
        process.start()
        yield Post(process, sandbox)


@pytest.mark.parametrize("what", TROUBLES)
def test_what_cannot_be_stored_is_not_acknowledged_until_it_can(post: Post, what: str) -> None:
    trouble, cause = TROUBLES[what]
    assert post.send("before", 0).status_code == 200
    post.process.settle()
    pid = post.pid
    with trouble(post):
        answer = post.send("during", 1)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json() == {
            "type": "urn:crm-to-chartmogul:store_unavailable",
            "title": "Not stored; send it again",
            "status": 503,
        }
        status, health = post.ask("/health")
        assert (status, health["status"]) == (503, "fail")
        assert [reason["cause"] for reason in health["reasons"] if reason["status"] == "fail"] == [
            f"the database does not take it: {cause}"
        ]
        told = {"status": "fail", "reason": f"the database does not take it: {cause}"}
        assert post.ask("/health/ready") == (503, told)
        assert post.ask("/health/live") == (200, {"status": "ok"}), "a restart would mend nothing"
        assert post.send("during", 1).status_code == 503
    assert post.send("during", 1).status_code == 200, "at once"
    assert post.send("during", 1).json() == {"accepted": 0, "duplicates": 1}
    assert post.ask("/health/ready") == (200, {"status": "ok"})
    post.process.settle()
    assert post.ask("/health")[1]["status"] == "ok"
    assert post.pid == pid
    assert [post.title(number) for number in (0, 1)] == ["Title of before", "Title of during"]
    post.close_books()
    assert f'"cause":"the database does not take it: {cause}"' in post.process.log


@pytest.mark.parametrize("what", TROUBLES)
def test_what_was_acknowledged_before_is_delivered_after(post: Post, what: str) -> None:
    """What waits when the trouble comes is neither lost nor sent twice over."""
    trouble, _ = TROUBLES[what]
    environ, directory = post.process.environ, post.process.directory
    assert verb("pause", environ=environ, directory=directory).code == 0
    for number in range(5):
        assert post.send(f"waiting-{number}", number).status_code == 200
    with trouble(post):
        assert post.send("during", 6).status_code == 503
        if what != LOCKED:
            assert post.ask("/health")[1]["backlog"] == {"pending": 5, "leased": 0}
    assert verb("resume", environ=environ, directory=directory).code == 0
    post.process.settle()
    assert [post.title(number) for number in range(5)] == [f"Title of waiting-{number}" for number in range(5)]
    assert post.sandbox.answered("PATCH", 200) == 5
    post.close_books()


@pytest.mark.parametrize("what", TROUBLES)
def test_a_call_whose_outcome_cannot_be_written_down_is_made_again(post: Post, what: str) -> None:
    """Nobody knows of it once the lease has run out: it counts as of unknown outcome, and the value is sent anew."""
    trouble, _ = TROUBLES[what]
    slow = Fault(kind=FaultKind.SLOW_BODY, method="PATCH", path="/v1/contacts", count=1, delay_s=1.0)
    post.sandbox.add_faults(slow)
    assert post.send("under way", 3).status_code == 200
    until(lambda: bool(post.sandbox.requests("PATCH")))
    with trouble(post):
        until(lambda: "attempt_not_recorded" in post.process.log)
    post.process.settle()
    assert post.title(3) == "Title of under way"
    assert post.sandbox.answered("PATCH", 200) == 2
    post.close_books()
    assert [event["state"] for event in post.verb("events")] == ["delivered"]


@dataclass
class Crm:
    """A sender that repeats what was not acknowledged, one change after the other, as long as it is told to."""

    post: Post
    stopped: threading.Event = field(default_factory=threading.Event)
    newest: dict[int, str] = field(default_factory=dict)
    refused: int = 0
    fault: BaseException | None = None

    def run(self) -> None:
        """Send until told to stop."""
        try:
            number = 0
            while not self.stopped.is_set():
                number += 1
                self._until_taken(f"evt-{number}", number % PEOPLE)
        except BaseException as error:  # noqa: BLE001  # told by who joins it
            self.fault = error

    def _until_taken(self, event: str, number: int) -> None:
        deadline = time.monotonic() + TAKEN_S
        while (answer := self.post.send(event, number)).status_code != 200:
            assert answer.status_code == 503, answer.text
            assert time.monotonic() < deadline, "never taken"
            self.refused += 1
        self.newest[number] = f"Title of {event}"

    def was_refused(self, times: int) -> bool:
        """Say whether it was turned away so often in all."""
        return self.refused >= times

    def was_taken(self, times: int) -> bool:
        """Say whether so much was acknowledged in all."""
        return len(self.post.acknowledged) >= times


@contextlib.contextmanager
def sending(post: Post) -> Iterator[Crm]:
    crm = Crm(post)
    thread = threading.Thread(target=crm.run)
    thread.start()
    try:
        yield crm
    finally:
        crm.stopped.set()
        thread.join()
    assert crm.fault is None, crm.fault


@pytest.mark.parametrize("what", TROUBLES)
def test_trouble_that_comes_and_goes_loses_nothing(post: Post, what: str) -> None:
    """In the middle of intake and deliveries, wherever it finds them."""
    trouble, _ = TROUBLES[what]
    with sending(post) as crm:
        for _ in range(2):
            taken, refused = len(post.acknowledged) + 10, crm.refused + 3
            until(lambda taken=taken: crm.was_taken(taken))  # type: ignore[misc]
            with trouble(post):
                until(lambda refused=refused: crm.was_refused(refused))  # type: ignore[misc]
        taken = len(post.acknowledged) + 10
        until(lambda: crm.was_taken(taken))
    post.process.settle()
    assert {number: post.title(number) for number in crm.newest} == crm.newest
    post.close_books()


@pytest.mark.anyio
async def test_a_file_that_was_turned_read_only_is_found_writable_again(tmp_path: Path) -> None:
    """SQLite's own word for it, which needs no rights to come by."""
    with running_sandbox(seed_of(PEOPLE)) as sandbox:
        async with running(configure(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url)) as service:
            engine: Any = service.store._database._engine
            plain = engine._writer.raw_connection().dbapi_connection
            plain.execute("PRAGMA query_only=ON").close()
            answer = await service.send(telling("during", 1))
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            health = await service.health()
            assert health["status"] == "fail"
            causes = [reason["cause"] for reason in health["reasons"]]
            assert causes == ["the database does not take it: attempt to write a readonly database"]
            plain.execute("PRAGMA query_only=OFF").close()
            await service.accepted(telling("during", 1))
            await service.settled()
            assert (await service.health())["status"] == "ok"
            assert (await service.store.ledger.audit()).findings == ()
        assert sandbox.contact(contact_uuid(1))["title"] == "Title of during"


@pytest.mark.anyio
async def test_a_server_that_only_reads_for_a_while_takes_nothing_and_then_all(
    tmp_path: Path, postgres_url: str
) -> None:
    """As after a failover to a standby; every connection is cut at both turns."""
    own = await asyncpg.connect(postgres_url)
    name = await own.fetchval("SELECT current_database()")

    async def turn(state: str) -> None:
        await own.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {state}")
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"
        await own.execute(others, name)

    with running_sandbox(seed_of(PEOPLE)) as sandbox:
        settings = {"CHARTMOGUL_BASE_URL": sandbox.base_url, "DATABASE_URL": postgres_url}
        async with running(configure(tmp_path, **settings)) as service:
            await turn("on")
            answer = await service.send(telling("during", 1))
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            health = await service.health()
            assert health["status"] == "fail"
            assert "the database does not take it: ReadOnlySQLTransactionError" in str(health["reasons"])
            await turn("off")

            async def taken() -> bool:
                return (await service.send(telling("during", 1))).status_code == 200

            await eventually(taken)
            await service.settled()
            assert (await service.health())["status"] == "ok"
            assert [event["state"] for event in await service.events()] == ["delivered"]
            assert (await service.store.ledger.audit()).findings == ()
        assert sandbox.contact(contact_uuid(1))["title"] == "Title of during"
    await own.close()


def test_a_service_does_not_start_where_it_cannot_write(tmp_path: Path) -> None:
    """And says why in one line, rather than acknowledge what it could not keep."""
    data = tmp_path / "data"
    data.mkdir(mode=0o500)  # which binds everybody but root
    with unchangeable(data), Process(tmp_path) as process:
        with contextlib.suppress(OSError):
            (data / "written").touch()
            pytest.skip("a directory cannot be made unwritable here")
        process.spawn()
        assert process.wait() == 1
        assert '"event":"cannot_start"' in process.log
        assert "Traceback" not in process.log
    data.chmod(0o700)
