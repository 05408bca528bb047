"""Why a request is not proved: each damage is named, for every way of proof there is, and nothing else is."""

import base64
import contextlib
import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import VerificationError
from service.model import Change, InboundRequest, Reply
from service.operations.credentials import secrets_of
from service.operations.proof import TRIES_MAX, diagnose
from service.sources.base import Sample, Secret, Source, Strict, fresh, header, matches
from tests.support.crm import NOW, URL, Crm, build, mac, post
from tests.support.crms import CRMS
from tests.support.crms.hubspot import hubspot_v3
from tests.support.proof import (
    BY_NAME,
    HMAC,
    HOST,
    HUBSPOT,
    PUBLIC_URL,
    TARGET,
    Damage,
    anew,
    at,
    hearing,
    names,
    saying,
    why,
)

every = pytest.mark.parametrize("crm", CRMS, ids=lambda crm: crm.name)
with_headers = pytest.mark.parametrize("crm", [crm for crm in CRMS if crm.proofs], ids=lambda crm: crm.name)

OF_ADDRESSES = {
    "http for https": Damage("scheme", at(f"http://{HOST}{TARGET}")),
    "an inner host": Damage(
        "host", lambda request: at(f"http://10.0.3.7:8080{TARGET}")(hearing(x_forwarded_host=HOST)(request))
    ),
    "an inner host beside the outer in Host": Damage(
        "host", lambda request: at(f"http://app:8080{TARGET}")(hearing(host=HOST)(request))
    ),
    "an inner host beside the outer in Forwarded": Damage(
        "host",
        lambda request: at(f"http://app{TARGET}")(
            hearing(forwarded=f'for=10.0.0.1;host="{HOST}";proto=https')(request)
        ),
    ),
    "a port": Damage("port", at(f"https://{HOST}:8443{TARGET}")),
    "capitals in the host": Damage("host", at(f"https://Hooks.Northwind.example{TARGET}")),
    "a trailing slash": Damage("path", at(f"https://{HOST}/webhooks/crm/?portal=24519873")),
    "a double slash": Damage("path", at(f"https://{HOST}//webhooks/crm?portal=24519873")),
    "a prefix": Damage("path", at(f"https://{HOST}/crm-hooks/webhooks/crm?portal=24519873")),
    "a lost path": Damage(
        "path", lambda request: at(f"https://{HOST}/crm?portal=24519873")(hearing(x_original_uri=TARGET)(request))
    ),
    "a lost query": Damage(
        "query", lambda request: at(f"https://{HOST}/webhooks/crm")(hearing(x_original_uri=TARGET)(request))
    ),
    "a parameter more": Damage("query", at(f"https://{HOST}{TARGET}&utm_source=edge")),
    "a parameter before": Damage("query", at(f"https://{HOST}/webhooks/crm?trace=1&portal=24519873")),
}
OF_BODIES = {
    "compact": Damage("json", saying(anew(separators=(",", ":")))),
    "indented": Damage("json", saying(anew(indent=2))),
    "a line break": Damage("line_end", saying(lambda body: body + b"\n")),
    "CR and LF": Damage("line_end", saying(lambda body: body + b"\r\n")),
    "blanks": Damage("line_end", saying(lambda body: b" " + body + b"  ")),
    "a byte order mark": Damage("byte_order_mark", saying(lambda body: b"\xef\xbb\xbf" + body)),
}


@pytest.mark.parametrize("crm", [crm for crm in CRMS if crm.source(crm.secrets[0]).signs_url], ids=lambda crm: crm.name)
@pytest.mark.parametrize("name", OF_ADDRESSES)
def test_what_a_proxy_did_to_the_address_is_named(crm: Crm, name: str) -> None:
    damage = OF_ADDRESSES[name]
    assert names(why(crm, damage(crm.request(crm.secrets[0])))) == [(damage.cause,)]


