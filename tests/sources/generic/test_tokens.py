"""A shared token in each of its places, and out of everything that is kept."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from service.errors import VerificationError
from service.model import InboundRequest
from service.sources.base import Sample
from tests.support.crm import NOW, URL, build, post

BODY = '{"id":"evt_01J9","contact":{"id":991,"first_name":"Zoë"}}'.encode()
SECRET = "8f2c7a1d-current"
NEXT = "3b9e6d40-next"
PARSE = {"object_id": "contact.id", "event_id": "id", "values": "contact"}
FORM = {"format": "form", "object_id": "contact.id", "values": "contact"}
SAMPLE = Sample(object_id="991", event_id="evt_01J9", at=NOW, fields={"first_name": "Zoë"})


def token(**place: Any) -> Any:  # noqa: ANN401  # a source of any configuration
    parse = FORM if place.pop("form", False) else PARSE
    return source(parse, **{"token": [NEXT, SECRET]} | place)


def source(parse: dict[str, Any], **verify: Any) -> Any:  # noqa: ANN401  # as token
    return build("generic", {"verify": {"scheme": "token", **verify}}, parse)


def refused(checked: Any, request: InboundRequest, reason: str | None = None) -> None:  # noqa: ANN401  # as token
    with pytest.raises(VerificationError, match=reason):
        checked.verify(request, now=NOW)


@pytest.mark.parametrize(
    ("place", "headers"),
    [
        ({"header": "X-Streak-Webhook-Token"}, {"x-streak-webhook-token": SECRET}),
        ({"header": "Authorization", "prefix": "Token token="}, {"authorization": f"Token token={SECRET}"}),
        ({"bearer": True}, {"authorization": f"Bearer {SECRET}"}),
        ({"bearer": True}, {"authorization": f"bearer  {SECRET} "}),
    ],
)
def test_a_token_in_a_header_is_accepted_there_alone(place: dict[str, Any], headers: dict[str, str]) -> None:
    checked = token(**place)
    checked.verify(post(BODY, headers), now=NOW)
    ((name, value),) = headers.items()
    wrong = value.replace(SECRET, SECRET[:-1])
    for other in ({name: wrong}, {"x-other": value}, {name: value.strip() + "x"}):
        refused(checked, post(BODY, other, url=f"{URL}&token={SECRET}"))
    assert SECRET not in repr(dict(checked.redact(post(BODY, headers)).headers))


@pytest.mark.parametrize("value", [SECRET, f"Basic {SECRET}", f"Bearer{SECRET}", "Bearer", "Bearer "])
def test_what_is_not_a_bearer_token_is_refused(value: str) -> None:
    refused(token(bearer=True), post(BODY, {"authorization": value}), "token is missing or wrong")


def test_a_token_need_not_be_ascii() -> None:
    checked = token(token="schlüssel-größe", header="X-Token")
    on_the_wire = "schlüssel-größe".encode().decode("latin-1")
    checked.verify(post(BODY, {"x-token": on_the_wire}), now=NOW)
    refused(checked, post(BODY, {"x-token": "schlüssel-größe"}), "token is missing or wrong")
    refused(checked, post(BODY, {"x-token": "Ключ"}), "never on a wire")
    checked.verify(checked.sample(SAMPLE, url=URL, now=NOW), now=NOW)


@pytest.mark.parametrize("written", ["a+b/c=", "a%2Bb%2Fc%3D", "a%2bb/c="])
def test_a_token_in_the_query_is_accepted_with_its_plus_encoded_or_not(written: str) -> None:
    checked = token(token="a+b/c=", query="code")
    url = f"https://hooks.northwind.example/webhooks/crm?x=1&code={written}&y=2"
    checked.verify(post(BODY, {}, url=url), now=NOW)
    assert checked.redact(post(BODY, {}, url=url)).url == "https://hooks.northwind.example/webhooks/crm?x=1&y=2"


def test_a_query_of_nothing_but_the_token_goes_with_it() -> None:
    kept = token(query="token").redact(
        post(BODY, {}, url=f"https://hooks.northwind.example/webhooks/crm?token={SECRET}")
    )
    assert kept.url == "https://hooks.northwind.example/webhooks/crm"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?",
        "?token",
        "?token=",
        "?other=8f2c7a1d-current",
        "?Token=8f2c7a1d-current",
        "#token=8f2c7a1d-current",
        "?x#&token=8f2c7a1d-current",
        "?token=%ff",
    ],
)
def test_a_query_without_the_token_is_refused(query: str) -> None:
    refused(token(query="token"), post(BODY, {}, url="https://hooks.northwind.example/webhooks/crm" + query))


@pytest.mark.parametrize("query", ["a" * 9000, "a=1&" * 100])
def test_an_absurd_query_is_refused(query: str) -> None:
    refused(token(query="token"), post(BODY, {}, url=f"{URL}&{query}&token={SECRET}"), "query is longer")


@pytest.mark.parametrize("field", ["token", "secret.key", '"secret.key"'])
def test_a_token_in_a_json_body_is_accepted_and_taken_out(field: str) -> None:
    checked = token(field=field)
    request = checked.sample(SAMPLE, url=URL, now=NOW)
    assert NEXT.encode() in request.body
    checked.verify(request, now=NOW)
    refused(
        checked, replace(request, body=request.body.replace(NEXT.encode(), b"3b9e6d40")), "token is missing or wrong"
    )
    kept = checked.redact(request)
    assert NEXT.encode() not in kept.body
    assert checked.parse(kept) == checked.parse(request)


def test_a_token_in_a_form_is_accepted_and_taken_out_and_the_rest_stays_as_it_was() -> None:
    checked = token(field="auth.token", form=True)
    body = f"contact%5Bid%5D=991&auth%5Btoken%5D={SECRET}&auth[kind]=hook&contact[note]=a+%26+b".encode()
    checked.verify(post(body, {}), now=NOW)
    refused(checked, post(body.replace(SECRET.encode(), b"x"), {}))
    assert checked.redact(post(body, {})).body == b"contact%5Bid%5D=991&auth[kind]=hook&contact[note]=a+%26+b"


def test_the_token_is_no_part_of_the_record_or_its_fingerprint() -> None:
    """Else rotating it would make every repetition a new event."""
    checked = source({"object_id": "id"}, token=[NEXT, SECRET], field="token")
    (one,) = checked.parse(post(b'{"id":991,"token":"%b"}' % SECRET.encode(), {}))
    (other,) = checked.parse(post(b'{"token":"%b","id":991}' % NEXT.encode(), {}))
    assert one == other
    assert one.values == {"id": 991}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"{}", b'{"token":null}', b'{"token":1}', b'{"token":{"a":1}}', b'{"token":[]}']
)
def test_a_body_without_the_token_is_refused_and_not_kept_where_it_cannot_be_read(body: bytes) -> None:
    refused(token(field="token"), post(body, {}), "token")
    kept = token(field="token").redact(post(body, {"authorization": "Bearer x"}))
    assert "authorization" not in kept.headers
    if body in (b"", b"{"):
        assert kept.body == b""


def test_a_form_that_cannot_be_read_proves_nothing() -> None:
    refused(token(field="token", form=True), post(b"a=%ff", {}), "cannot be read")


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ({}, "exactly one"),
        ({"header": "X-Token", "query": "token"}, "exactly one"),
        ({"bearer": True, "field": "token"}, "exactly one"),
        ({"query": "token", "prefix": "Token "}, "prefix"),
        ({"bearer": True, "prefix": "Token "}, "prefix"),
        ({"field": "tokens[0]"}, "keys alone"),
        ({"field": "[?primary].token"}, "keys alone"),
        ({"field": "a..b"}, "position 3"),
        ({"field": 7}, "a path is a text"),
        ({"query": ""}, "at least 1"),
    ],
)
def test_a_token_without_one_clear_place_is_refused_at_load(place: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        token(**place)


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize("url", ["https://hooks.northwind.example/webhooks/crm", URL])
@pytest.mark.parametrize(
    "place",
    [
        {"header": "X-Token"},
        {"header": "Authorization", "prefix": "Token token="},
        {"bearer": True},
        {"query": "code"},
        {"field": "auth.token"},
    ],
)
def test_a_sample_has_the_first_token_in_its_place_and_what_is_kept_of_it_does_not(
    place: dict[str, Any], url: str, *, form: bool
) -> None:
    checked = token(token=["a+b/c==&d", "next"], form=form, **place)
    request = checked.sample(SAMPLE, url=url, now=NOW)
    checked.verify(request, now=NOW)
    kept = checked.redact(request)
    refused(checked, kept)
    assert kept.url == url
    assert checked.parse(kept) == checked.parse(request)
