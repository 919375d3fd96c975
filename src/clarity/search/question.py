"""What a search by name, birth and status asks of an index: texts as bytes, ages as days."""

from dataclasses import dataclass
from datetime import date
from typing import Self

from clarity.domain.patients import PatientQuery, PatientSort, PatientStatus
from clarity.domain.people import BirthSex, Gender
from clarity.domain.values import Confidential

_LAST_DAY = date.max.toordinal()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Question(Confidential):
    """The conditions of a `PatientQuery` that an index answers, and the order of the answer.

    Each of `fragments` (folded, UTF-8) must occur in one and the same name. Somebody matches whose first possible day
    of birth is not after `born_by`, and whose last is not before `born_since` (proleptic Gregorian ordinals).
    """

    fragments: tuple[bytes, ...] = ()
    born_since: int = 0
    born_by: int = _LAST_DAY
    gender: Gender | None = None
    birth_sex: BirthSex | None = None
    status: PatientStatus | None = None
    sort: PatientSort = PatientSort.NAME
    descending: bool = False

    @classmethod
    def of(cls, query: PatientQuery, today: date) -> Self:
        """Return what `query` asks on the day `today`, exact identifiers and practitioners left out."""
        since, by = [0], [_LAST_DAY]
        if query.born_from is not None:
            since.append(query.born_from.toordinal())
        if query.born_to is not None:
            by.append(query.born_to.toordinal())
        if query.min_age is not None or query.max_age is not None:
            by.append(_born_by(query.min_age or 0, today))
        if query.max_age is not None:
            since.append(_born_by(query.max_age + 1, today) + 1)
        return cls(
            fragments=tuple(fragment.encode() for fragment in query.fragments),
            born_since=max(since),
            born_by=min(by),
            gender=query.gender,
            birth_sex=query.birth_sex,
            status=query.status,
            sort=query.sort,
            descending=query.descending,
        )

    @property
    def asks_birth(self) -> bool:
        """Whether not every date of birth would do."""
        return self.born_since > 0 or self.born_by < _LAST_DAY


def _born_by(age: int, today: date) -> int:
    """Return the last day on which those were born who completed `age` years by `today`; 0 if there was none."""
    year = today.year - age
    if year < 1:
        return 0
    try:
        return today.replace(year=year).toordinal()
    except ValueError:  # today is 29 February, and that year had none
        return date(year, 2, 28).toordinal()
