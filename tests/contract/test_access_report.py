"""The daily report of unusual access, on every storage: made-up days with known findings, and days with none."""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from clarity.application.access_report import AccessReportService, keep_reporting
from clarity.application.admission import admit
from clarity.domain.access import WATCH, Action, Actor, Purpose, Reason, Role
from clarity.domain.accounts import Account
from clarity.domain.audit import Attempt, Outcome
from clarity.domain.break_glass import BreakGlass, Review, ReviewOutcome
from clarity.domain.errors import Forbidden, Invalid
from clarity.domain.ids import BreakGlassId, PatientId
from clarity.domain.messages import MessageKind
from clarity.domain.patients import Patient
from clarity.domain.practice_hours import PracticeHours
from clarity.domain.records import Label, Resource
from clarity.domain.unusual_access import AccessReport, Unusual
from tests.builders import NOW, a_name, a_patient, a_practitioner, an_actor, new_id, the_operator
from tests.fakes.accounts import FrontDoor
from tests.practice import Practice

BERLIN = ZoneInfo("Europe/Berlin")
DAY = date(2026, 3, 13)
NOON = datetime(2026, 3, 13, 11, 0, tzinfo=UTC)


@pytest.fixture
def door(practice: Practice) -> FrontDoor:
    return FrontDoor(practice.begin, practice.reading)


@pytest.fixture
def reports(practice: Practice) -> AccessReportService:
    return AccessReportService(
        begin=practice.begin,
        reading=practice.reading,
        now=practice.clock,
        new_id=new_id,
        zone=BERLIN,
        hours=PracticeHours(),
    )


def the_officer() -> Actor:
    return an_actor(Role.COMPLIANCE_OFFICER)


def acting(account: Account) -> Actor:
    return replace(an_actor(account.role, practitioner=account.practitioner), id=account.id)


async def clinician(practice: Practice, door: FrontDoor, family: str = "Freud") -> Account:
    practitioner = await practice.employed(a_practitioner(name=a_name(family, "Anna")))
    return await door.employed(Role.CLINICIAN, practitioner=practitioner.id, name="Dr. A.")


async def looked(
    practice: Practice,
    account: Account,
    patients: Iterable[PatientId],
    at: datetime = NOON,
    *,
    action: Action = Action.VIEW,
    listed: bool = False,
) -> None:
    """Let the trail say that an account saw patients: each by itself, or all in one list."""
    seen = tuple(patients)
    attempt = Attempt(actor=acting(account), action=action, at=at)
    async with practice.reading() as work:
        for patient in () if listed else seen:
            work.note(replace(attempt, patient=patient, ids=(patient,)))
        if listed:
            work.note(replace(attempt, action=Action.LIST, ids=seen))


async def treated(practice: Practice, account: Account, **about: Any) -> Patient:
    """Store a patient whom an account treats, since long before."""
    team = frozenset({account.practitioner}) if account.practitioner else frozenset()
    return await practice.stored(a_patient(care_team=team, **about), at=NOON - timedelta(days=90))


def told(report: AccessReport) -> list[tuple[Unusual, object, int, tuple[PatientId, ...]]]:
    return [(one.kind, one.account, one.count, one.patients) for one in report.findings]


async def test_on_a_day_with_nothing_nothing_is_found(practice: Practice, reports: AccessReportService) -> None:
    await practice.stored(a_patient())
    report = await reports.read(the_officer(), DAY)
    assert (report.day, report.findings, report.over) == (DAY, (), True)
    assert set(report.counts.values()) == {0}
    assert [event.actor for event in await practice.events() if event.action is Action.REPORT] != [WATCH]


async def test_ordinary_work_is_not_unusual(practice: Practice, door: FrontDoor, reports: AccessReportService) -> None:
    anna = await clinician(practice, door)
    patients = [(await treated(practice, anna)).id for _ in range(3)]
    desk = await door.employed(Role.FRONT_DESK, name="Desk One")
    for days in range(29):
        await looked(practice, anna, patients, NOON - timedelta(days=days))
        await looked(practice, desk, patients, NOON - timedelta(days=days), listed=True)
    assert (await reports.read(the_officer(), DAY)).findings == ()


