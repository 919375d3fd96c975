"""A folder that letters are put in instead of being sent: for trying things out."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from clarity.application.ports import Letter
from clarity.domain.errors import Undeliverable
from clarity.mail.rendering import rendered


@dataclass(frozen=True, slots=True)
class FolderPostman:
    """A `Postman` who writes each letter to a file of its own, `<id>.eml`, which nobody but its owner reads."""

    folder: Path
    sender: str

    async def send(self, letter: Letter) -> None:
        """Return once the file is there. Raises `Undeliverable` if it cannot be written."""
        content = rendered(letter, self.sender).as_bytes()
        try:
            await asyncio.to_thread(self._write, f"{letter.id}.eml", content)
        except OSError:
            raise Undeliverable(f"the folder {self.folder} cannot be written to") from None

    def _write(self, name: str, content: bytes) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = self.folder / f".{token_hex(8)}"
        with open(unfinished, "xb", opener=_owner_only) as file:
            file.write(content)
        unfinished.replace(self.folder / name)


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
