"""Which patients a list has: the conditions on them, a page of their records, and how many there are in all."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, bindparam, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession

from clarity.application.ports import PatientFilter
from clarity.domain.access import Scope
from clarity.domain.ids import PatientId
from clarity.persistence.care_team import cares_for
from clarity.persistence.direct import DirectStatement, Lent
from clarity.persistence.identifiers import IdentifierTable
from clarity.persistence.patients.mapping import PatientTable
from clarity.persistence.patients.tables import PatientRow
from clarity.persistence.scopes import form_of, in_scope, values_of
from clarity.persistence.types import Uuid16

# There are as many as sizes of pages, times few; nobody asks for most of them.
_FORMS = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """A question for a page: at most `at_most` of the records behind `after` in `scope` that meet `conditions`."""

    scope: Scope
    conditions: PatientFilter
    after: PatientId | None
    at_most: int

    @property
    def form(self) -> Hashable:
        """All of the question that tells how its statement reads."""
        conditions = self.conditions
        given = conditions.status is not None, conditions.practitioner is not None, self.after is not None
        return form_of(self.scope), given, self.at_most

    @property
    def has_form(self) -> bool:
        """Whether all else of the question are values: each identifier and each set of patients reads differently."""
        return not self.conditions.terms and self.conditions.patients is None

    @property
    def values(self) -> dict[str, Any]:
        """The values of the statement's parameters."""
        conditions = self.conditions
        return {
            **values_of(self.scope),
            "status": conditions.status,
            "practitioner": conditions.practitioner,
            "after": self.after,
        }


class PatientLists:
    """The statements for lists of patients."""

    def __init__(self, table: PatientTable, identifiers: IdentifierTable) -> None:
        """Take records from `table`, and find those with an identifier by `identifiers`."""
        self._fetched = table.fetched
        self._identifiers = identifiers
        self._lent: dict[Hashable, DirectStatement] = {}

    def chosen(self, statement: Select[Any], scope: Scope, conditions: PatientFilter) -> Select[Any]:
        """Return `statement` for those in `scope` who meet `conditions`, as far as is known unopened."""
        statement = statement.where(in_scope(scope, PatientRow, PatientRow.id))
        if conditions.status is not None:
            statement = statement.where(PatientRow.status == bindparam("status", conditions.status.value))
        if conditions.practitioner is not None:
            practitioner = bindparam("practitioner", conditions.practitioner, Uuid16)
            statement = statement.where(cares_for(practitioner, PatientRow.id))
        if conditions.patients is not None:
            statement = statement.where(PatientRow.id.in_(conditions.patients))
        for term in conditions.terms:
            statement = statement.where(PatientRow.id.in_(self._identifiers.owners_of(term)))
        return statement

    def counted(self, scope: Scope, conditions: PatientFilter, enough: int | None = None) -> Select[int]:
        """Return what counts those who are not guarded, and stops where it has `enough`."""
        some = self.chosen(select(PatientRow.id), scope, conditions).where(PatientRow.guarded.is_(False))
        return select(func.count()).select_from((some if enough is None else _first(some, enough)).subquery())

    async def page(self, session: AsyncSession, asked: Asked, enough: int) -> tuple[Sequence[Any], int]:
        """Return rows in order of their ids, and how many there are in all as far as that is `enough`, of one instant.

        It is for scopes that cover no guarded record, where nothing has to be opened to tell.
        """
        lent = Lent.to(session)
        if lent is None or not asked.has_form:
            rows: Sequence[Any] = (await session.execute(self._page(asked, enough))).all()
        else:
            rows = await lent.rows(self._compiled(asked, enough), **asked.values)
        if rows:
            return rows, rows[0][-1]
        behind = asked.after is not None
        counted = self.counted(asked.scope, asked.conditions, enough)
        return rows, (await session.execute(counted)).scalar_one() if behind else 0

    def _page(self, asked: Asked, enough: int) -> Select[Any]:
        page = self.chosen(select(PatientRow.id), asked.scope, asked.conditions)
        if asked.after is not None:
            page = page.where(PatientRow.id > bindparam("after", asked.after, Uuid16))
        # Joined to what the page was cut to: else PostgreSQL would go through the keys of all who come before.
        wanted = _first(page.order_by(PatientRow.id), asked.at_most).subquery("wanted")
        total = self.counted(asked.scope, asked.conditions, enough).scalar_subquery()
        return self._fetched.join(wanted, wanted.c.id == PatientRow.id).order_by(PatientRow.id).add_columns(total)

    def _compiled(self, asked: Asked, enough: int) -> DirectStatement:
        form = asked.form
        statement = self._lent.get(form)
        if statement is None:
            if len(self._lent) >= _FORMS:
                self._lent.clear()
            statement = self._lent[form] = DirectStatement(self._page(asked, enough))
        return statement


def _first(statement: Select[Any], count: int) -> Select[Any]:
    """Limit a statement by a number in its text: for a parameter, PostgreSQL would plan anew each time."""
    return statement.limit(literal_column(str(count)))
