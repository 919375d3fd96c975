"""The use-cases on the life of a record: discharge, return, death, legal holds, and its end."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from clarity.application.admission import admit, require_right
from clarity.application.pages import Page, page_size
from clarity.application.patients import open_at_version
from clarity.application.ports import BeginReading, BeginWork, Clock, Cursors, Held, Work
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor, scope_of
from clarity.domain.audit import Attempt
from clarity.domain.errors import NotFound, Retained, StaleWrite, Transient
from clarity.domain.ids import PatientId
from clarity.domain.patients import Death, LegalHold, Patient, Removal
from clarity.domain.retention import Retention


@dataclass(frozen=True, slots=True)
class LifeService:
    """The use-cases on the life of a record. Each is one unit of work and leaves an audit event.

    Those who care for a patient, and the front desk, name the version that they saw. Those who see no record cannot:
    what they do to it, they do to the record as it stands, and losing a race means to look again.
    """

    begin: BeginWork
    reading: BeginReading
    cursors: Cursors
    retention: Retention
    now: Clock
    today: Callable[[], date]

    async def discharge(self, actor: Actor, patient_id: PatientId, day: date, *, version: int) -> Patient:
        """Discharge a patient as of `day`.

        Raises `NotFound` if there is none or they are not the actor's to see, `StaleWrite` unless the record is at
        `version`, `Conflict` if already discharged, and `Invalid` for a day to come or before birth.
        """
        at = self.now()
        return await self._change(
            actor, Action.DISCHARGE, patient_id, version, lambda patient: patient.discharge(day, at=at)
        )

    async def reactivate(self, actor: Actor, patient_id: PatientId, *, version: int) -> Patient:
        """Take a discharged patient back into care.

        Raises as `discharge` does, and `Conflict` for one who was not discharged, or is deceased.
        """
        return await self._change(actor, Action.REACTIVATE, patient_id, version, Patient.reactivate)

    async def record_death(self, actor: Actor, patient_id: PatientId, death: Death, *, version: int) -> Patient:
        """Record that a patient died.

        Raises as `discharge` does, and `Conflict` if it is recorded already: then `correct_death` comes first.
        """
        at = self.now()
        return await self._change(
            actor, Action.RECORD_DEATH, patient_id, version, lambda patient: patient.die(death, at=at)
        )

    async def correct_death(self, actor: Actor, patient_id: PatientId, *, version: int) -> Patient:
        """Take back that a patient died, which was a mistake. Raises as `discharge` does, and `Conflict` if alive."""
        return await self._change(actor, Action.RECORD_DEATH, patient_id, version, Patient.correct_death)

    async def place_hold(self, actor: Actor, patient_id: PatientId, basis: str) -> None:
        """Keep a record for a legal matter, whatever its retention says.

        Raises `NotFound` as `discharge` does, and `Conflict` if it is held already.
        """
        hold = LegalHold(basis=basis, since=self.now(), by=actor.id)
        await self._change_hold(actor, patient_id, lambda patient: patient.hold(hold))

    async def release_hold(self, actor: Actor, patient_id: PatientId) -> None:
        """End the legal hold on a record. Raises `NotFound` as `discharge` does, and `Conflict` if it is not held."""
        await self._change_hold(actor, patient_id, Patient.release)

    @retrying
    async def holds(self, actor: Actor, *, cursor: str = "", at_most: int = 50) -> Page[Held]:
        """Return the legal holds in the order of the records' ids. Raises `Forbidden` without the right to that."""
        context = b"holds" + actor.id.bytes
        after = PatientId(UUID(bytes=self.cursors.open(cursor, context))) if cursor else None
        size = page_size(at_most)
        async with self.reading(snapshot=True) as work:
            attempt = work.note(Attempt(actor=actor, action=Action.LIST_LEGAL_HOLDS, at=self.now()))
            require_right(attempt, Action.LIST_LEGAL_HOLDS)
            scope = scope_of(actor, Action.LIST_LEGAL_HOLDS, at=attempt.at)
            found = await work.patients.find_holds(scope, after=after, at_most=size)
            attempt.ids = tuple(held.patient for held in found.holds)
        next_cursor = self.cursors.seal(found.holds[-1].patient.bytes, context) if found.more else ""
        return Page(items=found.holds, next_cursor=next_cursor, count=found.count)

    @retrying
    async def delete(self, actor: Actor, patient_id: PatientId, reason: str, *, basis: str = "") -> None:
        """Turn a record into a tombstone that says why: nobody reaches it any more, its history stays.

        `basis` is on what ground a record goes that has to be kept. Raises `NotFound` as `discharge` does; `Retained`
        for a record that has to be kept, without a basis; and `Forbidden` with one, without the right to override.
        """
        removal = Removal(reason=reason, at=self.now(), by=actor.id, basis=basis)
        async with _as_it_stands(), self.begin() as work:
            sealed = await work.patients.get(patient_id)
            admitted = admit(work, actor, Action.DELETE, sealed, at=removal.at)
            patient = work.patients.open(admitted)
            kept = work.patients.kept(admitted, self.retention)
            try:
                kept.require_over(self.today())
            except Retained:
                if not basis:
                    raise
                _require_override(work, actor, patient, removal)
            await work.patients.remove(patient, removal)

    @retrying
    async def tombstone(self, actor: Actor, patient_id: PatientId) -> Removal:
        """Return why a record was taken away. Raises `NotFound` also for one that was not."""
        async with self.reading() as work:
            sealed = await work.patients.get(patient_id)
            patient = work.patients.open(admit(work, actor, Action.VIEW_TOMBSTONE, sealed, at=self.now()))
            if patient.removal is None:
                raise NotFound
            return patient.removal

    @retrying
    async def _change(
        self,
        actor: Actor,
        action: Action,
        patient_id: PatientId,
        version: int,
        change: Callable[[Patient], Patient],
    ) -> Patient:
        async with self.begin() as work:
            _, patient = await open_at_version(work, actor, action, patient_id, version, at=self.now())
            return await work.patients.save(change(patient))

    @retrying
    async def _change_hold(self, actor: Actor, patient_id: PatientId, change: Callable[[Patient], Patient]) -> None:
        async with _as_it_stands(), self.begin() as work:
            sealed = await work.patients.get(patient_id)
            admitted = admit(work, actor, Action.CHANGE_LEGAL_HOLD, sealed, at=self.now())
            await work.patients.save(change(work.patients.open(admitted)))


@asynccontextmanager
async def _as_it_stands() -> AsyncIterator[None]:
    """Let a race that was lost be run again, on what the record has become."""
    try:
        yield
    except StaleWrite:
        raise Transient from None


def _require_override(work: Work, actor: Actor, patient: Patient, removal: Removal) -> None:
    """Note that a record goes that has to be kept; raises `Forbidden` without the right to that.

    The event names the patient and no record: what is written belongs to the event of the deletion.
    """
    attempt = Attempt(actor=actor, action=Action.OVERRIDE_RETENTION, at=removal.at, patient=patient.id)
    require_right(work.note(attempt), Action.OVERRIDE_RETENTION)
