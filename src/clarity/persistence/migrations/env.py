"""What Alembic runs for each of its commands. Only `clarity.persistence.migrations` gives it any."""

from typing import Any

from alembic import context

from clarity.domain.errors import StorageFailed
from clarity.persistence.all_tables import metadata
from clarity.persistence.roles import grants_sql

given = context.config.attributes

options: dict[str, Any] = (
    {"dialect_name": given["dialect"], "literal_binds": True, "dialect_opts": {"paramstyle": "named"}}
    if context.is_offline_mode()
    else {"connection": given["connection"]}
)
# Our connections begin transactions themselves on SQLite too, so that tables change in one there as well.
context.configure(target_metadata=metadata(), render_as_batch=True, transactional_ddl=True, **options)

with context.begin_transaction():
    context.run_migrations()
    if context.get_context().dialect.name == "postgresql":
        if given["app_role"]:
            context.execute(grants_sql(given["app_role"]))
    elif not context.is_offline_mode() and context.get_bind().exec_driver_sql("PRAGMA foreign_key_check").first():
        raise StorageFailed("FOREIGN KEY")
