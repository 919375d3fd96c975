"""SQLAlchemy's ORM, as the ordinary tutorial has it: a session for each request, plaintext, and nothing else to do.

It decides nothing, audits nothing, seals nothing and keeps no history.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum, auto
from typing import TYPE_CHECKING, Annotated, ClassVar
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, String, func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column, relationship

from benchmarks.peers import CONNECTIONS, PAGE, SOMEBODY, Listed, Place

if TYPE_CHECKING:
    from benchmarks.people import Person


class Content(Enum):
    """What a text says of a patient: something about them, or the number they are found by."""

    ABOUT = auto()
    NUMBER = auto()


Text = Annotated[str, Content.ABOUT]
Number = Annotated[str, Content.NUMBER]
"""`encrypted` has other columns for these, and for days."""

_LOADED_AT_ONCE = 1_000


def _now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """What the tables of this peer are gathered by."""

    type_annotation_map: ClassVar = {Text: String, Number: String, datetime: DateTime(timezone=True)}


class PatientColumns:
    """A patient, with a column for each thing that is known."""

    __tablename__ = "patients"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    family: Mapped[Text] = mapped_column(index=True)
    given: Mapped[Text]
    born: Mapped[date] = mapped_column(index=True)
    gender: Mapped[Text]
    status: Mapped[str] = mapped_column(index=True)
    phone: Mapped[Text]
    email: Mapped[Text]
    line: Mapped[Text]
    city: Mapped[Text]
    state: Mapped[Text]
    postal_code: Mapped[Text]
    notes: Mapped[Text]
    created_at: Mapped[datetime] = mapped_column(default=_now)
    created_by: Mapped[UUID] = mapped_column(default=SOMEBODY)
    updated_at: Mapped[datetime] = mapped_column(default=_now, onupdate=_now)
    updated_by: Mapped[UUID] = mapped_column(default=SOMEBODY)
    version: Mapped[int] = mapped_column(default=1)

    @declared_attr
    @classmethod
    def identifiers(cls) -> Mapped[list["IdentifierColumns"]]:
        """Relate a patient to their numbers, which come with the patient by a second statement."""
        return relationship("Identifier", lazy="selectin", cascade="all, delete-orphan")


class IdentifierColumns:
    """A number somebody gave a patient: their MRN, or their social security number."""

    __tablename__ = "identifiers"

    id: Mapped[int] = mapped_column(primary_key=True)
    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), index=True)
    kind: Mapped[str]
    value: Mapped[Number]

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> tuple[Index, ...]:
        """Find patients by either number; no two have one MRN."""
        unique = Index("one_patient_for_an_mrn", "value", unique=True, postgresql_where=text("kind = 'mrn'"))
        return Index("identifiers_by_value", "kind", "value"), unique


class Patient(PatientColumns, Base):
    """A patient in plain."""


class Identifier(IdentifierColumns, Base):
    """A number in plain."""


def content_of(person: "Person") -> dict[str, object]:
    """Return what is known of somebody, by the names of the columns."""
    return {
        "family": person.family,
        "given": person.given,
        "born": person.born,
        "gender": person.gender.value,
        "status": person.status.value,
        "phone": person.phone,
        "email": person.email,
        "line": person.line,
        "city": person.city,
        "state": person.state,
        "postal_code": person.postal_code,
        "notes": person.notes,
    }


def engine_of(url: str) -> AsyncEngine:
    """Return an engine that keeps its connections: the defaults would close ten of fifteen after each use."""
    return create_async_engine(url, pool_size=CONNECTIONS, max_overflow=0)


@dataclass(frozen=True, slots=True)
class OrmPeer:
    """One side, by the classes of its tables."""

    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]
    base: type[DeclarativeBase]
    patient: type[PatientColumns]
    identifier: type[IdentifierColumns]

    @classmethod
    def of(
        cls,
        url: str,
        base: type[DeclarativeBase],
        patient: type[PatientColumns],
        identifier: type[IdentifierColumns],
    ) -> "OrmPeer":
        """Make an engine; it connects when it is first used."""
        engine = engine_of(url)
        return cls(engine, async_sessionmaker(engine, expire_on_commit=False), base, patient, identifier)

    async def prepare(self) -> None:
        async with self.engine.begin() as connection:
            await connection.run_sync(self.base.metadata.create_all)

    async def load(self, people: Sequence[tuple[UUID, "Person"]]) -> None:
        for first in range(0, len(people), _LOADED_AT_ONCE):
            async with self.sessions() as session:
                session.add_all(self.made(*one) for one in people[first : first + _LOADED_AT_ONCE])
                await session.commit()

    async def read(self, identity: UUID) -> PatientColumns:
        async with self.sessions() as session:
            return await session.get_one(self.patient, identity)

    async def page(self, after: str) -> Listed:
        statement = select(self.patient).order_by(self.patient.id).limit(PAGE)
        if after:
            statement = statement.where(self.patient.id > UUID(after))
        async with self.sessions() as session:
            items = (await session.scalars(statement)).all()
            total = await session.scalar(select(func.count()).select_from(self.patient))
        return Listed(items, total or 0, str(items[-1].id) if len(items) == PAGE else "")

    async def create(self, person: "Person", identity: UUID) -> None:
        async with self.sessions() as session:
            session.add(self.made(identity, person))
            await session.commit()

    async def update(self, identity: UUID, line: str) -> None:
        async with self.sessions() as session:
            patient = await session.get_one(self.patient, identity)
            patient.line = line
            await session.commit()

    def made(self, identity: UUID, person: "Person") -> PatientColumns:
        """Return somebody as a new object."""
        patient: Callable[..., PatientColumns] = self.patient
        number: Callable[..., IdentifierColumns] = self.identifier
        numbers = [number(kind="mrn", value=person.mrn), number(kind="ssn", value=person.ssn)]
        return patient(id=identity, **content_of(person), identifiers=numbers)


@asynccontextmanager
async def opened_with(
    place: Place, base: type[DeclarativeBase], patient: type[PatientColumns], identifier: type[IdentifierColumns]
) -> AsyncIterator[OrmPeer]:
    """Open a side of these classes."""
    peer = OrmPeer.of(place.url, base, patient, identifier)
    try:
        yield peer
    finally:
        await peer.engine.dispose()


def opened(place: Place) -> AbstractAsyncContextManager[OrmPeer]:
    """Open this side."""
    return opened_with(place, Base, Patient, Identifier)
