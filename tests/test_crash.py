"""Killed at any instant: what was acknowledged arrives, and the books close."""

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import httpx
import pytest

from service.main import real_clock
from service.sandbox import Settings
from service.sandbox.settings import UNLIMITED
from tests.support.sandbox import RunningSandbox, contact_uuid, running_sandbox, seed_of
from tests.support.service import Process
from tests.support.verbs import verb
from tests.support.wait import until
from tests.support.webhooks import Webhook, helpdesk, hubspot, hubspot_event, pipedrive

PEOPLE = 12
KILLS = 4
AT_LEAST = 12
"""Changes acknowledged between two kills."""
SEED = 20260302
TAKEN_S = 30.0
"""How long a sender keeps trying, restarts included."""
FIELDS = {"job_title": "title", "last_name": "last_name"}


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    settings = Settings(limits=UNLIMITED, latency_ms=2, latency_jitter_ms=8)
    with running_sandbox(seed_of(PEOPLE), settings) as sandbox:
        yield sandbox


@dataclass
class Crms:
    """Senders that repeat what was not acknowledged, as CRMs do, each change about one field of one person."""

    url: str
    random: random.Random
    stopped: threading.Event = field(default_factory=threading.Event)
    newest: dict[tuple[int, str], tuple[datetime, str]] = field(default_factory=dict)
    acknowledged: int = 0
    number: int = 0

    def run(self) -> None:
        """Send until told to stop; a change that got no answer is sent again until it has one."""
        with httpx.Client(trust_env=False, timeout=5) as client:
            while not self.stopped.is_set():
                person, name, value, at, webhook = self._change()
                self._until_taken(client, webhook)
                self.acknowledged += 1
                known = self.newest.get((person, FIELDS[name]))
                if known is None or known[0] < at:
                    self.newest[person, FIELDS[name]] = (at, value)

    def has(self, count: int) -> bool:
        """Say whether so many changes were acknowledged."""
        return self.acknowledged >= count

    def _change(self) -> tuple[int, str, str, datetime, Webhook]:
        self.number += 1
        person, name = self.random.randrange(PEOPLE), self.random.choice(sorted(FIELDS))
        value = f"{name} {self.number}"
        # Some are told late: an older change after a newer one. No two of one field share a time.
        late = self.random.choice((0, 0, 0, 30))
        at = real_clock() - timedelta(seconds=late)
        email = f"person-{person}@nordwind-logistik.example"
        event = f"evt-{self.number}"
        kind = self.random.randrange(3)
        if kind == 0:
            return person, name, value, at, pipedrive(person, event, at, email=email, **{name: value})
        if kind == 1:
            at = at.replace(microsecond=at.microsecond // 1000 * 1000)  # HubSpot counts in milliseconds
            names = {"job_title": "jobtitle", "last_name": "lastname"}
            both = [("email", email), (names[name], value)]
            events = [hubspot_event(person, *pair, at, number=self.number) for pair in both]
            return person, name, value, at, hubspot(events, real_clock())
        renamed = {FIELDS[name]: value}
        return person, name, value, at, helpdesk(f"u-{person}", event, at, email=email, **renamed)

    def _until_taken(self, client: httpx.Client, webhook: Webhook) -> None:
        """Send until it is taken, even when told to stop: what was sent once may be stored without an answer."""
        deadline = time.monotonic() + TAKEN_S
        while time.monotonic() < deadline:
            try:
                answer = client.post(self.url + webhook.target, content=webhook.body, headers=webhook.headers)
            except httpx.TransportError:
                time.sleep(0.02)  # a sender waits a little too
                continue
            if answer.status_code == 200:
                return
            assert answer.status_code == 503, answer.text
        raise AssertionError(f"not taken within {TAKEN_S} s")


def test_no_acknowledged_change_is_lost_and_the_newest_wins(tmp_path: Path, sandbox: RunningSandbox) -> None:
    chance = random.Random(SEED)  # noqa: S311  # repeatable on purpose
    with Process(tmp_path, CHARTMOGUL_BASE_URL=sandbox.base_url) as process:
        process.start()
        crms = Crms(process.url, random.Random(SEED + 1))  # noqa: S311  # as above
        sending = threading.Thread(target=crms.run)
        sending.start()
        for _ in range(KILLS):
            enough = crms.acknowledged + AT_LEAST
            until(partial(crms.has, enough))
            time.sleep(chance.uniform(0, 0.1))  # the instant of the kill is what is tried here
            process.kill()
            process.start()
        crms.stopped.set()
        sending.join()
        process.settle()
        expected = {key: value for key, (_, value) in crms.newest.items()}
        held = {key: sandbox.contact(contact_uuid(key[0]))[key[1]] for key in expected}
        assert held == expected
        assert process.terminate() == 0
    audited = verb("audit", "--json", environ=process.environ, directory=tmp_path)
    assert (audited.code, audited.json["findings"]) == (0, [])
    assert audited.json["total"] >= crms.acknowledged
