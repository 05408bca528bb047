"""Proof by a shared token: in a header, as bearer, in the query or in the body, compared in constant time."""

from datetime import datetime
from typing import Annotated, Final, Literal
from urllib.parse import quote, unquote, unquote_plus

from pydantic import Field, model_validator

from service.errors import RequestError, VerificationError
from service.model import InboundRequest, Json
from service.paths import Path
from service.sources.base import HEADER_MAX, Secrets, Strict, matches, raw, secret_bytes
from service.sources.generic.bodies import Format, body_without, read_body, without, write_body
from service.sources.generic.places import KeysPath, put
from service.sources.generic.schemes import HeaderName, Proof

_PARAMETERS_MAX: Final = 100


class Token(Strict):
    """A token that the CRM was given and sends with every request; it proves nothing about the body."""

    scheme: Literal["token"]
    token: Secrets
    header: HeaderName | None = None
    prefix: Annotated[str, Field(max_length=64, description="What stands before the token in its header.")] = ""
    bearer: Annotated[bool, Field(description="Whether it stands as Authorization: Bearer.")] = False
    query: Annotated[str | None, Field(min_length=1, max_length=100, description="The query parameter.")] = None
    field: KeysPath | None = None

    @model_validator(mode="after")
    def _agrees(self) -> "Token":
        places = (self.header is not None, self.bearer, self.query is not None, self.field is not None)
        if sum(places) != 1:
            raise ValueError("a token stands in exactly one of header, bearer, query and field")
        if self.prefix and self.header is None:
            raise ValueError("a prefix stands in a header")
        return self

    def proof(self, kind: Format) -> Proof:
        """Compile the scheme for bodies of that format."""
        return TokenProof(self, kind)


class TokenProof:
    """A shared token in its one place."""

    def __init__(self, scheme: Token, kind: Format) -> None:
        self._scheme = scheme
        self._tokens = secret_bytes(scheme.token)
        self._format = kind

    def verify(self, request: InboundRequest, *, now: datetime) -> None:  # noqa: ARG002  # a token knows no time
        """Return only if the token is right; else raise VerificationError and nothing else."""
        if not matches(self._given(request), self._tokens):
            raise VerificationError("the token is missing or wrong")

    def sign(self, request: InboundRequest, *, now: datetime, message_id: str) -> InboundRequest:  # noqa: ARG002  # Proof
        """Return the request with the first token in its place."""
        token, scheme = self._tokens[0].decode(), self._scheme
        headers, url, body = dict(request.headers), request.url, request.body
        if scheme.query is not None:
            url += f"{'&' if '?' in url else '?'}{quote(scheme.query, safe='')}={quote(token, safe='')}"
        elif scheme.field is not None:
            body = write_body(put(read_body(body, self._format), scheme.field.steps, token), self._format)
        elif scheme.header is not None:
            headers[scheme.header] = raw(scheme.prefix + token).decode("latin-1")
        else:
            headers["authorization"] = raw("Bearer " + token).decode("latin-1")
        return InboundRequest(request.method, url, headers, body)

    def redact(self, request: InboundRequest) -> InboundRequest:
        """Return the request without the token; raise ParseError for a body that cannot be read."""
        headers, url, body = dict(request.headers), request.url, request.body
        if self._scheme.header is not None:
            headers.pop(self._scheme.header, None)
        if self._scheme.query is not None:
            url = _without_parameter(url, self._scheme.query)
        if self._scheme.field is not None:
            body = body_without(body, self._format, self._scheme.field.keys)
        return InboundRequest(request.method, url, headers, body)

    def strip(self, document: Json) -> Json:
        """Return the document without the token."""
        return document if self._scheme.field is None else without(document, self._scheme.field.keys)

    def message_id(self, request: InboundRequest) -> str | None:  # noqa: ARG002  # the promise of Proof
        """Return None: a token names no message."""
        return None

    def _given(self, request: InboundRequest) -> list[bytes]:
        scheme = self._scheme
        if scheme.query is not None:
            return _parameters(request.url, scheme.query)
        if scheme.field is not None:
            return self._in_body(request, scheme.field)
        if scheme.bearer:
            kind, _, token = _wire(request, "authorization").partition(b" ")
            return [token.strip()] if kind.lower() == b"bearer" else []
        value, prefix = _wire(request, scheme.header or ""), raw(scheme.prefix)
        return [value[len(prefix) :]] if value.startswith(prefix) else []

    def _in_body(self, request: InboundRequest, field: Path) -> list[bytes]:
        try:
            value = field.get(read_body(request.body, self._format))
        except RequestError as error:
            raise VerificationError(f"the token cannot be read: {error.cause}") from None
        return [raw(value)] if isinstance(value, str) else []


def _wire(request: InboundRequest, name: str) -> bytes:
    """Return a header's own bytes, which need not be ASCII: tokens may be UTF-8. Raises VerificationError."""
    value = request.headers.get(name)
    if not value:
        raise VerificationError(f"the header {name} is missing")
    if len(value) > HEADER_MAX:
        raise VerificationError(f"the header {name} is longer than {HEADER_MAX} characters")
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        raise VerificationError(f"the header {name} was never on a wire") from None


def _parameters(url: str, name: str) -> list[bytes]:
    """Return what a query gives for a name, each both with + as a blank and as itself: not every sender encodes it."""
    query = url.partition("#")[0].partition("?")[2]
    if len(query) > HEADER_MAX or query.count("&") >= _PARAMETERS_MAX:
        raise VerificationError(f"the query is longer than {HEADER_MAX} characters or {_PARAMETERS_MAX} parameters")
    pairs = (part.partition("=") for part in query.split("&"))
    values = [value for key, _, value in pairs if unquote_plus(key) == name]
    return [raw(form(value)) for value in values for form in (unquote_plus, unquote)]


def _without_parameter(url: str, name: str) -> str:
    address, mark, query = url.partition("?")
    kept = "&".join(part for part in query.split("&") if unquote_plus(part.partition("=")[0]) != name)
    return address + mark + kept if kept else address
