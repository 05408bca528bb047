"""Pipedrive webhooks v2: the whole record, what it was before, and no signature but HTTP Basic.

Signs: nothing. The user name and password given when the webhook is made come back as HTTP Basic
(https://pipedrive.readme.io/docs/guide-for-webhooks-v2), so whoever holds them can send anything: use https.
Batches: one change a request. ``meta`` says what happened, ``data`` is the record, ``previous`` its changed fields as
they were.
Orders: not promised; ``meta.timestamp`` orders. Bulk edits come as one request for each record.
Repeats: any answer but 2xx within 10 s is tried again after 3, 30 and 150 s with the same ``meta.id``; ten failed first
attempts ban the webhook for 30 minutes and lose what happens meanwhile, three days without success delete it.

Merges come as two events (https://pipedrive.readme.io/docs/webhooks-v2-migration-guide): a delete of the absorbed
person with ``merged_to_id``, which is ignored as any deletion is, and a change of the survivor with ``merged_from_id``.
The survivor's carries the whole record as merged, so it is delivered, with the action ``merged``.
Custom fields stand under their 40-character keys, each an object with its type: a ``value``, with ``currency`` or the
parts of an address beside it; ``from`` and ``until``; the ``id`` of an option, person, organization or user; or
``values`` of option ids. Labels of options are never sent. An unset field is null.
Changes made through the API say so in ``change_source``, and who made them in ``user_id``.

Version 1 is refused by name: there ``meta.id`` is the id of the record, not of the event, so that a second change of a
person would pass for a repetition of the first.
"""

from datetime import datetime
from typing import ClassVar, Final

import orjson

from service.errors import ParseError, UnsupportedVersion
from service.model import Action, Change, InboundRequest, Json, Record
from service.sources.base import (
    IGNORED,
    BasicAuth,
    BasicProof,
    Exported,
    Sample,
    Source,
    Strict,
    attempt_number,
    detail,
    identifier,
    instant,
    mapping_at,
    optional_identifier,
    read_json,
    within_limits,
)

_ACTIONS: Final = {"create": Action.CREATED, "change": Action.UPDATED, "delete": Action.DELETED}
_CUSTOM: Final = "custom_fields"
_RENAMED: Final = {"title": "job_title"}
_OWN_FIELDS: Final = frozenset({"first_name", "last_name", "job_title", "name", "label", "notes", "org_id", "owner_id"})


class PipedriveAuth(BasicAuth):
    """The user name and password that the webhook was made with."""


class PipedriveSource(Source[PipedriveAuth]):
    """A Pipedrive account's webhooks v2. Persons are contacts; everything else is logged and ignored."""

    preset: ClassVar[str] = "pipedrive"
    Auth: ClassVar[type[Strict]] = PipedriveAuth
    usual_email: ClassVar[str | None] = "emails[?primary].value"
    usual_mapping: ClassVar[Record] = {
        "first_name": {"from": "first_name", "transform": ["trim"]},
        "last_name": {"from": "last_name", "transform": ["trim"]},
        "email": {"from": "emails[?primary].value", "transform": ["trim", "lower"]},
        "phone": {"from": "phones[?primary].value", "transform": ["trim"], "on_error": "skip"},
        "title": {"from": "job_title", "transform": ["trim"]},
    }
    # https://developers.pipedrive.com/docs/api/v1/Persons
    exported: ClassVar[Exported] = Exported(updated_at="update_time")

    def __init__(self, name: str, auth: PipedriveAuth | None, parse: Strict | None = None) -> None:
        super().__init__(name, auth, parse)
        self._proof = None if auth is None else BasicProof(auth)

    def verify(self, request: InboundRequest, *, now: datetime) -> None:  # noqa: ARG002  # nothing here is signed by time
        """Return only if the credentials are right; else raise VerificationError and nothing else."""
        if self._proof is not None:
            self._proof.verify(request)

    def parse(self, request: InboundRequest) -> tuple[Change, ...]:
        """Read the one change of a request; raise ParseError, UnsupportedVersion or TooLarge, nothing else."""
        document = mapping_at(read_json(request.body), "the body")
        meta = mapping_at(document.get("meta"), "meta")
        _refuse_other_versions(document, meta)
        return within_limits([_change(document, meta)], len(request.body))

    def sample(self, sample: Sample, *, url: str, now: datetime) -> InboundRequest:  # noqa: ARG002  # as verify
        """Make the webhook that Pipedrive would send for the sample change."""
        previous = _sample_record(sample, sample.previous) if sample.previous else {}
        person_id: Json = int(sample.object_id) if sample.object_id.isdecimal() else sample.object_id
        document = {
            "meta": _sample_meta(sample),
            "data": {"id": person_id, **_sample_record(sample, sample.fields)},
            "previous": None if sample.created else previous,
        }
        headers = {"content-type": "application/json", "user-agent": "Pipedrive Webhooks"}
        signed = {} if self._proof is None else self._proof.sign()
        return InboundRequest("POST", url, headers | signed, orjson.dumps(document))


