"""Attio webhooks: which record changed, by whom, and nothing else.

Signs (https://docs.attio.com/rest-api/guides/webhooks): hex HMAC-SHA256 of the body with the webhook's secret, in
``Attio-Signature`` and again in ``X-Attio-Signature``; either is accepted. No time is signed, and no other header, so
that whoever sees a request can repeat it: its events only say that a record be read, and tell no old value.
Batches: ``events`` is an array, today of one event.
Orders: not promised, and no event says when it happened: the order of arrival stands for it.
Repeats: any answer but 200 or 202 within 5 s is tried again, up to 10 times in about three days, with the same
``Idempotency-Key``. That and the event's place in ``events`` are the dedup key. A request without the header, which a
proxy may take away, is refused: nothing in an event tells a second change of an attribute from a repetition.

Events carry no values, so the record must be read back. An update names at most one attribute, by an id that no mapping
knows, so that the changed fields are unknown. One save raises several updates: they are waited for.

Records of all objects look alike (https://docs.attio.com/docs/objects-and-lists): an object is a UUID of the workspace.
``parse.people_object`` says which one is people, and records of others are ignored. Without it a record of any object
is let in, and found gone when it is read back as a person.

A merge (https://docs.attio.com/rest-api/webhook-reference/record-events/recordmerged) names the survivor, and as
``duplicate_record_id`` the record that it ended. It is delivered: the survivor has the properties of both.
"""

import hmac
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Final

import orjson
from pydantic import Field

from service.errors import ParseError, VerificationError
from service.model import Action, Change, InboundRequest, Json, Record, Settle
from service.sources.base import (
    IGNORED,
    Exported,
    Sample,
    Secrets,
    Source,
    Strict,
    dedup_key,
    detail,
    header,
    identifier,
    mapping_at,
    matches,
    optional_identifier,
    read_json,
    secret_bytes,
    within_limits,
)

_SIGNATURE: Final = "attio-signature"
_COPY: Final = "x-attio-signature"
_MESSAGE: Final = "idempotency-key"
_PEOPLE: Final = "people"
_ACTIONS: Final = {
    "created": Action.CREATED,
    "updated": Action.UPDATED,
    "deleted": Action.DELETED,
    "merged": Action.MERGED,
}
_SAMPLE_OBJECT: Final = "97052eb9-e65e-443f-a297-f2d9a4a7f795"


class AttioAuth(Strict):
    """The webhook's secret, as Attio made it."""

    secret: Secrets


class AttioParse(Strict):
    """Which records are people."""

    people_object: Annotated[
        str | None,
        Field(
            pattern=r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$",
            description="The workspace's id of its object people: other records are ignored without being read.",
        ),
    ] = None


