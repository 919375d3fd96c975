"""The use-cases on unusual access: reading the report of a day, and having it made once a day."""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, tzinfo

from clarity.application.admission import require_right
from clarity.application.ports import BeginReading, BeginWork, Clock, NewId, PatientFilter, Work
from clarity.application.retry import retrying
from clarity.domain.access import WATCH, Action, Actor, Role, of_system, right_to, scope_of
from clarity.domain.audit import Attempt
from clarity.domain.errors import Invalid
from clarity.domain.ids import AccountId, PatientId, RequestId
from clarity.domain.messages import Message, MessageKind
from clarity.domain.names import HumanName
from clarity.domain.practice_hours import PracticeHours, Span, day_in
from clarity.domain.records import Resource
from clarity.domain.unusual_access import (
    DAYS_BEFORE,
    REVIEW_WITHIN,
    AccessReport,
    Holder,
    Look,
    UsualHours,
    Volumes,
    Watch,
    usual_volume,
)

_PATIENTS_AT_A_TIME = 500
_MOST_WAITING = 1_000
_FIRST_DAY = date(2000, 1, 1)
_A_DAY = timedelta(days=1)
# A practice that comes back after longer is not sent a letter for each day of it.
_CAUGHT_UP = timedelta(days=31)
_PAUSE_SECONDS = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessReportService:
    """The use-cases on unusual access. `zone` is where the practice is, `hours` when it is open.

    A report is computed from the trail whenever it is read, and kept nowhere.
    """

    begin: BeginWork
    reading: BeginReading
    now: Clock
    new_id: NewId
    zone: tzinfo
    hours: PracticeHours

    async def read(self, actor: Actor, day: date | None = None) -> AccessReport:
        """Return what was unusual on a day in the practice, yesterday unless one is given.

        Raises `Forbidden` for whoever may not read such reports, and `Invalid` for a day that has not begun.
        """
        day = self._yesterday() if day is None else day
        await self._check(actor, day)
        that_day = await self._volumes(day)
        seeing = {account for account, _ in that_day}
        # One statement each: a month of the trail in one transaction would be ended as one that takes too long.
        days = _days_before(day)
        before = [await self._volumes(one) for one in days]
        active = [entry for one in days for entry in await self._active(seeing, one)]
        return await self._look_through(
            actor,
            day,
            UsualHours.of(self.zone, self.hours, active),
            {(account, role): usual_volume(account, role, that_day, before) for account, role in that_day},
        )

    async def make_due(self) -> AccessReport | None:
        """Make the report of yesterday, or of a day before on which no server was up to make it; tell every officer.

        One day at a time, the oldest first. Returns nothing if there was nothing to do: some server made it, or the
        trail did not exist yet.
        """
        yesterday = self._yesterday()
        async with self.reading() as work:
            made = await work.access_reports.last_made(yesterday, self.now())
            day = yesterday if made is None else max(made + _A_DAY, yesterday - _CAUGHT_UP)
            if day > yesterday or not await work.access_reports.has_begun(self._span(day).end):
                return None
        report = await self.read(self._watch(RequestId(self.new_id())), day)
        return report if await self._tell(report) else None

    @retrying
    async def _tell(self, report: AccessReport) -> bool:
        """Write a message to every compliance officer, in the transaction that says that the report was made."""
        async with self.begin() as work:
            watch = self._watch(RequestId(self.new_id()))
            at = self.now()
            if not await work.access_reports.add(report.day, len(report.findings), at):
                return False  # another server was faster
            work.note(Attempt(actor=watch, action=Action.REPORT, at=at, resource=Resource.AUDIT_EVENT))
            officers = await work.accounts.find_active(Role.COMPLIANCE_OFFICER)
            if not officers:
                _log.warning("nobody is told of unusual access: there is no active compliance officer")
            counts = ", ".join(f"{kind} {count}" for kind, count in report.counts.items() if count)
            # Neither patients nor accounts: a letter lies in mailboxes that no key of ours protects.
            content = {"day": report.day.isoformat(), "findings": counts or "nothing unusual"}
            for officer in officers:
                await work.outbox.put(Message(to=officer, kind=MessageKind.ACCESS_REPORT, content=content))
        return True

    async def _check(self, actor: Actor, day: date) -> None:
        """Raise as `read` does, with an event of the attempt."""
        has_begun = _FIRST_DAY <= day <= self._today()
        if has_begun and right_to(actor, Action.REPORT, Resource.AUDIT_EVENT).everybodys:
            return
        async with self.reading() as work:
            require_right(work.note(self._attempt(actor)), Action.REPORT)
            raise Invalid("day", "must have begun, and be after 1999")

    @retrying
    async def _volumes(self, day: date) -> Volumes:
        async with self.reading() as work:
            return await work.access_reports.volumes(self._span(day))

    @retrying
    async def _active(self, accounts: Collection[AccountId], day: date) -> list[tuple[AccountId, datetime]]:
        async with self.reading() as work:
            return await work.access_reports.active_at(accounts, self._span(day))

    @retrying
    async def _look_through(
        self, actor: Actor, day: date, hours: UsualHours, limits: Mapping[tuple[AccountId, Role], int]
    ) -> AccessReport:
        async with self.reading(snapshot=True) as work:
            attempt = work.note(self._attempt(actor))
            require_right(attempt, Action.REPORT)
            span = self._span(day)
            span = Span(span.start, min(span.end, attempt.at))
            waiting = await work.access_reports.waiting(span.end - REVIEW_WITHIN, span.end, at_most=_MOST_WAITING)
            seeing = {account for account, _ in limits}
            holders = await _holders(work, seeing | {one.account for one in waiting})
            watch = Watch(hours, holders, limits)
            if seeing:
                opening = work.note(self._opening(attempt))
                async for looks in _by_patients(work.access_reports.looks(span)):
                    patients = frozenset(look.patient for look in looks)
                    ties = await work.access_reports.ties(patients)
                    watch.look_through(looks, ties, await _names(work, opening, patients))
            return AccessReport(day=day, span=span, findings=watch.findings(waiting), over=day < self._today())

    def _attempt(self, actor: Actor) -> Attempt:
        return Attempt(actor=actor, action=Action.REPORT, at=self.now(), resource=Resource.AUDIT_EVENT)

    def _opening(self, attempt: Attempt) -> Attempt:
        """Return the attempt at reading names, of as many patients as are counted in it later."""
        return Attempt(actor=self._watch(attempt.actor.request), action=Action.REPORT, at=attempt.at)

    def _watch(self, request: RequestId) -> Actor:
        return of_system(WATCH, request)

    def _today(self) -> date:
        return self.now().astimezone(self.zone).date()

    def _yesterday(self) -> date:
        return self._today() - timedelta(days=1)

    def _span(self, day: date) -> Span:
        return day_in(self.zone, day)


