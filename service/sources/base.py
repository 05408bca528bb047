"""What every source shares: its promise, how secrets are given and proved, how untrusted text becomes an id."""

import base64
import hashlib
import hmac
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Generic, Self, TypeVar
from urllib.parse import unquote, unquote_plus

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from service.errors import ParseError, TooLarge, VerificationError
from service.model import AT_ONCE, Action, Change, InboundRequest, Json, Record, Reply, Settle, to_micros
from service.times import parse_instant

DEPTH_MAX: Final = 64
"""Nesting of a JSON body, in arrays and objects."""
EVENTS_MAX: Final = 500
"""Changes in one request."""
EVENT_BYTES_MAX: Final = 256 * 1024
"""Serialised values of one change."""
IDENTIFIER_MAX: Final = 255
"""Characters of a CRM's id; longer dedup keys are hashed instead."""
SECRETS_MAX: Final = 8
"""Secrets that count at the same time."""
HEADER_MAX: Final = 8192
"""Characters of a header or query that a proof is read from."""
PARAMETERS_MAX: Final = 100
"""Parameters of a query that a proof is read from."""
TOLERANCE_S: Final = 300
"""How far a signed time may be from ours, either way, where the CRM does not say otherwise."""

IGNORED: Final = {
    Action.DELETED: "deleted in the CRM",
    Action.PRIVACY_DELETED: "privacy deletion in the CRM",
    Action.MERGED: "merged in the CRM",
    Action.RESTORED: "restored in the CRM",
}
"""Why a change that only moves a record about does not concern its contact in ChartMogul."""

_CREDENTIAL_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
_JSON_HEADERS: Final = {"content-type": "application/json"}
_DETAIL: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,100}")
_ATTEMPT_MAX: Final = 1_000_000
_MICROS_PER_S: Final = 1_000_000
_DIGITS_MAX: Final = 19
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A JSON string, or all that follows where one has no end: possessive and never in vain, so that it is read once."""
_OPENING: Final = b"{["
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"{}[]")


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str | SecretStr) else value


def _not_blank(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().strip():
        raise ValueError("a secret must not be blank")
    return secret


Secret = Annotated[SecretStr, AfterValidator(_not_blank), Field(description="A secret; write it as ${NAME}.")]
_SecretList = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(_not_blank)], ...], Field(min_length=1, max_length=SECRETS_MAX)
]
Secrets = Annotated[
    _SecretList,
    BeforeValidator(_as_list, json_schema_input_type=SecretStr | _SecretList),
    Field(description="One secret, or a list of them while they are rotated."),
]


class Strict(BaseModel):
    """A part of the configuration: unknown keys are refused, and no error ever shows an input."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class BasicAuth(Strict):
    """HTTP Basic, as the CRM was given it."""

    username: Annotated[
        str,
        Field(pattern=r"^[^:\x00-\x1f\x7f]+$", max_length=255, description="The user name; it cannot hold a colon."),
    ]
    password: Secrets


class BasicProof:
    """HTTP Basic by RFC 7617 in UTF-8: user name and password are each compared in constant time."""

    def __init__(self, auth: BasicAuth) -> None:
        self._username = auth.username.encode()
        self._passwords = secret_bytes(auth.password)

    def verify(self, request: InboundRequest) -> None:
        """Return only if the credentials are right for one of the passwords; else raise VerificationError."""
        scheme, _, credentials = header(request, "authorization").partition(" ")
        if scheme.lower() != "basic":
            raise VerificationError("the authorization header is not HTTP Basic")
        try:
            username, _, password = base64.b64decode(credentials.strip(), validate=True).partition(b":")
        except ValueError:
            raise VerificationError("the HTTP Basic credentials are not base64") from None
        known = hmac.compare_digest(username, self._username)
        if not (matches([password], self._passwords) & known):
            raise VerificationError("the user name or password is wrong")

    def sign(self) -> dict[str, str]:
        """Return the header that a sender with the first password adds."""
        credentials = base64.b64encode(self._username + b":" + self._passwords[0]).decode()
        return {"authorization": f"Basic {credentials}"}


@dataclass(frozen=True, slots=True)
class Sample:
    """A made-up change of one person, from which each source makes what its CRM would send."""

    object_id: str
    event_id: str
    at: datetime
    fields: Record = field(repr=False)
    """Some of first_name, last_name, email, phone, title; other keys become the CRM's own custom fields."""
    previous: Record = field(default_factory=dict, repr=False)
    created: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """Where things stand in a record that the CRM's API or an export of it gives: paths, None for none."""

    object_id: str = "id"
    updated_at: str | None = None
    values: str | None = None
    """Where the record's fields are; None: the record itself."""


AuthT = TypeVar("AuthT", bound=Strict)


