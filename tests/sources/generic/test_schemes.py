"""Every way that configuration knows to prove a sender, against signers and vectors of other people."""

import base64
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from standardwebhooks import Webhook
from svix.webhooks import Webhook as SvixWebhook

from service.errors import ParseError, VerificationError
from service.model import InboundRequest
from service.sources.base import Sample
from service.sources.generic import GenericSource
from service.sources.generic.schemes import SIGNATURES_MAX
from tests.support.crm import NOW, URL, build, mac, post
from tests.support.crms.generic import standard_webhooks

BODY = '{"id":"evt_01J9","contact":{"id":991,"first_name":"Zoë"}}'.encode()
SECRET = "8f2c7a1d-current"
NEXT = "3b9e6d40-next"
STANDARD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PARSE = {"object_id": "contact.id", "event_id": "id", "values": "contact"}
SAMPLE = Sample(object_id="991", event_id="evt_01J9", at=NOW, fields={"first_name": "Zoë"})


def source(parse: dict[str, Any] | None = None, **verify: Any) -> Any:  # noqa: ANN401  # a source of any configuration
    return build("generic", {"verify": verify}, PARSE if parse is None else parse)


def hmac_source(**knobs: Any) -> Any:  # noqa: ANN401  # as source
    return source(**{"scheme": "hmac", "secret": SECRET, "header": "X-Signature"} | knobs)


def refused(checked: Any, request: InboundRequest, reason: str | None = None) -> None:  # noqa: ANN401  # as source
    with pytest.raises(VerificationError, match=reason):
        checked.verify(request, now=NOW)


