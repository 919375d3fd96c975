"""Practitioners: staff, so their content is sealed under the system key rather than a patient's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from clarity.domain.identifiers import IndexTerm
from clarity.domain.ids import PractitionerId
from clarity.domain.practitioners import Practitioner
from clarity.domain.records import Resource
from clarity.persistence.identifiers import IdentifierTable, identifier_rules
from clarity.persistence.ledger import Ledger
from clarity.persistence.sealing import content_of, sparse
from clarity.persistence.tables import AuditColumns, Base, IdentifierColumns, write_one
from clarity.persistence.types import EncryptedJSON

_INSIDE = ("name", "npi", "gender", "telecoms", "addresses", "sources")


class PractitionerRow(AuditColumns, Base):
    """A practitioner."""

    __tablename__ = "practitioners"
    __table_args__ = (CheckConstraint("version >= 1", name="version"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    active: Mapped[bool]
    version: Mapped[int]
    sealed: Mapped[Any] = mapped_column(EncryptedJSON("practitioners", "sealed", content_of(Practitioner, _INSIDE)))


class PractitionerIdentifierRow(IdentifierColumns, Base):
    """The blind index of one identifier of a practitioner."""

    __tablename__ = "practitioner_identifiers"
    __table_args__ = (*identifier_rules("practitioner_identifiers"),)

    practitioner_id: Mapped[UUID] = mapped_column(ForeignKey("practitioners.id"), index=True)


_ALL = select(PractitionerRow.id, PractitionerRow.active, PractitionerRow.version, PractitionerRow.sealed)


@dataclass(frozen=True, slots=True)
class SqlPractitionerRepository:
    """`PractitionerRepository` over one session."""

    session: AsyncSession
    identifiers: IdentifierTable
    ledger: Ledger

    async def find(self, practitioners: Sequence[PractitionerId]) -> list[Practitioner]:
        """Return those that exist among `practitioners`, in their order."""
        rows = await self.session.execute(_ALL.where(PractitionerRow.id.in_(practitioners)))
        found = {row.id: _to_practitioner(row) for row in rows}
        return [found[practitioner] for practitioner in practitioners if practitioner in found]

    async def find_page(self, *, after: PractitionerId | None, at_most: int) -> list[Practitioner]:
        """Return at most `at_most` practitioners in order of their ids, those behind `after`."""
        statement = _ALL if after is None else _ALL.where(PractitionerRow.id > after)
        rows = await self.session.execute(statement.order_by(PractitionerRow.id).limit(at_most))
        return [_to_practitioner(row) for row in rows]

    async def count(self) -> int:
        """Return how many practitioners there are."""
        return (await self.session.execute(select(func.count()).select_from(PractitionerRow))).scalar_one()

    async def find_by_terms(self, terms: Sequence[IndexTerm]) -> list[Practitioner]:
        """Return the practitioners that have any of `terms`."""
        owners = self.identifiers.owners_of(*terms)
        rows = await self.session.execute(_ALL.where(PractitionerRow.id.in_(owners)).order_by(PractitionerRow.id))
        return [_to_practitioner(row) for row in rows]

    async def add(self, practitioner: Practitioner) -> Practitioner:
        """Store a new practitioner as version 1."""
        stamp = self.ledger.stamp()
        saved = replace(practitioner, version=1)
        await self.session.execute(
            insert(PractitionerRow).values(
                id=saved.id,
                created_at=stamp.at,
                created_by=stamp.by,
                updated_at=stamp.at,
                updated_by=stamp.by,
                **_columns(saved),
            )
        )
        await self.identifiers.change(self.session, saved.id, before=(), after=saved.terms, version=1)
        self.ledger.change(Resource.PRACTITIONER, saved.id, version=1)
        return saved

    async def save(self, practitioner: Practitioner) -> Practitioner:
        """Write the next version, or raise `StaleWrite`."""
        stamp = self.ledger.stamp()
        before = await self.find([practitioner.id])
        saved = replace(practitioner, version=practitioner.version + 1)
        statement = (
            update(PractitionerRow)
            .where(PractitionerRow.id == saved.id, PractitionerRow.version == practitioner.version)
            .values(updated_at=stamp.at, updated_by=stamp.by, **_columns(saved))
        )
        await write_one(self.session, statement)
        await self.identifiers.change(
            self.session, saved.id, before=before[0].terms, after=saved.terms, version=saved.version
        )
        self.ledger.change(Resource.PRACTITIONER, saved.id, version=saved.version)
        return saved


def _columns(practitioner: Practitioner) -> dict[str, Any]:
    content = sparse(practitioner)
    return {
        "active": practitioner.active,
        "version": practitioner.version,
        "sealed": {name: content[name] for name in _INSIDE if name in content},
    }


def _to_practitioner(row: Any) -> Practitioner:
    content = {name: getattr(row.sealed, name) for name in _INSIDE}
    return Practitioner(id=PractitionerId(row.id), active=row.active, version=row.version, **content)
