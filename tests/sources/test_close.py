"""Close webhooks: signatures by a key in hex, and what its events say of contacts."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from pydantic import ValidationError

from service.errors import ParseError, VerificationError
from service.mapping import Mapping, MappingSpec
from service.model import Action, Change
from service.sources.base import Sample
from service.sources.close import CloseSource
from tests.support.crm import NOW, URL, as_event, build, fixture, fixtures, mac, post
from tests.support.crms.close import KEY, close

SOURCE = build("close", {"secret": KEY})
BODY = fixture("close", "contact_updated")[0].body
PLAN = "custom.cf_v6S011I6MqcbVvB2FA5Nk8dr5MkL8sWuCiG8cUleO9c"
TIER = "custom.cf_j0P7kHmgFTZZnYBFtyPSZ3uQw4dpW8xKcW7Krps8atj"


def webhook(**fields: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON
    document: dict[str, Any] = orjson.loads(BODY)
    document["event"] = {key: value for key, value in (document["event"] | fields).items() if value is not ...}
    return document


def read(document: dict[str, Any]) -> Change:
    (change,) = SOURCE.parse(post(orjson.dumps(document), {}))
    return change


@pytest.mark.parametrize("name", fixtures("close"))
def test_an_example_webhook_reads_as_expected(name: str) -> None:
    request, expected = fixture("close", name)
    signed = replace(request, headers={**request.headers, **close(KEY, request.body, NOW)})
    SOURCE.verify(signed, now=NOW)
    assert [as_event(change) for change in SOURCE.parse(signed)] == expected["events"]


def test_what_another_implementation_of_hmac_signs_is_accepted() -> None:
    """Signer and verifier of the tests both build on one library; OpenSSL is the judge between them."""
    body, timestamp = '{"name":"Zoë Größe ✓"}'.encode(), str(int(NOW.timestamp()))
    oracle = HMAC(bytes.fromhex(KEY), SHA256())
    oracle.update(timestamp.encode() + body)
    headers = {"close-sig-hash": oracle.finalize().hex(), "close-sig-timestamp": timestamp}
    SOURCE.verify(post(body, headers), now=NOW)


def test_a_signature_by_the_text_of_the_key_is_refused() -> None:
    timestamp = str(int(NOW.timestamp()))
    headers = {"close-sig-hash": mac(KEY.encode(), timestamp.encode(), BODY).hex(), "close-sig-timestamp": timestamp}
    with pytest.raises(VerificationError, match="signature is wrong") as refused:
        SOURCE.verify(post(BODY, headers), now=NOW)
    assert "signature_key" in refused.value.hint


def test_the_time_is_signed() -> None:
    headers = close(KEY, BODY, NOW) | {"close-sig-timestamp": str(int(NOW.timestamp()) + 1)}
    with pytest.raises(VerificationError, match="signature is wrong"):
        SOURCE.verify(post(BODY, headers), now=NOW)


@pytest.mark.parametrize("timestamp", ["1772443800.5", "2026-03-02T09:30:00", "+1772443800", "1772443800000"])
def test_a_time_that_is_not_in_whole_seconds_is_refused_though_it_is_signed(timestamp: str) -> None:
    headers = {"close-sig-hash": mac(bytes.fromhex(KEY), timestamp.encode(), BODY).hex()}
    with pytest.raises(VerificationError, match=r"whole number|in the future"):
        SOURCE.verify(post(BODY, headers | {"close-sig-timestamp": timestamp}), now=NOW)


def test_hex_is_read_in_any_case_in_signature_and_secret() -> None:
    headers = close(KEY, BODY, NOW)
    upper = headers | {"close-sig-hash": headers["close-sig-hash"].upper()}
    build("close", {"secret": KEY.upper()}).verify(post(BODY, upper), now=NOW)


@pytest.mark.parametrize(
    "secret",
    ["whsec_058bfb6a3d8c", KEY[:-1], KEY[:8] + " " + KEY[8:], "\uff10\uff15" + KEY, KEY + "\n", [KEY, "next-key"]],
)
def test_a_secret_that_is_not_hex_is_refused_at_load_without_being_shown(secret: Any) -> None:  # noqa: ANN401  # one or several
    with pytest.raises(
        ValidationError, match="a secret must be the subscription's signature_key, an even number of hex digits"
    ) as refused:
        CloseSource.Auth.model_validate({"secret": secret})
    assert KEY[:16] not in str(refused.value)


def test_an_event_that_was_added_to_is_another_change() -> None:
    """Close writes edits that follow each other into one event, which keeps its id."""
    first = read(webhook())
    later = read(webhook(date_updated="2026-03-02T09:30:04.000001"))
    assert first.crm_event_id == later.crm_event_id == "ev_2sYKRjcrA79yKxi3S4Crd7"
    assert later.dedup_key == "ev_2sYKRjcrA79yKxi3S4Crd7|1772443804000001"
    assert first.dedup_key != later.dedup_key
    assert read(webhook(request_id="req_other")).dedup_key == first.dedup_key


def test_the_time_of_an_event_is_utc_and_the_last_that_it_has() -> None:
    assert read(webhook()).occurred_at == NOW - timedelta(seconds=1, milliseconds=880)
    assert read(webhook(date_updated="2026-03-02T10:29:58+01:00")).occurred_at == NOW - timedelta(seconds=2)
    created = read(webhook(date_created="2026-03-02T09:29:00", date_updated=...))
    assert created.occurred_at == NOW - timedelta(minutes=1)
    timeless = read(webhook(date_created=..., date_updated=None))
    assert (timeless.occurred_at, timeless.dedup_key) == (None, "ev_2sYKRjcrA79yKxi3S4Crd7|")


def test_a_custom_field_is_reached_by_its_quoted_key() -> None:
    spec = {"email": "emails[0].email", "custom": {"Tier": f'"{TIER}"', "Home": "emails[?type=home].email"}}
    mapped = Mapping(MappingSpec.model_validate(spec)).apply(read(webhook()))
    assert mapped.fields == {
        "email": "amara.okafor@northwind.example",
        "custom.Tier": "Gold",
        "custom.Home": "amara@okafor.example",
    }


def test_a_custom_field_that_was_cleared_can_be_cleared() -> None:
    """The record leaves it out as if it had never been there; only the list of changes knows."""
    spec = MappingSpec.model_validate({"custom": {"Plan": {"from": f'"{PLAN}"', "on_null": "clear"}}})
    cleared = read(webhook(changed_fields=[PLAN], previous_data={PLAN: "Scale"}))
    assert Mapping(spec).apply(cleared).fields == {"custom.Plan": None}
    assert Mapping(spec).apply(read(webhook())).fields == {}


def test_any_other_field_that_is_not_in_the_record_stays_missing() -> None:
    assert "background" not in read(webhook(changed_fields=["background"])).values


@pytest.mark.parametrize(
    ("names", "known"),
    [(..., None), (None, None), ("title", None), ({}, None), (["title", 7], None), ([], ()), (["title"], ("title",))],
)
def test_changed_fields_are_those_listed_or_unknown(names: object, known: tuple[str, ...] | None) -> None:
    assert read(webhook(changed_fields=names)).changed_fields == known


@pytest.mark.parametrize("previous", [..., None])
def test_an_update_without_previous_data_is_read(previous: object) -> None:
    assert read(webhook(previous_data=previous)).previous is None


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("id", ..., "event.id"),
        ("id", 0.5, "event.id"),
        ("id", "e" * 256, "event.id"),
        ("object_id", None, "event.object_id"),
        ("object_id", "cont\n", "event.object_id"),
        ("date_updated", "soon", "event.date_updated"),
        ("date_updated", [], "event.date_updated"),
        ("data", None, "event.data"),
        ("data", [], "event.data"),
        ("previous_data", "Amara", "event.previous_data"),
    ],
)
def test_what_a_change_is_made_of_must_be_whole(field: str, value: object, place: str) -> None:
    with pytest.raises(ParseError, match=place) as refused:
        read(webhook(**{field: value}))
    assert "Amara" not in str(refused.value)


@pytest.mark.parametrize("document", [{}, {"event": None}, {"event": []}, webhook()["event"]])
def test_a_body_without_an_event_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ParseError, match="event is not an object"):
        read(document)


@pytest.mark.parametrize(
    ("action", "reason"), [(..., "unknown"), (7, "7"), ("merged", "merged"), ("Amara Okafor", "unknown")]
)
def test_an_unknown_action_is_kept_and_ignored(action: object, reason: str) -> None:
    change = read(webhook(action=action))
    assert (change.action, change.ignored) == (Action.OTHER, f"action {reason}")
    assert (dict(change.values), change.previous, change.changed_fields) == ({}, None, None)


@pytest.mark.parametrize(
    ("object_type", "reason"),
    [("lead", "lead"), ("activity.email", "activity.email"), ("custom_fields.contact", "custom_fields.contact")]
    + [(odd, "unknown") for odd in (..., None, ["contact"], "a.okafor@northwind.example")],
)
def test_what_is_not_a_contact_is_ignored_and_nothing_of_it_kept(object_type: object, reason: str) -> None:
    change = read(webhook(object_type=object_type))
    assert change.ignored == f"object type {reason}"
    assert (dict(change.values), change.previous) == ({}, None)


@pytest.mark.parametrize("meta", [None, ..., [], "merge_destination_lead_id", {"request_method": "DELETE"}])
def test_a_deletion_is_by_a_merge_only_where_it_names_the_leads(meta: object) -> None:
    change = read(webhook(action="deleted", data=None, meta=meta))
    assert (change.action, change.ignored) == (Action.DELETED, "deleted in the CRM")


@pytest.mark.parametrize("field", ["user_id", "organization_id", "api_key_id"])
@pytest.mark.parametrize("value", [["x"], 0.5, "a.okafor@northwind.example", "Amara Okafor"])
def test_a_side_fact_that_is_odd_does_not_cost_the_change(field: str, value: object) -> None:
    change = read(webhook(**{field: value}))
    side = {"user_id": change.actor, "organization_id": change.tenant, "api_key_id": change.origin}
    assert side[field] is None
    assert change.values["title"] == "VP Finance"


def test_a_sample_has_closes_own_layout() -> None:
    sample = Sample(
        object_id="cont_BwlwYQkIP6AooiXP1CMvc6Zbb5gGh2gPu4dqIDlDrII",
        event_id="ev_2sYKRjcrA79yKxi3S4Crd7",
        at=NOW,
        fields={
            "first_name": "Amara",
            "last_name": "Okafor",
            "title": "CFO",
            "email": "amara@okafor.example",
            "phone": None,
            "cf_Tier": "Gold",
        },
        previous={"title": "Controller", "cf_Tier": None},
    )
    (change,) = SOURCE.parse(SOURCE.sample(sample, url=URL, now=NOW))
    assert change.values == {
        "id": "cont_BwlwYQkIP6AooiXP1CMvc6Zbb5gGh2gPu4dqIDlDrII",
        "name": "Amara Okafor",
        "title": "CFO",
        "emails": [{"type": "office", "email": "amara@okafor.example"}],
        "phones": [],
        "custom.cf_Tier": "Gold",
    }
    assert change.previous == {"title": "Controller", "custom.cf_Tier": None}
    assert change.changed_fields == ("title", "custom.cf_Tier")


def test_a_sample_of_a_change_without_a_past_lists_what_it_has() -> None:
    sample = Sample(object_id="cont_1", event_id="ev_1", at=NOW, fields={"title": "CFO"})
    (change,) = SOURCE.parse(SOURCE.sample(sample, url=URL, now=NOW))
    assert (change.changed_fields, change.previous) == (("title",), {})
