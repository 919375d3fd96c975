"""Units of work."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from clarity.application.ports.access_reports import AccessReportRepository
from clarity.application.ports.accounts import AccountRepository, SessionRepository
from clarity.application.ports.appointments import AppointmentRepository, ScheduleRepository
from clarity.application.ports.break_glass import BreakGlassRepository
from clarity.application.ports.charts import ChartLog, ChartRepository
from clarity.application.ports.consents import ConsentRepository
from clarity.application.ports.credentials import CredentialRepository
from clarity.application.ports.disclosures import DisclosureRepository
from clarity.application.ports.duplicates import DuplicateRepository
from clarity.application.ports.links import LinkRepository
from clarity.application.ports.notes import NoteRepository
from clarity.application.ports.outbox import Outbox
from clarity.application.ports.patients import PatientRepository
from clarity.application.ports.practitioners import PractitionerRepository
from clarity.application.ports.second_factors import SecondFactorRepository
from clarity.application.ports.sources import ChartSources
from clarity.application.ports.trail import TrailReader
from clarity.domain.audit import Attempt
from clarity.domain.interactions import Interaction, InteractionFilter
from clarity.domain.medications import Prescription, PrescriptionFilter


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """How a request with an idempotency key was answered: the record it made or changed, and its version."""

    record: UUID
    version: int


class IdempotencyKeys(Protocol):
    """The idempotency keys of one unit of work, written in its transaction."""

    async def find(self, actor: UUID, key: str, request: bytes) -> Answered | None:
        """Return how this actor's request with `key` was answered, if it was.

        Raises `ReusedKey` if the key came with another request body.
        """
        ...

    async def add(self, actor: UUID, key: str, request: bytes, answered: Answered) -> None:
        """Remember the answer. Raises `Transient` if the same key is being answered at this moment."""
        ...


class Work(Protocol):
    """One unit of work: what is done in it is done and audited together, or not at all."""

    @property
    def patients(self) -> PatientRepository:
        """The patient records."""
        ...

    @property
    def duplicates(self) -> DuplicateRepository:
        """The duplicate reviews."""
        ...

    @property
    def consents(self) -> ConsentRepository:
        """The consents of patients."""
        ...

    @property
    def disclosures(self) -> DisclosureRepository:
        """The disclosures outside the practice."""
        ...

    @property
    def appointments(self) -> AppointmentRepository:
        """The appointments."""
        ...

    @property
    def schedule(self) -> ScheduleRepository:
        """When practitioners are there and not booked."""
        ...

    @property
    def notes(self) -> NoteRepository:
        """The clinical notes."""
        ...

    @property
    def prescriptions(self) -> ChartRepository[Prescription, PrescriptionFilter]:
        """The prescriptions."""
        ...

    @property
    def interactions(self) -> ChartLog[Interaction, InteractionFilter]:
        """The contacts with patients."""
        ...

    @property
    def sources(self) -> ChartSources:
        """What records in charts were imported from."""
        ...

    @property
    def break_glass(self) -> BreakGlassRepository:
        """Who broke the glass."""
        ...

    @property
    def practitioners(self) -> PractitionerRepository:
        """The practitioners."""
        ...

    @property
    def accounts(self) -> AccountRepository:
        """The accounts."""
        ...

    @property
    def sessions(self) -> SessionRepository:
        """The log-ins."""
        ...

    @property
    def second_factors(self) -> SecondFactorRepository:
        """The second factors."""
        ...

    @property
    def links(self) -> LinkRepository:
        """The one-time links."""
        ...

    @property
    def outbox(self) -> Outbox:
        """The messages to people."""
        ...

    @property
    def credentials(self) -> CredentialRepository:
        """The credentials of machines."""
        ...

    @property
    def trail(self) -> TrailReader:
        """The audit trail, to read."""
        ...

    @property
    def access_reports(self) -> AccessReportRepository:
        """The trail as a report of unusual access reads it."""
        ...

    @property
    def idempotency_keys(self) -> IdempotencyKeys:
        """The idempotency keys."""
        ...

    def note(self, attempt: Attempt) -> Attempt:
        """Remember that something is being tried; it becomes an audit event when the unit of work ends."""
        ...

    def query_mac(self, normalised: bytes) -> bytes:
        """Return the HMAC by which the trail recognises a query without holding it; 32 bytes."""
        ...


class BeginWork(Protocol):
    """Begin a unit of work that writes.

    Ending well commits the changes together with their events; raising rolls back, and the events of what
    was refused or failed are written all the same. Raises `UnauditedAccess` instead of ending well if a record
    was disclosed or changed without an event.
    """

    def __call__(self) -> AbstractAsyncContextManager[Work]:
        """Begin."""
        ...


class BeginReading(Protocol):
    """Begin a unit of work that only reads. It ends when its events are durable, and not before.

    With `snapshot`, all its statements see the database at one instant.
    """

    def __call__(self, *, snapshot: bool = False) -> AbstractAsyncContextManager[Work]:
        """Begin."""
        ...
