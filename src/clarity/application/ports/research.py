"""What keeps a researcher from knowing who is who."""

from typing import Protocol

from clarity.domain.ids import PatientId


class Pseudonyms(Protocol):
    """Names for patients that only a holder of the keys could trace back (45 CFR 164.514(c)).

    Both answers stay the same for a patient as long as the practice keeps its keys, and tell nothing about each other.
    """

    def of(self, patient: PatientId) -> bytes:
        """Return the patient's pseudonym, 16 bytes; in its order nothing of the patients' own order remains."""
        ...

    def shift_days(self, patient: PatientId) -> int:
        """Return by how many days the patient's dates are moved back, from 1 to 365."""
        ...
