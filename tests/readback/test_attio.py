"""Attio's read-back: what is asked for a person, and what its answers say."""

from typing import Any

import pytest
from pydantic import ValidationError

from service.mapping import Mapping, MappingSpec
from service.model import Action, Change
from service.readback import READERS
from service.readback.attio import AttioReadBack, AttioReader
from service.readback.base import Call, ReadError
from service.sources.attio import AttioSource
from tests.support.apis.attio import PEOPLE, Api
from tests.support.apis.base import ApiAnswer, ApiRequest

AMARA = "bf071e1f-6035-429d-b874-d83ea64ea13b"
OTHER = "3405be95-8375-46a0-bde0-03b3753f8c79"


def value(kind: str, **parts: object) -> dict[str, object]:
    by = {"type": "workspace-member", "id": "50cf242c-7fa3-4cad-87d0-75b1af71c57b"}
    return {
        "active_from": "2026-02-27T16:40:03.001000000Z",
        "active_until": None,
        "created_by_actor": by,
        "attribute_type": kind,
        **parts,
    }


VALUES: dict[str, Any] = {
    "name": [value("personal-name", first_name="Amara", last_name="Okafor", full_name="Amara Okafor")],
    "email_addresses": [
        value("email-address", email_address="amara.okafor@northwind.example", email_domain="northwind.example"),
        value("email-address", email_address="amara@okafor.example", email_domain="okafor.example"),
    ],
    "phone_numbers": [],
    "job_title": [value("text", value="VP Finance")],
    "tier": [value("select", option={"title": "Gold", "is_archived": False})],
}
RECORD: dict[str, Any] = {
    "id": {"workspace_id": "14beef7a-99f7-4534-a87e-70b564330a4c", "object_id": PEOPLE, "record_id": AMARA},
    "created_at": "2025-11-04T14:02:11.300000000Z",
    "web_url": f"https://app.attio.com/northwind/person/{AMARA}",
    "values": VALUES,
}


def reader(**spec: Any) -> AttioReader:  # noqa: ANN401  # any configuration
    return AttioReader(AttioReadBack.model_validate({**Api().credentials, **spec}))


def ask(api: Api, call: Call, *, token: str | None = None) -> ApiAnswer:
    """Send a call as the client does."""
    asker = reader()
    headers = dict(asker.headers(api.credentials["token"] if token is None else token))
    return api.answer(ApiRequest(call.method, call.path, call.params, headers))


def with_part(**parts: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON
    return {"data": {**RECORD, **parts}}


def test_it_is_the_reader_of_the_preset() -> None:
    assert READERS[AttioSource.preset] is AttioReader


def test_a_person_is_asked_for_by_the_id_of_its_record() -> None:
    call = reader().call([AMARA], ["email_addresses", "name"])
    assert call == Call("GET", f"/v2/objects/people/records/{AMARA}")
    assert reader().host == "https://api.attio.com"
    assert reader().grant is None


def test_another_object_of_people_can_be_named() -> None:
    assert reader(object="leads_eu").call([AMARA], []).path == f"/v2/objects/leads_eu/records/{AMARA}"
    assert reader(object=PEOPLE).probe() == Call("GET", f"/v2/objects/{PEOPLE}")


@pytest.mark.parametrize("name", ["", "people/records", "..", "people?x=1", "péople", "p" * 101, None])
def test_what_is_no_name_of_an_object_is_refused_at_load(name: object) -> None:
    with pytest.raises(ValidationError):
        reader(object=name)


@pytest.mark.parametrize(
    ("object_id", "segment"),
    [
        ("..", "%2E%2E"),
        ("../../self", "%2E%2E%2F%2E%2E%2Fself"),
        ("a?limit=1#b", "a%3Flimit%3D1%23b"),
        ("%2e%2e", "%252e%252e"),
        ("a b\\ü", "a%20b%5C%C3%BC"),
    ],
)
def test_no_id_leads_out_of_its_place_in_the_path(object_id: str, segment: str) -> None:
    assert reader().call([object_id], []).path == f"/v2/objects/people/records/{segment}"


def test_a_person_is_read_through_the_api_with_every_attribute_in_attios_layout() -> None:
    api = Api()
    api.records[AMARA] = RECORD
    answer = ask(api, reader().call([AMARA], ["name"]))
    assert answer.status == 200
    readings = reader().read(answer.document, [AMARA])
    assert readings.keys() == {AMARA}
    assert readings[AMARA].values == {**VALUES, "phone_numbers": None}
    assert readings[AMARA].updated_at is None


def test_what_was_read_is_mapped_by_the_paths_of_the_page() -> None:
    """Also an attribute that was emptied, which would else stay in ChartMogul for ever."""
    spec = {
        "first_name": "name[0].first_name",
        "last_name": "name[0].last_name",
        "email": AttioSource.usual_email,
        "phone": {"from": "phone_numbers[0].original_phone_number", "on_null": "clear"},
        "title": "job_title[0].value",
        "custom": {"Tier": "tier[0].option.title"},
    }
    values = reader().read({"data": RECORD}, [AMARA])[AMARA].values
    change = Change("key", "people", AMARA, Action.UPDATED, values=values)
    assert Mapping(MappingSpec.model_validate(spec)).apply(change).fields == {
        "first_name": "Amara",
        "last_name": "Okafor",
        "email": "amara.okafor@northwind.example",
        "phone": None,
        "title": "VP Finance",
        "custom.Tier": "Gold",
    }


def test_a_company_or_a_person_who_was_merged_away_is_not_found() -> None:
    api = Api()
    api.records[AMARA] = RECORD
    assert ask(api, reader().call([OTHER], [])).status == 404


def test_the_record_of_somebody_else_is_nobodys_answer() -> None:
    assert AMARA in reader().read({"data": RECORD}, [OTHER])
    assert OTHER not in reader().read({"data": RECORD}, [OTHER])


def test_the_probe_tells_a_wrong_token() -> None:
    probe = reader().probe()
    assert probe is not None
    assert [ask(Api(), probe, token=token).status for token in (None, "", "revoked")] == [200, 401, 401]


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (None, "the answer is not an object"),
        ([RECORD], "the answer is not an object"),
        ({}, "data is not an object"),
        ({"data": [RECORD]}, "data is not an object"),
        (with_part(id=AMARA), "data.id is not an object"),
        (with_part(id={}), "data.id.record_id is not an id"),
        (with_part(id={"record_id": ""}), "data.id.record_id is not an id"),
        (with_part(id={"record_id": 991}), "data.id.record_id is not an id"),
        (with_part(values=None), "data.values is not an object"),
        (with_part(values=[VALUES]), "data.values is not an object"),
    ],
)
def test_an_answer_that_is_not_as_documented_is_refused_without_a_value(document: Any, place: str) -> None:  # noqa: ANN401  # any JSON
    with pytest.raises(ReadError) as refused:
        reader().read(document, [AMARA])
    assert str(refused.value) == place


def test_the_token_is_never_shown() -> None:
    token = Api().credentials["token"]
    assert token not in f"{reader().spec!r} {reader().call([AMARA], [])!r}"
    with pytest.raises(ValidationError) as refused:
        reader(object="no object")
    assert token not in str(refused.value)
