"""The nouns: what passes between rooms, as frozen values that know nothing and decide nothing.

Fields that may hold contact values stay out of every ``repr``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from typing import Final, TypeAlias, Union

# A Union, because a quoted alias could not be joined by | at run time.
Json: TypeAlias = Union[bool, int, float, str, list["Json"], dict[str, "Json"], None]  # noqa: UP007
Record: TypeAlias = Mapping[str, Json]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Missing(Enum):
    """The value of a path that leads nowhere: absent is neither null nor blank."""

    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING


def to_micros(instant: datetime) -> int:
    """Whole microseconds since 1970-01-01T00:00Z of an aware instant, exact (no float on the way)."""
    return (instant - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC instant that ``to_micros`` made the number from."""
    return _EPOCH + timedelta(microseconds=micros)


class Action(StrEnum):
    """What the CRM says was done to the record."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    PRIVACY_DELETED = "privacy_deleted"
    MERGED = "merged"
    RESTORED = "restored"
    OTHER = "other"


class EventState(StrEnum):
    """Where an event stands. All but ``pending`` are ends, and each end carries its reason."""

    PENDING = "pending"
    DELIVERED = "delivered"
    MERGED = "merged"
    UNCHANGED = "unchanged"
    IGNORED = "ignored"
    DEAD = "dead"


class DeliveryState(StrEnum):
    """Where the duty to bring one contact up to date stands. A retry is ``pending`` with a later ``due_at``."""

    PENDING = "pending"
    LEASED = "leased"
    DELIVERED = "delivered"
    SKIPPED = "skipped"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, repr=False)
class InboundRequest:
    """The raw HTTP call, as the sender signed it.

    ``url`` is the full public URL: ``PUBLIC_URL`` and the raw path and query. ``headers`` have lower-case names and
    latin-1 text, repeated ones joined by ``", "``. ``body`` is what came over the wire, untouched.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"InboundRequest({self.method}, {len(self.body)} bytes, headers={sorted(self.headers)})"


@dataclass(frozen=True, slots=True)
class Reply:
    """What the sender is told, in its own dialect."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """One contact change parsed from a request, in our words whatever the CRM.

    ``object_id`` is always text (ids above 2^53 occur). ``changed_fields`` None means unknown, empty means none.
    ``values`` and ``previous`` hold present fields only: absent is not null and null is not blank.
    ``ignored`` names why the change does not concern contacts in ChartMogul; such a change is logged, not delivered.
    """

    dedup_key: str
    object_type: str
    object_id: str
    action: Action
    crm_event_id: str | None = None
    occurred_at: datetime | None = None
    changed_fields: tuple[str, ...] | None = None
    values: Record = field(default_factory=dict, repr=False)
    previous: Record | None = field(default=None, repr=False)
    merged_from: tuple[str, ...] = ()
    merged_into: str | None = None
    origin: str | None = None
    actor: str | None = None
    tenant: str | None = None
    attempt: int | None = None
    thin: bool = False
    ignored: str | None = None

    @property
    def order_key(self) -> int | None:
        """The sender's clock in microseconds since 1970, or None: then arrival orders the change."""
        return None if self.occurred_at is None else to_micros(self.occurred_at)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a mapped field's journey: what was done, and what it made of the value."""

    name: str
    value: Json = field(repr=False)


