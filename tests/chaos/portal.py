"""A CRM whose events tell little: its records are read back, by an API that fails, and whose answers lag.

A record changes first, and then its webhook is sent. What the API shows is of now, or of up to two seconds ago, in each
answer anew. Now and then a new record takes the place of a person's, under an email that only the link makes known.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from tests.chaos.changes import BEFORE, CANARY, STEP_MS, Change, Sending
from tests.support.apis.base import ApiAnswer, ApiRequest
from tests.support.apis.hubspot import Api
from tests.support.apis.server import Served
from tests.support.sandbox import contact_uuid
from tests.support.webhooks import hubspot, hubspot_event

SOURCE: Final = "portal"
CONFIGURATION: Final = """\
  portal:
    preset: hubspot
    auth: {{secret: "${{HUBSPOT_SECRET}}"}}
    read_back: {{token: "${{PORTAL_TOKEN}}", base_url: "{base_url}"}}
    resolve: [link, {{email: email}}]
    preset_mapping: false
    mapping:
      custom:
        Plan: plan
        Address: {{concat: [street, city], separator: ", "}}
"""
"""It feeds fields of its own, on contacts that others feed, too."""
LANES: Final = 3
LAG_S: Final = 2.0
"""How old an answer may be."""
ACTIVE: Final = 5
"""People who are told of at a time."""
MOVES_EVERY: Final = 10
"""Requests after which the first of them is left, and another comes in."""
MERGE: Final = 0.06
NAMES: Final = ("plan", "street", "city")

_TROUBLES: Final[tuple[tuple[float, str], ...]] = (
    # Nothing is asked for a minute, or until the next life: one of these in a run is much.
    (0.01, "401"),
    (0.04, "429"),
    (0.05, "500"),
    (0.03, "503"),
    (0.04, "hang"),
    (0.03, "close"),
    (0.03, "cut"),
)


@dataclass(slots=True)
class _Person:
    """Somebody's present record, and whether its email is one that ChartMogul knows."""

    contact: int
    id: int
    known: bool = True
    at: datetime | None = None
    told: Mapping[str, str] | None = None


