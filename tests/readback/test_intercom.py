"""Intercom's read-back: what is asked for a contact, and what its answers say."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from service.mapping import Mapping, MappingSpec
from service.model import Action, Change
from service.readback import READERS
from service.readback.base import Call, ReadError
from service.readback.intercom import IntercomReadBack, IntercomReader
from service.sources.intercom import IntercomSource
from tests.support.apis.base import ApiAnswer, ApiRequest
from tests.support.apis.intercom import Api
from tests.support.crm import fixture

AMARA = "69a1b3c4d5e6f70819202a3b"
NOTIFIED: dict[str, Any] = orjson.loads(fixture("intercom", "one_edit_as_user_updated")[0].body)["data"]["item"]
RECORD: dict[str, Any] = {
    **NOTIFIED,
    "created_at": 1762264931,
    "updated_at": 1772443798,
    "signed_up_at": 1762264931,
    "custom_attributes": {**NOTIFIED["custom_attributes"], "renewal_at": 1788220800},
}


def reader(**spec: Any) -> IntercomReader:  # noqa: ANN401  # any configuration
    return IntercomReader(IntercomReadBack.model_validate({**Api().credentials, **spec}))


def ask(api: Api, call: Call, *, token: str | None = None, **headers: str) -> ApiAnswer:
    """Send a call as the client does."""
    sent = {**reader().headers(api.credentials["token"] if token is None else token), **headers}
    return api.answer(ApiRequest(call.method, call.path, call.params, sent))


def test_it_is_the_reader_of_the_preset() -> None:
    assert READERS[IntercomSource.preset] is IntercomReader


def test_a_contact_is_asked_for_by_its_id_in_a_fixed_version() -> None:
    asker = reader()
    assert asker.call([AMARA], ["email", "name"]) == Call("GET", f"/contacts/{AMARA}")
    assert asker.headers("tok") == {"authorization": "Bearer tok", "intercom-version": "2.11"}
    assert asker.grant is None


@pytest.mark.parametrize(
    ("region", "host"),
    [("us", "https://api.intercom.io"), ("eu", "https://api.eu.intercom.io"), ("au", "https://api.au.intercom.io")],
)
def test_each_region_has_its_own_host(region: str, host: str) -> None:
    assert reader(region=region).host == host


@pytest.mark.parametrize("region", ["", "de", "US", "eu.evil.example", None])
def test_another_region_is_refused_at_load_without_showing_the_token(region: object) -> None:
    with pytest.raises(ValidationError) as refused:
        reader(region=region)
    assert Api().credentials["token"] not in str(refused.value)


@pytest.mark.parametrize(
    ("object_id", "segment"),
    [
        ("..", "%2E%2E"),
        ("../me", "%2E%2E%2Fme"),
        ("search?query=1#b", "search%3Fquery%3D1%23b"),
        ("%2e%2e", "%252e%252e"),
        ("a b\\ü", "a%20b%5C%C3%BC"),
    ],
)
def test_no_id_leads_out_of_its_place_in_the_path(object_id: str, segment: str) -> None:
    assert reader().call([object_id], []).path == f"/contacts/{segment}"


def test_a_contact_is_read_through_the_api_in_the_layout_of_the_notifications() -> None:
    """Its times too: they are seconds in the API, and text in a notification."""
    api = Api()
    api.records[AMARA] = RECORD
    answer = ask(api, reader().call([AMARA], ["name"]))
    assert answer.status == 200
    (reading,) = reader().read(answer.document, [AMARA]).values()
    assert reading.values == {
        **NOTIFIED,
        "created_at": "2025-11-04T14:02:11.000+00:00",
        "updated_at": "2026-03-02T09:29:58.000+00:00",
        "signed_up_at": "2025-11-04T14:02:11.000+00:00",
        "custom_attributes": RECORD["custom_attributes"],
    }
    assert reading.updated_at == datetime(2026, 3, 2, 9, 29, 58, tzinfo=UTC)


def test_what_was_read_is_mapped_by_the_paths_of_a_notification() -> None:
    spec = {
        "first_name": {"from": "name", "transform": ["split_first"]},
        "last_name": {"from": "name", "transform": ["split_rest"]},
        "email": IntercomSource.usual_email,
        "title": "custom_attributes.job_title",
        "custom": {"Plan": "custom_attributes.plan", "Signed up": {"from": "signed_up_at", "transform": ["to_date"]}},
    }
    mapping = Mapping(MappingSpec.model_validate(spec))
    read = reader().read(RECORD, [AMARA])[AMARA].values
    made = [mapping.apply(Change("key", "contact", AMARA, Action.UPDATED, values=each)) for each in (NOTIFIED, read)]
    assert made[0].fields == made[1].fields
    assert made[0].fields["custom.Plan"] == "Scale"


@pytest.mark.parametrize("value", [None, True, "2026-03-02", 1772443798.5, -1, 10**19])
def test_what_is_no_time_in_seconds_stays_as_it_is(value: object) -> None:
    document: Any = {**RECORD, "last_seen_at": value}
    assert reader().read(document, [AMARA])[AMARA].values["last_seen_at"] == value


def test_a_contact_that_was_deleted_is_not_found() -> None:
    assert ask(Api(), reader().call([AMARA], [])).status == 404


def test_the_probe_tells_a_wrong_token() -> None:
    probe = reader().probe()
    assert probe is not None
    assert [ask(Api(), probe, token=token).status for token in (None, "", "revoked")] == [200, 401, 401]


def test_the_api_of_the_tests_is_as_strict_as_intercoms() -> None:
    api, call = Api(), reader().call([AMARA], [])
    api.records[AMARA] = RECORD
    assert ask(api, call, **{"intercom-version": "3.0"}).status == 400
    assert ask(api, Call("POST", call.path)).status == 405
    assert ask(api, Call("GET", "/contact/1")).status == 404


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (None, "the answer is not an object"),
        ([RECORD], "the answer is not an object"),
        ({}, "id is not the one that was asked for"),
        ({**RECORD, "id": "69a1b3ff00112233445566aa"}, "id is not the one that was asked for"),
        ({**RECORD, "updated_at": "yesterday"}, "updated_at is not a time"),
        ({**RECORD, "updated_at": {}}, "updated_at is not a time"),
    ],
)
def test_an_answer_that_is_not_as_documented_is_refused_without_a_value(document: Any, place: str) -> None:  # noqa: ANN401  # any JSON
    with pytest.raises(ReadError) as refused:
        reader().read(document, [AMARA])
    assert str(refused.value) == place


def test_an_answer_without_a_time_of_change_has_none() -> None:
    assert reader().read({**RECORD, "updated_at": None}, [AMARA])[AMARA].updated_at is None


def test_the_token_is_never_shown() -> None:
    assert Api().credentials["token"] not in f"{reader().spec!r} {reader().call([AMARA], [])!r}"
