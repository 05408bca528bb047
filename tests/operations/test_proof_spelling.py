"""What is written otherwise than it was signed: queries, signatures, secrets, forms and texts, each named."""

import base64
import json
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from service.model import InboundRequest
from service.operations.proof import diagnose
from tests.support.crm import NOW, build, mac, post
from tests.support.crms.hubspot import hubspot_v3
from tests.support.proof import (
    BY_NAME,
    HMAC,
    HOST,
    HUBSPOT,
    names,
    why,
)

QUERIES = {
    "decoded": ("?name=Ren%C3%A9e%20Roy", "?name=Renée Roy"),
    "in small letters": ("?name=a%C3%A9", "?name=a%c3%a9"),
    "with + for blanks": ("?name=Ada%20L", "?name=Ada+L"),
    "in another order": ("?b=2&a=1&c=3", "?a=1&b=2&c=3"),
    "of many parameters in order": ("?a=1&b=2&c=3&d=4&e=5", "?b=2&a=1&c=3&d=4&e=5"),
    "dropped before it was signed": ("", "?portal=24519873"),
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_that_was_written_anew_is_named(name: str) -> None:
    signed, seen = QUERIES[name]
    address = f"https://{HOST}/webhooks/crm"
    headers = hubspot_v3(HUBSPOT.secrets[0], HUBSPOT.body, NOW, url=address + signed)
    assert names(why(HUBSPOT, post(HUBSPOT.body, headers, url=address + seen))) == [("query",)]


def test_a_prefix_that_a_proxy_cut_off_is_named() -> None:
    outer, inner = f"https://{HOST}/crm-hooks/webhooks/crm", f"https://{HOST}/webhooks/crm"
    headers = hubspot_v3(HUBSPOT.secrets[0], HUBSPOT.body, NOW, url=outer) | {"x-forwarded-prefix": "/crm-hooks/"}
    found = why(HUBSPOT, post(HUBSPOT.body, headers, url=inner))
    assert names(found) == [("path",)]
    assert "x-forwarded-prefix" in found.explanations[0][0].do


def signature(text: str) -> InboundRequest:
    """The request of the plain HMAC, with its header written in another way."""
    return replace(HMAC.request(HMAC.secrets[0]), headers={"content-type": "application/json", "x-signature": text})


DIGEST = mac(HMAC.secrets[0].encode(), HMAC.body).hex()
SPELT = {
    "no prefix": (DIGEST, "prefix"),
    "two prefixes": (f"sha256=sha256={DIGEST}", "prefix"),
    "blanks": (f"  sha256={DIGEST} ", "header_value"),
    "twice": (f"sha256={DIGEST}, sha256={DIGEST}", "header_value"),
    "percent codes": (f"sha256%3D{DIGEST}", "header_value"),
    "base64": ("sha256=" + base64.b64encode(bytes.fromhex(DIGEST)).decode(), "setting"),
    "sha1": ("sha256=" + mac(HMAC.secrets[0].encode(), HMAC.body, algorithm="sha1").hex(), "setting"),
}


@pytest.mark.parametrize("name", SPELT)
def test_a_signature_that_is_written_otherwise_is_named(name: str) -> None:
    text, cause = SPELT[name]
    assert names(why(HMAC, signature(text))) == [(cause,)]


def test_a_setting_that_would_fit_is_named_with_its_place() -> None:
    found = why(HMAC, signature(SPELT["base64"][0]))
    assert found.explanations[0][0].do == "set auth.verify.encoding: base64"
    older = BY_NAME["hubspot v2"]
    found = why(HUBSPOT, older.request(older.secrets[0]))
    assert [causes[0].do for causes in found.explanations] == ["set auth.versions: v2"]


SECRET = "c0ffee5f0d2c9a7b1e55"
KEYS = {
    "hexadecimal": (bytes.fromhex(SECRET), SECRET, ["setting"]),
    "base64 of the text": (SECRET.encode(), base64.b64encode(SECRET.encode()).decode(), ["secret_encoding", "setting"]),
    "hexadecimal of the text": (SECRET.encode(), SECRET.encode().hex(), ["secret_encoding", "setting"]),
    "a line break at the CRM's": (SECRET.encode() + b"\n", SECRET, ["secret_blanks"]),
    "quotes": (SECRET.encode(), f'"{SECRET}"', ["secret_blanks"]),
}


@pytest.mark.parametrize("name", KEYS)
def test_a_secret_that_was_meant_otherwise_is_named(name: str) -> None:
    """It may be mended in two ways: by another secret, or by the setting how it is written."""
    key, configured, causes = KEYS[name]
    request = signature("sha256=" + mac(key, HMAC.body).hex())
    assert names(why(HMAC, request, secret=configured)) == [(cause,) for cause in causes]


def test_a_text_that_should_be_base64_is_named() -> None:
    standard = BY_NAME["generic standard webhooks"]
    text = "plain-webhook-secret"
    encoded = base64.b64encode(text.encode()).decode()
    # What the operator typed reads as base64 by chance: the key is another one.
    configured = "plainwebhooksecr"
    meant = base64.b64encode(configured.encode()).decode()
    assert encoded != meant
    assert names(why(standard, standard.request(meant), secret=configured)) == [("secret_encoding",)]


FORM = build(
    "generic",
    {"verify": {"scheme": "hmac", "secret": "form-secret-7f3a9c51", "header": "x-signature"}},
    {"format": "form", "object_id": "contact_id"},
)
FIELDS = {"contact_id": "991", "first_name": "Zoë", "title": "VP Finance"}
FORMS = {
    "JSON for a form": (urlencode(FIELDS).encode(), json.dumps(FIELDS).encode()),
    "a form for JSON": (json.dumps(FIELDS).encode(), urlencode(FIELDS).encode()),
    "+ for %20": (b"contact_id=991&title=VP%20Finance", b"contact_id=991&title=VP+Finance"),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_that_was_written_anew_is_named(name: str) -> None:
    signed, seen = FORMS[name]
    headers = {"x-signature": mac(b"form-secret-7f3a9c51", signed).hex()}
    found = diagnose({"crm": FORM}, "crm", post(seen, headers), public_url=None, now=NOW)
    assert names(found) == [("form",)]


TEXTS = {
    "keys that were sorted": ("json", '{"id":"1","name":"Zoe"}', '{"name":"Zoe","id":"1"}'),
    "plain text for escapes": ("json", r'{"id":"1","name":"Zo\u00eb"}', '{"id":"1","name":"Zoë"}'),
    "escapes for plain text": ("json", '{"id":"1","name":"Zoë"}', r'{"id":"1","name":"Zo\u00eb"}'),
    "slashes as PHP's": ("json", r'{"url":"https:\/\/northwind.example"}', '{"url": "https://northwind.example"}'),
    "ampersands as Go's": ("json", r'{"org":"Brandt \u0026 Roy"}', '{"org": "Brandt & Roy"}'),
    "LF for CR and LF": ("line_end", '{"a":1,\r\n"b":2}', '{"a":1,\n"b":2}'),
    "CR and LF for LF": ("line_end", '{"a":1,\n"b":2}', '{"a":1,\r\n"b":2}'),
    "UTF-8 twice": ("charset", '{"name":"Zoë"}', '{"name":"ZoÃ«"}'),
    "a lost byte order mark": ("byte_order_mark", '\ufeff{"a":1}', '{"a":1}'),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_was_written_anew_is_named(name: str) -> None:
    cause, signed, seen = TEXTS[name]
    digest = mac(HMAC.secrets[0].encode(), signed.encode()).hex()
    assert names(why(HMAC, post(seen.encode(), {"x-signature": f"sha256={digest}"}))) == [(cause,)]
