"""What is sealed opens as it was, in a form that is fixed for good."""

from dataclasses import replace
from datetime import date, datetime
from uuid import UUID

import msgspec
import pytest
from hypothesis import given

from clarity.domain.dates import PartialDate
from clarity.domain.errors import CannotOpen
from clarity.domain.ids import PatientId
from clarity.domain.names import HumanName
from clarity.domain.patients import Death, Patient
from clarity.domain.records import Resource
from clarity.persistence.registry import number_of
from clarity.persistence.sealing import SealedMapper, SealedRecord, content_of, sparse
from clarity.security.envelope import Place
from clarity.security.keyring import Keyring
from tests.builders import NOW, a_keyring, a_patient
from tests.strategies import instants, patients

OUTSIDE = frozenset({"id", "care_team", "version"})
MAPPER = SealedMapper(Patient, "patients", outside=OUTSIDE)
KEYS = a_keyring()


def sealed(patient: Patient, keys: Keyring = KEYS) -> SealedRecord:
    wrapped, key = keys.new_data_key(patient.id)
    return SealedRecord(
        resource=Resource.PATIENT,
        id=patient.id,
        patient=patient.id,
        version=patient.version,
        ciphertext=MAPPER.seal(key, patient, row=patient.id, version=patient.version),
        wrapped=wrapped,
        written_at=NOW,
        written_by=patient.id,
    )


def opened(record: SealedRecord) -> Patient:
    assert record.wrapped is not None
    content = MAPPER.open(KEYS.unwrap(record.wrapped), record)
    return Patient(id=record.patient, version=record.version, **content)


@given(patients)
def test_no_field_of_a_patient_is_lost(patient: Patient) -> None:
    assert opened(sealed(patient)) == patient


@given(instants)
def test_an_instant_keeps_its_offset(instant: datetime) -> None:
    died = opened(sealed(replace(a_patient(), death=Death(instant=instant)))).death
    assert died is not None
    assert died.instant is not None
    assert died.instant.utcoffset() == instant.utcoffset()


def test_the_form_of_what_is_sealed_is_fixed() -> None:
    patient = Patient(
        id=PatientId(UUID(int=7)),
        names=(HumanName(family="Lovelace", given=("Ada",)),),
        born=PartialDate(1815, 12),
        discharged=date(1852, 11, 27),
    )
    assert msgspec.json.encode(sparse(patient), order="sorted") == (
        b'{"born":{"month":12,"year":1815},"discharged":"1852-11-27","id":"00000000-0000-0000-0000-000000000007",'
        b'"names":[{"family":"Lovelace","given":["Ada"]}]}'
    )


def test_a_record_of_another_schema_is_not_guessed_at() -> None:
    patient = a_patient()
    wrapped, key = KEYS.new_data_key(patient.id)
    record = sealed(patient)
    place = Place(*number_of("patients"), row=patient.id, subject=patient.id, version=patient.version)
    sound = msgspec.msgpack.encode({"names": [{"family": "Lovelace"}], "born": {"year": 1985}})
    assert opened(replace(record, wrapped=wrapped, ciphertext=key.seal(place, b"\x01" + sound))).born.year == 1985
    for plaintext in (b"\x02" + sound, b"\x01not msgpack", b"\x01" + msgspec.msgpack.encode({})):
        with pytest.raises(CannotOpen) as refused:
            opened(replace(record, wrapped=wrapped, ciphertext=key.seal(place, plaintext)))
        assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    "plaintext", [b"", b"\x01", b"\x01\xa1\xff", b"\x01\x81\xa5notes\xa1\xff", b"\x01" + b"\x91" * 9_999]
)
def test_what_is_no_content_of_ours_is_not_opened_though_it_was_sealed(plaintext: bytes) -> None:
    record = sealed(patient := a_patient())
    assert record.wrapped is not None
    key, (table, column) = KEYS.unwrap(record.wrapped), number_of("patients")
    place = Place(table=table, column=column, row=patient.id, subject=patient.id, version=patient.version)
    with pytest.raises(CannotOpen):
        opened(replace(record, ciphertext=key.seal(place, plaintext)))


def test_opened_content_does_not_show_in_a_repr() -> None:
    content = content_of(Patient, ("names", "notes", "born"))
    assert "secret" not in repr(content(names=(), born=PartialDate(1985), notes="secret"))
