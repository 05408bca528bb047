"""The routes of ``/v1``: one request in, one answer out, nothing awaited, so that each request is one step.

https://dev.chartmogul.com/reference/contacts
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

import orjson

from service.sandbox import fields
from service.sandbox.access import Access, Keys
from service.sandbox.answers import NO_KEY, Answer, Refused, error, page, success
from service.sandbox.contacts import Contacts
from service.sandbox.customers import Customers
from service.sandbox.documents import Json
from service.sandbox.settings import Switches

ACCOUNT: Final[Json] = {
    "id": "acc_d0ac0a3c-2c7d-11ee-9b1d-1f0a6c5e7b42",
    "name": "Sandbox",
    "currency": "EUR",
    "time_zone": "Europe/Berlin",
    "week_start_on": "monday",
}
_FIXED: Final = {"ping": {"data": "pong!"}, "account": ACCOUNT}
QUERY_FIELDS_MAX: Final = 100
PREFIX: Final = "/v1/"

_UUID: Final = re.compile(r"con_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WRITES: Final = frozenset({"POST", "PATCH", "PUT", "DELETE"})


class Call(NamedTuple):
    """One request, its body read."""

    method: str
    path: str
    query: bytes
    authorization: bytes | None
    body: bytes


class Api:
    """ChartMogul's contacts API over this state."""

    def __init__(self, contacts: Contacts, customers: Customers, keys: Keys) -> None:
        self._contacts = contacts
        self._customers = customers
        self._keys = keys

    def respond(self, call: Call, switches: Switches) -> Answer:
        """The answer; what the call asks for is done when it is returned. Never raises."""
        try:
            self._authenticate(call, switches)
            return self._route(call, switches)
        except Refused as refused:
            return refused.answer

    def _authenticate(self, call: Call, switches: Switches) -> None:
        access = self._keys.access(call.authorization)
        if access is Access.NONE:
            raise Refused(error(401, NO_KEY))
        if switches.trial_expired:
            raise Refused(error(403, "Your trial has expired"))
        if access is Access.READ and call.method in _WRITES:
            raise Refused(error(switches.read_only_write, "This API key is read-only"))

    def _route(self, call: Call, switches: Switches) -> Answer:
        parts = call.path.removeprefix(PREFIX).split("/") if call.path.startswith(PREFIX) else []
        match parts:
            case ["contacts", *rest]:
                return self._about_contacts(rest, call, switches)
            case ["customers", uuid, "contacts"] if call.method == "POST":
                return self._create(uuid, call, switches)
            case ["customers", *rest] if call.method == "GET":
                return self._about_customers(rest, _query(call), switches)
            case [name] if call.method == "GET" and name in _FIXED:
                return success(_FIXED[name])
            case _:
                return page(404, "Not Found")

    def _about_contacts(self, rest: list[str], call: Call, switches: Switches) -> Answer:
        match call.method, rest:
            case "PATCH", [uuid]:
                answer = self._update(_checked(uuid, switches), call, switches)
            case "GET", [uuid]:
                answer = success(shown(self._contacts.get(_checked(uuid, switches)), switches))
            case "GET", []:
                answer = self._list(_query(call), switches)
            case "POST", []:
                answer = self._create(None, call, switches)
            case "DELETE", [uuid]:
                self._contacts.delete(_checked(uuid, switches))
                answer = success({})
            case "POST", [into, "merge", other]:
                answer = self._merge(_checked(into, switches), _checked(other, switches), switches)
            case _:
                answer = page(404, "Not Found")
        return answer

    def _about_customers(self, rest: list[str], query: Mapping[str, str], switches: Switches) -> Answer:
        match rest:
            case []:
                return success(self._customers.page(query))
            case ["search"]:
                return success(self._customers.search(query))
            case [uuid]:
                return success(self._customers.as_document(self._customers.get(uuid)))
            case [uuid, "contacts"]:
                self._customers.get(uuid)
                return self._list({**query, "customer_uuid": uuid}, switches)
            case _:
                return page(404, "Not Found")

    def _update(self, uuid: str, call: Call, switches: Switches) -> Answer:
        self._contacts.get(uuid)
        contact = shown(self._contacts.update(uuid, _body(call), switches), switches)
        if switches.patch_custom == "array":
            custom = fields.as_custom(contact["custom"])
            contact = {**contact, "custom": [{"key": key, "value": value} for key, value in custom.items()]}
        return success(contact)

    def _merge(self, into: str, other: str, switches: Switches) -> Answer:
        contact = self._contacts.merge(into, other)
        return success({**shown(contact, switches), "customer_uuid": None})

    def _list(self, query: Mapping[str, str], switches: Switches) -> Answer:
        found = self._contacts.page(query, switches)
        entries = [shown(contact, switches) for contact in found.contacts]
        return success({"entries": entries, "cursor": found.cursor, "has_more": found.has_more})

    def _create(self, customer_uuid: str | None, call: Call, switches: Switches) -> Answer:
        body = _body(call)
        uuid = _needed(body, "customer_uuid") if customer_uuid is None else customer_uuid
        data_source_uuid = _needed(body, "data_source_uuid")
        customer = self._customers.get(uuid)
        identity: dict[str, Json] = {
            "customer_uuid": uuid,
            "customer_external_id": customer.external_id,
            "data_source_uuid": data_source_uuid,
        }
        return success(shown(self._contacts.create(identity, body, switches), switches), status=201)


def shown(contact: Mapping[str, Json], switches: Switches) -> Mapping[str, Json]:
    """The contact as answers show it: all keys in the recorded order, less those that the switches leave out."""
    if switches.external_id == "present" and switches.last_seen == "present":
        return contact
    absent = {name for name in ("external_id", "last_seen") if getattr(switches, name) == "absent"}
    return {name: value for name, value in contact.items() if name not in absent}


def _query(call: Call) -> dict[str, str]:
    try:
        return dict(parse_qsl(call.query.decode("ascii"), max_num_fields=QUERY_FIELDS_MAX))
    except ValueError:
        raise Refused(error(400, "The query cannot be read")) from None


def _body(call: Call) -> Mapping[str, Json]:
    try:
        body = orjson.loads(call.body)
    except orjson.JSONDecodeError:
        raise Refused(error(400, "The request body is not valid JSON")) from None
    if not isinstance(body, dict):
        raise Refused(error(400, "The request body must be a JSON object"))
    return body


def _needed(body: Mapping[str, Json], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(error(400, f'Parameter "{name}" is missing', name))
    return value


def _checked(uuid: str, switches: Switches) -> str:
    """The uuid, unless those without the form of one get 400. A seed's own uuids need not have it."""
    if switches.malformed_uuid == 400 and not _UUID.fullmatch(uuid):  # noqa: PLR2004  # the switch's own value
        raise Refused(error(400, f'"{uuid.removeprefix("con_")}" is not a valid uuid', "contact_uuid"))
    return uuid
