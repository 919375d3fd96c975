"""The trail as a report of unusual access reads it, and which days of it were reported on."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CursorResult,
    Date,
    Select,
    and_,
    false,
    func,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from clarity.domain.access import Action, Role
from clarity.domain.audit import Outcome
from clarity.domain.break_glass import BreakGlassStatus
from clarity.domain.dates import CLOCKS_DIFFER
from clarity.domain.ids import AccountId, BreakGlassId, PatientId
from clarity.domain.practice_hours import Span
from clarity.domain.records import Resource
from clarity.domain.unusual_access import LOOKED_AT, WATCHED_ROLES, Look, PatientTies, Tie, Volumes, WaitingGlass
from clarity.persistence.audit import AuditEventRow, AuditSubjectRow
from clarity.persistence.break_glass.tables import BreakGlassRow
from clarity.persistence.care_team import CareTeamRow
from clarity.persistence.history import RecordVersionRow
from clarity.persistence.patients.tables import PatientRow
from clarity.persistence.registry import number_of
from clarity.persistence.tables import Base

_AT_A_TIME = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Every time zone differs from UTC by a whole number of these, so an hour of the clock on the wall is made of them.
_QUARTER = timedelta(minutes=15)


class AccessReportRow(Base):
    """That the report of a day in the practice was made, once, however many servers there are."""

    __tablename__ = "access_reports"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    findings: Mapped[int]
    created_at: Mapped[datetime]


class _Quarter(FunctionElement[int]):
    """The number of the quarter of an hour in which an instant lies, from 1970 on."""

    type = BigInteger()
    inherit_cache = True


@compiles(_Quarter)
def _quarter(element: _Quarter, compiler: SQLCompiler, **kw: Any) -> str:
    return f"CAST(floor(extract(epoch FROM {compiler.process(element.clauses, **kw)}) / 900) AS bigint)"


@compiles(_Quarter, "sqlite")
def _quarter_of_microseconds(element: _Quarter, compiler: SQLCompiler, **kw: Any) -> str:
    return f"({compiler.process(element.clauses, **kw)}) / 900000000"


_INSERTS: dict[str, Callable[..., Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


@dataclass(frozen=True, slots=True)
class SqlAccessReportRepository:
    """`AccessReportRepository` over one session."""

    session: AsyncSession

    async def has_begun(self, before: datetime) -> bool:
        """Tell whether the trail has anything from before an instant."""
        statement = select(AuditEventRow.id).where(AuditEventRow.at < before).limit(1)
        return (await self.session.execute(statement)).first() is not None

    async def volumes(self, span: Span) -> Volumes:
        """Return how many patients each account looked at, in each of its roles."""
        seen = _looks(span).subquery()
        counted = select(seen.c.actor_id, seen.c.role, func.count(seen.c.patient.distinct()))
        rows = await self.session.execute(counted.group_by(seen.c.actor_id, seen.c.role))
        return {(AccountId(account), Role(role)): count for account, role, count in rows}

    async def active_at(self, accounts: Collection[AccountId], span: Span) -> list[tuple[AccountId, datetime]]:
        """Return in which quarters of an hour, by their beginnings, accounts looked at anybody."""
        events = AuditEventRow
        active: list[tuple[AccountId, datetime]] = []
        for some in _parts(accounts):
            statement = select(events.actor_id, _Quarter(events.at)).where(events.actor_id.in_(some), *_is_look(span))
            rows = await self.session.execute(statement.distinct())
            active.extend((AccountId(account), _EPOCH + quarter * _QUARTER) for account, quarter in rows)
        return active

    async def looks(self, span: Span) -> AsyncIterator[Look]:
        """Return every look in the order of patients; the database keeps those that were not fetched yet."""
        seen = _looks(span).subquery()
        result = await self.session.stream(select(seen).order_by(seen.c.patient, seen.c.at))
        async for rows in result.partitions(_AT_A_TIME):
            for row in rows:
                yield Look(
                    at=row.at,
                    account=AccountId(row.actor_id),
                    role=Role(row.role),
                    patient=PatientId(row.patient),
                    listed=bool(row.listed),
                )

    async def ties(self, patients: Collection[PatientId]) -> dict[PatientId, PatientTies]:
        """Return the ties that there ever were to some patients."""
        found: dict[PatientId, PatientTies] = {}
        for some in _parts(patients):
            written = await self._written(some)
            teams = await self._teams(some, written)
            emergencies = await self._emergencies(some)
            for patient in some:
                if patient in written:
                    found[patient] = PatientTies(
                        care_team=tuple(teams.get(patient, ())),
                        emergencies=tuple(emergencies.get(patient, ())),
                        written=tuple(written[patient].values()),
                    )
        return found

    async def waiting(self, opened_before: datetime, at: datetime, *, at_most: int) -> list[WaitingGlass]:
        """Return at most `at_most` of the broken glass from before an instant that had no review `at` another."""
        rows = BreakGlassRow
        # Of what was reviewed the last write is the review.
        unreviewed = or_(rows.status == BreakGlassStatus.UNREVIEWED.value, rows.updated_at > at)
        statement = select(rows.id, rows.created_by, rows.patient_id, rows.created_at)
        statement = statement.where(rows.created_at < opened_before, unreviewed).order_by(rows.created_at, rows.id)
        return [
            WaitingGlass(
                id=BreakGlassId(row.id),
                account=AccountId(row.created_by),
                patient=PatientId(row.patient_id),
                opened_at=row.created_at,
            )
            for row in await self.session.execute(statement.limit(at_most))
        ]

    async def last_made(self, until: date, at: datetime) -> date | None:
        """Return the latest day up to `until` whose report was made by now."""
        row = AccessReportRow
        made = (row.day <= until, row.created_at <= at + CLOCKS_DIFFER)
        return await self.session.scalar(select(func.max(row.day)).where(*made))

    async def add(self, day: date, findings: int, at: datetime) -> bool:
        """Remember that the report of a day was made, and return whether nobody else did so by now."""
        row, insert = AccessReportRow, _INSERTS[self.session.get_bind().dialect.name]
        written = {"findings": findings, "created_at": at}
        ahead = row.created_at > at + CLOCKS_DIFFER
        statement = insert(row).values(day=day, **written)
        statement = statement.on_conflict_do_update(index_elements=[row.day], set_=written, where=ahead)
        return cast("CursorResult[Any]", await self.session.execute(statement)).rowcount > 0

    async def _written(self, patients: Collection[PatientId]) -> dict[PatientId, dict[int, datetime]]:
        """Return when each version of some records was written."""
        kept, current = RecordVersionRow, PatientRow
        table, column = number_of(current.__tablename__)
        replaced = select(kept.row_id, kept.version, kept.written_at).where(
            kept.table_number == table, kept.column_number == column, kept.row_id.in_(patients)
        )
        standing = select(current.id, current.version, current.updated_at).where(current.id.in_(patients))
        written: dict[PatientId, dict[int, datetime]] = defaultdict(dict)
        for patient, version, at in await self.session.execute(union_all(replaced, standing)):
            written[PatientId(patient)][version] = at
        return written

    async def _teams(
        self, patients: Collection[PatientId], written: dict[PatientId, dict[int, datetime]]
    ) -> dict[PatientId, list[Tie]]:
        """Return who was on the care teams, from when the one version was written until the other was."""
        rows = CareTeamRow
        statement = select(rows.patient_id, rows.practitioner_id, rows.since_version, rows.until_version)
        teams: dict[PatientId, list[Tie]] = defaultdict(list)
        for row in await self.session.execute(statement.where(rows.patient_id.in_(patients))):
            versions = written[PatientId(row.patient_id)]
            since = versions.get(row.since_version, _EPOCH)
            until = None if row.until_version is None else versions.get(row.until_version, _EPOCH)
            teams[PatientId(row.patient_id)].append(Tie(who=row.practitioner_id, since=since, until=until))
        return teams

    async def _emergencies(self, patients: Collection[PatientId]) -> dict[PatientId, list[Tie]]:
        rows = BreakGlassRow
        statement = select(rows.patient_id, rows.created_by, rows.created_at, rows.expires_at, rows.closed_at)
        emergencies: dict[PatientId, list[Tie]] = defaultdict(list)
        for row in await self.session.execute(statement.where(rows.patient_id.in_(patients))):
            ended = row.expires_at if row.closed_at is None else min(row.closed_at, row.expires_at)
            emergencies[PatientId(row.patient_id)].append(Tie(who=row.created_by, since=row.created_at, until=ended))
        return emergencies


def _looks(span: Span) -> Select[Any]:
    """Return the looks of a span, one row for each event and patient."""
    events, subjects = AuditEventRow, AuditSubjectRow
    columns = (events.actor_id, events.role, events.at)
    alone = select(*columns, events.patient_id.label("patient"), false().label("listed")).where(
        *_is_look(span), events.patient_id.is_not(None)
    )
    listed = (
        select(*columns, subjects.record_id.label("patient"), true().label("listed"))
        # The subject has the instant of its event: with both bounds neither table is read beyond the span.
        .join(subjects, and_(subjects.event_id == events.id, subjects.at >= span.start, subjects.at < span.end))
        .where(*_is_look(span), events.patient_id.is_(None), events.resource == int(Resource.PATIENT))
    )
    return cast("Select[Any]", union_all(alone, listed))


def _is_look(span: Span) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions under which an event is one of staff who were shown something of a patient."""
    events = AuditEventRow
    return (
        events.at >= span.start,
        events.at < span.end,
        events.outcome == int(Outcome.SUCCEEDED),
        events.role.in_(sorted(map(int, WATCHED_ROLES))),
        events.resource.in_(sorted(map(int, LOOKED_AT))),
        events.action != int(Action.BREAK_GLASS),
    )


def _parts(ids: Collection[Any]) -> Iterator[list[Any]]:
    """Yield ids as many at a time as one statement takes."""
    ordered = sorted(ids)
    for start in range(0, len(ordered), _AT_A_TIME):
        yield ordered[start : start + _AT_A_TIME]
