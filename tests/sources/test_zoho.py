"""Zoho CRM notifications, as documented and captured, and as they should not be."""

from typing import Any

import orjson
import pytest

from service.errors import ParseError, TooLarge, VerificationError
from service.model import Action, Change
from service.sources.base import EVENTS_MAX, Sample
from tests.support.crm import NOW, URL, as_event, build, fixture, fixtures, post

TOKEN = "c3504777-db15-4332-8286-478a1b5006bc"
SOURCE = build("zoho", {"token": TOKEN})
RECORD = "6756839000000575405"


def notification(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON
    document: dict[str, Any] = orjson.loads(fixture("zoho", "contact_updated_and_a_field_emptied")[0].body)
    return document | changes


def changes(document: dict[str, Any]) -> tuple[Change, ...]:
    return SOURCE.parse(post(orjson.dumps(document), {}))


def read(document: dict[str, Any]) -> Change:
    (change,) = changes(document)
    return change


@pytest.mark.parametrize("name", fixtures("zoho"))
def test_an_example_notification_is_accepted_and_reads_as_expected(name: str) -> None:
    request, expected = fixture("zoho", name)
    SOURCE.verify(request, now=NOW)
    assert [as_event(change) for change in SOURCE.parse(request)] == expected["events"]


@pytest.mark.parametrize("token", [None, 0, True, [TOKEN], {"token": TOKEN}])
def test_a_token_that_is_no_text_is_missing(token: object) -> None:
    """A channel that was enabled without a token sends null; that proves nothing."""
    with pytest.raises(VerificationError, match="token is missing"):
        SOURCE.verify(post(orjson.dumps(notification(token=token)), {}), now=NOW)


@pytest.mark.parametrize("token", ["", "null", TOKEN[:-1], TOKEN + " ", TOKEN.upper(), "ключ"])
def test_another_token_is_refused(token: str) -> None:
    with pytest.raises(VerificationError, match="token is wrong"):
        SOURCE.verify(post(orjson.dumps(notification(token=token)), {}), now=NOW)


@pytest.mark.parametrize(
    "body", [b"", b"token=" + TOKEN.encode(), b"[" * 100, b'["' + TOKEN.encode() + b'"]', b"\xff", b"null"]
)
def test_a_body_that_has_no_place_for_a_token_is_refused(body: bytes) -> None:
    with pytest.raises(VerificationError, match="cannot be read"):
        SOURCE.verify(post(body, {}), now=NOW)


def test_a_token_counts_only_at_the_top_of_the_body() -> None:
    document = notification(query_params={"token": TOKEN})
    del document["token"]
    with pytest.raises(VerificationError, match="missing"):
        SOURCE.verify(post(orjson.dumps(document), {}), now=NOW)


@pytest.mark.parametrize("accepted", [True, False])
def test_of_two_tokens_in_a_body_the_last_counts_for_the_proof_and_neither_is_kept(*, accepted: bool) -> None:
    first, last = ("retired", TOKEN) if accepted else (TOKEN, "retired")
    rest = orjson.dumps({key: value for key, value in notification().items() if key != "token"})[1:-1]
    request = post(b'{"token":"%s",%s,"token":"%s"}' % (first.encode(), rest, last.encode()), {})
    if accepted:
        SOURCE.verify(request, now=NOW)
    else:
        with pytest.raises(VerificationError, match="wrong"):
            SOURCE.verify(request, now=NOW)
    kept = SOURCE.redact(request)
    assert b"token" not in kept.body
    assert SOURCE.parse(kept) == SOURCE.parse(request)


def test_of_a_part_that_stands_twice_what_is_kept_reads_the_same() -> None:
    request = post(orjson.dumps(notification())[:-1] + b',"ids":["7"],"affected_values":[]}', {})
    assert [change.object_id for change in SOURCE.parse(request)] == ["7"]
    assert SOURCE.parse(SOURCE.redact(request)) == SOURCE.parse(request)


@pytest.mark.parametrize("name", fixtures("zoho"))
def test_what_is_kept_has_neither_the_token_nor_the_query_of_the_address(name: str) -> None:
    """The query may hold credentials of whoever chose the address: Zoho's own example has an OAuth token there."""
    request, expected = fixture("zoho", name)
    kept = SOURCE.redact(request)
    assert TOKEN.encode() not in kept.body
    assert b"Zoho-oauthtoken" not in kept.body
    assert [as_event(change) for change in SOURCE.parse(kept)] == expected["events"]


def test_of_a_body_that_cannot_be_read_nothing_is_kept() -> None:
    kept = SOURCE.redact(post(b'{"token":"' + TOKEN.encode(), {"authorization": "Bearer 1"}))
    assert (kept.body, dict(kept.headers)) == (b"", {"content-type": "application/json"})


def test_ids_of_nineteen_digits_stay_what_they_are() -> None:
    """As a float the last digits would be those of another record."""
    document = notification(ids=[9007199254740993001], affected_values=[{"record_id": 9007199254740993001}])
    assert read(document).object_id == "9007199254740993001"


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("ids", None, "no record"),
        ("ids", [], "no record"),
        ("ids", RECORD, "ids"),
        ("ids", [None], "one of ids"),
        ("ids", [6756839000000575405.0], "one of ids"),
        ("ids", [[RECORD]], "one of ids"),
        ("affected_values", {}, "affected_values"),
        ("affected_values", [RECORD], "one of affected_values"),
        ("affected_values", [{"values": {}}], "record_id"),
        ("affected_values", [{"record_id": 1.5}], "record_id"),
        ("affected_values", [{"record_id": RECORD, "values": []}], "values"),
        ("server_time", "yesterday", "server_time"),
        ("server_time", [], "server_time"),
    ],
)
def test_what_tells_records_and_their_values_apart_must_be_whole(place: str, value: object, named: str) -> None:
    with pytest.raises(ParseError, match=named):
        read(notification(affected_values=None) | {place: value})


