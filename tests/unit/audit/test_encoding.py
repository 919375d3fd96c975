"""The bytes that the proof is about: one event, one encoding, for ever."""

import hmac
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum
from hashlib import sha256
from typing import Any, get_type_hints
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarity.audit.encoding import Notary, decode, encode, leaf_hash
from clarity.domain.access import Action, Purpose, Reason, Role
from clarity.domain.audit import AuditEvent, Outcome
from clarity.domain.errors import Invalid, NotCanonical
from clarity.domain.ids import EventId, PatientId, RequestId
from clarity.domain.records import Resource
from tests.unit.audit.events import FIELDS, an_event, events

KNOWN = AuditEvent(
    id=EventId(UUID("01890a5d-ac96-774b-bcce-b302099a8057")),
    at=datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC),
    actor=UUID("00000000-0000-0000-0000-000000000001"),
    role=Role.SYSTEM,
    operator="ops-7",
    purpose=Purpose.SYSTEM_ADMINISTRATION,
    action=Action.IMPORT,
    resource=Resource.PATIENT,
    patient=PatientId(UUID("01890a5d-ac96-7ab3-8000-0123456789ab")),
    ids=(UUID("01890a5d-ac96-7ab3-8000-0123456789ab"), UUID("01890a5d-ac96-7ab3-8000-0123456789ac")),
    ids_count=2,
    ids_digest=b"",
    outcome=Outcome.FAILED,
    reason=Reason.DUPLICATE,
    request=RequestId(UUID("01890a5d-ac96-7000-9000-00000000002a")),
    fields=0x1_0000_0003,
    version=7,
    sealed_digest=bytes(range(32)),
    query_mac=bytes(range(32, 64)),
)
KNOWN_BYTES = bytes.fromhex(
    "01"  # format version
    "01890a5dac96774bbcceb302099a8057"  # id
    "000612846be08600"  # at
    "00000000000000000000000000000001"  # actor
    "00"  # role
    "05"  # purpose
    "000c"  # action
    "0001"  # resource
    "03"  # outcome
    "0008"  # reason
    "01890a5dac967000900000000000002a"  # request
    "0000000100000003"  # fields
    "00000007"  # version
    "0000000000000002"  # ids_count
    "05 6f70732d37"  # operator
    "10 01890a5dac967ab380000123456789ab"  # patient
    "00"  # ids_digest
    "20 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"  # sealed_digest
    "20 202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"  # query_mac
    "0002 01890a5dac967ab380000123456789ab 01890a5dac967ab380000123456789ac"  # ids
)
KNOWN_LEAF = bytes.fromhex("03515ff26d1877d8fdb70723f5bbdb3e9d3a004afc70336278dbc337a51d7690")
KNOWN_MAC = bytes.fromhex("c2918b32093e87f867bdf289e8e98c6aa3c1c507714a0dae6fbeaac6f3171bca")
KNOWN_KEY = bytes(range(100, 132))


def certify(event: AuditEvent) -> tuple[bytes, bytes, bytes]:
    entry = Notary(lambda leaf: hmac.digest(KNOWN_KEY, leaf, "sha256")).certify(event)
    assert entry.event is event
    return entry.encoded, entry.leaf, entry.mac


def test_a_known_event_has_the_bytes_it_always_had() -> None:
    assert encode(KNOWN) == KNOWN_BYTES
    assert decode(KNOWN_BYTES) == KNOWN


def test_a_known_event_is_certified_as_it_always_was() -> None:
    assert certify(KNOWN) == (KNOWN_BYTES, KNOWN_LEAF, KNOWN_MAC)


def test_the_leaf_of_nothing_is_the_one_everybody_knows() -> None:
    # The leaf hash of an empty entry, as certificate transparency logs publish it (RFC 9162, 2.1.1).
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert leaf_hash(KNOWN_BYTES) == sha256(b"\0" + KNOWN_BYTES).digest()


@given(events())
def test_what_is_decoded_is_what_was_encoded(event: AuditEvent) -> None:
    assert decode(encode(event)) == event


@given(events(), st.data())
def test_events_that_differ_anywhere_have_different_bytes(event: AuditEvent, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(FIELDS)))
    other = replace(event, **{name: data.draw(FIELDS[name])})
    assert (encode(event) == encode(other)) == (event == other)


@given(events(), events())
def test_different_events_have_different_bytes(event: AuditEvent, other: AuditEvent) -> None:
    assert (encode(event) == encode(other)) == (event == other)


def test_every_field_of_an_event_is_covered_here() -> None:
    assert {field.name for field in fields(AuditEvent)} == set(FIELDS)


