"""The use-cases on the log of contacts between patients and the system."""

from dataclasses import dataclass
from datetime import datetime

from clarity.application.charts import Charting, ChartLogging, PageAsked
from clarity.application.pages import Page
from clarity.application.patients import RepeatKey
from clarity.application.ports import BeginReading, BeginWork, Clock, Cursors, Work
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor
from clarity.domain.errors import Invalid
from clarity.domain.ids import InteractionId, PatientId, PrescriptionId
from clarity.domain.interactions import Interaction, InteractionQuery


@dataclass(frozen=True, slots=True)
class InteractionService:
    """The use-cases on contacts, to which is only ever added. Each is one unit of work and leaves an audit event."""

    begin: BeginWork
    reading: BeginReading
    cursors: Cursors
    now: Clock

    @retrying
    async def record(self, actor: Actor, interaction: Interaction, *, repeat: RepeatKey | None = None) -> Interaction:
        """Add a contact to the log of its patient, in the name of the actor's account.

        With `repeat`, a request that comes again finds what the first one recorded. Raises `NotFound` if there is no
        such patient or the actor may not write to their log, and `Invalid` for an instant to come, or a prescription
        that is none of this patient's.
        """
        async with self.begin() as work:
            at = self.now()
            charting = ChartLogging(work, work.interactions, actor, at)
            if repeat and (before := await charting.answered(interaction.patient, repeat)):
                return before
            admitted = await charting.admit_new(interaction)
            interaction.require_past(at)
            if interaction.prescription is not None:
                await _require_prescription(work, actor, interaction.patient, interaction.prescription, at=at)
            if repeat:
                await charting.remember(interaction, repeat)
            return await work.interactions.add(admitted, interaction)

    @retrying
    async def list(
        self, actor: Actor, patient: PatientId, query: InteractionQuery, *, cursor: str = "", at_most: int = 50
    ) -> Page[Interaction]:
        """Return the contacts of a patient that `query` asks for, the latest recorded first, and count none of them.

        A page may have fewer than were asked for, even none, and yet have a next one. Raises `NotFound` if there is no
        such patient or their log is not for the actor.
        """
        asked = PageAsked(
            conditions=query.conditions,
            provided=query.is_met_by if query.spelt else None,
            spelt=query.spelt,
            cursor=cursor,
            at_most=at_most,
        )
        async with self.reading(snapshot=True) as work:
            charting = ChartLogging(work, work.interactions, actor, self.now())
            return await charting.uncounted_page(patient, asked, self.cursors)

    @retrying
    async def view(self, actor: Actor, patient: PatientId, interaction: InteractionId) -> Interaction:
        """Return one contact. Raises `NotFound` if there is none or it is not for the actor."""
        async with self.reading(snapshot=True) as work:
            charting = ChartLogging(work, work.interactions, actor, self.now())
            return await charting.open(Action.VIEW, patient, interaction)


async def _require_prescription(
    work: Work, actor: Actor, patient: PatientId, prescription: PrescriptionId, *, at: datetime
) -> None:
    """Raise `Invalid` unless a patient has this prescription. Nothing of it is opened: a device need not see it."""
    found = await Charting(work, work.prescriptions, actor, at).find(Action.VIEW, patient, prescription)
    if found.standing is None:
        raise Invalid("prescription", "names no prescription of this patient")