async def test_who_saw_far_more_than_usual_is_found(
    practice: Practice, door: FrontDoor, reports: AccessReportService
) -> None:
    one, other = [await door.employed(Role.FRONT_DESK, name=f"Desk {place}") for place in ("one", "two")]
    many = [PatientId(new_id()) for _ in range(60)]
    for days in range(1, 8):
        at = NOON - timedelta(days=days)
        await looked(practice, one, many[:10], at, listed=True)
        await looked(practice, other, many[: 10 + days % 3], at, listed=True)
    await looked(practice, one, many, listed=True)
    await looked(practice, one, many[:5])
    await looked(practice, other, many[:20], listed=True)
    found = [finding for finding in (await reports.read(the_officer(), DAY)).findings if finding.kind is Unusual.VOLUME]
    [volume] = found
    assert (volume.account, volume.role, volume.count, volume.limit) == (one.id, Role.FRONT_DESK, 60, 20)
    assert volume.patients == tuple(sorted(many)[:50])
    assert (volume.name, volume.first_at) == ("Desk one", NOON)


async def test_looks_outside_usual_hours_are_found(
    practice: Practice, door: FrontDoor, reports: AccessReportService
) -> None:
    day_shift, night_shift = await clinician(practice, door), await clinician(practice, door)
    mine, theirs = await treated(practice, day_shift), await treated(practice, night_shift)
    midnight = datetime(2026, 3, 13, 2, 30, tzinfo=BERLIN).astimezone(UTC)
    for days in (1, 2):
        await looked(practice, night_shift, [theirs.id], midnight - timedelta(days=days))
    await looked(practice, night_shift, [theirs.id], midnight)
    await looked(practice, day_shift, [mine.id, mine.id], midnight)
    await looked(practice, day_shift, [mine.id], NOON)
    [hours] = (await reports.read(the_officer(), DAY)).findings
    assert (hours.kind, hours.account, hours.count) == (Unusual.HOURS, day_shift.id, 2)
    assert (hours.patients, hours.first_at, hours.last_at) == ((mine.id,), midnight, midnight)


async def test_a_carer_without_a_tie_at_the_time_is_found(
    practice: Practice, door: FrontDoor, reports: AccessReportService
) -> None:
    anna = await clinician(practice, door)
    left, stayed = await treated(practice, anna), await treated(practice, anna)
    await practice.changed(left.id, at=NOON - timedelta(hours=2), care_team=frozenset())
    await looked(practice, anna, [left.id, stayed.id], NOON - timedelta(hours=3))
    assert (await reports.read(the_officer(), DAY)).findings == ()
    await looked(practice, anna, [left.id], NOON - timedelta(hours=2, seconds=-30))  # as good as at the same time
    assert (await reports.read(the_officer(), DAY)).findings == ()
    await looked(practice, anna, [left.id, stayed.id], NOON)
    report = await reports.read(the_officer(), DAY)
    assert told(report) == [(Unusual.NO_TIE, anna.id, 1, (left.id,))]
    assert report.findings[0].first_at == NOON


async def test_a_place_in_a_list_is_a_look_of_a_carer(
    practice: Practice, door: FrontDoor, reports: AccessReportService
) -> None:
    anna = await clinician(practice, door)
    stranger = await practice.stored(a_patient())
    await looked(practice, anna, [stranger.id], listed=True)
    assert told(await reports.read(the_officer(), DAY)) == [(Unusual.NO_TIE, anna.id, 1, (stranger.id,))]


async def test_broken_glass_is_a_tie_as_long_as_it_lasts(
    practice: Practice, door: FrontDoor, reports: AccessReportService
) -> None:
    anna = await clinician(practice, door)
    patient = await practice.stored(a_patient(), at=NOON - timedelta(days=90))
    await broke(practice, anna, patient.id, NOON)
    await looked(practice, anna, [patient.id], NOON + timedelta(minutes=59))
    assert (await reports.read(the_officer(), DAY)).findings == ()
    await looked(practice, anna, [patient.id], NOON + timedelta(minutes=62))
    assert told(await reports.read(the_officer(), DAY)) == [(Unusual.NO_TIE, anna.id, 1, (patient.id,))]


async def test_what_counts_as_a_tie_of_the_front_desk(
    practice: Practice, door: FrontDoor, reports: AccessReportService
) -> None:
    desk, anna = await door.employed(Role.FRONT_DESK, name="Desk one"), await clinician(practice, door)
    cared_for = await treated(practice, anna)
    registered = await practice.stored(a_patient(), at=NOON - timedelta(days=29))
    long_gone = await practice.stored(a_patient(), at=NOON - timedelta(days=31))
    everybody = [cared_for.id, registered.id, long_gone.id]
    await looked(practice, desk, everybody, listed=True)
    assert (await reports.read(the_officer(), DAY)).findings == ()
    await looked(practice, desk, everybody)
    assert told(await reports.read(the_officer(), DAY)) == [(Unusual.NO_TIE, desk.id, 1, (long_gone.id,))]


