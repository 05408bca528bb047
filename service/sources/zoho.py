"""Zoho CRM notifications: the changed values of one or several records, and a token for a proof.

Signs: nothing. The ``token`` given when notifications were enabled comes back in the body
(https://www.zoho.com/crm/developer/docs/api/v8/notifications/enable.html), so that whoever holds it can send anything:
use https. Channels that were enabled without one send null, which is refused.
Batches: one operation on the records in ``ids``, each with its own values in ``affected_values`` and its own names in
``affected_fields``. A channel that was enabled without ``return_affected_field_values`` sends no values.
Orders: not documented; ``server_time`` orders, in milliseconds.
Repeats: not documented, and no notification has an id. The dedup key is made of channel, module, operation, record,
time and values, so that what is sent again with another time counts as another change.

Values are those of the changed fields alone, by their API names, and null where one was emptied: the rest must be read
back. A deletion changes ``Record_Status__s`` to 0. Nothing is said of merges, nor of records that are restored.

``query_params`` repeats the query of the address, where some keep credentials: it is no more kept than the token is.
"""

import hashlib
from datetime import datetime
from typing import ClassVar, Final

import orjson

from service.errors import ParseError, TooLarge, VerificationError
from service.model import Action, Change, InboundRequest, Json, Record, to_micros
from service.sources.base import (
    EVENTS_MAX,
    IGNORED,
    Exported,
    Sample,
    Secrets,
    Source,
    Strict,
    dedup_key,
    detail,
    identifier,
    instant,
    mapping_at,
    matches,
    raw,
    read_json,
    secret_bytes,
    within_limits,
)

_TOKEN: Final = "token"  # noqa: S105  # the name of its place
_CREDENTIALS: Final = frozenset({_TOKEN, "query_params"})
_OBJECT_TYPES: Final = {"Contacts": "contact"}
_ACTIONS: Final = {"insert": Action.CREATED, "update": Action.UPDATED, "delete": Action.DELETED}
_FIELDS: Final = {
    "first_name": "First_Name",
    "last_name": "Last_Name",
    "email": "Email",
    "phone": "Phone",
    "title": "Title",
}


class ZohoAuth(Strict):
    """The token that the channel was enabled with."""

    token: Secrets


class ZohoSource(Source[ZohoAuth]):
    """A Zoho CRM organization's notifications. Contacts count; records of other modules are logged and ignored."""

    preset: ClassVar[str] = "zoho"
    Auth: ClassVar[type[Strict]] = ZohoAuth
    usual_email: ClassVar[str | None] = "Email"
    usual_mapping: ClassVar[Record] = {
        "first_name": {"from": "First_Name", "transform": ["trim"]},
        "last_name": {"from": "Last_Name", "transform": ["trim"]},
        "email": {"from": "Email", "transform": ["trim", "lower"]},
        "phone": {"from": ["Mobile", "Phone"], "transform": ["trim"], "on_error": "skip"},
        "title": {"from": "Title", "transform": ["trim"]},
    }
    # https://www.zoho.com/crm/developer/docs/api/v8/get-records.html
    exported: ClassVar[Exported] = Exported(updated_at="Modified_Time")

    def __init__(self, name: str, auth: ZohoAuth | None, parse: Strict | None = None) -> None:
        super().__init__(name, auth, parse)
        self._tokens = () if auth is None else secret_bytes(auth.token)

    def verify(self, request: InboundRequest, *, now: datetime) -> None:  # noqa: ARG002  # a token knows no time
        """Return only if the token in the body is right; else raise VerificationError and nothing else."""
        if self.auth is None:
            return
        try:
            given = _document(request.body).get(_TOKEN)
        except ParseError as error:
            raise VerificationError(f"the token cannot be read: {error.cause}") from None
        if not isinstance(given, str):
            raise VerificationError("the token is missing", hint="give the channel a token when it is enabled")
        if not matches([raw(given)], self._tokens):
            raise VerificationError("the token is wrong")

    def parse(self, request: InboundRequest) -> tuple[Change, ...]:
        """Read a change for each record of a request, in its order; raise ParseError or TooLarge, nothing else."""
        return within_limits(_changes(_document(request.body)), len(request.body))

    def redact(self, request: InboundRequest) -> InboundRequest:
        """Take the token and the query out of the body as well; a body that cannot be read goes with them."""
        try:
            document = _document(request.body)
            body = orjson.dumps({name: value for name, value in document.items() if name not in _CREDENTIALS})
        except ParseError:
            body = b""
        return super().redact(InboundRequest(request.method, request.url, request.headers, body))

    def sample(self, sample: Sample, *, url: str, now: datetime) -> InboundRequest:  # noqa: ARG002  # as verify
        """Make the notification that Zoho CRM would send for the sample change."""
        document = _sample_notification(sample) | {_TOKEN: self._tokens[0].decode() if self._tokens else None}
        return InboundRequest("POST", url, {"content-type": "application/json"}, orjson.dumps(document))


