"""What the database's errors mean. They are told by SQLSTATE and constraint, and never passed on themselves."""

import sqlite3
from asyncio import CancelledError
from types import TracebackType

from asyncpg.exceptions import InterfaceError as DriverMisused
from asyncpg.exceptions import InternalClientError as DriverConfused  # a server that took its leave unasked
from asyncpg.exceptions import PostgresError
from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from clarity.domain.errors import (
    ClarityError,
    Conflict,
    DuplicateEmail,
    DuplicateIdentifier,
    DuplicateMrn,
    Overlapping,
    PoolExhausted,
    PractitionerHasAccount,
    StaleWrite,
    StorageFailed,
    TimedOut,
    Transient,
    UnauditedAccess,
    Unavailable,
)
from clarity.persistence.tables import Base

_MEANING: dict[str, type[ClarityError]] = {
    "uq_patient_identifiers_mrn_a": DuplicateMrn,
    "uq_patient_identifiers_mrn_b": DuplicateMrn,
    "uq_patient_identifiers_source_a": DuplicateIdentifier,
    "uq_patient_identifiers_source_b": DuplicateIdentifier,
    "uq_practitioner_identifiers_source_a": DuplicateIdentifier,
    "uq_practitioner_identifiers_source_b": DuplicateIdentifier,
    "uq_chart_sources_source_a": DuplicateIdentifier,
    "uq_chart_sources_source_b": DuplicateIdentifier,
    "uq_accounts_email_generation_a_email_digest_a": DuplicateEmail,
    "uq_accounts_email_generation_b_email_digest_b": DuplicateEmail,
    "uq_accounts_practitioner_id": PractitionerHasAccount,
    # Which of the two it is, nobody is told: of the patient's, whoever books may not know.
    "ex_appointments_practitioner": Overlapping,
    "ex_appointments_patient": Overlapping,
    # Two writers began from one version, and the other was first to keep it.
    "pk_record_versions": StaleWrite,
    # Another request found that these two share another identifier; trying again finds its review.
    "uq_duplicate_reviews_patient_id_other_id": Transient,
    # Another request is recording the patient's first consent; trying again finds it.
    "pk_consents": Transient,
    # Another request is being answered under this very key; trying again finds its answer.
    "pk_idempotency_keys": Transient,
}

# PostgreSQL, appendix A; the prefix of two characters stands for the class.
_STATES: dict[str, type[ClarityError]] = {
    "40": Transient,  # serialization failure, deadlock
    "55P03": Transient,  # lock not available
    "0A000": Transient,  # a cached statement invalidated by DDL
    "08": Unavailable,  # connection exceptions
    "57014": TimedOut,  # cancelled at its time limit
    "53": Unavailable,  # out of connections, memory or disk
    "57": Unavailable,  # shutting down, starting up
    "UA001": UnauditedAccess,  # `trail_guard`: a change of something of a patient without an event
    "25006": Unavailable,  # a standby that became read-only
    "SQLITE_BUSY": Transient,
    "SQLITE_LOCKED": Transient,
    "SQLITE_INTERRUPT": TimedOut,
    "SQLITE_FULL": Unavailable,
    "SQLITE_IOERR": Unavailable,
    "SQLITE_CANTOPEN": Unavailable,
}


def translated() -> "_Translated":
    """Raise the domain error that a database error inside stands for; let every other error pass.

    The driver's own error is dropped: its message may carry values of the row.
    """
    return _TRANSLATED


class _Translated:
    """What `translated` returns: every read passes it, so that it is no generator, of which each would need its own."""

    __slots__ = ()

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and (meaning := _told_of(error)) is not None:
            raise meaning from None


_TRANSLATED = _Translated()


def _told_of(exc: BaseException) -> ClarityError | None:
    """Return the domain error that an error stands for, `None` if it is not the database's."""
    if isinstance(exc, PoolTimeout):
        return PoolExhausted()
    if isinstance(exc, DBAPIError):
        return _meaning_of(exc)
    if isinstance(exc, PostgresError | sqlite3.Error):  # of whoever asks the driver itself
        state = state_in(exc)
        if state.startswith("23"):  # integrity constraint violation
            return _MEANING.get(str(getattr(exc, "constraint_name", None)), Conflict)()
        return _meaning_of_state(state) or StorageFailed(state or type(exc).__name__)
    if isinstance(exc, ConnectionError | TimeoutError | DriverMisused | DriverConfused):
        return Unavailable()
    return None


def is_unsettled(exc: BaseException) -> bool:
    """Tell whether a COMMIT that ended so may have been done: its connection broke, or nobody waited for the answer.

    SQLite takes back a COMMIT that it could not write to the end, yet all of it may be in the file and come
    back when the file is next opened after a crash.
    """
    if isinstance(exc, DBAPIError):
        broke = exc.connection_invalidated or isinstance(exc, InterfaceError)
        return broke or state_of(exc).startswith(("08", "57P", "SQLITE_IOERR"))
    return isinstance(exc, ConnectionError | TimeoutError | CancelledError)


def state_of(exc: DBAPIError) -> str:
    """Return the SQLSTATE, the name of SQLite's result code, or "" if the driver gave neither."""
    return state_in(getattr(exc.orig, "__cause__", None) or exc.orig)


def state_in(cause: BaseException | None) -> str:
    """Return the SQLSTATE, or the name of SQLite's result code, that a driver's own error has, or ""."""
    return str(getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None) or "")


def broken_constraint(exc: IntegrityError) -> str:
    """Return the name of the constraint or unique index that was broken, or "" if the database does not say."""
    cause = getattr(exc.orig, "__cause__", None) or exc.orig
    if isinstance(cause, sqlite3.Error):
        return _named_by_sqlite(cause)
    return str(getattr(cause, "constraint_name", None) or "")


def _meaning_of(exc: DBAPIError) -> ClarityError:
    if isinstance(exc, IntegrityError):
        return _MEANING.get(broken_constraint(exc), Conflict)()
    state = state_of(exc)
    if meaning := _meaning_of_state(state):
        return meaning
    return Unavailable() if exc.connection_invalidated else StorageFailed(state or type(exc.orig).__name__)


def _meaning_of_state(state: str) -> ClarityError | None:
    for length in (len(state), 14, 13, 12, 11, 5, 2):
        if meaning := _STATES.get(state[:length]):
            return meaning()
    return None


def _named_by_sqlite(cause: sqlite3.Error) -> str:
    """Return the name that the tables give to what SQLite calls "patients.id, patients.version".

    SQLite reports no constraint names, only the columns; those are schema and hold no data. What a trigger of ours
    refuses, it refuses by the name of the constraint in whose place it stands.
    """
    if state_in(cause) == "SQLITE_CONSTRAINT_TRIGGER":
        return str(cause)
    columns = str(cause).rpartition(": ")[2]
    return _names_by_columns().get(columns, "")


def _names_by_columns() -> dict[str, str]:
    names: dict[str, str] = {}
    for table in Base.metadata.tables.values():
        unique = [index for index in table.indexes if index.unique]
        constraints = [item for item in table.constraints if isinstance(item, UniqueConstraint | PrimaryKeyConstraint)]
        for item in (*unique, *constraints):
            columns = ", ".join(f"{table.name}.{column.name}" for column in item.columns)
            names[columns] = str(item.name)
    return names
