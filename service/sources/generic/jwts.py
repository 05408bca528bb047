"""Proof by a JSON Web Token in the authorization header, signed with HS256 and no other algorithm.

The token says who called and until when it counts. It does not cover the body: whoever sees one can send anything
until it expires, so that it proves no more than a shared token that changes often.
"""

import base64
import hmac
from datetime import datetime
from typing import Annotated, Final, Literal

import orjson
from jwt.api_jws import PyJWS
from jwt.exceptions import PyJWTError
from pydantic import Field

from service.errors import ParseError, VerificationError
from service.model import InboundRequest, Json
from service.sources.base import TOLERANCE_S, Secrets, Strict, header, matches, read_json, secret_bytes
from service.sources.generic.bodies import Format
from service.sources.generic.schemes import HeaderOnly, Proof

LIFE_S: Final = 300
"""How long the token of a sample counts."""

_ALGORITHM: Final = "HS256"
_FORM: Final = PyJWS(algorithms=[_ALGORITHM])


class Jwt(Strict):
    """A JSON Web Token as bearer, or bare, in the authorization header."""

    scheme: Literal["jwt"]
    secret: Secrets
    audience: Annotated[
        str | None,
        Field(min_length=1, max_length=512, description="What aud must be, or have; without it, aud is open."),
    ] = None
    tolerance_s: Annotated[int, Field(ge=1, le=86_400, description="How far the two clocks may be apart.")] = (
        TOLERANCE_S
    )

    def proof(self, kind: Format) -> Proof:  # noqa: ARG002  # only body tokens need the format
        """Compile the scheme."""
        return JwtProof(self)


class JwtProof(HeaderOnly):
    """A token that is signed for one of the secrets, and counts now."""

    def __init__(self, scheme: Jwt) -> None:
        self._scheme = scheme
        self._keys = secret_bytes(scheme.secret)

    def verify(self, request: InboundRequest, *, now: datetime) -> None:
        """Return only if the token is signed, for us and not expired; else raise VerificationError and nothing else."""
        claims = self._claims(_bare(header(request, "authorization")))
        self._counts(claims, now.timestamp())
        ours, told = self._scheme.audience, claims.get("aud")
        if ours is not None and ours not in (told if isinstance(told, list) else [told]):
            raise VerificationError("the token is meant for another audience", hint="check audience")

    def sign(self, request: InboundRequest, *, now: datetime, message_id: str) -> InboundRequest:  # noqa: ARG002  # Proof
        """Return the request with a token that counts for five minutes."""
        issued = int(now.timestamp())
        audience = {} if self._scheme.audience is None else {"aud": self._scheme.audience}
        parts = {"alg": _ALGORITHM, "typ": "JWT"}, {**audience, "iat": issued, "exp": issued + LIFE_S}
        signed = b".".join(_segment(orjson.dumps(part)) for part in parts)
        token = signed + b"." + _segment(_digest(self._keys[0], signed))
        added = {"authorization": f"Bearer {token.decode()}"}
        return InboundRequest(request.method, request.url, {**request.headers, **added}, request.body)

    def _claims(self, token: str) -> dict[str, Json]:
        """Return what a token says, once its signature is found right."""
        try:
            # Only its form is read here: the signature is compared below, with every secret and in constant time.
            form = _FORM.decode_complete(token, options={"verify_signature": False})
        except PyJWTError:
            raise VerificationError("the authorization header has no JSON Web Token") from None
        if form["header"].get("alg") != _ALGORITHM or "crit" in form["header"]:
            raise VerificationError(f"the token is not signed with {_ALGORITHM}")
        signed = token.rpartition(".")[0].encode()
        if not matches([form["signature"]], (_digest(key, signed) for key in self._keys)):
            raise VerificationError("the token's signature is wrong", hint="check the secret")
        try:
            claims = read_json(form["payload"])
        except ParseError:
            claims = None
        if not isinstance(claims, dict):
            raise VerificationError("the token's claims are not an object")
        return claims

    def _counts(self, claims: dict[str, Json], now_s: float) -> None:
        """Return only if the token has an end that is not over, and neither begins later nor was made later."""
        if now_s > _time(claims, "exp") + self._scheme.tolerance_s:
            raise VerificationError("the token expired", hint="a replay, or one of the two clocks is wrong")
        for name in ("nbf", "iat"):
            if name in claims and now_s < _time(claims, name) - self._scheme.tolerance_s:
                raise VerificationError("the token is of the future", hint="one of the two clocks is wrong")


def _bare(value: str) -> str:
    kind, _, token = value.partition(" ")
    return token.strip() if kind.lower() == "bearer" else value


def _time(claims: dict[str, Json], name: str) -> float:
    value = claims.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise VerificationError(f"the token has no {name}, or one that is no time")
    return value


def _digest(key: bytes, signed: bytes) -> bytes:
    return hmac.digest(key, signed, "sha256")


def _segment(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")
