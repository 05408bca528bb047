"""Notifications: each says how one record stands, which becomes a change in our words."""

from typing import Final
from xml.etree.ElementTree import Element

from service.errors import ParseError
from service.model import Action, Change, Json, Record
from service.sources.base import DEPTH_MAX, dedup_key, detail, identifier, instant
from service.sources.salesforce.envelope import INSTANCE, OUTBOUND, child, text_of

_TYPE: Final = f"{INSTANCE}}}type"
_NIL: Final = f"{INSTANCE}}}nil"
_TRUE: Final = frozenset({"true", "1"})
_SHORT: Final = 15
_CASES: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
"""A sign for each way in which five characters can be upper case."""
_GONE: Final = "without data: deleted before it was sent, or hidden from the sending user"


def long_id(text: str) -> str:
    """Return the form with 18 characters of a record's id that has 15; anything else as it is."""
    if len(text) != _SHORT or not (text.isascii() and text.isalnum()):
        return text
    fives = (text[start : start + 5] for start in range(0, _SHORT, 5))
    return text + "".join(_CASES[sum(one.isupper() << place for place, one in enumerate(five))] for five in fives)


def change_of(notification: Element, organization: str) -> Change:
    """Say in our words what one notification says of its record."""
    event_id = identifier(text_of(notification, "Id"), "Notification/Id")
    record = child(notification, f"{OUTBOUND}}}sObject")
    kind = "unknown" if record is None else _kind(record)
    fields = {} if record is None else {_local(field.tag): _value(field) for field in record}
    ignored = _why_ignored(kind, fields)
    at = fields.get("LastModifiedDate") or fields.get("SystemModstamp")
    return Change(
        dedup_key=dedup_key(organization, event_id),
        crm_event_id=event_id,
        object_type=kind,
        object_id=_object_id(fields.get("Id"), needed=ignored is None),
        action=_action(fields),
        occurred_at=instant(at, "LastModifiedDate or SystemModstamp"),
        values={} if ignored else fields,
        actor=detail(fields.get("LastModifiedById")),
        tenant=detail(organization),
        ignored=ignored,
    )


def _object_id(value: Json, *, needed: bool) -> str:
    """Return the record's id. What is ignored may have lost it with everything else."""
    if not value and not needed:
        return "unknown"
    return long_id(identifier(value.strip() if isinstance(value, str) else value, "sObject/Id"))


def _why_ignored(kind: str, fields: Record) -> str | None:
    if not fields.keys() - {"Id"}:
        return _GONE
    return None if kind == "contact" else f"object type {kind}"


def _action(fields: Record) -> Action:
    """Tell a creation by its dates; a record without data may be deleted, or hidden from the sending user."""
    if not fields.keys() - {"Id"}:
        return Action.OTHER
    created = fields.get("CreatedDate")
    return Action.CREATED if created and created == fields.get("LastModifiedDate") else Action.UPDATED


def _kind(record: Element) -> str:
    """Return the type of the record's object in lower case, ``contact`` of ``sf:Contact``."""
    return (detail(record.get(_TYPE, "").rpartition(":")[2].strip()) or "unknown").lower()


def _value(field: Element, depth: int = 0) -> Json:
    """Return a field's text, None where it is nil; a field of several parts is an object. Raises ParseError."""
    if field.get(_NIL) in _TRUE:
        return None
    if not len(field):
        return field.text or ""
    if depth == DEPTH_MAX:
        raise ParseError(f"a field deeper than {DEPTH_MAX} levels")
    return {_local(part.tag): _value(part, depth + 1) for part in field}


def _local(name: str) -> str:
    return name.rpartition("}")[2]
