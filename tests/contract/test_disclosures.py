"""Disclosures outside the practice, their accounting, and what the trail says of both, on each kind of storage."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from clarity.application.admission import admit
from clarity.application.disclosures import DisclosureService
from clarity.application.duplicates import DuplicateService
from clarity.application.patients import RepeatKey
from clarity.domain.access import Action, Actor, Reason, Role
from clarity.domain.audit import Attempt, AuditEvent, Outcome
from clarity.domain.disclosures import (
    Accounting,
    Authority,
    Disclosure,
    DisclosureStatus,
    Exemption,
    Means,
    Series,
    Suspension,
)
from clarity.domain.duplicates import DuplicateStatus
from clarity.domain.errors import (
    CannotOpen,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    ReusedKey,
    StaleWrite,
    UnauditedAccess,
)
from clarity.domain.ids import DisclosureId, EventId, PatientId, RequestId
from clarity.domain.patients import Patient
from clarity.domain.records import Label, Resource
from clarity.persistence.audit import AuditEventRow
from clarity.persistence.disclosures.tables import DisclosureEventRow, DisclosureRow, ExportReasonRow
from clarity.persistence.engine import Database
from clarity.persistence.history import RecordVersionRow
from clarity.printing.accountings import PaperPress
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import NOW, TODAY, a_name, a_patient, a_practitioner, an_actor, new_id
from tests.practice import Practice, sql_practice
from tests.servers import tampering

DAY = timedelta(days=1)


def given(**content: Any) -> Callable[[UUID], Disclosure]:
    """Return what makes a disclosure, for whoever records it; the patient is the one it is recorded of."""
    whole: dict[str, Any] = {
        "id": DisclosureId(new_id()),
        "patient": PatientId(new_id()),
        "made_on": TODAY - 30 * DAY,
        "recipient": "Multnomah County Health Department",
        "address": "426 SW Stark Street",
        "what": "Diagnosis of a reportable disease",
        "purpose": "Required by state law",
        "means": Means.FAX,
        "recorded_at": NOW,
        **content,
    }
    return lambda account: Disclosure(recorded_by=account, **whole)


@dataclass(slots=True)
class Register:
    """The disclosures of one patient, and those who may reach them."""

    practice: Practice
    service: DisclosureService
    patient: Patient
    nurse: Actor
    officer: Actor
    herself: Actor

    async def recorded(self, **content: Any) -> Disclosure:
        """Write down a disclosure as the nurse."""
        return await self.service.record(self.nurse, self.patient.id, given(**{"patient": self.patient.id, **content}))

    async def accounting(self, **period: date) -> Accounting:
        """Account for disclosures to the patient."""
        return await self.service.account_for(self.herself, self.patient.id, **period)

    async def exported(self, *ids: UUID, patient: PatientId | None = None) -> EventId:
        """Let the trail tell of an export, of one patient or of several, as another part of the system does."""
        async with self.practice.reading() as work:
            attempt = Attempt(actor=self.officer, action=Action.EXPORT, at=NOW, resource=Resource.PATIENT)
            attempt.patient, attempt.ids = patient, ids
            work.note(attempt)
        return (await self.practice.events())[-1].id

    async def unaccounted(self) -> list[EventId]:
        """Return the exports that nothing accounts for, a page at a time."""
        found, cursor = list[EventId](), ""
        while True:
            page = await self.service.unaccounted_exports(self.officer, cursor=cursor, at_most=2)
            found += [event.id for event in page.items]
            cursor = page.next_cursor
            if not cursor:
                return found

    async def unfounded(self) -> list[tuple[DisclosureId, EventId]]:
        """Return what the trail does not say, a page at a time."""
        found, cursor = list[tuple[DisclosureId, EventId]](), ""
        while True:
            page = await self.service.unfounded(self.officer, cursor=cursor, at_most=2)
            found += [(one.disclosure, one.event) for one in page.items]
            cursor = page.next_cursor
            if not cursor:
                return found

    async def last_event(self) -> AuditEvent:
        return (await self.practice.events())[-1]


def service_of(practice: Practice, keyring: Keyring) -> DisclosureService:
    return DisclosureService(
        begin=practice.begin,
        reading=practice.reading,
        cursors=Cursors(keyring),
        press=PaperPress(),
        now=practice.clock,
        today=lambda: practice.clock().date(),
        new_id=new_id,
        practice="Harbor Psychiatry",
    )


async def opened(practice: Practice, keyring: Keyring) -> Register:
    freud = await practice.employed(a_practitioner())
    ada = await practice.stored(a_patient(name=a_name("Lovelace", "Ada"), care_team=frozenset({freud.id})))
    return Register(
        practice,
        service_of(practice, keyring),
        ada,
        nurse=an_actor(Role.NURSE, practitioner=freud.id),
        officer=an_actor(Role.COMPLIANCE_OFFICER),
        herself=an_actor(Role.PATIENT, patient=ada.id),
    )


@pytest.fixture
async def register(practice: Practice, keyring: Keyring) -> Register:
    return await opened(practice, keyring)


async def test_what_was_written_down_is_listed_and_accounted_for(register: Register) -> None:
    first = await register.recorded(made_on=TODAY - DAY)
    second = await register.recorded(
        made_on=TODAY - 90 * DAY, series=Series(last_on=TODAY - 30 * DAY, frequency="monthly", number=3)
    )
    assert (first.version, first.status, first.recorded_by) == (1, DisclosureStatus.ACCOUNTABLE, register.nurse.id)
    for actor in (register.nurse, register.officer):
        page = await register.service.list(actor, register.patient.id)
        assert (page.items, page.count, page.next_cursor) == ((second, first), 2, "")
    accounting = await register.accounting()
    assert accounting.disclosures == (second, first)
    assert (accounting.name, accounting.practice) == ("Ada Lovelace", "Harbor Psychiatry")
    assert (accounting.period.since, accounting.period.until) == (date(2020, 3, 14), TODAY)
    assert (await register.service.account_for(register.officer, register.patient.id)) == accounting


async def test_a_list_goes_on_where_it_ended(register: Register) -> None:
    recorded = [await register.recorded() for _ in range(3)]
    first = await register.service.list(register.officer, register.patient.id, at_most=2)
    rest = await register.service.list(register.officer, register.patient.id, cursor=first.next_cursor, at_most=2)
    assert [*first.items, *rest.items] == recorded[::-1]
    assert (first.count, rest.next_cursor) == (3, "")


async def test_the_accounting_leaves_out_what_is_exempt_suspended_or_mistaken_and_the_list_does_not(
    register: Register,
) -> None:
    told = await register.recorded()
    exempt = await register.recorded(exemption=Exemption.AUTHORIZED)
    mistaken, suspended = await register.recorded(), await register.recorded()
    stated = Suspension(
        authority=Authority.LAW_ENFORCEMENT, stated_by="Det. Ortiz", stated_on=TODAY, until=TODAY + 30 * DAY, oral=True
    )
    service, patient = register.service, register.patient.id
    marked = await service.mark_mistaken(register.officer, patient, mistaken.id, "Of somebody else.", version=1)
    silenced = await service.suspend(register.officer, patient, suspended.id, stated, version=1)
    assert (await register.accounting()).disclosures == (told,)
    listed = await service.list(register.officer, patient)
    assert listed.items == (silenced, marked, exempt, told)
    assert [one.status.value for one in listed.items] == ["accountable", "mistaken", "exempt", "accountable"]
    # The suspension ends by itself, the day after its last.
    register.practice.clock.at = NOW + 30 * DAY
    assert (await register.accounting()).disclosures == (told,)
    register.practice.clock.at = NOW + 31 * DAY
    assert (await register.accounting()).disclosures == (told, silenced)


async def test_the_accounting_reaches_six_years_back_and_no_further(register: Register) -> None:
    earliest = date(2020, 3, 14)
    inside = await register.recorded(made_on=earliest)
    await register.recorded(made_on=earliest - DAY)
    running = await register.recorded(made_on=earliest - 40 * DAY, series=Series(last_on=earliest, frequency="weekly"))
    assert set((await register.accounting()).disclosures) == {inside, running}
    assert (await register.accounting(since=earliest + DAY)).disclosures == ()
    assert (await register.accounting(until=earliest)).disclosures == (running, inside)
    for period in ({"since": earliest - DAY}, {"until": TODAY + DAY}, {"since": TODAY, "until": TODAY - DAY}):
        with pytest.raises(Invalid):
            await register.accounting(**period)


async def test_who_may_do_what_with_disclosures(register: Register) -> None:
    one = await register.recorded()
    service, patient = register.service, register.patient.id
    statement = Suspension(
        authority=Authority.HEALTH_OVERSIGHT, stated_by="OIG", stated_on=TODAY, until=TODAY, document="Letter 7"
    )
    bob = await register.practice.stored(a_patient())
    strangers = (
        an_actor(Role.PATIENT, patient=bob.id),
        an_actor(Role.CLINICIAN),
        an_actor(Role.FRONT_DESK),
        an_actor(Role.ADMINISTRATOR),
        an_actor(Role.RESEARCHER),
        an_actor(Role.DEVICE),
    )
    for actor in (*strangers, register.herself):
        for attempt in (
            service.list(actor, patient),
            service.record(actor, patient, given(patient=patient)),
            service.correct(actor, patient, one.id, {"what": "x"}, version=1),
            service.mark_mistaken(actor, patient, one.id, "x", version=1),
            service.suspend(actor, patient, one.id, statement, version=1),
        ):
            with pytest.raises(NotFound):
                await attempt
    for actor in (*strangers, register.nurse):
        with pytest.raises(NotFound):
            await service.account_for(actor, patient)
        for refused in (service.unaccounted_exports(actor), service.unfounded(actor)):
            with pytest.raises(Forbidden):
                await refused
        with pytest.raises(Forbidden):
            await service.explain(actor, EventId(new_id()), Exemption.WITHIN_PRACTICE)
    with pytest.raises(NotFound):
        await service.correct(register.nurse, patient, one.id, {"what": "x"}, version=1)
    with pytest.raises(NotFound):
        await service.correct(register.officer, bob.id, one.id, {"what": "x"}, version=1)
    assert (await service.list(register.officer, patient)).items == (one,)


async def test_a_correction_is_the_next_version_and_names_the_one_it_is_of(register: Register) -> None:
    one = await register.recorded()
    service, officer, patient = register.service, register.officer, register.patient.id
    corrected = await service.correct(officer, patient, one.id, {"recipient": "Oregon Health Authority"}, version=1)
    assert (corrected.recipient, corrected.version, corrected.what) == ("Oregon Health Authority", 2, one.what)
    with pytest.raises(StaleWrite):
        await service.correct(officer, patient, one.id, {"recipient": "x"}, version=1)
    marked = await service.mark_mistaken(officer, patient, one.id, "Never sent.", version=2)
    assert (marked.mistake, marked.version, marked.recipient) == ("Never sent.", 3, "Oregon Health Authority")
    with pytest.raises(Conflict):
        await service.correct(officer, patient, one.id, {"recipient": "x"}, version=3)


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ({"made_on": TODAY + DAY}, "made_on"),
        ({"series": Series(last_on=TODAY + DAY, number=2)}, "series.last_on"),
        ({"means": Means.THIS_SYSTEM, "events": (EventId(new_id()),)}, "events"),
    ],
)
async def test_what_cannot_have_been_is_not_recorded(register: Register, content: dict[str, Any], wrong: str) -> None:
    with pytest.raises(Invalid) as refused:
        await register.recorded(**content)
    assert refused.value.field == wrong
    assert (await register.last_event()).reason is Reason.INVALID
    assert (await register.service.list(register.officer, register.patient.id)).count == 0


async def test_a_request_that_comes_again_records_once(register: Register) -> None:
    again = RepeatKey(key="k", request=b"the same")
    service, nurse, patient = register.service, register.nurse, register.patient.id
    first = await service.record(nurse, patient, given(patient=patient), repeat=again)
    assert await service.record(nurse, patient, given(patient=patient), repeat=again) == first
    with pytest.raises(ReusedKey):
        await service.record(nurse, patient, given(patient=patient), repeat=RepeatKey(key="k", request=b"another"))
    assert (await service.list(nurse, patient)).count == 1


async def test_each_use_leaves_its_event(register: Register) -> None:
    before = len(await register.practice.events())
    one = await register.recorded()
    service, officer, patient = register.service, register.officer, register.patient.id
    await service.list(officer, patient)
    await service.correct(officer, patient, one.id, {"what": "Less"}, version=1)
    await register.accounting(since=TODAY - 365 * DAY)
    events = (await register.practice.events())[before:]
    assert [(event.resource, event.action, event.version) for event in events] == [
        (Resource.DISCLOSURE, Action.REGISTER, 1),
        (Resource.DISCLOSURE, Action.LIST, 0),
        (Resource.DISCLOSURE, Action.CHANGE, 2),
        (Resource.PATIENT, Action.ACCOUNT_FOR, 0),
        (Resource.DISCLOSURE, Action.ACCOUNT_FOR, 0),
    ]
    for event in events:
        assert (event.patient, event.outcome) == (patient, Outcome.SUCCEEDED)
    given_out = events[-1]
    assert (given_out.ids, len(given_out.query_mac)) == ((one.id,), 32)


async def test_an_export_is_accounted_for_by_its_disclosure_or_by_a_reason(register: Register) -> None:
    ada, bob = register.patient.id, (await register.practice.stored(a_patient())).id
    of_ada, of_both = await register.exported(ada, patient=ada), await register.exported(ada, bob)
    of_all, internal = await register.exported(), await register.exported(patient=bob)
    assert await register.unaccounted() == [of_ada, of_both, of_all, internal]
    sent = await register.recorded(means=Means.THIS_SYSTEM, events=(of_ada, of_both, of_all))
    assert await register.unaccounted() == [of_both, internal]
    await register.service.record(register.officer, bob, given(patient=bob, means=Means.THIS_SYSTEM, events=(of_both,)))
    assert await register.unaccounted() == [internal]
    reason = await register.service.explain(register.officer, internal, Exemption.WITHIN_PRACTICE)
    assert (reason.event, reason.by, reason.reason.citation) == (internal, register.officer.id, "45 CFR 160.103")
    assert await register.unaccounted() == []
    event = await register.last_event()
    assert (event.action, event.resource) == (Action.REVIEW, Resource.DISCLOSURE)
    # A disclosure that never was accounts for nothing.
    await register.service.mark_mistaken(register.officer, ada, sent.id, "Not sent.", version=1)
    assert await register.unaccounted() == [of_ada, of_both, of_all]
    assert await register.unfounded() == []


async def test_a_reason_holds_for_every_piece_of_an_export_and_for_no_other(register: Register) -> None:
    pieces, patient = [await register.exported(new_id()) for _ in range(3)], register.patient.id
    of_ada, other = await register.exported(patient=patient), replace(register.officer, request=RequestId(new_id()))
    register.officer, asked = other, register.officer
    another = await register.exported(new_id())
    given = await register.service.explain(asked, pieces[1], Exemption.WITHIN_PRACTICE)
    assert given.event == pieces[1]
    assert (await register.last_event()).ids == tuple(pieces)
    assert await register.unaccounted() == [of_ada, another]


async def test_only_an_export_that_succeeded_is_explained(register: Register) -> None:
    await register.service.list(register.officer, register.patient.id)
    listed = (await register.last_event()).id
    for event in (listed, EventId(new_id())):
        with pytest.raises(NotFound):
            await register.service.explain(register.officer, event, Exemption.WITHIN_PRACTICE)


async def test_a_disclosure_is_made_by_events_of_its_patient_that_succeeded(register: Register) -> None:
    bob = await register.practice.stored(a_patient())
    theirs, of_bob = await register.exported(patient=register.patient.id), await register.exported(bob.id)
    with pytest.raises(NotFound):
        await register.service.list(an_actor(Role.RESEARCHER), register.patient.id)
    refused = (await register.last_event()).id
    for event in (of_bob, refused):
        with pytest.raises(Invalid):
            await register.recorded(means=Means.THIS_SYSTEM, events=(theirs, event))
    one = await register.recorded(means=Means.THIS_SYSTEM, events=(theirs,))
    correct = register.service.correct
    with pytest.raises(Invalid):
        await correct(register.officer, register.patient.id, one.id, {"events": (of_bob, theirs)}, version=1)
    another = await register.exported(patient=register.patient.id)
    for events in ((another,), ()):
        means = Means.THIS_SYSTEM if events else Means.FAX
        with pytest.raises(Invalid):
            content = {"events": events, "means": means}
            await correct(register.officer, register.patient.id, one.id, content, version=1)
    grown = await correct(register.officer, register.patient.id, one.id, {"events": (theirs, another)}, version=1)
    assert (grown.events, await register.unfounded()) == ((theirs, another), [])
    assert (await register.service.list(register.officer, register.patient.id)).items == (grown,)


async def test_what_was_disclosed_of_a_record_that_was_merged_is_accounted_for_with_the_other(
    practice: Practice, keyring: Keyring
) -> None:
    register = await opened(practice, keyring)
    twin = await practice.stored(a_patient(email="ada@lovelace.example"))
    await practice.changed(register.patient.id, telecoms=twin.telecoms)
    exported = await register.exported(patient=twin.id)
    before = await register.service.record(register.officer, twin.id, given(patient=twin.id))
    desk = an_actor(Role.FRONT_DESK)
    duplicates = DuplicateService(practice.begin, practice.reading, Cursors(keyring), practice.clock)
    (review,) = (await duplicates.list(desk, status=DuplicateStatus.OPEN)).items
    await duplicates.merge(desk, review.id, register.patient.id, "One person.")
    after = await register.recorded(means=Means.THIS_SYSTEM, events=(exported,))
    assert (await register.accounting()).disclosures == (before, after)
    assert (await register.service.list(register.nurse, register.patient.id)).items == (after, before)
    assert (await register.unaccounted(), await register.unfounded()) == ([], [])
    corrected = await register.service.correct(
        register.officer, register.patient.id, before.id, {"what": "Less"}, version=1
    )
    assert (corrected.patient, corrected.version) == (twin.id, 2)


@pytest.mark.parametrize("label", [Label.RESTRICTED, Label.PART2])
async def test_a_label_keeps_nobody_from_their_accounting(practice: Practice, keyring: Keyring, label: Label) -> None:
    service, ada = service_of(practice, keyring), await practice.stored(a_patient(label=label))
    herself = an_actor(Role.PATIENT, patient=ada.id)
    assert (await service.account_for(herself, ada.id)).name == "Ada Lovelace"


async def test_what_does_not_open_is_missing_from_a_list_and_fails_an_accounting(register: Register) -> None:
    await register.recorded()
    if register.practice.database is None:
        await register.practice.broken(register.patient.id)
    else:
        await _altered(register.practice.database, sealed=b"\x01" * 100)
    page = await register.service.list(register.officer, register.patient.id)
    assert (page.items, page.count) == ((), 1)
    assert {event.outcome for event in (await register.practice.events())[-2:]} == {Outcome.SUCCEEDED, Outcome.FAILED}
    with pytest.raises(CannotOpen):
        await register.accounting()


async def _altered(database: Database, **columns: Any) -> None:
    async with tampering(database) as session:
        await session.execute(update(DisclosureRow).values(**columns))


async def test_a_row_that_says_otherwise_than_its_seal_does_not_open(database: Database, keyring: Keyring) -> None:
    async with sql_practice(database, keyring) as practice:
        register = await opened(practice, keyring)
        export = await register.exported(patient=register.patient.id)
        one = await register.recorded(means=Means.THIS_SYSTEM, events=(export,))
        assert len((await register.accounting()).disclosures) == 1
        await _altered(database, status="exempt")
        with pytest.raises(CannotOpen):
            await register.accounting()
        await _altered(database, status="accountable")
        forged = EventId(new_id())
        async with tampering(database) as session:
            session.add(DisclosureEventRow(disclosure_id=one.id, event_id=forged))
        with pytest.raises(CannotOpen):
            await register.accounting()
        assert await register.unfounded() == [(one.id, forged)]


async def test_nothing_of_a_disclosure_can_be_read_from_the_database(database: Database, keyring: Keyring) -> None:
    async with sql_practice(database, keyring) as practice:
        register = await opened(practice, keyring)
        export = await register.exported(patient=register.patient.id)
        one = await register.recorded(request="Subpoena 26-117", means=Means.THIS_SYSTEM, events=(export,))
        await register.service.explain(register.officer, export, Exemption.NATIONAL_SECURITY)
        await register.service.mark_mistaken(register.officer, register.patient.id, one.id, "Wrong twin", version=1)
        await register.accounting()
        async with database.reading() as session:
            tables = (DisclosureRow, DisclosureEventRow, ExportReasonRow, RecordVersionRow, AuditEventRow)
            rows = [repr((await session.execute(rows.__table__.select())).all()) for rows in tables]
        assert all(rows)
        for text in (
            "Multnomah",
            "national-security",
            "Stark",
            "reportable",
            "state law",
            "Subpoena",
            "Wrong twin",
            "this-system",
            "Lovelace",
        ):
            assert not any(text in row for row in rows)


async def test_a_disclosure_of_somebody_else_opens_nothing(database: Database, keyring: Keyring) -> None:
    async with sql_practice(database, keyring) as practice:
        register = await opened(practice, keyring)
        bob = await practice.stored(a_patient())
        await register.service.record(register.officer, bob.id, given(patient=bob.id))
        await _altered(database, patient_id=register.patient.id)
        with pytest.raises(CannotOpen):
            await register.accounting()


async def test_a_disclosure_is_opened_by_whoever_was_admitted_to_disclosures(register: Register) -> None:
    await register.recorded()
    async with register.practice.begin() as work:
        (record,) = await work.disclosures.find_page([register.patient.id], after=None, at_most=5)
        patient = await work.patients.get(register.patient.id)
        admitted = admit(work, register.herself, Action.VIEW, patient, at=NOW)
        with pytest.raises(CannotOpen):
            work.disclosures.open(admitted, record)
        work.patients.open(admitted)


async def test_exports_are_not_handed_out_unaudited(register: Register) -> None:
    await register.exported()
    with pytest.raises(UnauditedAccess):
        async with register.practice.reading() as work:
            await work.disclosures.find_unaccounted(after=None, at_most=5)
