"""HubSpot's read-back: what is asked for a batch of contacts, and what its answers say."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hubspot.crm.contacts import ApiClient, BatchReadInputSimplePublicObjectId, SimplePublicObjectId
from pydantic import ValidationError

from service.mapping import Mapping, MappingSpec
from service.model import Action, Change
from service.readback import READERS
from service.readback.base import Call, ReadError, TokenSpec
from service.readback.hubspot import BATCH_MAX, HubSpotReader
from service.sources.hubspot import HubSpotSource
from tests.support.apis import hubspot
from tests.support.apis.base import ApiAnswer, ApiRequest
from tests.support.apis.hubspot import Api
from tests.support.crm import fixture, post

AMARA, JONAS = "58231190411", "58231190412"


def record(object_id: str = AMARA, **parts: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON
    return {
        "id": object_id,
        "properties": {
            "createdate": "2025-11-04T14:02:11.300Z",
            "email": "amara.okafor@northwind.example",
            "firstname": "Amara",
            "hs_object_id": object_id,
            "lastmodifieddate": "2026-03-02T09:29:58.120Z",
        },
        "createdAt": "2025-11-04T14:02:11.300Z",
        "updatedAt": "2026-03-02T09:29:58.120Z",
        "archived": False,
        **parts,
    }


def reader() -> HubSpotReader:
    return HubSpotReader(TokenSpec.model_validate(Api().credentials))


def ask(api: Api, call: Call, *, token: str | None = None) -> ApiAnswer:
    """Send a call as the client does."""
    headers = dict(reader().headers(api.credentials["token"] if token is None else token))
    body = b"" if call.body is None else orjson.dumps(call.body)
    return api.answer(ApiRequest(call.method, call.path, call.params, headers, body))


def test_it_is_the_reader_of_the_preset() -> None:
    assert READERS[HubSpotSource.preset] is HubSpotReader
    assert (reader().host, reader().grant) == ("https://api.hubapi.com", None)


def test_a_batch_is_asked_for_as_hubspots_own_library_asks() -> None:
    call = reader().call([AMARA, JONAS], ["email", "firstname"])
    theirs = BatchReadInputSimplePublicObjectId(
        inputs=[SimplePublicObjectId(id=AMARA), SimplePublicObjectId(id=JONAS)],
        properties=["email", "firstname"],
        properties_with_history=[],
    )
    expected = ApiClient().sanitize_for_serialization(theirs)
    assert (call.method, call.path, dict(call.params)) == ("POST", "/crm/v3/objects/contacts/batch/read", {})
    assert call.body == {key: expected[key] for key in ("inputs", "properties")}


@pytest.mark.parametrize("object_id", ["../../deals", "a?limit=1", "a/b", '"}]'])
def test_no_id_leads_out_of_its_place(object_id: str) -> None:
    call = reader().call([object_id], [])
    assert call.path == "/crm/v3/objects/contacts/batch/read"
    assert orjson.loads(orjson.dumps(call.body)) == {"inputs": [{"id": object_id}], "properties": []}


def test_those_that_are_there_are_read_and_the_others_are_gone() -> None:
    api = Api()
    api.records[AMARA] = record()
    answer = ask(api, reader().call([AMARA, JONAS], ["email", "firstname", "jobtitle"]))
    assert answer.status == 207
    readings = reader().read(answer.document, [AMARA, JONAS])
    assert readings.keys() == {AMARA}
    assert readings[AMARA].values == {
        "createdate": "2025-11-04T14:02:11.300Z",
        "email": "amara.okafor@northwind.example",
        "firstname": "Amara",
        "hs_object_id": AMARA,
        "jobtitle": None,
        "lastmodifieddate": "2026-03-02T09:29:58.120Z",
    }
    assert readings[AMARA].updated_at == datetime(2026, 3, 2, 9, 29, 58, 120000, tzinfo=UTC)


def test_a_whole_batch_is_one_call_and_a_larger_one_none() -> None:
    api = Api()
    ids = [str(501 + number) for number in range(BATCH_MAX + 1)]
    api.records = {one: record(one) for one in ids}
    answer = ask(api, reader().call(ids[:BATCH_MAX], ["email"]))
    assert (answer.status, len(reader().read(answer.document, ids))) == (200, BATCH_MAX)
    assert ask(api, reader().call(ids, ["email"])).status == 400
    assert hubspot.BATCH_MAX == BATCH_MAX == reader().batch_max


def test_one_mapping_does_for_an_event_and_for_the_record() -> None:
    event = next(
        change
        for change in HubSpotSource("hubspot", None).parse(
            post(fixture("hubspot", "one_edit_of_three_properties")[0].body, {})
        )
        if change.changed_fields == ("firstname",)
    )
    mapping = Mapping(MappingSpec.model_validate({"first_name": "firstname"}))
    read = reader().read({"status": "COMPLETE", "results": [record()]}, [AMARA])[AMARA]
    whole = Change("key", "contact", AMARA, Action.UPDATED, values=read.values)
    assert mapping.apply(event).fields == mapping.apply(whole).fields == {"first_name": "Amara"}


def test_an_archived_contact_is_gone() -> None:
    assert reader().read({"results": [record(archived=True)]}, [AMARA]) == {}


def test_a_contact_that_was_merged_away_is_gone_under_its_own_id() -> None:
    assert JONAS not in reader().read({"results": [record()]}, [JONAS])


def test_the_probe_tells_a_wrong_token() -> None:
    api, probe = Api(), reader().probe()
    api.records[AMARA] = record()
    assert probe is not None
    assert [ask(api, probe, token=token).status for token in (None, "", "revoked")] == [200, 401, 401]
    assert "firstname" not in ask(api, probe).document["results"][0]["properties"]


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (None, "the answer is not an object"),
        ([record()], "the answer is not an object"),
        ({}, "results is not a list"),
        ({"results": {}}, "results is not a list"),
        ({"results": ["Amara"]}, "results[] is not an object"),
        ({"results": [record(id=58231190411)]}, "results[].id is not an id"),
        ({"results": [record(id="")]}, "results[].id is not an id"),
        ({"results": [record(updatedAt=None)]}, "results[].updatedAt is not a time"),
        ({"results": [record(updatedAt="Amara")]}, "results[].updatedAt is not a time"),
        ({"results": [record(properties=["Amara"])]}, "results[].properties is not an object"),
        ({"results": [], "status": "PROCESSING"}, "status is not COMPLETE"),
        ({"results": [], "errors": {}}, "errors is not a list"),
        ({"results": [], "errors": ["Amara"]}, "errors[] is not an object"),
        (
            {"results": [], "errors": [{"category": "RATE_LIMITS", "message": "Amara"}]},
            "errors has more than contacts that were not found",
        ),
    ],
)
def test_an_answer_that_is_not_as_documented_is_refused_without_a_value(document: Any, place: str) -> None:  # noqa: ANN401  # any JSON
    with pytest.raises(ReadError) as refused:
        reader().read(document, [AMARA])
    assert str(refused.value) == place


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/crm/v3/objects/contacts/batch/read", 405),
        ("POST", "/crm/v3/objects/contacts", 405),
        ("GET", "/crm/v3/objects/deals", 404),
        ("POST", "/crm/v3/objects/contacts/batch/read", 400),
    ],
)
def test_the_fake_is_as_strict_as_hubspot(method: str, path: str, status: int) -> None:
    api = Api()
    headers = {"authorization": f"Bearer {api.credentials['token']}"}
    assert api.answer(ApiRequest(method, path, {}, headers, b"{}")).status == status


def test_the_token_is_never_shown() -> None:
    token = Api().credentials["token"]
    assert token not in f"{reader().spec!r} {reader().call([AMARA], [])!r}"
    with pytest.raises(ValidationError) as refused:
        TokenSpec.model_validate({**Api().credentials, "region": "eu1"})
    assert token not in str(refused.value)