class Portal:
    """The CRM: sendings without end, and the API that its records are read from. Each runs in a thread of its own."""

    def __init__(
        self,
        seed: int,
        *,
        started: datetime,
        contacts: int,
        merges_s: float,
        linked: Callable[[str], bool],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.credentials: Mapping[str, str] = Api().credentials
        self.records: dict[str, dict[str, Any]] = {}
        self.troubles: Counter[str] = Counter()
        self.calls = 0
        self.merges = 0
        self.served: Served | None = None
        self._random = random.Random(f"portal {seed}")  # noqa: S311  # repeatable on purpose
        self._weather = random.Random(f"portal's API {seed}")  # noqa: S311  # repeatable on purpose
        self._troubled = True
        self._now = now
        self._merges_until = now() + merges_s
        self._linked = linked
        self._began = started.replace(microsecond=7000) - BEFORE
        self._people = [_Person(number, 60_000 + number) for number in range(contacts) if number % 3 == 1]
        self._versions: dict[str, list[tuple[float, dict[str, Any] | None]]] = {}
        self._number = self._requests = 0
        self._lock = threading.Lock()

    def __iter__(self) -> "Portal":
        return self

    def __next__(self) -> Sending:
        """Change a record, and draw the request that tells so."""
        self._requests += 1
        first = self._requests // MOVES_EVERY
        active = [self._people[(first + place) % len(self._people)] for place in range(ACTIVE)]
        findable = [one for one in active if one.known or self._linked(str(one.id))]
        person = self._random.choice(findable or [one for one in self._people if one.known])
        merge, may_merge = self._random.random() < MERGE, self._now() < self._merges_until
        with self._lock:
            events = self._merge(person) if merge and may_merge and person.told else self._edit(person)
        return self._sending(person, events)

    def calm_down(self) -> None:
        """Let the API fail no more; its answers go on to lag."""
        self._troubled = False

    def truth(self) -> dict[tuple[str, str], object]:
        """Return what each contact must hold in the end."""
        found: dict[tuple[str, str], object] = {}
        for person in self._people:
            told, uuid = person.told or {}, contact_uuid(person.contact)
            address = ", ".join(told[name] for name in ("street", "city") if name in told)
            found |= {(uuid, "custom.Plan"): told["plan"]} if "plan" in told else {}
            found |= {(uuid, "custom.Address"): address} if address else {}
        return found

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer as HubSpot does, of some time ago, or fail."""
        with self._lock:
            self.calls += 1
            trouble = self._trouble() if self._troubled else None
            if trouble is not None:
                return trouble
            api, lag_s = Api(), self._weather.choice((0.0, self._weather.uniform(0, LAG_S)))
            api.records = self._as_of(self._now() - lag_s)
        return api.answer(request)

    def _trouble(self) -> ApiAnswer | None:
        """Draw what goes wrong with this call, or with the next: None for nothing, or nothing yet."""
        chance = self._weather.random()
        for probability, name in _TROUBLES:
            chance -= probability
            if chance < 0:
                self.troubles[f"portal {name}"] += 1
                if name.isdecimal():
                    headers = {"retry-after": "1"} if name == "429" else {}
                    return ApiAnswer(int(name), {"status": "error", "message": "Not now."}, headers)
                assert self.served is not None
                {"hang": self.served.hang, "close": self.served.close, "cut": self.served.cut}[name]()
                return None
        return None

    def _as_of(self, instant: float) -> dict[str, dict[str, Any]]:
        shown: dict[str, dict[str, Any]] = {}
        for record_id, versions in self._versions.items():
            seen = [record for since, record in versions if since <= instant]
            if seen and seen[-1] is not None:
                shown[record_id] = seen[-1]
        return shown

    def _edit(self, person: _Person) -> list[dict[str, Any]]:
        """Change one or two properties, or make the record; tell some of it without its value."""
        new = person.told is None
        names = NAMES if new else self._random.sample(NAMES, k=self._random.choice((1, 1, 2)))
        self._store(person, {name: f"{CANARY} {name} {self._number}" for name in names})
        assert person.told is not None
        events = [self._event(person, name, person.told[name]) for name in names]
        for event in events:
            if self._random.random() < 0.2:
                del event["propertyValue"]
        if not new:
            return events
        return [*self._random.choice((events, [])), self._plain(person, "creation")]

    def _merge(self, person: _Person) -> list[dict[str, Any]]:
        """Let a new record take the place of a person's, whom nobody knows by email any more where the link does."""
        self.merges += 1
        gone, linked = person.id, self._linked(str(person.id))
        self._versions[str(gone)].append((self._now(), None))
        self._number += 1
        person.id, person.known = 70_000 + self._number, not linked
        self._store(person, {"plan": f"{CANARY} plan {self._number}"})
        return [self._plain(person, "merge", primaryObjectId=gone, mergedObjectIds=[gone], newObjectId=person.id)]

    def _store(self, person: _Person, values: Mapping[str, str]) -> None:
        self._number += 1
        person.at = self._began + timedelta(milliseconds=self._number * STEP_MS)
        person.told = {**(person.told or {}), **values}
        name = f"person-{person.contact}" if person.known else f"once-{person.id}"
        properties = {**person.told, "email": f"{name}@nordwind-logistik.example"}
        record = {"id": str(person.id), "properties": properties, "updatedAt": person.at.isoformat()}
        self._versions.setdefault(str(person.id), []).append((self._now(), record))

    def _event(self, person: _Person, name: str, value: str) -> dict[str, Any]:
        assert person.at is not None
        self._number += 1
        return hubspot_event(person.id, name, value, person.at, number=self._number)

    def _plain(self, person: _Person, kind: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401  # whatever an event may say
        event = self._event(person, "", "")
        plain = {key: event[key] for key in event if not key.startswith("property")}
        return {**plain, "subscriptionType": f"contact.{kind}", **more}

    def _sending(self, person: _Person, events: list[dict[str, Any]]) -> Sending:
        assert person.at is not None
        uuid, at = contact_uuid(person.contact), person.at
        changes = tuple(Change(SOURCE, str(event["eventId"]), uuid, at, {}) for event in events)
        copies = 2 if self._random.random() < 0.1 else 1
        again_after_s = self._random.uniform(0, 3) if self._random.random() < 0.12 else None
        # Some come long after others that were made later.
        pause_s = self._random.choice((0.0, 0.1, 0.1, 1.5))
        return Sending(changes, lambda now: hubspot(events, now, source=SOURCE), pause_s, copies, again_after_s)