@pytest.mark.parametrize(
    "crm",
    [crm for crm in CRMS if crm.covers_body and crm.content_type == "application/json"],
    ids=lambda crm: crm.name,
)
@pytest.mark.parametrize("name", OF_BODIES)
def test_what_was_done_to_the_body_is_named(crm: Crm, name: str) -> None:
    damage = OF_BODIES[name]
    assert names(why(crm, damage(crm.request(crm.secrets[0])))) == [(damage.cause,)]


@every
def test_what_is_proved_is_said_to_be(crm: Crm) -> None:
    found = why(crm, crm.request(crm.secrets[0]))
    assert (found.refusal, found.note, found.explanations) == (None, "", ())


@every
def test_the_secret_of_another_source_is_named_with_that_source(crm: Crm) -> None:
    others = {"old_portal": crm.source(crm.secrets[1]), "other": crm.source(crm.secrets[2])}
    found = why(crm, crm.request(crm.secrets[1]), others=others)
    assert names(found) == [("other_secret",)]
    assert found.explanations[0][0].says == "it is signed with the secret of source old_portal"


@every
def test_a_secret_that_nobody_knows_is_honestly_none_of_the_likely_causes(crm: Crm) -> None:
    """Whatever other source there is: it has none of this one's settings."""
    for name in ("pipedrive", "generic token", "hubspot v3"):
        others = {"other": BY_NAME[name].source("another-secret-0c6d1b7e")}
        found = why(crm, crm.request(crm.secrets[1]), others=others)
        assert (names(found), found.tries <= TRIES_MAX) == ([], True)


def test_what_nothing_explains_is_guessed_at_by_what_the_proof_covers() -> None:
    """A body that no signature covers is not to be suspected, nor a secret where nothing was proved at all."""
    signed, basic = BY_NAME["hubspot v3"], BY_NAME["pipedrive"]
    assert "or the body is not the one that was signed" in why(signed, signed.request(signed.secrets[1])).guess
    assert "the same one anew" in why(basic, basic.request(basic.secrets[1])).guess
    bare = replace(basic.request(basic.secrets[0]), headers={})
    assert "or a proxy takes the header away" in why(basic, bare).guess
    assert why(signed, signed.request(signed.secrets[0], at=NOW + timedelta(hours=2))).guess == "", "it is explained"


@every
def test_a_source_that_asks_for_no_proof_proves_nothing_of_another(crm: Crm) -> None:
    unproved = {"open": build(crm.preset, None, crm.parse)}
    assert names(why(crm, crm.request(crm.secrets[1]), others=unproved)) == []


@pytest.mark.parametrize("crm", [crm for crm in CRMS if crm.covers_time], ids=lambda crm: crm.name)
@pytest.mark.parametrize(("minutes", "says"), [(-40, "2400 s before"), (90, "5400 s after")])
def test_a_clock_that_is_off_is_named_with_how_much(crm: Crm, minutes: int, says: str) -> None:
    found = why(crm, crm.request(crm.secrets[0], at=NOW + timedelta(minutes=minutes)))
    assert names(found) == [("clock",)]
    assert says in found.explanations[0][0].says
    assert "--now" in found.explanations[0][0].do


@every
def test_blanks_around_a_pasted_secret_are_named(crm: Crm) -> None:
    with contextlib.suppress(ValueError):  # a preset whose secrets have one form refuses it at load
        found = why(crm, crm.request(crm.secrets[0]), secret=crm.secrets[0] + " ")
        assert found.refusal is None or names(found) == [("secret_blanks",)]


@with_headers
def test_a_header_in_quotes_is_named(crm: Crm) -> None:
    request = crm.request(crm.secrets[0])
    quoted = {name: f'"{value}"' if name in crm.proofs else value for name, value in request.headers.items()}
    assert names(why(crm, replace(request, headers=quoted))) == [("header_value",)]


@with_headers
def test_headers_that_a_gateway_renamed_are_named(crm: Crm) -> None:
    request = crm.request(crm.secrets[0])
    renamed = {
        f"x-amzn-remapped-{name}" if name in crm.proofs else name: text for name, text in request.headers.items()
    }
    assert names(why(crm, replace(request, headers=renamed))) == [("header_name",)]


