"""The tables as the code uses them; the migrations make them."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

recognitions = Table(
    "recognitions",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("created_at", Float, nullable=False),
    Column("key", String(64), nullable=False),
    Column("audio_s", Float),
    Column("audio_bytes", Integer, nullable=False),
    Column("audio_sha256", String(64), nullable=False),
    Column("model", String(255)),
    Column("revision", String(255)),
    Column("fingerprint", String(128)),
    Column("options", JSON, nullable=False),
    Column("outcome", String(64), nullable=False),
    Column("timing_ms", JSON, nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("call_id", String(128)),
    Column("text", Text),
    Index("recognitions_created_at", "created_at"),
    Index("recognitions_key", "key"),
    Index("recognitions_audio_sha256", "audio_sha256"),
)

cached_results = Table(
    "cached_results",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("audio_sha256", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("used_at", Float, nullable=False),
    Column("size", Integer, nullable=False),
    Column("value", LargeBinary, nullable=False),
    Index("cached_results_audio_sha256", "audio_sha256"),
    Index("cached_results_created_at", "created_at"),
    Index("cached_results_used_at", "used_at", "size"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("key", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("audio_s", Float),
    Column("audio_bytes", Integer, nullable=False),
    Column("audio_sha256", String(64), nullable=False),
    Column("request", JSON, nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("body_sha256", String(64), nullable=False),
    Column("idempotency_key", String(255)),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("faults", Integer, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("lease_owner", String(64)),
    Column("lease_until", Float),
    Column("webhook_url", Text),
    Column("webhook_status", String(16)),
    Column("webhook_attempts", Integer, nullable=False),
    Column("webhook_at", Float),
    UniqueConstraint("key", "idempotency_key", name="jobs_idempotency_key"),
    Index("jobs_status", "status", "id"),
    Index("jobs_ended_at", "ended_at"),
    Index("jobs_webhook", "webhook_status", "webhook_at"),
)

job_results = Table(
    "job_results",
    metadata,
    Column("job_id", String(40), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("transcript", JSON, nullable=False),
)
