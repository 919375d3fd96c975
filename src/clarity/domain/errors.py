"""Everything that can go wrong, as one tree.

    ClarityError
    ├── NotFound                 there is none, or it is not yours to see: the two are never told apart
    ├── Forbidden                the role may not do this to anything
    │   └── SecondFactorMissing  the role may, but not in a session that was opened with a password alone
    ├── Unauthenticated          nobody is logged in, or the log-in no longer holds
    │   ├── WrongCredentials     e-mail, password or token do not match
    │   ├── DeadLink             a one-time link was used, has expired, or never was one
    │   └── SecondFactorRequired the password matches, and a code is needed too
    ├── Invalid                  a value breaks a rule; names the field, never the value
    ├── Conflict                 the record is not in a state that allows this
    │   ├── DuplicateIdentifier  somebody has an identifier that only one may have
    │   │   ├── DuplicateMrn
    │   │   └── DuplicateNpi
    │   ├── DuplicateEmail       an account with that e-mail exists
    │   ├── PractitionerHasAccount  another account in use is linked to that practitioner
    │   ├── Overlapping          the practitioner or the patient has another appointment at that time
    │   ├── LastAdministrator    nobody would be left who may administer accounts
    │   ├── DanglingReference    something imported refers to somebody who is not known here
    │   ├── Retained             the record has to be kept; says until when
    │   └── ReusedKey            an idempotency key came again with another request
    ├── StaleWrite               somebody else changed the record meanwhile
    ├── TooMany                  asked too often; carries the seconds to wait
    ├── Unavailable              cannot be served now; carries the seconds to wait
    │   ├── Transient            the transaction lost a race and may be tried again
    │   ├── PoolExhausted        no database connection became free in time
    │   ├── Overloaded           more is asked than can be worked on; carries the seconds to wait
    │   ├── WarmingUp            the index that a search needs is still being built
    │   ├── TimedOut             it took longer than anything may take
    │   ├── Undeliverable        a message to somebody cannot be handed over
    │   ├── TrailUnavailable     the audit trail cannot be written, so nothing may be shown
    │   └── OutcomeUnknown       the connection broke in COMMIT; the idempotency key resolves it
    ├── StorageFailed            the database refused a statement for a reason nobody foresaw
    ├── HorizonLost              what changed since then cannot be told: another database, or an earlier state of it
    ├── CannotOpen               a sealed value was altered, moved, or its key is gone
    ├── NotCanonical             bytes that are said to be an audit event are not one
    ├── UnauditedAccess          a unit of work would have ended without an event for what it did
    └── Misconfigured            a setting, key or privilege is missing or unsafe; says what to do

No error carries patient content: not in its message, not in its attributes, not in its cause.
"""

from typing import ClassVar


class ClarityError(Exception):
    """The root of every error this package raises on purpose. Its docstring is its default message."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str | None = None) -> None:
        """Say `message`, or what the class's docstring says."""
        super().__init__(message or (type(self).__doc__ or "").strip())


class NotFound(ClarityError):
    """There is no such record."""

    code = "not-found"


class Forbidden(ClarityError):
    """Your role does not allow this."""

    code = "forbidden"


class SecondFactorMissing(Forbidden):
    """Your role needs a second factor: enrol one, or log in with it."""

    code = "second-factor-missing"


class Unauthenticated(ClarityError):
    """Log in first."""

    code = "unauthenticated"


class WrongCredentials(Unauthenticated):
    """The credentials do not match."""

    code = "wrong-credentials"


class DeadLink(Unauthenticated):
    """This link is not good, or not any more; ask for another."""

    code = "dead-link"


class SecondFactorRequired(Unauthenticated):
    """This account has a second factor: log in with a code from it too."""

    code = "second-factor-required"


class Invalid(ClarityError):
    """A value breaks a rule."""

    code = "invalid"

    def __init__(self, field: str, rule: str) -> None:
        """Name the `field` by its path ("names.0.family") and the `rule` it breaks, never its value."""
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule

    def within(self, outer: str) -> "Invalid":
        """Return the same error with its field seen from `outer`."""
        return Invalid(f"{outer}.{self.field}" if self.field else outer, self.rule)


