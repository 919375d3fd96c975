"""Clarity without one of its promises, to show what each costs: a build that exists in a benchmark's process alone.

It is composed as `clarity.bootstrap.running` composes a practice, of the same parts, but for those that keep one
promise. They are replaced here by others that do nothing; the package has no switch for it. What is left out, by name:

- `sealing`: content is encoded as ever, and stored as it is; nobody has a data key, though there is a row for it;
- `decision`: the policy says yes to everything, of every field, and its ties, consents and emergencies are not fetched;
- `audit`: no event is written, of reads or of writes, and the database asks for none;
- `history`: the version before is not kept;
- `identifiers`: no digests to find somebody by, nothing unique, and so nobody who shares a number is looked for;
- `duplicates`: whoever shares a number is not looked for;
- `durability`: PostgreSQL acknowledges what is not on the disk yet (`synchronous_commit` off);
- `everything`: all of these at once, which leaves the use-cases, SQLAlchemy and the database.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast
from unittest.mock import patch
from uuid import UUID

from sqlalchemy import Label, Select, make_url, null, update
from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks.driver import connected
from benchmarks.loading import Writer, copy_rows
from benchmarks.peers import Place
from benchmarks.peers.ours import OurSide, settings_of
from benchmarks.people import Person
from clarity.application import admission
from clarity.application.patients import PatientService
from clarity.bootstrap import engine_options, new_telemetry, now, open_keyring, opened_trail, today, units_of_work
from clarity.cache.rates import RULES, MemoryRateLimit
from clarity.domain.access import Decision, Reason, Scope
from clarity.domain.audit import AuditEvent, Entry
from clarity.domain.identifiers import IndexKind
from clarity.domain.ids import PatientId
from clarity.domain.patients import ALL_FIELDS, Patient
from clarity.persistence import records
from clarity.persistence.consents.tables import REGISTER_COLUMNS
from clarity.persistence.duplicates.watch import DuplicateWatch
from clarity.persistence.engine import connect
from clarity.persistence.identifiers import IdentifierTable
from clarity.persistence.keys import DataKeys
from clarity.persistence.ledger import Ledger
from clarity.persistence.patients.mapping import PatientTable
from clarity.persistence.records import Written
from clarity.persistence.sealing import SealedRecord
from clarity.persistence.tables import write_one
from clarity.persistence.trail_guard import remove_sql
from clarity.persistence.unit_of_work import Tools, UnitsOfWork
from clarity.search.streaming import StreamingSearch
from clarity.security.blind_index import BlindIndex, IndexValue
from clarity.security.cursors import Cursors
from clarity.security.envelope import Place as Sealed
from clarity.security.keyring import Keyring, WrappedKey
from clarity.security.vault import DataKey
from clarity.upkeep import has_keys, make_keys

PROMISES = ("sealing", "decision", "audit", "history", "identifiers", "duplicates", "durability")
EVERYTHING = "everything"
_YES = Decision(reason=Reason.NONE, fields=ALL_FIELDS)


@dataclass(frozen=True, slots=True)
class _NoKey:
    """Stands where a data key does, and gives back what it is given."""

    subject: UUID
    generation: int = 1

    def seal(self, place: Sealed, plaintext: bytes) -> bytes:
        """Return it as it is."""
        del place
        return plaintext

    def open(self, place: Sealed, sealed: bytes) -> bytes:
        """Return it as it is."""
        del place
        return sealed


class _NoKeys:
    """Stands where the keyring does for the rows of patients."""

    def new_data_key(self, subject: UUID, generation: int = 1) -> tuple[WrappedKey, DataKey]:
        """Return no key, with what goes into its row."""
        return WrappedKey(subject, generation, 1, b"none"), cast("DataKey", _NoKey(subject))

    def unwrap(self, wrapped: WrappedKey) -> DataKey:
        """Return no key."""
        return cast("DataKey", _NoKey(wrapped.subject))


class _ForgetfulTable(PatientTable):
    """Replaces a version without keeping it."""

    async def replace(
        self, session: AsyncSession, ledger: Ledger, record: SealedRecord, entity: Patient, written: Written
    ) -> int:
        stamp, key, version = ledger.stamp(), self.key_of(record), record.version + 1
        sealed = self.mapper.seal(key, entity, row=record.id, version=version)
        statement = update(self.rows).where(self.rows.id == record.id, self.rows.version == record.version)
        await write_one(session, statement.values(self._columns(stamp, key, sealed, version, written)))
        ledger.change(self.resource, record.id, version=version, sealed=sealed, fields=written.fields)
        return version


class _NoIndex:
    """Stands where the blind index does, and has a digest of nothing."""

    def candidates(self, kind: IndexKind, text: str) -> tuple[IndexValue, ...]:
        del kind, text
        return ()


class _UnauditedWork(UnitsOfWork):
    """Writes no events."""

    async def _append(self, session: AsyncSession, entries: Sequence[Entry]) -> None:
        del session, entries

    async def _record(self, ledger: Ledger) -> None:
        del ledger


@dataclass(frozen=True, slots=True)
class Build:
    """What is left out of one build."""

    promise: str

    def lacks(self, promise: str) -> bool:
        return self.promise in {promise, EVERYTHING}

    def keys(self, keyring: Keyring) -> DataKeys:
        return _NoKeys() if self.lacks("sealing") else keyring

    def replaced(self) -> Iterator[AbstractContextManager[object]]:
        """Return what takes the place of what is looked up by name in this process, before anything is built."""
        if self.lacks("decision"):
            yield patch.object(admission, "decide", _yes)
            yield patch.object(Scope, "before_opening", _yes)
            yield patch.object(Scope, "after_opening", _yes)
            yield patch.object(records, "emergencies_of", _no_emergencies)
            yield patch.object(records, "with_consents", _without_consents)
        if self.lacks("identifiers") or self.lacks("duplicates"):
            yield patch.object(DuplicateWatch, "look", _look_for_nobody)
            yield patch.object(IdentifierTable, "locks_of", _no_locks)

    def tools(self, tools: Tools, keyring: Keyring, index: BlindIndex) -> Tools:
        """Return the tools of units of work without what is left out."""
        keys = self.keys(keyring)
        if self.lacks("sealing"):
            tools = Tools.of(keys, index, tools.new_id, tools.trail, now)
        if self.lacks("history"):
            tools = replace(tools, patients=_ForgetfulTable(keys, now))
        if self.lacks("audit"):
            tools = replace(tools, trail=replace(tools.trail, certify=_no_entry))
        if self.lacks("identifiers"):
            tools = replace(tools, patient_identifiers=replace(tools.patient_identifiers, index=_NoIndex()))
        return tools

    def units(self, units: UnitsOfWork) -> UnitsOfWork:
        return _UnauditedWork(units.database, units.trail, units.tools) if self.lacks("audit") else units


def _no_entry(event: AuditEvent) -> Entry:
    return Entry(event, b"", b"", b"")


def _yes(*asked: object) -> Decision:
    del asked
    return _YES


def _no_emergencies(*asked: object) -> Label[None]:
    del asked
    return null().label("emergencies")


def _without_consents(statement: Select[Any], patient: object) -> Select[Any]:
    del patient
    return statement.add_columns(*(null().label(column.name) for column in REGISTER_COLUMNS))


async def _look_for_nobody(*asked: object) -> None:
    del asked


def _no_locks(*asked: object) -> list[int]:
    del asked
    return []


@dataclass(frozen=True, slots=True)
class LesserSide(OurSide):
    """Ours, with less of it."""

    build: Build
    keyring: Keyring

    async def prepare(self) -> None:
        async with connected(self.place.owner_url) as owner:
            if self.build.lacks("audit"):
                await owner.execute(remove_sql())
            if self.build.lacks("durability"):
                database = make_url(self.place.owner_url).database
                await owner.execute(f'ALTER DATABASE "{database}" SET synchronous_commit = off')

    async def load(self, people: Sequence[tuple[UUID, Person]]) -> None:
        writer = Writer(self.build.keys(self.keyring), BlindIndex(self.keyring), datetime.now(UTC))
        rows = [writer.rows_of(person.patient(PatientId(identity), with_ssn=True)) for identity, person in people]
        async with connected(self.place.owner_url) as owner, owner.transaction():
            await owner.execute("SET LOCAL session_replication_role = replica")
            await copy_rows(owner, rows)


@asynccontextmanager
async def opened(promise: str, place: Place) -> AsyncIterator[LesserSide]:
    """Open ours without one promise, or without "nothing" of them; the keys are made if there are none yet."""
    build = Build(promise)
    settings = settings_of(place)
    if not has_keys(settings):
        make_keys(settings)
    keyring, telemetry = open_keyring(settings), new_telemetry()
    async with AsyncExitStack() as stack:
        for one in build.replaced():
            stack.enter_context(one)
        database = connect(engine_options(settings), telemetry)
        stack.push_async_callback(database.dispose)
        trail = await stack.enter_async_context(opened_trail(database, keyring))
        units = units_of_work(database, keyring, trail, settings.practice_region)
        tools = build.tools(units.tools, keyring, BlindIndex(keyring, settings.practice_region))
        units = build.units(replace(units, tools=tools))
        patients = PatientService(
            begin=units.begin,
            reading=units.reading,
            search_index=StreamingSearch(partial(today, settings)),
            cursors=Cursors(keyring),
            limits=MemoryRateLimit(RULES),
            now=now,
            today=partial(today, settings),
        )
        yield LesserSide(patients, place, build, keyring)