def _document(body: bytes) -> dict[str, Json]:
    """Read a body in the one way that proof, parsing and keeping share: of a key that stands twice, the last counts."""
    return mapping_at(read_json(body), "the body")


def _changes(document: Record) -> list[Change]:
    """Say in our words what a notification says happened to each of its records."""
    values, names = _values(document), _names(document)
    ids = [identifier(value, "one of ids") for value in _listed(document, "ids")]
    records = dict.fromkeys([*ids, *values])
    if not records:
        raise ParseError("no record is named")
    if len(records) > EVENTS_MAX:
        raise TooLarge(f"{len(records)} records in one request; at most {EVENTS_MAX}")
    return [_change(document, one, values.get(one, {}), names.get(one, ())) for one in records]


def _values(document: Record) -> dict[str, dict[str, Json]]:
    """Return the values that a body has of each record."""
    found: dict[str, dict[str, Json]] = {}
    for entry in _listed(document, "affected_values"):
        affected = mapping_at(entry, "one of affected_values")
        record_id, values = identifier(affected.get("record_id"), "record_id"), affected.get("values")
        found[record_id] = found.get(record_id, {}) | ({} if values is None else mapping_at(values, "values"))
    return found


def _listed(document: Record, name: str) -> list[Json]:
    """Return a list of the body, an empty one where it is left out or null."""
    value = document.get(name)
    if value is not None and not isinstance(value, list):
        raise ParseError(f"{name} is not a list")
    return value or []


def _names(document: Record) -> dict[str, tuple[str, ...]]:
    """Return the names of the changed fields by record; what is not in the documented form names none."""
    listed = document.get("affected_fields")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    return {
        record_id: tuple(name for name in names if isinstance(name, str))
        for entry in entries
        for record_id, names in entry.items()
        if isinstance(names, list)
    }


def _change(document: Record, record_id: str, values: Record, names: tuple[str, ...]) -> Change:
    """Say in our words what was done to one record."""
    module, operation = (detail(document.get(name)) or "unknown" for name in ("module", "operation"))
    object_type = _OBJECT_TYPES.get(module, module)
    action = _ACTIONS.get(operation, Action.OTHER)
    contact = object_type == "contact" and action is not Action.OTHER
    # Without their values, names would only say that nothing else needs to be read.
    listed = action is Action.UPDATED and bool(names) and values.keys() >= set(names)
    channel, sent_at = (detail(document.get(name)) or "" for name in ("channel_id", "server_time"))
    content = hashlib.sha256(orjson.dumps(values, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return Change(
        dedup_key=dedup_key(channel, module, operation, record_id, sent_at, content),
        object_type=object_type,
        object_id=record_id,
        action=action,
        occurred_at=instant(document.get("server_time"), "server_time"),
        changed_fields=names if contact and listed else None,
        values=values if contact else {},
        thin=True,
        ignored=_why_ignored(object_type, operation, action),
    )


def _why_ignored(object_type: str, operation: str, action: Action) -> str | None:
    if object_type != "contact":
        return f"object type {object_type}"
    return f"operation {operation}" if action is Action.OTHER else IGNORED.get(action)


def _sample_notification(sample: Sample) -> dict[str, Json]:
    values: dict[str, Json] = {_FIELDS.get(name, name): value for name, value in sample.fields.items()}
    names: list[Json] = list(values)
    return {
        "server_time": to_micros(sample.at) // 1000,
        "affected_values": [{"record_id": sample.object_id, "values": values}],
        "query_params": {},
        "module": "Contacts",
        "resource_uri": "https://www.zohoapis.com/crm/v8/Contacts",
        "ids": [sample.object_id],
        "affected_fields": [] if sample.created else [{sample.object_id: names}],
        "operation": "insert" if sample.created else "update",
        "channel_id": "1772443000001",
    }
