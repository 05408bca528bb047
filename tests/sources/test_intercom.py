"""Intercom notifications, as documented and captured, and as they should not be."""

from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.hmac import HMAC

from service.errors import ParseError, VerificationError
from service.model import Action, Change, InboundRequest
from service.sources.base import Sample
from tests.support.crm import NOW, URL, as_event, build, fixture, fixtures, post
from tests.support.crms.intercom import intercom_signature

SECRET = "b1d5c7a0-4e2f-49c3-8a6d-7f0e9c3b5a21"
SOURCE = build("intercom", {"secret": SECRET})


def notification(name: str = "one_edit_as_user_updated", **changes: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON
    document: dict[str, Any] = orjson.loads(fixture("intercom", name)[0].body)
    return document | changes


def with_item(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON
    document = notification()
    document["data"]["item"] |= changes
    return document


def read(document: dict[str, Any]) -> Change:
    (change,) = SOURCE.parse(post(orjson.dumps(document), {}))
    return change


@pytest.mark.parametrize("name", fixtures("intercom"))
def test_an_example_notification_reads_as_expected(name: str) -> None:
    request, expected = fixture("intercom", name)
    assert [as_event(change) for change in SOURCE.parse(request)] == expected["events"]


@pytest.mark.parametrize("name", fixtures("intercom"))
def test_what_openssl_signed_is_accepted(name: str) -> None:
    """The examples were signed by `openssl dgst -sha1 -hmac`, the names in them partly not in ASCII."""
    SOURCE.verify(fixture("intercom", name)[0], now=NOW)


def test_the_example_of_rfc_2202_is_accepted() -> None:
    """Test case 2 of HMAC-SHA1 (https://www.rfc-editor.org/rfc/rfc2202#section-3)."""
    header = {"x-hub-signature": "sha1=effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"}
    build("intercom", {"secret": "Jefe"}).verify(post(b"what do ya want for nothing?", header), now=NOW)


@pytest.mark.parametrize("secret", [SECRET, "Schlüssel", "k" * 100])
def test_samples_are_signed_as_another_library_signs(secret: str) -> None:
    sample = Sample("69a1b3c4d5e6f70819202a3b", "notif_1", NOW, {"first_name": "Zoë"})
    request = build("intercom", {"secret": secret}).sample(sample, url=URL, now=NOW)
    other = HMAC(secret.encode(), SHA1())  # noqa: S303  # it is what Intercom signs with
    other.update(request.body)
    assert request.headers["x-hub-signature"] == "sha1=" + other.finalize().hex()


@pytest.mark.parametrize("change", ["{0}", "sha256={0}", "sha1 ={0}", " sha1={0}", "sha1={0}0", "sha1=0{0}", "sha1="])
def test_a_signature_in_another_form_is_refused(change: str) -> None:
    body = orjson.dumps(notification())
    digest = intercom_signature(SECRET, body)["x-hub-signature"].removeprefix("sha1=")
    with pytest.raises(VerificationError, match="signature is wrong"):
        SOURCE.verify(post(body, {"x-hub-signature": change.format(digest)}), now=NOW)


def test_a_signature_may_be_in_upper_case() -> None:
    body = orjson.dumps(notification())
    SOURCE.verify(post(body, {"x-hub-signature": intercom_signature(SECRET, body)["x-hub-signature"].upper()}), now=NOW)


def test_intercom_is_told_that_somebody_is_here_before_it_saves_the_address() -> None:
    """It asks by HEAD, without a signature; nothing else is answered without one."""
    reply = SOURCE.handshake(InboundRequest("HEAD", URL, {}, b""))
    assert reply is not None
    assert (reply.status, reply.body) == (200, b"")
    assert all(SOURCE.handshake(InboundRequest(method, URL, {}, b"")) is None for method in ("POST", "GET", "head", ""))


def test_two_notifications_of_one_edit_are_two_events_with_the_same_values() -> None:
    """They differ in id and in the milliseconds of updated_at, so that the second ends as unchanged."""
    (user,) = SOURCE.parse(fixture("intercom", "one_edit_as_user_updated")[0])
    (email,) = SOURCE.parse(fixture("intercom", "one_edit_as_email_updated")[0])
    assert user.dedup_key != email.dedup_key
    assert {**user.values, "updated_at": None} == {**email.values, "updated_at": None}
    assert (user.occurred_at, email.occurred_at) == (
        NOW.replace(minute=29, second=58, microsecond=120_000),
        NOW.replace(minute=29, second=58),
    )


@pytest.mark.parametrize(
    ("topic", "action", "ignored"),
    [
        ("contact.created", Action.CREATED, None),
        ("contact.user.created", Action.CREATED, None),
        ("user.created", Action.CREATED, None),
        ("contact.lead.updated", Action.UPDATED, None),
        ("contact.lead.added_email", Action.UPDATED, None),
        ("contact.lead.signed_up", Action.UPDATED, None),
        ("contact.lead.tag.deleted", Action.UPDATED, None),
        ("contact.subscribed", Action.UPDATED, None),
        ("contact.unsubscribed_from_sms", Action.UPDATED, None),
        ("user.email.updated", Action.UPDATED, None),
        ("user.deleted", Action.DELETED, "deleted in the CRM"),
        ("contact.archive", Action.DELETED, "deleted in the CRM"),
        ("contact.unarchive", Action.RESTORED, None),
        ("contact", Action.OTHER, "topic unknown"),
        ("contact.user", Action.OTHER, "topic unknown"),
        ("contact.user.user.created", Action.OTHER, "topic user.created"),
        ("visitor.signed_up", Action.OTHER, "object type visitor"),
        ("granular.subscribe", Action.OTHER, "object type granular"),
        (".created", Action.OTHER, "object type unknown"),
        (None, Action.OTHER, "object type unknown"),
        ("Amara Okafor", Action.OTHER, "object type unknown"),
    ],
)
def test_a_topic_says_what_was_done_to_which_kind_of_object(topic: object, action: Action, ignored: str | None) -> None:
    change = read(notification(topic=topic))
    assert (change.action, change.ignored) == (action, ignored)
    assert bool(change.values) is (action is not Action.OTHER)


def test_a_contact_without_a_time_of_its_own_is_of_the_notification_s_time() -> None:
    assert read(with_item(updated_at=None)).occurred_at == NOW.replace(minute=29, second=58)
    assert read(notification(created_at=None)).occurred_at == NOW.replace(minute=29, second=58, microsecond=120_000)
    assert read(with_item(updated_at=None) | {"created_at": None}).occurred_at is None


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (notification(id=None), "id"),
        (notification(id=""), "id"),
        (notification(id=1.5), "id"),
        (notification(id="n" * 256), "id"),
        (notification(data=None), "data.item"),
        (notification(data={"item": []}), "data.item"),
        (with_item(id=None), "the contact's id"),
        (with_item(id=0.5), "the contact's id"),
        (with_item(updated_at="yesterday"), "updated_at"),
        (notification(created_at={}), "created_at"),
    ],
)
def test_what_tells_events_and_records_apart_must_be_whole(document: dict[str, Any], place: str) -> None:
    with pytest.raises(ParseError, match=place):
        read(document)


