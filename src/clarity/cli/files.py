"""Files that a command leaves: for their owner alone, and never in the place of another."""

import os
from pathlib import Path

from clarity.domain.errors import Conflict, Invalid


def require_free(path: Path) -> None:
    """Raise `Conflict` if something is at `path`, before work is done whose outcome has no place."""
    if path.exists() or path.is_symlink():
        raise Conflict(f"{path} is there already, and is not overwritten: remove it, or name another file")


def leave(path: Path, content: bytes) -> None:
    """Write a new file with mode 0600. Raises `Conflict` if there is one, and `Invalid` if none can be written."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        require_free(path)
        raise
    except OSError as exc:
        raise Invalid("output", f"cannot be written: {exc.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        path.unlink(missing_ok=True)
        raise Invalid("output", f"cannot be written: {exc.strerror}") from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise
