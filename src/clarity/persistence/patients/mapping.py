"""From a patient to the columns of a row and back."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from clarity.application.ports import Clock
from clarity.domain.dates import PartialDate
from clarity.domain.identifiers import Identifier
from clarity.domain.ids import PractitionerId
from clarity.domain.names import HumanName
from clarity.domain.patients import LegalHold, Patient, PatientCard
from clarity.domain.people import BirthSex, Gender
from clarity.domain.records import Label, Notice, Resource
from clarity.domain.values import Confidential
from clarity.persistence.keys import DataKeys
from clarity.persistence.patients.tables import PatientRow
from clarity.persistence.records import SealedTable, Written
from clarity.persistence.sealing import SealedRecord

_OUTSIDE = frozenset({"id", "care_team", "version", "notice"})
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class _Card(msgspec.Struct, frozen=True, gc=False):
    """The part of the content that a search compares; reading only it is much faster than reading all."""

    names: tuple[HumanName, ...]
    born: PartialDate
    gender: Gender = Gender.UNKNOWN
    birth_sex: BirthSex | None = None
    identifiers: tuple[Identifier, ...] = ()
    label: Label = Label.NORMAL

    __repr__ = Confidential.__repr__


class _Hold(msgspec.Struct, frozen=True, gc=False):
    """The part of the content that says whether the record is held."""

    legal_hold: LegalHold | None = None
    label: Label = Label.NORMAL

    __repr__ = Confidential.__repr__


class PatientTable(SealedTable[Patient]):
    """The patients. The care team is in a table of its own."""

    def __init__(self, keys: DataKeys, now: Clock) -> None:
        super().__init__(PatientRow, Patient, Resource.PATIENT, keys, outside=_OUTSIDE, patient="id", now=now)
        self._card = msgspec.msgpack.Decoder(_Card)
        self._hold = msgspec.msgpack.Decoder(_Hold)

    def open_patient(self, record: SealedRecord, care_team: frozenset[PractitionerId]) -> Patient:
        """Return the patient inside `record`, or raise `CannotOpen`."""
        return self.patient_of(self.read(record), record, care_team)

    def patient_of(
        self,
        content: Any,
        record: SealedRecord,
        care_team: frozenset[PractitionerId],
        hidden: Mapping[str, Any] = _NOTHING,
        notice: Notice | None = None,
    ) -> Patient:
        """Return the patient with the content of `record`; the fields that are `hidden` are as that says instead."""
        given = {"id": record.patient, "version": record.version, "care_team": care_team, "notice": notice}
        # Of the care team, which may be hidden too, nothing is sealed.
        given |= {name: blank for name, blank in hidden.items() if getattr(content, name, _NOTHING) is not blank}
        return self.mapper.entity_of(content, given)

    def open_card(self, record: SealedRecord) -> tuple[PatientCard, Label]:
        """Return what a search compares of the patient inside `record`, and its label, or raise `CannotOpen`."""
        content = self.mapper.decode(self.key_of(record), record, self._card)
        card = PatientCard(
            id=record.patient,
            names=content.names,
            born=content.born,
            gender=content.gender,
            birth_sex=content.birth_sex,
            identifiers=content.identifiers,
            changed_at=record.written_at,
        )
        return card, content.label

    def open_hold(self, record: SealedRecord) -> tuple[LegalHold | None, Label]:
        """Return the legal hold on `record`, if there is one, and its label, or raise `CannotOpen`."""
        content = self.mapper.decode(self.key_of(record), record, self._hold)
        return content.legal_hold, content.label


def written(patient: Patient, fields: int) -> Written:
    """Return what is written of `patient` beside the seal."""
    return Written(status=patient.status.value, label=patient.label, fields=fields)
