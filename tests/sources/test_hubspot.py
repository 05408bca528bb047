"""HubSpot: three generations of signatures, batches of thin events, and whole records from workflows."""

import itertools
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import orjson
import pytest
from hubspot.utils.signature import Signature
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.errors import ParseError, VerificationError
from service.model import Action, InboundRequest
from service.sources.base import Sample
from service.sources.hubspot import HubSpotSource
from tests.support.crm import NOW, URL, as_event, build, fixture, fixtures, post
from tests.support.crms.hubspot import hubspot_v1, hubspot_v2, hubspot_v3

SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
BODY = '[{"objectId":991,"propertyValue":"Zoë Größe ✓"}]'.encode()
V3 = build("hubspot", {"secret": SECRET})
PUBLISHED = "https://developers.hubspot.com/docs/api/webhooks/validating-requests"


def source(*versions: str) -> Any:  # noqa: ANN401  # a source of any configuration
    return build("hubspot", {"secret": SECRET, "versions": list(versions)})


def event(**fields: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON
    first: dict[str, Any] = orjson.loads(fixture("hubspot", "one_edit_of_three_properties")[0].body)[1]
    return {key: value for key, value in (first | fields).items() if value is not ...}


def read(*events: object) -> Any:  # noqa: ANN401  # changes
    return V3.parse(post(orjson.dumps(list(events)), {}))


@pytest.mark.parametrize("name", fixtures("hubspot"))
def test_an_example_batch_reads_as_expected(name: str) -> None:
    request, expected = fixture("hubspot", name)
    signed = replace(request, headers={**request.headers, **hubspot_v3(SECRET, request.body, NOW, url=request.url)})
    V3.verify(signed, now=NOW)
    assert [as_event(change) for change in V3.parse(signed)] == expected["events"]


@pytest.mark.parametrize(
    ("method", "body", "signature"),
    [
        ("GET", b"", "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"),
        (
            "POST",
            b'{"example_field":"example_value"}',
            "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900",
        ),
    ],
)
def test_the_published_v2_vectors_are_accepted(method: str, body: bytes, signature: str) -> None:
    url = "https://www.example.com/webhook_uri"
    assert hubspot_v2(SECRET, body, url=url, method=method)["x-hubspot-signature"] == signature, PUBLISHED
    source("v2").verify(post(body, {"x-hubspot-signature": signature}, url=url, method=method), now=NOW)


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_what_hubspots_own_library_signs_is_accepted(version: str) -> None:
    timestamp = str(int(NOW.timestamp() * 1000))
    signature = Signature.get_signature(SECRET, BODY.decode(), version, URL, "POST", timestamp)
    header = "x-hubspot-signature-v3" if version == "v3" else "x-hubspot-signature"
    request = post(BODY, {header: signature, "x-hubspot-request-timestamp": timestamp})
    source(version).verify(request, now=NOW)
    with pytest.raises(VerificationError):
        source(version).verify(replace(request, body=BODY + b" "), now=NOW)


@given(
    secret=st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1).filter(str.strip),
    body=st.text(st.characters(codec="utf-8")),
    path=st.text(st.characters(codec="ascii", categories=["L", "N"])),
)
def test_signatures_agree_with_hubspots_own_library(secret: str, body: str, path: str) -> None:
    url, timestamp = f"https://hooks.northwind.example/{path}?a={path}", str(int(NOW.timestamp() * 1000))
    signature = Signature.get_signature(secret, body, "v3", url, "POST", timestamp)
    headers = {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": timestamp}
    build("hubspot", {"secret": secret}).verify(post(body.encode(), headers, url=url), now=NOW)


def test_v3_is_found_by_its_header_whatever_the_version_header_says() -> None:
    """Real app webhooks say v1 and carry v3 as well; following the word would drop the replay window."""
    headers = {**hubspot_v1(SECRET, BODY), **hubspot_v3(SECRET, BODY, NOW)}
    assert headers["x-hubspot-signature-version"] == "v1"
    for versions in (["v3"], ["v1", "v3"], ["v1", "v2", "v3"]):
        source(*versions).verify(post(BODY, headers), now=NOW)
        with pytest.raises(VerificationError):
            source(*versions).verify(post(BODY, headers | {"x-hubspot-signature-v3": "bm90IGl0"}), now=NOW)
        with pytest.raises(VerificationError, match="past"):
            source(*versions).verify(post(BODY, headers), now=NOW + timedelta(minutes=6))


@pytest.mark.parametrize("sign", [lambda: hubspot_v1(SECRET, BODY), lambda: hubspot_v2(SECRET, BODY)])
def test_v1_and_v2_do_not_count_unless_named(sign: Any) -> None:  # noqa: ANN401  # a signer
    with pytest.raises(VerificationError, match="v3 is missing"):
        V3.verify(post(BODY, sign()), now=NOW)
    source("v3", "v2", "v1").verify(post(BODY, sign()), now=NOW)


def test_each_named_version_counts_alone() -> None:
    v1, v2 = post(BODY, hubspot_v1(SECRET, BODY)), post(BODY, hubspot_v2(SECRET, BODY))
    source("v1").verify(v1, now=NOW)
    source("v2").verify(v2, now=NOW)
    for named, other in ((source("v1"), v2), (source("v2"), v1)):
        with pytest.raises(VerificationError, match="v1 or v2"):
            named.verify(other, now=NOW)


def test_v1_counts_beside_a_v3_header_where_v3_is_not_named() -> None:
    headers = {**hubspot_v1(SECRET, BODY), "x-hubspot-signature-v3": "bm90IGl0"}
    source("v1").verify(post(BODY, headers), now=NOW)


@pytest.mark.parametrize("versions", [[], ["v4"], ["v3", "v2", "v1", "v1"], "v3"])
def test_versions_that_do_not_exist_are_refused_at_load(versions: object) -> None:
    with pytest.raises(ValidationError):
        HubSpotSource.Auth.model_validate({"secret": SECRET, "versions": versions})


QUERY = (
    "https://hooks.northwind.example/webhooks/hubspot?to=a%40b%3a8080%2Fx%3Fy%21%24%27%28%29%2A%2C%3B&s=%20%26%25%3D"
)
DECODED = "https://hooks.northwind.example/webhooks/hubspot?to=a@b:8080/x?y!$'()*,;&s=%20%26%25%3D"


@pytest.mark.parametrize("signed_url", [QUERY, DECODED], ids=["raw", "decoded"])
def test_either_form_of_the_query_is_accepted(signed_url: str) -> None:
    """HubSpot documents twelve percent codes that are decoded before signing; its own libraries decode none."""
    V3.verify(post(BODY, hubspot_v3(SECRET, BODY, NOW, url=signed_url), url=QUERY), now=NOW)


@pytest.mark.parametrize("signed_url", [unquote(QUERY), QUERY.replace("hubspot?", "hubspot%3F"), QUERY + "&x=1"])
def test_any_other_form_of_the_url_is_refused(signed_url: str) -> None:
    with pytest.raises(VerificationError, match="v3 signature is wrong"):
        V3.verify(post(BODY, hubspot_v3(SECRET, BODY, NOW, url=signed_url), url=QUERY), now=NOW)


def test_percent_codes_in_the_path_stay() -> None:
    url = "https://hooks.northwind.example/webhooks/hub%40spot?x=1"
    decoded = url.replace("%40", "@")
    with pytest.raises(VerificationError):
        V3.verify(post(BODY, hubspot_v3(SECRET, BODY, NOW, url=decoded), url=url), now=NOW)


def test_the_address_must_be_known_where_anything_is_signed() -> None:
    assert V3.signs_url
    assert not build("hubspot", None).signs_url


def test_method_and_time_are_signed() -> None:
    request = post(BODY, hubspot_v3(SECRET, BODY, NOW))
    later = str(int((NOW + timedelta(seconds=1)).timestamp() * 1000))
    retimed = {**request.headers, "x-hubspot-request-timestamp": later}
    for changed in (replace(request, method="PUT"), replace(request, headers=retimed)):
        with pytest.raises(VerificationError):
            V3.verify(changed, now=NOW)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_creations_come_first_then_the_earliest_whatever_the_order_in_the_batch(order: tuple[int, ...]) -> None:
    events = [
        event(propertyName="firstname", occurredAt=1772443798000),
        event(propertyName="lastname", occurredAt=1772443799000),
        event(propertyName=..., subscriptionType="contact.creation", occurredAt=1772443799000),
    ]
    changes = read(*(events[index] for index in order))
    assert [change.action for change in changes] == [Action.CREATED, Action.UPDATED, Action.UPDATED]
    assert [change.changed_fields for change in changes[1:]] == [("firstname",), ("lastname",)]


def test_events_of_the_same_time_keep_their_order_and_those_without_come_last() -> None:
    names = ["zip", "city", "address", "country"]
    timeless, *timed = (event(propertyName=name) for name in names)
    changes = read(timeless | {"occurredAt": None}, *timed)
    assert [change.changed_fields for change in changes] == [("city",), ("address",), ("country",), ("zip",)]


def test_the_attempt_is_no_part_of_the_dedup_key_and_everything_else_is() -> None:
    """HubSpot says that eventId may repeat between different events."""
    (first,) = read(event())
    (again,) = read(event(attemptNumber=4))
    assert again.dedup_key == first.dedup_key
    others = (
        {"portalId": 1},
        {"subscriptionId": 1},
        {"eventId": 1},
        {"objectId": 1},
        {"occurredAt": 1772443798121},
        {"propertyName": "x"},
    )
    keys = {read(event(**other))[0].dedup_key for other in others}
    assert len(keys | {first.dedup_key}) == len(others) + 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"subscriptionType": "contact.listMembership"}, "event type listMembership"),
        ({"subscriptionType": "contact"}, "event type unknown"),
        ({"subscriptionType": ...}, "object type unknown"),
        ({"subscriptionType": ".creation"}, "object type unknown"),
        ({"subscriptionType": 7}, "object type 7"),
        ({"subscriptionType": "object.creation"}, "object type unknown"),
        ({"subscriptionType": "object.creation", "objectTypeId": "0-3"}, "object type deal"),
        ({"subscriptionType": "a.okafor@northwind.example"}, "object type unknown"),
    ],
)
def test_an_unknown_kind_of_event_is_kept_and_ignored(fields: dict[str, Any], reason: str) -> None:
    (change,) = read(event(**fields))
    assert (change.ignored, change.values) == (reason, {})


