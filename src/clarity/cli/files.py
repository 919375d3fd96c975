"""Files that a command leaves: for their owner alone, and never in the place of another."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from clarity.domain.errors import Conflict, Invalid

# What writing to a disk fails with, and nothing else that a command does meanwhile.
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


def require_free(path: Path) -> None:
    """Raise `Conflict` if something is at `path`, before work is done whose outcome has no place."""
    if path.exists() or path.is_symlink():
        raise Conflict(f"{path} is there already, and is not overwritten: remove it, or name another file")


def leave(path: Path, content: bytes) -> None:
    """Write a new file with mode 0600. Raises `Conflict` if there is one, and `Invalid` if none can be written."""
    with _new(path) as file:
        file.write(content)


@contextmanager
def appearing(path: Path) -> Iterator[BinaryIO]:
    """Write a new file that has its name only when it is whole; raises as `leave` does."""
    require_free(path)
    part = path.with_name(f"{path.name}.part")
    if part.exists() or part.is_symlink():
        raise Conflict(f"{part} is there: another export runs, or one was interrupted; then remove it")
    with _new(part) as file:
        yield file
    try:
        require_free(path)
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    """Write a new file that lasts when this ends, and of which nothing is left if it is interrupted."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        require_free(path)
        raise
    except OSError as exc:
        raise Invalid("output", f"cannot be written: {exc.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException as exc:
        path.unlink(missing_ok=True)
        if isinstance(exc, OSError) and exc.errno in _DISK:
            raise Invalid("output", f"cannot be written: {exc.strerror}") from None
        raise
