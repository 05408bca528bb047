"""Close webhooks: the whole contact, what changed, and what it was before.

Signs (https://developer.close.com/topics/webhooks/): ``close-sig-hash`` is the hex HMAC-SHA256 of
``close-sig-timestamp`` and the body, with nothing between them. The key is the subscription's ``signature_key`` decoded
from hex, not its text. The time is in seconds; Close does not say how far it may be from ours, so that 5 min hold.
Batches: one event a request.
Orders: not promised. ``date_updated`` of the event orders; it has no offset and is UTC.
Repeats: what is not answered well is tried again for 72 hours, at growing distances of up to 20 min, with the same
event. Updates that follow each other closely become one event (https://developer.close.com/resources/event-log/): it
keeps its id and gets a new ``date_updated``, so that both are the dedup key.

``changed_fields`` and ``previous_data`` say what changed. A custom field is a key with a dot in it, ``custom.cf_…``,
and a record has only those with a value (https://developer.close.com/resources/leads/): one that changed and is not in
the record was cleared, and counts as null.

Contacts have no merge of their own. A merge of two leads updates and deletes contacts of theirs, each with an event
that names both leads in ``meta`` (https://developer.close.com/resources/event-log/list-of-events/). Whoever is deleted
so is taken to live on as a contact of the other lead: ``on_deleted`` does not hold for it.

Changes made through the API with a key name that in ``api_key_id``; who made them, or any other, is ``user_id``.
"""

import hmac
import re
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Final

import orjson
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from service.errors import VerificationError
from service.model import Action, Change, InboundRequest, Json, Record, to_micros
from service.sources.base import (
    IGNORED,
    Exported,
    Sample,
    Secrets,
    Source,
    Strict,
    dedup_key,
    detail,
    fresh,
    header,
    identifier,
    instant,
    mapping_at,
    matches,
    read_json,
    whole_number,
    within_limits,
)

_SIGNATURE: Final = "close-sig-hash"
_TIMESTAMP: Final = "close-sig-timestamp"
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_KEY_ALLOWED: Final = "the subscription's signature_key, an even number of hex digits"
_MICROS_PER_S: Final = 1_000_000
_CUSTOM: Final = "custom."
_ACTIONS: Final = {"created": Action.CREATED, "updated": Action.UPDATED, "deleted": Action.DELETED}
_OWN_FIELDS: Final = frozenset({"title", "name"})


def _in_hex(secrets: Secrets) -> Secrets:
    if not all(_HEX.fullmatch(secret.get_secret_value()) for secret in secrets):
        # With the words that the configuration's report shows also where the secret came from a variable.
        raise PydanticCustomError("hex", "a secret must be {allowed}", {"allowed": _KEY_ALLOWED})
    return secrets


class CloseAuth(Strict):
    """The ``signature_key`` of the webhook subscription, in hex as Close gave it."""

    secret: Annotated[Secrets, AfterValidator(_in_hex)]