def test_a_null_value_is_not_a_missing_one() -> None:
    (null,) = read(event(propertyValue=None))
    (missing,) = read(event(propertyValue=...))
    assert (null.values, missing.values) == ({"firstname": None}, {})
    assert null.changed_fields == missing.changed_fields == ("firstname",)


def test_a_property_change_without_a_name_leaves_everything_to_be_read_back() -> None:
    (change,) = read(event(propertyName=...))
    assert (change.changed_fields, change.values, change.thin, change.ignored) == (None, {}, True, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"objectId": ...},
        {"objectId": 1.5},
        {"objectId": ..., "subscriptionType": "contact.merge"},
        {"occurredAt": "soon"},
        {"occurredAt": 1772443798120.5},
        {"propertyName": ["email"]},
        {"eventId": {}},
        {"subscriptionType": "contact.merge", "mergedObjectIds": [0.5]},
    ],
)
def test_what_tells_events_and_records_apart_must_be_whole(fields: dict[str, Any]) -> None:
    with pytest.raises(ParseError):
        read(event(**fields))


def test_a_merge_names_a_single_absorbed_record_also_without_a_list() -> None:
    merge = event(subscriptionType="contact.merge", primaryObjectId=12, mergedObjectIds=13, propertyName=...)
    (change,) = read(merge)
    assert (change.object_id, change.merged_from) == ("12", ("13",))


