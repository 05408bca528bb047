"""Proofs by signature and by HTTP Basic: what is configured, and the checks compiled from it."""

import base64
import hmac
import re
from datetime import datetime
from string import Formatter
from typing import Annotated, Final, Literal, Protocol

from pydantic import AfterValidator, Field, SecretStr, model_validator

from service.errors import VerificationError
from service.model import InboundRequest, Json, to_micros
from service.sources.base import (
    TOLERANCE_S,
    BasicAuth,
    BasicProof,
    Secrets,
    Strict,
    fresh,
    header,
    identifier,
    matches,
    raw,
    whole_number,
)
from service.sources.generic.bodies import Format
from service.times import parse_instant

SIGNATURES_MAX: Final = 16
"""Signatures in one header."""

_PLACES: Final = ("method", "url", "timestamp", "body")
_STYLE: Final = r"^(?:space|comma|(?:[A-Za-z0-9_-]{1,32}=[,; ])?[A-Za-z0-9_-]{1,32}=)$"
_SEPARATORS: Final = re.compile(r"[,;\s]+")
_MICROS: Final = {"s": 1_000_000, "ms": 1_000}
_WHSEC: Final = "whsec_"


class Proof(Protocol):
    """One way to prove a sender, ready to be used."""

    def verify(self, request: InboundRequest, *, now: datetime) -> None:
        """Return only if the request is proved; else raise VerificationError and nothing else."""

    def sign(self, request: InboundRequest, *, now: datetime, message_id: str) -> InboundRequest:
        """Return the request as its sender would prove it."""

    def redact(self, request: InboundRequest) -> InboundRequest:
        """Return the request without this scheme's credentials; raise ParseError for a body that cannot be read."""

    def strip(self, document: Json) -> Json:
        """Return the document without this scheme's credentials."""

    def message_id(self, request: InboundRequest) -> str | None:
        """Return the id that the scheme itself gives a request, None if it has none; raise ParseError."""


class HeaderOnly:
    """What holds for every scheme that leaves the body alone and names no message."""

    def redact(self, request: InboundRequest) -> InboundRequest:
        """Return the request: a signature is no credential, and authorization headers go with every source."""
        return request

    def strip(self, document: Json) -> Json:
        """Return the document: it holds no credential."""
        return document

    def message_id(self, request: InboundRequest) -> str | None:  # noqa: ARG002  # the promise of Proof
        """Return None: the scheme names no message."""
        return None


def _template(text: str) -> str:
    _compile(text)
    return text


HeaderName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$", description="A header's name; case does not matter."),
    AfterValidator(str.lower),
]


class Hmac(Strict):
    """An HMAC of the request, in a header of its own."""

    scheme: Literal["hmac"]
    secret: Secrets
    key_encoding: Annotated[
        Literal["text", "hex", "base64"], Field(description="How the secret stands for the key's bytes.")
    ] = "text"
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    encoding: Annotated[Literal["hex", "base64"], Field(description="How the signature is written.")] = "hex"
    header: HeaderName
    prefix: Annotated[str, Field(max_length=64, description="What stands before each signature, as sha256=")] = ""
    style: Annotated[
        str | None,
        Field(
            pattern=_STYLE,
            description="A header of several parts: space or comma (bare signatures), v1= (named), t=,v1= (with time)",
        ),
    ] = None
    template: Annotated[
        str,
        Field(max_length=512, description="The signed text, of {method} {url} {timestamp} {body} and literals."),
        AfterValidator(_template),
    ] = "{body}"
    timestamp_header: HeaderName | None = None
    timestamp_unit: Annotated[
        Literal["s", "ms", "auto"], Field(description="auto also takes microseconds and ISO 8601.")
    ] = "auto"
    tolerance_s: Annotated[int, Field(ge=1, le=86_400)] = TOLERANCE_S

    @model_validator(mode="after")
    def _agrees(self) -> "Hmac":
        """Refuse what could not be verified, or would look safer than it is."""
        timed = self.timestamp_header is not None
        if "=" in (self.style or "")[:-1]:
            if timed:
                raise ValueError("the time stands in the style or in timestamp_header, not in both")
            timed = True
        if timed != ("timestamp" in _compile(self.template)):
            raise ValueError("{timestamp} in the template and a time (timestamp_header or style) need each other")
        self.keys()
        return self

    def keys(self) -> tuple[bytes, ...]:
        """Return the secrets as key bytes."""
        return tuple(_key(secret, self.key_encoding) for secret in self.secret)

    def proof(self, kind: Format) -> Proof:  # noqa: ARG002  # only body tokens need the format
        """Compile the scheme."""
        return HmacProof(self)


