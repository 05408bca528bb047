"""What the other CRMs send to the benchmark: their vendors' own examples, in which only what must differ differs.

How each proves itself and is configured is what the contract of sources goes by; ``bodies`` fills the examples in.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from service.main import real_clock
from service.sources import PRESETS
from tests.benchmarks.bodies import BATCH, CONFIGURATION, Edit, filled, raw_request
from tests.support.crm import Crm, fixture
from tests.support.crms import CRMS


@dataclass(frozen=True, slots=True)
class Example:
    """One of a preset's example requests, and what stands in its place in each request: ids that come but once."""

    name: str
    marks: Mapping[bytes, bytes]
    id_header: str | None = None
    """The header that tells a request from all others, where none of the body does."""


EXAMPLES: Final[Mapping[str, Example]] = {
    "attio": Example(
        "person_updated_by_a_member",
        {b"bf071e1f-6035-429d-b874-d83ea64ea13b": b"%(id)b"},
        id_header="idempotency-key",
    ),
    "close": Example(
        "contact_updated",
        {
            b"ev_2sYKRjcrA79yKxi3S4Crd7": b"ev_%(id)b",
            b"cont_BwlwYQkIP6AooiXP1CMvc6Zbb5gGh2gPu4dqIDlDrII": b"cont_%(n)043d",
        },
    ),
    "dataverse": Example(
        "contact_updated",
        {
            b"4af10637-4ea2-e711-8122-000d3aa2331c": b"%(id)b",
            b"6d81597f-0f9f-e711-8122-000d3aa2331c": b"%(n)08x-0f9f-e711-8122-000d3aa2331c",
        },
    ),
    "intercom": Example(
        "one_edit_as_user_updated",
        {b"notif_3a00c7d2-6fb0-4c0c-b089-ab44f0c9c28a": b"notif_%(id)b", b"69a1b3c4d5e6f70819202a3b": b"%(n)024x"},
    ),
    "salesforce": Example(
        "contact_changed", {b"04l5e00000Gx7QzAAJ": b"04l%(n)012d", b"0035e00000ZkM3hAAF": b"003%(n)012d"}
    ),
    "zoho": Example(
        "contact_updated_and_a_field_emptied",
        {
            b"6756839000000575405": b"6756839%(n)012d",
            b',"token":"c3504777-db15-4332-8286-478a1b5006bc"': b"",  # the contract puts its own there
        },
    ),
}
"""By preset, which is the source's name too."""
OTHERS: Final = tuple(preset for preset in PRESETS if preset in EXAMPLES)

_CRMS: Final[Mapping[str, Crm]] = {crm.preset: crm for crm in reversed(CRMS)}
"""Of each preset, its first way to prove a sender."""
_NOTIFICATION: Final = re.compile(rb"\s*<Notification>.*</Notification>", re.DOTALL)


def singles(preset: str, changes: Iterable[Edit]) -> Iterator[bytes]:
    """Each as one request as its vendor sends it, of another record each time."""
    return _requests(preset, filled([_template(preset)], changes))


def salesforce_batches(changes: Iterable[Edit]) -> Iterator[bytes]:
    """Each hundred as the notifications of one outbound message."""
    template = _template("salesforce")
    found = _NOTIFICATION.search(template)
    assert found is not None
    head, tail = template[: found.start()] % {}, template[found.end() :] % {}
    notifications = filled([found.group()], changes)
    hundreds = iter(lambda: b"".join(islice(notifications, BATCH)), b"")
    return _requests("salesforce", (head + hundred + tail for hundred in hundreds))


def acknowledged(preset: str, changes: int) -> bytes:
    """Return what a CRM must be answered when so many changes are new."""
    crm = _CRMS[preset]
    return crm.source(crm.secrets[0]).accept(accepted=changes, duplicates=0).body


def configuration() -> str:
    """Return the benchmark's configuration with every other preset in it."""
    others = (f"  {preset}: {json.dumps(_entry(_CRMS[preset]))}\n" for preset in OTHERS)
    return CONFIGURATION + "".join(others)


def _requests(preset: str, sent: Iterator[bytes]) -> Iterator[bytes]:
    crm, id_header = _CRMS[preset], EXAMPLES[preset].id_header
    for body in sent:
        request = crm.request(crm.secrets[0], at=real_clock(), body=body)
        own = {} if id_header is None else {id_header: str(uuid4())}
        target = f"/webhooks/{preset}?{urlsplit(request.url).query}"
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**request.headers, **own}.items())
        yield raw_request(target.encode(), lines.encode(), request.body)


def _template(preset: str) -> bytes:
    """Write an example so that ``%`` fills it in."""
    example = EXAMPLES[preset]
    template = fixture(preset, example.name)[0].body.replace(b"%", b"%%")
    for mark, filling in example.marks.items():
        assert mark in template, mark
        template = template.replace(mark, filling)
    return template


def _entry(crm: Crm) -> dict[str, Any]:
    entry = {
        "preset": crm.preset,
        "auth": crm.auth([crm.secrets[0]]),
        "resolve": ["link", {"email": "email"}],
        "preset_mapping": False,
        "mapping": {"first_name": "first_name", "last_name": "last_name", "title": "title"},
    }
    return entry if crm.parse is None else {**entry, "parse": dict(crm.parse)}
