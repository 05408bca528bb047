"""Dataverse (Dynamics 365 Sales and its siblings): the context of one operation, as a webhook step sends it.

Signs: nothing (https://learn.microsoft.com/power-apps/developer/data-platform/register-web-hook). What proves a sender
is a value given at the registration: a header (``HttpHeader``), the parameter ``code`` (``WebhookKey``) or another one
(``HttpQueryString``). Use https.
Batches: one operation on one record a request (https://learn.microsoft.com/power-apps/developer/data-platform/use-webhooks).
Above 256 KB the inputs and images are left out, and the record must be read back.
Orders: not promised. ``modifiedon``, in whole seconds, orders; operations without it, such as deletions, go by
``OperationCreatedOn``. The offset in ``/Date(ms-0700)/`` is for display; in the vendor's own example that time is seven
hours ahead of ``modifiedon``.
Repeats: an asynchronous step once more, after 502, 503 or 504 only; after 60 s or any other answer its system job has
failed. A synchronous step is not repeated: the user's save fails. Several steps of one save, and several updates within
one synchronous request, share ``OperationId``: the dedup key has the step, the record, the message and its time too.

``Target`` has the attributes that the operation was given, which need not differ from before; null clears. Images hold
the columns that were chosen for them, without those that are null, and an asynchronous step has one of its own with no
more than the record's name: nothing tells that a record is whole, so that every change is thin. Values become what the
Web API says: an option set or amount its number, several options their numbers with commas, a date ISO 8601 in UTC. A
lookup keeps its ``Id`` and ``LogicalName``.

A merge names the survivor as ``Target`` and the absorbed contact as ``SubordinateId``. The absorbed contact is not
deleted but deactivated, with ``masterid``: if that update arrives, it counts as a deletion in favour of the survivor.
``Depth`` above 1 is an operation of a plug-in or workflow: its origin is ``depth:2`` and so on.
"""

import re
from dataclasses import replace
from datetime import datetime
from typing import Annotated, ClassVar, Final, Self
from urllib.parse import quote

import orjson
from pydantic import AfterValidator, Field, model_validator

from service.errors import ParseError, VerificationError
from service.model import Action, Change, InboundRequest, Json, Record, from_micros, to_micros
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
    instant,
    mapping_at,
    matches,
    optional_identifier,
    query_values,
    read_json,
    secret_bytes,
    within_limits,
    without_query,
)

_ACTIONS: Final = {
    "Create": Action.CREATED,
    "Update": Action.UPDATED,
    "Delete": Action.DELETED,
    "Merge": Action.MERGED,
}
_GUID: Final = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_NO_GUID: Final = "00000000-0000-0000-0000-000000000000"
_DATE: Final = re.compile(r"/Date\((-?[0-9]{1,15})(?:[+-][0-9]{4})?\)/")
_MICROS_PER_MS: Final = 1_000
_MS_PER_S: Final = 1_000

_ATTRIBUTES: Final = {
    "first_name": "firstname",
    "last_name": "lastname",
    "email": "emailaddress1",
    "phone": "telephone1",
    "title": "jobtitle",
}
_CONTRACTS: Final = "http://schemas.microsoft.com/xrm/2011/Contracts"
_SAMPLE_USER: Final = "75c2dd85-e89e-e711-8122-000d3aa2331c"


class DataverseAuth(Strict):
    """The value that the webhook was registered with, and its one place."""

    token: Secrets
    header: Annotated[
        str | None,
        Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$", description="The key of an HttpHeader registration."),
        AfterValidator(lambda name: name and name.lower()),
    ] = None
    query: Annotated[
        str | None,
        Field(min_length=1, max_length=100, description="code for WebhookKey, else the key of an HttpQueryString."),
    ] = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.header is None) == (self.query is None):
            raise ValueError("a token stands in exactly one of header and query")
        return self


