"""Intercom notifications: one contact each, whole, with the time of its last change.

Signs (https://developers.intercom.com/docs/references/webhooks/webhook-models): ``X-Hub-Signature`` is ``sha1=`` and
the hex HMAC-SHA1 of the body, the key is the app's client secret. No time is signed, so that whoever sees a request can
repeat it: its id is known by then. Before it saves an address, Intercom asks by HEAD whether somebody is there
(https://developers.intercom.com/docs/webhooks/setting-up-webhooks).
Batches: one change a request. The contact is ``data.item``, or stands in it beside the tag or subscription in question.
Orders: not promised. The contact's ``updated_at`` orders, in milliseconds; where it has none, as in a deletion, the
notification's ``created_at`` does, in seconds.
Repeats: with the same ``id`` and a higher ``delivery_attempts``; a ``ping`` has no id. Who answers slowly is served
later, 429 slows it down, and seven days of errors end a private app's notifications
(https://developers.intercom.com/docs/webhooks/webhook-notifications).

One save can raise several notifications with ids of their own, such as ``contact.user.updated`` and
``contact.email.updated``. Both have the contact as it is then, only that one may cut the milliseconds off its time.

A merge names the survivor alone: nothing says which record it ended. It is delivered with the survivor's values, and as
thin, so that what they leave out is read back. A deletion or an archiving has little more than the ids.

The topics of older versions, where ``user.*`` were users and ``contact.*`` leads, are read as well.
"""

import hmac
from datetime import datetime
from typing import ClassVar, Final

import orjson

from service.errors import ParseError, VerificationError
from service.model import Action, Change, InboundRequest, Json, Record, Reply, to_micros
from service.sources.base import (
    IGNORED,
    Exported,
    Sample,
    Secrets,
    Source,
    Strict,
    attempt_number,
    dedup_key,
    detail,
    header,
    identifier,
    instant,
    mapping_at,
    matches,
    optional_identifier,
    read_json,
    secret_bytes,
    within_limits,
)

_SIGNATURE: Final = "x-hub-signature"
_PEOPLE: Final = frozenset({"contact", "user"})
_ROLES: Final = frozenset({"user", "lead"})
_ACTIONS: Final = {
    "created": Action.CREATED,
    "updated": Action.UPDATED,
    "email.updated": Action.UPDATED,
    "added_email": Action.UPDATED,
    "signed_up": Action.UPDATED,
    "tag.created": Action.UPDATED,
    "tag.deleted": Action.UPDATED,
    "subscribed": Action.UPDATED,
    "unsubscribed": Action.UPDATED,
    "unsubscribed_from_sms": Action.UPDATED,
    "merged": Action.MERGED,
    "deleted": Action.DELETED,
    "archived": Action.DELETED,
    "archive": Action.DELETED,
    "unarchived": Action.RESTORED,
    "unarchive": Action.RESTORED,
}
"""What a topic says beyond its object and role. An archived contact is out of sight until it is unarchived."""
_THIN: Final = frozenset({Action.DELETED, Action.MERGED})
_OWN_FIELDS: Final = frozenset({"name", "email", "phone", "role", "external_id", "owner_id"})


class IntercomAuth(Strict):
    """The app's client secret."""

    secret: Secrets


class IntercomSource(Source[IntercomAuth]):
    """An Intercom app's notifications. Contacts count, users and leads alike; the rest is logged and ignored."""

    preset: ClassVar[str] = "intercom"
    Auth: ClassVar[type[Strict]] = IntercomAuth
    usual_email: ClassVar[str | None] = "email"
    usual_mapping: ClassVar[Record] = {
        "first_name": {"from": "name", "transform": ["split_first"]},
        "last_name": {"from": "name", "transform": ["split_rest"]},
        "email": {"from": "email", "transform": ["trim", "lower"]},
        "phone": {"from": "phone", "transform": ["trim"], "on_error": "skip"},
        "linked_in": {"from": "social_profiles.data[?name=LinkedIn].url", "transform": ["url"], "on_error": "skip"},
        "twitter": {"from": "social_profiles.data[?name=Twitter].url", "transform": ["url"], "on_error": "skip"},
    }
    # https://developers.intercom.com/docs/references/rest-api/api.intercom.io/contacts
    exported: ClassVar[Exported] = Exported(updated_at="updated_at")
    leaves_out_empty: ClassVar[bool] = True

    def __init__(self, name: str, auth: IntercomAuth | None, parse: Strict | None = None) -> None:
        super().__init__(name, auth, parse)
        self._keys = () if auth is None else secret_bytes(auth.secret)

    def verify(self, request: InboundRequest, *, now: datetime) -> None:  # noqa: ARG002  # nothing here is signed by time
        """Return only if the signature is right; else raise VerificationError and nothing else."""
        if self.auth is None:
            return
        given = header(request, _SIGNATURE).lower().encode()
        if not matches([given], (_signature(key, request.body) for key in self._keys)):
            raise VerificationError("the signature is wrong", hint="check the client secret of the Intercom app")

    def parse(self, request: InboundRequest) -> tuple[Change, ...]:
        """Read the one change of a request; raise ParseError or TooLarge, nothing else."""
        document = mapping_at(read_json(request.body), "the body")
        return within_limits([_change(document)], len(request.body))

    def handshake(self, request: InboundRequest) -> Reply | None:
        """Answer the HEAD by which Intercom checks an address; None for any other request, and nothing is raised."""
        return Reply(200, {}, b"") if request.method == "HEAD" else None

    def sample(self, sample: Sample, *, url: str, now: datetime) -> InboundRequest:  # noqa: ARG002  # as verify
        """Make the notification that Intercom would send for the sample change."""
        body = orjson.dumps(_sample_notification(sample))
        headers = {"content-type": "application/json", "user-agent": "intercom-webhooks"}
        if self._keys:
            headers[_SIGNATURE] = _signature(self._keys[0], body).decode()
        return InboundRequest("POST", url, headers, body)


