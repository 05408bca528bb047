"""Proof by a signature of the body, made with a private key that only the CRM has; the public keys are configured."""

import base64
from datetime import datetime
from typing import Annotated, Final, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import BeforeValidator, Field, model_validator

from service.errors import NotFound, VerificationError
from service.model import InboundRequest
from service.sources.base import SECRETS_MAX, Strict, header
from service.sources.generic.bodies import Format
from service.sources.generic.schemes import HeaderName, HeaderOnly, Proof

Algorithm = Literal["ed25519", "rsa_sha256"]
PublicKey = Ed25519PublicKey | RSAPublicKey

_RSA_BITS_MIN: Final = 2048

_Pems = Annotated[tuple[Annotated[str, Field(max_length=8192)], ...], Field(min_length=1, max_length=SECRETS_MAX)]
_PublicKeys = Annotated[
    _Pems,
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=str | _Pems),
    Field(description="The CRM's public key as PEM, or a list of them while it is rotated."),
]


class Asymmetric(Strict):
    """A signature of the raw body in a header of its own: Ed25519, or RSA with SHA-256 (PKCS #1 v1.5)."""

    scheme: Literal["asymmetric"]
    algorithm: Algorithm
    public_keys: _PublicKeys
    header: HeaderName
    encoding: Annotated[Literal["base64", "hex"], Field(description="How the signature is written.")] = "base64"
    prefix: Annotated[str, Field(max_length=64, description="What stands before the signature, as sha256=")] = ""

    @model_validator(mode="after")
    def _agrees(self) -> "Asymmetric":
        self.keys()
        return self

    def keys(self) -> tuple[PublicKey, ...]:
        """Return the public keys; ValueError, which shows none, where one cannot be read or is not as said."""
        return tuple(_public_key(pem, self.algorithm) for pem in self.public_keys)

    def proof(self, kind: Format) -> Proof:  # noqa: ARG002  # only body tokens need the format
        """Compile the scheme."""
        return AsymmetricProof(self)


class AsymmetricProof(HeaderOnly):
    """A signature by one of several keys. It signs no time: only the dedup key tells a repetition."""

    def __init__(self, scheme: Asymmetric) -> None:
        self._scheme = scheme
        self._keys = scheme.keys()

    def verify(self, request: InboundRequest, *, now: datetime) -> None:  # noqa: ARG002  # no time is signed
        """Return only if the signature is right for one of the keys; else raise VerificationError and nothing else."""
        signature = self._signature(header(request, self._scheme.header))
        if not any(_signed(key, signature, request.body) for key in self._keys):
            raise VerificationError("no public key fits the signature", hint="check public_keys and algorithm")

    def sign(self, request: InboundRequest, *, now: datetime, message_id: str) -> InboundRequest:  # noqa: ARG002  # Proof
        """Raise NotFound: what would sign is with the CRM alone."""
        raise NotFound(
            "a sample cannot be signed: only the CRM has the private key",
            hint="let the CRM send one, or capture a request and use inspect",
        )

    def _signature(self, value: str) -> bytes:
        if not value.startswith(self._scheme.prefix):
            raise VerificationError("the signature has not its prefix", hint="check prefix")
        written = value.removeprefix(self._scheme.prefix)
        try:
            if self._scheme.encoding == "hex":
                return base64.b16decode(written, casefold=True)
            return base64.b64decode(written, validate=True)
        except ValueError:
            raise VerificationError(f"the signature is not {self._scheme.encoding}", hint="check encoding") from None


def _signed(key: PublicKey, signature: bytes, body: bytes) -> bool:
    try:
        if isinstance(key, RSAPublicKey):
            key.verify(signature, body, PKCS1v15(), SHA256())
        else:
            key.verify(signature, body)
    except InvalidSignature:
        return False
    return True


def _public_key(pem: str, algorithm: Algorithm) -> PublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("a public key is not PEM, from -----BEGIN PUBLIC KEY----- to its END") from None
    if algorithm == "ed25519" and isinstance(key, Ed25519PublicKey):
        return key
    if algorithm == "rsa_sha256" and isinstance(key, RSAPublicKey):
        if key.key_size < _RSA_BITS_MIN:
            raise ValueError(f"an RSA public key has fewer than {_RSA_BITS_MIN} bits")
        return key
    raise ValueError(f"a public key is of another kind than {algorithm}")