async def keep_reporting(reports: AccessReportService, *, pause_seconds: float = _PAUSE_SECONDS) -> None:
    """Have the report of yesterday made as soon as it is over, again and again until cancelled.

    Whatever fails is logged and tried again after a pause: no report is worth a server.
    """
    while True:
        try:
            report = await reports.make_due()
        except Exception as exc:
            _log.error("the report of unusual access waits: %s", type(exc).__name__)
        else:
            if report is not None:
                _log.info("unusual access on %s: %d findings", report.day, len(report.findings))
        await asyncio.sleep(pause_seconds)


def _days_before(day: date) -> list[date]:
    return [day - timedelta(days=back) for back in range(1, DAYS_BEFORE + 1)]


async def _by_patients(looks: AsyncIterator[Look]) -> AsyncIterator[list[Look]]:
    """Yield the looks at some patients at a time, all of one patient together."""
    some: list[Look] = []
    patients = 0
    async for look in looks:
        if not some or some[-1].patient != look.patient:
            if patients == _PATIENTS_AT_A_TIME:
                yield some
                some, patients = [], 0
            patients += 1
        some.append(look)
    if some:
        yield some


async def _names(
    work: Work, opening: Attempt, patients: frozenset[PatientId]
) -> dict[PatientId, tuple[HumanName, ...]]:
    """Read the names of some patients, to be compared and forgotten, and count them in the attempt."""
    scope = scope_of(opening.actor, opening.action, at=opening.at)
    names = {}
    async for record, card in work.patients.unsafe_bulk_open(scope, PatientFilter(patients=patients)):
        opening.count += 1
        if card is not None:
            names[record.patient] = card.names
    return names


async def _holders(work: Work, accounts: Collection[AccountId]) -> dict[AccountId, Holder]:
    holders: dict[AccountId, Holder] = {}
    for account in await work.accounts.find(sorted(accounts)):
        holders[account.id] = Holder(
            account=account.id, role=account.role, name=account.name, practitioner=account.practitioner
        )
    linked = {holder.practitioner: holder for holder in holders.values() if holder.practitioner is not None}
    for practitioner in await work.practitioners.find(sorted(linked)):
        holder = linked[practitioner.id]
        holders[holder.account] = replace(holder, also=(practitioner.name,))
    return holders