def _signature(key: bytes, body: bytes) -> bytes:
    return b"sha1=" + hmac.digest(key, body, "sha1").hex().encode()


def _change(document: Record) -> Change:
    """Say in our words what a notification says happened."""
    object_type, verb = _kind(document.get("topic"))
    action = _ACTIONS.get(verb, Action.OTHER) if object_type == "contact" else Action.OTHER
    known = action is not Action.OTHER
    item = _item(document, needed=known)
    values = _contact(item) if known else {}
    object_id = identifier(values.get("id"), "the contact's id") if known else detail(item.get("id")) or "unknown"
    event_id = optional_identifier(document.get("id"), "id")
    if event_id is None and known:
        raise ParseError("id is missing")
    created_at = instant(document.get("created_at"), "created_at")
    return Change(
        dedup_key=_unnamed(document, object_id) if event_id is None else event_id,
        crm_event_id=event_id,
        object_type=object_type,
        object_id=object_id,
        action=action,
        occurred_at=instant(values.get("updated_at"), "updated_at") or created_at,
        values=values,
        tenant=detail(document.get("app_id")),
        attempt=attempt_number(document.get("delivery_attempts")),
        thin=action in _THIN,
        ignored=_why_ignored(object_type, verb, action),
    )


def _kind(topic: Json) -> tuple[str, str]:
    """Return the kind of object, and what of it the topic says: a contact's role is left out of both."""
    first, *rest = (detail(topic) or "unknown").split(".")
    if first not in _PEOPLE:
        return first or "unknown", ".".join(rest)
    return "contact", ".".join(rest[1:] if rest and rest[0] in _ROLES else rest)


def _why_ignored(object_type: str, verb: str, action: Action) -> str | None:
    if object_type != "contact":
        return f"object type {object_type}"
    if action is Action.OTHER:
        return f"topic {verb or 'unknown'}"
    return IGNORED[action] if action is Action.DELETED else None


def _item(document: Record, *, needed: bool) -> Record:
    """Return what a notification is about. One of a kind that we do not know may be about nothing."""
    data = document.get("data")
    item = data.get("item") if isinstance(data, dict) else None
    return mapping_at(item, "data.item") if needed or isinstance(item, dict) else {}


def _contact(item: Record) -> Record:
    """Return the contact, which stands beside its tag or subscription where one of these changed."""
    for name in ("contact", "user"):
        inner = item.get(name)
        if isinstance(inner, dict):
            return inner
    return item


def _unnamed(document: Record, object_id: str) -> str:
    """Return what tells a notification without id from others: a ping is one for each second."""
    names = ("topic", "app_id", "created_at")
    return dedup_key("without id", *(detail(document.get(name)) or "" for name in names), object_id)


def _sample_notification(sample: Sample) -> dict[str, Json]:
    return {
        "type": "notification_event",
        "app_id": "nw4tq2d7",
        "data": {"type": "notification_event_data", "item": _sample_contact(sample)},
        "links": {},
        "id": sample.event_id,
        "topic": "contact.user.created" if sample.created else "contact.user.updated",
        "delivery_status": "pending",
        "delivery_attempts": 1,
        "delivered_at": 0,
        "first_sent_at": to_micros(sample.at) // 1_000_000,
        "created_at": to_micros(sample.at) // 1_000_000,
        "self": None,
    }


def _sample_contact(sample: Sample) -> dict[str, Json]:
    """Return the fields as Intercom lays them out: one name, and attributes of the workspace's own."""
    fields = dict(sample.fields)
    names = [fields.pop(part, None) for part in ("first_name", "last_name")]
    custom = {"job_title" if name == "title" else name: fields[name] for name in fields if name not in _OWN_FIELDS}
    return {
        "type": "contact",
        "id": sample.object_id,
        "workspace_id": "nw4tq2d7",
        "role": "user",
        "name": " ".join(str(name) for name in names if name) or None,
        "updated_at": sample.at.isoformat(timespec="milliseconds"),
        **{name: value for name, value in fields.items() if name in _OWN_FIELDS},
        "custom_attributes": custom,
    }
