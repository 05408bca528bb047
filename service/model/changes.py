"""What CRMs say: requests, the changes in them, and the events of the log that they become."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, IntEnum, StrEnum
from typing import Final, NamedTuple, TypeAlias, Union

# A Union, because a quoted alias could not be joined by | at run time.
Json: TypeAlias = Union[bool, int, float, str, list["Json"], dict[str, "Json"], None]  # noqa: UP007
Record: TypeAlias = Mapping[str, Json]

Order: TypeAlias = tuple[int, int]
"""What newest wins goes by: an event's order key, then its id, which rises with arrival."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


IMPORTED: Final = "import:"
"""What the dedup key of a change begins with that came from an export."""


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
    SHADOWED = "shadowed"
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


# A mapping makes a dozen traces of each change: named tuples take a quarter of the time that dataclasses do.
class Step(NamedTuple):
    """One step of a mapped field's journey: what was done, and what it made of the value."""

    name: str
    value: Json

    def __repr__(self) -> str:
        return f"Step({self.name!r})"


class Trace(NamedTuple):
    """How one target field got its value, or why it got none.

    ``path`` is the path that was read (None for a constant), ``raw`` what stood there (MISSING where nothing did),
    ``result`` one of ``set``, ``clear``, ``skip``, ``fail``; ``reason`` says why for the last three.
    """

    target: str
    path: str | None
    raw: Json | Missing
    steps: tuple[Step, ...] = ()
    result: str = "set"
    value: Json = None
    reason: str | None = None

    def __repr__(self) -> str:
        return f"Trace({self.target!r}, {self.rule!r}, {self.result!r}, reason={self.reason!r})"

    @property
    def rule(self) -> str:
        """How the value was made, without any value: ``emails[?primary].value | trim | lower``."""
        return " | ".join([self.path or "const", *(step.name for step in self.steps)])


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a mapping makes of one change: target field → value (None clears), how, and what failed.

    A custom attribute's target is ``custom.<name>``. With any fault the event as a whole cannot be mapped.
    ``order_keys`` names the fields that are of another time than the event, such as those of a record read back since.
    """

    fields: Record = field(repr=False)
    traces: tuple[Trace, ...] = ()
    faults: tuple[str, ...] = ()
    order_keys: Mapping[str, int] = field(default_factory=dict)


class Priority(IntEnum):
    """What goes first when several deliveries of an account are due."""

    LIVE = 0
    REPLAY = 1
    IMPORT = 2


@dataclass(frozen=True, slots=True)
class Settle:
    """How long a delivery waits for further changes of its contact: ``window`` after each, ``longest`` in all."""

    window: timedelta = timedelta(0)
    longest: timedelta = timedelta(0)


AT_ONCE: Final = Settle()
"""The usual: a change is delivered as soon as it can be."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A verified request on its way into the log: what may be kept of it, and the changes read in it."""

    source: str
    account: str
    received_at: datetime
    request: InboundRequest
    changes: tuple[Change, ...]
    settle: Settle = AT_ONCE
    priority: Priority = Priority.LIVE


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
    """A change in the log. Events of one contact are ordered by ``order``: the sender's clock, then arrival.

    ``replay_version`` names the configuration that a replay asked for, None for the present one. ``replayed`` says that
    it had ended before.
    """

    id: int
    source: str
    received_at: datetime
    order_key: int
    change: Change
    replay_version: str | None = None
    replayed: bool = False

    @property
    def live(self) -> bool:
        """Say whether the CRM just told it, and it is the first time that it is mapped to an end."""
        return not self.replayed and not self.change.dedup_key.startswith(IMPORTED)

    @property
    def order(self) -> Order:
        """What newest wins goes by."""
        return (self.order_key, self.id)