class StandardWebhooks(Strict):
    """Standard Webhooks, symmetric (v1): https://github.com/standard-webhooks/standard-webhooks."""

    scheme: Literal["standard_webhooks"]
    secret: Secrets
    tolerance_s: Annotated[int, Field(ge=1, le=86_400)] = TOLERANCE_S

    @model_validator(mode="after")
    def _agrees(self) -> "StandardWebhooks":
        self.keys()
        return self

    def keys(self) -> tuple[bytes, ...]:
        """Return the secrets as key bytes."""
        return tuple(_key(secret, "base64", _WHSEC) for secret in self.secret)

    def proof(self, kind: Format) -> Proof:  # noqa: ARG002  # only body tokens need the format
        """Compile the scheme."""
        return StandardWebhooksProof(self)


class Basic(BasicAuth):
    """HTTP Basic."""

    scheme: Literal["basic"]

    def proof(self, kind: Format) -> Proof:  # noqa: ARG002  # only body tokens need the format
        """Compile the scheme."""
        return HttpBasicProof(self)


class HmacProof(HeaderOnly):
    """An HMAC with its configured knobs."""

    def __init__(self, scheme: Hmac) -> None:
        self._scheme = scheme
        self._keys = scheme.keys()
        self._signed = _compile(scheme.template)
        *timestamp, signature = re.findall(r"([^=,; ]+)=", scheme.style or "") or [""]
        self._timestamp_name = timestamp[0] if timestamp else None
        self._signature_name = signature or None

    def verify(self, request: InboundRequest, *, now: datetime) -> None:
        """Return only if one signature is right for one of the secrets, and its time near; else VerificationError."""
        parts, timestamp = self._given(header(request, self._scheme.header))
        if self._scheme.timestamp_header is not None:
            timestamp = header(request, self._scheme.timestamp_header)
        if timestamp is not None:
            fresh(self._micros(timestamp), now=now, tolerance_s=self._scheme.tolerance_s)
        prefix = self._scheme.prefix
        given = [self._plain(part[len(prefix) :]) for part in parts if part.startswith(prefix)]
        if len(given) > SIGNATURES_MAX:
            raise VerificationError(f"more than {SIGNATURES_MAX} signatures")
        signed = self._text(request, timestamp)
        if not matches(given, (self._digest(key, signed) for key in self._keys)):
            raise VerificationError("no signature is right", hint="check secret, template, prefix and encoding")

    def sign(self, request: InboundRequest, *, now: datetime, message_id: str) -> InboundRequest:  # noqa: ARG002  # Proof
        """Return the request with its signature, and its time where the scheme has one."""
        added: dict[str, str] = {}
        timestamp = str(to_micros(now) // _MICROS.get(self._scheme.timestamp_unit, _MICROS["s"]))
        signature = self._scheme.prefix + self._digest(self._keys[0], self._text(request, timestamp)).decode()
        if self._scheme.timestamp_header is not None:
            added[self._scheme.timestamp_header] = timestamp
        if self._timestamp_name is not None:
            separator = (self._scheme.style or "")[len(self._timestamp_name) + 1]
            signature = f"{self._timestamp_name}={timestamp}{separator}{self._signature_name}={signature}"
        elif self._signature_name is not None:
            signature = f"{self._signature_name}={signature}"
        added[self._scheme.header] = signature
        return InboundRequest(request.method, request.url, {**request.headers, **added}, request.body)

    def _given(self, value: str) -> tuple[list[str], str | None]:
        """Return the signatures of a header, still with their prefix, and the time that stands beside them."""
        if self._scheme.style is None:
            return [value], None
        parts = _SEPARATORS.split(value)
        if self._signature_name is None:
            return parts, None
        named = [part.partition("=") for part in parts]
        signatures = [part for name, _, part in named if name == self._signature_name]
        times = [part for name, _, part in named if name == self._timestamp_name]
        if self._timestamp_name is not None and len(times) != 1:
            raise VerificationError("the signature header has not exactly one time")
        return signatures, times[0] if times else None

    def _micros(self, timestamp: str) -> int:
        if self._scheme.timestamp_unit != "auto":
            return whole_number(timestamp, "the signed time") * _MICROS[self._scheme.timestamp_unit]
        try:
            return to_micros(parse_instant(timestamp))
        except ValueError:
            raise VerificationError("the signed time is not a time") from None

    def _text(self, request: InboundRequest, timestamp: str | None) -> bytes:
        places = {
            "method": raw(request.method),
            "url": raw(request.url),
            "timestamp": raw(timestamp or ""),
            "body": request.body,
        }
        return b"".join(part if isinstance(part, bytes) else places[part] for part in self._signed)

    def _digest(self, key: bytes, signed: bytes) -> bytes:
        digest = hmac.digest(key, signed, self._scheme.algorithm)
        return digest.hex().encode() if self._scheme.encoding == "hex" else base64.b64encode(digest).rstrip(b"=")

    def _plain(self, signature: str) -> bytes:
        return (signature.lower() if self._scheme.encoding == "hex" else signature.rstrip("=")).encode()


class StandardWebhooksProof(HeaderOnly):
    """Standard Webhooks, also under its older svix names."""

    def __init__(self, scheme: StandardWebhooks) -> None:
        self._keys = scheme.keys()
        self._tolerance_s = scheme.tolerance_s

    def verify(self, request: InboundRequest, *, now: datetime) -> None:
        """Return only if one v1 signature is right for one secret, and its time near; else VerificationError."""
        family = _family(request)
        message_id = header(request, f"{family}-id")
        timestamp = header(request, f"{family}-timestamp")
        signatures = header(request, f"{family}-signature").split()
        fresh(whole_number(timestamp, "the signed time") * _MICROS["s"], now=now, tolerance_s=self._tolerance_s)
        given = [part.removeprefix("v1,").rstrip("=").encode() for part in signatures if part.startswith("v1,")]
        if len(given) > SIGNATURES_MAX:
            raise VerificationError(f"more than {SIGNATURES_MAX} signatures")
        if not matches(given, (_standard(key, message_id, timestamp, request.body) for key in self._keys)):
            raise VerificationError("no v1 signature is right", hint="check the secret")

    def sign(self, request: InboundRequest, *, now: datetime, message_id: str) -> InboundRequest:
        """Return the request with the three headers of the standard."""
        timestamp = str(to_micros(now) // _MICROS["s"])
        signature = _standard(self._keys[0], message_id, timestamp, request.body).decode()
        added = {
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{signature}=",  # 32 bytes take one sign of padding
        }
        return InboundRequest(request.method, request.url, {**request.headers, **added}, request.body)

    def message_id(self, request: InboundRequest) -> str | None:
        """Return the signed id of the message, the same when it is sent again."""
        name = f"{_family(request)}-id"
        return identifier(request.headers.get(name), f"the header {name}")


class HttpBasicProof(HeaderOnly):
    """HTTP Basic, which knows no time."""

    def __init__(self, scheme: Basic) -> None:
        self._basic = BasicProof(scheme)

    def verify(self, request: InboundRequest, *, now: datetime) -> None:  # noqa: ARG002  # the promise of Proof
        """Return only if the credentials are right; else VerificationError."""
        self._basic.verify(request)

    def sign(self, request: InboundRequest, *, now: datetime, message_id: str) -> InboundRequest:  # noqa: ARG002  # Proof
        """Return the request with its authorization header."""
        return InboundRequest(request.method, request.url, {**request.headers, **self._basic.sign()}, request.body)


def _family(request: InboundRequest) -> str:
    return "webhook" if "webhook-id" in request.headers else "svix"


def _standard(key: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return base64.b64encode(hmac.digest(key, signed, "sha256")).rstrip(b"=")


def _compile(template: str) -> tuple[bytes | str, ...]:
    """Return a template as literals (bytes) and places (their names); ValueError for anything else."""
    parts: list[bytes | str] = []
    for literal, place, spec, conversion in Formatter().parse(template):
        if literal:
            parts.append(literal.encode())
        if place is not None:
            if place not in _PLACES or spec or conversion:
                raise ValueError("a template is made of {method} {url} {timestamp} {body} and literals")
            parts.append(place)
    if "body" not in parts:
        raise ValueError("the template leaves {body} unsigned")
    return tuple(parts)


def _key(secret: SecretStr, encoding: Literal["text", "hex", "base64"], prefix: str = "") -> bytes:
    """Return a secret's key bytes; ValueError, which does not show it, where it is not encoded as said."""
    text = secret.get_secret_value().strip() if encoding != "text" else secret.get_secret_value()
    try:
        if encoding == "text":
            key = text.encode()
        elif encoding == "hex":
            key = bytes.fromhex(text)
        else:
            bare = text.removeprefix(prefix)
            key = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except ValueError:
        raise ValueError(f"a secret is not {encoding}") from None
    if not key:
        raise ValueError("a secret is an empty key")
    return key
