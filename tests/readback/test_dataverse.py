"""Dataverse's read-back: tokens, what is asked for a contact, and what its answers say."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
import pytest
from pydantic import ValidationError

from service.mapping import Mapping, MappingSpec
from service.model import Action, Change
from service.readback import READERS
from service.readback.base import Call, ReadError
from service.readback.dataverse import DataverseReadBack, DataverseReader
from service.sources.dataverse import DataverseSource
from tests.support.apis.base import ApiAnswer, ApiRequest
from tests.support.apis.dataverse import Api
from tests.support.crm import fixture

AMARA = "6d81597f-0f9f-e711-8122-000d3aa2331c"
ACCOUNT = "a16b3f4b-1be7-e611-8101-000d3aa2331c"
TARGET = "Microsoft.Dynamics.CRM.lookuplogicalname"
ROW: dict[str, Any] = {
    "firstname": "Amara",
    "lastname": "Okafor",
    "emailaddress1": "amara.okafor@northwind.example",
    "birthdate": "1961-12-12",
    "modifiedon": "2026-03-02T09:29:58Z",
    "creditlimit": 15000.5,
    "preferredcontactmethodcode": 3,
    "nw_interests": "342490001,342490002",
    "_parentcustomerid_value": ACCOUNT,
    f"_parentcustomerid_value@{TARGET}": "account",
    "_nw_planid_value": None,
}


def reader(**spec: Any) -> DataverseReader:  # noqa: ANN401  # any configuration
    return DataverseReader(DataverseReadBack.model_validate({**Api().credentials, **spec}))


def token(api: Api, **form: str) -> ApiAnswer:
    grant = reader().grant
    assert grant is not None
    body = urlencode({**grant.form, **form}).encode()
    return api.answer(ApiRequest("POST", urlsplit(grant.url).path, {}, {}, body))


def ask(api: Api, call: Call, *, access: str | None = None) -> ApiAnswer:
    """Send a call as the client does, with a token got by the grant."""
    access = token(api).document["access_token"] if access is None else access
    return api.answer(ApiRequest(call.method, call.path, call.params, dict(reader().headers(access))))


def test_it_is_the_reader_of_the_preset() -> None:
    assert READERS[DataverseSource.preset] is DataverseReader


@pytest.mark.parametrize(
    ("organization", "host"),
    [
        ("northwind.crm4", "https://northwind.crm4.dynamics.com"),
        ("Northwind.CRM", "https://northwind.crm.dynamics.com"),
        ("org1a2b3c4d.crm11", "https://org1a2b3c4d.crm11.dynamics.com"),
    ],
)
def test_the_organization_is_the_first_part_of_the_host(organization: str, host: str) -> None:
    assert reader(organization=organization).host == host
    grant = reader(organization=organization).grant
    assert grant is not None
    assert grant.form["scope"] == f"{host}/.default"


@pytest.mark.parametrize(
    "organization",
    [
        "northwind",
        "northwind.crm4.dynamics.com",
        "northwind.crm4/",
        "northwind.crm4#.evil.example",
        "evil.example/x.crm4",
        "evil.example@northwind.crm4",
        "a.b.crm4",
        "-northwind.crm4",
        "northwind.crm123",
        "northwind.crm4\n",
        "nörthwind.crm4",
        "",
        None,
    ],
)
def test_no_other_host_can_be_named(organization: object) -> None:
    with pytest.raises(ValidationError):
        reader(organization=organization)


@pytest.mark.parametrize(
    "spec",
    [
        {"tenant_id": "common/../x"},
        {"tenant_id": "a b"},
        {"tenant_id": ""},
        {"client_id": "app"},
        {"client_secret": ""},
        {"lookups": ["nw_planid/x"]},
        {"lookups": ["_nw_planid_value"]},
        {"scope": "x"},
    ],
)
def test_what_cannot_be_right_is_refused_at_load(spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        reader(**spec)


def test_a_token_is_got_by_client_credentials_for_this_environment() -> None:
    grant = reader().grant
    assert grant is not None
    tenant = Api().credentials["tenant_id"]
    assert grant.url == f"https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
    assert token(Api()).document["expires_in"] == 3599


@pytest.mark.parametrize(
    ("form", "status"), [({"client_secret": "old"}, 401), ({"scope": "x"}, 400), ({"grant_type": "password"}, 400)]
)
def test_the_directory_refuses_whatever_else(form: dict[str, str], status: int) -> None:
    assert token(Api(), **form).status == status


def test_columns_are_selected_lookups_by_their_odata_names() -> None:
    fields = ["emailaddress1", "parentcustomerid", "nw_planid", "nw_tier", "Full Name", "x,y", ""]
    call = reader(lookups=["nw_planid"]).call([AMARA], fields)
    assert (call.method, call.path, call.body) == ("GET", f"/api/data/v9.2/contacts({AMARA})", None)
    assert call.params == {"$select": "emailaddress1,modifiedon,_nw_planid_value,nw_tier,_parentcustomerid_value"}


@pytest.mark.parametrize(
    ("object_id", "segment"),
    [
        ("../WhoAmI", "%2E%2E%2FWhoAmI"),
        ("x)/owner(y", "x%29%2Fowner%28y"),
        ("x)?$select=*#", "x%29%3F%24select%3D%2A%23"),
        ("é 'x'", "%C3%A9%20%27x%27"),
    ],
)
def test_no_id_leads_out_of_its_place_in_the_path(object_id: str, segment: str) -> None:
    assert reader().call([object_id], []).path == f"/api/data/v9.2/contacts({segment})"


def test_a_contact_is_read_through_the_api_in_the_layout_of_events() -> None:
    api = Api()
    api.records[AMARA] = ROW
    asker = reader(lookups=["nw_planid"])
    fields = ["firstname", "jobtitle", "parentcustomerid", "nw_planid", "nw_interests", "creditlimit"]
    answer = ask(api, asker.call([AMARA], fields))
    assert answer.status == 200
    (reading,) = asker.read(answer.document, [AMARA]).values()
    assert reading.values == {
        "contactid": AMARA,
        "firstname": "Amara",
        "jobtitle": None,
        "parentcustomerid": {"Id": ACCOUNT, "LogicalName": "account"},
        "nw_planid": None,
        "nw_interests": "342490001,342490002",
        "creditlimit": 15000.5,
        "modifiedon": "2026-03-02T09:29:58Z",
    }
    assert reading.updated_at == datetime(2026, 3, 2, 9, 29, 58, tzinfo=UTC)


def test_one_mapping_does_for_an_event_and_for_the_record() -> None:
    """Columns of every type, of which only a date without a time of day looks different: to_date makes it the same."""
    request = fixture("dataverse", "contact_created_with_every_type_of_column")[0]
    (event,) = DataverseSource("dataverse", None).parse(request)
    names = [name for name in event.values if name not in {"contactid", "fullname"}]
    shown: dict[str, Any] = {
        "firstname": "Amara",
        "birthdate": "1961-12-12",
        "creditlimit": 15000.5,
        "preferredcontactmethodcode": 3,
        "nw_interests": "342490001,342490002",
        "_parentcustomerid_value": ACCOUNT,
        f"_parentcustomerid_value@{TARGET}": "account",
        "modifiedon": "2026-03-02T09:29:58Z",
    }
    read = reader().read({"contactid": AMARA, **shown}, [AMARA])[AMARA]
    spec = {
        "first_name": "firstname",
        "custom": {
            "Birthday": {"from": "birthdate", "transform": ["to_date"]},
            "Limit": "creditlimit",
            "Contact by": {"from": "preferredcontactmethodcode", "map": {"3": "Phone"}},
            "Interests": {"from": "nw_interests", "map": {"342490001,342490002": "Webinars, Beta"}},
            "Company": "parentcustomerid.Id",
        },
    }
    mapping = Mapping(MappingSpec.model_validate(spec))
    whole = Change("key", "contact", AMARA, Action.UPDATED, values=read.values)
    assert mapping.apply(event).fields == mapping.apply(whole).fields
    assert mapping.apply(whole).fields["custom.Birthday"] == "1961-12-12"
    assert set(shown) - {f"_parentcustomerid_value@{TARGET}", "_parentcustomerid_value"} <= set(names)


def test_a_contact_that_is_not_there_is_not_found() -> None:
    assert ask(Api(), reader().call([AMARA], [])).status == 404


def test_an_id_in_capitals_is_the_same_contact() -> None:
    readings = reader().read({"contactid": AMARA, "modifiedon": "2026-03-02T09:29:58Z"}, [AMARA.upper()])
    assert readings.keys() == {AMARA.upper()}


def test_the_probe_tells_a_wrong_token() -> None:
    probe = reader().probe()
    assert probe is not None
    assert [ask(Api(), probe, access=access).status for access in (None, "", "revoked")] == [200, 401, 401]


@pytest.mark.parametrize(
    ("method", "path", "query", "status"),
    [
        ("POST", f"/api/data/v9.2/contacts({AMARA})", {}, 405),
        ("GET", "/api/data/v9.2/Contacts", {}, 404),
        ("GET", "/api/data/v9.2/contacts(991)", {}, 400),
        ("GET", f"/api/data/v9.2/contacts({AMARA})", {"$select": "firstname,favourite"}, 400),
        ("GET", f"/api/data/v9.2/contacts({AMARA})", {"$select": "parentcustomerid"}, 400),
    ],
)
def test_the_fake_is_as_strict_as_dataverse(method: str, path: str, query: dict[str, str], status: int) -> None:
    api = Api()
    api.records[AMARA] = ROW
    headers = dict(reader().headers(token(api).document["access_token"]))
    assert api.answer(ApiRequest(method, path, query, headers)).status == status


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (None, "the answer is not an object"),
        ([ROW], "the answer is not an object"),
        (ROW, "contactid is not the id that was asked for"),
        (ROW | {"contactid": 991}, "contactid is not the id that was asked for"),
        (ROW | {"contactid": ACCOUNT}, "contactid is not the id that was asked for"),
        (ROW | {"contactid": AMARA, "modifiedon": None}, "modifiedon is not a time"),
        (ROW | {"contactid": AMARA, "modifiedon": "Amara"}, "modifiedon is not a time"),
    ],
)
def test_an_answer_that_is_not_as_documented_is_refused_without_a_value(document: Any, place: str) -> None:  # noqa: ANN401  # any JSON
    with pytest.raises(ReadError) as refused:
        reader().read(document, [AMARA])
    assert str(refused.value) == place


def test_the_secret_is_never_shown() -> None:
    secret = Api().credentials["client_secret"]
    shown = f"{reader().spec!r} {reader().grant!r} {reader().call([AMARA], [])!r}"
    assert secret not in shown
    with pytest.raises(ValidationError) as refused:
        reader(organization="no host")
    assert secret not in str(refused.value)


def test_without_a_selection_the_fake_shows_whole_rows() -> None:
    api = Api()
    api.records[AMARA] = ROW
    answer = ask(api, Call("GET", f"/api/data/v9.2/contacts({AMARA})"))
    assert orjson.dumps(answer.document).count(b"lookuplogicalname") == 1
