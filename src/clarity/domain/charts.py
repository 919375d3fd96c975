"""What the records in a patient's chart have in common."""

from typing import Protocol
from uuid import UUID

from clarity.domain.ids import PatientId
from clarity.domain.records import Label, Notice


class ChartRecord(Protocol):
    """A record of a patient that has an id, a label and a version of its own. It is a frozen dataclass.

    Its `status` stands outside the seal, and all else within, but for the id, the patient, the author and the version.
    """

    @property
    def id(self) -> UUID:
        """Its own id."""
        ...

    @property
    def patient(self) -> PatientId:
        """Whose it is."""
        ...

    @property
    def version(self) -> int:
        """How often it was written; 0 if never."""
        ...

    @property
    def status(self) -> str:
        """Where it stands."""
        ...

    @property
    def label(self) -> Label:
        """How confidential it is beyond the ordinary."""
        ...

    @property
    def notice(self) -> Notice | None:
        """What goes with it wherever it is shown."""
        ...


class Imported(ChartRecord, Protocol):
    """A record that may have come from another system. `sources` names the resources it came from.

    `source_digest` is the SHA-256 of what was understood of the resource when it was last followed: whatever was said
    of the record here since then stays, until its source says something else.
    """

    @property
    def sources(self) -> tuple[str, ...]:
        """Where it came from."""
        ...

    @property
    def source_digest(self) -> bytes:
        """What its source said."""
        ...