class Source(ABC, Generic[AuthT]):
    """A configured CRM connection: proves who sent a request, and reads the changes in it. Pure: no clock, no I/O.

    ``auth`` None means that the operator accepted unauthenticated webhooks in so many words.
    """

    preset: ClassVar[str]
    Auth: ClassVar[type[Strict]]
    """What stands under ``auth`` in the configuration."""
    Parse: ClassVar[type[Strict] | None] = None
    """What stands under ``parse``, for presets that need it."""
    usual_email: ClassVar[str | None] = None
    """Where a record has its email; ``resolve`` may then be left out."""
    usual_mapping: ClassVar[Record] = {}
    """What a record's standard fields become, as a mapping without custom attributes; a source's own goes over it."""
    exported: ClassVar[Exported] = Exported()
    """Where things stand in a record to import."""
    leaves_out_empty: ClassVar[bool] = False
    """Whether a whole record may lack the fields that are empty, so that one that is absent need not be gone."""
    usual_settle: ClassVar[Settle] = AT_ONCE
    """How long further changes of a contact are waited for, where the configuration does not say."""

    def __init__(self, name: str, auth: AuthT | None, parse: Strict | None = None) -> None:
        self.name = name
        self.auth = auth
        self._configured_parse = parse

    def proved_by(self, auth: AuthT) -> Self:
        """Return the same source with other credentials; raise ValueError where they cannot be credentials."""
        return type(self)(self.name, auth, self._configured_parse)

    def reads_as(self, other: "Source[Any]") -> bool:
        """Say whether both read the same changes in every request."""
        return type(self) is type(other) and self._configured_parse == other._configured_parse  # noqa: SLF001  # its own

    @property
    def signs_url(self) -> bool:
        """Say whether the proof covers the address that the CRM was given, so that it must be known."""
        return False

    @abstractmethod
    def verify(self, request: InboundRequest, *, now: datetime) -> None:
        """Return only if the request is proved to come from the CRM; else raise VerificationError and nothing else."""

    @abstractmethod
    def parse(self, request: InboundRequest) -> tuple[Change, ...]:
        """Read the changes of a verified request, in the sender's order; raise ParseError or TooLarge, nothing else.

        The order is that of the request, or of the sender's clock where its own requests do not keep to it.
        """

    @abstractmethod
    def sample(self, sample: Sample, *, url: str, now: datetime) -> InboundRequest:
        """Make the request that this CRM would send for the sample change, correctly signed."""

    def record_id(self, text: str) -> str:
        """Return a record's id as the events name it, where an export may write it in another way."""
        return text

    def redact(self, request: InboundRequest) -> InboundRequest:
        """Take every credential out of a request, so that it may be kept and parsed again."""
        kept = {name: value for name, value in request.headers.items() if name not in _CREDENTIAL_HEADERS}
        return InboundRequest(request.method, request.url, kept, request.body)

    def accept(self, *, accepted: int, duplicates: int) -> Reply:
        """Tell the sender that its changes are safe."""
        return Reply(200, _JSON_HEADERS, b'{"accepted":%d,"duplicates":%d}' % (accepted, duplicates))

    def refuse(self, status: int) -> Reply | None:  # noqa: ARG002  # for CRMs that must be told in their own dialect
        """Tell the sender that nothing of its request was kept; None to tell it as everybody else is told."""
        return None

    def handshake(self, request: InboundRequest) -> Reply | None:  # noqa: ARG002  # for CRMs that shake hands
        """Answer a request that only asks whether somebody is here, before any proof; None where it is no such.

        Raises nothing, whatever the request.
        """
        return None


def secret_bytes(secrets: Secrets) -> tuple[bytes, ...]:
    """Return the secrets as they are compared: UTF-8."""
    return tuple(secret.get_secret_value().encode() for secret in secrets)


def raw(text: str) -> bytes:
    """Return a method, URL or header as UTF-8, whatever a stranger put in it."""
    return text.encode("utf-8", "surrogatepass")


def header(request: InboundRequest, name: str) -> str:
    """Return a header that proves something: there, ASCII, at most 8192 characters. Raises VerificationError."""
    value = request.headers.get(name)
    if not value:
        raise VerificationError(f"the header {name} is missing")
    if len(value) > HEADER_MAX:
        raise VerificationError(f"the header {name} is longer than {HEADER_MAX} characters")
    if not value.isascii():
        raise VerificationError(f"the header {name} is not ASCII")
    return value


def query_values(url: str, name: str) -> list[bytes]:
    """Return what a query gives for a name, each both with + as a blank and as itself: not every sender encodes it.

    Raises VerificationError past 8192 characters or 100 parameters.
    """
    query = url.partition("#")[0].partition("?")[2]
    if len(query) > HEADER_MAX or query.count("&") >= PARAMETERS_MAX:
        raise VerificationError(f"the query is longer than {HEADER_MAX} characters or {PARAMETERS_MAX} parameters")
    pairs = (part.partition("=") for part in query.split("&"))
    values = [value for key, _, value in pairs if unquote_plus(key) == name]
    return [raw(form(value)) for value in values for form in (unquote_plus, unquote)]


