"""Jobs and their results."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("started_at", sa.Float),
        sa.Column("ended_at", sa.Float),
        sa.Column("audio_s", sa.Float),
        sa.Column("audio_bytes", sa.Integer, nullable=False),
        sa.Column("audio_sha256", sa.String(64), nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("body_sha256", sa.String(64), nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_message", sa.Text),
        sa.Column("faults", sa.Integer, nullable=False),
        sa.Column("not_before", sa.Float, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("lease_owner", sa.String(64)),
        sa.Column("lease_until", sa.Float),
        sa.Column("webhook_url", sa.Text),
        sa.Column("webhook_status", sa.String(16)),
        sa.Column("webhook_attempts", sa.Integer, nullable=False),
        sa.Column("webhook_at", sa.Float),
        sa.UniqueConstraint("key", "idempotency_key", name="jobs_idempotency_key"),
    )
    op.create_index("jobs_status", "jobs", ["status", "id"])
    op.create_index("jobs_ended_at", "jobs", ["ended_at"])
    op.create_index("jobs_webhook", "jobs", ["webhook_status", "webhook_at"])
    op.create_table(
        "job_results",
        sa.Column(
            "job_id", sa.String(40), sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("transcript", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    """Remove the tables and all that they hold; the folder of `--blobs` stays."""
    op.drop_table("job_results")
    op.drop_table("jobs")
