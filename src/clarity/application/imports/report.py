"""What an import did."""

from collections import Counter
from dataclasses import dataclass, field

from clarity.application.imports.incoming import BadInput, Incoming, LeftOut
from clarity.domain.ids import PractitionerId
from clarity.domain.records import Resource

CHARTED = (Resource.APPOINTMENT, Resource.PRESCRIPTION, Resource.NOTE)
"""The kinds of records in charts that are imported."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the records of one kind."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0

    def add(self, other: "Tally") -> None:
        """Count what `other` counted."""
        self.added += other.added
        self.changed += other.changed
        self.unchanged += other.unchanged
        self.refused += other.refused


@dataclass(frozen=True, slots=True)
class Taken:
    """What importing one unit did, to records in charts by their kind.

    `invalid_npis` are the practitioners whose NPI fails its check digit.
    """

    patients: Tally = field(default_factory=Tally)
    practitioners: Tally = field(default_factory=Tally)
    records: dict[Resource, Tally] = field(default_factory=lambda: {kind: Tally() for kind in CHARTED})
    invalid_npis: set[PractitionerId] = field(default_factory=set)


@dataclass(slots=True)
class ImportReport:
    """What an import did, over all its inputs."""

    patients: Tally = field(default_factory=Tally)
    practitioners: Tally = field(default_factory=Tally)
    records: dict[Resource, Tally] = field(default_factory=lambda: {kind: Tally() for kind in CHARTED})
    unplaced: Counter[str] = field(default_factory=Counter)
    left_out: Counter[LeftOut] = field(default_factory=Counter)
    invalid_npis: set[PractitionerId] = field(default_factory=set)
    bad: list[BadInput] = field(default_factory=list)
    units: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything could be imported."""
        return not self.bad

    @property
    def changed_nothing(self) -> bool:
        """Whether everything was here before."""
        tallies = (self.patients, self.practitioners, *self.records.values())
        return self.ok and not any(tally.added or tally.changed for tally in tallies)

    def add(self, unit: Incoming, taken: Taken) -> None:
        """Count a unit that was imported."""
        self.units += 1
        self.patients.add(taken.patients)
        self.practitioners.add(taken.practitioners)
        self.invalid_npis |= taken.invalid_npis
        for kind, tally in taken.records.items():
            self.records[kind].add(tally)
        self.unplaced.update(unit.unplaced)
        self.left_out.update(unit.left_out)

    def add_bad(self, bad: BadInput) -> None:
        """Count a unit that was refused."""
        self.units += 1
        self.bad.append(bad)
        self.patients.refused += bad.patients
        self.practitioners.refused += bad.practitioners
        for kind, count in bad.records.items():
            self.records[kind].refused += count
