"""The numbers by which a patient is known, and how each may be looked up exactly."""

import re
import unicodedata
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Self

from clarity.domain.errors import Invalid
from clarity.domain.names import Period
from clarity.domain.people import Concept
from clarity.domain.values import Confidential, allow_text, require_text

SSN_SYSTEM = "http://hl7.org/fhir/sid/us-ssn"
NPI_SYSTEM = "http://hl7.org/fhir/sid/us-npi"


_SSN = re.compile(r"\d{3}-\d{2}-\d{4}", re.ASCII)


class IndexKind(IntEnum):
    """What an exact look-up compares. The numbers are permanent: they are part of what is stored."""

    MRN = 1
    MRN_VALUE = 2
    SSN = 3
    EMAIL = 4
    PHONE = 5
    EXTERNAL = 6
    SOURCE = 7
    NPI = 8
    ACCOUNT_EMAIL = 9

    @property
    def unique(self) -> bool:
        """Whether only one record may have it. SSN, e-mail and phone collide in life."""
        return self in {IndexKind.MRN, IndexKind.SOURCE, IndexKind.ACCOUNT_EMAIL}


@dataclass(frozen=True, slots=True, repr=False)
class IndexTerm(Confidential):
    """A text by which a record can be found exactly."""

    kind: IndexKind
    text: str


class IdentifierKind(StrEnum):
    """What an identifier is, as far as this practice tells them apart."""

    MRN = "mrn"
    SSN = "ssn"
    DRIVERS_LICENSE = "drivers-license"
    PASSPORT = "passport"
    OTHER = "other"


class IdentifierUse(StrEnum):
    """What an identifier is used for (FHIR R4, identifier-use)."""

    USUAL = "usual"
    OFFICIAL = "official"
    TEMP = "temp"
    SECONDARY = "secondary"
    OLD = "old"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Identifier(Confidential):
    """A number somebody assigned to the patient. `system` is the assigner's URI; an MRN is unique within it.

    A social security number is kept as `AAA-GG-SSSS`. Its area is not checked: test data and old records
    have areas that were never issued.
    """

    kind: IdentifierKind
    value: str
    system: str = ""
    use: IdentifierUse | None = None
    type: Concept | None = None
    period: Period | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` without a value, or if a social security number has not nine digits."""
        require_text("value", self.value, at_most=200)
        allow_text("system", self.system, at_most=500)
        if self.kind is IdentifierKind.SSN:
            object.__setattr__(self, "value", _as_ssn(self.value))
            object.__setattr__(self, "system", self.system or SSN_SYSTEM)

    @classmethod
    def mrn(cls, value: str, assigner: str = "") -> Self:
        """Return a medical record number given out by `assigner`; "" is this practice."""
        return cls(kind=IdentifierKind.MRN, value=value, system=assigner)

    @classmethod
    def ssn(cls, value: str) -> Self:
        """Return a social security number, however its nine digits are grouped."""
        return cls(kind=IdentifierKind.SSN, value=value)

    @property
    def terms(self) -> frozenset[IndexTerm]:
        """The texts by which a record with this identifier is found."""
        if self.kind is IdentifierKind.MRN:
            # A bar in the assigner's own name would let numbers of two assigners pass for one.
            assigner = self.system.replace("|", "%7C")
            unique = IndexTerm(IndexKind.MRN, f"{assigner}|{self.value}")
            return frozenset({unique, IndexTerm(IndexKind.MRN_VALUE, self.value)})
        if self.kind is IdentifierKind.SSN:
            return frozenset({IndexTerm(IndexKind.SSN, self.value)})
        return frozenset({IndexTerm(IndexKind.EXTERNAL, self.value)})


def as_compared(text: str) -> str:
    """Return an identifier as its spellings agree on it: no form of a letter, no space and nothing unseen differs.

    Case is kept: systems that number in base 62 tell "a" from "A". A blind index holds what this returns, so
    whoever changes it raises the versions of the rules that use it in `security.normalise`.
    """
    visible = "".join(char for char in unicodedata.normalize("NFKC", text) if unicodedata.category(char) != "Cf")
    return " ".join(visible.split())


def _as_ssn(text: str) -> str:
    if _SSN.fullmatch(text):
        return text  # as every one that is stored
    digits = re.sub(r"[\s-]", "", text)
    if not re.fullmatch(r"\d{9}", digits, re.ASCII):
        raise Invalid("value", "a social security number has nine digits")
    return f"{digits[:3]}-{digits[3:5]}-{digits[5:]}"


def npi_is_valid(npi: str) -> bool:
    """Tell whether a National Provider Identifier has ten digits and its check digit holds.

    Luhn over "80840" and the number (CMS, "Requirements for NPI check digit", 2004).
    """
    if not re.fullmatch(r"\d{10}", npi, re.ASCII):
        return False
    digits = [int(digit) for digit in reversed("80840" + npi)]
    weighted = (digit * 2 if position % 2 else digit for position, digit in enumerate(digits))
    return sum(sum(divmod(number, 10)) for number in weighted) % 10 == 0


def typed_npi(text: str) -> str:
    """Return an NPI that somebody typed, without the spaces around it; raises `Invalid` if it was never issued."""
    npi = text.strip()
    if not npi_is_valid(npi):
        raise Invalid("npi", "must be ten digits, of which the last checks the others")
    return npi