def _refuse_other_versions(document: Record, meta: Record) -> None:
    """Raise UnsupportedVersion for anything but v2, before a field of it is believed."""
    version = detail(meta.get("version", meta.get("v", 2)))
    if "current" in document or "entity" not in meta or version is None or version.partition(".")[0] != "2":
        raise UnsupportedVersion(
            "not a Pipedrive webhook of version 2",
            hint="delete the webhook in Pipedrive and make it again with version 2.0",
        )


def _change(document: Record, meta: Record) -> Change:
    """Say in our words what a webhook says happened."""
    event_id = identifier(meta.get("id"), "meta.id")
    entity = detail(meta.get("entity")) or "unknown"
    merged_from = optional_identifier(meta.get("merged_from_id"), "meta.merged_from_id")
    action, ignored = _action(entity, meta.get("action"), absorbing=merged_from is not None)
    contact = entity == "person" and action is not Action.OTHER
    previous = _object_or_none(document.get("previous"), "previous") if contact else None
    values = _object_or_none(document.get("data"), "data") if contact else None
    if values is None and ignored is None:
        raise ParseError("data is not an object")
    return Change(
        dedup_key=event_id,
        crm_event_id=event_id,
        object_type=entity,
        object_id=identifier(meta.get("entity_id"), "meta.entity_id"),
        action=action,
        occurred_at=instant(meta.get("timestamp"), "meta.timestamp"),
        changed_fields=None if previous is None or action in (Action.CREATED, Action.DELETED) else _names(previous),
        values={} if values is None else values,
        previous=previous,
        merged_from=() if merged_from is None else (merged_from,),
        merged_into=optional_identifier(meta.get("merged_to_id"), "meta.merged_to_id"),
        origin=detail(meta.get("change_source")),
        actor=detail(meta.get("user_id")),
        tenant=detail(meta.get("company_id")),
        attempt=attempt_number(meta.get("attempt")),
        ignored=ignored,
    )


def _action(entity: str, word: Json, *, absorbing: bool) -> tuple[Action, str | None]:
    """Return the action, and why it is ignored if it is. A survivor's change is delivered: it carries its record."""
    action = _ACTIONS.get(word, Action.OTHER) if isinstance(word, str) else Action.OTHER
    if action is Action.UPDATED and absorbing:
        action = Action.MERGED
    if entity != "person":
        return action, f"object type {entity}"
    if action is Action.OTHER:
        return action, f"action {detail(word) or 'unknown'}"
    return action, IGNORED[action] if action is Action.DELETED else None


def _object_or_none(value: Json, what: str) -> dict[str, Json] | None:
    return None if value is None else mapping_at(value, what)


def _names(previous: Record) -> tuple[str, ...]:
    """Return the names of the changed fields; a custom field's is ``custom_fields.<hash>``."""
    custom = previous.get(_CUSTOM)
    if not isinstance(custom, dict):
        return tuple(previous)
    return (*(name for name in previous if name != _CUSTOM), *(f"{_CUSTOM}.{name}" for name in custom))


def _sample_meta(sample: Sample) -> dict[str, Json]:
    return {
        "action": "create" if sample.created else "change",
        "company_id": "7401283",
        "correlation_id": "f3b5c1a8-64d2-4a0e-9e6b-2f1f4c6f5b10",
        "entity_id": sample.object_id,
        "entity": "person",
        "id": sample.event_id,
        "is_bulk_edit": False,
        "timestamp": sample.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "type": "general",
        "user_id": "11250873",
        "version": "2.0",
        "webhook_id": "402117",
        "webhook_owner_id": "11250873",
        "change_source": "app",
        "permitted_user_ids": ["11250873"],
        "attempt": 1,
        "host": "northwind.pipedrive.com",
    }


def _sample_record(sample: Sample, fields: Record) -> dict[str, Json]:
    """Return fields as Pipedrive lays them out: lists of emails and phones, typed custom fields by their hash."""
    record: dict[str, Json] = {}
    custom: dict[str, Json] = {}
    for field, value in fields.items():
        name = _RENAMED.get(field, field)
        if name in ("email", "phone"):
            record[f"{name}s"] = [] if value is None else [{"label": "work", "value": value, "primary": True}]
        elif name in _OWN_FIELDS:
            record[name] = value
        else:
            custom[name] = None if value is None else {"type": "varchar", "value": value}
    if custom:
        record[_CUSTOM] = custom
    if fields is sample.fields and {"first_name", "last_name"} & record.keys():
        record["name"] = " ".join(str(record[part]) for part in ("first_name", "last_name") if record.get(part))
    return record
