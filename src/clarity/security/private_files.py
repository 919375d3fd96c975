"""Files that only their owner may read: written whole or not at all, refused when others could read them."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from clarity.domain.errors import Misconfigured

_OWNER_ONLY = 0o600
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def read_private(path: Path, what: str, *, at_most: int) -> bytes:
    """Return the content of a file of at most `at_most` bytes; `what` names it in errors ("key root").

    Raises `FileNotFoundError` if there is none, and `Misconfigured` if it is no regular file, too large, or
    open to others than its owner. What is checked is what was opened: nothing can be exchanged in between.
    """
    with opened_private(path, what) as file:
        if os.fstat(file.fileno()).st_size > at_most:
            raise Misconfigured(f"the {what} {path} is too large to be one")
        return file.read(at_most)


@contextmanager
def opened_private(path: Path, what: str) -> Iterator[BinaryIO]:
    """Open a file to be read. Raises as `read_private` does, whatever its size."""
    try:
        # Without O_NONBLOCK, a named pipe in the file's place would hold the start for ever.
        with _opened(path, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Misconfigured(f"the {what} {path} is not a regular file")
            if status.st_mode & 0o077:
                mode = stat.S_IMODE(status.st_mode)
                raise Misconfigured(f"the {what} {path} is open to others (mode {mode:04o}); `chmod 600 {path}`")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                yield file
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise Misconfigured(f"the {what} {path} cannot be read: {exc.strerror}") from None


def create_private(path: Path, content: bytes) -> None:
    """Write a new file with mode 0600 that is durable on return. Raises `FileExistsError`."""
    with _opened(path, _NEW) as descriptor:
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(content)
            os.fsync(descriptor)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    _make_names_durable(path.parent)


def replace_private(path: Path, content: bytes) -> None:
    """Put a file with mode 0600 in place of the one at `path`. A crash leaves the old one or the new one."""
    path = path.resolve()
    fresh = path.with_name(f".{path.name}.{token_hex(8)}")
    create_private(fresh, content)
    try:
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    _make_names_durable(path.parent)


@contextmanager
def replacing_private(path: Path) -> Iterator[BinaryIO | None]:
    """Open a fresh file with mode 0600, and put it in place of the one at `path` if all goes well.

    A crash leaves the old one or the new one; what it left half-written beside them goes with the next. Gives `None`
    while another process does the same. A link at `path` is replaced, not followed: whoever removes the file later
    would only remove the link.
    """
    fresh = path.with_name(f".{path.name}.new")
    with _opened(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        fresh.unlink(missing_ok=True)
        try:
            with _opened(fresh, _NEW) as descriptor:
                with os.fdopen(descriptor, "wb", closefd=False) as file:
                    yield file
                os.fsync(descriptor)
            fresh.replace(path)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
    _make_names_durable(path.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep every other process and thread that locks `path` waiting.

    The lock is on a file beside it, since a file that gets replaced cannot be locked.
    """
    with _opened(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, _OWNER_ONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _make_names_durable(folder: Path) -> None:
    with _opened(folder, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        os.fsync(descriptor)
