"""Whether every change of a patient is stamped: if not, searches would miss what was written, unnoticed."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_TRIGGERS = {
    "postgresql": {"patients_stamp_change", "data_keys_stamp_update", "data_keys_stamp_delete"},
    "sqlite": {"patients_stamp_insert", "patients_stamp_update", "data_keys_stamp_update", "data_keys_stamp_delete"},
}
# 'A' is always on, whoever writes and whatever they said before.
_THERE = {
    "postgresql": text(
        "SELECT tgname FROM pg_trigger"
        " WHERE tgrelid IN (to_regclass('patients'), to_regclass('data_keys')) AND tgenabled = 'A'"
    ),
    "sqlite": text("SELECT name FROM sqlite_master WHERE type = 'trigger'"),
}


async def check_stamps(connection: AsyncConnection) -> list[str]:
    """Return which triggers are missing or not always on, each with what to do about it."""
    there = set(await connection.scalars(_THERE[connection.dialect.name]))
    return [
        f"the trigger {name}, by which searches learn of what was changed, is missing or switched off;"
        " `clarity migrate --sql 0003:0004` prints how it is made"
        for name in sorted(_TRIGGERS[connection.dialect.name] - there)
    ]
