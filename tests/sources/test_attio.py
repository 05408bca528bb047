"""Attio webhooks: which record changed, and nothing of what it has."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from pydantic import ValidationError

from service.errors import ParseError, VerificationError
from service.model import Action, Change
from service.sources.attio import AttioSource
from service.sources.base import Sample
from tests.support.crm import NOW, URL, as_event, build, fixture, fixtures, post
from tests.support.crms.attio import PEOPLE, attio

SECRET = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
AUTH = {"secret": SECRET}
SOURCE = build("attio", AUTH, {"people_object": PEOPLE})
ANY_OBJECT = build("attio", AUTH, {})
COMPANIES = "5b0a4c6e-27c1-4f0b-9f55-3f1f4c0c7d21"
BODY = fixture("attio", "person_updated_by_a_member")[0].body


def event(**fields: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON
    first: dict[str, Any] = orjson.loads(BODY)["events"][0]
    return {key: value for key, value in (first | fields).items() if value is not ...}


def event_with(**ids: Any) -> dict[str, Any]:  # noqa: ANN401  # as above
    kept = {key: value for key, value in (event()["id"] | ids).items() if value is not ...}
    return event(id=kept)


def read(*events: object, headers: dict[str, str] | None = None, source: Any = SOURCE) -> tuple[Change, ...]:  # noqa: ANN401  # a source
    body = orjson.dumps({"webhook_id": "23e42eaf-323a-41da-b5bb-fd67eebda553", "events": list(events)})
    changes: tuple[Change, ...] = source.parse(post(body, {"idempotency-key": "m1"} if headers is None else headers))
    return changes


@pytest.mark.parametrize("name", fixtures("attio"))
def test_an_example_delivery_reads_as_expected(name: str) -> None:
    request, expected = fixture("attio", name)
    signature = attio(SECRET, request.body)["attio-signature"]
    signed = replace(request, headers={**request.headers, "attio-signature": signature})
    SOURCE.verify(signed, now=NOW)
    assert [as_event(change) for change in SOURCE.parse(signed)] == expected["events"]


def test_what_another_implementation_of_hmac_signs_is_accepted() -> None:
    """Signer and verifier of the tests both build on one library; OpenSSL is the judge between them."""
    body = '{"events":[],"note":"Zoë Größe ✓"}'.encode()
    oracle = HMAC(SECRET.encode(), SHA256())
    oracle.update(body)
    SOURCE.verify(post(body, {"attio-signature": oracle.finalize().hex()}), now=NOW)


def test_the_copy_of_the_signature_counts_where_it_stands_alone() -> None:
    signature = attio(SECRET, BODY)["attio-signature"]
    SOURCE.verify(post(BODY, {"x-attio-signature": signature}), now=NOW)
    SOURCE.verify(post(BODY, {"x-attio-signature": signature, "attio-signature": signature}), now=NOW)
    with pytest.raises(VerificationError, match="signature is wrong"):
        SOURCE.verify(post(BODY, {"x-attio-signature": "0" * 64}), now=NOW)
    with pytest.raises(VerificationError, match="signature is wrong"):
        SOURCE.verify(post(BODY, {"x-attio-signature": signature, "attio-signature": "0" * 64}), now=NOW)
    with pytest.raises(VerificationError, match="attio-signature is missing"):
        SOURCE.verify(post(BODY, {"x-attio-signature": ""}), now=NOW)


def test_hex_is_read_in_any_case() -> None:
    SOURCE.verify(post(BODY, {"attio-signature": attio(SECRET, BODY)["attio-signature"].upper()}), now=NOW)


def test_an_old_delivery_is_accepted() -> None:
    """Attio signs no time, and tries for three days."""
    SOURCE.verify(post(BODY, attio(SECRET, BODY)), now=NOW + timedelta(days=3))


def test_a_retry_is_known_by_its_message_and_its_place_whatever_it_says() -> None:
    first, second = read(event(), event())
    assert [first.dedup_key, second.dedup_key] == ["m1|0", "m1|1"]
    assert first.crm_event_id == second.crm_event_id == "m1"
    (other,) = read(event(), headers={"idempotency-key": "m2"})
    assert other.dedup_key == "m2|0"


@pytest.mark.parametrize("headers", [{}, {"idempotency-key": ""}])
def test_without_its_header_a_request_is_refused(headers: dict[str, str]) -> None:
    """Nothing else tells a second change from a repetition of the first, and a change must not be lost."""
    with pytest.raises(ParseError, match="idempotency-key is missing"):
        read(event(), headers=headers)


@pytest.mark.parametrize("value", ["m" * 256, "m\x01"])
def test_a_message_id_that_cannot_be_one_is_refused(value: str) -> None:
    with pytest.raises(ParseError, match="idempotency-key"):
        read(event(), headers={"idempotency-key": value})


def test_nothing_is_claimed_of_what_changed_or_when() -> None:
    """An attribute's id is no name that a mapping knows, and a save of three attributes is three events."""
    (change,) = read(event())
    assert (change.changed_fields, change.occurred_at, dict(change.values), change.thin) == (None, None, {}, True)


def test_bursts_are_waited_for() -> None:
    assert AttioSource.usual_settle.window == timedelta(seconds=2)
    assert AttioSource.usual_settle.longest == timedelta(seconds=10)


