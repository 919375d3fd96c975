"""How much of a medicine is taken, by what route and how often."""

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final, Self

from clarity.domain.errors import Invalid
from clarity.domain.values import Confidential, allow_text

_DECIMAL = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?", re.ASCII)
_MOST_DECIMALS: Final = 6
_MOST_A_DAY: Final = 288
"""A dose every five minutes: no order that is taken for days comes close."""


def read_amount(text: str) -> Decimal:
    """Return the number that somebody wrote as a decimal, or raise `Invalid`."""
    if not _DECIMAL.fullmatch(text):
        raise Invalid("value", 'must be a decimal number such as "12.5"')
    return Decimal(text)


class DoseUnit(StrEnum):
    """A unit that doses are measured in: its code in the Unified Code for Units of Measure (UCUM 2.2), by case.

    What is counted stands in braces, as UCUM has annotations. Which units there are is our choice.
    """

    NANOGRAM = "ng"
    MICROGRAM = "ug"
    MILLIGRAM = "mg"
    GRAM = "g"
    MILLIGRAM_PER_KILOGRAM = "mg/kg"
    MICROGRAM_PER_HOUR = "ug/h"
    MILLIGRAM_PER_DAY = "mg/d"
    MILLILITRE = "mL"
    LITRE = "L"
    DROP = "[drp]"
    INTERNATIONAL_UNIT = "[iU]"
    MILLIMOLE = "mmol"
    MILLIEQUIVALENT = "meq"
    TABLET = "{tablet}"
    CAPSULE = "{capsule}"
    LOZENGE = "{lozenge}"
    FILM = "{film}"
    PACKET = "{packet}"
    PATCH = "{patch}"
    SUPPOSITORY = "{suppository}"
    PUFF = "{puff}"
    SPRAY = "{spray}"
    APPLICATION = "{application}"
    INJECTION = "{injection}"
    IMPLANT = "{implant}"
    DEVICE = "{device}"

    @classmethod
    def written(cls, text: str) -> Self:
        """Return the unit that somebody wrote: its code, or a word for it such as "mcg" or "tablets".

        Raises `Invalid` for another.
        """
        word = text.strip()
        code = _WORDS.get(word.casefold(), word)
        counted = f"{{{word.casefold().removesuffix('s')}}}"
        for unit in cls:
            if unit in {code, counted}:
                return unit
        raise Invalid("unit", f"must be one of {', '.join(cls)}")


_WORDS: Final = {
    "mcg": "ug",
    "µg": "ug",
    "μg": "ug",
    "mg": "mg",
    "ml": "mL",
    "l": "L",
    "iu": "[iU]",
    "unit": "[iU]",
    "units": "[iU]",
    "unt": "[iU]",
    "meq": "meq",
    "drop": "[drp]",
    "drops": "[drp]",
    "tab": "{tablet}",
    "tabs": "{tablet}",
    "cap": "{capsule}",
    "caps": "{capsule}",
}

# No one source has these. Each is some times the largest single dose in common use, such as 50 g of activated charcoal,
# 4 L of polyethylene glycol solution, 24 million units of penicillin G: beyond it a figure is a slip of the hand.
_AT_MOST: Final = {
    DoseUnit.NANOGRAM: 10_000_000,
    DoseUnit.MICROGRAM: 1_000_000,
    DoseUnit.MILLIGRAM: 100_000,
    DoseUnit.GRAM: 500,
    DoseUnit.MILLIGRAM_PER_KILOGRAM: 2_000,
    DoseUnit.MICROGRAM_PER_HOUR: 1_000,
    DoseUnit.MILLIGRAM_PER_DAY: 10_000,
    DoseUnit.MILLILITRE: 10_000,
    DoseUnit.LITRE: 10,
    DoseUnit.INTERNATIONAL_UNIT: 100_000_000,
    DoseUnit.MILLIMOLE: 10_000,
    DoseUnit.MILLIEQUIVALENT: 10_000,
}
_AT_MOST_COUNTED: Final = 100


class Route(StrEnum):
    """By what way a medicine is given, of those in practice: children of SNOMED CT 284009009 (FHIR R4, route-codes)."""

    ORAL = "oral"
    SUBLINGUAL = "sublingual"
    BUCCAL = "buccal"
    NASAL = "nasal"
    INHALATION = "inhalation"
    INTRAMUSCULAR = "intramuscular"
    SUBCUTANEOUS = "subcutaneous"
    INTRAVENOUS = "intravenous"
    INTRADERMAL = "intradermal"
    INTRATHECAL = "intrathecal"
    INTRA_ARTICULAR = "intra-articular"
    TRANSDERMAL = "transdermal"
    TOPICAL = "topical"
    RECTAL = "rectal"
    VAGINAL = "vaginal"
    INTRAUTERINE = "intrauterine"
    URETHRAL = "urethral"
    OPHTHALMIC = "ophthalmic"
    OTIC = "otic"
    DENTAL = "dental"
    NASOGASTRIC = "nasogastric"
    GASTROSTOMY = "gastrostomy"

    @property
    def code(self) -> str:
        """Its code in SNOMED CT."""
        return _SNOMED[self]

    @classmethod
    def coded(cls, code: str) -> Self:
        """Return the route with a code of SNOMED CT. Raises `Invalid` if it is none that is known here."""
        for route in cls:
            if route.code == code:
                return route
        raise Invalid("route", f"must be one of {', '.join(cls)}")


