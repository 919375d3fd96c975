"""Where disclosures are kept, how they are compared with the trail, and how an accounting is put on paper."""

from collections.abc import Sequence
from datetime import date
from typing import Protocol

from clarity.application.admission import Admitted
from clarity.domain.audit import AuditEvent
from clarity.domain.disclosures import Accounting, AccountingPeriod, Disclosure, ExportReason, Unfounded
from clarity.domain.ids import DisclosureId, EventId, PatientId
from clarity.domain.records import Sealed


class DisclosureRepository(Protocol):
    """The disclosures of one unit of work, each sealed under the key of its patient.

    Whoever is admitted to the disclosures of a patient may open those of every record that was merged into theirs too.
    """

    async def get(self, patient: PatientId) -> Sealed:
        """Fetch what the policy must know of a patient's disclosures, of which there may be none.

        It stands as the patient's record does: of a patient who does not exist or was deleted, nobody is admitted to
        it.
        """
        ...

    async def find_page(
        self, patients: Sequence[PatientId], *, after: DisclosureId | None, at_most: int
    ) -> list[Sealed]:
        """Return at most `at_most` disclosures of the records of one person, recorded before `after`, newest first."""
        ...

    async def count(self, patients: Sequence[PatientId]) -> int:
        """Return how many there are of the records of one person."""
        ...

    async def find(self, patients: Sequence[PatientId], disclosure: DisclosureId) -> Sealed:
        """Fetch one. Raises `NotFound` if it is none of these patients."""
        ...

    def open(self, admitted: Admitted, record: Sealed) -> Disclosure:
        """Return the disclosure inside `record`, to whoever was admitted to what `get` fetched.

        Raises `CannotOpen` if it was altered, or what stands beside the seal is not what stands inside.
        """
        ...

    async def find_accounted(
        self, admitted: Admitted, patients: Sequence[PatientId], period: AccountingPeriod, *, on: date
    ) -> list[Disclosure]:
        """Return what an accounting given on a day has, the oldest first. What it leaves out is not handed out.

        Raises `CannotOpen` if any disclosure does not open: it might belong there.
        """
        ...

    async def add(self, admitted: Admitted, disclosure: Disclosure) -> Disclosure:
        """Store one as version 1, for whoever was admitted to what `get` fetched."""
        ...

    async def save(self, disclosure: Disclosure) -> Disclosure:
        """Write the next version of one that this unit of work opened. Raises `StaleWrite`."""
        ...

    async def made_by(self, patients: Sequence[PatientId], events: Sequence[EventId]) -> bool:
        """Tell whether all `events` are in the trail, succeeded, and may be about these patients."""
        ...

    async def find_unaccounted(self, *, after: EventId | None, at_most: int) -> tuple[list[AuditEvent], EventId | None]:
        """Return exports behind `after`, oldest first, without disclosure or reason why not, and where to go on.

        An export of one patient needs a disclosure, one that names several a disclosure of each. Of at most `at_most`
        that are looked at, fewer may be found, even none, and yet more behind; `None` is the end.
        """
        ...

    async def find_unfounded(
        self, *, after: tuple[DisclosureId, EventId] | None, at_most: int
    ) -> tuple[list[Unfounded], tuple[DisclosureId, EventId] | None]:
        """Return what disclosures claim of the trail and it does not say, and where to go on, as above."""
        ...

    async def events_of_export(self, event: EventId) -> list[EventId]:
        """Return all events of an export of which one is `event`: a large one is told of in pieces.

        That is those of one request about the same patient, or about no one in particular, that succeeded. Raises
        `NotFound` if the trail has no such event.
        """
        ...

    async def explain(self, reasons: Sequence[ExportReason]) -> None:
        """Keep why exports are no disclosures to account for. What was said before stays beside it."""
        ...


class AccountingPress(Protocol):
    """Puts an accounting on paper, or in a table. Both may take a while, and are safe in any thread."""

    def pdf(self, accounting: Accounting) -> bytes:
        """Return a document for the patient to read. What it cannot print it shows as such, and says so."""
        ...

    def csv(self, accounting: Accounting) -> bytes:
        """Return a table (RFC 4180, UTF-8) of which no cell is a formula."""
        ...
