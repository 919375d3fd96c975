"""What is sealed opens as it was, in a form that is fixed for good."""

from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarity.domain.access.policy import RULES
from clarity.domain.dates import PartialDate
from clarity.domain.errors import CannotOpen, Invalid
from clarity.domain.ids import PatientId
from clarity.domain.names import HumanName
from clarity.domain.patients import Death, Patient, PatientField, hidden_by
from clarity.domain.records import Label, Resource
from clarity.persistence.patients.mapping import PatientTable
from clarity.persistence.registry import number_of
from clarity.persistence.sealing import SealedMapper, SealedRecord, Sparse, content_of
from clarity.security.envelope import Place
from clarity.security.keyring import Keyring
from tests.builders import NOW, a_keyring, a_patient, new_id
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
    key = KEYS.unwrap(record.wrapped)
    return MAPPER.open(key, record, id=record.patient, version=record.version)


@given(patients)
def test_no_field_of_a_patient_is_lost(patient: Patient) -> None:
    assert opened(sealed(patient)) == patient


def spelt_out(value: Any) -> Any:
    """Return what records have been sealed as since the first: this is not to change."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return [spelt_out(item) for item in value]
    if not is_dataclass(value):
        return value
    found = ((item, getattr(value, item.name)) for item in fields(value))
    return {item.name: spelt_out(content) for item, content in found if content != item.default}


def pairs_in(value: Any) -> Any:
    """Return a value with the entries of each map in their order."""
    if isinstance(value, dict):
        return [(name, pairs_in(content)) for name, content in value.items()]
    return [pairs_in(item) for item in value] if isinstance(value, list) else value


@given(patients)
def test_what_is_sealed_is_spelt_as_it_always_was(patient: Patient) -> None:
    content = {name: one for name, one in spelt_out(patient).items() if name not in OUTSIDE}
    written = MAPPER.content(patient)
    assert written[:1] == b"\x01"
    read, always = msgspec.msgpack.decode(written[1:]), msgspec.msgpack.decode(msgspec.msgpack.encode(content))
    assert pairs_in(read) == pairs_in(always)


@dataclass(frozen=True)
class Mislaid:
    """Something that is sealed, with a field of each kind that could be mistaken."""

    number: int
    text: str = ""
    when: datetime | None = None


def test_what_is_not_as_declared_is_not_sealed_and_not_told() -> None:
    wrong: Any = "four and twenty"
    with pytest.raises(TypeError) as refused:
        Sparse(Mislaid, ("number", "text", "when")).form(Mislaid(number=wrong))
    assert "twenty" not in str(refused.value)
    assert refused.value.__suppress_context__


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
    form = Sparse(Patient, ("id", "names", "born", "discharged", "notes")).form(patient)
    assert msgspec.json.encode(form, order="sorted") == (
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


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A record of an application's own, without slots."""

    id: UUID
    patient: PatientId
    words: str
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived(Plain):
    """One that inherits fields."""

    more: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slotted:
    """One with slots, and a rule."""

    id: UUID
    patient: PatientId
    words: str
    kept: bool = True

    def __post_init__(self) -> None:
        if self.words == "forbidden":
            raise Invalid("words", "are forbidden")


@dataclass(frozen=True)
class Mark:
    """A part of a record, without slots."""

    name: HumanName
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Nesting(Slotted):
    """One with parts of both kinds."""

    marks: tuple[Mark, ...] = (Mark(HumanName(family="Lovelace")),)
    names: dict[str, HumanName] = field(default_factory=dict)
    died: Death | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parted(Slotted):
    """One that is made past its rules, with a part that is not."""

    mark: Mark = Mark(HumanName(family="Lovelace"))
    names: tuple[HumanName, ...] = ()


class Folding:
    """What a record may have beside its fields."""

    __slots__ = ("folded",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded(Folding):
    """One with a slot that is no field, and that a rule fills."""

    id: UUID
    patient: PatientId
    words: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "folded", self.words.casefold())


SHAPES = {
    Plain: {},
    Derived: {},
    Slotted: {},
    Folded: {},
    Nesting: {"names": {"ada": HumanName(family="Byron")}, "died": Death(PartialDate(1852))},
    Parted: {"mark": Mark(HumanName(given=("Ada",)), 1), "names": (HumanName(family="Byron"),)},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_dataclass_an_application_seals_is_opened_as_it_was(shape: Any) -> None:
    mapper = SealedMapper(shape, "patients", outside=frozenset({"id", "patient"}))
    made = shape(id=new_id(), patient=PatientId(new_id()), words="and deeds", **SHAPES[shape])
    wrapped, key = KEYS.new_data_key(made.patient)
    record = replace(sealed(a_patient()), id=made.id, patient=made.patient, version=1, wrapped=wrapped)
    record = replace(record, ciphertext=mapper.seal(key, made, row=made.id, version=1))
    opened = mapper.open(key, record, id=made.id, patient=made.patient)
    assert opened == made
    assert type(opened) is shape
    assert getattr(opened, "folded", "") == getattr(made, "folded", "")
    with pytest.raises(TypeError):
        mapper.open(key, record, id=made.id)
    with pytest.raises(TypeError):
        mapper.open(key, record, id=made.id, patient=made.patient, other=1)


def test_what_obeyed_the_rules_of_its_time_opens_though_they_are_stricter_by_now() -> None:
    patient = a_patient()
    object.__setattr__(patient.name, "family", "\0")
    object.__setattr__(patient, "label", Label.PSYCHOTHERAPY)
    seen = opened(sealed(patient))
    assert seen == patient
    assert (type(seen), type(seen.name)) == (Patient, HumanName)


def test_what_is_given_takes_the_place_of_what_was_sealed() -> None:
    patient = replace(a_patient(), notes="secret")
    record = sealed(patient)
    assert record.wrapped is not None
    content = MAPPER.read(KEYS.unwrap(record.wrapped), record)
    assert "secret" not in repr(content)
    given = {"id": patient.id, "version": patient.version, "care_team": patient.care_team}
    assert MAPPER.entity_of(content, given) == patient
    assert MAPPER.entity_of(content, {**given, "notes": ""}) == replace(patient, notes="")


@given(patients, st.sampled_from(sorted({rule.fields for rule in RULES})))
def test_what_somebody_may_not_see_is_blank_in_the_patient_that_is_made_for_them(
    patient: Patient, shown: PatientField
) -> None:
    record, table = sealed(patient), PatientTable(KEYS, lambda: NOW)
    made = table.patient_of(table.read(record), record, patient.care_team, hidden_by(shown))
    assert made == patient.only(shown)