def without_query(url: str, name: str) -> str:
    """Return the address without a parameter of its query, however often it is there."""
    address, mark, query = url.partition("?")
    kept = "&".join(part for part in query.split("&") if unquote_plus(part.partition("=")[0]) != name)
    return address + mark + kept if kept else address


def whole_number(text: str, what: str) -> int:
    """Return a time as the sender wrote it, in plain digits. Raises VerificationError."""
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise VerificationError(f"{what} is not a whole number")
    return int(text)


def fresh(sent_us: int, *, now: datetime, tolerance_s: int = TOLERANCE_S) -> None:
    """Return only if a signed time is near enough to ``now``, before or after; else raise VerificationError."""
    age_us = to_micros(now) - sent_us
    if abs(age_us) > tolerance_s * _MICROS_PER_S:
        where = "in the past" if age_us > 0 else "in the future"
        raise VerificationError(
            f"the signed time is more than {tolerance_s} s {where}",
            hint="a replay, or one of the two clocks is wrong",
        )


def matches(given: Iterable[bytes], expected: Iterable[bytes]) -> bool:
    """Say whether anything given is anything expected: in constant time each, and without stopping at the first."""
    found = False
    wanted = tuple(expected)
    for one in given:
        for other in wanted:
            found |= hmac.compare_digest(one, other)
    return found


def read_json(body: bytes) -> Json:
    """Parse a JSON body strictly: UTF-8, no NaN, no lone surrogates, at most 64 deep. Raises ParseError."""
    # A text with at most 64 opening brackets cannot be deeper, so the usual body is never walked.
    deep = body.count(b"{") + body.count(b"[") > DEPTH_MAX
    try:
        if deep and _depth_exceeds(body):
            raise ParseError(f"JSON deeper than {DEPTH_MAX} levels")
        document: Json = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ParseError(f"the body is not JSON (at character {error.pos})", hint="send UTF-8 JSON") from None
    return document


def _depth_exceeds(body: bytes) -> bool:
    """Say whether brackets outside strings nest past the limit, before any parser recurses over them."""
    depth = 0
    for bracket in _STRING.sub(b"", body).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in _OPENING else -1
        if depth > DEPTH_MAX:
            return True
    return False


def mapping_at(value: Json, what: str) -> dict[str, Json]:
    """Return the value if it is a JSON object; raise ParseError naming ``what`` otherwise."""
    if not isinstance(value, dict):
        raise ParseError(f"{what} is not an object")
    return value


def identifier(value: Json, what: str) -> str:
    """Return an id as text: whole numbers and plain text only, 1 to 255 characters. Raises ParseError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise ParseError(f"{what} is missing or not an id")
    if len(value) > IDENTIFIER_MAX or not value.isprintable():
        raise ParseError(f"{what} is longer than {IDENTIFIER_MAX} characters or has control characters")
    return value


def optional_identifier(value: Json, what: str) -> str | None:
    """Return None for null and blank, else as ``identifier``."""
    return None if value is None or value == "" else identifier(value, what)


def detail(value: Json) -> str | None:
    """Return a number or short word as text, None for anything else: a side fact must not cost the change.

    Letters, digits and ``_.:/-`` only, so that what is logged of it cannot be an email address or a sentence.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and _DETAIL.fullmatch(value) else None


def attempt_number(value: Json) -> int | None:
    """Return the sender's count of attempts, None if it is anything but a small whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= _ATTEMPT_MAX else None


def instant(value: Json, what: str) -> datetime | None:
    """Return a time of the sender's clock in UTC, None for null and blank. Raises ParseError."""
    if value is None or value == "":
        return None
    try:
        return parse_instant(value)
    except ValueError:
        raise ParseError(f"{what} is not a time") from None


def dedup_key(*parts: str) -> str:
    """Join the parts that make a change unique within its source; hashed where that is longer than a column."""
    key = "|".join(parts)
    return key if len(key) <= IDENTIFIER_MAX else "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def within_limits(changes: Sequence[Change], body_size: int) -> tuple[Change, ...]:
    """Return the changes of one request if they keep to 500, and each to 256 KiB; raise TooLarge otherwise."""
    if len(changes) > EVENTS_MAX:
        raise TooLarge(f"{len(changes)} changes in one request; at most {EVENTS_MAX}")
    if body_size > EVENT_BYTES_MAX:
        for change in changes:
            if len(orjson.dumps([change.values, change.previous])) > EVENT_BYTES_MAX:
                raise TooLarge(f"one change is larger than {EVENT_BYTES_MAX} bytes")
    return tuple(changes)
