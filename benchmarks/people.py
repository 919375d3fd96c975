"""Made-up people to search among: named by the generator's weighted US name tables, all following from one seed.

The first so many of a larger practice are the people of a smaller one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
from faker.providers.person.en_US import Provider as UsNames

from clarity.demo.people import STATE
from clarity.domain.dates import PartialDate
from clarity.domain.identifiers import Identifier
from clarity.domain.ids import PatientId
from clarity.domain.names import HumanName, NameUse, fold
from clarity.domain.patients import Death, Patient, PatientStatus
from clarity.domain.people import Address, AddressUse, BirthSex, Gender, Telecom, TelecomSystem, TelecomUse

SEED = 20_260_314
_FEMALE = 0.54
_STATUSES = (PatientStatus.ACTIVE, PatientStatus.DISCHARGED, PatientStatus.DECEASED)
_SHARES = (0.78, 0.18, 0.04)
_YOUNGEST_BORN, _OLDEST_BORN = date(2020, 1, 1), date(1930, 1, 1)
_ENDED = date(2025, 6, 30)
_STREETS = ("Main Street", "Oak Avenue", "Harbor Road", "Maple Lane", "Church Street", "Pleasant Street", "Elm Court")
_TOWNS = ("Ashwick", "Brantford Falls", "Coldbrook", "Dunmere", "Eastholm", "Fairhollow", "Grantley", "Highmoor")
_REMARKS = ("Call the mobile.", "Prefers mornings.", "Video visits work well.", "Needs step-free access.")

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Table:
    """The names of one kind, and how often each is drawn; the shares add up to 1."""

    names: tuple[str, ...]
    shares: npt.NDArray[np.float64]

    @classmethod
    def of(cls, *weighted: tuple[float, Mapping[str, float]]) -> "Table":
        """Mix tables of names and weights, each with its own share."""
        shares: dict[str, float] = {}
        for share, weights in weighted:
            whole = sum(weights.values())
            for name, weight in weights.items():
                shares[name] = shares.get(name, 0.0) + share * weight / whole
        return cls(tuple(shares), np.array(list(shares.values())))

    def drawn(self, random: np.random.Generator, count: int) -> Numbers:
        """Return the positions of names drawn by their shares."""
        return np.searchsorted(np.cumsum(self.shares)[:-1], random.random(count), side="right")


FAMILY = Table.of((1.0, UsNames.last_names))
FEMALE = Table.of((1.0, UsNames.first_names_female))
MALE = Table.of((1.0, UsNames.first_names_male))
GIVEN = Table.of((_FEMALE, UsNames.first_names_female), (1 - _FEMALE, UsNames.first_names_male))
"""The given names of everybody, which is what a thief knows."""
_FOLDED = tuple(np.array([fold(name) for name in table.names], dtype=object) for table in (FAMILY, FEMALE, MALE))


@dataclass(frozen=True, slots=True)
class Person:
    """What both sides of a comparison store of somebody, before either has put it into its own form."""

    number: int
    family: str
    given: str
    female: bool
    born: date
    status: PatientStatus
    phone: str
    email: str
    line: str
    city: str
    postal_code: str
    notes: str

    @property
    def gender(self) -> Gender:
        return Gender.FEMALE if self.female else Gender.MALE

    @property
    def state(self) -> str:
        return STATE

    @property
    def mrn(self) -> str:
        return str(10_000_000 + self.number)

    @property
    def ssn(self) -> str:
        """A number of an area that is never given out, beginning with 9."""
        return f"{900 + self.number // 1_000_000 % 100}-{self.number // 10_000 % 100:02}-{self.number % 10_000:04}"

    def patient(self, identity: PatientId, *, with_ssn: bool = False) -> Patient:
        """Return the same as a patient record."""
        return Patient(
            id=identity,
            names=(HumanName(family=self.family, given=(self.given,), use=NameUse.OFFICIAL),),
            born=PartialDate.of(self.born),
            gender=self.gender,
            birth_sex=BirthSex.FEMALE if self.female else BirthSex.MALE,
            identifiers=(Identifier.mrn(self.mrn), *((Identifier.ssn(self.ssn),) if with_ssn else ())),
            telecoms=(
                Telecom(system=TelecomSystem.PHONE, value=self.phone, use=TelecomUse.MOBILE),
                Telecom(system=TelecomSystem.EMAIL, value=self.email),
            ),
            addresses=(
                Address(
                    lines=(self.line,),
                    city=self.city,
                    state=self.state,
                    postal_code=self.postal_code,
                    country="US",
                    use=AddressUse.HOME,
                ),
            ),
            notes=self.notes,
            discharged=_ENDED if self.status is PatientStatus.DISCHARGED else None,
            death=Death(day=PartialDate.of(_ENDED)) if self.status is PatientStatus.DECEASED else None,
        )


def _phone(number: int) -> str:
    """Return a telephone number of an exchange that serves nobody, each somebody's own among eight million.

    The hundred numbers that are set aside for fiction would be shared by many, of whom most could be one person: then
    to register somebody would be to open reviews, which it seldom is.
    """
    return f"({200 + number // 10_000 % 800}) 555-{number % 10_000:04}"


class People:
    """The people that follow from a seed. Each property has a stream of its own, so that more people change nobody."""

    def __init__(self, count: int, seed: int = SEED) -> None:
        """Draw `count` people, which takes a second for ten million."""
        names, genders, girls, boys, births, states = (
            np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(6)
        )
        self.count = count
        self.family = FAMILY.drawn(names, count)
        self.female = genders.random(count) < _FEMALE
        self._girls, self._boys = FEMALE.drawn(girls, count), MALE.drawn(boys, count)
        days = (_YOUNGEST_BORN - _OLDEST_BORN).days
        self.born = _OLDEST_BORN.toordinal() + (births.random(count) * days).astype(np.int64)
        self._status = np.searchsorted(np.cumsum(_SHARES)[:-1], states.random(count), side="right")

    def given_of(self, number: int) -> str:
        """Return somebody's given name."""
        if self.female[number]:
            return FEMALE.names[int(self._girls[number])]
        return MALE.names[int(self._boys[number])]

    def names(self, first: int, last: int) -> tuple[list[str], list[str]]:
        """Return the family names and the given names of the people from `first` up to `last`, folded."""
        families, girls, boys = _FOLDED
        some = slice(first, last)
        given = np.where(self.female[some], girls[self._girls[some]], boys[self._boys[some]])
        return families[self.family[some]].tolist(), given.tolist()

    def pairs(self) -> npt.NDArray[np.int64]:
        """Return how many people have each given name of `GIVEN` (rows) with each family name (columns)."""
        positions = {name: position for position, name in enumerate(GIVEN.names)}
        girls, boys = (np.array([positions[name] for name in table.names]) for table in (FEMALE, MALE))
        given = np.where(self.female, girls[self._girls], boys[self._boys])
        width = len(FAMILY.names)
        flat = np.bincount(given * width + self.family, minlength=len(GIVEN.names) * width)
        return flat.reshape(len(GIVEN.names), width)

    def some(self, first: int, last: int) -> Iterator[Person]:
        """Return the people from number `first` up to, not including, `last`."""
        for number in range(first, last):
            family, given = FAMILY.names[self.family[number]], self.given_of(number)
            street, town = number * 7 % len(_STREETS), number * 3 % len(_TOWNS)
            yield Person(
                number=number,
                family=family,
                given=given,
                female=bool(self.female[number]),
                born=_OLDEST_BORN + timedelta(days=int(self.born[number]) - _OLDEST_BORN.toordinal()),
                status=_STATUSES[self._status[number]],
                phone=_phone(number),
                email=f"{fold(given)}.{fold(family)}{number}@example.org",
                line=f"{number % 997 + 1} {_STREETS[street]}",
                city=_TOWNS[town],
                postal_code=f"0{1000 + number * 13 % 1790}",
                notes=_REMARKS[number % len(_REMARKS)],
            )
