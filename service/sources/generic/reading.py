"""Reading a document by configuration: where its events are, and where in each of them things stand."""

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Final

import orjson
from pydantic import AfterValidator, Field, model_validator

from service.errors import ParseError, TooLarge
from service.model import MISSING, Action, Change, Json
from service.paths import Path
from service.sources.base import (
    EVENTS_MAX,
    IGNORED,
    Sample,
    Strict,
    dedup_key,
    detail,
    identifier,
    instant,
    mapping_at,
)
from service.sources.generic.bodies import Format
from service.sources.generic.challenges import Challenge
from service.sources.generic.places import DocumentPath, KeysPath, put
from service.times import isoformat_z

SPLIT_MAX: Final = 100
"""Items of a list that a request is split by: each keeps all the rest of the request."""

_WORDS: Final[Mapping[str, Action]] = {
    word: action
    for action, words in {
        Action.CREATED: "create created creation insert inserted add added new",
        Action.UPDATED: "update updated change changed edit edited modify modified upsert upserted",
        Action.DELETED: "delete deleted deletion remove removed destroy destroyed",
        Action.MERGED: "merge merged",
        Action.RESTORED: "restore restored undelete undeleted",
    }.items()
    for word in words.split()
}
_NOT_LETTERS: Final = re.compile(r"[^a-z]+")
_CAPITAL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SUBJECTS: Final = frozenset({"record", "object", "event", "webhook"})


def _lower(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.lower() for word in words)


class Parse(Strict):
    """Where things stand; all paths but ``events`` and ``split`` start at an event."""

    format: Format = "json"
    challenge: Annotated[Challenge | None, Field(description="What the CRM asks to be given back, to begin with.")] = (
        None
    )
    events: Annotated[DocumentPath | None, Field(description="The list of events, where a request has several.")] = None
    split: Annotated[
        KeysPath | None,
        Field(description="A list, such as one of ids: the request is an event for each, with the item in its place."),
    ] = None
    event_id: Annotated[DocumentPath | None, Field(description="What is the same when an event is repeated.")] = None
    object_id: DocumentPath
    object_type: DocumentPath | None = None
    contact_types: Annotated[
        tuple[str, ...],
        Field(min_length=1, max_length=20, description="The object types that are contacts; all others are ignored."),
        AfterValidator(_lower),
    ] = ("contact", "contacts", "person", "persons", "people")
    action: DocumentPath | None = None
    occurred_at: DocumentPath | None = None
    values: Annotated[DocumentPath | None, Field(description="The record; without it, the event itself.")] = None
    previous: DocumentPath | None = None
    changed_fields: Annotated[DocumentPath | None, Field(description="A list of names, or an object of them.")] = None

    @model_validator(mode="after")
    def _agrees(self) -> "Parse":
        if self.events is not None and self.split is not None:
            raise ValueError("a request has its events in a list of their own, or is split by one, not both")
        return self