def test_the_id_of_people_is_read_in_any_case() -> None:
    source = build("attio", AUTH, {"people_object": PEOPLE.upper()})
    (change,) = read(event_with(object_id=PEOPLE.title()), source=source)
    assert (change.object_type, change.ignored) == ("people", None)


def test_without_the_id_of_people_records_of_any_object_are_let_in_by_the_id_of_theirs() -> None:
    """Reading them back as people tells: what is none is gone. The log shows the id that the configuration lacks."""
    person, company = read(event(), event_with(object_id=COMPANIES), source=ANY_OBJECT)
    assert [(person.object_type, person.ignored), (company.object_type, company.ignored)] == [
        (PEOPLE, None),
        (COMPANIES, None),
    ]
    (deleted,) = read(event(event_type="record.deleted"), source=ANY_OBJECT)
    assert deleted.ignored == "deleted in the CRM"
    (unasked,) = read(event(), source=build("attio", AUTH))
    assert unasked.object_type == PEOPLE


def test_no_company_is_a_person_whatever_happens_to_it() -> None:
    for verb in ("created", "updated", "deleted", "merged"):
        (change,) = read(event_with(object_id=COMPANIES) | {"event_type": f"record.{verb}"})
        assert change.ignored == f"object type {COMPANIES}"


@pytest.mark.parametrize("people", ["people", "", "97052eb9", PEOPLE + "0", PEOPLE.replace("9", "g"), 5])
def test_an_object_that_is_no_uuid_is_refused_at_load(people: object) -> None:
    assert AttioSource.Parse is not None
    with pytest.raises(ValidationError):
        AttioSource.Parse.model_validate({"people_object": people})


def test_a_merge_without_the_absorbed_record_still_has_its_survivor_read() -> None:
    merge = event(event_type="record.merged")
    (change,) = read(merge)
    assert (change.action, change.merged_from, change.ignored) == (Action.MERGED, (), None)
    with pytest.raises(ParseError, match="duplicate_record_id"):
        read(merge | {"duplicate_record_id": ["3405be95"]})


@pytest.mark.parametrize(
    ("event_type", "object_type", "reason"),
    [
        ("list-entry.updated", "list-entry", "event type list-entry.updated"),
        ("object-attribute.created", "object-attribute", "event type object-attribute.created"),
        ("record.archived", "record", "event type record.archived"),
        ("record", "record", "event type record"),
        (".updated", "unknown", "event type .updated"),
        ("a.okafor@northwind.example", "unknown", "event type unknown"),
        (7, "7", "event type 7"),
        (None, "unknown", "event type unknown"),
        (["record.updated"], "unknown", "event type unknown"),
    ],
)
def test_an_unknown_kind_of_event_is_kept_and_ignored(event_type: object, object_type: str, reason: str) -> None:
    (change,) = read(event(event_type=event_type))
    assert (change.action, change.object_type, change.object_id) == (Action.OTHER, object_type, "unknown")
    assert change.ignored == reason


@pytest.mark.parametrize(
    ("odd", "place"),
    [
        (event(id=...), "an event's id"),
        (event(id=[]), "an event's id"),
        (event_with(record_id=...), "record_id"),
        (event_with(record_id={}), "record_id"),
        (event_with(record_id="bf07\n1e1f"), "record_id"),
        (event_with(object_id=...), "object_id"),
        (event_with(object_id=True), "object_id"),
        ("record.updated", "an event"),
    ],
)
def test_what_tells_records_apart_must_be_whole(odd: object, place: str) -> None:
    with pytest.raises(ParseError, match=place):
        read(event(), odd)


@pytest.mark.parametrize("document", [{}, {"events": None}, {"events": {}}, event()])
def test_a_body_without_a_list_of_events_is_refused(document: dict[str, Any]) -> None:
    """An older form had one event for the body."""
    with pytest.raises(ParseError, match="events is not a list"):
        SOURCE.parse(post(orjson.dumps(document), {}))


def test_a_delivery_of_no_events_has_no_changes() -> None:
    assert read() == ()


@pytest.mark.parametrize("actor", [None, ..., "system", {"type": ["system"], "id": "a.okafor@northwind.example"}])
def test_a_side_fact_that_is_odd_does_not_cost_the_change(actor: object) -> None:
    (change,) = read(event_with(workspace_id=0.5) | {"actor": actor} if actor is not ... else event(actor=...))
    assert (change.origin, change.actor, change.ignored) == (None, None, None)


def test_an_object_id_that_is_no_word_is_not_repeated_in_the_log() -> None:
    (change,) = read(event_with(object_id="Amara Okafor"))
    assert (change.object_type, change.ignored) == ("unknown", "object type unknown")


def test_a_sample_is_of_the_configured_people_and_signed_in_both_headers() -> None:
    sample = Sample(object_id="bf071e1f-6035-429d-b874-d83ea64ea13b", event_id="m7", at=NOW, fields={"title": "CFO"})
    request = SOURCE.sample(sample, url=URL, now=NOW)
    assert request.headers["attio-signature"] == request.headers["x-attio-signature"]
    (change,) = SOURCE.parse(request)
    assert (change.object_type, change.dedup_key, dict(change.values)) == ("people", "m7|0", {})
    assert b"CFO" not in request.body
