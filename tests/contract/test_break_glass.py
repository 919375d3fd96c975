"""Access in an emergency, on each kind of storage: what it gives, when it ends, who is told, and how it is judged."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from clarity.application.break_glass import BREAK_GLASS, BreakGlassService, Report
from clarity.application.consents import ConsentService
from clarity.application.life import LifeService
from clarity.application.patients import PatientService, RepeatKey
from clarity.application.ports import PatientFilter, PatientSearch
from clarity.domain.access import PART2_NOTICE, USUAL_PURPOSE, Action, Actor, Purpose, Reason, Role
from clarity.domain.accounts import Account
from clarity.domain.audit import Attempt, AuditEvent, Outcome
from clarity.domain.break_glass import BreakGlassStatus, ReviewOutcome
from clarity.domain.errors import Conflict, Forbidden, Invalid, NotFound, ReusedKey, TooMany, TrailUnavailable
from clarity.domain.identifiers import Identifier
from clarity.domain.ids import AccountId, BreakGlassId, PatientId
from clarity.domain.messages import Message, MessageKind
from clarity.domain.patients import Patient, PatientQuery
from clarity.domain.records import Label, Resource
from clarity.domain.retention import Retention
from clarity.persistence.engine import Database
from clarity.search.streaming import StreamingSearch
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import NOW, TODAY, a_consent, a_name, a_patient, a_practitioner, an_actor, new_id, the_operator
from tests.fakes.accounts import CountedLimits, FrontDoor
from tests.practice import Practice, sql_practice
from tests.searching import resident_search

REASON = "Found unconscious; nobody of her team can be reached."
HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
EVERYBODY = PatientFilter()


@dataclass(slots=True)
class Ward:
    """A practice with people in it who have no tie to anybody."""

    practice: Practice
    keyring: Keyring
    limits: CountedLimits
    door: FrontDoor
    search_index: PatientSearch

    @property
    def glass(self) -> BreakGlassService:
        """The use-cases on broken glass."""
        return BreakGlassService(
            begin=self.practice.begin,
            reading=self.practice.reading,
            cursors=Cursors(self.keyring),
            limits=self.limits,
            now=self.practice.clock,
            new_id=new_id,
            at_most=HOUR,
            practice="Harbor Psychiatry",
        )

    @property
    def charts(self) -> PatientService:
        """The use-cases on patients."""
        return PatientService(
            begin=self.practice.begin,
            reading=self.practice.reading,
            search_index=self.search_index,
            cursors=Cursors(self.keyring),
            limits=self.limits,
            now=self.practice.clock,
            today=lambda: TODAY,
        )

    @property
    def life(self) -> LifeService:
        """The use-cases on the life of a record."""
        return LifeService(
            self.practice.begin,
            self.practice.reading,
            Cursors(self.keyring),
            Retention(),
            self.practice.clock,
            lambda: TODAY,
        )

    async def carer(self, role: Role = Role.CLINICIAN) -> Actor:
        """Return a carer with an account, who cares for nobody."""
        practitioner = await self.practice.employed(a_practitioner())
        return acting(await self.door.employed(role, practitioner=practitioner.id))

    async def officer(self) -> Actor:
        """Return a compliance officer with an account."""
        return acting(await self.door.employed(Role.COMPLIANCE_OFFICER))

    async def opened(self, actor: Actor, patient: PatientId, *, minutes: int | None = None) -> Report:
        """Break the glass."""
        return await self.glass.open(actor, patient, REASON, minutes=minutes)

    async def finds(self, actor: Actor, patient: PatientId) -> set[str]:
        """Return by which paths `actor` reaches a patient, of all there are."""
        found = set()
        for path, look in (("view", self.charts.view), ("history", self.charts.history)):
            try:
                await look(actor, patient)
            except NotFound:
                continue
            found.add(path)
        listed = await self.charts.list(actor, EVERYBODY)
        searched = await self.charts.search(actor, PatientQuery())
        for path, page in (("list", listed), ("search", searched)):
            assert page.count == len(page.items)
            if patient in {one.id for one in page.items}:
                found.add(path)
        return found

    async def letters(self) -> list[Message]:
        """Return the alerts that wait, with their content, and let them wait no longer."""
        later = self.practice.clock.at + HOUR
        async with self.practice.begin() as work:
            attempt = work.note(Attempt(actor=the_operator(), action=Action.CHANGE, at=NOW, resource=Resource.MESSAGE))
            claimed = await work.outbox.claim(later, later + HOUR, at_most=100)
            attempt.ids = tuple(one.id for one in claimed)
        return [one.message for one in claimed if one.message.kind is MessageKind.BREAK_GLASS_ALERT]

    async def last_event(self) -> AuditEvent:
        """Return the newest event."""
        return (await self.practice.events())[-1]


def acting(account: Account) -> Actor:
    """Return the holder of an account in a request of their own."""
    actor = an_actor(account.role, practitioner=account.practitioner, patient=account.patient, actor_id=account.id)
    return replace(actor, purpose=USUAL_PURPOSE[account.role])


@pytest.fixture
def ward(practice: Practice, keyring: Keyring, search_index: PatientSearch) -> Ward:
    return Ward(practice, keyring, CountedLimits(), FrontDoor(practice.begin, practice.reading), search_index)


@pytest.fixture
async def ada(practice: Practice) -> Patient:
    """Return a patient with a care team of one."""
    freud = await practice.employed(a_practitioner())
    return await practice.stored(a_patient(mrn="MRN-0001", notes="Sleeps badly.", care_team=frozenset({freud.id})))


ALL_PATHS = {"view", "history", "list", "search"}


@pytest.mark.parametrize("role", [Role.CLINICIAN, Role.NURSE])
async def test_whoever_breaks_the_glass_sees_one_patient_for_an_hour_and_not_a_microsecond_longer(
    ward: Ward, ada: Patient, role: Role
) -> None:
    carer, other = await ward.carer(role), await ward.practice.stored(a_patient())
    assert await ward.finds(carer, ada.id) == set()
    report = await ward.opened(carer, ada.id)
    assert report.glass.expires_at == NOW + HOUR
    assert await ward.finds(carer, ada.id) == ALL_PATHS
    assert await ward.finds(carer, other.id) == set()
    ward.practice.clock.at = NOW + HOUR - TICK
    assert await ward.finds(carer, ada.id) == ALL_PATHS
    ward.practice.clock.at = NOW + HOUR
    assert await ward.finds(carer, ada.id) == set()


@pytest.mark.parametrize("label", [Label.RESTRICTED, Label.PART2])
async def test_a_guarded_record_is_seen_too_and_one_under_part_2_brings_its_notice(ward: Ward, label: Label) -> None:
    carer, ada = await ward.carer(), await ward.practice.stored(a_patient(label=label))
    assert await ward.finds(carer, ada.id) == set()
    await ward.opened(carer, ada.id)
    assert await ward.finds(carer, ada.id) == ALL_PATHS
    notice = (await ward.charts.view(carer, ada.id)).notice
    assert (notice.text if notice else "") == (PART2_NOTICE if label is Label.PART2 else "")


async def test_what_42_cfr_2_51_wants_recorded_stands_in_the_patients_record(ward: Ward) -> None:
    carer, officer = await ward.carer(), await ward.officer()
    ada = await ward.practice.stored(a_patient(label=Label.PART2))
    opened = await ward.glass.open(carer, ada.id, REASON, affiliation=" Mercy Hospital ")
    glass = (await ward.glass.view(officer, opened.glass.id)).glass
    assert (glass.patient, glass.name, glass.affiliation) == (ada.id, "Grace Hopper", "Mercy Hospital")
    assert (glass.disclosed_by, glass.opened_at, glass.reason) == ("Grace Hopper", NOW, REASON)
    assert (glass.purpose, glass.role, glass.account) == (Purpose.EMERGENCY, Role.CLINICIAN, carer.id)
    at_home = await ward.opened(carer, ada.id)
    assert at_home.glass.affiliation == "Harbor Psychiatry"


async def test_nothing_is_changed_by_breaking_the_glass(ward: Ward, ada: Patient) -> None:
    carer = await ward.carer()
    await ward.opened(carer, ada.id)
    seen = await ward.charts.view(carer, ada.id)
    attempts = (
        ward.charts.change(carer, ada.id, lambda patient: replace(patient, notes="x"), version=seen.version),
        ward.charts.change_care_team(carer, ada.id, frozenset(), version=seen.version),
        ward.charts.relabel(carer, ada.id, Label.RESTRICTED, version=seen.version),
        ward.life.discharge(carer, ada.id, TODAY, version=seen.version),
        ward.life.delete(carer, ada.id, "Made by mistake."),
    )
    for attempt in attempts:
        with pytest.raises(NotFound):
            await attempt
    assert (await ward.practice.opened(ada.id)).version == ada.version


async def test_an_emergency_is_the_purpose_of_what_was_reached_by_it_and_of_nothing_else(
    ward: Ward, ada: Patient
) -> None:
    carer = await ward.carer()
    assert carer.practitioner is not None
    own = await ward.practice.stored(a_patient(care_team=frozenset({carer.practitioner})))
    await ward.opened(carer, ada.id)
    before = len(await ward.practice.events())
    await ward.charts.view(carer, ada.id)
    await ward.charts.view(carer, own.id)
    await ward.charts.list(carer, EVERYBODY)
    await ward.charts.search(carer, PatientQuery(name="lovel"))
    told = [(one.action, one.patient, one.ids, one.purpose) for one in (await ward.practice.events())[before:]]
    assert told == [
        (Action.VIEW, ada.id, (ada.id,), Purpose.EMERGENCY),
        (Action.VIEW, own.id, (own.id,), Purpose.TREATMENT),
        (Action.LIST, None, (own.id,), Purpose.TREATMENT),
        (Action.LIST, ada.id, (ada.id,), Purpose.EMERGENCY),
        (Action.SEARCH, None, (own.id,), Purpose.TREATMENT),
        (Action.SEARCH, ada.id, (ada.id,), Purpose.EMERGENCY),
    ]


async def test_a_carer_whom_a_consent_covers_needs_no_emergency(ward: Ward) -> None:
    carer = await ward.carer()
    assert carer.practitioner is not None
    ada = await ward.practice.stored(a_patient(label=Label.PART2, care_team=frozenset({carer.practitioner})))
    await ward.opened(carer, ada.id)
    await ward.charts.list(carer, EVERYBODY)
    assert (await ward.last_event()).purpose is Purpose.EMERGENCY
    consent = a_consent()
    consents = ConsentService(ward.practice.begin, ward.practice.reading, ward.practice.clock)
    await consents.record(carer, ada.id, lambda _: consent)
    notice = (await ward.charts.view(carer, ada.id)).notice
    assert notice is not None
    assert notice.consent == consent.id
    assert (await ward.last_event()).purpose is Purpose.TREATMENT


async def test_breaking_the_glass_leaves_an_event_for_the_patient_and_one_for_the_glass(
    ward: Ward, ada: Patient
) -> None:
    carer = await ward.carer()
    report = await ward.opened(carer, ada.id)
    of_patient, of_glass = (await ward.practice.events())[-2:]
    assert (of_patient.action, of_patient.resource, of_patient.ids) == (
        Action.BREAK_GLASS,
        Resource.PATIENT,
        (ada.id,),
    )
    assert (of_glass.action, of_glass.resource, of_glass.ids) == (
        Action.BREAK_GLASS,
        Resource.BREAK_GLASS,
        (report.glass.id,),
    )
    assert (of_glass.patient, of_glass.version) == (ada.id, 1)
    assert {of_patient.purpose, of_glass.purpose} == {Purpose.EMERGENCY}
    assert {of_patient.outcome, of_glass.outcome} == {Outcome.SUCCEEDED}


async def test_every_active_compliance_officer_is_told_and_of_nothing_that_is_the_patients(
    ward: Ward, ada: Patient
) -> None:
    carer, first, second, gone = await ward.carer(), await ward.officer(), await ward.officer(), await ward.officer()
    await ward.door.accounts.disable(the_operator(), AccountId(gone.id))
    # A machine reads no mail, and is nobody who could be told.
    await ward.door.accounts.add_machine(
        the_operator(), email="queue@example.org", name="Queue", role=Role.COMPLIANCE_OFFICER
    )
    report = await ward.opened(carer, ada.id)
    letters = await ward.letters()
    assert {letter.to for letter in letters} == {first.id, second.id}
    assert report.glass.alerted == 2
    for letter in letters:
        assert letter.content == {"id": str(report.glass.id), "role": "clinician", "time": "2026-03-14 09:26:53 UTC"}


async def test_an_emergency_does_not_wait_for_a_compliance_officer_to_be_appointed(
    ward: Ward, ada: Patient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="clarity"):
        report = await ward.opened(await ward.carer(), ada.id)
    assert report.glass.alerted == 0
    assert [record.getMessage() for record in caplog.records] == [
        "the glass was broken, and there is no active compliance officer to be told of it"
    ]
    assert await ward.letters() == []


async def test_each_time_it_is_broken_is_another_and_overlapping_ones_end_each_in_their_time(
    ward: Ward, ada: Patient
) -> None:
    carer, _ = await ward.carer(), await ward.officer()
    first = await ward.opened(carer, ada.id, minutes=10)
    ward.practice.clock.at += timedelta(minutes=5)
    second = await ward.opened(carer, ada.id, minutes=10)
    assert first.glass.id != second.glass.id
    assert len(await ward.letters()) == 2
    ward.practice.clock.at = NOW + timedelta(minutes=10)
    assert await ward.finds(carer, ada.id) == ALL_PATHS
    await ward.glass.close(carer, second.glass.id)
    assert await ward.finds(carer, ada.id) == set()
    assert (await ward.glass.view(carer, first.glass.id)).glass.expires_at == NOW + timedelta(minutes=10)


async def test_a_clock_that_is_set_back_does_not_prolong_it(ward: Ward, ada: Patient) -> None:
    carer = await ward.carer()
    await ward.opened(carer, ada.id, minutes=30)
    for behind, reached in ((timedelta(minutes=1), ALL_PATHS), (timedelta(minutes=1) + TICK, set()), (HOUR, set())):
        ward.practice.clock.at = NOW - behind
        assert await ward.finds(carer, ada.id) == reached
    await ward.opened(carer, ada.id, minutes=30)
    assert await ward.finds(carer, ada.id) == ALL_PATHS


async def test_what_was_done_under_it_is_told_though_a_clock_was_set_back(ward: Ward, ada: Patient) -> None:
    carer, officer = await ward.carer(), await ward.officer()
    glass = (await ward.opened(carer, ada.id)).glass
    for minutes in (-1, 20):
        ward.practice.clock.at = NOW + timedelta(minutes=minutes)
        await ward.charts.view(carer, ada.id)
    ward.practice.clock.at -= HOUR
    with pytest.raises(Conflict):  # it will give access again when the clock has come that far
        await ward.glass.review(officer, glass.id, ReviewOutcome.JUSTIFIED, "Looks right.")
    assert (await ward.glass.close(carer, glass.id)).uses.count == 2
    ward.practice.clock.at = NOW
    assert await ward.finds(carer, ada.id) == set()
    uses = (await ward.glass.view(officer, glass.id)).uses
    assert (uses.count, uses.first_at, uses.last_at) == (2, NOW - timedelta(minutes=1), NOW + timedelta(minutes=20))


async def test_nobody_else_sees_anything_by_it_or_knows_of_it(ward: Ward, ada: Patient) -> None:
    carer, stranger = await ward.carer(), await ward.carer()
    report = await ward.opened(carer, ada.id)
    assert await ward.finds(stranger, ada.id) == set()
    unknown = BreakGlassId(new_id())
    for glass in (report.glass.id, unknown):
        for attempt in (
            ward.glass.view(stranger, glass),
            ward.glass.close(stranger, glass),
            ward.glass.review(stranger, glass, ReviewOutcome.JUSTIFIED, "Looks right."),
            ward.glass.review(carer, glass, ReviewOutcome.JUSTIFIED, "Looks right."),
        ):
            with pytest.raises(NotFound):
                await attempt
            assert (await ward.last_event()).outcome is Outcome.REFUSED
    assert (await ward.glass.list(stranger)).items == ()
    assert [one.glass.id for one in (await ward.glass.list(carer)).items] == [report.glass.id]


async def test_it_ends_when_it_is_closed_and_is_closed_once(ward: Ward, ada: Patient) -> None:
    carer = await ward.carer()
    report = await ward.opened(carer, ada.id)
    ward.practice.clock.at += timedelta(minutes=1)
    closed = await ward.glass.close(carer, report.glass.id)
    assert (closed.glass.closed_at, closed.glass.review) == (NOW + timedelta(minutes=1), None)
    assert await ward.finds(carer, ada.id) == set()
    with pytest.raises(Conflict):
        await ward.glass.close(carer, report.glass.id)
    expired = await ward.opened(carer, ada.id, minutes=1)
    ward.practice.clock.at = expired.glass.expires_at
    with pytest.raises(Conflict):
        await ward.glass.close(carer, expired.glass.id)


async def test_what_was_listed_is_absent_once_the_time_is_over(ward: Ward, ada: Patient) -> None:
    carer = await ward.carer()
    await ward.opened(carer, ada.id, minutes=1)
    (listed,) = (await ward.charts.list(carer, EVERYBODY)).items
    ward.practice.clock.at += timedelta(minutes=1)
    with pytest.raises(NotFound):
        await ward.charts.view(carer, listed.id)
    event = await ward.last_event()
    assert (event.outcome, event.reason) == (Outcome.REFUSED, Reason.NO_TIE)


async def test_it_does_not_outlive_that_the_account_was_disabled(ward: Ward, ada: Patient) -> None:
    carer = await ward.carer()
    report = await ward.opened(carer, ada.id)
    ward.door.at = ward.practice.clock.at = NOW + timedelta(minutes=2)
    await ward.door.accounts.disable(the_operator(), AccountId(carer.id))
    # Their request may have begun before; and the account may be enabled again within the hour.
    assert await ward.finds(carer, ada.id) == set()
    (one,) = (await ward.glass.list(await ward.officer())).items
    assert (one.glass.id, one.glass.closed_at) == (report.glass.id, NOW + timedelta(minutes=2))
    with pytest.raises(Forbidden):
        await ward.opened(carer, ada.id)


async def test_it_does_not_outlive_that_the_role_was_changed(ward: Ward, ada: Patient) -> None:
    carer = await ward.carer(Role.NURSE)
    await ward.opened(carer, ada.id)
    clinician = await ward.door.accounts.change_role(
        the_operator(), AccountId(carer.id), Role.CLINICIAN, practitioner=carer.practitioner
    )
    assert await ward.finds(acting(clinician), ada.id) == set()
    assert await ward.finds(carer, ada.id) == set()


@pytest.mark.parametrize(
    "role", [Role.FRONT_DESK, Role.RESEARCHER, Role.ADMINISTRATOR, Role.COMPLIANCE_OFFICER, Role.SYSTEM]
)
async def test_those_who_treat_nobody_may_not_break_the_glass(ward: Ward, ada: Patient, role: Role) -> None:
    actor = the_operator() if role is Role.SYSTEM else acting(await ward.door.employed(role))
    await refused(ward, actor, ada.id)


async def test_neither_patients_nor_machines_may_break_the_glass(ward: Ward, ada: Patient) -> None:
    await refused(ward, acting(await ward.door.employed(Role.PATIENT, patient=ada.id)), ada.id)
    machine = replace(await ward.carer(), only=frozenset({(Resource.PATIENT, Action.BREAK_GLASS)}), session=None)
    await refused(ward, machine, ada.id)


async def refused(ward: Ward, actor: Actor, patient: PatientId) -> None:
    """Check that an actor is refused alike whether there is such a patient or not, before anything is counted."""
    for who in (patient, PatientId(new_id())):
        with pytest.raises(Forbidden):
            await ward.glass.open(actor, who, REASON)
        event = await ward.last_event()
        assert (event.action, event.outcome, event.reason) == (
            Action.BREAK_GLASS,
            Outcome.REFUSED,
            Reason.NO_SUCH_RIGHT,
        )
    assert not ward.limits.hits
    assert await ward.letters() == []


async def test_a_request_that_began_in_another_role_is_refused(ward: Ward, ada: Patient) -> None:
    carer = await ward.carer(Role.NURSE)
    await refused_late(ward, replace(carer, role=Role.CLINICIAN), ada.id)


async def refused_late(ward: Ward, actor: Actor, patient: PatientId) -> None:
    """Check that an actor is refused whose account is not what it was when the request began."""
    with pytest.raises(Forbidden):
        await ward.opened(actor, patient)
    assert await ward.finds(actor, patient) == set()


@pytest.mark.parametrize("reason", ["", "   \n", "x" * 1001, "bell\x07", "nul\x00", "\ud800"])
async def test_a_reason_is_text(ward: Ward, ada: Patient, reason: str) -> None:
    carer = await ward.carer()
    with pytest.raises(Invalid) as raised:
        await ward.glass.open(carer, ada.id, reason)
    assert raised.value.field == "reason"
    assert (await ward.last_event()).reason is Reason.INVALID
    assert await ward.finds(carer, ada.id) == set()


@pytest.mark.parametrize("minutes", [0, -1, 61, 10**9, -(10**30)])
async def test_no_more_time_is_given_than_the_practice_allows(ward: Ward, ada: Patient, minutes: int) -> None:
    carer = await ward.carer()
    with pytest.raises(Invalid) as raised:
        await ward.opened(carer, ada.id, minutes=minutes)
    assert raised.value.field == "minutes"
    assert await ward.finds(carer, ada.id) == set()


async def test_the_absent_and_the_deleted_are_refused_alike(ward: Ward, ada: Patient) -> None:
    carer = await ward.carer()
    await ward.life.delete(the_operator(), ada.id, "Made by mistake.", basis="A court order.")
    for who in (ada.id, PatientId(new_id()), Identifier.mrn("MRN-0001"), Identifier.mrn("MRN-9999")):
        before = len(await ward.practice.events())
        with pytest.raises(NotFound):
            await ward.glass.open(carer, who, REASON)
        (event,) = (await ward.practice.events())[before:]
        assert (event.action, event.outcome is Outcome.SUCCEEDED) == (Action.BREAK_GLASS, False)
        assert event.reason in {Reason.NO_SUCH_RECORD, Reason.DELETED}
    assert await ward.letters() == []


async def test_a_patient_is_found_by_number_unless_several_have_it(ward: Ward, ada: Patient) -> None:
    carer, mercy = await ward.carer(), "https://mercy.example/mrn"
    assert (await ward.glass.open(carer, Identifier.mrn("MRN-0001"), REASON)).glass.patient == ada.id
    bob = await ward.practice.stored(
        a_patient(label=Label.PART2, identifiers=(Identifier.mrn("MRN-0001", mercy),), name=a_name("Byron", "Bob"))
    )
    with pytest.raises(Invalid) as raised:
        await ward.glass.open(carer, Identifier.mrn("MRN-0001"), REASON)
    assert raised.value.field == "mrn_system"
    assert (await ward.glass.open(carer, Identifier.mrn("MRN-0001", mercy), REASON)).glass.patient == bob.id
    by_number = [one for one in await ward.practice.events() if one.query_mac]
    assert {len(one.query_mac) for one in by_number} == {32}


async def test_it_cannot_be_tried_again_and_again(ward: Ward, ada: Patient) -> None:
    carer, other = await ward.carer(), await ward.carer()
    ward.limits.at_most[BREAK_GLASS] = 2
    for who in (ada.id, PatientId(new_id())):
        with contextlib.suppress(NotFound):
            await ward.opened(carer, who)
    with pytest.raises(TooMany):
        await ward.opened(carer, ada.id)
    assert (await ward.last_event()).reason is Reason.TOO_MANY
    assert (await ward.opened(other, ada.id)).glass.account == other.id


async def test_a_request_that_comes_again_opens_nothing_more(ward: Ward, ada: Patient) -> None:
    carer, _ = await ward.carer(), await ward.officer()
    repeat = RepeatKey(key="abc", request=b"break glass")
    first = await ward.glass.open(carer, ada.id, REASON, repeat=repeat)
    again = await ward.glass.open(carer, ada.id, REASON, repeat=repeat)
    assert again.glass == first.glass
    assert len(await ward.letters()) == 1
    with pytest.raises(ReusedKey):
        await ward.glass.open(carer, ada.id, REASON, repeat=RepeatKey(key="abc", request=b"another"))


async def test_the_queue_has_what_was_not_reviewed_first_and_comes_in_pages(ward: Ward, ada: Patient) -> None:
    carer, officer = await ward.carer(), await ward.officer()
    opened = []
    for _ in range(5):
        opened.append((await ward.opened(carer, ada.id, minutes=1)).glass.id)
        ward.practice.clock.at += timedelta(minutes=1)
    for glass in (opened[0], opened[3]):
        await ward.glass.review(officer, glass, ReviewOutcome.JUSTIFIED, "On call.")
    order = [opened[1], opened[2], opened[4], opened[0], opened[3]]
    assert [one.glass.id for one in (await ward.glass.list(officer)).items] == order
    paged: list[BreakGlassId] = []
    cursor = ""
    while len(paged) < 5:
        page = await ward.glass.list(officer, cursor=cursor, at_most=2)
        assert page.count == 5
        paged += [one.glass.id for one in page.items]
        cursor = page.next_cursor
    assert (paged, cursor) == (order, "")
    waiting = await ward.glass.list(officer, status=BreakGlassStatus.UNREVIEWED)
    assert ([one.glass.id for one in waiting.items], waiting.count) == (order[:3], 3)
    event = await ward.last_event()
    assert (event.action, event.resource, set(event.ids)) == (Action.LIST, Resource.BREAK_GLASS, set(order[:3]))


async def test_a_place_in_the_queue_is_good_for_one_reader_and_one_status(ward: Ward, ada: Patient) -> None:
    carer, officer = await ward.carer(), await ward.officer()
    for _ in range(2):
        await ward.opened(carer, ada.id)
    cursor = (await ward.glass.list(officer, at_most=1)).next_cursor
    with pytest.raises(Invalid):
        await ward.glass.list(carer, cursor=cursor)
    with pytest.raises(Invalid):
        await ward.glass.list(officer, status=BreakGlassStatus.UNREVIEWED, cursor=cursor)


@pytest.mark.parametrize("role", [Role.FRONT_DESK, Role.ADMINISTRATOR, Role.RESEARCHER])
async def test_the_queue_is_for_carers_and_compliance_officers(ward: Ward, ada: Patient, role: Role) -> None:
    report = await ward.opened(await ward.carer(), ada.id)
    actor = acting(await ward.door.employed(role))
    with pytest.raises(Forbidden):
        await ward.glass.list(actor)
    assert (await ward.last_event()).outcome is Outcome.REFUSED
    with pytest.raises(NotFound):
        await ward.glass.view(actor, report.glass.id)
    with pytest.raises(NotFound):
        await ward.glass.review(actor, report.glass.id, ReviewOutcome.JUSTIFIED, "Looks right.")


async def test_the_queue_says_what_was_done_under_it(ward: Ward, ada: Patient) -> None:
    carer, officer = await ward.carer(), await ward.officer()
    await ward.charts.list(carer, EVERYBODY)
    report = await ward.opened(carer, ada.id, minutes=10)
    assert (await ward.glass.view(officer, report.glass.id)).uses.count == 0
    for minute in (1, 2, 9, 10, 11):
        ward.practice.clock.at = NOW + timedelta(minutes=minute)
        with contextlib.suppress(NotFound):
            await ward.charts.view(carer, ada.id)
    await ward.charts.list(carer, EVERYBODY)
    uses = (await ward.glass.view(officer, report.glass.id)).uses
    assert (uses.count, uses.first_at, uses.last_at) == (3, NOW + timedelta(minutes=1), NOW + timedelta(minutes=9))


async def test_it_is_judged_once_and_by_somebody_else(ward: Ward, ada: Patient) -> None:
    carer, officer, other = await ward.carer(), await ward.officer(), await ward.officer()
    report = await ward.opened(carer, ada.id, minutes=1)
    ward.practice.clock.at += timedelta(minutes=1)
    promoted = replace(carer, role=Role.COMPLIANCE_OFFICER, practitioner=None)
    with pytest.raises(Forbidden):
        await ward.glass.review(promoted, report.glass.id, ReviewOutcome.JUSTIFIED, "I was right.")
    event = await ward.last_event()
    assert (event.action, event.outcome, event.reason) == (Action.REVIEW, Outcome.REFUSED, Reason.NO_SUCH_RIGHT)
    judged = await ward.glass.review(officer, report.glass.id, ReviewOutcome.UNJUSTIFIED, "Nobody was ill.")
    assert judged.glass.review is not None
    assert (judged.glass.status, judged.glass.review.by) == (BreakGlassStatus.REVIEWED, officer.id)
    assert (await ward.glass.view(other, report.glass.id)).glass == judged.glass
    with pytest.raises(Conflict):
        await ward.glass.review(other, report.glass.id, ReviewOutcome.JUSTIFIED, "They were.")
    assert (await ward.glass.view(other, report.glass.id)).glass == judged.glass


async def test_what_lasts_still_is_not_justified_yet_and_ends_when_it_is_not_justified(
    ward: Ward, ada: Patient
) -> None:
    carer, officer = await ward.carer(), await ward.officer()
    report = await ward.opened(carer, ada.id)
    with pytest.raises(Conflict):
        await ward.glass.review(officer, report.glass.id, ReviewOutcome.JUSTIFIED, "Looks right.")
    assert await ward.finds(carer, ada.id) == ALL_PATHS
    ward.practice.clock.at += timedelta(minutes=1)
    judged = await ward.glass.review(officer, report.glass.id, ReviewOutcome.UNJUSTIFIED, "Nobody is ill.")
    assert judged.glass.closed_at == ward.practice.clock.at
    assert await ward.finds(carer, ada.id) == set()


@pytest.mark.parametrize("note", ["", " ", "x" * 1001, "bell\x07"])
async def test_a_review_says_what_it_rests_on(ward: Ward, ada: Patient, note: str) -> None:
    report, officer = await ward.opened(await ward.carer(), ada.id), await ward.officer()
    with pytest.raises(Invalid) as raised:
        await ward.glass.review(officer, report.glass.id, ReviewOutcome.UNJUSTIFIED, note)
    assert raised.value.field == "note"
    assert (await ward.glass.view(officer, report.glass.id)).glass.review is None


async def test_of_two_reviews_at_once_one_counts(ward: Ward, ada: Patient) -> None:
    report, officers = await ward.opened(await ward.carer(), ada.id), [await ward.officer(), await ward.officer()]
    ended = await asyncio.gather(
        *(ward.glass.review(one, report.glass.id, ReviewOutcome.UNJUSTIFIED, "No.") for one in officers),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in ended) == ["Conflict", "Report"]


async def test_without_a_trail_nothing_is_seen_in_an_emergency_either(ward: Ward, ada: Patient) -> None:
    carer = await ward.carer()
    report = await ward.opened(carer, ada.id)
    ward.practice.refuse_events()
    for attempt in (
        ward.charts.view(carer, ada.id),
        ward.charts.list(carer, EVERYBODY),
        ward.glass.view(carer, report.glass.id),
        ward.glass.list(carer),
        ward.opened(carer, PatientId(new_id())),
    ):
        with pytest.raises(TrailUnavailable):
            await attempt


async def test_it_holds_and_ends_in_every_process_at_once(database: Database, keyring: Keyring) -> None:
    """Two practices over one database have nothing in common but what is in it."""
    async with (
        sql_practice(database, keyring) as here,
        sql_practice(database, keyring) as there,
        resident_search(there, keyring) as resident,
    ):
        wards = [
            Ward(one, keyring, CountedLimits(), FrontDoor(one.begin, one.reading), search)
            for one, search in ((here, StreamingSearch(lambda: TODAY)), (there, resident))
        ]
        carer, officer = await wards[0].carer(), await wards[0].officer()
        ada = await here.stored(a_patient())
        report = await wards[0].opened(carer, ada.id)
        assert await wards[1].finds(carer, ada.id) == ALL_PATHS
        await wards[0].glass.review(officer, report.glass.id, ReviewOutcome.UNJUSTIFIED, "Nobody is ill.")
        assert await wards[1].finds(carer, ada.id) == set()
