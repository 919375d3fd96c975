"""How long a record is kept: the rule, and what it says of one record.

Most law that binds a practice is that of its state, and longer than the federal floor: six years for the documentation
of HIPAA (45 CFR 164.316(b)(2)(i)), five for the records of hospitals that take part in Medicare (42 CFR 482.24(b)(1)).
Where states speak of minors, they count from majority. `RETENTION_YEARS` is for the practice to set.
"""

from dataclasses import dataclass
from datetime import MAXYEAR, date, datetime

from clarity.domain.dates import latest_day
from clarity.domain.errors import Retained
from clarity.domain.patients import Patient, PatientStatus

YEARS_FROM_BIRTH = 28
"""Majority at 18, and ten years more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Whether and for how long one record is kept.

    `until` is the first day on which it may be deleted; `None` means for as long as the patient is in care. `held`
    means that it stands under a legal hold.
    """

    until: date | None
    held: bool = False

    def require_over(self, today: date) -> None:
        """Raise `Retained`, which says until which year, unless the record may be deleted on the day that is `today`.

        A minor's record is kept until a birthday, and whoever deletes records need not see whose they are.
        """
        if self.held:
            raise Retained("this record stands under a legal hold")
        if self.until is None:
            raise Retained("this record is kept for as long as the patient is in care")
        if today < self.until:
            raise Retained(f"this record is kept into {self.until.year}")


@dataclass(frozen=True, slots=True)
class Retention:
    """The rule of one practice: a record is kept for `years` after the last that happened in it.

    In no case is that over before the patient is 28: a record may hold what was written while they were a minor, also
    if they came of age since.
    """

    years: int = 10

    def of(self, patient: Patient, changed_at: datetime) -> Kept:
        """Return how long the record of `patient`, last changed at an instant (UTC), is kept."""
        return Kept(until=self._until(patient, changed_at), held=patient.legal_hold is not None)

    def _until(self, patient: Patient, changed_at: datetime) -> date | None:
        if patient.status is PatientStatus.ACTIVE:
            return None
        ends = [latest_day(changed_at)]
        if patient.discharged is not None:
            ends.append(patient.discharged)
        if patient.death is not None:
            ends += [] if patient.death.day is None else [patient.death.day.last]
            ends += [] if patient.death.instant is None else [latest_day(patient.death.instant)]
        return max(years_after(max(ends), self.years), years_after(patient.born.last, YEARS_FROM_BIRTH))


def years_after(day: date, years: int) -> date:
    """Return the same day some years later: 1 March where that year has no 29 February, at most the last of all."""
    year = day.year + years
    if year > MAXYEAR:
        return date.max
    try:
        return day.replace(year=year)
    except ValueError:
        return date(year, 3, 1)
