"""What the CRMs say: a stream of changes drawn from a seed, with what each should make of a ChartMogul contact."""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from tests.support.sandbox import contact_uuid
from tests.support.webhooks import Webhook, helpdesk, hubspot, hubspot_event, pipedrive

CANARY: Final = "Quokka"
"""Stands in every text that is sent: nothing but the log's tables and ChartMogul may ever show it."""
CUSTOM_ATTRIBUTES: Final = ("Lifecycle", "Region", "Newsletter", "Plan", "Address")
STEP_MS: Final = 10
"""Between the times of two changes that are told in order; what is told late falls between two others."""
BEFORE: Final = timedelta(minutes=30)
"""How long before the run the CRMs' clocks begin; as they are slower than the real one, no time is in the future."""
LATE_STEPS_MAX: Final = 600
"""How many changes may come between a change and one that was made before it."""
ACTIVE: Final = 8
"""Contacts that are told of at a time."""
MOVES_EVERY: Final = 12
"""Requests, bursts apart, after which the first of them is left and another comes in."""
FLOOD: Final = 160
"""Requests of a burst about many contacts at once, which are told of in floods alone: more than one second can take."""
FLOOD_EVERY: Final = 20
"""Bursts, of which the last is one."""
PAUSE_S: Final = 0.2
"""Before a request, on average, unless it is part of a burst."""
_STAGES: Final = {"1": "Lead", "2": "Customer"}


@dataclass(frozen=True, slots=True)
class Change:
    """One change that a CRM tells: known by source and the CRM's id of it, ordered by the CRM's clock.

    ``fields`` says what it should make of the contact: our field names and the values as ChartMogul keeps them.
    """

    source: str
    event_id: str
    contact: str
    at: datetime
    fields: Mapping[str, object]

    @property
    def key(self) -> tuple[str, str]:
        """What makes it unique."""
        return self.source, self.event_id


