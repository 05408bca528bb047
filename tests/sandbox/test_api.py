"""Routes, answers, headers and errors are as recorded; what is not known follows the switches."""

import json
import socket
import time
from typing import Any

import httpx
import pytest

from service.sandbox import UNLIMITED, Keys, Settings, Switches, parse_seed
from tests.support.sandbox import CUSTOMER, DATA_SOURCE, RunningSandbox, running_sandbox

UUID = "con_36399f04-7686-11ee-86f6-8727560009c2"
GRACE = f"/v1/contacts/{UUID}"
MINIMAL = {"customer_uuid": CUSTOMER, "data_source_uuid": DATA_SOURCE}
KEYS = [
    *("uuid", "customer_uuid", "customer_external_id", "data_source_uuid", "position", "first_name", "last_name"),
    *("title", "email", "phone", "linked_in", "twitter", "notes", "external_id", "last_seen", "custom"),
]


def switch(sandbox: RunningSandbox, **switches: Any) -> None:  # noqa: ANN401  # any switch
    sandbox.configure(Settings(limits=UNLIMITED, switches=Switches(**switches)))


def test_a_success_has_the_recorded_headers_and_an_error_has_not(client: httpx.Client) -> None:
    found, missing = client.get(GRACE), client.get(f"{GRACE[:-1]}0")
    assert found.headers["content-type"] == missing.headers["content-type"] == "application/json"
    assert found.headers["access-control-allow-credentials"] == "true"
    assert "access-control-allow-credentials" not in missing.headers
    assert set(found.headers) == {"content-type", "content-length", "date", "access-control-allow-credentials"}


def test_a_missing_contact_is_named_without_its_prefix(client: httpx.Client) -> None:
    uuid = "7c4c3152-9192-11ed-b18e-efa6b954f7e6"
    for answer in (
        client.get(f"/v1/contacts/con_{uuid}"),
        client.patch(f"/v1/contacts/con_{uuid}", json={}),
        client.delete(f"/v1/contacts/con_{uuid}"),
        client.post(f"{GRACE}/merge/con_{uuid}"),
        client.post(f"/v1/contacts/con_{uuid}/merge/{UUID}"),
    ):
        assert answer.status_code == 404
        assert answer.text == f'{{"code":404,"message":"Contact \\"{uuid}\\" does not exist","param":"contact_uuid"}}'


def test_keys_come_in_the_recorded_order(sandbox: RunningSandbox, client: httpx.Client) -> None:
    assert list(client.get(GRACE).json()) == KEYS
    assert list(client.post("/v1/contacts", json=MINIMAL).json()) == KEYS
    switch(sandbox, external_id="absent", last_seen="absent")
    recorded = [key for key in KEYS if key not in ("external_id", "last_seen")]
    assert list(client.patch(GRACE, json={"title": "CFO"}).json()) == recorded
    switch(sandbox, last_seen="absent")
    assert list(client.get(GRACE).json()) == [key for key in KEYS if key != "last_seen"]


def test_only_what_is_sent_changes(sandbox: RunningSandbox, client: httpx.Client) -> None:
    before = sandbox.contact(UUID)
    sent = {"title": "Treasurer", "custom": [{"key": "Region", "value": "APAC"}, {"key": "Facebook", "value": "g"}]}
    answer = client.patch(GRACE, json=sent)
    assert answer.status_code == 200
    assert answer.json() == {**before, "title": "Treasurer", "custom": {**before["custom"], "Region": "APAC"}}
    assert sandbox.contact(UUID) == answer.json() == client.get(GRACE).json()


def test_the_identity_of_a_contact_cannot_be_changed(sandbox: RunningSandbox, client: httpx.Client) -> None:
    before = sandbox.contact(UUID)
    switch(sandbox, unknown_keys=422)
    answer = client.patch(GRACE, json={"customer_external_id": "cus_999", "uuid": "con_x", "customer_uuid": CUSTOMER})
    assert answer.status_code == 200
    assert answer.json() == before


@pytest.mark.parametrize("path", ["/v1/contacts", f"/v1/customers/{CUSTOMER}/contacts"])
def test_a_minimal_contact_goes_last_in_position(client: httpx.Client, path: str) -> None:
    first = client.post(path, json={**MINIMAL, "position": 10})
    second = client.post(path, json=MINIMAL)
    assert (first.status_code, second.status_code) == (201, 201)
    assert (first.json()["position"], second.json()["position"]) == (10, 11)
    assert second.json()["customer_external_id"] == "cus_011"
    assert second.json()["custom"] == {}
    assert second.json()["uuid"][:4] == "con_"
    assert second.json()["uuid"][18] == "1", "a version 1 uuid"


