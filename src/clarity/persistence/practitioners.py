"""Practitioners: staff, so their content is sealed under the system key rather than a patient's."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Select, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from clarity.domain.errors import DuplicateNpi
from clarity.domain.identifiers import IndexKind, IndexTerm
from clarity.domain.ids import PractitionerId
from clarity.domain.practitioners import EVERYBODY, Practitioner, PractitionerQuery
from clarity.domain.records import Resource
from clarity.persistence.identifiers import IdentifierTable, identifier_rules
from clarity.persistence.ledger import Ledger
from clarity.persistence.sealing import Sparse, content_of
from clarity.persistence.tables import AuditColumns, Base, IdentifierColumns, write_one
from clarity.persistence.types import EncryptedJSON

_INSIDE = ("name", "npi", "gender", "telecoms", "addresses", "sources", "specialty")
_CONTENT = Sparse(Practitioner, _INSIDE)
_ROWS_AT_A_TIME = 500
# Any number will do that nothing else locks by.
_CLAIMING = int.from_bytes(b"npi", "big")


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

    async def find_page(
        self, query: PractitionerQuery = EVERYBODY, *, after: PractitionerId | None, at_most: int
    ) -> list[Practitioner]:
        """Return at most `at_most` practitioners who meet `query` in order of their ids, those behind `after`."""
        page: list[Practitioner] = []
        async for practitioner in self._in_order(query, after, _ROWS_AT_A_TIME if query.needs_opening else at_most):
            page.append(practitioner)
            if len(page) == at_most:
                break
        return page

    async def count(self, query: PractitionerQuery = EVERYBODY) -> int:
        """Return how many practitioners meet `query`; they are opened if nothing else tells."""
        if query.needs_opening:
            return len([one async for one in self._in_order(query, None, _ROWS_AT_A_TIME)])
        counted = self._chosen(select(func.count()).select_from(PractitionerRow), query)
        return int((await self.session.execute(counted)).scalar_one())

    async def find_by_terms(self, terms: Sequence[IndexTerm]) -> list[Practitioner]:
        """Return the practitioners that have any of `terms`."""
        owners = self.identifiers.owners_of(*terms)
        rows = await self.session.execute(_ALL.where(PractitionerRow.id.in_(owners)).order_by(PractitionerRow.id))
        return [_to_practitioner(row) for row in rows]

    async def claim_npi(self, npi: str, by: PractitionerId) -> None:
        """Keep everybody but `by` from claiming an NPI until the unit of work ends, or raise `DuplicateNpi`.

        A lock of the transaction on PostgreSQL, and one for all numbers: staff are registered rarely. SQLite needs
        none: whoever writes there is the only one who does.
        """
        if self.session.get_bind().dialect.name == "postgresql":
            await self.session.execute(select(func.pg_advisory_xact_lock(_CLAIMING)))
        owners = self.identifiers.owners_of(IndexTerm(IndexKind.NPI, npi))
        if any(owner != by for owner in await self.session.scalars(owners)):
            raise DuplicateNpi

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

    async def _in_order(
        self, query: PractitionerQuery, after: PractitionerId | None, at_a_time: int
    ) -> AsyncIterator[Practitioner]:
        """Yield those who meet `query` in order of their ids; they are fetched `at_a_time`."""
        statement = self._chosen(_ALL, query).order_by(PractitionerRow.id).limit(at_a_time)
        while True:
            rows = (await self.session.execute(statement if after is None else _behind(statement, after))).all()
            for practitioner in map(_to_practitioner, rows):
                if query.matches(practitioner):
                    yield practitioner
            if len(rows) < at_a_time:
                return
            after = PractitionerId(rows[-1].id)

    def _chosen(self, statement: Select[Any], query: PractitionerQuery) -> Select[Any]:
        """Narrow a select of practitioners down to what can be told outside the seal."""
        if query.active is not None:
            statement = statement.where(PractitionerRow.active.is_(query.active))
        if query.term is not None:
            statement = statement.where(PractitionerRow.id.in_(self.identifiers.owners_of(query.term)))
        return statement


def _behind(statement: Select[Any], after: PractitionerId) -> Select[Any]:
    return statement.where(PractitionerRow.id > after)


def _columns(practitioner: Practitioner) -> dict[str, Any]:
    return {
        "active": practitioner.active,
        "version": practitioner.version,
        "sealed": _CONTENT.form(practitioner),
    }


def _to_practitioner(row: Any) -> Practitioner:
    content = {name: getattr(row.sealed, name) for name in _INSIDE}
    return Practitioner(id=PractitionerId(row.id), active=row.active, version=row.version, **content)
