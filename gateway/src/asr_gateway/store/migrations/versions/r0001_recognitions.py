"""The recognition log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "recognitions",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("audio_s", sa.Float),
        sa.Column("audio_bytes", sa.Integer, nullable=False),
        sa.Column("audio_sha256", sa.String(64), nullable=False),
        sa.Column("model", sa.String(255)),
        sa.Column("revision", sa.String(255)),
        sa.Column("fingerprint", sa.String(128)),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("outcome", sa.String(64), nullable=False),
        sa.Column("timing_ms", sa.JSON, nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("call_id", sa.String(128)),
        sa.Column("text", sa.Text),
    )
    op.create_index("recognitions_created_at", "recognitions", ["created_at"])
    op.create_index("recognitions_key", "recognitions", ["key"])
    op.create_index("recognitions_audio_sha256", "recognitions", ["audio_sha256"])


def downgrade() -> None:
    """Remove the table and all that it holds."""
    op.drop_table("recognitions")
