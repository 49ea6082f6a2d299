"""Alembic's entry point: runs every migration in a transaction of its own on the connection handed in."""

from alembic import context

from threadjuice_dagster.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
