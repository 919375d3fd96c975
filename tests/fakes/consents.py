"""Consents in a dictionary."""

from dataclasses import dataclass, field, replace

from clarity.application.admission import Admitted
from clarity.domain.access import ConsentRegister
from clarity.domain.errors import StaleWrite, UnauditedAccess
from clarity.domain.ids import PatientId
from clarity.domain.records import Resource, Sealed
from clarity.persistence.ledger import Ledger
from tests.fakes.patients import MemoryTables


@dataclass(slots=True)
class MemoryConsentRepository:
    """`ConsentRepository` over `MemoryTables`."""

    tables: MemoryTables
    ledger: Ledger
    _opened: dict[PatientId, int] = field(default_factory=dict)

    async def get(self, patient: PatientId) -> Sealed:
        if patient not in self.tables.patients:
            return Sealed(resource=Resource.CONSENT, id=patient, patient=patient)
        record = self.tables.sealed(self.tables.patients[patient][-1])
        standing = record.standing and replace(record.standing, guarded=False)
        return replace(record, resource=Resource.CONSENT, standing=standing, version=self._register(patient).version)

    def open(self, admitted: Admitted) -> ConsentRegister:
        patient = admitted.record.patient
        register = self._register(patient)
        self.ledger.disclose(Resource.CONSENT, patient)
        self._opened[patient] = register.version
        return register

    async def save(self, register: ConsentRegister) -> ConsentRegister:
        if register.patient not in self._opened:
            raise UnauditedAccess
        if self._opened[register.patient] != register.version:
            raise StaleWrite
        self.ledger.stamp()
        saved = replace(register, version=register.version + 1)
        self.tables.consents[register.patient] = saved
        self.ledger.change(Resource.CONSENT, register.patient, version=saved.version)
        return saved

    def _register(self, patient: PatientId) -> ConsentRegister:
        return self.tables.consents.get(patient, ConsentRegister(patient=patient))
