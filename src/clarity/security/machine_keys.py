"""The texts of credentials: a prefix that is easily recognised, the id, and a secret."""

import re
from typing import Final
from uuid import UUID

from clarity.domain.credentials import PREFIX
from clarity.domain.errors import Unauthenticated
from clarity.domain.ids import CredentialId
from clarity.security.hazmat import random_bytes, sha256

# A secret cannot be guessed, so a fast hash is enough (NIST SP 800-63B-4, 3.1.2.2: from 112 bits on, no salt).
_SECRET_BYTES: Final = 32
_TEXT: Final = re.compile(rf"{PREFIX}(?P<id>[0-9a-f]{{32}})_[0-9a-f]{{{2 * _SECRET_BYTES}}}", re.ASCII)


class MachineKeys:
    """Makes and reads `clarity_<id>_<secret>`, both in hexadecimal digits."""

    def new(self, credential: CredentialId) -> tuple[str, bytes]:
        """Return the text of a new credential, and the SHA-256 by which it is stored."""
        text = f"{PREFIX}{credential.hex}_{random_bytes(_SECRET_BYTES).hex()}"
        return text, sha256(text.encode())

    def read(self, text: str) -> tuple[CredentialId, bytes]:
        """Return which credential a text names, and its SHA-256; raises `Unauthenticated` if it is not spelt as one."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise Unauthenticated
        return CredentialId(UUID(hex=match["id"])), sha256(text.encode())
