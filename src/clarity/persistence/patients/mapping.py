"""From a patient to the columns of a row and back."""

from dataclasses import dataclass
from typing import Any

import msgspec

from clarity.domain.dates import PartialDate
from clarity.domain.errors import CannotOpen
from clarity.domain.identifiers import Identifier
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.names import HumanName
from clarity.domain.patients import Patient, PatientCard, PatientStatus
from clarity.domain.records import Label, Resource, Standing
from clarity.persistence.keys import DataKeys, wrapped_key
from clarity.persistence.sealing import SealedMapper, SealedRecord
from clarity.security.vault import DataKey

_OUTSIDE = frozenset({"id", "care_team", "version"})


class _Card(msgspec.Struct, frozen=True, gc=False):
    """The part of the content that a search compares; reading only it is much faster than reading all."""

    names: tuple[HumanName, ...]
    born: PartialDate
    identifiers: tuple[Identifier, ...] = ()


@dataclass(frozen=True, slots=True)
class PatientMapper:
    """Seals patients and opens them with the keys that came with their rows."""

    keys: DataKeys
    content: SealedMapper[Patient]
    card: msgspec.msgpack.Decoder[_Card]

    @classmethod
    def using(cls, keys: DataKeys) -> "PatientMapper":
        """Return a mapper that unwraps data keys with `keys`."""
        mapper = SealedMapper(Patient, "patients", outside=_OUTSIDE)
        return cls(keys, mapper, msgspec.msgpack.Decoder(_Card))

    def seal(self, key: DataKey, patient: Patient) -> dict[str, Any]:
        """Return the columns that hold the content of `patient` at its version."""
        sealed = self.content.seal(key, patient, row=patient.id, patient=patient.id, version=patient.version)
        return {
            "sealed": sealed,
            "key_generation": key.generation,
            "version": patient.version,
            "guarded": patient.label is not Label.NORMAL,
            "status": patient.status.value,
        }

    def open(self, record: SealedRecord, care_team: frozenset[PractitionerId]) -> Patient:
        """Return the patient inside `record`, or raise `CannotOpen`."""
        content = self.content.open(self.key_of(record), record, record.ciphertext)
        return Patient(id=record.patient, version=record.version, care_team=care_team, **content)

    def open_card(self, record: SealedRecord) -> PatientCard:
        """Return what a search compares of the patient inside `record`, or raise `CannotOpen`."""
        card = self.content.decode(self.key_of(record), record, record.ciphertext, self.card)
        return PatientCard(id=record.patient, names=card.names, born=card.born, identifiers=card.identifiers)

    def key_of(self, record: SealedRecord) -> DataKey:
        """Return the data key that the same statement returned with `record`, or raise `CannotOpen`."""
        if record.wrapped is None:
            raise CannotOpen  # the key was destroyed: the patient is forgotten
        return self.keys.unwrap(record.wrapped)

    def to_record(self, row: Any) -> SealedRecord:
        """Return a fetched row as a record still closed."""
        patient = PatientId(row.id)
        return SealedRecord(
            resource=Resource.PATIENT,
            id=patient,
            patient=patient,
            standing=Standing(
                care_team=row.care_team,
                author=row.created_by,
                guarded=row.guarded,
                deleted=row.status == PatientStatus.DELETED.value,
            ),
            version=row.version,
            ciphertext=row.sealed,
            wrapped=wrapped_key(row, patient),
            written_at=row.updated_at,
            written_by=row.updated_by,
        )
