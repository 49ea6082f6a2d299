"""Alembic's entry point: every migration in a transaction of its own, on the connection handed in or as SQL text."""

from alembic import context

from threadjuice_dagster.database.tables import metadata

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", literal_binds=True, transaction_per_migration=True)
    context.execute("SET lock_timeout = '5s'")
else:
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        transaction_per_migration=True,
    )
with context.begin_transaction():
    context.run_migrations()
