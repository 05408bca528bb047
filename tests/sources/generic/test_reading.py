"""Events of any CRM, read by configuration: where they are, what they are called, what makes each unique."""

import json
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from service.errors import ParseError, TooLarge
from service.model import Action, Change
from service.paths import Path, PathError
from service.sources.base import Sample
from service.sources.generic import GenericSource, Parse
from service.sources.generic.reading import SPLIT_MAX
from tests.support.crm import DATA, NOW, URL, as_event, build, fixture, fixtures, post
from tests.support.crms.generic import standard_webhooks

PARSE = {
    "event_id": "id",
    "object_id": "contact.id",
    "object_type": "kind",
    "action": "type",
    "occurred_at": "at",
    "values": "contact",
    "previous": "before",
    "changed_fields": "changed",
}
EVENT = {
    "id": "evt_01J9",
    "kind": "contact",
    "type": "contact.updated",
    "at": "2026-03-02T09:29:58Z",
    "contact": {"id": 991, "email": "amara.okafor@northwind.example"},
    "before": {"email": "a.okafor@northwind.example"},
    "changed": ["email"],
}


def reader(**parse: Any) -> Any:  # noqa: ANN401  # a source of any configuration
    return build("generic", None, {key: value for key, value in (PARSE | parse).items() if value is not None})


def read(event: Any, **parse: Any) -> Change:  # noqa: ANN401  # any JSON
    changes: tuple[Change, ...] = reader(**parse).parse(post(orjson.dumps(event), {}))
    (change,) = changes
    return change


@pytest.mark.parametrize("name", fixtures("generic"))
def test_an_example_request_reads_as_expected(name: str) -> None:
    request, expected = fixture("generic", name)
    config = json.loads((DATA / "generic" / f"{name}.config.json").read_text())
    source = build("generic", config["auth"], config["parse"])
    assert [as_event(change) for change in source.parse(request)] == expected["events"]
    if config["auth"]["verify"]["scheme"] == "token":
        source.verify(request, now=NOW)


def test_everything_that_is_configured_is_read() -> None:
    change = read(EVENT)
    assert change.dedup_key == change.crm_event_id == "evt_01J9"
    assert (change.object_type, change.object_id, change.action) == ("contact", "991", Action.UPDATED)
    assert (change.values, change.previous, change.changed_fields) == (EVENT["contact"], EVENT["before"], ("email",))
    assert (change.thin, change.ignored, change.merged_from, change.merged_into) == (False, None, (), None)


def test_only_the_record_needs_a_place() -> None:
    source = build("generic", None, {"object_id": "id"})
    (change,) = source.parse(post(b'{"id":"per_8Hq2","email":null}', {}))
    assert (change.object_type, change.action, change.occurred_at) == ("contact", Action.UPDATED, None)
    assert (change.values, change.previous, change.changed_fields) == ({"id": "per_8Hq2", "email": None}, None, None)
    assert change.dedup_key.startswith("sha256:")
    assert change.crm_event_id is None


WORDS = {
    Action.CREATED: [
        "create",
        "Created",
        "INSERT",
        "contact.created",
        "contact_added",
        "createContact",
        "person:creation",
        "new",
    ],
    Action.UPDATED: [
        "update",
        "updated",
        "contact.changed",
        "record.updated",
        "edit",
        "ContactUpdated",
        "modified",
        "upsert",
    ],
    Action.DELETED: ["delete", "contact.deleted", "person-removed", "destroyed"],
    Action.MERGED: ["merged", "contact.merge"],
    Action.RESTORED: ["restore", "contacts/undeleted"],
    Action.OTHER: [
        "contact.tag_added",
        "email_verified",
        "contact",
        "subscribe",
        "42",
        "deal.updated",
        "create/delete",
    ],
}


@pytest.mark.parametrize(("action", "word"), [(action, word) for action, words in WORDS.items() for word in words])
def test_an_action_is_read_from_its_word(action: Action, word: str) -> None:
    change = read(EVENT | {"type": word})
    assert change.action is action
    assert (change.ignored is None) == (action in (Action.CREATED, Action.UPDATED))
    if action is Action.OTHER:
        assert change.ignored == f"action {word}"


