"""Long texts from whoever runs a command: out of a file, standard input, or an editor."""

import asyncio
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import typer

from clarity.cli.terminal import note
from clarity.domain.errors import Invalid, Misconfigured

# Where Linux keeps files in memory: what is written there reaches no disk, if the machine does not swap.
_MEMORY = Path("/dev", "shm")


def given_text(source: str) -> str:
    """Return the text of a file, or with "-" of standard input to its end. Raises `Invalid` if it is not UTF-8."""
    try:
        data = sys.stdin.read().encode(errors="surrogateescape") if source == "-" else Path(source).read_bytes()
        return data.decode("utf-8-sig")
    except OSError as exc:
        raise Invalid("body", f"cannot be read: {exc.strerror}") from None
    except UnicodeDecodeError:
        raise Invalid("body", "must be UTF-8") from None


@asynccontextmanager
async def edited(text: str) -> AsyncIterator[str]:
    """Let `$VISUAL` or `$EDITOR` change a text; yield what came of it.

    It is edited in a folder of its own, for its owner alone and in memory if there is room. If what is done with the
    text fails, it is kept there, and where that is told.
    """
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to write at: give the text with --from FILE, or --from -")
    folder = Path(tempfile.mkdtemp(prefix="clarity-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None))
    file = folder / "note.md"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    try:
        await _edit(file)
        yield given_text(str(file))
    except BaseException:
        note(f"Your text is kept in {file}, readable to you alone; remove it when you have it elsewhere.")
        raise
    shutil.rmtree(folder)


async def _edit(file: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise Misconfigured("no editor is known: set EDITOR, or give the text with --from FILE")
    editing = await asyncio.create_subprocess_exec(*shlex.split(editor), str(file))
    if await editing.wait():
        raise Misconfigured("the editor did not end well, so nothing was stored")
