"""A file of sealed frames: what this process could make anew, kept so that it need not. Nothing in it is the only copy.

    header = magic ‖ version ‖ KEK generation ‖ number of frames ‖ id of the file
    frame  = length ‖ nonce ‖ ciphertext ‖ tag

The key is derived from the newest KEK and the id of the file. Each frame is bound to the header and its place, and all
but the first to the first as well: what that says of the whole holds for every one of them.
"""

import struct
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import BinaryIO, Final

from clarity.domain.errors import CannotOpen, Misconfigured
from clarity.security.hazmat import Aead, hkdf_sha256, random_bytes, sha256
from clarity.security.keyring import Keyring, Purpose
from clarity.security.private_files import opened_private, replacing_private

_MAGIC: Final = b"clarfram"
_VERSION: Final = 1
_HEADER: Final = struct.Struct(">8sHII16s")
_PLACE: Final = struct.Struct(">I")
_LENGTH: Final = struct.Struct(">I")
_INFO: Final = b"clarity sealed frames 1|"
_MOST_BYTES: Final = 1 << 26
"""Of one frame; a length beyond it was not written here."""


class SealedFrames:
    """The frames of one file, mode 0600. Written whole or not at all; read as they were written, or not at all."""

    def __init__(self, path: Path, keyring: Keyring) -> None:
        """Keep them at `path`, sealed by the newest key-encryption key of `keyring`."""
        self.path = path
        self._generation = keyring.current(Purpose.KEK)
        self._secret = keyring.secret(Purpose.KEK)

    def __repr__(self) -> str:
        """Name the path and no key."""
        return f"<SealedFrames {self.path}>"

    def write(self, count: int, frames: Iterable[bytes]) -> bool:
        """Put `count` frames in place of the file and tell whether that was done: not while another process does it.

        What `frames` raises leaves the file as it was. Raises `Misconfigured` if it cannot be written. Blocks.
        """
        header = _HEADER.pack(_MAGIC, _VERSION, self._generation, count, random_bytes(16))
        seal = _Seal(self._secret, header)
        try:
            with replacing_private(self.path) as file:
                if file is None:
                    return False
                file.write(header)
                for place, frame in enumerate(frames):
                    sealed = seal.seal(place, frame)
                    file.write(_LENGTH.pack(len(sealed)))
                    file.write(sealed)
        except OSError as exc:
            raise Misconfigured(f"{self.path} cannot be written: {exc.strerror}") from None
        return True

    def read(self) -> Generator[bytes]:
        """Yield the frames. Blocks.

        Raises `FileNotFoundError` if there is none, and `CannotOpen`, if need be after the last, unless it is whole,
        unaltered, from this practice, and sealed under the newest key. Nothing may be done with the frames before.
        """
        with opened_private(self.path, "file of sealed frames") as file:
            header = file.read(_HEADER.size)
            magic, version, generation, count, _ = _HEADER.unpack(header.ljust(_HEADER.size, b"\0"))
            if (magic, version, generation) != (_MAGIC, _VERSION, self._generation) or len(header) < _HEADER.size:
                raise CannotOpen
            seal = _Seal(self._secret, header)
            for place in range(count):
                yield seal.open(place, _next(file))
            if file.read(1):
                raise CannotOpen

    def remove(self) -> None:
        """Remove the file, if there is one. Raises `Misconfigured` if it stays. Blocks."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as exc:
            raise Misconfigured(f"{self.path} cannot be removed: {exc.strerror}") from None


class _Seal:
    """Seals and opens the frames of one file, the first of them first."""

    def __init__(self, secret: bytes, header: bytes) -> None:
        # A key for each file, so that no number of them comes near the most that one key may seal.
        self._aead = Aead(hkdf_sha256(secret, info=_INFO + header[-16:]))
        self._header = header
        self._first = b""

    def seal(self, place: int, frame: bytes) -> bytes:
        sealed = self._aead.encrypt(frame, self._associated(place))
        self._remember(place, frame)
        return sealed

    def open(self, place: int, sealed: bytes) -> bytes:
        frame = self._aead.decrypt(sealed, self._associated(place))
        self._remember(place, frame)
        return frame

    def _associated(self, place: int) -> bytes:
        return self._header + _PLACE.pack(place) + self._first

    def _remember(self, place: int, frame: bytes) -> None:
        if place == 0:
            self._first = sha256(frame)


def _next(file: BinaryIO) -> bytes:
    """Return the next frame, still sealed, or raise `CannotOpen` if the file ends before it does."""
    length = file.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        raise CannotOpen
    (size,) = _LENGTH.unpack(length)
    if size > _MOST_BYTES:
        raise CannotOpen
    sealed = file.read(size)
    if len(sealed) < size:
        raise CannotOpen
    return sealed
