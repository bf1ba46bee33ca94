"""Alembic runs this on the connection, and in the transaction, that `jobs.database.migrate` opened."""

from alembic import context

from jobs.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