async def test_a_family_name_in_common_is_found_and_not_told(
    practice: Practice, door: FrontDoor, reports: AccessReportService
) -> None:
    anna = await clinician(practice, door, "Ångström-Weiß")
    desk = await door.employed(Role.FRONT_DESK, name="Mary van der Zqcanarysen, MBA")
    kin = await treated(practice, anna, name=a_name("ANGSTROM WEISS", "Zqcanary"), label=Label.RESTRICTED)
    other = await treated(practice, anna, name=a_name("Weiss", "Maria"))
    maiden = await treated(practice, anna, names=(a_name("Brandt", "Eva"), a_name("van der Zqcanarysen", "Eva")))
    await looked(practice, anna, [kin.id, other.id, maiden.id])
    await looked(practice, desk, [kin.id, other.id, maiden.id], listed=True)
    report = await reports.read(the_officer(), DAY)
    assert sorted(told(report)) == sorted(
        [
            (Unusual.FAMILY_NAME, anna.id, 1, (kin.id,)),
            (Unusual.FAMILY_NAME, desk.id, 1, (maiden.id,)),
        ]
    )
    assert "zqcanary" not in repr(report).lower()


async def test_broken_glass_that_nobody_reviews_is_found_until_somebody_does(
    practice: Practice, door: FrontDoor, reports: AccessReportService
) -> None:
    anna = await clinician(practice, door)
    patient = await treated(practice, anna)
    glass = await broke(practice, anna, patient.id, NOON)
    practice.clock.at = NOON + timedelta(days=5)
    for days, found in ((0, 0), (2, 0), (3, 1), (4, 1)):
        assert len((await reports.read(the_officer(), DAY + timedelta(days=days))).findings) == found
    await reviewed(practice, glass, NOON + timedelta(days=4))
    assert (await reports.read(the_officer(), DAY + timedelta(days=4))).findings == ()
    [finding] = (await reports.read(the_officer(), DAY + timedelta(days=3))).findings
    assert (finding.kind, finding.account, finding.role) == (Unusual.UNREVIEWED, anna.id, Role.CLINICIAN)
    assert (finding.count, finding.glasses, finding.patients) == (1, (glass.id,), (patient.id,))
    assert finding.first_at == NOON


async def test_patients_machines_of_theirs_and_the_system_are_not_watched(
    practice: Practice, door: FrontDoor, reports: AccessReportService
) -> None:
    patient = await practice.stored(a_patient())
    own = await door.employed(Role.PATIENT, patient=patient.id, name="Ada Lovelace")
    midnight = datetime(2026, 3, 13, 1, 0, tzinfo=UTC)
    await looked(practice, own, [patient.id], midnight)
    async with practice.reading() as work:
        attempt = Attempt(actor=the_operator(), action=Action.VIEW, at=midnight)
        work.note(replace(attempt, patient=patient.id, ids=(patient.id,)))
    assert (await reports.read(the_officer(), DAY)).findings == ()


async def test_what_was_refused_or_failed_or_shows_nothing_is_no_look(
    practice: Practice, door: FrontDoor, reports: AccessReportService
) -> None:
    anna = await clinician(practice, door)
    stranger = await practice.stored(a_patient())
    attempt = Attempt(actor=acting(anna), action=Action.VIEW, at=NOON, patient=stranger.id, ids=(stranger.id,))
    async with practice.reading() as work:
        work.note(replace(attempt)).refuse(Reason.NO_TIE)
        work.note(replace(attempt, outcome=Outcome.FAILED))
        work.note(replace(attempt, action=Action.BREAK_GLASS))
        work.note(replace(attempt, resource=Resource.AUDIT_EVENT))
    assert (await reports.read(the_officer(), DAY)).findings == ()


