"""Servers for tests: `clarity serve` in processes of their own, over one practice."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Clinic:
    """A practice in a folder of its own, and the database it keeps its records in."""

    folder: Path
    environment: dict[str, str]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
        """Serve in a process of its own while the block runs, or until that ends it; yield it and its address."""
        log = self.folder / f"log-{len(list(self.folder.glob('log-*')))}"
        with log.open("w") as output:
            server = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "clarity", "serve", "--port", "0"),
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=output,  # not a pipe: the load would fill it, and the server would wait for somebody to read
            )
        try:
            async with asyncio.timeout(_SECONDS):
                while not (found := re.search(r"Serving on (\S+);", log.read_text())) and server.returncode is None:
                    await asyncio.sleep(0.02)
            assert found, log.read_text()
            yield server, found[1]
        finally:
            if server.returncode is None:
                server.kill()
                await server.wait()
