"""What a researcher sees of a patient: nothing by which the person could be told (45 CFR 164.514(b)(2), Safe Harbor).

Nothing is carried over but what is named here: a number, or a code out of a closed list. Texts never are.
"""

import re
from dataclasses import dataclass
from datetime import date
from typing import Final

from clarity.domain.dates import PartialDate, years_between
from clarity.domain.patients import Death, Patient
from clarity.domain.people import Address, AddressUse, BirthSex, Category, Coding, Concept, Gender

OLDEST_AGE: Final = 90
"""The age that stands for itself and every greater one (45 CFR 164.514(b)(2)(i)(C))."""

# 20,000 people or fewer by the census of 2000: the list in the guidance of HHS on 164.514(b), of 26 November 2012.
_SPARSE_2000 = "036 059 063 102 203 556 692 790 821 823 830 831 878 879 884 890 893"
# What lists in use for the census of 2010 add; not summed up anew here, nor is the census of 2020 in it. A prefix that
# is sparse in any list is taken for sparse, for to leave out more is allowed and to leave out less is not.
_SPARSE_2010 = "202 204 205 369 753 772"
SPARSE_ZIPS: Final = frozenset(f"{_SPARSE_2000} {_SPARSE_2010}".split())
"""The first three digits of ZIP codes that so few people share that they become 000."""

_ZIP = re.compile(r"(\d{3})\d{2}(?:-?\d{4})?", re.ASCII)
_COUNTRIES = frozenset({"", "us", "usa", "united states", "united states of america"})
_STATE_NAMES = """
AL Alabama, AK Alaska, AZ Arizona, AR Arkansas, CA California, CO Colorado, CT Connecticut, DE Delaware,
DC District of Columbia, FL Florida, GA Georgia, HI Hawaii, ID Idaho, IL Illinois, IN Indiana, IA Iowa, KS Kansas,
KY Kentucky, LA Louisiana, ME Maine, MD Maryland, MA Massachusetts, MI Michigan, MN Minnesota, MS Mississippi,
MO Missouri, MT Montana, NE Nebraska, NV Nevada, NH New Hampshire, NJ New Jersey, NM New Mexico, NY New York,
NC North Carolina, ND North Dakota, OH Ohio, OK Oklahoma, OR Oregon, PA Pennsylvania, RI Rhode Island,
SC South Carolina, SD South Dakota, TN Tennessee, TX Texas, UT Utah, VT Vermont, VA Virginia, WA Washington,
WV West Virginia, WI Wisconsin, WY Wyoming, AS American Samoa, GU Guam, MP Northern Mariana Islands, PR Puerto Rico,
VI Virgin Islands
"""
_STATES = {
    spelling.casefold(): code
    for code, _, name in (entry.strip().partition(" ") for entry in _STATE_NAMES.replace("\n", " ").split(","))
    for spelling in (code, name)
}

# The categories of OMB (Statistical Policy Directive 15) with their codes of CDC Race and Ethnicity, as US Core has
# them. The detailed codes beneath them name tribes and peoples of some hundred persons.
_OMB = {
    "1002-5": "american-indian-or-alaska-native",
    "2028-9": "asian",
    "2054-5": "black-or-african-american",
    "2076-8": "native-hawaiian-or-other-pacific-islander",
    "2106-3": "white",
    "2131-1": "other",
    "2135-2": "hispanic-or-latino",
    "2186-5": "not-hispanic-or-latino",
}
# HL7 v3 MaritalStatus.
_MARITAL = {
    "A": "annulled",
    "C": "common-law",
    "D": "divorced",
    "I": "interlocutory",
    "L": "legally-separated",
    "M": "married",
    "P": "polygamous",
    "S": "never-married",
    "T": "domestic-partner",
    "U": "unmarried",
    "W": "widowed",
}
# Languages that the American Community Survey tabulates by name (table B16001). Whoever speaks a rarer one shares
# "other" with all who do.
_SPOKEN = (
    "en es fr ht it pt de yi el ru pl sr hr bs uk hy fa gu hi ur pa bn ne te ta ml zh ja ko hmn vi km th lo tl fil ilo "
    "sm haw nv ar he am so yo ig sw"
)
_LANGUAGES = frozenset(_SPOKEN.split())
OTHER: Final = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResearchSubject:
    """A patient as a researcher sees them. Codes are "" and years `None` where nothing may be, or is, known.

    `age` is in years completed by 1 January, or at death; `OLDEST_AGE` stands for every age from there on, and then no
    year is told. Years are those of the patient's dates after all were moved back by one and the same number of days,
    from 1 to 365, which is the patient's own and secret: they keep their distance from each other, and none is known
    to be the true one. `days_from_discharge_to_death` is the true distance.
    """

    pseudonym: str
    age: int
    gender: Gender
    birth_sex: BirthSex | None = None
    marital_status: str = ""
    languages: tuple[str, ...] = ()
    race: tuple[str, ...] = ()
    ethnicity: tuple[str, ...] = ()
    state: str = ""
    zip3: str = ""
    deceased: bool = False
    birth_year: int | None = None
    discharge_year: int | None = None
    death_year: int | None = None
    days_from_discharge_to_death: int | None = None


