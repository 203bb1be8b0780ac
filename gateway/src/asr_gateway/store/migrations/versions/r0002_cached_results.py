"""Results that are kept to answer equal requests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "cached_results",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("audio_sha256", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("used_at", sa.Float, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    op.create_index("cached_results_audio_sha256", "cached_results", ["audio_sha256"])
    op.create_index("cached_results_created_at", "cached_results", ["created_at"])
    op.create_index("cached_results_used_at", "cached_results", ["used_at", "size"])


def downgrade() -> None:
    """Remove the table and all that it holds."""
    op.drop_table("cached_results")