async def test_a_day_is_the_practices_own_even_when_the_clocks_change(
    practice: Practice, door: FrontDoor, reports: AccessReportService
) -> None:
    """In Berlin 29 March 2026 has 23 hours, from 23:00 UTC to 22:00 UTC."""
    practice.clock.at = NOON + timedelta(days=60)
    anna = await clinician(practice, door)
    stranger = await practice.stored(a_patient())
    start, end = datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 22, tzinfo=UTC)
    await looked(practice, anna, [stranger.id], start - timedelta(microseconds=1))
    await looked(practice, anna, [stranger.id], end)
    nothing = await reports.read(the_officer(), date(2026, 3, 29))
    assert (nothing.findings, nothing.span.start, nothing.span.end) == ((), start, end)
    await looked(practice, anna, [stranger.id], start)
    await looked(practice, anna, [stranger.id], end - timedelta(microseconds=1))
    found = await reports.read(the_officer(), date(2026, 3, 29))
    assert [(one.first_at, one.last_at) for one in found.findings if one.kind is Unusual.NO_TIE] == [
        (start, end - timedelta(microseconds=1))
    ]


async def test_a_record_that_does_not_open_keeps_no_report_back(
    practice: Practice, door: FrontDoor, reports: AccessReportService
) -> None:
    anna = await clinician(practice, door)
    broken, stranger = await treated(practice, anna), await practice.stored(a_patient(name=a_name("Freud", "Sigmund")))
    await practice.broken(broken.id)
    await looked(practice, anna, [broken.id, stranger.id, PatientId(new_id())])
    kinds = [one.kind for one in (await reports.read(the_officer(), DAY)).findings]
    assert kinds == [Unusual.NO_TIE, Unusual.FAMILY_NAME]


async def test_reading_it_is_in_the_trail_and_so_are_the_names_that_were_read_for_it(
    practice: Practice, door: FrontDoor, reports: AccessReportService
) -> None:
    anna = await clinician(practice, door)
    patients = [(await treated(practice, anna)).id for _ in range(3)]
    await looked(practice, anna, patients)
    before = {event.id for event in await practice.events()}
    officer = the_officer()
    await reports.read(officer, DAY)
    report, names = [event for event in await practice.events() if event.id not in before]
    assert (report.actor, report.action, report.resource) == (officer.id, Action.REPORT, Resource.AUDIT_EVENT)
    assert (names.actor, names.role, names.resource) == (WATCH, Role.SYSTEM, Resource.PATIENT)
    assert (names.ids, names.ids_count, names.request) == ((), 3, officer.request)
    assert (names.action, names.purpose, names.outcome) == (
        Action.REPORT,
        Purpose.SYSTEM_ADMINISTRATION,
        Outcome.SUCCEEDED,
    )


async def test_only_compliance_officers_read_it(reports: AccessReportService, practice: Practice) -> None:
    for role in set(Role) - {Role.COMPLIANCE_OFFICER, Role.SYSTEM}:
        with pytest.raises(Forbidden):
            await reports.read(an_actor(role), date.max)
        event = (await practice.events())[-1]
        assert (event.outcome, event.reason, event.action) == (Outcome.REFUSED, Reason.NO_SUCH_RIGHT, Action.REPORT)


async def test_a_day_that_has_not_begun_is_refused(reports: AccessReportService) -> None:
    for day in (date(2026, 3, 15), date.max, date.min, date(1999, 12, 31)):
        with pytest.raises(Invalid, match="day"):
            await reports.read(the_officer(), day)


async def test_without_a_day_it_is_yesterday_and_today_is_reported_so_far(
    practice: Practice, reports: AccessReportService
) -> None:
    assert (await reports.read(the_officer())).day == DAY
    today = await reports.read(the_officer(), DAY + timedelta(days=1))
    assert (today.over, today.span.end) == (False, NOW)
    practice.clock.at = datetime(2026, 3, 14, 23, 30, tzinfo=UTC)  # in Berlin it is the 15th
    assert (await reports.read(the_officer())).day == date(2026, 3, 14)


async def test_every_officer_is_told_once_a_day_however_many_servers_there_are(
    practice: Practice, door: FrontDoor, reports: AccessReportService
) -> None:
    officers = [await door.employed(Role.COMPLIANCE_OFFICER) for _ in range(2)]
    stranger, anna = await practice.stored(a_patient()), await clinician(practice, door)
    await looked(practice, anna, [stranger.id])
    made = [report for report in await asyncio.gather(*(reports.make_due() for _ in range(4))) if report is not None]
    assert [len(report.findings) for report in made] == [1]
    assert await reports.make_due() is None
    posted = await door.outbox.list(the_operator())
    assert {one.message.to for one in posted} == {officer.id for officer in officers}
    assert {one.message.kind for one in posted} == {MessageKind.ACCESS_REPORT}
    await door.outbox.deliver(the_operator())
    for letter in door.postman.letters:
        assert "2026-03-13 for unusual access. It found: no-tie 1." in letter.body
        assert not any(str(one) in letter.body for one in (stranger.id, anna.id))
    practice.clock.at += timedelta(days=1)
    assert await reports.make_due() is not None