@every
def test_a_redirect_that_made_a_get_is_named(crm: Crm) -> None:
    found = why(crm, replace(crm.request(crm.secrets[0]), method="GET"))
    assert names(found) == [("method",)]
    assert found.refusal is not None
    assert found.refusal.cause == "the method is not POST"


def test_a_request_that_was_signed_for_another_method_is_named() -> None:
    body = HUBSPOT.body
    signed = hubspot_v3(HUBSPOT.secrets[0], body, NOW, method="PUT")
    assert names(why(HUBSPOT, post(body, signed))) == [("method",)]


def test_two_causes_that_only_fit_together_are_told_together() -> None:
    old = HUBSPOT.request(HUBSPOT.secrets[0], at=NOW - timedelta(days=3))
    assert names(why(HUBSPOT, at(f"http://{HOST}{TARGET}")(old))) == [("clock", "scheme")]
    fresh = HUBSPOT.request(HUBSPOT.secrets[0])
    both = saying(anew(separators=(",", ":")))(at(f"http://{HOST}{TARGET}")(fresh))
    assert names(why(HUBSPOT, both)) == [("scheme", "json")]


def test_a_body_that_was_written_anew_is_tried_before_its_line_ends() -> None:
    body = HMAC.body + b"\n"
    signed = HMAC.request(HMAC.secrets[0], body=body)
    assert names(why(HMAC, saying(anew(separators=(",", ":")))(signed))) == [("json", "line_end")]


def test_public_url_counts_and_the_captured_address_tells_what_it_should_be() -> None:
    request = HUBSPOT.request(HUBSPOT.secrets[0])
    assert why(HUBSPOT, request, public_url=PUBLIC_URL).refusal is None
    inner = at(f"http://127.0.0.1:8080{TARGET}")(request)
    assert why(HUBSPOT, inner, public_url=PUBLIC_URL).refusal is None
    found = why(HUBSPOT, request, public_url="https://crm.northwind.example")
    assert names(found)[0] == ("public_url",)
    assert found.explanations[0][0].do == f"set PUBLIC_URL to {PUBLIC_URL}"


def test_a_crm_that_was_given_plain_http_is_to_be_given_https() -> None:
    signed = hubspot_v3(HUBSPOT.secrets[0], HUBSPOT.body, NOW, url=f"http://{HOST}{TARGET}")
    found = why(HUBSPOT, post(HUBSPOT.body, signed))
    assert names(found) == [("scheme",)]
    assert found.explanations[0][0].do == "give the CRM an https address: PUBLIC_URL"


def test_a_strange_host_is_never_advised() -> None:
    """It is a stranger's text, which goes to a terminal."""
    request = hearing(host="\x1b[2J.example", x_forwarded_host="a b")(HUBSPOT.request(HUBSPOT.secrets[0]))
    assert "\x1b" not in repr(why(HUBSPOT, at(f"http://app{TARGET}")(request)))


def test_a_source_that_asks_for_no_proof_says_so() -> None:
    found = diagnose({"crm": build("hubspot", None)}, "crm", HUBSPOT.bare, public_url=None, now=NOW)
    assert (found.refusal, found.note) == (None, "this source asks for no proof")


class OddAuth(Strict):
    """Secrets where no preset has them: by name."""

    keys: dict[str, Secret]


class OddSource(Source[OddAuth]):
    """A preset unlike the others: it shakes hands, cannot sign a sample, and is proved by a token that expires."""

    preset = "odd"
    Auth = OddAuth

    def verify(self, request: InboundRequest, *, now: datetime) -> None:
        """Return only if the token is signed and young."""
        _, claims, signature = header(request, "authorization").removeprefix("Bearer ").split(".")
        assert self.auth is not None
        keys = [text.encode() for text in secrets_of(self.auth)]
        if not matches([signature.encode()], [mac(key, claims.encode()).hex().encode() for key in keys]):
            raise VerificationError("the token is not signed")
        fresh(json.loads(base64.urlsafe_b64decode(claims + "=="))["iat"] * 1_000_000, now=now)

    def parse(self, request: InboundRequest) -> tuple[Change, ...]:
        """Read nothing."""
        del request
        return ()

    def sample(self, sample: Sample, *, url: str, now: datetime) -> InboundRequest:
        """Sign nothing: only the CRM could."""
        del sample, now
        return InboundRequest("POST", url, {"authorization": "a.b.c"}, b"{}")

    def handshake(self, request: InboundRequest) -> Reply | None:
        """Answer a challenge."""
        return Reply(200, {}, request.body) if b"challenge" in request.body else None


