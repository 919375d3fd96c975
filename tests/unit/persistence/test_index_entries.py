"""What an index is told of a sealed row is what the domain says of the patient inside."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given

from clarity.application.ports.search import Absence, IndexGap
from clarity.domain.dates import microseconds_of
from clarity.domain.patients import Patient
from clarity.domain.records import Label
from clarity.persistence.index_entries import IndexEntries, StampedRow
from clarity.persistence.registry import number_of
from clarity.persistence.sealing import SealedMapper
from clarity.security.envelope import Place
from tests.builders import NOW, a_keyring, a_patient
from tests.fakes.changes import change_of
from tests.fakes.patients import StoredVersion
from tests.strategies import patients

MAPPER = SealedMapper(Patient, "patients", outside=frozenset({"id", "care_team", "version", "notice"}))
KEYS = a_keyring()
ENTRIES = IndexEntries(KEYS)


def row_of(patient: Patient, plaintext: bytes | None = None) -> StampedRow:
    """Return the row of a patient, or one in which something else was sealed."""
    wrapped, key = KEYS.new_data_key(patient.id)
    if plaintext is None:
        sealed = MAPPER.seal(key, patient, row=patient.id, version=patient.version)
    else:
        place = Place(*number_of("patients"), row=patient.id, subject=patient.id, version=patient.version)
        sealed = key.seal(place, plaintext)
    return StampedRow(
        id=patient.id.bytes,
        version=patient.version,
        status=patient.status.value,
        guarded=patient.label is not Label.NORMAL,
        changed=microseconds_of(NOW),
        sealed=sealed,
        key_generation=wrapped.generation,
        kek_generation=wrapped.kek_generation,
        wrapped=wrapped.wrapped,
    )


@given(patients)
def test_an_entry_says_what_the_domain_says(patient: Patient) -> None:
    stored = StoredVersion(patient=patient, author=patient.id, written_at=NOW, written_by=patient.id)
    assert ENTRIES.of([row_of(patient)]) == [change_of(stored)]


@pytest.mark.parametrize(
    "plaintext",
    [
        b"",
        b"\x02" + msgspec.msgpack.encode({"names": [{"family": "Alcantar"}], "born": {"year": 1970}}),
        b"\x01",
        b"\x01\xff\xff",
        b"\x01" + msgspec.msgpack.encode({"names": [], "born": {"year": 1970}}),
        b"\x01" + msgspec.msgpack.encode({"names": [{"family": "Alcantar"}]}),
        *(
            b"\x01" + msgspec.msgpack.encode({"names": [{"family": "Alcantar"}], "born": born})
            for born in (
                {"year": 1970, "month": 2, "day": 30},
                {"year": 1970, "day": 1},
                {"year": 10**18, "month": 1, "day": 1},
                {"year": 10**18},
                {"year": 0},
            )
        ),
        b"\x01" + b"\x81\xa5names" + b"\x91" * 100_000,
        b"\x01" + b"\x81\xa5names\x91\x81\xa6family\xa2\xff\xfe",
    ],
    ids=range(13),
)
def test_what_is_no_content_of_ours_is_a_gap_and_the_next_is_opened(plaintext: bytes) -> None:
    ada, bob = a_patient(), a_patient()
    ada, bob = replace(ada, version=3), replace(bob, version=1)
    gap, entry = ENTRIES.of([row_of(ada, plaintext), row_of(bob)])
    assert gap == IndexGap(ada.id.bytes, 3, Absence.UNOPENED, row_of(ada, plaintext).changed)
    assert not isinstance(entry, IndexGap)
