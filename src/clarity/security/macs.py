"""Message authentication for the audit trail, under keys the database administrator does not hold."""

from collections.abc import Mapping

from clarity.domain.errors import CannotOpen
from clarity.security.hazmat import equal, hkdf_sha256, hmac_sha256
from clarity.security.keyring import Keyring, Purpose


class AuditKeys:
    """Two keys derived from the audit key: one for events, one for what was searched for.

    A MAC does not say under which generation it was made; whoever verifies an old one names it.
    """

    def __init__(self, keyring: Keyring) -> None:
        """Derive the keys of every generation in `keyring`."""
        secrets = {each: keyring.secret(Purpose.AUDIT, each) for each in keyring.generations(Purpose.AUDIT)}
        self.generation = keyring.current(Purpose.AUDIT)
        self._leaf = {each: hkdf_sha256(key, info=b"clarity audit: leaf") for each, key in secrets.items()}
        self._query = {each: hkdf_sha256(key, info=b"clarity audit: query") for each, key in secrets.items()}

    def mac(self, leaf_bytes: bytes, generation: int | None = None) -> bytes:
        """Return the HMAC-SHA-256 of an event, 32 bytes. Raises `CannotOpen` if the generation is gone."""
        return hmac_sha256(self._chosen(self._leaf, generation), leaf_bytes)

    def vouches(self, leaf_bytes: bytes, mac: bytes) -> bool:
        """Tell whether `mac` is that of an event under any generation there is, the newest first."""
        return any(equal(self.mac(leaf_bytes, generation), mac) for generation in sorted(self._leaf, reverse=True))

    def query_mac(self, normalised: bytes, generation: int | None = None) -> bytes:
        """Return the HMAC-SHA-256, 32 bytes, by which the trail recognises a query without holding it."""
        return hmac_sha256(self._chosen(self._query, generation), normalised)

    def query_macs(self, normalised: bytes) -> tuple[bytes, ...]:
        """Return the HMAC under every generation, the newest first, to recognise what an older one made."""
        return tuple(self.query_mac(normalised, generation) for generation in sorted(self._query, reverse=True))

    def _chosen(self, keys: Mapping[int, bytes], generation: int | None) -> bytes:
        try:
            return keys[self.generation if generation is None else generation]
        except KeyError:
            raise CannotOpen from None
