"""The tables of the log, the same on SQLite and PostgreSQL; imported by the store and its migrations alone."""

from datetime import datetime
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

from service.model import from_micros, to_micros


class Instant(TypeDecorator[datetime]):
    """An aware UTC instant, stored as whole microseconds since 1970: exact, sortable and cheap on both engines."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Turn an aware instant into microseconds."""
        del dialect
        return None if value is None else to_micros(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Turn microseconds into an aware UTC instant."""
        del dialect
        return None if value is None else from_micros(value)


class Words(TypeDecorator[str]):
    """Text that may repeat what another system said. NUL is shown: it is valid in JSON and unknown to PostgreSQL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Put the symbol in the place of the character."""
        del dialect
        return None if value is None else value.replace("\x00", "\N{SYMBOL FOR NULL}")


# SQLite numbers rows by itself only where the key is spelled INTEGER.
_Id: Final = BigInteger().with_variant(Integer, "sqlite")

OPEN: Final = "state IN ('pending', 'leased')"
"""The delivery is still owed. Literal, because a partial index is only found by its own words."""

NAMED: Final = "by_event_id IS NOT NULL"
"""The event ended by another one."""

SHADOWED: Final = "state = 'shadowed'"
"""The event waits for its source to go live."""

SHADOW_OWES: Final = "shadow IS NOT NULL AND doubts IS NOT NULL"
"""A contact in doubt that shadow mode has been at."""

metadata = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s"}
)

requests = Table(
    "requests",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("source", String(63), nullable=False),
    Column("received_at", Instant, nullable=False),
    # The request without its credentials, compressed; null once it has aged out or was erased.
    Column("raw", LargeBinary),
)

events = Table(
    "events",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("source", String(63), nullable=False),
    Column("dedup_key", String(255), nullable=False),
    Column("request_id", BigInteger, nullable=False),
    Column("account", String(63), nullable=False),
    Column("object_type", String(255), nullable=False),
    Column("object_id", String(255), nullable=False),
    Column("action", String(20), nullable=False),
    Column("crm_event_id", String(255)),
    Column("occurred_at", Instant),
    Column("order_key", BigInteger, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("state", String(10), nullable=False),
    Column("reason", Words),
    Column("decided_at", Instant),
    Column("delivery_id", BigInteger),
    Column("attempt_id", BigInteger),
    # The event that overtook this one, or that its values went out with.
    Column("by_event_id", BigInteger),
    Column("config_version", String(12)),
    # The version of the configuration that a replay asks for; null means the present one.
    Column("replay_version", String(12)),
    # The change itself; null once it has aged out or was erased.
    Column("change", LargeBinary),
    UniqueConstraint("source", "dedup_key"),
    Index(None, "source", "object_id", "state"),
    Index(None, "delivery_id"),
    # Who overtook another is kept as long as that other is.
    Index("ix_events_by_event_id", "by_event_id", sqlite_where=text(NAMED), postgresql_where=text(NAMED)),
    Index("ix_events_shadowed", "source", "id", sqlite_where=text(SHADOWED), postgresql_where=text(SHADOWED)),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("account", String(63), nullable=False),
    Column("source", String(63), nullable=False),
    Column("object_id", String(255), nullable=False),
    Column("state", String(10), nullable=False),
    # 0 for what a CRM sends now; replays and then imports wait behind it.
    Column("priority", Integer, nullable=False, server_default=text("0")),
    Column("opened_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    # Until when, at the latest, further changes may put it off.
    Column("settled_by", Instant),
    # For how long each further change puts it off, in microseconds, where it was met in the middle of a burst.
    Column("settle_us", BigInteger, nullable=False, server_default=text("0")),
    Column("changes", Integer, nullable=False, server_default=text("1")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("failing_since", Instant),
    # True once its link was forgotten after a 404, so that this happens once.
    Column("relinked", Boolean, nullable=False, server_default=text("false")),
    Column("lease_owner", String(63)),
    Column("lease_until", Instant),
    # Raised by every claim: who holds an older number has lost the lease.
    Column("fence", BigInteger, nullable=False, server_default=text("0")),
    # Leases lost in a row: what ends the process each time must not be tried without an end.
    Column("lost", Integer, nullable=False, server_default=text("0")),
    Column("contact_uuid", String(40)),
    Column("outcome", String(20)),
    # How many of the latest tries ended in this outcome.
    Column("repeats", Integer, nullable=False, server_default=text("0")),
    Column("reason", Words),
    Column("closed_at", Instant),
    Index(
        "uq_deliveries_open",
        "source",
        "object_id",
        unique=True,
        sqlite_where=text(OPEN),
        postgresql_where=text(OPEN),
    ),
    Index(None, "state", "account", "priority", "due_at"),
    # What is owed the longest is asked for by every look at health.
    Index("ix_deliveries_open_at", "opened_at", sqlite_where=text(OPEN), postgresql_where=text(OPEN)),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("delivery_id", BigInteger, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("contact_uuid", String(40)),
    Column("outcome", String(20), nullable=False),
    Column("status", Integer),
    Column("detail", Words),
    # Names of the fields it carried, as a JSON array.
    Column("fields", Text, nullable=False),
    Index(None, "delivery_id"),
)

links = Table(
    "links",
    metadata,
    Column("source", String(63), primary_key=True),
    Column("object_id", String(255), primary_key=True),
    Column("account", String(63), nullable=False),
    Column("contact_uuid", String(40), nullable=False),
    Column("found_by", Text, nullable=False),
    Column("found_at", Instant, nullable=False),
    Index(None, "contact_uuid"),
)

contacts = Table(
    "contacts",
    metadata,
    Column("account", String(63), primary_key=True),
    Column("uuid", String(40), primary_key=True),
    # As ChartMogul last returned it, in lower case, so that a person can be asked for by it.
    Column("email", String(320)),
    # Target field → value last confirmed, its order key, event, time, attempt and rule, as JSON.
    Column("fields", LargeBinary, nullable=False),
    # The delivery whose PATCH may be under way, until when, and the fields it may carry.
    Column("held_by", BigInteger),
    Column("held_until", Instant),
    Column("intent", Text),
    # Values that the contact may yet take on against our will, each until when, as JSON.
    Column("doubts", Text),
    # Target field → what a source in shadow mode would have sent, with its order, event and rule, as JSON.
    Column("shadow", LargeBinary),
    Column("updated_at", Instant, nullable=False),
    Index(None, "held_by"),
    Index(None, "email"),
    Index(
        "ix_contacts_shadow_owes",
        "account",
        "uuid",
        sqlite_where=text(SHADOW_OWES),
        postgresql_where=text(SHADOW_OWES),
    ),
)

accounts = Table(
    "accounts",
    metadata,
    Column("name", String(63), primary_key=True),
    # The earliest instant of the next call that keeps to the rate.
    Column("next_call_at", Instant, nullable=False),
    Column("slowed_until", Instant),
    Column("slowed_reason", Words),
    # The share of its rate that was left to it when it was last told to slow down; it grows back with time.
    Column("share", Float, nullable=False, server_default=text("1")),
    Column("share_at", Instant),
    Column("paused_at", Instant),
    Column("paused_reason", Words),
    # A person's pause ends by a person; that of a refused key by itself.
    Column("paused_by_hand", Boolean, nullable=False, server_default=text("false")),
)

configurations = Table(
    "configurations",
    metadata,
    Column("version", String(12), primary_key=True),
    Column("first_used_at", Instant, nullable=False),
    # What each source did with a change: its filter and its mapping, as JSON.
    Column("rules", LargeBinary, nullable=False),
)

source_marks = Table(
    "source_marks",
    metadata,
    Column("source", String(63), primary_key=True),
    Column("received_at", Instant),
    Column("refused_at", Instant),
    Column("refused", BigInteger, nullable=False, server_default=text("0")),
)

refusals = Table(
    "refusals",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("refused_at", Instant, nullable=False),
    Column("source", String(63), nullable=False),
    Column("reason", Words, nullable=False),
    Column("header_names", Words, nullable=False),
    Column("size", Integer, nullable=False),
)

ignored_attributes = Table(
    "ignored_attributes",
    metadata,
    Column("account", String(63), primary_key=True),
    Column("attribute", Text, primary_key=True),
    Column("first_seen_at", Instant, nullable=False),
    Column("last_seen_at", Instant, nullable=False),
    Column("count", BigInteger, nullable=False),
)

seen_attributes = Table(
    "seen_attributes",
    metadata,
    Column("account", String(63), primary_key=True),
    # A custom attribute that ChartMogul has shown in an answer, ever.
    Column("attribute", Text, primary_key=True),
    Column("first_seen_at", Instant, nullable=False),
)

sightings = Table(
    "sightings",
    metadata,
    Column("source", String(63), primary_key=True),
    # A path that a rule reads.
    Column("path", Text, primary_key=True),
    # The JSON type that its values usually have; null while there is none.
    Column("type", String(20)),
    # In how many records in a row it had a value, counted until it is relied on; how many have lacked it since.
    Column("seen", BigInteger, nullable=False),
    Column("missed", BigInteger, nullable=False),
    # When a value stood there, as of the last time that anything else here changed.
    Column("seen_at", Instant),
)

drifts = Table(
    "drifts",
    metadata,
    Column("source", String(63), primary_key=True),
    Column("kind", String(20), primary_key=True),
    Column("target", Text, primary_key=True),
    Column("path", Text, primary_key=True),
    # Types, never values.
    Column("detail", Words),
    Column("first_seen_at", Instant, nullable=False),
    Column("last_seen_at", Instant, nullable=False),
    Column("count", BigInteger, nullable=False),
    # By which configuration it was seen last: other rules begin afresh.
    Column("config_version", String(12)),
    # The event that it was seen in last.
    Column("event_id", BigInteger),
)
