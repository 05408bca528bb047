"""The exception tree. Every error has a name, a cause for people and a hint what to do.

ServiceError
├── ConfigError                the environment or the configuration file is not usable; carries every fault
├── RequestError               a webhook request is refused; nothing is logged but the refusal
│   ├── UnknownSource          no source of that name is configured
│   ├── TooLarge               body, header or batch past its limit
│   ├── VerificationError      the sender could not be proved
│   └── ParseError             proved, but not the shape the preset promises
│       └── UnsupportedVersion the sender speaks a version that is refused by name
├── DeliveryError              a contact cannot be brought up to date; carries the outcome
├── Postponed                  a call to ChartMogul must wait longer than is waited for; carries until when
├── StoreError                 the log cannot do what was asked
│   ├── StoreUnavailable       the database does not answer, is full, locked or read-only; try again
│   └── Overloaded             more waits for the log than the limit allows; try again
├── NotFound                   an operator asked for something that is not there
└── AccessDenied               the admin API was asked without its token

Texts name ids, fields and limits, never a contact value or a secret.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from service.model import Outcome


class ServiceError(Exception):
    """Anything this program raises on purpose."""

    name: ClassVar[str] = "error"

    def __init__(self, cause: str, *, hint: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with the configuration: where, what was found, what is allowed.

    ``where`` is ``file:line:column`` or ``environment``. ``path`` is the key or setting, blank for a file as a whole.
    ``nearest`` is the right name closest to a wrong one.
    """

    where: str
    path: str
    found: str
    allowed: str
    nearest: str | None = None

    def __str__(self) -> str:
        place = f"{self.where}: {self.path}" if self.path else self.where
        line = f"{place}: found {self.found}; allowed: {self.allowed}"
        return f"{line}; did you mean {self.nearest!r}?" if self.nearest else line


class ConfigError(ServiceError):
    """The environment or the configuration file is not usable. ``faults`` holds every one of them, in file order."""

    name = "config_error"

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        count = len(faults)
        super().__init__(f"{count} fault{'s' if count != 1 else ''} in the configuration")
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join([self.cause, *(f"  {fault}" for fault in self.faults)])


class RequestError(ServiceError):
    """A webhook request is refused."""

    name = "request_refused"


class UnknownSource(RequestError):
    """No source of that name is configured."""

    name = "unknown_source"


class TooLarge(RequestError):
    """The body, the headers or the batch is past its limit."""

    name = "too_large"


class VerificationError(RequestError):
    """The sender could not be proved. The cause is for the operator; the sender learns nothing."""

    name = "not_verified"


class ParseError(RequestError):
    """The sender is proved, but the request has not the shape that the preset promises."""

    name = "malformed"


class UnsupportedVersion(ParseError):
    """The sender speaks a version of its protocol that is refused by name."""

    name = "unsupported_version"


class DeliveryError(ServiceError):
    """A contact cannot be brought up to date now. ``outcome`` is what retry decides by."""

    name = "delivery_error"

    def __init__(self, outcome: Outcome, *, hint: str = "") -> None:
        super().__init__(outcome.detail or outcome.kind.value, hint=hint)
        self.outcome = outcome


class Postponed(ServiceError):
    """A call to ChartMogul must wait longer than is waited for. Nothing was sent; ``until`` says when to come back."""

    name = "postponed"

    def __init__(self, until: datetime) -> None:
        super().__init__("the account's calls are held back", hint="it is tried again by itself")
        self.until = until


class StoreError(ServiceError):
    """The log cannot do what was asked."""

    name = "store_error"


class StoreUnavailable(StoreError):
    """The database does not answer, is full, locked or read-only. Nothing was stored; try again."""

    name = "store_unavailable"


class Overloaded(StoreError):
    """More waits for the log than the limit allows. Nothing was stored; try again."""

    name = "overloaded"


class NotFound(ServiceError):
    """An operator asked for something that is not there."""

    name = "not_found"


class AccessDenied(ServiceError):
    """Somebody asked for what only an operator may see or do. The cause says nothing of the right token."""

    name = "access_denied"
