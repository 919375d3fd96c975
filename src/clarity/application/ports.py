"""What the use-cases need of the outside world. Each port's docstring is its contract; adapters only meet it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from clarity.application.admission import Admitted
from clarity.domain.access import Scope
from clarity.domain.accounts import Account, Credentials, Session
from clarity.domain.audit import Attempt, AuditEvent, Entry
from clarity.domain.identifiers import IndexTerm
from clarity.domain.ids import AccountId, PatientId, PractitionerId, SessionId
from clarity.domain.patients import Patient, PatientCard, PatientQuery, PatientStatus
from clarity.domain.practitioners import Practitioner
from clarity.domain.records import Sealed

Clock = Callable[[], datetime]
"""Returns the present instant, in UTC."""

NewId = Callable[[], UUID]
"""Returns a UUIDv7 (RFC 9562, 5.7) nobody has had before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One version of a patient record as it was: opened, with who wrote it and when."""

    patient: Patient
    version: int
    written_at: datetime
    written_by: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientFilter:
    """The conditions on a patient that stand outside the seal; `None` and empty allow everybody."""

    status: PatientStatus | None = None
    practitioner: PractitionerId | None = None
    terms: tuple[IndexTerm, ...] = ()


class PatientRepository(Protocol):
    """The patient records of one unit of work. What it fetches is sealed until it has been admitted.

    What `open` and `history` hand out counts as disclosed, what `add` and `save` write as changed; the unit
    of work refuses to end while one of them has no event.
    """

    async def get(self, patient: PatientId) -> Sealed:
        """Fetch one record by its id. What does not exist comes back as a record that nobody is admitted to."""
        ...

    async def get_many(self, patients: Sequence[PatientId]) -> list[Sealed]:
        """Fetch the records that exist among `patients`, in their order."""
        ...

    async def find_page(
        self, scope: Scope, conditions: PatientFilter, *, after: PatientId | None, at_most: int
    ) -> list[Sealed]:
        """Return at most `at_most` records in `scope` in order of their ids, those behind `after`."""
        ...

    async def count(self, scope: Scope, conditions: PatientFilter) -> int:
        """Return how many records in `scope` meet `conditions`."""
        ...

    def unsafe_bulk_open(
        self, scope: Scope, conditions: PatientFilter
    ) -> AsyncIterator[tuple[Sealed, PatientCard | None]]:
        """Open every record in `scope` that meets `conditions`, unaudited, for comparison inside the search alone.

        In no order. A record that does not open comes with `None`.
        """
        ...

    async def find_by_source(self, source: str) -> PatientId | None:
        """Return the patient that came from this resource of another system, deleted or not, if there is one."""
        ...

    def open(self, admitted: Admitted) -> Patient:
        """Return the patient inside, with the fields it was admitted for; the others are blank.

        Raises `NotFound` if the exact label forbids it, `CannotOpen` if it was altered or its key is gone.
        """
        ...

    async def add(self, patient: Patient) -> Patient:
        """Store a new patient as version 1 under a data key of their own. Raises `DuplicateMrn`."""
        ...

    async def save(self, patient: Patient) -> Patient:
        """Write a patient that this unit of work opened as its next version and return it.

        Fields it was not admitted for stay as they were. The version before is kept. Raises `StaleWrite`
        if the record is no longer at `patient.version`, `DuplicateMrn` if a new identifier is taken.
        """
        ...

    async def delete(self, patient: Patient) -> None:
        """Turn a patient that this unit of work opened into a tombstone: unreachable, its history kept."""
        ...

    async def history(self, admitted: Admitted, *, before: int | None = None, at_most: int = 50) -> list[Revision]:
        """Return the versions of the admitted record below `before`, the newest first."""
        ...


class PractitionerRepository(Protocol):
    """The practitioners of one unit of work."""

    async def find(self, practitioners: Sequence[PractitionerId]) -> list[Practitioner]:
        """Return those that exist among `practitioners`, in their order."""
        ...

    async def find_page(self, *, after: PractitionerId | None, at_most: int) -> list[Practitioner]:
        """Return at most `at_most` practitioners in order of their ids, those behind `after`."""
        ...

    async def count(self) -> int:
        """Return how many practitioners there are."""
        ...

    async def find_by_terms(self, terms: Sequence[IndexTerm]) -> list[Practitioner]:
        """Return the practitioners that have any of `terms`."""
        ...

    async def add(self, practitioner: Practitioner) -> Practitioner:
        """Store a new practitioner as version 1. Raises `DuplicateIdentifier` if a source is taken."""
        ...

    async def save(self, practitioner: Practitioner) -> Practitioner:
        """Write the next version, or raise `StaleWrite`."""
        ...


class AccountRepository(Protocol):
    """The accounts of one unit of work."""

    async def get(self, account: AccountId) -> Account:
        """Return one account, or raise `NotFound`."""
        ...

    async def find_by_email(self, email: str) -> Credentials | None:
        """Return the account with this e-mail and its password hash, if there is one."""
        ...

    async def find_page(self, *, after: AccountId | None, at_most: int) -> list[Account]:
        """Return at most `at_most` accounts in order of their ids, those behind `after`."""
        ...

    async def add(self, credentials: Credentials) -> Account:
        """Store a new account as version 1. Raises `DuplicateEmail`."""
        ...

    async def save(self, account: Account, *, password_hash: str | None = None) -> Account:
        """Write the next version, with a new password if one is given, or raise `StaleWrite`."""
        ...

    async def hold(self, account: Account) -> None:
        """Keep an account as it is until the unit of work ends. Raises `StaleWrite` if it was changed before."""
        ...


class SessionRepository(Protocol):
    """The log-ins of one unit of work."""

    async def add(self, session: Session) -> None:
        """Store a new session."""
        ...

    async def find(self, session: SessionId) -> tuple[Session, Account] | None:
        """Return a session with its account, in one statement, if there is one."""
        ...

    async def find_by_family(self, digest: bytes) -> tuple[Session, Account] | None:
        """Return the session with this `family_digest` and its account, in one statement, if there is one."""
        ...

    async def rotate(self, session: Session, digest: bytes) -> None:
        """Replace the refresh token of `session`. Raises `StaleWrite` if it was replaced or revoked meanwhile."""
        ...

    async def revoke(self, session: SessionId, at: datetime) -> None:
        """End a session; ending it again changes nothing."""
        ...

    async def revoke_all(self, account: AccountId, at: datetime) -> int:
        """End every session of an account and return how many were open."""
        ...


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


class Trail(Protocol):
    """The audit trail, for events outside a transaction."""

    async def record(self, events: Sequence[AuditEvent]) -> None:
        """Return once the events are durable. Raises `TrailUnavailable` if they cannot be, now."""
        ...


class EventStore(Protocol):
    """Where the trail keeps its entries, over one connection of its own that no request waits for.

    One task at a time uses it. It cancels what takes too long, which then ends promptly.
    """

    async def append(self, entries: Sequence[Entry]) -> None:
        """Return once all of `entries` are durable. An entry whose id is there already stays as it is.

        Connects if need be, and anew after each failure. Raises `Unavailable` if it should be tried again (the
        connection broke, the outcome is unknown), anything else if one of `entries` would be refused again.
        """
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One page of a search: ids in the order asked for, and how many match in all.

    `keys` has the sort key of each id, the place where a next page would begin; `unopened` are the records
    in scope that could not be compared because they do not open.
    """

    patients: tuple[PatientId, ...]
    keys: tuple[tuple[str, ...], ...] = field(repr=False)
    count: int
    exact: bool
    more: bool
    unopened: tuple[PatientId, ...] = ()


