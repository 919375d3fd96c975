"""What is looked at before anything is served."""

from pathlib import Path

from pydantic import SecretStr

from clarity import upkeep
from clarity.config import Settings


async def test_a_server_need_not_know_how_the_owner_connects(tmp_path: Path, database_url: str) -> None:
    settings = Settings(
        data_dir=tmp_path,
        async_database_uri=SecretStr(database_url),
        migration_database_uri=SecretStr(f"postgresql://owner@/practice?host={tmp_path}"),
    )
    upkeep.make_keys(settings)
    await upkeep.require_practice(settings)