def deidentified(patient: Patient, *, pseudonym: str, shift_days: int, today: date) -> ResearchSubject:
    """Return what a researcher may know of `patient`; `shift_days` is how far back their dates are moved."""
    died = _day_of(patient.death)
    reference = date(today.year, 1, 1) if died is None else died.last
    # Whoever reaches the age in the course of the year has it from its first day, so that the day does not show.
    is_oldest = (today.year if died is None else died.year) - patient.born.year >= OLDEST_AGE
    state, zip3 = _place(patient)
    discharged = None if patient.discharged is None else PartialDate.of(patient.discharged)
    return ResearchSubject(
        pseudonym=pseudonym,
        age=OLDEST_AGE if is_oldest else max(0, years_between(patient.born.first, reference)),
        gender=patient.gender,
        birth_sex=patient.birth_sex,
        marital_status=_marital_status(patient.marital_status),
        languages=tuple(sorted({_language(one.language) for one in patient.languages} - {""})),
        race=_categories(patient.race),
        ethnicity=_categories(patient.ethnicity),
        state=state,
        zip3=zip3,
        deceased=patient.death is not None,
        birth_year=None if is_oldest else _shifted_year(patient.born, shift_days),
        discharge_year=None if is_oldest else _shifted_year(discharged, shift_days),
        death_year=None if is_oldest else _shifted_year(died, shift_days),
        days_from_discharge_to_death=None if is_oldest else _days_between(discharged, died),
    )


def _day_of(death: Death | None) -> PartialDate | None:
    if death is None:
        return None
    return PartialDate.of(death.instant.date()) if death.instant is not None else death.day


def _shifted_year(day: PartialDate | None, shift_days: int) -> int | None:
    """Return the year a date falls in after it was moved back; a date known by its year alone stays in it."""
    if day is None or day.month is None:
        return None if day is None else day.year
    return date.fromordinal(max(1, day.first.toordinal() - shift_days)).year


def _days_between(start: PartialDate | None, end: PartialDate | None) -> int | None:
    if start is None or end is None or start.day is None or end.day is None:
        return None
    return (end.first - start.first).days


def _place(patient: Patient) -> tuple[str, str]:
    """Return the code of the state and three digits of the ZIP code of where the patient lives, in the US."""
    current = [address for address in patient.addresses if address.use is not AddressUse.OLD]
    home = next((address for address in current if address.use is AddressUse.HOME), current[0] if current else None)
    if home is None or home.country.strip().casefold().replace(".", "") not in _COUNTRIES:
        return "", ""
    return _STATES.get(home.state.strip().casefold(), ""), _zip3(home)


def _zip3(address: Address) -> str:
    found = _ZIP.fullmatch(address.postal_code.strip())
    if found is None:
        return ""
    return "000" if found[1] in SPARSE_ZIPS else found[1]


def _categories(category: Category | None) -> tuple[str, ...]:
    codings = () if category is None else category.omb
    return tuple(sorted({_OMB[coding.code] for coding in codings if coding.code in _OMB}))


def _marital_status(concept: Concept | None) -> str:
    return next((_MARITAL[one.code] for one in _codings(concept) if one.code in _MARITAL), "")


def _language(concept: Concept) -> str:
    """Return the code of a language (BCP 47, its first part), `OTHER` for a rarer one and for what is in words."""
    codes = (coding.code.partition("-")[0].casefold() for coding in _codings(concept) if coding.code)
    return next((code for code in codes if code in _LANGUAGES), OTHER)


def _codings(concept: Concept | None) -> tuple[Coding, ...]:
    return () if concept is None else concept.codings
