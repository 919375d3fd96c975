"""The use-case of a researcher: the patients, de-identified."""

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from clarity.application.admission import Admitted, admit_each, require_right
from clarity.application.pages import Page, page_size
from clarity.application.ports import BeginReading, Clock, Cursors, PatientFilter, Pseudonyms, Work
from clarity.application.retry import retrying
from clarity.domain.access import Action, Actor, Reason, Scope, scope_of
from clarity.domain.audit import Attempt
from clarity.domain.dates import latest_day
from clarity.domain.deidentification import ResearchSubject, deidentified
from clarity.domain.errors import CannotOpen, NotFound
from clarity.domain.ids import PatientId
from clarity.domain.records import Resource

_EVERYBODY = PatientFilter()


@dataclass(frozen=True, slots=True)
class ResearchService:
    """The view of a researcher, who never meets a record: only what Safe Harbor leaves of those labelled normal."""

    reading: BeginReading
    pseudonyms: Pseudonyms
    cursors: Cursors
    now: Clock

    @retrying
    async def list(self, actor: Actor, *, cursor: str = "", at_most: int = 50) -> Page[ResearchSubject]:
        """Return subjects in the order of their pseudonyms, which tells nothing of when they came.

        Raises `Forbidden` for those who do no research. A record that does not open is left out and noted as failed.
        """
        context = b"research subjects" + actor.id.bytes
        after = self.cursors.open(cursor, context) if cursor else b""
        size = page_size(at_most)
        async with self.reading(snapshot=True) as work:
            attempt = work.note(
                Attempt(actor=actor, action=Action.LIST, at=self.now(), resource=Resource.RESEARCH_SUBJECT)
            )
            require_right(attempt, Action.LIST)
            scope = scope_of(actor, Action.LIST, Resource.RESEARCH_SUBJECT, at=attempt.at)
            count, chosen = await self._chosen(work, scope, after, size + 1)
            page = chosen[:size]
            records = await work.patients.get_many([patient for _, patient in page])
            admitted = admit_each(attempt, (replace(one, resource=Resource.RESEARCH_SUBJECT) for one in records))
            items = tuple(self._subjects(work, admitted))
        next_cursor = self.cursors.seal(page[-1][0], context) if len(chosen) > size else ""
        return Page(items=items, next_cursor=next_cursor, count=count)

    async def _chosen(
        self, work: Work, scope: Scope, after: bytes, at_most: int
    ) -> tuple[int, Sequence[tuple[bytes, PatientId]]]:
        """Return how many there are, and the first behind `after` in the order of their pseudonyms.

        Pseudonyms are kept nowhere, so each page makes them all, some microseconds each, and holds but its own.
        """
        count = 0
        chosen: list[tuple[bytes, PatientId]] = []
        async for patient in work.patients.find_ids(scope, _EVERYBODY):
            count += 1
            one = (self.pseudonyms.of(patient), patient)
            if one[0] > after and (len(chosen) < at_most or one < chosen[-1]):
                insort(chosen, one)
                del chosen[at_most:]
        return count, chosen

    def _subjects(self, work: Work, admitted: Iterable[Admitted]) -> Iterable[ResearchSubject]:
        for entry in admitted:
            patient_id = entry.record.patient
            try:
                patient = work.patients.open(entry)
            except CannotOpen:
                self._note_broken(work, entry.attempt, patient_id)
                continue
            except NotFound:
                continue
            yield deidentified(
                patient,
                pseudonym=self.pseudonyms.of(patient_id).hex(),
                shift_days=self.pseudonyms.shift_days(patient_id),
                today=latest_day(entry.attempt.at),
            )

    def _note_broken(self, work: Work, attempt: Attempt, patient: PatientId) -> None:
        attempt.withhold(patient, Reason.CANNOT_OPEN)
        broken = replace(attempt, patient=patient, ids=(patient,))
        work.note(broken).fail(CannotOpen())
