"""Clarity's own use-cases, with everything on: decided, opened, durably audited, identifiers indexed, history kept.

The front desk asks, each time in a request of its own: it sees and changes everybody's demographics, which are all but
the notes, one short line of each record. Tables are made by the migrations, people are sealed by the package's own code
and copied in.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from uuid import UUID

from pydantic import SecretStr

from benchmarks.comparing import desk
from benchmarks.driver import connected
from benchmarks.loading import Writer, copy_rows
from benchmarks.peers import PAGE, Listed, Place
from benchmarks.people import Person
from clarity.application.patients import PatientService
from clarity.application.ports import PatientFilter
from clarity.bootstrap import new_telemetry, running
from clarity.config import Settings
from clarity.domain.ids import PatientId
from clarity.domain.patients import Patient
from clarity.upkeep import has_keys, make_keys

_EVERYBODY = PatientFilter()


def settings_of(place: Place) -> Settings:
    """Return how a server of this practice would be set up."""
    return Settings(data_dir=Path(place.folder), async_database_uri=SecretStr(place.url))


@dataclass(frozen=True, slots=True)
class OurSide:
    """One side, by the use-cases of a running practice."""

    patients: PatientService
    place: Place

    async def prepare(self) -> None:
        """Do nothing: the database was migrated, and the keys were made before it was opened."""

    async def load(self, people: Sequence[tuple[UUID, Person]]) -> None:
        writer = Writer.of(settings_of(self.place))
        rows = [writer.rows_of(person.patient(PatientId(identity), with_ssn=True)) for identity, person in people]
        async with connected(self.place.owner_url) as owner, owner.transaction():
            await owner.execute("SET LOCAL session_replication_role = replica")
            await copy_rows(owner, rows)

    async def read(self, identity: UUID) -> Patient:
        return await self.patients.view(desk(), PatientId(identity))

    async def page(self, after: str) -> Listed:
        page = await self.patients.list(desk(), _EVERYBODY, cursor=after, at_most=PAGE)
        return Listed(page.items, page.count, page.next_cursor)

    async def create(self, person: Person, identity: UUID) -> None:
        newcomer = replace(person, notes="").patient(PatientId(identity), with_ssn=True)
        await self.patients.register(desk(), newcomer)

    async def update(self, identity: UUID, line: str) -> None:
        actor = desk()
        patient = await self.patients.view(actor, PatientId(identity))
        await self.patients.change(actor, patient.id, partial(_moved, line), version=patient.version)


def _moved(line: str, patient: Patient) -> Patient:
    [home] = patient.addresses
    return replace(patient, addresses=(replace(home, lines=(line,)),))


@asynccontextmanager
async def opened(place: Place) -> AsyncIterator[OurSide]:
    """Open this side as a server does; the keys are made if there are none yet."""
    settings = settings_of(place)
    if not has_keys(settings):
        make_keys(settings)
    async with running(settings, new_telemetry()) as services:
        yield OurSide(services.patients, place)