def test_pings_are_told_apart_by_their_time() -> None:
    """Each press of the test button is an event in the log; a repetition of one is not."""
    ping = notification("ping_without_id")
    first, again, later = (read(ping | {"created_at": at}).dedup_key for at in (1772443798, 1772443798, 1772443799))
    assert first == again != later


@pytest.mark.parametrize("data", [None, [], {}, {"item": None}, {"item": []}, {"item": {"id": {}}}])
def test_a_notification_of_another_kind_may_be_about_nothing(data: object) -> None:
    change = read(notification("ping_without_id", data=data))
    assert (change.object_id, change.ignored) == ("unknown", "object type ping")


@pytest.mark.parametrize(("place", "value"), [("app_id", "a.okafor@northwind.example"), ("delivery_attempts", "1")])
def test_a_side_fact_that_is_odd_does_not_cost_the_change(place: str, value: object) -> None:
    change = read(notification() | {place: value})
    assert {"app_id": change.tenant, "delivery_attempts": change.attempt}[place] is None
    assert change.values["name"] == "Amara Okafor"


def test_a_sample_has_intercoms_own_layout() -> None:
    sample = Sample(
        object_id="69a1b3c4d5e6f70819202a3b",
        event_id="notif_30a1b8f2",
        at=NOW,
        fields={
            "first_name": "Amara",
            "last_name": "Okafor",
            "title": "CFO",
            "email": "amara@okafor.example",
            "plan": "S",
        },
    )
    (change,) = SOURCE.parse(SOURCE.sample(sample, url=URL, now=NOW))
    assert change.values == {
        "type": "contact",
        "id": "69a1b3c4d5e6f70819202a3b",
        "workspace_id": "nw4tq2d7",
        "role": "user",
        "name": "Amara Okafor",
        "email": "amara@okafor.example",
        "updated_at": "2026-03-02T09:30:00.000+00:00",
        "custom_attributes": {"job_title": "CFO", "plan": "S"},
    }