@given(events(), st.data())
def test_no_other_bytes_stand_for_an_event(event: AuditEvent, data: st.DataObject) -> None:
    encoded = encode(event)
    start = data.draw(st.integers(0, len(encoded)))
    end = data.draw(st.integers(start, min(len(encoded), start + 20)))
    altered = encoded[:start] + data.draw(st.binary(max_size=20)) + encoded[end:]
    try:
        other = decode(altered)
    except NotCanonical:
        return
    assert encode(other) == altered
    assert (other == event) == (altered == encoded)


def test_an_event_cut_short_is_none() -> None:
    for length in range(len(KNOWN_BYTES)):
        with pytest.raises(NotCanonical):
            decode(KNOWN_BYTES[:length])


@pytest.mark.parametrize(
    ("place", "altered"),
    [
        pytest.param(0, "00", id="no version of the format"),
        pytest.param(0, "02", id="a version to come"),
        pytest.param(17, "7fffffffffffffff", id="an instant after the last"),
        pytest.param(17, "8000000000000000", id="an instant before the first"),
        pytest.param(41, "ff", id="no such role"),
        pytest.param(42, "00", id="no such purpose"),
        pytest.param(43, "0000", id="no such action"),
        pytest.param(45, "ffff", id="no such resource"),
        pytest.param(47, "00", id="no such outcome"),
        pytest.param(48, "ffff", id="no such reason"),
        pytest.param(86, "056f7073207c", id="an operator with a space"),
        pytest.param(86, "056f7073c3a9", id="an operator beyond ASCII"),
        pytest.param(92, "0f", id="a patient of 15 bytes"),
        pytest.param(92, "11", id="a patient of 17 bytes"),
        pytest.param(109, "01", id="a digest of one byte"),
        pytest.param(110, "1f", id="a digest of 31 bytes"),
        pytest.param(176, "0001", id="an id too many"),
        pytest.param(176, "0003", id="an id too few"),
        pytest.param(len(KNOWN_BYTES), "00", id="a byte too many"),
    ],
)
def test_bytes_that_break_a_rule_are_no_event(place: int, altered: str) -> None:
    new = bytes.fromhex(altered)
    with pytest.raises(NotCanonical) as caught:
        decode(KNOWN_BYTES[:place] + new + KNOWN_BYTES[place + len(new) :])
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "impossible",
    [
        {"at": datetime(2024, 2, 29)},
        {"at": datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=1)))},
        {"fields": -1},
        {"fields": 2**64},
        {"version": 2**32},
        {"ids_count": 2**64},
        {"ids": (UUID(int=1),) * 2**16},
    ],
    ids=lambda impossible: next(iter(impossible)),
)
def test_what_has_no_encoding_is_refused(impossible: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="audit event"):
        encode(replace(an_event(), **impossible))


# No free text: an event says what it says by numbers, ids and digests, and by the operator's account name.

DIGESTS = ("ids_digest", "sealed_digest", "query_mac")


def test_an_event_has_no_place_for_text_but_the_operators_account_name() -> None:
    hints = get_type_hints(AuditEvent)
    able_to_hold_text = {name for name, hint in hints.items() if hint not in NO_TEXT and not is_enum(hint)}
    assert able_to_hold_text == {"operator", *DIGESTS}


NO_TEXT = (int, datetime, UUID, EventId, RequestId, PatientId | None, tuple[UUID, ...])


def is_enum(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, IntEnum)


@pytest.mark.parametrize("field", DIGESTS)
@pytest.mark.parametrize("text", [b"Ada", b"Ada Lovelace, 10 St James's Square", b"\0" * 31, b"\0" * 33])
def test_a_digest_has_32_bytes_or_is_absent(field: str, text: bytes) -> None:
    digests: dict[str, Any] = {field: text}
    with pytest.raises(ValueError, match="32 bytes") as caught:
        encode(replace(an_event(), **digests))
    assert "Ada" not in str(caught.value)


@pytest.mark.parametrize("name", ["Ada Lovelace", "Ada\n", "Adélaïde", "a" * 33, "mrn:1", "ada@example.org"])
def test_an_operator_is_a_plain_account_name(name: str) -> None:
    with pytest.raises(Invalid):
        replace(an_event(), operator=name)
    event = replace(KNOWN, operator="")
    smuggled = bytearray(encode(event))
    smuggled[86:87] = bytes([len(name.encode())]) + name.encode()
    with pytest.raises(NotCanonical):
        decode(bytes(smuggled))


@given(events())
def test_the_length_of_an_event_is_that_of_its_ids_digests_and_operator(event: AuditEvent) -> None:
    variable = 16 * (event.patient is not None) + 16 * len(event.ids) + len(event.operator)
    digests = 32 * sum(bool(digest) for digest in (event.ids_digest, event.sealed_digest, event.query_mac))
    assert len(encode(event)) == 86 + 5 + 2 + variable + digests
