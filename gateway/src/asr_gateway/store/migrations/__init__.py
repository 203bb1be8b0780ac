"""Alembic's migrations of the store, in both directions."""
