"""The log as first released. Instants are microseconds since 1970."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:  # one statement a table and index
    """Make every table and index."""
    op.create_table(
        "accounts",
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("next_call_at", sa.BigInteger(), nullable=False),
        sa.Column("slowed_until", sa.BigInteger(), nullable=True),
        sa.Column("slowed_reason", sa.Text(), nullable=True),
        sa.Column("paused_at", sa.BigInteger(), nullable=True),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "attempts",
        sa.Column("id", _ID, nullable=False),
        sa.Column("delivery_id", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("contact_uuid", sa.String(40), nullable=True),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_attempts_delivery_id", "attempts", ["delivery_id"], unique=False)
    op.create_table(
        "contacts",
        sa.Column("account", sa.String(63), nullable=False),
        sa.Column("uuid", sa.String(40), nullable=False),
        sa.Column("fields", sa.LargeBinary(), nullable=False),
        sa.Column("held_by", sa.BigInteger(), nullable=True),
        sa.Column("held_until", sa.BigInteger(), nullable=True),
        sa.Column("intent", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "uuid"),
    )
    op.create_index("ix_contacts_held_by", "contacts", ["held_by"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account", sa.String(63), nullable=False),
        sa.Column("source", sa.String(63), nullable=False),
        sa.Column("object_id", sa.String(255), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("priority", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("changes", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("relinked", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("lease_owner", sa.String(63), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("fence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("contact_uuid", sa.String(40), nullable=True),
        sa.Column("outcome", sa.String(20), nullable=True),
        sa.Column("repeats", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_deliveries_state_account_priority_due_at",
        "deliveries",
        ["state", "account", "priority", "due_at"],
        unique=False,
    )
    op.create_index(
        "uq_deliveries_open",
        "deliveries",
        ["source", "object_id"],
        unique=True,
        sqlite_where=sa.text("state IN ('pending', 'leased')"),
        postgresql_where=sa.text("state IN ('pending', 'leased')"),
    )
    op.create_table(
        "events",
        sa.Column("id", _ID, nullable=False),
        sa.Column("source", sa.String(63), nullable=False),
        sa.Column("dedup_key", sa.String(255), nullable=False),
        sa.Column("request_id", sa.BigInteger(), nullable=False),
        sa.Column("account", sa.String(63), nullable=False),
        sa.Column("object_type", sa.String(255), nullable=False),
        sa.Column("object_id", sa.String(255), nullable=False),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("crm_event_id", sa.String(255), nullable=True),
        sa.Column("occurred_at", sa.BigInteger(), nullable=True),
        sa.Column("order_key", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("delivery_id", sa.BigInteger(), nullable=True),
        sa.Column("attempt_id", sa.BigInteger(), nullable=True),
        sa.Column("by_event_id", sa.BigInteger(), nullable=True),
        sa.Column("config_version", sa.String(12), nullable=True),
        sa.Column("change", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("source", "dedup_key", name="uq_events_source_dedup_key"),
    )
    op.create_index("ix_events_delivery_id", "events", ["delivery_id"], unique=False)
    op.create_index("ix_events_source_object_id_state", "events", ["source", "object_id", "state"], unique=False)
    op.create_table(
        "ignored_attributes",
        sa.Column("account", sa.String(63), nullable=False),
        sa.Column("attribute", sa.Text, nullable=False),
        sa.Column("first_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "attribute"),
    )
    op.create_table(
        "links",
        sa.Column("source", sa.String(63), nullable=False),
        sa.Column("object_id", sa.String(255), nullable=False),
        sa.Column("account", sa.String(63), nullable=False),
        sa.Column("contact_uuid", sa.String(40), nullable=False),
        sa.Column("found_by", sa.Text, nullable=False),
        sa.Column("found_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "object_id"),
    )
    op.create_index("ix_links_contact_uuid", "links", ["contact_uuid"], unique=False)
    op.create_table(
        "refusals",
        sa.Column("id", _ID, nullable=False),
        sa.Column("refused_at", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(63), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("header_names", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "requests",
        sa.Column("id", _ID, nullable=False),
        sa.Column("source", sa.String(63), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "source_marks",
        sa.Column("source", sa.String(63), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=True),
        sa.Column("refused_at", sa.BigInteger(), nullable=True),
        sa.Column("refused", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("source"),
    )
