"""What is kept sealed on one machine, and may be lost."""

from collections.abc import Generator, Iterable
from typing import Protocol


class FrameStore(Protocol):
    """Some bytes in a row, kept sealed on this machine: written whole or not at all, read as they were or not at all.

    What is kept here can be made anew at any time. All of it blocks; two processes may use one at the same time.
    """

    def write(self, count: int, frames: Iterable[bytes]) -> bool:
        """Replace what is kept by `count` frames; false if another process was at it. Raises `Misconfigured`.

        What `frames` raises is raised, and leaves what was kept.
        """
        ...

    def read(self) -> Generator[bytes]:
        """Yield the frames. Raises `FileNotFoundError` if there are none, and `CannotOpen`, maybe late, if altered."""
        ...

    def remove(self) -> None:
        """Remove what is kept, if there is anything. Raises `Misconfigured`."""
        ...
