"""What is owed to ChartMogul and what came of it: deliveries, attempts, and what is known of each contact."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from service.model.changes import AT_ONCE, Event, EventState, Json, Order, Record, Settle


class DeliveryState(StrEnum):
    """Where the duty to bring one contact up to date stands. A retry is ``pending`` with a later ``due_at``."""

    PENDING = "pending"
    LEASED = "leased"
    DELIVERED = "delivered"
    SKIPPED = "skipped"
    DEAD = "dead"


class Deliver(StrEnum):
    """What a source's changes come to: a PATCH, or only the record of what would have been sent."""

    LIVE = "live"
    SHADOW = "shadow"


class OutcomeKind(StrEnum):
    """What came of an attempt, in the words that ``retry`` decides by."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    SHADOWED = "shadowed"
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
    CRM_UNREACHABLE = "crm_unreachable"
    CRM_RATE_LIMITED = "crm_rate_limited"
    CRM_REFUSED = "crm_refused"
    CRM_REJECTED = "crm_rejected"
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
class Link:
    """Which ChartMogul contact a CRM contact is, and how that was found."""

    contact_uuid: str
    found_by: str


@dataclass(frozen=True, slots=True)
class Owed:
    """What a delivery is about: its pending events in arrival order, its link, and whether that contact is in doubt.

    In doubt is a contact that may have taken on an older value since; see ``Doubt``.
    """

    events: tuple[Event, ...]
    link: Link | None
    in_doubt: bool = False


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
    order: Order = (0, 0)
    event_id: int | None = None
    confirmed_at: datetime | None = None
    certain: bool = True
    attempt_id: int | None = None
    """The attempt that confirmed it; filled in when that is recorded."""
    rule: str | None = None
    """How the mapping made the value: the path and the steps, without any value."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A value that a PATCH carries or carried, and the order of the event that set it."""

    value: Json = field(repr=False)
    order: Order = (0, 0)


@dataclass(frozen=True, slots=True)
class Doubt:
    """Values that a contact may take on until a certain instant, whatever is confirmed before.

    A PATCH that nobody saw answered may land late, over a newer one. Where a field was confirmed with a newer value,
    that is sent again once ``until`` has come.
    """

    until: datetime
    fields: Mapping[str, Carried]


@dataclass(frozen=True, slots=True)
class Shadowed:
    """A field as sources in shadow mode would have left it, and the event that would have set it.

    ``sent`` is False where the contact held the value already, so that only its order would have moved on.
    """

    value: Json = field(repr=False)
    order: Order
    event_id: int | None
    at: datetime
    rule: str | None = None
    sent: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a ChartMogul contact: its fields as last confirmed, and the doubts about them.

    ``shadow`` is what sources in shadow mode would have made of it; None where none has been at it, empty where what
    they would have sent goes out now.
    """

    fields: Mapping[str, Confirmed] = field(default_factory=dict)
    doubts: tuple[Doubt, ...] = ()
    shadow: Mapping[str, Shadowed] | None = None


NOTHING_KNOWN: Final = Known()
"""Of a contact that was never held."""


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
    SHADOW = "shadow"


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
    have changed without a word. ``doubts`` are those that remain, in the place of ``doubts_seen``; ``again_at`` is when
    confirmed values must be sent once more because of them. ``email`` is the contact's as ChartMogul just returned it,
    None where it returned nothing. ``shadowed`` is what the try would have sent or left as it is, None where it was for
    sending.
    """

    attempt: Attempt
    verdict: Verdict
    dispositions: tuple[Disposition, ...] = ()
    link: Link | None = None
    confirmed: Mapping[str, Confirmed] = field(default_factory=dict)
    uncertain: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    doubts_seen: tuple[Doubt, ...] = ()
    again_at: datetime | None = None
    settle: Settle = AT_ONCE
    """How long the delivery waits for further changes where one came during the try: it is in a burst."""
    email: str | None = field(default=None, repr=False)
    ignored_attributes: tuple[str, ...] = ()
    seen_attributes: tuple[str, ...] = ()
    """The custom attributes of the contact as ChartMogul just returned it."""
    config_version: str | None = None
    shadowed: Mapping[str, Shadowed] | None = None