class Conflict(ClarityError):
    """The record is not in a state that allows this."""

    code = "conflict"


class DuplicateIdentifier(Conflict):
    """An identifier that only one record may have is already taken."""

    code = "duplicate-identifier"


class DuplicateMrn(DuplicateIdentifier):
    """A patient with this medical record number exists."""

    code = "duplicate-mrn"


class DuplicateNpi(DuplicateIdentifier):
    """A practitioner with this National Provider Identifier exists."""

    code = "duplicate-npi"


class DuplicateEmail(Conflict):
    """An account with this e-mail address exists."""

    code = "duplicate-email"


class PractitionerHasAccount(Conflict):
    """Another account is linked to this practitioner; disable that one first."""

    code = "practitioner-has-account"


class Overlapping(Conflict):
    """This time is taken: the practitioner or the patient has another appointment in it."""

    code = "overlapping"


class LastAdministrator(Conflict):
    """This is the last administrator who may log in; add another first."""

    code = "last-administrator"


class DanglingReference(Conflict):
    """A reference leads to nobody who is known here."""

    code = "dangling-reference"


class Retained(Conflict):
    """The record has to be kept."""

    code = "retained"


class ReusedKey(Conflict):
    """This idempotency key was used for another request."""

    code = "reused-idempotency-key"


class StaleWrite(ClarityError):
    """Somebody else changed the record meanwhile; read it again."""

    code = "stale-write"


class TooMany(ClarityError):
    """Too many attempts; wait before the next."""

    code = "too-many"

    def __init__(self, retry_after_seconds: int) -> None:
        """Tell the caller to wait `retry_after_seconds`."""
        super().__init__()
        self.retry_after_seconds = retry_after_seconds


class Unavailable(ClarityError):
    """The service cannot answer now; try again."""

    code = "unavailable"
    retry_after_seconds: int = 1


class Transient(Unavailable):
    """The transaction lost a race; try again."""

    code = "transient"


class PoolExhausted(Unavailable):
    """No database connection became free in time; try again."""

    code = "busy"


class Overloaded(Unavailable):
    """More is asked of this service than it can do; try again."""

    code = "overloaded"

    def __init__(self, retry_after_seconds: int) -> None:
        """Tell the caller to wait `retry_after_seconds`; not everybody the same, or they come back together."""
        super().__init__()
        self.retry_after_seconds = retry_after_seconds


class WarmingUp(Unavailable):
    """The search index is still being built; try again in a moment."""

    code = "warming-up"

    def __init__(self, retry_after_seconds: int = 1) -> None:
        """Tell the caller to wait `retry_after_seconds`, by when it should be there."""
        super().__init__()
        self.retry_after_seconds = retry_after_seconds


class TimedOut(Unavailable):
    """This took too long and was given up; repeat a change with the same idempotency key."""

    code = "timed-out"


class Undeliverable(Unavailable):
    """Nobody took the message over."""

    code = "undeliverable"


class TrailUnavailable(Unavailable):
    """The audit trail cannot be written, so nothing was disclosed; try again."""

    code = "trail-unavailable"
    retry_after_seconds = 5


class OutcomeUnknown(Unavailable):
    """The connection broke while committing; repeat the request with the same idempotency key."""

    code = "outcome-unknown"


class StorageFailed(ClarityError):
    """The database refused a statement."""

    code = "storage-failed"

    def __init__(self, state: str) -> None:
        """Carry the SQLSTATE or the name of SQLite's result code, and nothing of the statement."""
        super().__init__(f"The database refused a statement ({state}).")
        self.state = state


class HorizonLost(ClarityError):
    """The changes since then cannot be told: this is another database, or an earlier state of it."""

    code = "horizon-lost"


class CannotOpen(ClarityError):
    """A sealed value does not open: it was altered, moved, or its key is gone."""

    code = "cannot-open"


class NotCanonical(ClarityError):
    """These bytes are not the canonical encoding of an audit event."""

    code = "not-canonical"


class UnauditedAccess(ClarityError):
    """A unit of work disclosed or changed a record without an audit event."""

    code = "unaudited-access"


class Misconfigured(ClarityError):
    """A setting, key or privilege is missing or unsafe."""

    code = "misconfigured"
