"""What Alembic runs for each of its commands. Only `clarity.persistence.migrations` gives it any."""

from typing import Any

from alembic import context
from sqlalchemy import inspect

from clarity.domain.errors import StorageFailed
from clarity.persistence.all_tables import TABLES, metadata
from clarity.persistence.roles import grants_sql
from clarity.persistence.trail_guard import MIGRATING, install_sql, remove_sql

given = context.config.attributes

options: dict[str, Any] = (
    {"dialect_name": given["dialect"], "literal_binds": True, "dialect_opts": {"paramstyle": "named"}}
    if context.is_offline_mode()
    else {"connection": given["connection"]}
)
# Our connections begin transactions themselves on SQLite too, so that tables change in one there as well.
context.configure(target_metadata=metadata(), render_as_batch=True, transactional_ddl=True, **options)


def _hold_writers() -> None:
    """Let no writer begin until the migration ends: those of a server that serves would each win a deadlock over it."""
    there = set(inspect(context.get_bind()).get_table_names())
    if held := [rows.__tablename__ for rows in TABLES if rows.__tablename__ in there]:
        context.execute(f"LOCK TABLE {', '.join(held)} IN SHARE ROW EXCLUSIVE MODE")


def _ended_at_head() -> bool:
    """Tell whether the tables are those that the code knows, so that it can say which of them hold what."""
    if context.is_offline_mode():
        return context.get_revision_argument() == context.get_head_revision()
    return context.get_context().get_current_revision() == context.get_head_revision()


with context.begin_transaction():
    if context.get_context().dialect.name == "postgresql":
        context.execute(MIGRATING)
        if not context.is_offline_mode():
            _hold_writers()
    context.run_migrations()
    if context.get_context().dialect.name == "postgresql":
        if _ended_at_head():
            context.execute(install_sql() if given["trail_guard"] else remove_sql())
        if given["app_role"]:
            context.execute(grants_sql(given["app_role"]))
    elif not context.is_offline_mode() and context.get_bind().exec_driver_sql("PRAGMA foreign_key_check").first():
        raise StorageFailed("FOREIGN KEY")