class AttioSource(Source[AttioAuth]):
    """An Attio webhook. People's events count; what is known to be anything else is logged and ignored."""

    preset: ClassVar[str] = "attio"
    Auth: ClassVar[type[Strict]] = AttioAuth
    Parse: ClassVar[type[Strict] | None] = AttioParse
    usual_email: ClassVar[str | None] = "email_addresses[0].email_address"
    usual_mapping: ClassVar[Record] = {
        "first_name": {"from": "name[0].first_name", "transform": ["trim"]},
        "last_name": {"from": "name[0].last_name", "transform": ["trim"]},
        "email": {"from": "email_addresses[0].email_address", "transform": ["trim", "lower"]},
        "phone": {"from": "phone_numbers[0].original_phone_number", "transform": ["trim"], "on_error": "skip"},
        "title": {"from": "job_title[0].value", "transform": ["trim"]},
        "linked_in": {"from": "linkedin[0].value", "transform": ["url"], "on_error": "skip"},
        "twitter": {"from": "twitter[0].value", "transform": ["trim"], "on_error": "skip"},
    }
    # https://docs.attio.com/rest-api/endpoint-reference/records/list-records
    exported: ClassVar[Exported] = Exported(object_id="id.record_id", values="values")
    usual_settle: ClassVar[Settle] = Settle(timedelta(seconds=2), timedelta(seconds=10))

    def __init__(self, name: str, auth: AttioAuth | None, parse: Strict | None = None) -> None:
        super().__init__(name, auth, parse)
        self._keys = () if auth is None else secret_bytes(auth.secret)
        people = parse.people_object if isinstance(parse, AttioParse) else None
        self._people = None if people is None else people.lower()

    def verify(self, request: InboundRequest, *, now: datetime) -> None:  # noqa: ARG002  # no time is signed
        """Return only if the signature is right; else raise VerificationError and nothing else."""
        if self.auth is None:
            return
        name = _COPY if _COPY in request.headers and _SIGNATURE not in request.headers else _SIGNATURE
        given = header(request, name).lower().encode()
        if not matches([given], (_sign(key, request.body) for key in self._keys)):
            raise VerificationError("the signature is wrong", hint="check the secret of the webhook in Attio")

    def parse(self, request: InboundRequest) -> tuple[Change, ...]:
        """Read the changes of a request, in its order; raise ParseError or TooLarge, nothing else."""
        events = mapping_at(read_json(request.body), "the body").get("events")
        if not isinstance(events, list):
            raise ParseError("events is not a list")
        message = request.headers.get(_MESSAGE)
        if not message:
            raise ParseError(f"the header {_MESSAGE} is missing", hint="Attio sends it: let the proxy pass it on")
        message = identifier(message, f"the header {_MESSAGE}")
        changes = [
            self._change(mapping_at(event, "an event"), message, str(index)) for index, event in enumerate(events)
        ]
        return within_limits(changes, len(request.body))

    def sample(self, sample: Sample, *, url: str, now: datetime) -> InboundRequest:  # noqa: ARG002  # as verify
        """Make the webhook that Attio would send for the sample change: it has no field of it."""
        body = orjson.dumps(_sample_document(sample, self._people or _SAMPLE_OBJECT))
        headers = {"content-type": "application/json", _MESSAGE: sample.event_id}
        signed = {name: _sign(self._keys[0], body).decode() for name in (_SIGNATURE, _COPY) if self._keys}
        return InboundRequest("POST", url, headers | signed, body)

    def _change(self, event: Record, message: str, place: str) -> Change:
        """Say in our words what one event says happened."""
        ids = mapping_at(event.get("id"), "an event's id")
        actor = event.get("actor")
        by = actor if isinstance(actor, dict) else {}
        kind, action = _kind(event)
        concerns_a_record = action is not Action.OTHER
        object_type = self._object_type(ids) if concerns_a_record else kind
        return Change(
            dedup_key=dedup_key(message, place),
            crm_event_id=message,
            object_type=object_type,
            object_id=identifier(ids.get("record_id"), "record_id") if concerns_a_record else "unknown",
            action=action,
            merged_from=_absorbed(event) if action is Action.MERGED else (),
            origin=detail(by.get("type")),
            actor=detail(by.get("id")),
            tenant=detail(ids.get("workspace_id")),
            thin=True,
            ignored=self._why_ignored(event, object_type, action),
        )

    def _object_type(self, ids: Record) -> str:
        """Return ``people``, or the id of a record's object where that may be another."""
        object_id = identifier(ids.get("object_id"), "object_id")
        return _PEOPLE if object_id.lower() == self._people else detail(object_id) or "unknown"

    def _why_ignored(self, event: Record, object_type: str, action: Action) -> str | None:
        if action is Action.OTHER:
            return f"event type {detail(event.get('event_type')) or 'unknown'}"
        if self._people is not None and object_type != _PEOPLE:
            return f"object type {object_type}"
        return IGNORED[action] if action is Action.DELETED else None


def _sign(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, body, "sha256").hex().encode()


def _kind(event: Record) -> tuple[str, Action]:
    """Return what an event is about, and what was done to it, which is OTHER for all but records."""
    kind, _, verb = (detail(event.get("event_type")) or "unknown").partition(".")
    return kind or "unknown", _ACTIONS.get(verb, Action.OTHER) if kind == "record" else Action.OTHER


def _absorbed(event: Record) -> tuple[str, ...]:
    duplicate = optional_identifier(event.get("duplicate_record_id"), "duplicate_record_id")
    return () if duplicate is None else (duplicate,)


def _sample_document(sample: Sample, object_id: str) -> dict[str, Json]:
    ids: dict[str, Json] = {
        "workspace_id": "14beef7a-99f7-4534-a87e-70b564330a4c",
        "object_id": object_id,
        "record_id": sample.object_id,
    }
    if not sample.created:
        ids["attribute_id"] = "41252299-f8c7-4b5e-99c9-4ff8321d2f96"
    return {
        "webhook_id": "23e42eaf-323a-41da-b5bb-fd67eebda553",
        "events": [
            {
                "event_type": "record.created" if sample.created else "record.updated",
                "id": ids,
                "actor": {"type": "workspace-member", "id": "50cf242c-7fa3-4cad-87d0-75b1af71c57b"},
            }
        ],
    }