async def test_days_on_which_no_server_was_up_to_report_are_caught_up(
    practice: Practice, door: FrontDoor, reports: AccessReportService
) -> None:
    await looked(practice, await clinician(practice, door), [(await practice.stored(a_patient())).id])
    async with practice.begin() as work:
        work.note(Attempt(actor=the_operator(), action=Action.REPORT, at=NOW, resource=Resource.AUDIT_EVENT))
        # A clock that once was ahead leaves a day that has not been yet.
        assert await work.access_reports.add(DAY + timedelta(days=300), 0, NOW)
    for later, days in ((0, (0, None)), (2, (1, 2, None)), (100, (102 - 31,))):
        practice.clock.at += timedelta(days=later)
        for day in days:
            report = await reports.make_due()
            assert (report and report.day) == (None if day is None else DAY + timedelta(days=day))


async def test_a_report_that_a_clock_made_too_early_is_made_again_when_its_day_is_over(
    practice: Practice, door: FrontDoor, reports: AccessReportService
) -> None:
    await door.employed(Role.COMPLIANCE_OFFICER)
    anna, midnight = await clinician(practice, door), datetime(2026, 3, 13, 23, tzinfo=UTC)
    for ahead, patients in ((timedelta(hours=1), 1), (timedelta(), 2)):
        await looked(practice, anna, [(await practice.stored(a_patient())).id])
        practice.clock.at = midnight + ahead
        report = await reports.make_due()
        assert report is not None
        assert (report.day, [len(one.patients) for one in report.findings]) == (DAY, [patients])
        assert await reports.make_due() is None
    practice.clock.at += timedelta(hours=2)
    assert await reports.make_due() is None


async def test_there_is_nothing_to_report_on_from_before_the_trail_began(
    door: FrontDoor, reports: AccessReportService
) -> None:
    await door.employed(Role.COMPLIANCE_OFFICER)
    assert await reports.make_due() is None
    assert await door.outbox.list(the_operator()) == ()


async def test_what_fails_is_logged_and_tried_again(
    practice: Practice, door: FrontDoor, reports: AccessReportService, caplog: pytest.LogCaptureFixture
) -> None:
    await looked(practice, await clinician(practice, door), [(await practice.stored(a_patient())).id])
    calls = 0

    def now() -> datetime:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("zqcanary")
        return practice.clock()

    caplog.set_level(logging.INFO)
    task = asyncio.create_task(keep_reporting(replace(reports, now=now), pause_seconds=0.01))
    async with asyncio.timeout(10):
        while not await _is_made(practice):
            await asyncio.sleep(0.01)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert "the report of unusual access waits: RuntimeError" in caplog.text
    assert "zqcanary" not in caplog.text
    assert "there is no active compliance officer" in caplog.text


async def _is_made(practice: Practice) -> bool:
    async with practice.reading() as work:
        return await work.access_reports.last_made(DAY, NOW) == DAY


async def broke(practice: Practice, account: Account, patient: PatientId, at: datetime) -> BreakGlass:
    """Break the glass for an hour."""
    glass = BreakGlass(
        id=BreakGlassId(new_id()),
        patient=patient,
        account=account.id,
        role=account.role,
        name=account.name,
        affiliation="Harbor Psychiatry",
        disclosed_by=account.name,
        reason="Found unconscious.",
        opened_at=at,
        expires_at=at + timedelta(hours=1),
    )
    async with practice.begin() as work:
        admitted = admit(work, acting(account), Action.BREAK_GLASS, await work.patients.get(patient), at=at)
        work.note(replace(admitted.attempt, resource=Resource.BREAK_GLASS, ids=(glass.id,)))
        return await work.break_glass.add(admitted, glass)


async def reviewed(practice: Practice, glass: BreakGlass, at: datetime) -> None:
    async with practice.begin() as work:
        officer = the_officer()
        admitted = admit(work, officer, Action.REVIEW, await work.break_glass.get(glass.id), at=at)
        review = Review(outcome=ReviewOutcome.JUSTIFIED, note="On call.", by=officer.id, at=at)
        await work.break_glass.save_review(work.break_glass.open(admitted).reviewed(review))
