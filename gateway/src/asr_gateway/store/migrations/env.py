"""What Alembic runs: the migrations on the connection that `database.migrate` opened."""

from __future__ import annotations

from alembic import context

from asr_gateway.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite changes a table by copying it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
