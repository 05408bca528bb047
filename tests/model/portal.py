"""A CRM whose events tell little: the rest of a record must be read back, and what is read may be older than told.

An edit is in the record at once, and told by an event that waits to be sent, whenever and after whichever other. An
answer is of now, or of up to two seconds ago. A merge gives a person a new record; the one before is gone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from service.errors import DeliveryError, Postponed
from service.model import Json, Outcome, OutcomeKind, Record, to_micros
from service.readback.base import Reading, TokenSpec
from service.readback.hubspot import HubSpotReader
from tests.model.crms import Person, Said, Sending
from tests.model.judge import OLDEST
from tests.model.truth import Order, Truth
from tests.support.apis.base import ApiRequest
from tests.support.apis.hubspot import Api
from tests.support.webhooks import hubspot, hubspot_event

SOURCE: Final = "portal"
CONFIGURATION: Final = """\
sources:
  portal:
    preset: hubspot
    auth: {secret: "${HUBSPOT_SECRET}"}
    read_back: {token: "pat-eu1-7c0f2d9e-5b3a-4c8d-9e1f-2a6b7c8d9e0f", base_url: "http://127.0.0.1:9"}
    resolve: [link, {email: email}]
    preset_mapping: false
    mapping:
      title: {from: jobtitle, on_null: clear, on_blank: clear}
      custom:
        Plan: plan
        Address: {concat: [street, city], separator: ", "}
