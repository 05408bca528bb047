"""Three CRMs that tell of the same two people: whole records, single properties, and one that has time and no clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from service.model import InboundRequest, Json
from tests.support.sandbox import contact_uuid
from tests.support.webhooks import PUBLIC_URL, Webhook, helpdesk, hubspot, hubspot_event, pipedrive

CONFIGURATION: Final = """\
sources:
  pipedrive:
    preset: pipedrive
    auth: {username: crm, password: "${PIPEDRIVE_PASSWORD}"}
    resolve: [link, {email: "emails[?primary].value"}]
    preset_mapping: false
    mapping:
      first_name: first_name
      last_name: {from: last_name, on_null: clear}
      title: {from: job_title, transform: [trim]}
  hubspot:
    preset: hubspot
    auth: {secret: "${HUBSPOT_SECRET}"}
    resolve: [link, {email: email}]
    preset_mapping: false
    mapping:
      first_name: firstname
      last_name: {from: lastname, on_blank: clear}
      title: jobtitle
      custom: {Region: region}
  helpdesk:
    preset: generic
    auth:
      verify: {scheme: hmac, secret: "${HELPDESK_SECRET}", header: X-Signature, prefix: "sha256="}
    parse: {format: json, event_id: id, object_id: contact.id, occurred_at: at, values: contact}
    resolve: [link, {email: email}]
    settle: 3
    mapping:
      first_name: first_name
      title: {from: title, on_null: clear}
      custom: {Region: region}
"""
FIELDS: Final = ("first_name", "last_name", "title", "custom.Region")
"""What all this is about. HubSpot's email is told, so that a person can be found by it, and mapped to nothing."""
CONTACTS: Final = 2

_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "pipedrive": {"first_name": "first_name", "last_name": "last_name", "title": "job_title"},
    "hubspot": {
        "first_name": "firstname",
        "last_name": "lastname",
        "title": "jobtitle",
        "custom.Region": "region",
    },
    "helpdesk": {"first_name": "first_name", "title": "title", "custom.Region": "region"},
}
_CLEARED: Final = {("pipedrive", "last_name"), ("hubspot", "last_name"), ("helpdesk", "title")}
"""Where the mapping lets a CRM clear a field."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
BELIEVED: Final = timedelta(hours=1)
"""How far ahead of ours a sender's clock may be."""


@dataclass(frozen=True, slots=True)
class Person:
    """A person's record in a CRM, and the contact in ChartMogul that it is about."""

    source: str
    id: int
    contact: int

    @property
    def uuid(self) -> str:
        """The contact's uuid."""
        return contact_uuid(self.contact)

    @property
    def email(self) -> str:
        """What the contact is found by."""
        return f"person-{self.contact}@nordwind-logistik.example"


PEOPLE: Final = (
    Person("pipedrive", 101, 0),
    Person("hubspot", 201, 0),
    Person("helpdesk", 301, 0),
    Person("pipedrive", 102, 1),
    Person("hubspot", 202, 1),
)


@dataclass(frozen=True, slots=True)
class Said:
    """One change as the log should have it: its dedup key, its order key, and what its mapping makes of it."""

    key: str
    order_key: int
    fields: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Sending:
    """A request that a CRM may send as often as it likes, signed anew each time, and the changes in it."""

    person: Person
    said: tuple[Said, ...]
    sign: Callable[[datetime], Webhook]

    def request(self, now: datetime) -> InboundRequest:
        """Return the request as it would come in now."""
        webhook = self.sign(now)
        headers = {name.lower(): value for name, value in webhook.headers.items()}
        return InboundRequest("POST", PUBLIC_URL + webhook.target, headers, webhook.body)


def tell(person: Person, fields: Mapping[str, Json], *, at: datetime | None, now: datetime, number: int) -> Sending:
    """Let a person's CRM tell some fields as they are at a time of its clock; None where it gives none, if it may."""
    names = _NAMES[person.source]
    told = {name: value for name, value in fields.items() if name in names}
    if person.source == "helpdesk":
        return _partial(person, told, at, now, number)
    at = now if at is None else at
    if person.source == "pipedrive":
        return _whole(person, told, at, now, number)
    return _single(person, told, at.replace(microsecond=at.microsecond // 1000 * 1000), now, number)


def _whole(person: Person, told: Mapping[str, Json], at: datetime, now: datetime, number: int) -> Sending:
    key = f"pd-{number}"
    record: dict[str, Any] = {_NAMES[person.source][name]: value for name, value in told.items()}
    said = Said(key, _order_key(at, now), _mapped(person, told))
    return Sending(person, (said,), lambda _: pipedrive(person.id, key, at, email=person.email, **record))


def _single(person: Person, told: Mapping[str, Json], at: datetime, now: datetime, number: int) -> Sending:
    """One event for each property; the one that names the person is for no field of ours."""
    properties: dict[str, Json] = {"email": person.email}
    properties |= {_NAMES[person.source][name]: "" if value is None else value for name, value in told.items()}
    events = [
        hubspot_event(person.id, name, str(value), at, number=number * 10 + place)
        for place, (name, value) in enumerate(properties.items())
    ]
    millis, order_key = round(at.timestamp() * 1000), _order_key(at, now)
    fields: list[Mapping[str, Json]] = [{}, *(_mapped(person, {name: value}) for name, value in told.items())]
    said = tuple(
        Said(f"24519873|25|{number * 10 + place}|{person.id}|{millis}|{name}", order_key, fields[place])
        for place, name in enumerate(properties)
    )
    return Sending(person, said, lambda signed_at: hubspot(events, signed_at))


def _partial(person: Person, told: Mapping[str, Json], at: datetime | None, now: datetime, number: int) -> Sending:
    key = f"hd-{number}"
    record: dict[str, Any] = {_NAMES[person.source][name]: value for name, value in told.items()}
    said = Said(key, _order_key(at, now), _mapped(person, told))
    return Sending(person, (said,), lambda _: helpdesk(str(person.id), key, at, email=person.email, **record))


def _mapped(person: Person, told: Mapping[str, Json]) -> dict[str, Json]:
    """What the configuration above makes of it: nothing clears a field unless it says so."""
    return {name: value for name, value in told.items() if value is not None or (person.source, name) in _CLEARED}


def _order_key(at: datetime | None, now: datetime) -> int:
    """The sender's clock unless it has none, or one that is too far ahead."""
    counted = now if at is None or at > now + BELIEVED else at
    return (counted - _EPOCH) // timedelta(microseconds=1)
