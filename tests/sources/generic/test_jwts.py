"""JSON Web Tokens, made by another library: signed, for us, and not expired by the clock that is passed in."""

import base64
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from pydantic import ValidationError

from service.errors import VerificationError
from service.model import InboundRequest
from service.sources.base import Sample
from tests.support.crm import NOW, URL, build, mac, post
from tests.support.crms.generic import JWT_SECRETS, web_token

BODY = b'{"event":{"pulseId":1771812728}}'
SECRET, NEXT, OTHER = JWT_SECRETS
ENDPOINT = "https://hooks.northwind.example/webhooks/monday"
MINUTE = timedelta(minutes=1)


def source(**knobs: Any) -> Any:  # noqa: ANN401  # a source of any configuration
    verify = {"scheme": "jwt", "secret": [NEXT, SECRET]} | knobs
    return build("generic", {"verify": verify}, {"object_id": "event.pulseId"})


def with_token(token: str) -> InboundRequest:
    return post(BODY, {"authorization": token})


def refused(token: str, reason: str, **knobs: Any) -> None:  # noqa: ANN401  # as source
    with pytest.raises(VerificationError, match=reason):
        source(**knobs).verify(with_token(token), now=NOW)


def handmade(header: object, payload: bytes, key: str = SECRET) -> str:
    """Return a token of any header and payload, rightly signed."""
    parts = (json.dumps(header).encode(), payload)
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    return (signed + b"." + base64.urlsafe_b64encode(mac(key.encode(), signed)).rstrip(b"=")).decode()


@pytest.mark.parametrize("written", ["{}", "Bearer {}", "bearer  {} "])
def test_a_token_is_accepted_bare_and_as_bearer(written: str) -> None:
    source().verify(with_token(written.format(web_token(SECRET, NOW))), now=NOW)


def test_a_token_of_the_future_and_an_expired_one_are_refused_by_the_clock_that_is_passed_in() -> None:
    """The token counts for five minutes, and the clocks may be five minutes apart."""
    request = with_token(web_token(SECRET, NOW))
    for minutes in (-5.0, 0.0, 10.0):
        source().verify(request, now=NOW + minutes * MINUTE)
    for minutes, reason in ((-5.1, "future"), (10.1, "expired"), (600_000, "expired")):
        with pytest.raises(VerificationError, match=reason):
            source().verify(request, now=NOW + minutes * MINUTE)


def test_the_tolerance_is_as_configured() -> None:
    refused(web_token(SECRET, NOW - 6 * MINUTE), "expired", tolerance_s=59)
    source(tolerance_s=60).verify(with_token(web_token(SECRET, NOW - 6 * MINUTE)), now=NOW)


def test_a_token_that_does_not_count_yet_is_refused() -> None:
    refused(web_token(SECRET, NOW, nbf=NOW + 6 * MINUTE), "future")
    source().verify(with_token(web_token(SECRET, NOW, nbf=NOW)), now=NOW)


@pytest.mark.parametrize("end", [..., "soon", True, None, [1772443800]])
def test_a_token_without_an_end_is_refused(end: object) -> None:
    """Whoever sees one could use it for ever."""
    told = {} if end is ... else {"exp": end}
    refused(handmade({"alg": "HS256"}, json.dumps(told).encode()), "no exp")


@pytest.mark.parametrize("end", [1e308, 2**63 - 1, 1772443800.5])
def test_an_end_of_any_size_is_compared(end: float) -> None:
    token = handmade({"alg": "HS256"}, json.dumps({"exp": end}).encode())
    source().verify(with_token(token), now=NOW)


@pytest.mark.parametrize("audience", [ENDPOINT, [ENDPOINT], ["https://other.example", ENDPOINT]])
def test_the_audience_must_be_ours_where_it_is_configured(audience: object) -> None:
    token = with_token(web_token(SECRET, NOW, aud=audience))
    source(audience=ENDPOINT).verify(token, now=NOW)
    source().verify(token, now=NOW)


@pytest.mark.parametrize("audience", [..., None, "", ENDPOINT + "/", [], [["x"]], {"a": ENDPOINT}, 7])
def test_any_other_audience_is_refused(audience: object) -> None:
    told = {"exp": 1772443800} | ({} if audience is ... else {"aud": audience})
    refused(handmade({"alg": "HS256"}, json.dumps(told).encode()), "audience", audience=ENDPOINT)


def test_only_hs256_counts_whatever_the_token_says() -> None:
    claims = {"exp": NOW + MINUTE}
    refused(jwt.encode(claims, "", algorithm="none"), "HS256")
    refused(jwt.encode(claims, SECRET * 2, algorithm="HS512"), "HS256", secret=SECRET * 2)
    for header in ({}, {"alg": "hs256"}, {"alg": ["HS256"]}, {"alg": "HS256", "crit": ["exp"], "exp": 1}):
        refused(handmade(header, b'{"exp":1772443800}'), "HS256|no JSON Web Token")


def test_a_token_for_another_secret_or_with_other_claims_is_refused() -> None:
    refused(web_token(OTHER, NOW), "signature is wrong")
    head, _, signature = web_token(SECRET, NOW).split(".")
    claims = base64.urlsafe_b64encode(b'{"exp":9999999999}').rstrip(b"=").decode()
    refused(f"{head}.{claims}.{signature}", "signature is wrong")


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b'"text"', b"{", b"\xff", b"[" * 3000])
def test_claims_that_are_no_object_are_refused(payload: bytes) -> None:
    refused(handmade({"alg": "HS256"}, payload), "claims are not an object")


@pytest.mark.parametrize(
    "token", ["x", "a.b", "a.b.c", "..", "e30.e30.", "Bearer", "Bearer ", "Basic Zm9v", "W" * 8000]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    refused(token, "no JSON Web Token|HS256")


def test_the_token_does_not_cover_the_body() -> None:
    """As said: it proves who called, and not what was sent."""
    source().verify(post(BODY + b" ", {"authorization": web_token(SECRET, NOW)}), now=NOW)


def test_the_token_is_not_kept() -> None:
    """It counts for minutes, and monday puts a key to its API in it."""
    kept = source().redact(with_token(web_token(SECRET, NOW, shortLivedToken="x")))
    assert "authorization" not in kept.headers


def test_a_sample_has_a_token_that_another_library_accepts() -> None:
    sample = Sample(object_id="1771812728", event_id="e", at=NOW, fields={"first_name": "Amara"})
    checked = source(audience=ENDPOINT)
    request = checked.sample(sample, url=URL, now=NOW)
    checked.verify(request, now=NOW)
    token = request.headers["authorization"].removeprefix("Bearer ")
    options: Any = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(token, NEXT, algorithms=["HS256"], audience=ENDPOINT, options=options)
    assert claims == {"aud": ENDPOINT, "iat": 1772443800, "exp": 1772444100}
    assert "aud" not in jwt.decode(
        source().sample(sample, url=URL, now=NOW).headers["authorization"].removeprefix("Bearer "),
        NEXT,
        algorithms=["HS256"],
        options=options,
    )


@pytest.mark.parametrize("knobs", [{"audience": ""}, {"tolerance_s": 0}, {"algorithm": "HS512"}, {"header": "X-Token"}])
def test_what_cannot_be_chosen_is_refused_at_load(knobs: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        source(**knobs)
