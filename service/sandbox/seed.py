"""The state at the start: contacts, customers and custom attributes, from a JSON file or built in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from service.sandbox import fields
from service.sandbox.documents import Json, describe

FILE_MAX_BYTES: Final = 256 * 1024 * 1024

_OPTIONAL_TEXTS: Final = (
    *("customer_uuid", "customer_external_id", "data_source_uuid"),
    *fields.TEXTS,
    *("external_id", "last_seen"),
)


class SeedError(ValueError):
    """The seed cannot be used. The text names the place in the file, what was found and what is allowed."""

    def __init__(self, path: str, found: str, allowed: str) -> None:
        super().__init__(f"{path}: found {found}; allowed: {allowed}")
        self.path = path


@dataclass(frozen=True, slots=True)
class CustomerSeed:
    """A customer to start with. Without an email it has that of its first contact."""

    uuid: str
    external_id: str | None = None
    data_source_uuid: str | None = None
    name: str | None = None
    email: str | None = None


@dataclass(frozen=True, slots=True)
class Seed:
    """A checked seed. The contacts hold every key, in the recorded order; the oldest comes first."""

    contacts: tuple[Mapping[str, Json], ...] = ()
    customers: tuple[CustomerSeed, ...] = ()
    custom_attributes: tuple[str, ...] = ()


def read_seed(file: Path) -> Seed:
    """The seed in a JSON file. Raises SeedError if it cannot be read, is no JSON or not a seed."""
    try:
        if file.stat().st_size > FILE_MAX_BYTES:
            raise SeedError(file.name, "a file too large", f"at most {FILE_MAX_BYTES} bytes")
        content = file.read_bytes()
    except OSError as fault:
        raise SeedError(file.name, f"no readable file ({fault.strerror})", "a JSON file") from fault
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as fault:
        raise SeedError(file.name, f"no JSON at line {fault.lineno}, column {fault.colno}", "JSON") from None
    return parse_seed(document, name=file.name)


def parse_seed(document: object, *, name: str = "seed") -> Seed:
    """The seed that a JSON document says; ``{}`` is an empty account.

    Contacts are as the API returns them: keys that are left out are null, keys that are not known are skipped, a
    customer or attribute that only a contact names is taken as known. Raises SeedError.
    """
    parts = _object(document, name)
    allowed = ("contacts", "customers", "custom_attributes")
    for key in parts:
        if key not in allowed:
            raise SeedError(f"{name}: {key}", "an unknown name", ", ".join(allowed))
    contacts = tuple(
        _contact(item, f"{name}: contacts[{index}]") for index, item in enumerate(_list(parts, "contacts", name))
    )
    customers = tuple(
        _customer(item, f"{name}: customers[{index}]") for index, item in enumerate(_list(parts, "customers", name))
    )
    attributes = tuple(
        _needed_text(item, f"{name}: custom_attributes[{index}]")
        for index, item in enumerate(_list(parts, "custom_attributes", name))
    )
    _refuse_twice([str(contact["uuid"]) for contact in contacts], f"{name}: contacts")
    _refuse_twice([customer.uuid for customer in customers], f"{name}: customers")
    return Seed(contacts, customers, attributes)


def _contact(item: Json, path: str) -> Mapping[str, Json]:
    given = _object(item, path)
    contact: dict[str, Json] = dict.fromkeys(fields.ALL)
    contact["uuid"] = _uuid(given.get("uuid"), "con_", f"{path}.uuid")
    for key in _OPTIONAL_TEXTS:
        contact[key] = _text(given.get(key), f"{path}.{key}")
    position = given.get("position", 1)
    if not isinstance(position, int) or isinstance(position, bool):
        raise SeedError(f"{path}.position", describe(position), "a whole number")
    contact["position"] = position
    custom = _object(given.get("custom", {}), f"{path}.custom")
    for key, value in custom.items():
        if fields.kind_of(value) is None:
            place, most = f"{path}.custom[{key!r}]", fields.CUSTOM_TEXT_MAX
            raise SeedError(place, describe(value), f"true, false, a number or a text of up to {most} characters")
    contact["custom"] = dict(custom)
    return contact


def _customer(item: Json, path: str) -> CustomerSeed:
    given = _object(item, path)
    return CustomerSeed(
        uuid=_uuid(given.get("uuid"), "cus_", f"{path}.uuid"),
        external_id=_text(given.get("external_id"), f"{path}.external_id"),
        data_source_uuid=_text(given.get("data_source_uuid"), f"{path}.data_source_uuid"),
        name=_text(given.get("name"), f"{path}.name"),
        email=_text(given.get("email"), f"{path}.email"),
    )


def _object(item: object, path: str) -> Mapping[str, Json]:
    if not isinstance(item, dict):
        raise SeedError(path, describe(item), "an object")
    return item


def _list(parts: Mapping[str, Json], key: str, name: str) -> list[Json]:
    items = parts.get(key, [])
    if not isinstance(items, list):
        raise SeedError(f"{name}: {key}", describe(items), "a list")
    return items


def _text(value: Json, path: str) -> str | None:
    return None if value is None else _needed_text(value, path)


def _needed_text(value: Json, path: str) -> str:
    if not isinstance(value, str):
        raise SeedError(path, describe(value), "a text")
    return value


def _uuid(value: Json, prefix: str, path: str) -> str:
    uuid = _needed_text(value, path)
    if not uuid.startswith(prefix):
        raise SeedError(path, "a text", f"a text that starts with {prefix}")
    return uuid


def _refuse_twice(uuids: list[str], path: str) -> None:
    seen: dict[str, int] = {}
    for index, uuid in enumerate(uuids):
        if uuid in seen:
            raise SeedError(f"{path}[{index}].uuid", f"the uuid of [{seen[uuid]}] again", "each uuid once")
        seen[uuid] = index
