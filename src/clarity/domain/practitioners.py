"""Practitioners: those who care for patients, whether or not they have an account here."""

import re
from dataclasses import dataclass, field

from clarity.domain.errors import Invalid
from clarity.domain.identifiers import IndexKind, IndexTerm, npi_is_valid
from clarity.domain.ids import PractitionerId
from clarity.domain.names import HumanName, fold, fragments_of
from clarity.domain.people import Address, Concept, Gender, Telecom
from clarity.domain.values import Confidential, allow_text, require_few

PROVIDER_TAXONOMY = "http://nucc.org/provider-taxonomy"
"""The code system of specialties in the United States (NUCC Health Care Provider Taxonomy)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Practitioner:
    """Somebody who cares for patients. `npi` is kept as it came; `npi_valid` tells whether its check digit holds.

    Whoever is no longer `active` stays where they are, and joins no care team.
    """

    id: PractitionerId
    name: HumanName = field(repr=False)
    npi: str = field(default="", repr=False)
    gender: Gender = field(default=Gender.UNKNOWN, repr=False)
    telecoms: tuple[Telecom, ...] = field(default=(), repr=False)
    addresses: tuple[Address, ...] = field(default=(), repr=False)
    sources: tuple[str, ...] = field(default=(), repr=False)
    specialty: Concept | None = field(default=None, repr=False)
    active: bool = True
    version: int = 0

    def __post_init__(self) -> None:
        """Raise `Invalid` naming the first field that breaks a rule."""
        allow_text("npi", self.npi, at_most=40)
        for name in ("telecoms", "addresses", "sources"):
            require_few(name, getattr(self, name))

    @property
    def npi_valid(self) -> bool:
        """Whether the NPI could have been issued."""
        return npi_is_valid(self.npi)

    @property
    def terms(self) -> frozenset[IndexTerm]:
        """Every text by which this practitioner can be found exactly."""
        found = {IndexTerm(IndexKind.SOURCE, source) for source in self.sources}
        if self.npi:
            found.add(IndexTerm(IndexKind.NPI, self.npi))
        return frozenset(found)


def check_typed_specialty(specialty: Concept | None, known: Concept | None = None) -> None:
    """Raise `Invalid` if somebody typed a code of the provider taxonomy that cannot be one.

    Its codes have ten digits and capital letters (NUCC). Those that are `known` may stay as they came.
    """
    kept = {(coding.system, coding.code) for coding in known.codings} if known is not None else set()
    for position, coding in enumerate(specialty.codings if specialty is not None else ()):
        new = coding.system == PROVIDER_TAXONOMY and coding.code and (coding.system, coding.code) not in kept
        if new and not re.fullmatch(r"[0-9A-Z]{10}", coding.code):
            raise Invalid(
                f"specialty.codings.{position}.code",
                "a code of the NUCC provider taxonomy has ten digits and capital letters, like 2084P0800X",
            )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PractitionerQuery(Confidential):
    """Which practitioners are looked for. Conditions add up; a blank one allows everybody.

    `name` has fragments of the name in any order, `specialty` a code of the specialty or a fragment of its words.
    """

    name: str = ""
    specialty: str = ""
    npi: str = ""
    active: bool | None = None

    def __post_init__(self) -> None:
        """Raise `Invalid` for a condition that nobody could meet because it says nothing."""
        for condition in ("name", "specialty", "npi"):
            text = getattr(self, condition)
            allow_text(condition, text, at_most=200)
            if text and not fold(text):
                raise Invalid(condition, "must have letters or digits")

    @property
    def needs_opening(self) -> bool:
        """Whether only the content of a record tells if it is meant."""
        return bool(self.name or self.specialty)

    @property
    def term(self) -> IndexTerm | None:
        """The text by which the practitioner is found exactly, if one is asked for."""
        return IndexTerm(IndexKind.NPI, self.npi) if self.npi else None

    def matches(self, practitioner: Practitioner) -> bool:
        """Tell whether the content of `practitioner` meets the conditions; that of the NPI is left to the index."""
        if self.active is not None and self.active is not practitioner.active:
            return False
        if not practitioner.name.has(fragments_of(self.name)):
            return False
        return not self.specialty or _is_meant(self.specialty, practitioner.specialty)


EVERYBODY = PractitionerQuery()
"""The query that every practitioner meets."""


def _is_meant(asked: str, specialty: Concept | None) -> bool:
    if specialty is None:
        return False
    words = (specialty.text, *(coding.display for coding in specialty.codings))
    codes = {coding.code.casefold() for coding in specialty.codings}
    return asked.strip().casefold() in codes or any(fold(asked) in fold(one) for one in words)
