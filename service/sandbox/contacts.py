"""The contacts of the account: kept, found, paged, changed, merged, as recorded."""

import random
import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from service.sandbox import fields
from service.sandbox.answers import Refused, error, no_contact
from service.sandbox.clock import Clock
from service.sandbox.documents import Json
from service.sandbox.paging import Key, from_cursor, per_page, to_cursor
from service.sandbox.seed import Seed
from service.sandbox.settings import Switches

FILTERS: Final = ("email", "customer_external_id", "customer_uuid", "data_source_uuid")

_INDEXED: Final = ("email", "customer_external_id", "customer_uuid")
_SEED_STEP_NS: Final = 1_000_000_000
_UUID_EPOCH_100NS: Final = 0x01B21DD213814000
"""1582-10-15 to 1970-01-01 in the unit of a version 1 uuid."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of contacts. The cursor is there on the last page too, and None only when nothing was found."""

    contacts: Sequence[Mapping[str, Json]]
    cursor: str | None
    has_more: bool


class Contacts:
    """Every contact by uuid, in order of creation. Each method is one step: nothing is seen half done."""

    def __init__(self, seed: Seed, clock: Clock) -> None:
        self._clock = clock
        self._random = random.Random(0)  # noqa: S311  # node ids of uuids need no secrecy
        self._kinds = fields.kinds_of(seed.custom_attributes, (fields.as_custom(c["custom"]) for c in seed.contacts))
        self._contacts: dict[str, dict[str, Json]] = {}
        self._created: dict[str, int] = {}
        self._order: list[Key] = []
        self._index: dict[tuple[str, str], dict[str, None]] = {}
        self._last_ns = clock.wall_ns() - (len(seed.contacts) + 1) * _SEED_STEP_NS
        for contact in seed.contacts:
            self._last_ns += _SEED_STEP_NS
            self._add({**contact, "custom": dict(fields.as_custom(contact["custom"]))})

    def all(self) -> Iterable[Mapping[str, Json]]:
        """Every contact, the oldest first."""
        return self._contacts.values()

    def get(self, contact_uuid: str) -> Mapping[str, Json]:
        """The contact. Raises Refused (404)."""
        return self._of(contact_uuid)

    def of_customer(self, customer_uuid: str) -> list[Mapping[str, Json]]:
        """The contacts of one customer, the oldest first."""
        return [self._contacts[found] for found in self._index.get(("customer_uuid", customer_uuid.casefold()), ())]

    def create(self, identity: Mapping[str, Json], body: Mapping[str, Json], switches: Switches) -> Mapping[str, Json]:
        """A new contact of the customer in ``identity``, last in position unless the body says. Raises Refused."""
        wanted = fields.wanted(body, switches, self._kinds)
        self._last_ns = max(self._clock.wall_ns(), self._last_ns + 1)
        contact: dict[str, Json] = dict.fromkeys(fields.ALL)
        contact.update(identity)
        contact["uuid"] = self._new_uuid()
        contact["position"] = self._next_position(str(identity["customer_uuid"]))
        contact.update(wanted.values)
        contact["custom"] = wanted.custom or {}
        self._add(contact)
        return contact

    def update(self, contact_uuid: str, body: Mapping[str, Json], switches: Switches) -> Mapping[str, Json]:
        """The contact with the keys of the body changed and all others as they were. Raises Refused."""
        contact = self._of(contact_uuid)
        wanted = fields.wanted(body, switches, self._kinds)
        self._change(contact, wanted.values)
        if wanted.custom is not None:
            kept = fields.as_custom(contact["custom"]) if switches.custom_unsent == "kept" else {}
            contact["custom"] = {**kept, **wanted.custom}
        return contact

    def merge(self, into_uuid: str, from_uuid: str) -> Mapping[str, Json]:
        """The ``into`` contact, its blanks filled from the other, which is gone. Raises Refused.

        Uuid, position and whatever ``into`` has stay; the notes of both are joined with a space, and the custom values
        that only the other has are carried over.
        """
        into, other = self._of(into_uuid), self._of(from_uuid)
        if into is other:
            raise Refused(error(422, "A contact cannot be merged with itself", "from_contact_uuid"))
        filled = {
            name: other[name]
            for name in (*fields.TEXTS, "external_id", "last_seen")
            if fields.is_blank(into[name]) and not fields.is_blank(other[name])
        }
        if not fields.is_blank(into["notes"]) and not fields.is_blank(other["notes"]):
            filled["notes"] = f"{into['notes']} {other['notes']}"
        custom = {**fields.as_custom(other["custom"]), **fields.as_custom(into["custom"])}
        self.delete(from_uuid)
        self._change(into, filled)
        into["custom"] = custom
        return into

    def delete(self, contact_uuid: str) -> None:
        """Forgets the contact. Raises Refused (404)."""
        contact = self._of(contact_uuid)
        self._unindex(contact, _INDEXED)
        del self._contacts[contact_uuid]
        key = (self._created.pop(contact_uuid), contact_uuid)
        del self._order[bisect_left(self._order, key)]

    def page(self, query: Mapping[str, str], switches: Switches) -> Page:
        """The page that the query's filters, ``cursor`` and ``per_page`` ask for. Raises Refused (400)."""
        wanted = {name: query[name] for name in FILTERS if query.get(name)}
        keys = self._candidates(wanted)
        size = per_page(query)
        start = from_cursor(query["cursor"]) if query.get("cursor") else None
        if switches.list_order == "newest_first":
            last = len(keys) if start is None else bisect_left(keys, start)
            order: Iterable[int] = range(last - 1, -1, -1)
        else:
            order = range(0 if start is None else bisect_right(keys, start), len(keys))
        found: list[Key] = []
        for index in order:
            if self._fits(keys[index][1], wanted, switches):
                found.append(keys[index])
                if len(found) > size:
                    break
        rows = found[:size]
        cursor = to_cursor(rows[-1]) if rows else None
        return Page([self._contacts[found_uuid] for _, found_uuid in rows], cursor, len(found) > size)

    def _of(self, contact_uuid: str) -> dict[str, Json]:
        contact = self._contacts.get(contact_uuid)
        if contact is None:
            raise Refused(no_contact(contact_uuid))
        return contact

    def _candidates(self, wanted: Mapping[str, str]) -> Sequence[Key]:
        """The keys, in order, of the contacts that the narrowest index leaves; all where no index is asked for."""
        narrowed = [self._index.get((name, wanted[name].casefold()), {}) for name in _INDEXED if name in wanted]
        if not narrowed:
            return self._order
        return sorted((self._created[found], found) for found in min(narrowed, key=len))

    def _fits(self, contact_uuid: str, wanted: Mapping[str, str], switches: Switches) -> bool:
        contact = self._contacts[contact_uuid]
        for name, value in wanted.items():
            held = contact[name]
            if name == "email" and switches.email_filter == "case_insensitive":
                if str(held).casefold() != value.casefold():
                    return False
            elif held != value:
                return False
        return True

    def _add(self, contact: dict[str, Json]) -> None:
        contact_uuid = str(contact["uuid"])
        self._contacts[contact_uuid] = contact
        self._created[contact_uuid] = self._last_ns
        self._order.append((self._last_ns, contact_uuid))
        self._reindex(contact, _INDEXED)

    def _change(self, contact: dict[str, Json], values: Mapping[str, Json]) -> None:
        changes_index = "email" in values
        if changes_index:
            self._unindex(contact, ("email",))
        contact.update(values)
        if changes_index:
            self._reindex(contact, ("email",))

    def _reindex(self, contact: Mapping[str, Json], names: Iterable[str]) -> None:
        for name in names:
            if not fields.is_blank(contact[name]):
                self._index.setdefault((name, str(contact[name]).casefold()), {})[str(contact["uuid"])] = None

    def _unindex(self, contact: Mapping[str, Json], names: Iterable[str]) -> None:
        for name in names:
            if not fields.is_blank(contact[name]):
                key = (name, str(contact[name]).casefold())
                del self._index[key][str(contact["uuid"])]
                if not self._index[key]:
                    del self._index[key]

    def _next_position(self, customer_uuid: str) -> int:
        taken = [contact["position"] for contact in self.of_customer(customer_uuid)]
        return max((position for position in taken if isinstance(position, int)), default=0) + 1

    def _new_uuid(self) -> str:
        """A version 1 uuid of the creation time, as ChartMogul's are."""
        ticks = self._last_ns // 100 + _UUID_EPOCH_100NS
        low, middle, high = ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF
        clock, node = self._random.getrandbits(14), self._random.getrandbits(48)
        made = uuid.UUID(fields=(low, middle, high, clock >> 8, clock & 0xFF, node), version=1)
        return f"con_{made}"
