"""What is sealed opens as it was, in a form that is fixed for good."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarity.domain.dates import PartialDate
from clarity.domain.errors import CannotOpen
from clarity.domain.identifiers import Identifier, IdentifierKind
from clarity.domain.ids import PatientId
from clarity.domain.names import HumanName, NameUse, Period
from clarity.domain.patients import Death, Patient
from clarity.domain.people import (
    Address,
    AddressType,
    AddressUse,
    BirthSex,
    Category,
    Coding,
    Concept,
    EmergencyContact,
    Gender,
    Insurance,
    Language,
    Telecom,
    TelecomSystem,
    TelecomUse,
)
from clarity.domain.records import Label, Resource
from clarity.persistence.registry import number_of
from clarity.persistence.sealing import SealedMapper, SealedRecord, content_of, sparse
from clarity.security.envelope import Place
from clarity.security.keyring import Keyring
from tests.builders import NOW, a_keyring, a_patient

OUTSIDE = frozenset({"id", "care_team", "version"})
MAPPER = SealedMapper(Patient, "patients", outside=OUTSIDE)
KEYS = a_keyring()

text = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20)
some_text = text.filter(lambda value: bool(value.strip()))
instants = st.datetimes(timezones=st.just(UTC) | st.just(timezone(timedelta(hours=-4))))
dates = st.builds(PartialDate.of, st.dates()) | st.builds(PartialDate, st.integers(1, 9999))
periods = st.none() | st.builds(Period, start=dates)
codings = st.builds(Coding, system=text, code=some_text, display=text)
concepts = st.builds(Concept, codings=st.lists(codings, max_size=2).map(tuple), text=some_text)
names = st.builds(
    HumanName,
    family=some_text,
    given=st.lists(text, max_size=3).map(tuple),
    prefix=st.lists(text, max_size=1).map(tuple),
    use=st.none() | st.sampled_from(NameUse),
    period=periods,
)
telecoms = st.builds(
    Telecom, system=st.just(TelecomSystem.PHONE), value=some_text, use=st.none() | st.sampled_from(TelecomUse)
)
addresses = st.builds(
    Address,
    lines=st.lists(text, min_size=1, max_size=2).map(tuple),
    city=text,
    use=st.none() | st.sampled_from(AddressUse),
    type=st.none() | st.sampled_from(AddressType),
    latitude=st.none() | st.floats(-90, 90),
)
identifiers = st.builds(
    Identifier, kind=st.just(IdentifierKind.PASSPORT), value=some_text, system=text, type=st.none() | concepts
)
categories = st.builds(Category, text=some_text, omb=st.lists(codings, max_size=2).map(tuple))
patients = st.builds(
    Patient,
    id=st.uuids().map(PatientId),
    names=st.lists(names, min_size=1, max_size=3).map(tuple),
    born=dates,
    gender=st.sampled_from(Gender),
    identifiers=st.lists(identifiers, max_size=2).map(tuple),
    telecoms=st.lists(telecoms, max_size=2).map(tuple),
    addresses=st.lists(addresses, max_size=2).map(tuple),
    birth_sex=st.none() | st.sampled_from(BirthSex),
    marital_status=st.none() | concepts,
    languages=st.lists(st.builds(Language, language=concepts, preferred=st.none() | st.booleans()), max_size=2).map(
        tuple
    ),
    death=st.none() | st.builds(Death, day=st.none() | dates, instant=st.none() | instants),
    race=st.none() | categories,
    ethnicity=st.none() | categories,
    mothers_maiden_name=text,
    birth_place=st.none() | addresses,
    multiple_birth=st.none() | st.booleans() | st.integers(1, 9),
    contacts=st.lists(st.builds(EmergencyContact, name=names), max_size=2).map(tuple),
    insurances=st.lists(st.builds(Insurance, payer=some_text, member_id=some_text), max_size=2).map(tuple),
    notes=text,
    discharged=st.none() | st.dates(),
    label=st.sampled_from([Label.NORMAL, Label.RESTRICTED]),
    sources=st.lists(text, max_size=2).map(tuple),
)


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
    for plaintext in (b"\x02" + msgspec.msgpack.encode({}), b"\x01not msgpack", b"\x01" + msgspec.msgpack.encode({})):
        with pytest.raises(CannotOpen) as refused:
            opened(replace(record, wrapped=wrapped, ciphertext=key.seal(place, plaintext)))
        assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_opened_content_does_not_show_in_a_repr() -> None:
    content = content_of(Patient, ("names", "notes", "born"))
    assert "secret" not in repr(content(names=(), born=PartialDate(1985), notes="secret"))
