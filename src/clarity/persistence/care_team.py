"""Care teams: which practitioners care for which patients, at each version of the patient's record."""

from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, ForeignKey, Index, exists, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from clarity.domain.ids import PatientId, PractitionerId
from clarity.persistence.tables import UNTRACKED, Base, Lasting, table_of
from clarity.persistence.types import GatheredIds

_HOLDS = text("until_version IS NULL")


class CareTeamRow(Lasting, Base):
    """That a practitioner is, or was, on the care team of a patient."""

    __tablename__ = "care_team_members"
    __table_args__ = (Index(None, "practitioner_id", "patient_id", postgresql_where=_HOLDS, sqlite_where=_HOLDS),)

    patient_id: Mapped[UUID] = mapped_column(ForeignKey("patients.id"), primary_key=True)
    practitioner_id: Mapped[UUID] = mapped_column(ForeignKey("practitioners.id"), primary_key=True)
    since_version: Mapped[int] = mapped_column(primary_key=True)


def care_team_of(patient: Any) -> Any:
    """Return the column `care_team` of a select: the practitioners who care for the patient in column `patient` now."""
    return (
        select(GatheredIds(CareTeamRow.practitioner_id))
        .where(CareTeamRow.patient_id == patient, CareTeamRow.until_version.is_(None))
        .scalar_subquery()
        .label("care_team")
    )


def cares_for(practitioner: BindParameter[UUID], patient: Any) -> ColumnElement[bool]:
    """Return the condition that `practitioner` is on the care team of the patient in column `patient` now."""
    return exists().where(
        CareTeamRow.practitioner_id == practitioner,
        CareTeamRow.patient_id == patient,
        CareTeamRow.until_version.is_(None),
    )


async def change_care_team(
    session: AsyncSession,
    patient: PatientId,
    *,
    before: frozenset[PractitionerId],
    after: frozenset[PractitionerId],
    version: int,
) -> None:
    """Make `after` the care team instead of `before` as of the patient's `version`."""
    if joined := sorted(after - before):
        rows = [{"patient_id": patient, "practitioner_id": who, "since_version": version} for who in joined]
        await session.execute(insert(table_of(CareTeamRow)), rows)
    if left := before - after:
        statement = update(CareTeamRow).where(
            CareTeamRow.patient_id == patient,
            CareTeamRow.practitioner_id.in_(left),
            CareTeamRow.until_version.is_(None),
        )
        await session.execute(statement.values(until_version=version), execution_options=UNTRACKED)


async def past_care_teams(
    session: AsyncSession, patient: PatientId, versions: list[int]
) -> dict[int, frozenset[PractitionerId]]:
    """Return the care team at each of `versions` of the patient's record."""
    ties = (
        await session.execute(
            select(CareTeamRow.practitioner_id, CareTeamRow.since_version, CareTeamRow.until_version).where(
                CareTeamRow.patient_id == patient
            )
        )
    ).all()
    return {
        version: frozenset(
            PractitionerId(who) for who, since, until in ties if since <= version and (until is None or version < until)
        )
        for version in versions
    }