def test_a_first_contact_has_position_one() -> None:
    with running_sandbox(parse_seed({"customers": [{"uuid": CUSTOMER}]})) as sandbox:
        answer = httpx.post(f"{sandbox.base_url}/v1/contacts", json=MINIMAL, auth=("key", "key"))
    assert (answer.status_code, answer.json()["position"]) == (201, 1)


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/v1/contacts", {"data_source_uuid": DATA_SOURCE}, 400, "customer_uuid"),
        ("/v1/contacts", {"customer_uuid": CUSTOMER}, 400, "data_source_uuid"),
        ("/v1/contacts", {**MINIMAL, "data_source_uuid": None}, 400, "data_source_uuid"),
        (f"/v1/customers/{CUSTOMER}/contacts", {}, 400, "data_source_uuid"),
        ("/v1/contacts", {**MINIMAL, "customer_uuid": "cus_0"}, 404, "customer_id"),
        ("/v1/customers/cus_0/contacts", MINIMAL, 404, "customer_id"),
        ("/v1/contacts", {**MINIMAL, "email": "nobody"}, 422, "email"),
    ],
)
def test_a_create_that_lacks_something_is_refused(
    sandbox: RunningSandbox, client: httpx.Client, path: str, body: dict[str, Any], status: int, param: str
) -> None:
    answer = client.post(path, json=body)
    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (status, status, param)
    assert len(sandbox.contacts()) == 6


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"email": "grace.okafor"}, "email"),
        ({"email": 5}, "email"),
        ({"first_name": {}}, "first_name"),
        ({"position": "2"}, "position"),
        ({"position": True}, "position"),
        ({"position": None}, "position"),
        ({"external_id": 12}, "external_id"),
        ({"last_seen": "yesterday"}, "last_seen"),
        ({"last_seen": "0001-01-01T00:00:00+10:00"}, "last_seen"),
        ({"last_seen": 1}, "last_seen"),
        ({"custom": ["Lifecycle"]}, "custom"),
        ({"custom": [{"key": "Lifecycle", "value": "Lead", "type": "String"}]}, "custom"),
        ({"custom": [{"key": "Lifecycle"}]}, "custom"),
        ({"custom": [{"key": 1, "value": "Lead"}]}, "custom"),
    ],
)
def test_a_value_of_the_wrong_shape_is_refused_and_nothing_changes(
    sandbox: RunningSandbox, client: httpx.Client, body: dict[str, Any], param: str
) -> None:
    before = sandbox.contact(UUID)
    answer = client.patch(GRACE, json={"title": "Treasurer", **body})
    assert (answer.status_code, answer.json()["param"]) == (422, param)
    assert sandbox.contact(UUID) == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff"])
def test_a_body_that_is_no_object_is_refused(client: httpx.Client, body: bytes) -> None:
    assert client.patch(GRACE, content=body).status_code == 400


def test_a_body_past_the_limit_is_refused(sandbox: RunningSandbox, client: httpx.Client) -> None:
    answer = client.patch(GRACE, content=b" " * (1024 * 1024 + 1))
    assert answer.status_code == 413
    assert len(sandbox.requests("PATCH")[0]["body"]) == 1024 * 1024


def test_last_seen_is_normalised_and_cleared(client: httpx.Client) -> None:
    assert client.patch(GRACE, json={"last_seen": "2026-05-04T09:30:00.5"}).json()["last_seen"] == (
        "2026-05-04T09:30:00.500Z"
    )
    assert client.patch(GRACE, json={"last_seen": None}).json()["last_seen"] is None


def test_external_id_is_set_and_cleared_whatever_null_does_elsewhere(
    sandbox: RunningSandbox, client: httpx.Client
) -> None:
    switch(sandbox, null_values="refused")
    assert client.patch(GRACE, json={"external_id": "003Qy"}).json()["external_id"] == "003Qy"
    assert client.patch(GRACE, json={"external_id": None}).json()["external_id"] is None


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize("policy", ["accepted", "refused", "ignored"])
def test_null_and_blank_follow_their_switches(
    sandbox: RunningSandbox, client: httpx.Client, value: str | None, policy: str
) -> None:
    switch(sandbox, **{"null_values" if value is None else "blank_values": policy})
    answer = client.patch(GRACE, json={"email": value})
    assert answer.status_code == (422 if policy == "refused" else 200)
    kept = "grace.okafor@harbour-analytics.example"
    assert sandbox.contact(UUID)["email"] == (value if policy == "accepted" else kept)
    found = client.get("/v1/contacts", params={"email": kept}).json()["entries"]
    assert len(found) == (0 if policy == "accepted" else 1)


