"""Fills a practice with people: sealed as the application seals them, and copied as an administrator would.

Every patient is made, validated and sealed by the package's own code under a data key of their own, in as many
processes as there are cores, and goes to the database by COPY. Triggers do not fire meanwhile, and indexes are built
afterwards, as when a dump is restored. The trail gets no events of it.
"""

import asyncio
import gc
import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from uuid_utils.compat import uuid7

from benchmarks import peer
from benchmarks.driver import Connection, connected
from benchmarks.people import People
from clarity.bootstrap import open_keyring
from clarity.config import Settings
from clarity.domain.access import OPERATOR
from clarity.domain.ids import PatientId
from clarity.domain.patients import Patient
from clarity.persistence.keys import DataKeys
from clarity.persistence.patients.mapping import PatientTable, written
from clarity.security.blind_index import BlindIndex
from clarity.security.vault import DataKey

_AT_A_TIME = 4_000
_LOADED = ("patients", "data_keys", "patient_identifiers")
_AUDIT = ("created_at", "created_by", "updated_at", "updated_by")
_PATIENT = ("id", *_AUDIT, "sealed", "key_generation", "version", "status", "guarded")
_KEY = ("subject_id", "generation", "kek_generation", "wrapped", "created_at")
_IDENTIFIER = ("id", "patient_id", "kind", "generation_a", "digest_a", "since_version")

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Practice:
    """Where the keys and the database of a practice are, and the peer's database beside it if there is one."""

    data_dir: str
    url: str
    owner_url: str
    peer_url: str
    seed: int
    with_ssn: bool = False
    """Whether patients have a social security number beside their MRN."""

    @property
    def settings(self) -> Settings:
        """How a server of this practice would be set up."""
        return Settings(data_dir=Path(self.data_dir), async_database_uri=SecretStr(self.url))


async def load(practice: Practice, first: int, last: int) -> None:
    """Add the people from number `first` up to, not including, `last` to both databases, and gather statistics."""
    async with connected(practice.owner_url) as ours:
        indexes = await without_indexes(ours)
        await _copy_all(practice, first, last)
        for definition in indexes:
            await ours.execute(definition)
        await ours.execute("VACUUM ANALYZE")
        await ours.execute("CHECKPOINT")
    if practice.peer_url:
        async with connected(practice.peer_url) as plain:
            await peer.build_indexes(plain)


async def without_indexes(connection: Connection) -> list[str]:
    """Drop the indexes of the tables that are loaded but those of constraints, and return what makes them again."""
    found = await connection.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY($1)"
        " AND NOT EXISTS (SELECT FROM pg_constraint WHERE conname = indexname)",
        _LOADED,
    )
    for index in found:
        await connection.execute(f"DROP INDEX {index['indexname']}")
    return [index["indexdef"] for index in found]


async def _copy_all(practice: Practice, first: int, last: int) -> None:
    spawn = multiprocessing.get_context("spawn")
    loop = asyncio.get_running_loop()
    described = json.dumps(asdict(practice))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        # Rows hold nothing that refers to itself, and there are too many of them to be looked through.
        ProcessPoolExecutor(os.cpu_count(), spawn, initializer=gc.disable) as pool,
        Progress(*columns, console=Console(stderr=True)) as progress,
    ):
        bar = progress.add_task("sealing and copying", total=last - first)
        chunks = [(begin, min(begin + _AT_A_TIME, last)) for begin in range(first, last, _AT_A_TIME)]
        jobs = [loop.run_in_executor(pool, _copy_some, described, last, *chunk) for chunk in chunks]
        for job in asyncio.as_completed(jobs):
            progress.advance(bar, await job)


def _copy_some(described: str, count: int, first: int, last: int) -> int:
    """Seal and copy some people, in a process of its own."""
    practice = Practice(**json.loads(described))
    people = _people(count, practice.seed).some(first, last)
    return asyncio.run(_copied(practice, [(PatientId(uuid7()), person) for person in people]))


