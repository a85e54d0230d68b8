"""How Alembic reaches the database: over the connection, and in the transaction, it is given."""

from alembic import context

from adapters.sql.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite's too, as long as every transaction begins explicitly
)
with context.begin_transaction():
    context.run_migrations()
