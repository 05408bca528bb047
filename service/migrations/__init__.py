"""Alembic migrations: one file a step under ``versions``, run by ``store.migrate``."""
