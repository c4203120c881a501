"""What Alembic runs to migrate: on the connection of ``migrate``, inside its transaction and lock."""

from alembic import context

from penstock.tasks.habitat.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=False,  # the transaction is not Alembic's
)
context.run_migrations()