@pytest.mark.parametrize(("policy", "status"), [("ignored", 200), (400, 400), (422, 422)])
def test_an_unknown_key_follows_its_switch(
    sandbox: RunningSandbox, client: httpx.Client, policy: str | int, status: int
) -> None:
    switch(sandbox, unknown_keys=policy)
    answer = client.patch(GRACE, json={"favourite_colour": "green"})
    assert answer.status_code == status
    assert "favourite_colour" not in sandbox.contact(UUID)


@pytest.mark.parametrize(
    ("policy", "status", "body"),
    [("500_empty", 500, ""), ("500_error", 500, '{"error":'), (422, 422, '{"code":422')],
)
@pytest.mark.parametrize("custom", [{"Lifecycle": "Lead"}, None, "Lead"])
def test_custom_that_is_no_array_follows_its_switch(
    sandbox: RunningSandbox, client: httpx.Client, policy: str | int, status: int, body: str, custom: object
) -> None:
    switch(sandbox, custom_as_object=policy)
    answer = client.patch(GRACE, json={"custom": custom})
    assert answer.status_code == status
    assert answer.text.startswith(body)
    assert bool(answer.text) is bool(body)


@pytest.mark.parametrize(
    ("name", "value"),
    [("Lifecycle", 5), ("Lifecycle", "x" * 256), ("Lifecycle", None), ("Newsletter", "yes"), ("Lead score", [1])],
)
def test_a_custom_value_of_the_wrong_type_is_dropped_or_refused(
    sandbox: RunningSandbox, client: httpx.Client, name: str, value: object
) -> None:
    before = sandbox.contact(UUID)
    sent = {"custom": [{"key": name, "value": value}, {"key": "Account owner", "value": "Maria Lindqvist"}]}
    switch(sandbox, custom_wrong_type=422)
    assert client.patch(GRACE, json=sent).status_code == 422
    switch(sandbox)
    assert client.patch(GRACE, json=sent).json()["custom"] == {**before["custom"], "Account owner": "Maria Lindqvist"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("Lead score", 82.5), ("Lead score", 0), ("Newsletter", False), ("Lifecycle", ""), ("Lifecycle", "x" * 255)],
)
def test_a_custom_value_of_the_right_type_comes_back_as_sent(client: httpx.Client, name: str, value: object) -> None:
    answer = client.patch(GRACE, json={"custom": [{"key": name, "value": value}]}).json()["custom"][name]
    assert (answer, type(answer)) == (value, type(value))


def test_custom_can_be_answered_as_an_array_and_replaced_as_a_whole(
    sandbox: RunningSandbox, client: httpx.Client
) -> None:
    switch(sandbox, patch_custom="array", custom_unsent="removed")
    sent = [{"key": "Lifecycle", "value": "Lead"}]
    assert client.patch(GRACE, json={"custom": sent}).json()["custom"] == sent
    assert client.get(GRACE).json()["custom"] == {"Lifecycle": "Lead"}
    assert client.patch(GRACE, json={"title": "CFO"}).json()["custom"] == sent


def test_the_email_check_can_be_switched_off(sandbox: RunningSandbox, client: httpx.Client) -> None:
    switch(sandbox, email_check=False)
    assert client.patch(GRACE, json={"email": "grace.okafor"}).json()["email"] == "grace.okafor"


def test_a_malformed_uuid_can_be_told_from_a_missing_contact(sandbox: RunningSandbox, client: httpx.Client) -> None:
    assert client.get("/v1/contacts/con_1").status_code == 404
    switch(sandbox, malformed_uuid=400)
    assert client.get("/v1/contacts/con_1").status_code == 400
    assert client.post(f"{GRACE}/merge/con_1").status_code == 400
    assert client.get(GRACE).status_code == 200