@pytest.mark.parametrize("name", ["merge_into_a_new_record", "restored"])
def test_a_record_that_is_another_now_is_asked_for(name: str) -> None:
    """Such an event carries nothing to send: only read back, it brings the contact up to date."""
    (change,) = V3.parse(fixture("hubspot", name)[0])
    assert (change.thin, change.values, change.changed_fields, change.ignored) == (True, {}, None, None)


def workflow(**fields: Any) -> bytes:  # noqa: ANN401  # any JSON
    record = orjson.loads(fixture("hubspot", "sent_by_a_workflow_with_chosen_properties")[0].body)
    return orjson.dumps({key: value for key, value in (record | fields).items() if value is not ...})


def test_a_workflow_signs_with_v2_as_hubspots_own_library_does_and_only_where_that_is_named() -> None:
    body = workflow()
    headers = {"x-hubspot-signature": Signature.get_signature(SECRET, body.decode(), "v2", URL, "POST")}
    source("v3", "v2").verify(post(body, headers), now=NOW)
    with pytest.raises(VerificationError):
        V3.verify(post(body, headers), now=NOW)


@pytest.mark.parametrize("key", ["vid", "objectId", "id"])
def test_a_record_of_a_workflow_names_its_id_in_one_of_three_ways(key: str) -> None:
    (change,) = V3.parse(post(workflow(**({"objectId": ...} | {key: 991})), {}))
    assert change.object_id == "991"


