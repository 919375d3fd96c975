"""A table of one's own: the devices that patients wear, sealed under the patient's key, found by serial number.

A device may have any label: the policy decides on it as it does on a patient's record.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from clarity.application.admission import Admitted, admit, admit_each
from clarity.domain.access import Action, Actor
from clarity.domain.audit import Attempt
from clarity.domain.errors import NotFound
from clarity.domain.identifiers import IndexKind, IndexTerm
from clarity.domain.ids import PatientId
from clarity.domain.records import Label, Notice, Resource, Sealed
from clarity.persistence.identifiers import IdentifierTable, identifier_rules
from clarity.persistence.patients.tables import PatientRow
from clarity.persistence.records import SealedTable, Written, as_stored
from clarity.persistence.registry import register
from clarity.persistence.tables import IdentifierColumns, OwnBase, SealedColumns
from clarity.persistence.unit_of_work import SqlWork
from clarity.security.blind_index import BlindIndex
from clarity.security.keyring import Keyring

register("devices", 10_000)  # for ever: what is sealed is bound to this number
NOBODY = PatientId(UUID(int=0))


class DeviceRow(SealedColumns, OwnBase):
    """A device; all of its content is in `sealed`."""

    __tablename__ = "devices"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey(PatientRow.id), index=True)


class SerialRow(IdentifierColumns, OwnBase):
    """The blind index of a serial number."""

    __tablename__ = "device_serials"
    __table_args__ = (*identifier_rules("device_serials"),)
    device_id: Mapped[UUID] = mapped_column(ForeignKey(DeviceRow.id), index=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device that a patient wears."""

    id: UUID
    patient: PatientId
    serial: str = field(repr=False)
    model: str = field(default="", repr=False)
    label: Label = field(default=Label.NORMAL, repr=False)
    notice: Notice | None = field(default=None, repr=False)


def serial_term(serial: str) -> IndexTerm:
    """Return what a device is found by, of a kind that the database keeps unique."""
    return IndexTerm(IndexKind.SOURCE, f"serial|{serial.strip()}")


class Devices:
    """The devices. Whoever may see a patient's record may see them, whoever may change it may add one."""

    def __init__(self, keyring: Keyring) -> None:
        outside = frozenset({"id", "patient", "notice"})
        self.table = SealedTable(DeviceRow, Device, Resource.PATIENT, keyring, outside=outside)
        self.serials = IdentifierTable(SerialRow, "device_id", BlindIndex(keyring), uuid7)

    async def add(self, work: SqlWork, actor: Actor, device: Device, at: datetime) -> None:
        """Seal a device. Raises `NotFound` for a patient the actor may not change, `Conflict` for a serial twice."""
        admitted = admit(work, actor, Action.CHANGE, await work.patients.get(device.patient), at=at)
        admitted.attempt.ids = (device.id,)
        key = self.table.key_of(as_stored(admitted))
        written = Written(status="active", label=device.label)
        await self.table.insert(work.session, work.ledger, key, device.id, device, written)
        await self.serials.change(work.session, device.id, before=(), after=[serial_term(device.serial)], version=1)

    async def find(self, work: SqlWork, actor: Actor, serial: str, at: datetime) -> Device:
        """Return the device with this serial number. Raises `NotFound` if there is none, or not for `actor`."""
        matches = self.table.fetched.where(DeviceRow.id.in_(self.serials.owners_of(serial_term(serial))))
        row = (await work.session.execute(matches)).first()
        found = (
            Sealed(resource=Resource.PATIENT, id=uuid7(), patient=NOBODY) if row is None else self.table.record_of(row)
        )
        return self.open(work, admit(work, actor, Action.VIEW, found, at=at))

    async def list(self, work: SqlWork, actor: Actor, patient: PatientId, at: datetime) -> list[Device]:
        """Return the devices of a patient that the actor may see: none, if the patient is not for them."""
        attempt = work.note(Attempt(actor=actor, action=Action.LIST, at=at))
        rows = await work.session.execute(self.table.fetched.where(DeviceRow.patient_id == patient))
        devices = []
        for admitted in admit_each(attempt, map(self.table.record_of, rows)):
            try:
                devices.append(self.open(work, admitted))
            except NotFound:
                continue  # its exact label hides it
        return devices

    def open(self, work: SqlWork, admitted: Admitted) -> Device:
        """Return the device inside, with the notice that goes with it. Raises `NotFound` if its label forbids it."""
        record = as_stored(admitted)
        device = self.table.open(record, id=record.id, patient=record.patient)
        shown = admitted.check_label(device.label, self.table.consents_of(record))
        work.ledger.disclose(Resource.PATIENT, record.id)
        return replace(device, notice=shown.notice)