def openssl(algorithm: str, key: bytes, signed: bytes) -> bytes:
    """Return an HMAC by somebody else's code."""
    done = subprocess.run(
        ["openssl", "dgst", f"-{algorithm}", "-mac", "HMAC", "-macopt", f"hexkey:{key.hex()}", "-binary"],
        input=signed,
        capture_output=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_what_openssl_signs_is_accepted(algorithm: str, encoding: str) -> None:
    digest = openssl(algorithm, SECRET.encode(), BODY)
    written = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
    checked = hmac_source(algorithm=algorithm, encoding=encoding)
    checked.verify(post(BODY, {"x-signature": written}), now=NOW)
    refused(checked, post(BODY, {"x-signature": written.swapcase() if encoding == "base64" else written[::-1]}))


@pytest.mark.parametrize(
    ("secret", "key_encoding", "key"),
    [
        ("Jefe", "text", b"Jefe"),
        ("4a656665", "hex", b"Jefe"),
        ("4A656665\n", "hex", b"Jefe"),
        ("SmVmZQ==", "base64", b"Jefe"),
        ("SmVmZQ", "base64", b"Jefe"),
    ],
)
def test_the_vector_of_rfc_4231_is_accepted_however_the_key_is_written(
    secret: str, key_encoding: str, key: bytes
) -> None:
    """Test case 2: https://www.rfc-editor.org/rfc/rfc4231#section-4.3."""
    signed, expected = (
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    )
    assert mac(key, signed).hex() == expected
    hmac_source(secret=secret, key_encoding=key_encoding).verify(post(signed, {"x-signature": expected}), now=NOW)


def test_hex_is_read_in_any_case_and_base64_with_or_without_padding() -> None:
    digest = mac(SECRET.encode(), BODY)
    hmac_source().verify(post(BODY, {"x-signature": digest.hex().upper()}), now=NOW)
    padded = base64.b64encode(digest).decode()
    for written in (padded, padded.rstrip("=")):
        hmac_source(encoding="base64").verify(post(BODY, {"x-signature": written}), now=NOW)
    refused(hmac_source(encoding="base64"), post(BODY, {"x-signature": padded.lower()}))


def test_a_prefix_is_needed_where_it_is_configured() -> None:
    """Intercom's way: https://developers.intercom.com/docs/webhooks/webhook-notifications."""
    digest = openssl("sha1", SECRET.encode(), BODY).hex()
    checked = hmac_source(header="X-Hub-Signature", algorithm="sha1", prefix="sha1=")
    checked.verify(post(BODY, {"x-hub-signature": "sha1=" + digest}), now=NOW)
    for written in (digest, "sha256=" + digest, "SHA1=" + digest, "sha1=", "sha1="[:3]):
        refused(checked, post(BODY, {"x-hub-signature": written}), "no signature is right")


def test_a_hex_key_and_a_separate_time_are_accepted() -> None:
    """Close's way: https://developer.close.com/topics/webhooks."""
    key = bytes.fromhex("2d7b0b2b3fb1a7e05cf0bc0b9a3d5f44")
    checked = hmac_source(
        secret=key.hex(),
        key_encoding="hex",
        header="close-sig-hash",
        timestamp_header="close-sig-timestamp",
        timestamp_unit="s",
        template="{timestamp}{body}",
    )
    timestamp = str(int(NOW.timestamp()))
    headers = {
        "close-sig-hash": openssl("sha256", key, timestamp.encode() + BODY).hex(),
        "close-sig-timestamp": timestamp,
    }
    checked.verify(post(BODY, headers), now=NOW)
    refused(checked, post(BODY, headers | {"close-sig-timestamp": str(int(timestamp) + 1)}), "no signature is right")
    refused(checked, post(BODY, {"close-sig-hash": headers["close-sig-hash"]}), "close-sig-timestamp is missing")
    with pytest.raises(VerificationError, match="past"):
        checked.verify(post(BODY, headers), now=NOW + timedelta(seconds=301))


@pytest.mark.parametrize(
    ("unit", "timestamp", "accepted"),
    [
        ("s", "1772443800", True),
        ("s", "1772443800000", False),
        ("s", "1772443800.5", False),
        ("ms", "1772443800000", True),
        ("ms", "1772443800", False),
        ("auto", "1772443800", True),
        ("auto", "1772443800000", True),
        ("auto", "1772443800000000", True),
        ("auto", "2026-03-02T10:30:00+01:00", True),
        ("auto", "2026-03-02T10:30:00", False),
        ("auto", "Mon, 02 Mar 2026", False),
    ],
)
def test_a_time_is_read_in_its_unit(unit: str, timestamp: str, accepted: bool) -> None:  # noqa: FBT001  # a table of cases
    checked = hmac_source(timestamp_header="X-Time", timestamp_unit=unit, template="{body}{timestamp}")
    headers = {"x-signature": mac(SECRET.encode(), BODY, timestamp.encode()).hex(), "x-time": timestamp}
    if accepted:
        checked.verify(post(BODY, headers), now=NOW)
    else:
        refused(checked, post(BODY, headers), "time")


def test_the_tolerance_is_as_configured() -> None:
    checked = hmac_source(timestamp_header="X-Time", template="{timestamp}{body}", tolerance_s=10)
    timestamp = str(int(NOW.timestamp()))
    request = post(BODY, {"x-signature": mac(SECRET.encode(), timestamp.encode(), BODY).hex(), "x-time": timestamp})
    for seconds in (-10, 10):
        checked.verify(request, now=NOW + timedelta(seconds=seconds))
    for seconds in (-11, 11):
        with pytest.raises(VerificationError, match="10 s"):
            checked.verify(request, now=NOW + timedelta(seconds=seconds))


def test_a_template_signs_method_url_and_literals() -> None:
    checked = hmac_source(template="v0:{method}:{{{url}}}:{body}")
    headers = {"x-signature": mac(SECRET.encode(), b"v0:POST:{" + URL.encode() + b"}:" + BODY).hex()}
    checked.verify(post(BODY, headers), now=NOW)
    refused(checked, post(BODY, headers, method="PUT"))
    refused(checked, post(BODY, headers, url=URL + "&x=1"))


def test_the_public_address_must_be_known_only_where_it_is_signed() -> None:
    assert hmac_source(template="{url}{body}").signs_url
    assert not hmac_source().signs_url
    assert not source(scheme="basic", username="crm", password=SECRET).signs_url
    assert not build("generic", None, PARSE).signs_url


@pytest.mark.parametrize(
    ("style", "prefix", "written"),
    [
        ("t=,v1=", "", "t={t},v1={good}"),
        ("t=,v1=", "", "v1={good},t={t}"),
        ("t=,v1=", "", " t={t}, v1={bad}, v1={good}, v0=x"),
        ("t=,v1=", "sha256=", "t={t},v1=sha256={good}"),
        ("ts=;h1=", "", "ts={t};h1={bad};h1={good}"),
        ("t= s=", "", "t={t} s={good}"),
    ],
)
def test_a_list_with_its_time_is_read(style: str, prefix: str, written: str) -> None:
    timestamp = str(int(NOW.timestamp()))
    good, bad = (mac(key, timestamp.encode(), b".", BODY).hex() for key in (SECRET.encode(), b"other"))
    checked = hmac_source(style=style, prefix=prefix, template="{timestamp}.{body}", secret=[NEXT, SECRET])
    checked.verify(post(BODY, {"x-signature": written.format(t=timestamp, good=good, bad=bad)}), now=NOW)
    refused(
        checked, post(BODY, {"x-signature": written.format(t=timestamp, good=bad, bad=bad)}), "no signature is right"
    )
    late = int(NOW.timestamp()) + 1
    refused(checked, post(BODY, {"x-signature": written.format(t=late, good=good, bad=bad)}), "no signature is right")


@pytest.mark.parametrize(
    "written", ["v1={good}", "t={t},t={t},v1={good}", "t=,v1={good}", "t,v1={good}", "T={t},v1={good}"]
)
def test_a_list_without_exactly_one_time_is_refused(written: str) -> None:
    timestamp = str(int(NOW.timestamp()))
    good = mac(SECRET.encode(), timestamp.encode(), b".", BODY).hex()
    checked = hmac_source(style="t=,v1=", template="{timestamp}.{body}")
    refused(checked, post(BODY, {"x-signature": written.format(t=timestamp, good=good)}), "time")


@pytest.mark.parametrize(
    ("style", "written"),
    [
        ("space", "{bad} {good}"),
        ("comma", "{bad},{good}"),
        ("comma", "{bad}, {good}"),
        ("v1=", "v0={bad},v1={good}"),
        ("v1=", "v1={good}"),
    ],
)
def test_a_list_of_signatures_is_read(style: str, written: str) -> None:
    good, bad = (base64.b64encode(mac(key, BODY)).decode() for key in (SECRET.encode(), b"other"))
    checked = hmac_source(style=style, encoding="base64")
    checked.verify(post(BODY, {"x-signature": written.format(good=good, bad=bad)}), now=NOW)
    refused(checked, post(BODY, {"x-signature": written.format(good=bad, bad=bad)}), "no signature is right")
    single = hmac_source(encoding="base64")
    if written != "{good}":
        refused(single, post(BODY, {"x-signature": written.format(good=good, bad=bad)}), "no signature is right")


def test_a_signature_under_another_name_does_not_count() -> None:
    good = mac(SECRET.encode(), BODY).hex()
    refused(hmac_source(style="v1="), post(BODY, {"x-signature": f"v0={good}"}), "no signature is right")


def test_the_number_of_signatures_is_bounded() -> None:
    good = mac(SECRET.encode(), BODY).hex()
    fits, past = (" ".join(["00"] * count + [good]) for count in (SIGNATURES_MAX - 1, SIGNATURES_MAX))
    hmac_source(style="space").verify(post(BODY, {"x-signature": fits}), now=NOW)
    refused(hmac_source(style="space"), post(BODY, {"x-signature": past}), "more than 16")


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({"template": "{timestamp}"}, "unsigned"),
        ({"template": ""}, "unsigned"),
        ({"template": "{body}{nonce}"}, "a template is made of"),
        ({"template": "{body!r}"}, "a template is made of"),
        ({"template": "{body:>9}"}, "a template is made of"),
        ({"template": "{body"}, "expected '}'"),
        ({"template": "{timestamp}{body}"}, "need each other"),
        ({"timestamp_header": "X-Time"}, "need each other"),
        ({"style": "t=,v1="}, "need each other"),
        ({"style": "t=,v1=", "timestamp_header": "X-Time", "template": "{timestamp}{body}"}, "not in both"),
        ({"style": "t=|v1="}, "pattern"),
        ({"style": "t=,v1"}, "pattern"),
        ({"style": "tab"}, "pattern"),
        ({"secret": "8f2c7a1d-current", "key_encoding": "hex"}, "not hex"),
        ({"secret": "8f2c7a1d!", "key_encoding": "base64"}, "not base64"),
        ({"secret": "===", "key_encoding": "base64"}, "not base64|empty key"),
        ({"algorithm": "md5"}, "sha256"),
        ({"encoding": "base32"}, "base64"),
        ({"header": "X Signature"}, "pattern"),
        ({"tolerance_s": 0}, "greater than"),
        ({"scheme": "none"}, "standard_webhooks"),
    ],
)
def test_what_could_not_be_verified_or_looks_safer_than_it_is_is_refused_at_load(
    knobs: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason) as told:
        hmac_source(**knobs)
    assert "8f2c7a1d" not in str(told.value)


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"algorithm": "sha512", "encoding": "base64", "prefix": "sha512="},
        {"style": "space"},
        {"style": "v1="},
        {"style": "t=,v1=", "template": "{timestamp}.{body}"},
        {"style": "t= v1=", "template": "{timestamp}.{body}", "timestamp_unit": "ms"},
        {"timestamp_header": "X-Time", "timestamp_unit": "ms", "template": "{method}{url}{timestamp}{body}"},
    ],
)
def test_a_sample_is_signed_as_configured(knobs: dict[str, Any]) -> None:
    checked = hmac_source(**knobs)
    request = checked.sample(SAMPLE, url=URL, now=NOW)
    checked.verify(request, now=NOW)
    refused(checked, replace(request, body=request.body + b" "))