def test_the_same_values_sent_again_by_a_workflow_are_the_same_change() -> None:
    (first,) = V3.parse(post(workflow(), {}))
    (again,) = V3.parse(post(workflow(appId=7), {}))
    (other,) = V3.parse(post(workflow(properties={"firstname": "Amara"}), {}))
    assert first.dedup_key == again.dedup_key != other.dedup_key


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"properties": {"lastmodifieddate": "1772443798120"}}, "2026-03-02T09:29:58.120Z"),
        ({"properties": {}, "updatedAt": "2026-03-02T09:29:58Z"}, "2026-03-02T09:29:58.000Z"),
        ({"properties": {}}, None),
    ],
)
def test_a_record_of_a_workflow_is_of_the_time_of_its_last_change(fields: dict[str, Any], at: str | None) -> None:
    (change,) = V3.parse(post(workflow(**fields), {}))
    assert as_event(change)["occurred_at"] == at


@pytest.mark.parametrize(
    "fields",
    [
        {"objectId": ...},
        {"objectId": 1.5},
        {"properties": ["firstname"]},
        {"properties": None},
        {"properties": {"lastmodifieddate": "soon"}},
    ],
)
def test_a_record_of_a_workflow_must_be_whole(fields: dict[str, Any]) -> None:
    with pytest.raises(ParseError):
        V3.parse(post(workflow(**fields), {}))


def test_an_event_with_properties_is_still_an_event() -> None:
    (change,) = V3.parse(post(orjson.dumps(event(properties={"firstname": "Amra"})), {}))
    assert (change.changed_fields, change.values) == (("firstname",), {"firstname": "Amara"})


def test_ids_past_2_to_the_53_stay_exact() -> None:
    (change,) = read(event(objectId=9007199254740993))
    assert change.object_id == "9007199254740993"


@pytest.mark.parametrize(
    ("versions", "names"), [(["v2", "v1"], ["x-hubspot-signature"]), (["v1"], ["x-hubspot-signature"])]
)
def test_a_sample_is_signed_by_the_best_version_accepted(versions: list[str], names: list[str]) -> None:
    sample = Sample(object_id="991", event_id="e1", at=NOW, fields={"title": "CFO", "phone": None})
    signer = source(*versions)
    request: InboundRequest = signer.sample(sample, url=URL, now=NOW)
    signer.verify(request, now=NOW)
    assert sorted(set(request.headers) - {"content-type", "user-agent"}) == names
    assert [dict(change.values) for change in signer.parse(request)] == [{"jobtitle": "CFO"}, {"phone": ""}]