@cache
def _people(count: int, seed: int) -> People:
    return People(count, seed)


async def _copied(practice: Practice, people: Sequence[tuple[PatientId, Any]]) -> int:
    writer = _writer(practice.data_dir, practice.url)
    rows = [writer.rows_of(person.patient(identity, with_ssn=practice.with_ssn)) for identity, person in people]
    async with connected(practice.owner_url) as ours, ours.transaction():
        await ours.execute("SET LOCAL session_replication_role = replica")
        await copy_rows(ours, rows)
    if practice.peer_url:
        async with connected(practice.peer_url) as plain:
            records = [peer.row_of(identity, person, writer.at) for identity, person in people]
            await _copy(plain, peer.TABLE, peer.COLUMNS, records)
    return len(people)


async def copy_rows(connection: Connection, rows: Sequence[tuple[Row, Row, list[Row]]]) -> None:
    """Copy new patients with their keys and identifiers."""
    await copy_patients(connection, [patient for patient, _, _ in rows])
    await copy_keys(connection, [key for _, key, _ in rows])
    await copy_identifiers(connection, [one for _, _, several in rows for one in several])


async def copy_patients(connection: Connection, rows: Sequence[Row]) -> None:
    """Copy sealed rows of patients."""
    await _copy(connection, "patients", _PATIENT, rows)


async def copy_keys(connection: Connection, rows: Sequence[Row]) -> None:
    """Copy wrapped data keys."""
    await _copy(connection, "data_keys", _KEY, rows)


async def copy_identifiers(connection: Connection, rows: Sequence[Row]) -> None:
    """Copy the digests of identifiers."""
    await _copy(connection, "patient_identifiers", _IDENTIFIER, rows)


async def _copy(connection: Connection, table: str, columns: Sequence[str], records: Sequence[Row]) -> None:
    await connection.copy_records_to_table(table, records=records, columns=columns)


@cache
def _writer(data_dir: str, url: str) -> "Writer":
    return Writer.of(Settings(data_dir=Path(data_dir), async_database_uri=SecretStr(url)))


class Writer:
    """Turns patients into rows as the repository would."""

    def __init__(self, keys: DataKeys, index: BlindIndex, at: datetime) -> None:
        """Write as of `at`, under the newest keys."""
        self.at = at
        self._keys = keys
        self._table = PatientTable(keys, lambda: at)
        self._index = index

    @classmethod
    def of(cls, settings: Settings) -> "Writer":
        """Write now, under the keys of a practice."""
        keyring = open_keyring(settings)
        return cls(keyring, BlindIndex(keyring), datetime.now(UTC))

    def rows_of(self, patient: Patient) -> tuple[Row, Row, list[Row]]:
        """Return the row of a new patient, that of their data key and those of their identifiers."""
        data_key, key = self.new_key(patient)
        return self.row_of(patient, key), data_key, list(self.identifiers_of(patient))

    def new_key(self, patient: Patient) -> tuple[Row, DataKey]:
        """Make a patient's data key, and return its row and itself."""
        wrapped, key = self._keys.new_data_key(patient.id)
        return (patient.id, wrapped.generation, wrapped.kek_generation, wrapped.wrapped, self.at), key

    def row_of(self, patient: Patient, key: DataKey) -> Row:
        """Return the row of a new patient, sealed."""
        sealed = self._table.mapper.seal(key, patient, row=patient.id, version=1)
        beside = written(patient, 0)
        return (patient.id, self.at, OPERATOR, self.at, OPERATOR, sealed, 1, 1, beside.status, False)

    def identifiers_of(self, patient: Patient) -> Iterator[Row]:
        """Return the rows of what a patient is found by exactly."""
        for term in patient.terms:
            value = self._index.of(term.kind, term.text)
            yield uuid7(), patient.id, int(term.kind), value.generation, value.digest, 1
