"""Reports of unusual access over dictionaries and a list of events."""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from clarity.domain.access import Action
from clarity.domain.audit import AuditEvent, Outcome
from clarity.domain.dates import CLOCKS_DIFFER
from clarity.domain.ids import AccountId, PatientId
from clarity.domain.practice_hours import Span
from clarity.domain.records import Resource
from clarity.domain.unusual_access import LOOKED_AT, WATCHED_ROLES, Look, PatientTies, Tie, Volumes, WaitingGlass
from tests.fakes.patients import MemoryTables, StoredVersion


@dataclass(frozen=True, slots=True)
class MemoryAccessReportRepository:
    """`AccessReportRepository` over `MemoryTables`. `events` returns the trail."""

    tables: MemoryTables
    events: Callable[[], Sequence[AuditEvent]]

    async def has_begun(self, before: datetime) -> bool:
        return any(event.at < before for event in self.events())

    async def volumes(self, span: Span) -> Volumes:
        seen = {(look.account, look.role, look.patient) for look in self._looks(span)}
        pairs = [(account, role) for account, role, _ in seen]
        return {pair: pairs.count(pair) for pair in pairs}

    async def active_at(self, accounts: Collection[AccountId], span: Span) -> list[tuple[AccountId, datetime]]:
        quarter = timedelta(minutes=15)
        looks = ((look.account, look.at - (look.at - span.start) % quarter) for look in self._looks(span))
        return sorted({(account, at) for account, at in looks if account in accounts})

    async def looks(self, span: Span) -> AsyncIterator[Look]:
        for look in sorted(self._looks(span), key=lambda one: (one.patient, one.at)):
            yield look

    async def ties(self, patients: Collection[PatientId]) -> dict[PatientId, PatientTies]:
        return {patient: self._ties_of(patient) for patient in patients if patient in self.tables.patients}

    async def waiting(self, opened_before: datetime, at: datetime, *, at_most: int) -> list[WaitingGlass]:
        waiting = [
            WaitingGlass(id=one.id, account=one.account, patient=one.patient, opened_at=one.opened_at)
            for one in self.tables.broken_glass.values()
            if one.opened_at < opened_before and (one.review is None or one.review.at > at)
        ]
        return sorted(waiting, key=lambda one: (one.opened_at, one.id))[:at_most]

    async def last_made(self, until: date, at: datetime) -> date | None:
        return max((day for day in self.tables.access_reports if day <= until and self._is_made(day, at)), default=None)

    async def add(self, day: date, findings: int, at: datetime) -> bool:
        if self._is_made(day, at):
            return False
        self.tables.access_reports[day] = at
        return True

    def _is_made(self, day: date, at: datetime) -> bool:
        made = self.tables.access_reports.get(day)
        return made is not None and made <= at + CLOCKS_DIFFER

    def _looks(self, span: Span) -> Iterator[Look]:
        for event in self.events():
            watched = event.role in WATCHED_ROLES and event.resource in LOOKED_AT
            shown = event.outcome is Outcome.SUCCEEDED and event.action is not Action.BREAK_GLASS
            if not (watched and shown and span.start <= event.at < span.end):
                continue
            listed = event.patient is None
            named = event.ids if event.resource is Resource.PATIENT else ()
            for patient in named if event.patient is None else (event.patient,):
                yield Look(
                    at=event.at,
                    account=AccountId(event.actor),
                    role=event.role,
                    patient=PatientId(patient),
                    listed=listed,
                )

    def _ties_of(self, patient: PatientId) -> PatientTies:
        versions = self.tables.patients[patient]
        emergencies = [one for one in self.tables.broken_glass.values() if one.patient == patient]
        return PatientTies(
            care_team=tuple(_team(versions)),
            emergencies=tuple(Tie(who=one.account, since=one.opened_at, until=one.ends_at) for one in emergencies),
            written=tuple(version.written_at for version in versions),
        )


def _team(versions: Sequence[StoredVersion]) -> Iterator[Tie]:
    """Yield who was on the care team at each version, from when it was written until the next was."""
    for version, following in zip(versions, (*versions[1:], None), strict=True):
        for practitioner in version.patient.care_team:
            until = None if following is None else following.written_at
            yield Tie(who=practitioner, since=version.written_at, until=until)
