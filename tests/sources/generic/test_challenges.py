"""Handshakes: what is given back, and what is not, to whoever asks."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.model import InboundRequest, Reply
from service.sources.generic import Parse
from service.sources.generic.challenges import BODY_MAX, CHALLENGE_MAX
from tests.support.crm import URL, build, post

TOKEN = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"
SAFE = {"content-type": "application/json", "x-content-type-options": "nosniff"}


def shake(request: InboundRequest, **parse: Any) -> Reply | None:  # noqa: ANN401  # any configuration
    verify = {"scheme": "token", "token": "mo-5c1e", "header": "X-Token"}
    source = build("generic", {"verify": verify}, {"object_id": "event.pulseId", **parse})
    reply: Reply | None = source.handshake(request)
    return reply


def asked(body: bytes, field: str = "challenge", **parse: Any) -> Reply | None:  # noqa: ANN401  # as shake
    return shake(post(body, {}), challenge={"field": field}, **parse)


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
def test_a_challenge_in_the_body_is_sent_back_without_any_proof(method: str) -> None:
    """Monday's way: https://developer.monday.com/api-reference/reference/webhooks."""
    body = json.dumps({"challenge": TOKEN}).encode()
    reply = shake(post(body, {}, method=method), challenge={"field": "challenge"})
    assert reply == Reply(200, SAFE, b'{"challenge":"%b"}' % TOKEN.encode())


def test_a_challenge_may_stand_deeper_or_in_a_form() -> None:
    deeper = asked(b'{"hub":{"challenge":"abc"}}', "hub.challenge")
    assert deeper == Reply(200, SAFE, b'{"hub":{"challenge":"abc"}}')
    form = asked(b"challenge=a%20b", format="form")
    assert form == Reply(200, SAFE, b'{"challenge":"a b"}')


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"{",
        b"\xff",
        b'{"challenge":null}',
        b'{"challenge":""}',
        b'{"challenge":7}',
        b'{"challenge":["a"]}',
        b'{"challenge":"a","event":{"pulseId":1}}',
        b'{"challenge":"a\\u000ab"}',
        '{"challenge":"ü"}'.encode(),
        b'{"challenge":"%b"}' % (b"a" * (CHALLENGE_MAX + 1)),
        b'{"challenge":"a"%b}' % (b" " * BODY_MAX),
    ],
)
def test_what_is_no_challenge_is_left_to_be_verified_and_read(body: bytes) -> None:
    """An event with such a field must not be lost in a handshake."""
    assert asked(body) is None


def test_the_longest_challenge_is_sent_back() -> None:
    reply = asked(b'{"challenge":"%b"}' % (b"a" * CHALLENGE_MAX))
    assert reply is not None


def test_a_header_is_sent_back_by_its_name_and_nothing_else_is() -> None:
    """Keap's way: https://developer.keap.com/rest-hook-documentation."""
    headers = {"x-hook-secret": "7d1f0a", "x-other": "x", "authorization": "Bearer x"}
    reply = shake(post(b'{"anything":1}', headers), challenge={"header": "X-Hook-Secret"})
    assert reply == Reply(200, {**SAFE, "x-hook-secret": "7d1f0a"}, b"{}")


@pytest.mark.parametrize("value", [None, "", "a\r\nset-cookie: x", "ü", "a" * (CHALLENGE_MAX + 1), "\x00"])
def test_a_header_that_is_missing_or_not_short_and_printable_is_not_sent_back(value: str | None) -> None:
    headers = {} if value is None else {"x-hook-secret": value}
    assert shake(post(b"{}", headers), challenge={"header": "X-Hook-Secret"}) is None


def test_nothing_is_answered_where_no_challenge_is_configured() -> None:
    assert shake(post(json.dumps({"challenge": TOKEN}).encode(), {"x-hook-secret": "7d1f0a"})) is None


@given(body=st.binary(max_size=80), value=st.text(max_size=20), method=st.text(max_size=5))
def test_a_handshake_raises_nothing_whatever_the_request(body: bytes, value: str, method: str) -> None:
    request = InboundRequest(method, URL, {"x-hook-secret": value}, body)
    for challenge in ({"field": "challenge"}, {"header": "X-Hook-Secret"}):
        reply = shake(request, challenge=challenge)
        assert reply is None or (reply.status, dict(reply.headers).items() >= SAFE.items()) == (200, True)


@pytest.mark.parametrize(
    ("challenge", "reason"),
    [
        ({}, "exactly one"),
        ({"field": "challenge", "header": "X-Hook-Secret"}, "exactly one"),
        ({"field": "challenges[0]"}, "keys alone"),
        ({"header": "X Hook"}, "pattern"),
        ({"query": "hub.challenge"}, "query"),
    ],
)
def test_a_challenge_without_one_clear_place_is_refused_at_load(challenge: dict[str, str], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Parse.model_validate({"object_id": "id", "challenge": challenge})