@pytest.mark.parametrize("word", [None, ""])
def test_an_event_without_an_action_is_an_update(word: str | None) -> None:
    assert read(EVENT | {"type": word}).action is Action.UPDATED
    assert read({key: value for key, value in EVENT.items() if key != "type"}).ignored is None


@pytest.mark.parametrize("word", [["updated"], {}, 1.5, True, "updated by amara@okafor.example", "ü"])
def test_an_action_that_is_no_word_is_ignored_and_not_repeated(word: object) -> None:
    change = read(EVENT | {"type": word})
    assert (change.action, change.ignored) == (Action.OTHER, "action unknown")


@pytest.mark.parametrize(("action", "reason"), [("deleted", "deleted in the CRM"), ("merged", "merged in the CRM")])
def test_a_deletion_may_come_without_a_record(action: str, reason: str) -> None:
    change = read(EVENT | {"type": action, "contact": None}, object_id="before.email")
    assert (change.ignored, change.values) == (reason, {})


@pytest.mark.parametrize(
    ("kind", "name"), [("Person", "Person"), ("people", "people"), (None, "contact"), ("", "contact")]
)
def test_what_is_called_a_contact_is_one(kind: str | None, name: str) -> None:
    change = read(EVENT | {"kind": kind})
    assert (change.object_type, change.ignored) == (name, None)


@pytest.mark.parametrize(
    ("kind", "name"), [("company", "company"), (7, "7"), (["contact"], "unknown"), ("a@b.example", "unknown")]
)
def test_another_object_type_is_ignored_without_its_values(kind: object, name: str) -> None:
    change = read(EVENT | {"kind": kind, "contact": {"id": 991, "name": "Northwind"}, "before": 7})
    assert (change.object_type, change.ignored, change.values, change.previous) == (
        name,
        f"object type {name}",
        {},
        None,
    )


def test_what_a_crm_calls_its_contacts_can_be_configured() -> None:
    assert read(EVENT | {"kind": "Prospect", "type": "prospect.updated"}, contact_types=["prospect"]).ignored is None
    assert read(EVENT, contact_types=["Prospect"]).ignored == "object type contact"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": None}, "event_id"),
        ({"id": 1.5}, "event_id"),
        ({"id": "e" * 256}, "event_id"),
        ({"contact": {}}, "object_id"),
        ({"contact": {"id": 991.0}}, "object_id"),
        ({"contact": None}, "values is not an object"),
        ({"contact": []}, "values is not an object"),
        ({"at": "soon"}, "occurred_at"),
        ({"at": ["2026"]}, "occurred_at"),
        ({"before": "x"}, "previous is not an object"),
        ({"changed": "email"}, "changed_fields"),
        ({"changed": ["email", 1]}, "changed_fields"),
        ({"changed": 7}, "changed_fields"),
    ],
)
def test_what_is_not_as_configured_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ParseError, match=reason):
        read(EVENT | fields, object_id="id" if reason.startswith("values") else "contact.id")


def test_changed_fields_may_be_the_names_of_an_object_or_none_at_all() -> None:
    assert read(EVENT | {"changed": {"email": ["old", "new"], "phone": []}}).changed_fields == ("email", "phone")
    assert read(EVENT | {"changed": []}).changed_fields == ()
    assert read(EVENT | {"changed": None}).changed_fields is None


def test_the_events_of_a_list_are_read_in_its_order() -> None:
    events = [EVENT | {"id": name} for name in ("b", "a", "c")]
    source = reader(events="payload.events")
    changes = source.parse(post(orjson.dumps({"payload": {"events": events}}), {}))
    assert [change.dedup_key for change in changes] == ["b", "a", "c"]
    assert [change.dedup_key for change in reader().parse(post(orjson.dumps(events), {}))] == ["b", "a", "c"]


def test_a_single_event_may_stand_where_a_list_would_and_an_empty_list_has_none() -> None:
    source = reader(events="events")
    assert [change.dedup_key for change in source.parse(post(orjson.dumps({"events": EVENT}), {}))] == ["evt_01J9"]
    assert source.parse(post(b'{"events":[]}', {})) == ()