@dataclass(frozen=True, slots=True)
class Sending:
    """One request, and how its CRM sends it: after a pause, so many copies at once, perhaps again once it is acked."""

    changes: tuple[Change, ...]
    sign: Callable[[datetime], Webhook]
    pause_s: float
    copies: int
    again_after_s: float | None


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a CRM, and the number of the ChartMogul contact that it feeds."""

    source: str
    id: int
    contact: int

    @property
    def email(self) -> str:
        """The email that both have."""
        return f"person-{self.contact}@nordwind-logistik.example"


def records_of(contacts: int) -> list[Record]:
    """Say which records feed which contact: one to four, of one to three CRMs, some twice in the same CRM."""
    records = []
    for number in range(contacts):
        in_all = number % 4 == 0
        if in_all or number % 4 != 1:
            records.append(Record("pipedrive", 10_000 + number, number))
        if in_all or number % 3 != 0:
            records.append(Record("hubspot", 20_000 + number, number))
        if in_all or number % 2 == 1:
            records.append(Record("helpdesk", 30_000 + number, number))
        if number % 8 == 0:
            records.append(Record("pipedrive", 40_000 + number, number))
    return records


class Stream:
    """Sendings without end, the same for the same seed, start and number of contacts."""

    def __init__(self, seed: int, *, started: datetime, contacts: int) -> None:
        self._random = random.Random(f"changes {seed}")  # noqa: S311  # repeatable on purpose
        self._records = records_of(contacts)
        self._turns = contacts * 2 // 3
        self._flooded = self._of(range(self._turns, contacts))
        self._first = 0
        self._leaving: list[Record] = []
        self._requests = 0
        self._persons: dict[int, dict[str, str]] = {}
        self._began = started.replace(microsecond=0) - BEFORE
        self._taken: set[datetime] = set()
        self._number = 0
        self._burst = 0

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Sending:
        """Draw the next request."""
        draw, burst = self._random, self._burst > 0
        record = draw.choice(self._leaving if burst and draw.random() < 0.9 else self._active())
        pause_s = 0.0 if burst else draw.expovariate(1 / PAUSE_S)
        tell = {"pipedrive": self._pipedrive, "hubspot": self._hubspot, "helpdesk": self._helpdesk}[record.source]
        changes, sign = tell(record)
        self._go_on()
        copies = 2 if draw.random() < 0.1 else 1
        again_after_s = draw.uniform(0, 3) if draw.random() < 0.12 else None
        return Sending(changes, sign, pause_s, copies, again_after_s)

    def _pipedrive(self, record: Record) -> tuple[tuple[Change, ...], Callable[[datetime], Webhook]]:
        """The whole record, of which one or two fields are new."""
        event_id, at = f"pd-{self._next()}", self._time()
        person = self._persons.setdefault(record.id, {"label": "1"})
        names = self._random.sample(["first_name", "last_name", "job_title", "label"], k=self._random.randint(1, 2))
        person |= {name: self._text(name) for name in names if name != "label"}
        if "label" in names:
            person["label"] = self._random.choice(sorted(_STAGES))
        told = dict(person)
        fields: dict[str, object] = {name: told[name] for name in ("first_name", "last_name") if name in told}
        fields |= {"title": told["job_title"]} if "job_title" in told else {}
        fields["custom.Lifecycle"] = _STAGES[told["label"]]
        webhook = pipedrive(record.id, event_id, at, email=record.email, **told)
        return (Change(record.source, event_id, contact_uuid(record.contact), at, fields),), lambda _: webhook

    def _hubspot(self, record: Record) -> tuple[tuple[Change, ...], Callable[[datetime], Webhook]]:
        """A batch: some properties of this record, then perhaps of others, each an event of its own."""
        others = [one for one in self._active() if one.source == "hubspot" and one is not record]
        changes: list[Change] = []
        events: list[dict[str, Any]] = []
        for one in [record, *self._random.sample(others, k=min(len(others), self._random.choice((0, 0, 1, 3))))]:
            at = self._time()
            names = self._random.sample(["firstname", "lastname", "jobtitle", "region"], k=self._random.randint(1, 3))
            for name in ["email", *names]:  # an event is thin: without the email, nobody could find the contact
                number = self._next()
                value = one.email if name == "email" else self._text(name)
                events.append(hubspot_event(one.id, name, value, at, number=number))
                target = {"firstname": "first_name", "lastname": "last_name", "jobtitle": "title"}.get(name, name)
                fields = {"custom.Region": value.upper()} if name == "region" else {target: value}
                changes.append(Change("hubspot", str(number), contact_uuid(one.contact), at, fields))
        self._random.shuffle(events)
        return tuple(changes), lambda now: hubspot(events, now)

    def _helpdesk(self, record: Record) -> tuple[tuple[Change, ...], Callable[[datetime], Webhook]]:
        """Only what changed."""
        event_id, at = f"hd-{self._next()}", self._time()
        names = self._random.sample(["first_name", "last_name", "title", "newsletter"], k=self._random.randint(1, 3))
        told = {name: self._text(name) for name in names if name != "newsletter"}
        fields: dict[str, object] = dict(told)
        if "newsletter" in names:
            told["newsletter"] = self._random.choice(("yes", "no"))
            fields["custom.Newsletter"] = told["newsletter"] == "yes"
        webhook = helpdesk(str(record.id), event_id, at, email=record.email, **told)
        return (Change(record.source, event_id, contact_uuid(record.contact), at, fields),), lambda _: webhook

    def _active(self) -> list[Record]:
        """Return the records of the contacts that are told of now."""
        return self._of((self._first + number) % self._turns for number in range(ACTIVE))

    def _of(self, contacts: Iterable[int]) -> list[Record]:
        numbers = set(contacts)
        return [record for record in self._records if record.contact in numbers]

    def _go_on(self) -> None:
        """Leave the first contact when its time is over, with a burst of all its CRMs; then it is quiet for long.

        What lands late over the last word on a contact is not mended by mere chance.
        """
        if self._burst:
            self._burst -= 1
            return
        self._requests += 1
        if self._requests % MOVES_EVERY == 0:
            self._leaving = self._of([self._first % self._turns])
            self._first += 1
            self._burst = self._random.choice((5, 8, 12))
            if self._first % FLOOD_EVERY == 0:
                self._leaving, self._burst = self._flooded, FLOOD

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _text(self, name: str) -> str:
        return f"{CANARY} {name} {self._number}"

    def _time(self) -> datetime:
        """A time that no other change has: the next one, or, told late, one between two that were."""
        step = self._number
        at = self._began + timedelta(milliseconds=step * STEP_MS)
        if self._random.random() < 0.25:
            step = max(0, step - self._random.randint(1, LATE_STEPS_MAX))
            at = self._began + timedelta(milliseconds=step * STEP_MS + self._random.randint(1, STEP_MS - 1))
        while at in self._taken:
            at += timedelta(milliseconds=1)
        self._taken.add(at)
        return at
