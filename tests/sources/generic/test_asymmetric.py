"""Signatures that only the CRM can make, by the two kinds of keys."""

import base64
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from pydantic import ValidationError

from service.errors import NotFound, VerificationError
from service.model import InboundRequest
from service.sources.base import Sample
from tests.support.crm import NOW, URL, build, post
from tests.support.crms.generic import private_pem, public_pem

BODY = '{"id":991,"firstName":"Zoë"}'.encode()
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ED25519_PUBLIC = public_pem(private_pem(ED25519))
RFC_8032_PUBLIC = """\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU=
-----END PUBLIC KEY-----
"""
RFC_8032_SIGNATURE = (
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def source(**knobs: Any) -> Any:  # noqa: ANN401  # a source of any configuration
    verify = {
        "scheme": "asymmetric",
        "algorithm": "ed25519",
        "public_keys": ED25519_PUBLIC,
        "header": "X-Signature",
    } | knobs
    return build("generic", {"verify": verify}, {"object_id": "id"})


def refused(checked: Any, request: InboundRequest, reason: str) -> None:  # noqa: ANN401  # as source
    with pytest.raises(VerificationError, match=reason):
        checked.verify(request, now=NOW)


def test_the_vector_of_rfc_8032_is_accepted() -> None:
    """Test 3, a message of two bytes: https://www.rfc-editor.org/rfc/rfc8032#section-7.1."""
    checked = source(public_keys=RFC_8032_PUBLIC, encoding="hex")
    checked.verify(post(b"\xaf\x82", {"x-signature": RFC_8032_SIGNATURE}), now=NOW)
    checked.verify(post(b"\xaf\x82", {"x-signature": RFC_8032_SIGNATURE.upper()}), now=NOW)
    refused(checked, post(b"\xaf\x83", {"x-signature": RFC_8032_SIGNATURE}), "no public key fits")


@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_rsa_with_sha_256_is_accepted_over_the_raw_body(rsa_key: rsa.RSAPrivateKey, encoding: str) -> None:
    signature = rsa_key.sign(BODY, padding.PKCS1v15(), SHA256())
    written = signature.hex() if encoding == "hex" else base64.b64encode(signature).decode()
    checked = source(
        algorithm="rsa_sha256", public_keys=public_pem(private_pem(rsa_key)), encoding=encoding, prefix="v1="
    )
    request = post(BODY, {"x-signature": f"v1={written}"})
    checked.verify(request, now=NOW)
    refused(checked, replace(request, body=BODY + b" "), "no public key fits")
    refused(checked, post(BODY, {"x-signature": written}), "prefix")


def test_another_padding_of_rsa_is_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    signature = rsa_key.sign(BODY, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
    checked = source(algorithm="rsa_sha256", public_keys=public_pem(private_pem(rsa_key)))
    refused(checked, post(BODY, {"x-signature": base64.b64encode(signature).decode()}), "no public key fits")


@pytest.mark.parametrize(
    ("encoding", "written", "reason"),
    [
        ("base64", "AAAA", "no public key fits"),
        ("base64", "AAA", "not base64"),
        ("base64", "AA AA", "not base64"),
        ("base64", "-_-_", "not base64"),
        ("hex", "00", "no public key fits"),
        ("hex", "0", "not hex"),
        ("hex", "00 00", "not hex"),
        ("hex", "zz", "not hex"),
    ],
)
def test_what_is_no_signature_is_refused(encoding: str, written: str, reason: str) -> None:
    refused(source(encoding=encoding), post(BODY, {"x-signature": written}), reason)


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({"public_keys": []}, "at least 1"),
        ({"public_keys": [ED25519_PUBLIC] * 9}, "at most 8"),
        ({"public_keys": "MCowBQYDK2VwAyEA"}, "not PEM"),
        ({"public_keys": ED25519_PUBLIC.replace("MCow", "MCox")}, "not PEM"),
        ({"public_keys": private_pem(ED25519)}, "not PEM"),
        ({"public_keys": "-----BEGIN PUBLIC KEY-----" + "A" * 9000}, "at most 8192"),
        ({"algorithm": "rsa_sha256"}, "another kind than rsa_sha256"),
        ({"public_keys": public_pem(private_pem(ec.generate_private_key(ec.SECP256R1())))}, "another kind"),
        ({"algorithm": "ecdsa"}, "ed25519"),
        ({"encoding": "base32"}, "base64"),
    ],
)
def test_what_could_not_be_verified_is_refused_at_load_without_showing_a_key(
    knobs: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason) as told:
        source(**knobs)
    assert "MCow" not in str(told.value)
    assert private_pem(ED25519).splitlines()[1] not in str(told.value)


def test_an_rsa_key_that_is_too_short_is_refused_at_load() -> None:
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505  # that is what is refused
    with pytest.raises(ValidationError, match="fewer than 2048 bits"):
        source(algorithm="rsa_sha256", public_keys=public_pem(private_pem(short)))


def test_a_sample_cannot_be_signed_and_says_what_to_do_instead() -> None:
    sample = Sample(object_id="991", event_id="evt_01J9", at=NOW, fields={"first_name": "Zoë"})
    with pytest.raises(NotFound, match="private key") as told:
        source().sample(sample, url=URL, now=NOW)
    assert "capture" in told.value.hint
