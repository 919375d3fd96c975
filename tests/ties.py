"""What ties an account to a patient besides the care team, written straight into the tables."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import insert, update

from clarity.application.admission import admit
from clarity.domain.access import OPERATOR, Action, Consent
from clarity.domain.ids import PatientId
from clarity.persistence.break_glass.tables import BreakGlassRow
from clarity.persistence.engine import Database
from tests.builders import NOW, new_id, the_operator
from tests.practice import Practice
from tests.servers import tampering

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
NEVER = datetime(2100, 1, 1, tzinfo=UTC)
"""Past and future, by the clock of the tests as by that of the machine."""


async def broke_glass(
    database: Database, account: UUID, patient: PatientId, *, until: datetime = NEVER, closed_at: datetime | None = None
) -> UUID:
    """Let an account have broken the glass for a patient, and return the id of that."""
    row = new_id()
    async with tampering(database) as session:
        await session.execute(
            insert(BreakGlassRow).values(
                id=row,
                patient_id=patient,
                expires_at=until,
                closed_at=closed_at,
                sealed=b"\0",
                key_generation=1,
                version=1,
                status="unreviewed",
                guarded=False,
                created_at=NOW,
                created_by=account,
                updated_at=NOW,
                updated_by=account,
            )
        )
    return row


async def consented(practice: Practice, patient: PatientId, *consents: Consent) -> None:
    """Let a patient give consents, recorded by the operator."""
    async with practice.begin() as work:
        sealed = await work.consents.get(patient)
        register = work.consents.open(admit(work, the_operator(), Action.REGISTER, sealed, at=NOW))
        await work.consents.save(replace(register, consents=(*register.consents, *consents)))


async def withdrew(practice: Practice, patient: PatientId) -> None:
    """Let a patient withdraw every consent, recorded by the operator."""
    async with practice.begin() as work:
        sealed = await work.consents.get(patient)
        register = work.consents.open(admit(work, the_operator(), Action.WITHDRAW, sealed, at=NOW))
        withdrawn = tuple(consent.withdraw(NOW, OPERATOR) for consent in register.consents)
        await work.consents.save(replace(register, consents=withdrawn))


async def mended(database: Database, glass: UUID) -> None:
    """Let the time of broken glass be over."""
    async with tampering(database) as session:
        await session.execute(update(BreakGlassRow).where(BreakGlassRow.id == glass).values(expires_at=LONG_AGO))
