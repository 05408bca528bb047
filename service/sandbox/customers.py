"""The customers: found by uuid, external id or email. They are as they are; nothing here changes them.

https://dev.chartmogul.com/reference/customers/list-by-email
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Final

from service.sandbox.answers import Refused, error, no_customer
from service.sandbox.contacts import Contacts
from service.sandbox.documents import Json
from service.sandbox.paging import per_page
from service.sandbox.seed import CustomerSeed, Seed

FIRST_ID: Final = 114_167_452


class Customers:
    """Every customer, those that only a contact of the seed names included."""

    def __init__(self, seed: Seed, contacts: Contacts) -> None:
        self._contacts = contacts
        known = {customer.uuid: customer for customer in seed.customers}
        for contact in seed.contacts:
            if isinstance(contact["customer_uuid"], str):
                implied = CustomerSeed(
                    contact["customer_uuid"], _text(contact["customer_external_id"]), _text(contact["data_source_uuid"])
                )
                known.setdefault(implied.uuid, implied)
        self._ids = {uuid: FIRST_ID + number for number, uuid in enumerate(known)}
        self._known = known

    def get(self, uuid: str) -> CustomerSeed:
        """The customer. Raises Refused (404)."""
        customer = self._known.get(uuid)
        if customer is None:
            raise Refused(no_customer(uuid))
        return customer

    def page(self, query: Mapping[str, str]) -> Mapping[str, Json]:
        """The list of ``GET /v1/customers``, by ``external_id`` and ``data_source_uuid``; empty when none fits."""
        found = [
            customer
            for customer in self._known.values()
            if query.get("external_id") in (None, customer.external_id)
            and query.get("data_source_uuid") in (None, customer.data_source_uuid)
        ]
        return self._page(found, query)

    def search(self, query: Mapping[str, str]) -> Mapping[str, Json]:
        """The list of ``GET /v1/customers/search?email=``. Raises Refused: 400 without email, 404 when none has it."""
        email = query.get("email")
        if not email:
            raise Refused(error(400, 'Parameter "email" is missing', "email"))
        wanted = email.casefold()
        found = [customer for customer in self._known.values() if self._email(customer).casefold() == wanted]
        if not found:
            raise Refused(error(404, f'Can\'t find any customers with email: "{email}"', "email"))
        return {**self._page(found, query), "total_pages": None}

    def as_document(self, customer: CustomerSeed) -> dict[str, Json]:
        """The customer with every recorded key; what the sandbox does not keep is null, blank or nought."""
        number = self._ids[customer.uuid]
        name = customer.name or customer.external_id or customer.uuid
        return {
            "id": number,
            "uuid": customer.uuid,
            "external_id": customer.external_id,
            "name": name,
            "email": self._email(customer),
            "status": "Active",
            "customer-since": None,
            "attributes": {"custom": {}, "clearbit": {}, "stripe": {}, "tags": []},
            "data_source_uuid": customer.data_source_uuid,
            "data_source_uuids": [customer.data_source_uuid],
            "external_ids": [customer.external_id],
            "company": name,
            "country": None,
            "state": None,
            "city": "",
            "zip": None,
            "lead_created_at": None,
            "free_trial_started_at": None,
            "address": {"country": None, "state": None, "city": "", "address_zip": None},
            "mrr": 0,
            "arr": 0,
            "billing-system-url": None,
            "chartmogul-url": f"https://app.chartmogul.com/#/customers/{number}-{name.replace(' ', '_')}",
            "billing-system-type": "Import API",
            "currency": "EUR",
            "currency-sign": "€",
            "owner": None,
        }

    def _page(self, found: Sequence[CustomerSeed], query: Mapping[str, str]) -> dict[str, Json]:
        size = per_page(query)
        start = _from_cursor(query["cursor"]) if query.get("cursor") else 0
        rest = [customer for customer in found if self._ids[customer.uuid] > start]
        rows = rest[:size]
        return {
            "entries": [self.as_document(customer) for customer in rows],
            "current_page": 1,
            "total_pages": -(-len(found) // size) or 1,
            "has_more": len(rest) > size,
            "per_page": size,
            "page": 1,
            "cursor": base64.b64encode(f"&{self._ids[rows[-1].uuid]}".encode()).decode() if rows else None,
        }

    def _email(self, customer: CustomerSeed) -> str:
        if customer.email is not None:
            return customer.email
        contacts = self._contacts.of_customer(customer.uuid)
        first = min(contacts, key=lambda contact: int(str(contact["position"])), default=None)
        return "" if first is None or first["email"] is None else str(first["email"])


def _from_cursor(cursor: str) -> int:
    try:
        return int(base64.b64decode(cursor, validate=True).decode().removeprefix("&"))
    except (binascii.Error, ValueError):
        raise Refused(error(400, "The cursor provided is not valid", "cursor")) from None


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None