@dataclass(frozen=True, slots=True)
class Trace:
    """How one target field got its value, or why it got none.

    ``path`` is the path that was read (None for a constant), ``raw`` what stood there (MISSING where nothing did),
    ``result`` one of ``set``, ``clear``, ``skip``, ``fail``; ``reason`` says why for the last three.
    """

    target: str
    path: str | None
    raw: Json | Missing = field(repr=False)
    steps: tuple[Step, ...] = ()
    result: str = "set"
    value: Json = field(default=None, repr=False)
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a mapping makes of one change: target field → value (None clears), how, and what failed.

    A custom attribute's target is ``custom.<name>``. With any fault the event as a whole cannot be mapped.
    """

    fields: Record = field(repr=False)
    traces: tuple[Trace, ...] = ()
    faults: tuple[str, ...] = ()


class OutcomeKind(StrEnum):
    """What came of an attempt, in the words that ``retry`` decides by."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"
    SERVER_ERROR = "server_error"
    ACCOUNT_REFUSED = "account_refused"
    CONTACT_GONE = "contact_gone"
    REJECTED = "rejected"
    CONTACT_UNKNOWN = "contact_unknown"
    CONTACT_AMBIGUOUS = "contact_ambiguous"
    UNMAPPABLE = "unmappable"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came back from one attempt to bring a contact up to date.

    ``status`` is the HTTP status where there was an answer. ``detail`` is ChartMogul's own message, capped and free of
    the values that were sent. ``retry_after_s`` is what the answer asked for. ``answer`` is the contact as returned.
    """

    kind: OutcomeKind
    status: int | None = None
    detail: str = ""
    retry_after_s: float | None = None
    answer: Record | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A verified request on its way into the log: what may be kept of it, and the changes read in it."""

    source: str
    account: str
    received_at: datetime
    request: InboundRequest
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the log made of an arrival: how many of its changes were new, and how many it already had.

    ``request_id`` names the request in the log, None where nothing in it was new and so nothing of it is kept.
    """

    accepted: int
    duplicates: int
    request_id: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Event:
    """A change in the log. Events of one contact are ordered by ``order``: the sender's clock, then arrival."""

    id: int
    source: str
    received_at: datetime
    order_key: int
    change: Change

    @property
    def order(self) -> tuple[int, int]:
        """What newest wins goes by."""
        return (self.order_key, self.id)


@dataclass(frozen=True, slots=True)
class Link:
    """Which ChartMogul contact a CRM contact is, and how that was found."""

    contact_uuid: str
    found_by: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """The duty to bring one contact up to date, as claimed: ``fence`` proves that the lease is still held."""

    id: int
    account: str
    source: str
    object_id: str
    attempts: int
    failing_since: datetime | None
    relinked: bool
    fence: int
    outcome: str | None = None
    repeats: int = 0
    """How many of its latest tries ended in ``outcome``, without another between."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A field as ChartMogul last confirmed it, and the event that set it.

    ``certain`` is False where an attempt of unknown outcome may have changed it since: then the value proves nothing.
    ``order`` is (0, 0) and ``event_id`` None where the value was read from ChartMogul rather than set by us.
    """

    value: Json = field(repr=False)
    order: tuple[int, int] = (0, 0)
    event_id: int | None = None
    confirmed_at: datetime | None = None
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Disposition:
    """Where one event ends in this attempt, and why. ``by_event_id`` names the event it was merged into."""

    event_id: int
    state: EventState
    reason: str | None = None
    by_event_id: int | None = None


class Next(StrEnum):
    """What retry decided for a delivery."""

    DONE = "done"
    RETRY = "retry"
    RELINK = "relink"
    DEAD = "dead"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from an outcome.

    ``due_at`` says when to try again. ``slow_until`` holds every call of the account back, ``pause`` stops them until
    ChartMogul accepts the key again. ``hint`` tells a person what to do.
    """

    next: Next
    reason: str
    due_at: datetime | None = None
    slow_until: datetime | None = None
    pause: bool = False
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a delivery, as it goes into the log: field names, never their values."""

    started_at: datetime
    duration_ms: int
    outcome: Outcome
    contact_uuid: str | None = None
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conclusion:
    """Everything that one try at a delivery leaves in the log, written in one transaction.

    ``confirmed`` holds the contact's fields as they are known afterwards, ``uncertain`` the names of those that may
    yet change.
    """

    attempt: Attempt
    verdict: Verdict
    dispositions: tuple[Disposition, ...] = ()
    link: Link | None = None
    confirmed: Mapping[str, Confirmed] = field(default_factory=dict)
    uncertain: tuple[str, ...] = ()
    ignored_attributes: tuple[str, ...] = ()
    config_version: str | None = None