class CloseSource(Source[CloseAuth]):
    """A Close webhook subscription. Contacts count; leads and everything else is logged and ignored."""

    preset: ClassVar[str] = "close"
    Auth: ClassVar[type[Strict]] = CloseAuth
    usual_email: ClassVar[str | None] = "emails[0].email"
    usual_mapping: ClassVar[Record] = {
        "first_name": {"from": "name", "transform": ["split_first"]},
        "last_name": {"from": "name", "transform": ["split_rest"]},
        "email": {"from": "emails[0].email", "transform": ["trim", "lower"]},
        "phone": {"from": "phones[0].phone", "transform": ["trim"], "on_error": "skip"},
        "title": {"from": "title", "transform": ["trim"]},
    }
    # https://developer.close.com/resources/contacts/
    exported: ClassVar[Exported] = Exported(updated_at="date_updated")
    leaves_out_empty: ClassVar[bool] = True

    def __init__(self, name: str, auth: CloseAuth | None, parse: Strict | None = None) -> None:
        super().__init__(name, auth, parse)
        secrets = () if auth is None else auth.secret
        self._keys = tuple(bytes.fromhex(secret.get_secret_value()) for secret in secrets)

    def verify(self, request: InboundRequest, *, now: datetime) -> None:
        """Return only if the signature is right and its time near; else raise VerificationError and nothing else."""
        if self.auth is None:
            return
        given = header(request, _SIGNATURE).lower().encode()
        timestamp = header(request, _TIMESTAMP)
        fresh(whole_number(timestamp, f"the header {_TIMESTAMP}") * _MICROS_PER_S, now=now)
        if not matches([given], (_sign(key, timestamp, request.body) for key in self._keys)):
            raise VerificationError(
                "the signature is wrong", hint="check that the secret is the signature_key of this very subscription"
            )

    def parse(self, request: InboundRequest) -> tuple[Change, ...]:
        """Read the one change of a request; raise ParseError or TooLarge, nothing else."""
        document = mapping_at(read_json(request.body), "the body")
        return within_limits([_change(mapping_at(document.get("event"), "event"))], len(request.body))

    def sample(self, sample: Sample, *, url: str, now: datetime) -> InboundRequest:
        """Make the webhook that Close would send for the sample change."""
        body = orjson.dumps({"event": _sample_event(sample), "subscription_id": "whsub_8AmjKCZYT3zI8eZoi4HhFC"})
        headers = {"content-type": "application/json"}
        if self._keys:
            timestamp = str(to_micros(now) // _MICROS_PER_S)
            headers[_TIMESTAMP] = timestamp
            headers[_SIGNATURE] = _sign(self._keys[0], timestamp, body).decode()
        return InboundRequest("POST", url, headers, body)


def _sign(key: bytes, timestamp: str, body: bytes) -> bytes:
    return hmac.digest(key, timestamp.encode() + body, "sha256").hex().encode()


def _change(event: Record) -> Change:
    """Say in our words what an event says happened."""
    event_id = identifier(event.get("id"), "event.id")
    object_type = detail(event.get("object_type")) or "unknown"
    action, ignored = _action(event, object_type)
    contact = object_type == "contact"
    changed = _changed_fields(event) if contact and action is Action.UPDATED else None
    updated_at = _when(event)
    return Change(
        dedup_key=dedup_key(event_id, "" if updated_at is None else str(to_micros(updated_at))),
        crm_event_id=event_id,
        object_type=object_type,
        object_id=identifier(event.get("object_id"), "event.object_id"),
        action=action,
        occurred_at=updated_at,
        changed_fields=changed,
        values=_values(event, changed) if ignored is None else {},
        previous=_previous(event) if contact and action is not Action.OTHER else None,
        origin=detail(event.get("api_key_id")),
        actor=detail(event.get("user_id")),
        tenant=detail(event.get("organization_id")),
        ignored=ignored,
    )


def _action(event: Record, object_type: str) -> tuple[Action, str | None]:
    """Return the action, and why it is ignored if it is."""
    word = event.get("action")
    action = _ACTIONS.get(word, Action.OTHER) if isinstance(word, str) else Action.OTHER
    if object_type != "contact":
        return action, f"object type {object_type}"
    if action is Action.OTHER:
        return action, f"action {detail(word) or 'unknown'}"
    return action, _why_deleted(event) if action is Action.DELETED else None


def _why_deleted(event: Record) -> str:
    meta = event.get("meta")
    by_a_merge = isinstance(meta, dict) and "merge_destination_lead_id" in meta
    return "deleted by a merge of leads in the CRM" if by_a_merge else IGNORED[Action.DELETED]


def _when(event: Record) -> datetime | None:
    """Return when an event was last added to; else when it began."""
    updated_at = instant(event.get("date_updated"), "event.date_updated")
    return instant(event.get("date_created"), "event.date_created") if updated_at is None else updated_at


def _changed_fields(event: Record) -> tuple[str, ...] | None:
    """Return the names that an update lists, None where it lists none that can be names."""
    names = event.get("changed_fields")
    if not isinstance(names, list):
        return None
    listed = tuple(name for name in names if isinstance(name, str))
    return listed if len(listed) == len(names) else None


def _values(event: Record, changed: tuple[str, ...] | None) -> dict[str, Json]:
    """Return the record, with null for the custom fields that a change cleared. Raises ParseError where it has none."""
    record = mapping_at(event.get("data"), "event.data")
    cleared: dict[str, Json] = {name: None for name in changed or () if name.startswith(_CUSTOM)}
    return cleared | record


def _previous(event: Record) -> dict[str, Json] | None:
    previous = event.get("previous_data")
    return None if previous is None else mapping_at(previous, "event.previous_data")


def _sample_event(sample: Sample) -> dict[str, Json]:
    at = sample.at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    record, previous = _sample_record(sample.fields), _sample_record(sample.previous)
    return {
        "id": sample.event_id,
        "object_type": "contact",
        "object_id": sample.object_id,
        "action": "created" if sample.created else "updated",
        "changed_fields": [] if sample.created else list(previous or record),
        "previous_data": {} if sample.created else previous,
        "data": {"id": sample.object_id, **record},
        "date_created": at,
        "date_updated": at,
        "lead_id": "lead_zwqYhEFwzPyfCErS8uQ77is2wFLvr9BgVi6cTfbFM68",
        "organization_id": "orga_XbVPx5fFbKlYTz9PW5Ih1XDhViV10YihIaEgMEb6fVW",
        "user_id": "user_N6KhMpzHRCYQHdn4gRNIFNN5JExnsrprKA6ekxM63XA",
        "api_key_id": None,
        "request_id": "req_4S2L8JTBAA1OUS74SVmfbN",
        "meta": {"request_method": "PUT", "request_path": f"/api/v1/contact/{sample.object_id}/"},
    }


def _sample_record(fields: Record) -> dict[str, Json]:
    """Return fields as Close lays them out: one name, lists of emails and phones, custom fields with a dotted key."""
    record: dict[str, Json] = {}
    for field, value in fields.items():
        if field in ("email", "phone"):
            record[f"{field}s"] = [] if value is None else [{"type": "office", field: value}]
        elif field in _OWN_FIELDS:
            record[field] = value
        elif field not in ("first_name", "last_name"):
            record[f"{_CUSTOM}{field}"] = value
    if names := [str(fields[part]) for part in ("first_name", "last_name") if fields.get(part)]:
        record["name"] = " ".join(names)
    return record