def test_too_many_records_are_refused_before_any_is_read() -> None:
    with pytest.raises(TooLarge, match=str(EVENTS_MAX + 1)):
        changes(notification(ids=[str(number) for number in range(EVENTS_MAX + 1)], affected_values=[]))


def test_a_record_that_is_named_twice_is_one_change_with_all_its_values() -> None:
    values = [{"record_id": RECORD, "values": one} for one in ({"Title": "CFO"}, {"Phone": None}, None)]
    change = read(notification(ids=[RECORD, RECORD], affected_values=values))
    assert change.values == {"Title": "CFO", "Phone": None}


def test_a_record_that_only_has_values_is_a_change_too() -> None:
    document = notification(ids=["7"])
    assert [change.object_id for change in changes(document)] == ["7", RECORD]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([{RECORD: ["Title"]}], ("Title",)),
        ([{"7": ["Email"]}, {RECORD: ["Title", "Phone"]}], ("Title", "Phone")),
        ([{RECORD: ["Title", "Email"]}], None),
        ([{RECORD: []}], None),
        ([{RECORD: "Title"}], None),
        ([{RECORD: [1, None]}], None),
        ([RECORD], None),
        ([], None),
        ({RECORD: ["Title"]}, None),
        (None, None),
    ],
)
def test_changed_fields_are_told_where_all_of_them_have_values(
    fields: object, expected: tuple[str, ...] | None
) -> None:
    """Unknown otherwise, so that the record is read back for what is missing."""
    assert read(notification(affected_fields=fields)).changed_fields == expected


@pytest.mark.parametrize("operation", ["insert", "delete"])
def test_of_a_creation_or_deletion_no_changed_fields_are_told(operation: str) -> None:
    assert read(notification(operation=operation)).changed_fields is None


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("channel_id", "1772443000002"),
        ("operation", "insert"),
        ("module", "Leads"),
        ("server_time", 1772443798121),
        ("ids", ["7"]),
        ("affected_values", [{"record_id": RECORD, "values": {"Title": "CFO", "Phone": None}}]),
    ],
)
def test_whatever_differs_makes_another_event(place: str, value: object) -> None:
    document = notification() if place != "ids" else notification(affected_values=[])
    assert read(document | {place: value}).dedup_key != read(document).dedup_key


def test_the_same_values_in_another_order_are_the_same_event() -> None:
    values = [{"record_id": RECORD, "values": {"Phone": None, "Title": "VP Finance"}}]
    assert read(notification(affected_values=values)).dedup_key == read(notification()).dedup_key


@pytest.mark.parametrize(("operation", "reason"), [(None, "unknown"), ("Update", "Update"), ("a b", "unknown")])
def test_an_unknown_operation_is_kept_and_ignored(operation: object, reason: str) -> None:
    change = read(notification(operation=operation))
    assert (change.action, change.ignored, dict(change.values)) == (Action.OTHER, f"operation {reason}", {})


def test_a_module_that_is_no_word_is_not_repeated_in_the_log() -> None:
    assert read(notification(module="a.okafor@northwind.example")).ignored == "object type unknown"


def test_without_a_time_arrival_orders() -> None:
    assert read(notification(server_time=None)).order_key is None


def test_a_sample_has_zohos_own_layout() -> None:
    fields = {"first_name": "Amara", "title": None, "Plan": "Scale"}
    sample = Sample(object_id=RECORD, event_id="unused", at=NOW, fields=fields)
    request = SOURCE.sample(sample, url=URL, now=NOW)
    change = read(orjson.loads(request.body))
    assert change.values == {"First_Name": "Amara", "Title": None, "Plan": "Scale"}
    assert change.changed_fields == ("First_Name", "Title", "Plan")


def test_a_sample_of_a_source_without_proof_has_no_token_as_a_channel_without_one() -> None:
    sample = Sample(object_id=RECORD, event_id="unused", at=NOW, fields={"title": "CFO"})
    assert orjson.loads(build("zoho", None).sample(sample, url=URL, now=NOW).body)["token"] is None