class DataverseSource(Source[DataverseAuth]):
    """A Dataverse environment's webhook steps. Contacts count; everything else is logged and ignored."""

    preset: ClassVar[str] = "dataverse"
    Auth: ClassVar[type[Strict]] = DataverseAuth
    usual_email: ClassVar[str | None] = "emailaddress1"
    usual_mapping: ClassVar[Record] = {
        "first_name": {"from": "firstname", "transform": ["trim"]},
        "last_name": {"from": "lastname", "transform": ["trim"]},
        "email": {"from": "emailaddress1", "transform": ["trim", "lower"]},
        "phone": {"from": ["mobilephone", "telephone1"], "transform": ["trim"], "on_error": "skip"},
        "title": {"from": "jobtitle", "transform": ["trim"]},
    }
    # https://learn.microsoft.com/power-apps/developer/data-platform/reference/entities/contact
    exported: ClassVar[Exported] = Exported(object_id="contactid", updated_at="modifiedon")

    def __init__(self, name: str, auth: DataverseAuth | None, parse: Strict | None = None) -> None:
        super().__init__(name, auth, parse)
        self._tokens = () if auth is None else secret_bytes(auth.token)

    def verify(self, request: InboundRequest, *, now: datetime) -> None:  # noqa: ARG002  # nothing here is signed by time
        """Return only if the token is right; else raise VerificationError and nothing else."""
        if self.auth is None:
            return
        if self.auth.header is not None:
            given = [header(request, self.auth.header).encode()]
        else:
            given = query_values(request.url, self.auth.query or "")
        if not matches(given, self._tokens):
            raise VerificationError("the token is missing or wrong", hint="compare it with the webhook's registration")

    def parse(self, request: InboundRequest) -> tuple[Change, ...]:
        """Read the one change of a request; raise ParseError or TooLarge, nothing else."""
        context = mapping_at(read_json(request.body), "the body")
        return within_limits([_change(context)], len(request.body))

    def redact(self, request: InboundRequest) -> InboundRequest:
        """Take the token out, in the address or in its header."""
        kept = super().redact(request)
        if self.auth is None:
            return kept
        headers = {name: value for name, value in kept.headers.items() if name != self.auth.header}
        url = kept.url if self.auth.query is None else without_query(kept.url, self.auth.query)
        return InboundRequest(kept.method, url, headers, kept.body)

    def sample(self, sample: Sample, *, url: str, now: datetime) -> InboundRequest:  # noqa: ARG002  # as verify
        """Make the request that an asynchronous step would send for the sample change."""
        headers = {"content-type": "application/json"}
        if self.auth is not None and self.auth.header is not None:
            headers[self.auth.header] = self._tokens[0].decode()
        elif self.auth is not None:
            name, token = quote(self.auth.query or "", safe=""), quote(self._tokens[0], safe="")
            url += f"{'&' if '?' in url else '?'}{name}={token}"
        return InboundRequest("POST", url, headers, orjson.dumps(_sample_context(sample)))


def _change(context: Record) -> Change:
    """Say in our words what a context says happened."""
    entity, message = (detail(context.get(name)) or "unknown" for name in ("PrimaryEntityName", "MessageName"))
    if entity == "contact" and message in _ACTIONS:
        return _contact_change(_operation(context, entity, message), context, _ACTIONS[message])
    why = f"message {message}" if entity == "contact" else f"object type {entity}"
    return replace(_operation(context, entity, message), ignored=why)


def _operation(context: Record, entity: str, message: str) -> Change:
    """Return what every operation tells, whatever it did to what."""
    operation_id = identifier(context.get("OperationId"), "OperationId")
    record_id = _guid(optional_identifier(context.get("PrimaryEntityId"), "PrimaryEntityId") or "unknown")
    created_on = context.get("OperationCreatedOn")
    written = optional_identifier(created_on, "OperationCreatedOn") or ""
    depth = context.get("Depth")
    return Change(
        dedup_key=dedup_key(operation_id, _step(context), message, record_id, written),
        crm_event_id=operation_id,
        object_type=entity,
        object_id=record_id,
        action=Action.OTHER,
        occurred_at=instant(created_on, "OperationCreatedOn"),
        origin=detail(f"depth:{depth}") if isinstance(depth, int) and depth > 1 else None,
        actor=detail(context.get("InitiatingUserId")),
        tenant=detail(context.get("OrganizationId")) or detail(context.get("OrganizationName")),
        thin=True,
    )


def _contact_change(operation: Change, context: Record, action: Action) -> Change:
    """Return the operation as a change of its contact."""
    if operation.object_id in {"unknown", _NO_GUID}:
        raise ParseError("PrimaryEntityId is missing", hint="register the step in the stage PostOperation")
    inputs = _pairs(context.get("InputParameters"), "InputParameters")
    target = _attributes(inputs.get("Target"), "Target")
    known = {**_images(context, "PostEntityImages"), **target}
    master = _master(target) if action is Action.UPDATED else None
    action = action if master is None else Action.DELETED
    return replace(
        operation,
        action=action,
        occurred_at=instant(known.get("modifiedon"), "modifiedon") or operation.occurred_at,
        changed_fields=tuple(target) if action is Action.UPDATED and target else None,
        values={} if action is Action.DELETED else known,
        previous=_images(context, "PreEntityImages") or None,
        merged_from=_absorbed(inputs.get("SubordinateId")) if action is Action.MERGED else (),
        merged_into=master,
        ignored=IGNORED[action] if action is Action.DELETED else None,
    )