class PatientSearch(Protocol):
    """Finding patients by what is sealed."""

    async def find(
        self, work: Work, scope: Scope, query: PatientQuery, *, after: tuple[str, ...] | None, at_most: int
    ) -> Found:
        """Return the page behind the sort key `after` of the patients in `scope` that match `query`.

        What is outside `scope` is neither returned nor counted.
        """
        ...


class Passwords(Protocol):
    """Hashing of passwords, slow on purpose."""

    def check_strength(self, password: str) -> None:
        """Raise `Invalid` unless the password may be used."""
        ...

    async def hash(self, password: str) -> str:
        """Return the encoded hash of a password."""
        ...

    async def verify(self, encoded: str, password: str) -> None:
        """Return if the password is the right one, or raise `WrongCredentials`."""
        ...

    async def verify_nobody(self, password: str) -> None:
        """Spend the time that `verify` takes and raise `WrongCredentials`."""
        ...

    def needs_rehash(self, encoded: str) -> bool:
        """Tell whether the hash was made with weaker parameters than today's."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessClaims:
    """What an access token says of its bearer."""

    account: AccountId
    session: SessionId
    expires_at: datetime


class Tokens(Protocol):
    """Access tokens, which say who is asking, and refresh tokens, which get new ones."""

    @property
    def ttl_seconds(self) -> int:
        """How long an access token is good for."""
        ...

    def issue(self, account: AccountId, session: SessionId, now: datetime) -> str:
        """Return a signed access token."""
        ...

    def read(self, token: str, now: datetime) -> AccessClaims:
        """Return what a token says, or raise `Unauthenticated` if it is not ours or has expired."""
        ...

    def new_refresh_token(self) -> str:
        """Return 256 random bits."""
        ...

    def refresh_digest(self, token: str) -> bytes:
        """Return the SHA-256 by which a refresh token is stored."""
        ...


class Cursors(Protocol):
    """The places in a list that a client carries for us."""

    def seal(self, payload: bytes, context: bytes) -> str:
        """Return a cursor that opens only with the same `context`."""
        ...

    def open(self, cursor: str, context: bytes) -> bytes:
        """Return the payload, or raise `Invalid` if it is not ours or belongs to another list."""
        ...


class RateLimit(Protocol):
    """How often something may be tried."""

    async def hit(self, what: str, who: str) -> None:
        """Count one attempt at `what` by `who`, or raise `TooMany`. `who` is never kept in plaintext."""
        ...
