"""The canonical bytes of an audit event, its leaf hash and its MAC. The format is permanent.

Integers are big-endian and unsigned unless it says otherwise; ids are the 16 bytes of the UUID.

    offset  bytes  field
         0      1  format version = 1
         1     16  id
        17      8  at: microseconds since 1970-01-01T00:00Z, signed
        25     16  actor
        41      1  role
        42      1  purpose
        43      2  action
        45      2  resource
        47      1  outcome
        48      2  reason
        50     16  request
        66      8  fields
        74      4  version
        78      8  ids_count
        86  1 + a  operator: a = its length, then ASCII
         .  1 + p  patient: p = 0 (none) or 16, then the id
         .  1 + d  ids_digest: d = 0 (absent) or 32, then the digest
         .  1 + s  sealed_digest: s = 0 or 32, likewise
         .  1 + q  query_mac: q = 0 or 32, likewise
         .  2+16n  ids: n = how many are listed, then each in the order of the event

Whatever varies in length says how long it is before it begins, so bytes read in one way only: two different
events never have the same bytes, and no bytes but these stand for an event. A change of the layout is
another version with another table; this one is read for as long as there are events written in it.

`leaf = SHA-256(0x00 ‖ bytes)` is the hash of a leaf of a Merkle tree (RFC 9162, 2.1.1), where the zero keeps
a leaf from being taken for a node. `mac = HMAC-SHA-256(audit key, leaf)` is what only the key's holder makes.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

from clarity.domain.access import Action, Purpose, Reason, Role
from clarity.domain.audit import AuditEvent, Entry, Outcome
from clarity.domain.dates import instant_of, microseconds_of
from clarity.domain.errors import Invalid, NotCanonical
from clarity.domain.ids import EventId, PatientId, RequestId
from clarity.domain.records import Resource

FORMAT_VERSION = 1

_HEAD = struct.Struct(">B16sq16sBBHHBH16sQIQ")
_UTC_OFFSET = timedelta(0)
_DIGEST_LENGTHS = (0, 32)


def encode(event: AuditEvent) -> bytes:
    """Return the canonical bytes of `event`.

    Raises `ValueError` if it has none: its instant is not in UTC, a number is beyond its width, or a digest
    is neither absent nor 32 bytes.
    """
    if event.at.utcoffset() != _UTC_OFFSET:
        raise ValueError("the instant of an audit event must be in UTC")
    try:
        head = _HEAD.pack(
            FORMAT_VERSION,
            event.id.bytes,
            microseconds_of(event.at),
            event.actor.bytes,
            event.role,
            event.purpose,
            event.action,
            event.resource,
            event.outcome,
            event.reason,
            event.request.bytes,
            event.fields,
            event.version,
            event.ids_count,
        )
        listed = len(event.ids).to_bytes(2, "big")
    except (struct.error, OverflowError):
        raise ValueError("a number of an audit event is beyond its width") from None
    return b"".join(
        (
            head,
            _prefixed(event.operator.encode("ascii")),
            _prefixed(b"" if event.patient is None else event.patient.bytes),
            _digest(event.ids_digest),
            _digest(event.sealed_digest),
            _digest(event.query_mac),
            listed,
            *[one.bytes for one in event.ids],
        )
    )


def decode(data: bytes) -> AuditEvent:
    """Return the event that has exactly these bytes, or raise `NotCanonical` if there is none."""
    try:
        event = _read(data)
        canonical = encode(event)
    except (struct.error, IndexError, ValueError, OverflowError, Invalid):
        raise NotCanonical from None
    # Reading overlooks another version, an end too soon and bytes left over. Writing the event again does not.
    if canonical != data:
        raise NotCanonical
    return event


def leaf_hash(encoded: bytes) -> bytes:
    """Return the hash of an encoded event as a leaf of the tree, 32 bytes (RFC 9162, 2.1.1)."""
    return sha256(b"\x00" + encoded).digest()


@dataclass(frozen=True, slots=True)
class Notary:
    """Makes of an event the entry that the trail keeps.

    `mac` returns the HMAC-SHA-256 of what it is given under the audit key, 32 bytes.
    """

    mac: Callable[[bytes], bytes]

    def certify(self, event: AuditEvent) -> Entry:
        """Return the entry for `event`; raises `ValueError` as `encode` does."""
        encoded = encode(event)
        leaf = leaf_hash(encoded)
        return Entry(event, encoded, leaf, self.mac(leaf))


@dataclass(frozen=True, slots=True)
class Examiner:
    """Reads what the trail kept, and finds out whether it is what was written.

    `vouches` tells whether a MAC is the one of a leaf hash under a key of the trail.
    """

    vouches: Callable[[bytes, bytes], bool]

    def examine(self, encoded: bytes, leaf: bytes, mac: bytes) -> tuple[Entry | None, bool]:
        """Return the entry with these bytes, `None` if no event has them, and whether leaf and MAC are theirs."""
        try:
            event = decode(encoded)
        except NotCanonical:
            return None, False
        return Entry(event, encoded, leaf, mac), leaf == leaf_hash(encoded) and self.vouches(leaf, mac)


def _prefixed(value: bytes) -> bytes:
    return len(value).to_bytes(1, "big") + value


def _digest(value: bytes) -> bytes:
    if len(value) not in _DIGEST_LENGTHS:
        raise ValueError("a digest of an audit event must be absent or 32 bytes")
    return _prefixed(value)


def _read(data: bytes) -> AuditEvent:
    (
        _,
        event_id,
        at,
        actor,
        role,
        purpose,
        action,
        resource,
        outcome,
        reason,
        request,
        fields,
        version,
        ids_count,
    ) = _HEAD.unpack_from(data)
    operator, place = _read_prefixed(data, _HEAD.size)
    patient, place = _read_prefixed(data, place)
    ids_digest, place = _read_prefixed(data, place)
    sealed_digest, place = _read_prefixed(data, place)
    query_mac, place = _read_prefixed(data, place)
    listed, place = int.from_bytes(data[place : place + 2], "big"), place + 2
    return AuditEvent(
        id=EventId(UUID(bytes=event_id)),
        at=instant_of(at),
        actor=UUID(bytes=actor),
        role=Role(role),
        operator=operator.decode("ascii"),
        purpose=Purpose(purpose),
        action=Action(action),
        resource=Resource(resource),
        patient=PatientId(UUID(bytes=patient)) if patient else None,
        ids=tuple(UUID(bytes=data[start : start + 16]) for start in range(place, place + 16 * listed, 16)),
        ids_count=ids_count,
        ids_digest=ids_digest,
        outcome=Outcome(outcome),
        reason=Reason(reason),
        request=RequestId(UUID(bytes=request)),
        fields=fields,
        version=version,
        sealed_digest=sealed_digest,
        query_mac=query_mac,
    )


def _read_prefixed(data: bytes, place: int) -> tuple[bytes, int]:
    start = place + 1
    end = start + data[place]
    return data[start:end], end
