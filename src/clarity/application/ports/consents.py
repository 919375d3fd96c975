"""Where the consents of patients are kept."""

from typing import Protocol

from clarity.application.admission import Admitted
from clarity.domain.access import ConsentRegister
from clarity.domain.ids import PatientId
from clarity.domain.records import Sealed


class ConsentRepository(Protocol):
    """The consents of one unit of work: of each patient one register, sealed as a whole.

    Whatever fetches a record brings its patient's register along as it is in the database at that moment, so that what
    is recorded or withdrawn here holds from the next request on, in every process.
    """

    async def get(self, patient: PatientId) -> Sealed:
        """Fetch a patient's register, at version 0 if they never gave a consent.

        It stands as the patient's record does: of a patient who does not exist or was deleted, nobody is admitted to
        it.
        """
        ...

    def open(self, admitted: Admitted) -> ConsentRegister:
        """Return the register inside. Raises `CannotOpen` if it was altered or its key is gone."""
        ...

    async def save(self, register: ConsentRegister) -> ConsentRegister:
        """Write a register that this unit of work opened as its next version and return it; the one before is kept.

        Raises `Transient` if somebody else did so meanwhile: what was read has to be read again.
        """
        ...