def test_delete_answers_an_empty_object_once(client: httpx.Client) -> None:
    gone = client.delete(GRACE)
    assert (gone.status_code, gone.text) == (200, "{}")
    assert client.delete(GRACE).status_code == 404
    assert client.get("/v1/contacts", params={"email": "grace.okafor@harbour-analytics.example"}).json() == {
        "entries": [],
        "cursor": None,
        "has_more": False,
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v2/contacts"),
        ("GET", "/v1/plans"),
        ("PUT", GRACE),
        ("POST", f"{GRACE}/split"),
        ("POST", "/v1/ping"),
        ("GET", "/v1/customers/cus_0/notes"),
        ("PATCH", f"/v1/customers/{CUSTOMER}"),
    ],
)
def test_an_unknown_route_is_a_page(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html")


def test_a_query_that_cannot_be_read_is_refused(client: httpx.Client) -> None:
    assert client.get("/v1/contacts?" + "&".join(f"email={n}" for n in range(101))).status_code == 400
    assert client.get("/v1/contacts", params={"cursor": "nonsense"}).json()["param"] == "cursor"
    assert client.get("/v1/customers", params={"cursor": "nonsense"}).json()["param"] == "cursor"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Bearer sandbox-key",
        "Basic",
        "Basic ***",
        "Basic /w==",
        "Basic Og==",  # empty key, empty password
        "Basic YmFkLWtleTo=",  # bad-key:
        "Basic a2V5OnBhc3N3b3Jk",  # key:password
    ],
)
def test_without_a_good_key_nothing_is_answered_but_401(sandbox: RunningSandbox, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = httpx.patch(f"{sandbox.base_url}{GRACE}", json={"title": "Treasurer"}, headers=headers)
    assert (answer.status_code, answer.text) == (401, '{"code":401,"message":"No valid API key provided","param":null}')
    assert sandbox.contact(UUID)["title"] == "Chief Financial Officer"


@pytest.mark.parametrize(("policy", "status"), [(403, 403), (401, 401), (422, 422)])
def test_a_read_only_key_reads_only(sandbox: RunningSandbox, client: httpx.Client, policy: int, status: int) -> None:
    switch(sandbox, read_only_write=policy)
    assert client.get(GRACE, auth=("readonly-key", "")).status_code == 200
    assert client.patch(GRACE, json={"title": "Treasurer"}, auth=("readonly-key", "")).status_code == status


def test_an_expired_trial_refuses_everything(sandbox: RunningSandbox, client: httpx.Client) -> None:
    switch(sandbox, trial_expired=True)
    assert client.get("/v1/ping").status_code == 403


def test_exact_keys_replace_the_open_door() -> None:
    keys = Keys(["cm-live-key"], read_only_keys=["cm-report-key"])
    with running_sandbox(keys=keys) as sandbox, httpx.Client(base_url=sandbox.base_url) as client:
        status = {
            key: client.patch(GRACE, json={}, auth=(key, "")).status_code
            for key in ("cm-live-key", "cm-report-key", "another-key")
        }
    assert status == {"cm-live-key": 200, "cm-report-key": 403, "another-key": 401}


def test_customers_are_listed_found_and_paged(client: httpx.Client) -> None:
    everyone = client.get("/v1/customers").json()
    assert [customer["external_id"] for customer in everyone["entries"]] == ["cus_004", "cus_011", "cus_017", "cus_023"]
    assert everyone["has_more"] is False
    first = client.get("/v1/customers", params={"per_page": 3}).json()
    second = client.get("/v1/customers", params={"per_page": 3, "cursor": first["cursor"]}).json()
    assert (first["has_more"], first["total_pages"], second["has_more"]) == (True, 2, False)
    assert first["entries"] + second["entries"] == everyone["entries"]
    one = client.get(f"/v1/customers/{CUSTOMER}").json()
    assert (one["external_id"], one["email"]) == ("cus_011", "j.brandt@nordwind-logistik.example")
    assert client.get("/v1/customers/cus_0").json()["param"] == "customer_id"
    assert client.get("/v1/customers/cus_0/contacts").status_code == 404
    assert client.get("/v1/customers/search").json() == {
        "code": 400,
        "message": 'Parameter "email" is missing',
        "param": "email",
    }


def test_a_customer_that_does_not_exist_is_an_empty_list(client: httpx.Client) -> None:
    query = {"external_id": "cus_004", "data_source_uuid": "ds_0"}
    assert client.get("/v1/customers", params=query).text == (
        '{"entries":[],"current_page":1,"total_pages":1,"has_more":false,"per_page":200,"page":1,"cursor":null}'
    )
    assert client.get("/v1/customers", params={**query, "data_source_uuid": DATA_SOURCE}).json()["entries"]


def test_a_client_that_leaves_before_its_body_is_whole_changes_nothing(sandbox: RunningSandbox) -> None:
    host, port = sandbox.base_url.removeprefix("http://").split(":")
    body = json.dumps({"title": "Treasurer"}).encode()
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = f"PATCH {GRACE} HTTP/1.1\r\nHost: sandbox\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:5])
    deadline = time.monotonic() + 10
    while sandbox.answered("PATCH", None) == 0 and time.monotonic() < deadline:
        pass
    assert sandbox.answered("PATCH", None) == 1
    assert sandbox.contact(UUID)["title"] == "Chief Financial Officer"
