"""What every CRM's read-back says of itself: where its API is, what to ask it, and how to read the answer; pure."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, ClassVar, Final, Generic, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from service.model import Json, Record

_THIS_MACHINE: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class ReadError(Exception):
    """An answer is not what the CRM's documentation promises. The text names places, never a value."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call to a CRM's API, below its fixed host and without credentials. ``path`` is percent-encoded already."""

    method: Literal["GET", "POST"]
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Record | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Reading:
    """A record as its CRM has it: its fields laid out as in the source's events, and of when that is."""

    values: Record = field(repr=False)
    updated_at: datetime | None = None
    """The record's own time of its last change; None where the CRM tells none: then the time of the read counts."""


@dataclass(frozen=True, slots=True)
class Grant:
    """How an access token is got: a form that is posted to a fixed https address (OAuth 2.0, RFC 6749)."""

    url: str
    form: Mapping[str, str] = field(repr=False)


def _on_this_machine(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.hostname not in _THIS_MACHINE or url.rstrip("/") != f"http://{parts.netloc}" or "@" in parts.netloc:
        raise ValueError("a base_url is for trying things on this machine: http://127.0.0.1:PORT")
    if parts.port == 0:  # where it is no number at all, asking for it is a ValueError
        raise ValueError("the port of base_url is not one")
    return url.rstrip("/")


def _fit_for_a_header(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a token has no blanks, line ends or letters beyond ASCII: it goes into a header")
    return token


class ReadBackSpec(BaseModel):
    """What stands under ``read_back``: each CRM adds its credentials, and what chooses among its hosts."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: Annotated[
        str | None,
        Field(description="Only to try things on this machine; the CRM's own host is known."),
        AfterValidator(_on_this_machine),
    ] = None


class TokenSpec(ReadBackSpec):
    """A token that lasts until it is revoked."""

    token: Annotated[
        SecretStr,
        Field(min_length=1, description="The API token; write it as ${NAME}."),
        AfterValidator(_fit_for_a_header),
    ]


SpecT = TypeVar("SpecT", bound=ReadBackSpec)


class Reader(ABC, Generic[SpecT]):
    """One CRM's way to give contact records by their ids. Pure: it asks and understands, the client does the calls.

    A call's answer that is 404 or 410 means that all its records are gone, once anything else was answered there, a
    probe say; other refusals are the client's business.
    """

    preset: ClassVar[str]
    Spec: ClassVar[type[ReadBackSpec]]
    batch_max: ClassVar[int] = 1
    """Records of one call."""
    rate_per_s: ClassVar[float]
    """Calls a second, well below what the CRM allows."""
    parallel: ClassVar[int] = 4
    """Calls under way at once."""

    def __init__(self, spec: SpecT) -> None:
        self.spec = spec

    @property
    @abstractmethod
    def host(self) -> str:
        """The CRM's own address: ``https://HOST``, without path."""

    @property
    def grant(self) -> Grant | None:
        """How an access token is got, None where the configured token is one."""
        return None

    def headers(self, token: str) -> Mapping[str, str]:
        """Return the headers that prove us."""
        return {"authorization": f"Bearer {token}"}

    @abstractmethod
    def call(self, object_ids: Sequence[str], fields: Sequence[str]) -> Call:
        """Ask for records by their ids (1 to ``batch_max``), with at least the fields of those names at their root."""

    @abstractmethod
    def read(self, document: Json, object_ids: Sequence[str]) -> Mapping[str, Reading]:
        """Return the records of an answer by id; one that is not there is gone. Raises ReadError, nothing else.

        ``document`` is the answer's JSON, None where a successful answer had no body.
        """

    def probe(self) -> Call | None:
        """Return a call that only tells whether the credentials work, None where the CRM has none."""
        return None
