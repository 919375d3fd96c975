"""A search index on disk, sealed, so that a server need not open every record to start: disposable at any time."""

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from time import monotonic

import msgspec

from clarity.application.ports.frames import FrameStore
from clarity.application.ports.search import Horizon
from clarity.domain.errors import ClarityError
from clarity.domain.names import FOLDING
from clarity.search.index import NameIndex
from clarity.search.segments import KeptPart, Part

_LAYOUT = 1
"""Of what is in the frames; one that was written with another is thrown away."""

_log = logging.getLogger(__name__)


class _Manifest(msgspec.Struct, frozen=True):
    """The first frame: what the others are, and up to where changes are in them."""

    layout: int
    byte_order: str
    folding: str
    store: bytes
    place: str


class _OutOfTimeError(Exception):
    """There is no time to write the rest."""


class Snapshot:
    """The index as it was at some horizon. Whatever is wrong with it, it is thrown away, and nobody hears an error."""

    def __init__(self, frames: FrameStore) -> None:
        """Keep it in `frames`."""
        self._frames = frames

    async def load(self) -> tuple[NameIndex, Horizon] | None:
        """Return what was kept, with the horizon behind which changes are missing; `None` if there is nothing good."""
        try:
            return await self._load()
        except FileNotFoundError:
            return None
        except Exception as exc:
            # What Clarity raises holds no content; of anything else only the kind is told.
            why = exc if isinstance(exc, ClarityError) else type(exc).__name__
            _log.warning("the snapshot of the search index is thrown away: %s", why)
            await self.discard()
            return None

    async def save(self, index: NameIndex, horizon: Horizon, *, within_seconds: float) -> bool:
        """Keep what `index` holds now, and tell whether that was done. What changes meanwhile is not in it."""
        ends = monotonic() + within_seconds
        # Taken before anything is awaited. They do not change any more, so that another thread may read them.
        parts = index.parts()
        manifest = msgspec.msgpack.encode(_Manifest(_LAYOUT, sys.byteorder, FOLDING, horizon.store, horizon.place))
        frames = _frames_of(manifest, parts, lambda: monotonic() < ends)
        writing = asyncio.ensure_future(asyncio.to_thread(self._frames.write, 1 + len(parts), frames))
        try:
            return await asyncio.shield(writing)
        except _OutOfTimeError:
            _log.warning("the snapshot of the search index was not written: it takes more than %.0f s", within_seconds)
        except ClarityError as exc:
            _log.warning("the snapshot of the search index was not written: %s", exc)
        except asyncio.CancelledError:
            ends = 0.0  # the thread stops before the next part
            await asyncio.wait((writing,))
            if not writing.cancelled():
                writing.exception()
            raise
        return False

    async def discard(self) -> None:
        """Remove what is kept."""
        try:
            await asyncio.to_thread(self._frames.remove)
        except ClarityError as exc:
            _log.error("the snapshot of the search index stays: %s", exc)

    async def _load(self) -> tuple[NameIndex, Horizon]:
        frames = self._frames.read()
        try:
            manifest = msgspec.msgpack.decode(await asyncio.to_thread(next, frames, b""), type=_Manifest)
            if (manifest.layout, manifest.byte_order, manifest.folding) != (_LAYOUT, sys.byteorder, FOLDING):
                raise ValueError("another layout")
            parts = []
            while (part := await asyncio.to_thread(_next_part, frames)) is not None:
                parts.append(part)
        finally:
            await asyncio.to_thread(frames.close)
        index = NameIndex()
        await index.restore(parts)
        return index, Horizon(manifest.store, manifest.place)


def _next_part(frames: Iterator[bytes]) -> KeptPart | None:
    frame = next(frames, None)
    return None if frame is None else KeptPart.of_bytes(frame)


def _frames_of(manifest: bytes, parts: Sequence[Part], in_time: Callable[[], bool]) -> Iterator[bytes]:
    yield manifest
    for part in parts:
        if not in_time():
            raise _OutOfTimeError
        yield part.to_bytes()