def odd(key: str) -> OddSource:
    return OddSource("crm", OddAuth.model_validate({"keys": {"first": "not-this-one-5f0d", "second": key}}))


def token(key: str, issued: datetime) -> dict[str, str]:
    """A JSON web token as Amara's CRM would send it, but for its header."""
    claims = base64.urlsafe_b64encode(json.dumps({"iat": int(issued.timestamp())}).encode()).decode().rstrip("=")
    return {"authorization": f"Bearer eyJh.{claims}.{mac(key.encode(), claims.encode()).hex()}"}


def test_a_preset_that_cannot_sign_is_tried_with_everything() -> None:
    key = "odd-key-3b9e6d40"
    old = post(b"{}", token(key, NOW - timedelta(hours=2)))
    assert names(diagnose({"crm": odd(key)}, "crm", old, public_url=None, now=NOW)) == [("clock",)]
    pasted = diagnose({"crm": odd(key + "\n")}, "crm", post(b"{}", token(key, NOW)), public_url=None, now=NOW)
    assert names(pasted) == [("secret_blanks",)]
    other = {"crm": odd("another-one-3b9e"), "second": odd(key)}
    found = diagnose(other, "crm", post(b"{}", token(key, NOW)), public_url=None, now=NOW)
    assert names(found) == [("other_secret",)]


def test_a_handshake_is_told_as_one() -> None:
    found = diagnose({"crm": odd("x")}, "crm", post(b'{"challenge":"3eZbr"}', {}), public_url=None, now=NOW)
    assert (found.refusal, found.note) == (None, "a handshake, which is answered before any proof")


@every
def test_a_source_is_rebuilt_with_other_credentials_and_reads_the_same(crm: Crm) -> None:
    source, other = crm.source(crm.secrets[0]), crm.source(crm.secrets[1])
    again = source.proved_by(other.auth)
    again.verify(crm.request(crm.secrets[1]), now=NOW)
    assert again.parse(crm.request(crm.secrets[1])) == source.parse(crm.request(crm.secrets[0]))


@settings(max_examples=40, deadline=None)
@given(drawn=st.data())
def test_whatever_came_is_diagnosed_and_nothing_is_raised(drawn: st.DataObject) -> None:
    """What an operator captured of a stranger must not end the diagnosis."""
    crm = drawn.draw(st.sampled_from(CRMS))
    text = st.text(max_size=40) | st.text(alphabet=st.characters(codec="latin-1"), max_size=40)
    known = [*crm.proofs, "host", "x-forwarded-host", "x-original-uri", "x-forwarded-prefix", "forwarded"]
    headers = drawn.draw(st.dictionaries(st.sampled_from(known) | text, text, max_size=8))
    url = drawn.draw(st.sampled_from([URL, "", "https://", "http://a/webhooks/b/webhooks/c??"])) + drawn.draw(text)
    body = drawn.draw(st.binary(max_size=60) | st.sampled_from([b"[" * 200, b'{"a":1e999}', b"a=1&b", b"9" * 5000]))
    request = InboundRequest(drawn.draw(st.sampled_from(["POST", "GET", "\ud800"])), url, headers, body)
    beside = drawn.draw(st.lists(st.sampled_from(CRMS), max_size=2))
    others = {f"other-{number}": other.source(other.secrets[1]) for number, other in enumerate(beside)}
    found = why(crm, request, public_url=drawn.draw(st.sampled_from([None, PUBLIC_URL])), others=others)
    assert found.refusal is not None
    assert found.tries <= TRIES_MAX
