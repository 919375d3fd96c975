"""The keys of the audit trail."""

import pytest

from clarity.domain.errors import CannotOpen
from clarity.security.hazmat import hkdf_sha256, hmac_sha256
from clarity.security.keyring import Keyring, Purpose
from clarity.security.macs import AuditKeys


def test_events_and_queries_have_keys_of_their_own(keyring: Keyring) -> None:
    keys = AuditKeys(keyring)
    secret = keyring.secret(Purpose.AUDIT)
    assert keys.mac(b"bytes") == hmac_sha256(hkdf_sha256(secret, info=b"clarity audit: leaf"), b"bytes")
    assert keys.query_mac(b"bytes") == hmac_sha256(hkdf_sha256(secret, info=b"clarity audit: query"), b"bytes")
    assert len({keys.mac(b"bytes"), keys.query_mac(b"bytes"), hmac_sha256(secret, b"bytes")}) == 3


def test_after_a_rotation_old_events_are_verified_by_naming_the_generation(keyring: Keyring, rotated: Keyring) -> None:
    before, after = AuditKeys(keyring), AuditKeys(rotated)
    assert (before.generation, after.generation) == (1, 2)
    assert after.mac(b"event", 1) == before.mac(b"event")
    assert after.mac(b"event", 2) == after.mac(b"event") != before.mac(b"event")
    assert after.query_mac(b"query", 1) == before.query_mac(b"query")
    for unknown in (0, 3):
        with pytest.raises(CannotOpen):
            after.mac(b"event", unknown)


def test_audit_keys_show_nothing(keyring: Keyring) -> None:
    assert "b'" not in repr(AuditKeys(keyring))
