"""Places in a list that a client carries for us: it can neither read nor change them, nor use them elsewhere."""

import base64
import struct

from clarity.domain.errors import CannotOpen, Invalid
from clarity.security.envelope import pad, unpad
from clarity.security.hazmat import Aead
from clarity.security.keyring import Keyring, Purpose

_HEADER = struct.Struct(">BI")
_VERSION = 1


class Cursors:
    """Seals cursors under the cursor key: base64url(version ‖ key generation ‖ nonce ‖ ciphertext ‖ tag)."""

    def __init__(self, keyring: Keyring) -> None:
        """Use every generation of the cursor key in `keyring`."""
        self._header = _HEADER.pack(_VERSION, keyring.current(Purpose.CURSOR))
        self._aeads = {
            _HEADER.pack(_VERSION, generation): Aead(keyring.secret(Purpose.CURSOR, generation))
            for generation in keyring.generations(Purpose.CURSOR)
        }

    def seal(self, payload: bytes, context: bytes) -> str:
        """Return a cursor that opens only with the same `context`: who asks for what, in which order.

        It is padded, because a sort key may be somebody's name and its length would tell.
        """
        associated = self._header + context
        sealed = self._aeads[self._header].encrypt(pad(payload), associated, header=self._header)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, cursor: str, context: bytes) -> bytes:
        """Return the payload, or raise `Invalid` if the cursor is not ours or was made in another context."""
        try:
            sealed = _decoded(cursor)
            header = sealed[: _HEADER.size]
            return unpad(self._aeads[header].decrypt(sealed, header + context, skip=_HEADER.size))
        except (CannotOpen, KeyError, ValueError):
            raise Invalid("cursor", "is not one of ours or belongs to another query") from None


def _decoded(cursor: str) -> bytes:
    """Return the bytes, or raise `ValueError` for anything but what `seal` writes."""
    sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    if base64.urlsafe_b64encode(sealed).rstrip(b"=") != cursor.encode():
        raise ValueError("not canonical")  # several texts would stand for one cursor
    return sealed
