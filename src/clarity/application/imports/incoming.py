"""What an import takes in, and how it is named without saying what stands there."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from clarity.domain.appointments import Appointment
from clarity.domain.identifiers import IndexTerm
from clarity.domain.medications import Prescription
from clarity.domain.notes import Note
from clarity.domain.patients import Patient
from clarity.domain.people import Concept
from clarity.domain.practitioners import Practitioner
from clarity.domain.records import Resource

NOBODY = UUID(int=0)
"""Whose a record is, and by whom, until that is found out."""


@dataclass(frozen=True, slots=True)
class InputLabel:
    """Which file something came from: its place in the list, from 1, and the first 12 hex digits of its SHA-256.

    File names carry patients' names, so `path` is for the operator's own terminal and for nothing else.
    """

    position: int
    digest: str
    path: str = field(default="", repr=False, compare=False)

    def __str__(self) -> str:
        """Name the file without its path."""
        return f"input {self.position} ({self.digest})"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the inputs something stands: the entry of a bundle or the line of a file, from 1, and the element."""

    label: InputLabel
    entry: int | None = None
    element: str = ""

    def __str__(self) -> str:
        """Name the place without any content."""
        return f"{self.label}, entry {self.entry}" if self.entry is not None else str(self.label)


@dataclass(frozen=True, slots=True)
class BadInput:
    """What could not be imported, and why; neither says what stands there.

    `patients`, `practitioners` and, by kind, `records` are how many of them came with it, as far as it could be read.
    `unresolved` says that it refers to somebody who may come with a later input.
    """

    place: Place
    problem: str
    patients: int = 0
    practitioners: int = 0
    records: Mapping[Resource, int] = field(default_factory=dict)
    unresolved: bool = False

    def __str__(self) -> str:
        """Name the place and the problem."""
        return f"{self.place}: {self.problem}"


Caregivers = Mapping[IndexTerm, Place]
"""The terms by which those who care for a patient are found (source or NPI), and where each is referred to."""


@dataclass(frozen=True, slots=True)
class IncomingPractitioner:
    """A practitioner as another system knows them, with one source."""

    practitioner: Practitioner
    place: Place


@dataclass(frozen=True, slots=True)
class IncomingPatient:
    """A patient as another system knows them, with one source and no care team but `caregivers`."""

    patient: Patient
    caregivers: Caregivers = field(repr=False)
    place: Place


@dataclass(frozen=True, slots=True)
class IncomingTies:
    """Those who care for a patient who does not come along: `source` says who it is."""

    source: str = field(repr=False)
    caregivers: Caregivers = field(repr=False)
    place: Place


@dataclass(frozen=True, slots=True)
class IncomingSpecialty:
    """What a practitioner is trained in, as a system knows it; `holder` finds who that is."""

    holder: IndexTerm
    specialty: Concept
    system: str
    place: Place


Charted = Appointment | Prescription | Note
"""What of a chart is imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingRecord:
    """A record in a chart as another system knows it, with one source.

    `subject` is the source of the patient whose it is; until they are found, the record is of `NOBODY`. The
    practitioner it names is found by `practitioner`, and referred to at `reference`. Records of one chart are recorded
    in the order of `at`, when what they tell of took place.
    """

    record: Charted
    subject: str = field(repr=False)
    at: datetime = field(repr=False)
    place: Place
    practitioner: IndexTerm | None = None
    reference: Place | None = None

    @property
    def source(self) -> str:
        """The resource it came from."""
        return self.record.sources[0]


class LeftOut(NamedTuple):
    """Why a resource of a type that has a place here is not imported, though nothing is wrong with it."""

    type: str
    reason: str

    def __str__(self) -> str:
        """Name the type and the reason."""
        return f"{self.type} ({self.reason})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """What is imported together or not at all.

    `unplaced` counts by type what has no place here yet, and `left_out` what has one and is not meant for it. `again`
    reads the same once more, where that is cheaper than to keep it.
    """

    place: Place
    practitioners: tuple[IncomingPractitioner, ...] = ()
    patients: tuple[IncomingPatient, ...] = ()
    ties: tuple[IncomingTies, ...] = ()
    specialties: tuple[IncomingSpecialty, ...] = ()
    records: tuple[IncomingRecord, ...] = ()
    unplaced: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[LeftOut, int] = field(default_factory=dict)
    again: "Callable[[], Incoming | BadInput] | None" = field(default=None, repr=False, compare=False)


class Inputs(Protocol):
    """Everything one import reads."""

    @property
    def expected(self) -> int:
        """How many units there are, as far as that is known by now; it grows while large inputs are read."""
        ...

    def units(self) -> Iterator[Incoming | BadInput]:
        """Read the inputs, one unit at a time; a bad one never ends the others."""
        ...