_SNOMED: Final = {
    Route.ORAL: "26643006",
    Route.SUBLINGUAL: "37839007",
    Route.BUCCAL: "54471007",
    Route.NASAL: "46713006",
    Route.INHALATION: "447694001",
    Route.INTRAMUSCULAR: "78421000",
    Route.SUBCUTANEOUS: "34206005",
    Route.INTRAVENOUS: "47625008",
    Route.INTRADERMAL: "372464004",
    Route.INTRATHECAL: "72607000",
    Route.INTRA_ARTICULAR: "12130007",
    Route.TRANSDERMAL: "45890007",
    Route.TOPICAL: "6064005",
    Route.RECTAL: "37161004",
    Route.VAGINAL: "16857009",
    Route.INTRAUTERINE: "62226000",
    Route.URETHRAL: "90028008",
    Route.OPHTHALMIC: "54485002",
    Route.OTIC: "10547007",
    Route.DENTAL: "372449004",
    Route.NASOGASTRIC: "127492001",
    Route.GASTROSTOMY: "127490009",
}


class PeriodUnit(StrEnum):
    """A unit of time that doses recur by (FHIR R4, UnitsOfTime; UCUM)."""

    MINUTE = "min"
    HOUR = "h"
    DAY = "d"
    WEEK = "wk"
    MONTH = "mo"
    YEAR = "a"


_DAYS: Final = {
    PeriodUnit.MINUTE: Fraction(1, 1_440),
    PeriodUnit.HOUR: Fraction(1, 24),
    PeriodUnit.DAY: Fraction(1),
    PeriodUnit.WEEK: Fraction(7),
    # UCUM: a mean Julian year of 365.25 days, and a twelfth of it.
    PeriodUnit.MONTH: Fraction(1461, 48),
    PeriodUnit.YEAR: Fraction(1461, 4),
}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Dose(Confidential):
    """How much is taken at a time. `unit` is `None` where the source does not say, as for so many of the product."""

    value: Decimal
    unit: DoseUnit | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` unless it is an amount that somebody may mean."""
        exponent = self.value.as_tuple().exponent
        if not isinstance(exponent, int):
            raise Invalid("value", "must be a number")
        if self.value <= 0:
            raise Invalid("value", "must be more than zero")
        if -exponent > _MOST_DECIMALS:
            raise Invalid("value", f"must have at most {_MOST_DECIMALS} decimal places")
        most = _AT_MOST_COUNTED if self.unit is None else _AT_MOST.get(self.unit, _AT_MOST_COUNTED)
        if self.value > most:
            raise Invalid("value", f"must be at most {most} {self.unit or ''}".rstrip())

    def __str__(self) -> str:
        """Write it for people to read."""
        return f"{self.value:f} {self.unit or ''}".rstrip().replace("{", "").replace("}", "")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Timing(Confidential):
    """How often: so many times within each period, such as twice within one day (FHIR R4, `Timing.repeat`)."""

    frequency: int = 1
    period: Decimal = Decimal(1)
    period_unit: PeriodUnit = PeriodUnit.DAY

    def __post_init__(self) -> None:
        """Raise `Invalid` unless it is as often as somebody may mean."""
        if not 1 <= self.frequency <= _MOST_A_DAY:
            raise Invalid("frequency", f"must be from 1 to {_MOST_A_DAY}")
        if not self.period.is_finite() or not 0 < self.period <= 1_000:
            raise Invalid("period", "must be more than zero, and at most 1000")
        if self.per_day > _MOST_A_DAY:
            raise Invalid("frequency", f"must come to at most {_MOST_A_DAY} a day")

    @property
    def per_day(self) -> Fraction:
        """How many doses are due on a day, in the long run."""
        return self.frequency / (Fraction(self.period) * _DAYS[self.period_unit])

    def __str__(self) -> str:
        """Write it for people to read."""
        each = self.period_unit if self.period == 1 else f"{self.period.normalize():f} {self.period_unit}"
        return f"{self.frequency}x/{each}"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Dosage(Confidential):
    """How a medicine is to be taken. What is ordered here has all of it; what was imported, as much as its source."""

    dose: Dose | None = None
    route: Route | None = None
    timing: Timing | None = None
    as_needed: bool = False
    as_needed_for: str = ""
    instruction: str = ""

    def __post_init__(self) -> None:
        """Raise `Invalid` naming the first field that breaks a rule."""
        allow_text("as_needed_for", self.as_needed_for)
        allow_text("instruction", self.instruction)
        if self.as_needed_for and not self.as_needed:
            raise Invalid("as_needed", "must be true for what is taken for a reason that comes and goes")

    def require_complete(self) -> None:
        """Raise `Invalid` naming what is missing for somebody to give it: dose, unit, route, and how often or for what.

        That these belong to an order is our choice; a medicine "as needed" with no word for what is nobody's order.
        """
        if self.dose is None:
            raise Invalid("dose", "say how much at a time")
        if self.dose.unit is None:
            raise Invalid("dose.unit", f"must be one of {', '.join(DoseUnit)}")
        if self.route is None:
            raise Invalid("route", f"must be one of {', '.join(Route)}")
        if self.as_needed and not self.as_needed_for.strip():
            raise Invalid("as_needed_for", "say for what it is taken as needed")
        if self.timing is None and not self.as_needed and not self.instruction.strip():
            raise Invalid("timing", "say how often, or in instruction how")

    def __str__(self) -> str:
        """Write it for people to read."""
        needed = f"as needed for {self.as_needed_for}" if self.as_needed_for else "as needed" if self.as_needed else ""
        parts = (self.dose, self.route, self.timing, needed, self.instruction)
        return ", ".join(str(part) for part in parts if part)