"""
FIELDS: Final = ("title", "custom.Plan", "custom.Address")
NAMES: Final = ("jobtitle", "plan", "street", "city")
"""The properties that are edited."""
FED_BY: Final[Mapping[str, Sequence[str]]] = {
    "title": ("jobtitle",),
    "custom.Plan": ("plan",),
    "custom.Address": ("street", "city"),
}
FIRST_ID: Final = 500
CONTACTS: Final = 2

_REFUSALS: Final = {
    "401": OutcomeKind.CRM_REFUSED,
    "429": OutcomeKind.CRM_RATE_LIMITED,
    "500": OutcomeKind.CRM_UNREACHABLE,
}
NOW, BEFORE, ELSEWHERE = "as of now", "as of two seconds ago", "broken off"
LAGS: Final = {NOW: timedelta(0), BEFORE: timedelta(seconds=2), "as of a moment ago": timedelta(seconds=0.3)}
"""How old an answer may be."""
READS: Final = (*LAGS, BEFORE, *_REFUSALS, ELSEWHERE)
"""What a read may come to, the oldest answers the most."""


@dataclass(frozen=True, slots=True)
class Version:
    """A record from an instant on; without properties it is gone."""

    at: datetime
    properties: Mapping[str, Json] | None


class Portal:
    """The CRM: every version of every record, and the events that are still to be sent."""

    def __init__(self) -> None:
        self.unsent: list[Sending] = []
        self.read = NOW
        """What the next reads come to."""
        self.records: dict[int, list[Version]] = {}
        self.contacts: dict[int, list[tuple[int, Mapping[str, Json]]]] = {number: [] for number in range(CONTACTS)}
        """What each contact should have held, from which microsecond on."""
        self._api = Api()
        self._reader = HubSpotReader(TokenSpec.model_validate(self._api.credentials))
        self._told = 0

    def person(self, contact: int) -> Person:
        """Return the record that a contact has now; the first one is its own."""
        of_it = [one for one in self.records if one % CONTACTS == contact]
        return Person(SOURCE, max(of_it, default=FIRST_ID + contact), contact)

    def edit(self, contact: int, values: Record, now: datetime) -> Person:
        """Change a contact's record, and make it if it has none."""
        person = self.person(contact)
        versions = self.records.setdefault(person.id, [])
        before = versions[-1].properties if versions else {"email": person.email}
        assert before is not None
        self._store(person, {**before, **values}, now)
        return person

    def merge(self, contact: int, now: datetime, *, known: bool) -> tuple[Person, Person]:
        """Let a new record take the place of a contact's, by an email that is ``known`` or that nobody knows."""
        gone = self.person(contact)
        survivor = Person(SOURCE, gone.id + CONTACTS, contact)
        properties = self.records[gone.id][-1].properties
        assert properties is not None
        self.records[gone.id].append(Version(now, None))
        email = survivor.email if known else f"new-{survivor.id}@nordwind-logistik.example"
        self.records[survivor.id] = []
        self._store(survivor, {**properties, "email": email}, now)
        return gone, survivor

    def _store(self, person: Person, properties: Mapping[str, Json], now: datetime) -> None:
        self.records[person.id].append(Version(now, properties))
        address = ", ".join(str(properties[name]) for name in ("street", "city") if properties.get(name))
        fields: dict[str, Json] = {"title": properties.get("jobtitle")}
        fields |= {"custom.Plan": properties["plan"]} if "plan" in properties else {}
        fields |= {"custom.Address": address} if address else {}
        self.contacts[person.contact].append((to_micros(now), fields))

    def tell(self, person: Person, events: Sequence[dict[str, Any]], now: datetime) -> None:
        """Let events wait to be sent, in one request."""
        said = []
        for event in events:
            self._told += 1
            event |= {"eventId": self._told, "objectId": person.id, "occurredAt": to_micros(now) // 1000}
            key = f"24519873|25|{self._told}|{person.id}|{event['occurredAt']}|{event.get('propertyName', '')}"
            name = event.get("propertyName")
            about = [field for field in FIELDS if name is None or name in FED_BY[field]]
            said.append(Said(key, to_micros(now), dict.fromkeys(about)))
        self.unsent.append(Sending(person, tuple(said), lambda at: hubspot(list(events), at, source=SOURCE)))

    def is_gone(self, object_id: str) -> bool:
        """Say whether a record was merged away."""
        return self.records[int(object_id)][-1].properties is None

    async def answer(self, object_id: str, now: datetime) -> Reading | None:
        """Give a record with its mapped fields, as it is read from the CRM's API; None if it is gone."""
        if self.read == ELSEWHERE:
            raise Postponed(now)
        if (kind := _REFUSALS.get(self.read)) is not None:
            raise DeliveryError(Outcome(kind, int(self.read)))
        self._show(now - LAGS[self.read])
        call = self._reader.call([object_id], [*NAMES, "email"])
        headers = self._reader.headers(self._api.credentials["token"])
        answer = self._api.answer(ApiRequest(call.method, call.path, call.params, headers, orjson.dumps(call.body)))
        return self._reader.read(answer.document, [object_id]).get(object_id)

    def _show(self, at: datetime) -> None:
        self._api.records.clear()
        for one, versions in self.records.items():
            seen = [version for version in versions if version.at <= at]
            if seen and seen[-1].properties is not None:
                record = {"id": str(one), "properties": seen[-1].properties, "updatedAt": seen[-1].at.isoformat()}
                self._api.records[str(one)] = record


def changed(name: str, value: Json, *, told: bool) -> dict[str, Any]:
    """Say that a property changed and, if that is ``told``, to what."""
    event = hubspot_event(0, name, "" if value is None else str(value), _NEVER)
    return event if told else {key: event[key] for key in event if key != "propertyValue"}


def happened(kind: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401  # whatever an event may say
    """Say that a record was made, or took the place of another."""
    event = hubspot_event(0, "", "", _NEVER)
    plain = {key: event[key] for key in event if not key.startswith("property")}
    return {**plain, "subscriptionType": f"contact.{kind}", **more}


_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Events get their time when they are told."""


class PortalTruth(Truth):
    """What contacts must hold once all that was acknowledged has gone through: what the records had then, or later."""

    def __init__(self, portal: Portal) -> None:
        super().__init__()
        self._portal = portal

    def allowed(self, contact: str, name: str, *, dead: Collection[tuple[str, str]]) -> list[Json]:
        """Return what a field may hold: nothing older than the newest living event about it.

        Of a record that is gone the events have nothing to say: what they told of is told by the merge once more.
        """
        living = [
            one for one in self.about(contact, name) if one.name not in dead and not self._portal.is_gone(one.object_id)
        ]
        if not living:
            return [*self.since(contact, name, OLDEST), None]
        sure = living[0].order[0]
        before = [at for at, _ in self._versions(contact) if at <= sure]
        return self.since(contact, name, (before[-1], 0))

    def since(self, contact: str, name: str, order: Order) -> list[Json]:
        """Return the values that the contact's record had at an order's time, and from then on."""
        return [fields.get(name) for at, fields in self._versions(contact) if at >= order[0]]

    def _versions(self, contact: str) -> list[tuple[int, Mapping[str, Json]]]:
        return next(
            versions for number, versions in self._portal.contacts.items() if Person(SOURCE, 0, number).uuid == contact
        )
