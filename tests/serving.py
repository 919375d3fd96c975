"""Servers for tests: `clarity serve` in processes of their own, over one practice."""

import asyncio
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from httpx import AsyncClient
from prometheus_client.parser import text_string_to_metric_families

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


async def figures(http: AsyncClient) -> Counter[str]:
    """Return what a server says at `/metrics`, each figure summed over its labels; 0 for what it does not say."""
    answer = await http.get("/metrics")
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(answer.raise_for_status().text):
        for sample in family.samples:
            found[sample.name] += int(sample.value)
    return found