def test_the_published_standard_webhooks_vector_is_accepted() -> None:
    """https://github.com/standard-webhooks/standard-webhooks, as its libraries are tested by."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    at = datetime.fromtimestamp(1614265330, tz=UTC)
    source(scheme="standard_webhooks", secret=STANDARD).verify(post(b'{"test": 2432232314}', headers), now=at)


@settings(deadline=None)
@given(
    key=st.binary(min_size=1, max_size=80),
    body=st.text(st.characters(codec="utf-8")),
    message_id=st.text("msg_ABCdef0123.", min_size=1, max_size=40),
)
def test_signatures_agree_with_the_standards_own_libraries(key: bytes, body: str, message_id: str) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    timestamp = str(int(NOW.timestamp()))
    checked = source(scheme="standard_webhooks", secret=secret)
    for family, library in (("webhook", Webhook(secret)), ("svix", SvixWebhook(secret))):
        signature = library.sign(message_id, NOW, body)
        headers = {f"{family}-id": message_id, f"{family}-timestamp": timestamp, f"{family}-signature": signature}
        checked.verify(post(body.encode(), headers), now=NOW)


def test_one_v1_signature_of_several_is_enough_and_other_versions_do_not_count() -> None:
    checked = source(scheme="standard_webhooks", secret=STANDARD)
    headers = standard_webhooks(STANDARD, BODY, NOW)
    good = headers["webhook-signature"]
    bare = good.removeprefix("v1,")
    for written in (f"v1,AAAA {good}", f"v1a,{bare} {good}", f"{good} v2,AAAA", good.rstrip("=")):
        checked.verify(post(BODY, headers | {"webhook-signature": written}), now=NOW)
    for written in (bare, f"v1a,{bare}", f"v2,{bare}", f"V1,{bare}", "v1", "v1,", f"v1 {bare}", f"v1,{bare.lower()}"):
        refused(checked, post(BODY, headers | {"webhook-signature": written}), "no v1 signature is right")
    refused(checked, post(BODY, headers | {"webhook-signature": "v1,AAAA " * 16 + good}), "more than 16")


def test_the_message_id_is_signed_and_the_two_families_of_names_do_not_mix() -> None:
    checked = source(scheme="standard_webhooks", secret=STANDARD)
    headers = standard_webhooks(STANDARD, BODY, NOW)
    refused(checked, post(BODY, headers | {"webhook-id": "msg_other"}), "no v1 signature is right")
    mixed = {name.replace("webhook-id", "svix-id"): value for name, value in headers.items()}
    refused(checked, post(BODY, mixed), "svix-timestamp is missing")


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64", "whpk_MfKQ9r8G", "="])
def test_a_standard_secret_that_is_none_is_refused_at_load(secret: str) -> None:
    with pytest.raises(ValidationError, match=r"not base64|empty key"):
        source(scheme="standard_webhooks", secret=secret)


def test_basic_credentials_are_accepted_and_signed() -> None:
    checked = source(scheme="basic", username="freshsales", password=[NEXT, SECRET])
    checked.verify(checked.sample(SAMPLE, url=URL, now=NOW), now=NOW)
    refused(checked, post(BODY, {"authorization": "Basic ZnJlc2hzYWxlczp4"}), "user name or password")


def test_the_message_id_must_be_an_id() -> None:
    checked = source({"object_id": "contact.id"}, scheme="standard_webhooks", secret=STANDARD)
    for headers in ({}, {"webhook-id": ""}, {"webhook-id": "m" * 256}):
        with pytest.raises(ParseError, match=r"webhook-id|svix-id"):
            checked.parse(post(BODY, headers))


def test_the_schemes_are_told_to_editors() -> None:
    schema = GenericSource.Auth.model_json_schema()
    names = {"Hmac", "StandardWebhooks", "Asymmetric", "Jwt", "Token", "Basic"}
    assert names <= schema["$defs"].keys()
    assert schema["properties"]["verify"]["discriminator"]["propertyName"] == "scheme"
    field = schema["$defs"]["Token"]["properties"]["field"]
    assert {"type": "string"}.items() <= field["anyOf"][0].items()