def _guid(text: str) -> str:
    """Return a GUID in the one spelling that the Web API gives it, and whatever else as it is."""
    return text.lower() if _GUID.fullmatch(text) else text


def _step(context: Record) -> str:
    """Return the id of the step that sends: two steps of one operation are two messages."""
    step = context.get("OwningExtension")
    return (optional_identifier(step.get("Id"), "OwningExtension.Id") if isinstance(step, dict) else None) or ""


def _absorbed(value: Json) -> tuple[str, ...]:
    """Return the id that a merge ended, none where it was left out with the other inputs."""
    absorbed = optional_identifier(value, "SubordinateId")
    return () if absorbed is None else (_guid(absorbed),)


def _master(target: Record) -> str | None:
    """Return the contact that this one was merged into, None unless the update says so."""
    master = target.get("masterid")
    return _guid(identifier(master.get("Id"), "masterid")) if isinstance(master, dict) else None


def _images(context: Record, name: str) -> dict[str, Json]:
    """Return the attributes of all images of one kind; a step may have several, of different columns."""
    found: dict[str, Json] = {}
    for image in _pairs(context.get(name), name).values():
        found |= _attributes(image, name)
    return found


def _attributes(entity: Json, what: str) -> dict[str, Json]:
    """Return the attributes of an entity by name, none of a mere reference to one."""
    if entity is None:
        return {}
    pairs = _pairs(mapping_at(entity, what).get("Attributes"), f"{what}.Attributes")
    return {name: _plain(value) for name, value in pairs.items()}


def _pairs(value: Json, what: str) -> dict[str, Json]:
    """Return a list of ``key`` and ``value`` as one object; null is an empty one. Raises ParseError."""
    if value is None:
        return {}
    if not isinstance(value, list):
        raise ParseError(f"{what} is not a list")
    entries = [mapping_at(entry, what) for entry in value]
    return {identifier(entry.get("key"), f"a key of {what}"): entry.get("value") for entry in entries}


def _plain(value: Json) -> Json:
    """Return an attribute's value as the Web API would give it, a lookup as its two ids."""
    match value:
        case str():
            return _iso(value)
        case {"Value": inner}:
            return _plain(inner)
        case {"Id": str(record_id), "LogicalName": name}:
            return {"Id": _guid(record_id), "LogicalName": name}
        case [{"Value": _}, *_]:
            return ",".join(str(item["Value"]) for item in value if isinstance(item, dict) and "Value" in item)
        case _:
            return value


def _iso(text: str) -> str:
    """Return a date in ISO 8601, any other text as it is."""
    date = _DATE.fullmatch(text)
    if date is None:
        return text
    ms = int(date.group(1))
    try:
        at = from_micros(ms * _MICROS_PER_MS)
    except OverflowError:
        return text
    return at.isoformat(timespec="milliseconds" if ms % _MS_PER_S else "seconds").replace("+00:00", "Z")


def _sample_context(sample: Sample) -> dict[str, Json]:
    """Return the context of a creation or update, with the previous values as a pre-image."""
    modified = f"/Date({to_micros(sample.at) // _MICROS_PER_MS})/"
    record: dict[str, Json] = {"contactid": sample.object_id, **_sample_record(sample.fields), "modifiedon": modified}
    step: dict[str, Json] = {"Id": "75417616-4ea2-e711-8122-000d3aa2331c", "LogicalName": "sdkmessageprocessingstep"}
    return {
        "CorrelationId": "b374239d-4233-41a9-8b17-a86cb4f737b5",
        "Depth": 1,
        "InitiatingUserId": _SAMPLE_USER,
        "InputParameters": [{"key": "Target", "value": _sample_entity(sample, record)}],
        "MessageName": "Create" if sample.created else "Update",
        "Mode": 1,
        "OperationCreatedOn": modified,
        "OperationId": sample.event_id,
        "OrganizationId": "4ef5b371-e89e-e711-8122-000d3aa2331c",
        "OrganizationName": "northwind",
        "OwningExtension": step,
        "PostEntityImages": [],
        "PreEntityImages": [{"key": "before", "value": _sample_entity(sample, _sample_record(sample.previous))}]
        if sample.previous
        else [],
        "PrimaryEntityId": sample.object_id,
        "PrimaryEntityName": "contact",
        "Stage": 40,
    }


def _sample_record(fields: Record) -> dict[str, Json]:
    return {_ATTRIBUTES.get(field, field): value for field, value in fields.items()}


def _sample_entity(sample: Sample, record: Record) -> dict[str, Json]:
    attributes: list[Json] = [{"key": name, "value": value} for name, value in record.items()]
    return {
        "__type": f"Entity:{_CONTRACTS}",
        "Attributes": attributes,
        "Id": sample.object_id,
        "LogicalName": "contact",
    }
