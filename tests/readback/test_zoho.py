"""Zoho CRM's read-back: what is asked for contacts, what its answers say, and how its tokens are got."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from pydantic import ValidationError

from service.readback import READERS
from service.readback.base import Call, ReadError
from service.readback.zoho import FIELDS_MAX, ZohoReadBack, ZohoReader
from service.sources.zoho import ZohoSource
from tests.support.apis.base import ApiAnswer, ApiRequest
from tests.support.apis.zoho import Api

AMARA, MIKKEL, GONE = "6756839000000575405", "6756839000000575409", "6756839000000601013"
RECORD: dict[str, Any] = {
    "id": AMARA,
    "First_Name": "Amara",
    "Last_Name": "Okafor",
    "Email": "amara.okafor@northwind.example",
    "Phone": None,
    "Account_Name": {"name": "Northwind", "id": "6756839000000575391"},
    "Modified_Time": "2026-03-02T14:59:58+05:30",
}
CHANGED_AT = datetime(2026, 3, 2, 9, 29, 58, tzinfo=UTC)


def reader(**spec: Any) -> ZohoReader:  # noqa: ANN401  # any configuration
    return ZohoReader(ZohoReadBack.model_validate({**Api().credentials, **spec}))


def holding(*records: dict[str, Any]) -> Api:
    api = Api()
    api.records = {record["id"]: record for record in records}
    return api


def ask(api: Api, call: Call, *, token: str | None = None) -> ApiAnswer:
    """Send a call as the client does."""
    headers = dict(reader().headers(api.token if token is None else token))
    return api.answer(ApiRequest(call.method, call.path, call.params, headers))


def refresh(api: Api, **changes: str) -> ApiAnswer:
    """Send the form of the grant as the client does."""
    grant = reader().grant
    assert grant is not None
    body = urlencode({**grant.form, **changes}).encode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return api.answer(ApiRequest("POST", urlsplit(grant.url).path, {}, headers, body))


def test_it_is_the_reader_of_the_preset() -> None:
    assert READERS[ZohoSource.preset] is ZohoReader


def test_contacts_are_asked_for_together_with_their_fields_and_the_time_of_their_change() -> None:
    call = reader().call([AMARA, MIKKEL], ["Email", "First_Name", "Email"])
    params = {"ids": f"{AMARA},{MIKKEL}", "fields": "Email,First_Name,Modified_Time"}
    assert call == Call("GET", "/crm/v8/Contacts", params)


def test_more_fields_than_a_call_may_name_are_asked_for_by_naming_none() -> None:
    names = [f"Field_{number}" for number in range(FIELDS_MAX)]
    assert "fields" not in reader().call([AMARA], names).params
    assert reader().call([AMARA], names[1:]).params["fields"].count(",") == FIELDS_MAX - 1
    api = holding(RECORD)
    for fields in (names, names[1:]):
        assert reader().read(ask(api, reader().call([AMARA], fields)).document, [AMARA]).keys() == {AMARA}


@pytest.mark.parametrize(
    ("region", "host", "accounts"),
    [
        ("us", "www.zohoapis.com", "accounts.zoho.com"),
        ("eu", "www.zohoapis.eu", "accounts.zoho.eu"),
        ("in", "www.zohoapis.in", "accounts.zoho.in"),
        ("au", "www.zohoapis.com.au", "accounts.zoho.com.au"),
        ("jp", "www.zohoapis.jp", "accounts.zoho.jp"),
        ("ca", "www.zohoapis.ca", "accounts.zohocloud.ca"),
        ("cn", "www.zohoapis.com.cn", "accounts.zoho.com.cn"),
        ("sa", "www.zohoapis.sa", "accounts.zoho.sa"),
    ],
)
def test_each_data_centre_has_its_own_hosts(region: str, host: str, accounts: str) -> None:
    grant = reader(region=region).grant
    assert grant is not None
    assert (reader(region=region).host, grant.url) == (f"https://{host}", f"https://{accounts}/oauth/v2/token")


@pytest.mark.parametrize("region", ["", "com", "EU", "evil.example/", None])
def test_another_data_centre_is_refused_at_load_without_showing_a_secret(region: object) -> None:
    with pytest.raises(ValidationError) as refused:
        reader(region=region)
    assert not any(Api().credentials[name] in str(refused.value) for name in ("client_secret", "refresh_token"))


def test_a_token_is_got_by_a_refresh_and_opens_the_api() -> None:
    api = holding(RECORD)
    answer = refresh(api)
    assert (answer.status, answer.document["expires_in"]) == (200, 3600)
    call = reader().call([AMARA], ["Email"])
    assert ask(api, call, token=answer.document["access_token"]).status == 200
    assert ask(api, call, token="1000.revoked").document["code"] == "INVALID_TOKEN"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("grant_type", "unsupported_grant_type"),
        ("client_id", "invalid_client"),
        ("client_secret", "invalid_client_secret"),
        ("refresh_token", "invalid_code"),
    ],
)
def test_a_grant_is_refused_as_zoho_refuses_it(name: str, error: str) -> None:
    """With status 200, which the client must not take for a success."""
    answer = refresh(Api(), **{name: "wrong"})
    assert (answer.status, answer.document) == (200, {"error": error})


def test_contacts_are_read_through_the_api_and_one_that_is_not_there_is_gone() -> None:
    api = holding(RECORD, RECORD | {"id": MIKKEL, "First_Name": "Mikkel", "Modified_Time": None})
    ids = [AMARA, GONE, MIKKEL]
    readings = reader().read(ask(api, reader().call(ids, ["First_Name", "Account_Name", "Phone"])).document, ids)
    assert readings.keys() == {AMARA, MIKKEL}
    assert readings[AMARA].values == {name: RECORD[name] for name in RECORD if name not in ("Last_Name", "Email")}
    assert [readings[one].updated_at for one in (AMARA, MIKKEL)] == [CHANGED_AT, None]


def test_an_answer_without_a_body_says_that_all_are_gone() -> None:
    answer = ask(Api(), reader().call([AMARA, MIKKEL], ["Email"]))
    assert (answer.status, answer.document) == (204, None)
    assert reader().read(answer.document, [AMARA, MIKKEL]) == {}


def test_an_id_that_looks_like_several_brings_none_of_their_records() -> None:
    api = holding(RECORD, RECORD | {"id": MIKKEL})
    hostile = f"{AMARA},{MIKKEL}"
    answer = ask(api, reader().call([hostile], ["Email"]))
    assert len(answer.document["data"]) == 2
    assert reader().read(answer.document, [hostile]) == {}


def test_a_hundred_contacts_are_as_many_as_the_api_takes() -> None:
    ids = [str(6756839000000575405 + number) for number in range(ZohoReader.batch_max + 1)]
    assert ask(Api(), reader().call(ids[1:], ["Email"])).status == 204
    assert ask(Api(), reader().call(ids, ["Email"])).status == 400


def test_the_api_of_the_tests_is_as_strict_as_zohos() -> None:
    api, call = Api(), reader().call([AMARA], ["Email"])
    assert ask(api, Call("POST", call.path)).status == 405
    assert ask(api, Call("GET", "/crm/v8/Contact")).status == 404
    assert ask(api, Call("GET", "/Contacts")).status == 404
    assert ask(api, Call("GET", call.path)).document["code"] == "REQUIRED_PARAM_MISSING"
    assert api.answer(ApiRequest("GET", "/oauth/v2/token", {}, {})).status == 405


@pytest.mark.parametrize("api", [Api(), holding(RECORD)], ids=["empty", "with a contact"])
def test_the_probe_tells_a_wrong_token(api: Api) -> None:
    probe = reader().probe()
    assert probe is not None
    assert ask(api, probe).status in (200, 204)
    assert ask(api, probe, token="1000.revoked").status == 401


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({}, "data is not a list"),
        ([RECORD], "data is not a list"),
        ({"data": RECORD}, "data is not a list"),
        ({"data": [AMARA]}, "a record is not an object"),
        ({"data": [{**RECORD, "id": None}]}, "the id of a record is not text"),
        ({"data": [{**RECORD, "id": 6756839000000575405}]}, "the id of a record is not text"),
        ({"data": [{**RECORD, "Modified_Time": "yesterday"}]}, "Modified_Time is not a time"),
        ({"data": [{**RECORD, "Modified_Time": []}]}, "Modified_Time is not a time"),
    ],
)
def test_an_answer_that_is_not_as_documented_is_refused_without_a_value(document: Any, place: str) -> None:  # noqa: ANN401  # any JSON
    with pytest.raises(ReadError) as refused:
        reader().read(document, [AMARA])
    assert str(refused.value) == place


def test_the_secrets_are_never_shown() -> None:
    shown = f"{reader().spec!r} {reader().grant!r} {reader().call([AMARA], [])!r}"
    assert not any(Api().credentials[name] in shown for name in ("client_secret", "refresh_token"))
