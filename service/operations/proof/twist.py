"""One change to a captured request, its source or the time of its proof that may explain why the proof fails; pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from service.errors import RequestError, VerificationError
from service.model import InboundRequest
from service.operations.credentials import secrets_of
from service.sources.base import Source, Strict

RANK: Final = (
    "clock",
    "method",
    "public_url",
    "scheme",
    "host",
    "port",
    "path",
    "query",
    "form",
    "json",
    "line_end",
    "byte_order_mark",
    "charset",
    "header_name",
    "header_value",
    "prefix",
    "other_secret",
    "secret_blanks",
    "secret_encoding",
    "setting",
)
"""The names of causes, in the order in which two of them are applied: a body is written anew before its line ends."""


@dataclass(frozen=True, slots=True)
class Try:
    """A request as a source may prove it at a time."""

    source: Source[Any] = field(repr=False)
    request: InboundRequest
    now: datetime

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two tries the same."""
        request = self.request
        # Other credentials make another source; the representation of ``auth`` shows all of it but its secrets.
        source = type(self.source), repr(self.source.auth), tuple(secrets_of(self.source.auth))
        return source, request.method, request.url, frozenset(request.headers.items()), request.body, self.now

    def refusal(self) -> VerificationError | None:
        """Return why the source's own ``verify`` refuses it; None if it is proved."""
        try:
            self.source.verify(self.request, now=self.now)
        except VerificationError as error:
            return error
        return None

    def at(self, url: str) -> "Try":
        """Return the try with another address."""
        return replace(self, request=replace(self.request, url=url))

    def saying(self, body: bytes) -> "Try":
        """Return the try with another body."""
        return replace(self, request=replace(self.request, body=body))

    def told(self, headers: dict[str, str]) -> "Try":
        """Return the try with other headers."""
        return replace(self, request=replace(self.request, headers=headers))

    def proved_by(self, auth: Strict) -> "Try":
        """Return the try with other credentials; raise ValueError where they cannot be credentials."""
        return replace(self, source=self.source.proved_by(auth))


@dataclass(frozen=True, slots=True)
class Twist:
    """One likely cause: its name, what would be so if it were the cause, what to do then, and the change itself."""

    name: str
    says: str
    do: str
    change: Callable[[Try], Try] = field(repr=False)

    def apply(self, to: Try) -> Try | None:
        """Return the changed try; None where the change does not apply."""
        try:
            changed = self.change(to)
        except (ValueError, RequestError):  # no credentials, no text or no JSON comes of it
            return None
        return None if changed.key == to.key else changed


def taking_turns(twists: Iterator[Twist]) -> list[Twist]:
    """Put the likeliest of each cause before the second of any."""
    families: dict[str, list[Twist]] = {name: [] for name in RANK}
    for twist in twists:
        families[twist.name].append(twist)
    longest = max(map(len, families.values()))
    return [family[place] for place in range(longest) for family in families.values() if place < len(family)]
