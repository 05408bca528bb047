"""What a mapping is trusted by: what shadow mode would have sent, attributes that were seen, and what drifts."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_SHADOWED = sa.text("state = 'shadowed'")
_SHADOW_OWES = sa.text("shadow IS NOT NULL AND doubts IS NOT NULL")


def upgrade() -> None:
    """Add them, empty."""
    op.add_column("contacts", sa.Column("shadow", sa.LargeBinary(), nullable=True))
    op.create_index(
        "ix_contacts_shadow_owes",
        "contacts",
        ["account", "uuid"],
        sqlite_where=_SHADOW_OWES,
        postgresql_where=_SHADOW_OWES,
    )
    op.create_index(
        "ix_events_shadowed", "events", ["source", "id"], sqlite_where=_SHADOWED, postgresql_where=_SHADOWED
    )
    op.create_table(
        "seen_attributes",
        sa.Column("account", sa.String(63), nullable=False),
        sa.Column("attribute", sa.Text(), nullable=False),
        sa.Column("first_seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "attribute"),
    )
    op.create_table(
        "sightings",
        sa.Column("source", sa.String(63), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("type", sa.String(20), nullable=True),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("missed", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("source", "path"),
    )
    op.create_table(
        "drifts",
        sa.Column("source", sa.String(63), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("first_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("config_version", sa.String(12), nullable=True),
        sa.Column("event_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("source", "kind", "target", "path"),
    )