@pytest.mark.parametrize("document", [{}, {"events": None}, {"events": "x"}, {"events": [1]}, [EVENT]])
def test_no_events_where_they_should_be_is_refused(document: object) -> None:
    """An empty answer to a wrong path would lose everything in silence."""
    with pytest.raises(ParseError, match="an event is not an object"):
        reader(events="events").parse(post(orjson.dumps(document), {}))


@pytest.mark.parametrize("format_", ["json", "form"])
def test_the_list_of_events_is_bounded_before_it_is_read(format_: str) -> None:
    body = b"events[]=1&" * 501 if format_ == "form" else orjson.dumps({"events": [1] * 501})
    with pytest.raises(TooLarge, match="501 events"):
        reader(format=format_, events="events").parse(post(body, {}))


def split(document: object, **parse: Any) -> tuple[Change, ...]:  # noqa: ANN401  # as reader
    source = build("generic", None, {"split": "ids", "object_id": "ids", "values": "new", **parse})
    changes: tuple[Change, ...] = source.parse(post(orjson.dumps(document), {}))
    return changes


def test_a_request_is_split_by_a_list_and_each_event_keeps_the_rest() -> None:
    changes = split({"ids": [27140359, "27140363"], "new": {"title": "CFO"}, "sent": 1})
    assert [(change.object_id, change.values) for change in changes] == [
        ("27140359", {"title": "CFO"}),
        ("27140363", {"title": "CFO"}),
    ]
    assert len({change.dedup_key for change in changes}) == 2


def test_what_a_request_says_of_itself_stands_beside_each_item_that_it_is_split_by() -> None:
    document = {"at": 1772443798120, "records": [{"id": 1, "new": {"a": 1}}, {"id": 2, "new": {"a": 2}}]}
    changes = split(document, split="records", object_id="records.id", values="records.new", occurred_at="at")
    assert [(change.object_id, change.values) for change in changes] == [("1", {"a": 1}), ("2", {"a": 2})]
    assert {change.order_key for change in changes} == {1772443798120000}


def test_an_id_that_all_events_of_a_request_share_counts_with_the_place_in_the_list() -> None:
    first, second = split({"ids": [7, 7], "new": {}, "id": "evt_01J9"}, event_id="id")
    assert (first.dedup_key, second.dedup_key) == ("evt_01J9|0", "evt_01J9|1")
    assert first.crm_event_id == second.crm_event_id == "evt_01J9"


def test_an_item_that_a_request_names_twice_is_one_change() -> None:
    first, second = split({"ids": [7, 7], "new": {"title": "CFO"}})
    assert first.dedup_key == second.dedup_key


def test_one_item_may_stand_where_a_list_would_and_an_empty_list_has_none() -> None:
    assert [change.object_id for change in split({"ids": 7, "new": {}})] == ["7"]
    assert split({"ids": [], "new": {}}) == ()


@pytest.mark.parametrize("document", [{}, {"ids": None}, [], 7])
def test_nothing_to_split_by_is_refused(document: object) -> None:
    with pytest.raises(ParseError, match="nothing to be split by"):
        split(document)


def test_the_items_to_split_by_are_bounded() -> None:
    """Each keeps the whole request, which would be multiplied."""
    assert len(split({"ids": list(range(SPLIT_MAX)), "new": {}})) == SPLIT_MAX
    with pytest.raises(TooLarge, match="101 items"):
        split({"ids": list(range(SPLIT_MAX + 1)), "new": {}})


def test_headers_that_may_hold_a_credential_are_not_kept() -> None:
    """Outreach sends a token with every request that can delete the webhook."""
    headers = {"outreach-webhook-cleanup-token": "x", "x-hook-secret": "x", "x-api-key": "x", "webhook-id": "msg_1"}
    kept = reader().redact(post(b"{", headers))
    assert sorted(kept.headers) == ["content-type", "webhook-id"]


def test_a_fingerprint_does_not_depend_on_the_order_of_keys_and_does_on_every_value() -> None:
    (forward,) = reader(event_id=None).parse(post(orjson.dumps(EVENT), {}))
    (backward,) = reader(event_id=None).parse(post(orjson.dumps(dict(reversed(EVENT.items()))), {}))
    assert forward.dedup_key == backward.dedup_key
    assert read(EVENT | {"note": None}, event_id=None).dedup_key != forward.dedup_key


