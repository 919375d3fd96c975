"""Practitioners: those who care for patients, whether or not they have an account here."""

from dataclasses import dataclass, field

from clarity.domain.identifiers import IndexKind, IndexTerm, npi_is_valid
from clarity.domain.ids import PractitionerId
from clarity.domain.names import HumanName
from clarity.domain.people import Address, Gender, Telecom
from clarity.domain.values import allow_text, require_few


@dataclass(frozen=True, slots=True, kw_only=True)
class Practitioner:
    """Somebody who cares for patients. `npi` is kept as it came; `npi_valid` tells whether its check digit holds."""

    id: PractitionerId
    name: HumanName = field(repr=False)
    npi: str = field(default="", repr=False)
    gender: Gender = field(default=Gender.UNKNOWN, repr=False)
    telecoms: tuple[Telecom, ...] = field(default=(), repr=False)
    addresses: tuple[Address, ...] = field(default=(), repr=False)
    sources: tuple[str, ...] = field(default=(), repr=False)
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
