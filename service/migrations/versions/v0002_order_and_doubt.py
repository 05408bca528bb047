"""What order, doubt and pace are kept by: doubts and emails of contacts, lost leases, shares of a rate, past rules."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_OPEN = sa.text("state IN ('pending', 'leased')")


def upgrade() -> None:
    """Add the columns, each with a default that means what was true before."""
    op.create_table(
        "configurations",
        sa.Column("version", sa.String(12), nullable=False),
        sa.Column("first_used_at", sa.BigInteger(), nullable=False),
        sa.Column("rules", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    op.add_column("events", sa.Column("replay_version", sa.String(12), nullable=True))
    named = sa.text("by_event_id IS NOT NULL")
    op.create_index("ix_events_by_event_id", "events", ["by_event_id"], sqlite_where=named, postgresql_where=named)
    op.add_column("deliveries", sa.Column("settled_by", sa.BigInteger(), nullable=True))
    op.add_column("deliveries", sa.Column("settle_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("deliveries", sa.Column("lost", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.create_index("ix_deliveries_open_at", "deliveries", ["opened_at"], sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.add_column("contacts", sa.Column("email", sa.String(320), nullable=True))
    op.add_column("contacts", sa.Column("doubts", sa.Text(), nullable=True))
    op.create_index("ix_contacts_email", "contacts", ["email"], unique=False)
    op.add_column("accounts", sa.Column("share", sa.Float(), server_default=sa.text("1"), nullable=False))
    op.add_column("accounts", sa.Column("share_at", sa.BigInteger(), nullable=True))
    op.add_column(
        "accounts", sa.Column("paused_by_hand", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
