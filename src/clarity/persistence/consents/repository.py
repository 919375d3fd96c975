"""The consents of one unit of work."""

from dataclasses import dataclass, field, replace

from sqlalchemy.ext.asyncio import AsyncSession

from clarity.application.admission import Admitted
from clarity.domain.access import ConsentRegister
from clarity.domain.errors import StaleWrite, Transient, UnauditedAccess
from clarity.domain.ids import PatientId
from clarity.domain.records import Resource, Sealed
from clarity.persistence.consents.tables import ConsentRow
from clarity.persistence.errors import translated
from clarity.persistence.keys import DataKeys
from clarity.persistence.ledger import Ledger
from clarity.persistence.patients.mapping import PatientTable
from clarity.persistence.records import SealedTable, Written, as_stored
from clarity.persistence.sealing import SealedRecord

_WRITTEN = Written(status="active")


class ConsentTable(SealedTable[ConsentRegister]):
    """The registers. Their id is the patient's."""

    def __init__(self, keys: DataKeys) -> None:
        outside = frozenset({"patient", "version"})
        super().__init__(ConsentRow, ConsentRegister, Resource.CONSENT, keys, outside=outside, patient="id")


@dataclass(frozen=True, slots=True)
class SqlConsentRepository:
    """`ConsentRepository` over one session. Enters in the ledger every register it hands out or writes."""

    session: AsyncSession
    patients: PatientTable
    table: ConsentTable
    ledger: Ledger
    _opened: dict[PatientId, SealedRecord] = field(default_factory=dict, init=False)

    async def get(self, patient: PatientId) -> Sealed:
        """Fetch a patient's register, by way of the patient: who reaches them may exist before it does."""
        record = await self.patients.find(self.session, patient)
        if record is None:
            return Sealed(resource=Resource.CONSENT, id=patient, patient=patient)
        standing = record.standing and replace(record.standing, guarded=False)
        version = record.consents.version if record.consents is not None else 0
        return replace(record, resource=Resource.CONSENT, standing=standing, version=version)

    def open(self, admitted: Admitted) -> ConsentRegister:
        """Return the register inside."""
        record = as_stored(admitted)
        register = self.patients.register_in(record)
        self.ledger.disclose(Resource.CONSENT, record.patient)
        self._opened[record.patient] = record
        return register

    async def save(self, register: ConsentRegister) -> ConsentRegister:
        """Write a register that this unit of work opened as its next version and return it."""
        record = self._opened.get(register.patient)
        if record is None:
            raise UnauditedAccess
        if record.version != register.version:
            raise StaleWrite
        try:
            with translated():
                version = await self._written(record, register)
        except StaleWrite:
            raise Transient from None  # nobody named a version: whoever adds to a register may do so again
        return replace(register, version=version)

    async def _written(self, record: SealedRecord, register: ConsentRegister) -> int:
        if record.version:
            return await self.table.replace(self.session, self.ledger, record, register, _WRITTEN)
        key = self.table.key_of(record)
        await self.table.insert(self.session, self.ledger, key, register.patient, register, _WRITTEN)
        return 1