class Reader:
    """Reads events by one configuration, and makes documents that it can read."""

    def __init__(self, parse: Parse) -> None:
        self._parse = parse
        self._subjects = _SUBJECTS | frozenset(parse.contact_types)

    def read(self, document: Json, *, message_id: str | None) -> tuple[Change, ...]:
        """Return the changes of a document in its order; raise ParseError or TooLarge."""
        events, several = self._events(document)
        return tuple(
            self._change(mapping_at(event, "an event"), message_id, index if several else None)
            for index, event in enumerate(events)
        )

    def document(self, sample: Sample) -> Json:
        """Return a document that reads as the sample change."""
        parse = self._parse
        fields: Json = dict(sample.fields)
        event = fields if parse.values is None else put({}, parse.values.steps, fields)
        if parse.event_id is None and parse.occurred_at is None:
            event = {**mapping_at(event, "an event"), "sent_at": isoformat_z(sample.at)}  # tells two samples apart
        named = None if parse.changed_fields == parse.values else parse.changed_fields  # else the values name them
        placed: tuple[tuple[Path | None, Json], ...] = (
            (parse.previous, dict(sample.previous)),
            (named, list(sample.previous or sample.fields)),
            (parse.event_id, sample.event_id),
            (parse.object_id, sample.object_id),
            (parse.object_type, parse.contact_types[0]),
            (parse.action, "created" if sample.created else "updated"),
            (parse.occurred_at, isoformat_z(sample.at)),
        )
        for path, value in placed:
            if path is not None:
                event = put(event, path.steps, value)
        if parse.split is not None:
            event = put(event, parse.split.steps, [_at(event, parse.split)])
        return event if parse.events is None else put({}, parse.events.steps, [event])

    def _events(self, document: Json) -> tuple[list[Json], bool]:
        """Return the events of a document, and whether it may have several."""
        if self._parse.split is not None:
            return _split(document, self._parse.split), True
        events = document if self._parse.events is None else _at(document, self._parse.events)
        listed: list[Json] = events if isinstance(events, list) else [events]
        if len(listed) > EVENTS_MAX:
            raise TooLarge(f"{len(listed)} events in one request; at most {EVENTS_MAX}")
        return listed, isinstance(events, list)

    def _change(self, event: dict[str, Json], message_id: str | None, place: int | None) -> Change:
        parse = self._parse
        event_id = message_id if parse.event_id is None else identifier(_at(event, parse.event_id), "event_id")
        shared = place is not None and (parse.event_id is None or parse.split is not None)
        object_type = self._object_type(event)
        action, ignored = self._action(event)
        contact = object_type.lower() in parse.contact_types
        if not contact:  # what is not a contact is logged without its values
            ignored = f"object type {object_type}"
        values = self._values(event, needed=ignored is None) if contact else {}
        previous = _at(event, parse.previous) if contact else None
        return Change(
            dedup_key=_dedup_key(event, event_id, place if shared else None),
            crm_event_id=event_id,
            object_type=object_type,
            object_id=identifier(_at(event, parse.object_id), "object_id"),
            action=action,
            occurred_at=instant(_at(event, parse.occurred_at), "occurred_at"),
            changed_fields=_names(_at(event, parse.changed_fields)),
            values=values,
            previous=None if previous is None else mapping_at(previous, "previous"),
            ignored=ignored,
        )

    def _values(self, event: dict[str, Json], *, needed: bool) -> dict[str, Json]:
        """Return the record; what is ignored, such as a deletion, may come without."""
        values = event if self._parse.values is None else _at(event, self._parse.values)
        return {} if values is None and not needed else mapping_at(values, "values")

    def _object_type(self, event: dict[str, Json]) -> str:
        value = _at(event, self._parse.object_type)
        return "contact" if value is None or value == "" else detail(value) or "unknown"

    def _action(self, event: dict[str, Json]) -> tuple[Action, str | None]:
        """Return the action and why it is ignored if it is; an event that names none is an update."""
        value = _at(event, self._parse.action)
        if value is None or value == "":
            return Action.UPDATED, None
        word = detail(value) or "unknown"
        letters = _NOT_LETTERS.split(_CAPITAL.sub("_", word).lower())
        verbs = [part for part in letters if part and part not in self._subjects]
        action = _WORDS.get(verbs[0], Action.OTHER) if len(verbs) == 1 else Action.OTHER
        return action, f"action {word}" if action is Action.OTHER else IGNORED.get(action)


def _at(document: Json, path: Path | None) -> Json:
    """Return what stands at a path that may not be configured; absent is null here, where only presence counts."""
    value = MISSING if path is None else path.get(document)
    return None if value is MISSING else value


def _split(document: Json, path: Path) -> list[Json]:
    """Return the document once for each item of a list in it, with the item in the list's place."""
    items = _at(document, path)
    if items is None:
        raise ParseError("the request has nothing to be split by")
    listed = items if isinstance(items, list) else [items]
    if len(listed) > SPLIT_MAX:
        raise TooLarge(f"{len(listed)} items to split one request by; at most {SPLIT_MAX}")
    return [put(document, path.steps, item) for item in listed]


def _dedup_key(event: dict[str, Json], event_id: str | None, place: int | None) -> str:
    """Return what makes an event unique: its id, with its place where a request's events share that; or its content."""
    if event_id is None:
        return _fingerprint(event)
    return dedup_key(event_id) if place is None else dedup_key(event_id, str(place))


def _names(value: Json) -> tuple[str, ...] | None:
    if value is None:
        return None
    listed = list(value) if isinstance(value, list | dict) else []
    names = tuple(name for name in listed if isinstance(name, str))
    if not isinstance(value, list | dict) or len(names) != len(listed):
        raise ParseError("changed_fields is not a list of names")
    return names


def _fingerprint(event: dict[str, Json]) -> str:
    return "sha256:" + hashlib.sha256(orjson.dumps(event, option=orjson.OPT_SORT_KEYS)).hexdigest()