STANDARD = {"verify": {"scheme": "standard_webhooks", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}


@pytest.mark.parametrize(
    ("parse", "body", "keys"),
    [
        ({"object_id": "id"}, b'{"id":1}', ["msg_1"]),
        ({"object_id": "id"}, b'[{"id":1},{"id":1}]', ["msg_1|0", "msg_1|1"]),
        ({"object_id": "id", "events": "e"}, b'{"e":[{"id":1}]}', ["msg_1|0"]),
        ({"object_id": "id", "event_id": "id"}, b'{"id":1}', ["1"]),
    ],
)
def test_the_standards_message_id_is_the_dedup_key_unless_an_event_id_is_configured(
    parse: dict[str, str], body: bytes, keys: list[str]
) -> None:
    source = build("generic", STANDARD, parse)
    headers = standard_webhooks(STANDARD["verify"]["secret"], body, NOW, message_id="msg_1")
    assert [change.dedup_key for change in source.parse(post(body, headers))] == keys


@pytest.mark.parametrize(
    ("parse", "reason"),
    [
        ({}, "object_id"),
        ({"object_id": ""}, "position 1"),
        ({"object_id": "a..b"}, "position 3"),
        ({"object_id": "$event.object_id"}, "quotes"),
        ({"object_id": 7}, "a path is a text"),
        ({"object_id": "id", "format": "xml"}, "json"),
        ({"object_id": "id", "event": "id"}, "event"),
        ({"object_id": "id", "contact_types": []}, "at least 1"),
        ({"object_id": "id", "events": "events", "split": "ids"}, "not both"),
        ({"object_id": "id", "split": "ids[0]"}, "keys alone"),
    ],
)
def test_what_cannot_be_used_is_refused_at_load(parse: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Parse.model_validate(parse)


def test_a_parsed_path_is_taken_as_it_is() -> None:
    assert Parse(object_id=Path.parse("contact.id")).object_id.text == "contact.id"
    assert issubclass(PathError, ValueError)


def test_a_generic_source_does_not_come_to_be_without_parse() -> None:
    with pytest.raises(TypeError, match="parse"):
        GenericSource("crm", None)


def test_the_paths_are_told_to_editors() -> None:
    schema = Parse.model_json_schema()
    assert schema["properties"]["object_id"]["type"] == "string"
    assert schema["required"] == ["object_id"]


@pytest.mark.parametrize(
    "parse",
    [
        {"object_id": "id"},
        {"object_id": "id", "format": "form"},
        PARSE,
        PARSE | {"format": "form"},
        PARSE | {"events": "batch[0].events"},
        PARSE | {"values": "records[?primary]", "object_id": "records[?primary].id", "contact_types": ["lead"]},
        {"object_id": "contact.id", "values": "contact", "event_id": "meta.id", "action": "meta.event"},
        {"split": "ids", "object_id": "ids", "values": "new"},
        {"object_id": "id", "values": "new", "changed_fields": "new"},
        {"split": "data.changes", "object_id": "data.id", "values": "data", "event_id": "id"},
    ],
)
def test_a_sample_is_made_by_the_same_paths_that_read_it(parse: dict[str, Any]) -> None:
    source = build("generic", None, parse)
    sample = Sample(
        object_id="991",
        event_id="evt_01J9",
        at=NOW,
        fields={"first_name": "Amara", "title": "CFO"},
        previous={"title": "Controller"},
        created=True,
    )
    (change,) = source.parse(source.sample(sample, url=URL, now=NOW))
    assert change.object_id == "991"
    assert change.ignored is None
    assert {"first_name": "Amara", "title": "CFO"}.items() <= change.values.items()
    assert change.action is (Action.CREATED if "action" in parse else Action.UPDATED)
    assert change.occurred_at == (NOW if "occurred_at" in parse else None)
    if "previous" in parse:
        assert change.previous == {"title": "Controller"}
        assert change.changed_fields == ("title",)
