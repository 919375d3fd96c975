"""What patients allowed in writing, and take back, on each kind of storage."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, update

from clarity.application.admission import admit
from clarity.application.consents import ConsentService
from clarity.application.patients import PatientService, RepeatKey
from clarity.application.ports import PatientFilter
from clarity.cache.rates import MemoryRateLimit
from clarity.domain.access import PART2_NOTICE, Action, Actor, Consent, Purpose, Reason, Role
from clarity.domain.audit import Outcome
from clarity.domain.errors import CannotOpen, Conflict, Invalid, NotFound, ReusedKey
from clarity.domain.ids import PatientId
from clarity.domain.patients import Patient, PatientQuery
from clarity.domain.records import Label, Resource
from clarity.persistence.audit import AuditEventRow
from clarity.persistence.consents.tables import ConsentRow
from clarity.persistence.engine import Database
from clarity.persistence.history import RecordVersionRow
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from tests.builders import NOW, TODAY, a_consent, a_patient, a_practitioner, an_actor
from tests.lives import removed
from tests.practice import Practice, sql_practice
from tests.searching import resident_search
from tests.servers import tampering

_EVERYBODY = PatientFilter()


@dataclass(slots=True)
class Clock:
    """A clock that a test sets."""

    at: datetime = NOW

    def __call__(self) -> datetime:
        """Return the time it is."""
        return self.at


@dataclass(frozen=True, slots=True)
class Case:
    """A patient under Part 2, with a clinician and a nurse of their care team."""

    patient: Patient
    clinician: Actor
    nurse: Actor
    self: Actor


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def consents(practice: Practice, clock: Clock) -> ConsentService:
    return ConsentService(practice.begin, practice.reading, clock)


@pytest.fixture
def charts(patients: PatientService, clock: Clock) -> PatientService:
    """Return the use-cases on patients, by the clock of the test."""
    return replace(patients, now=clock)


@pytest.fixture
async def case(practice: Practice) -> Case:
    freud, nightingale = a_practitioner(), a_practitioner()
    for practitioner in (freud, nightingale):
        await practice.employed(practitioner)
    team = frozenset({freud.id, nightingale.id})
    patient = await practice.stored(a_patient(label=Label.PART2, care_team=team, notes="Naltrexone."))
    return Case(
        patient,
        an_actor(practitioner=freud.id),
        an_actor(Role.NURSE, practitioner=nightingale.id),
        replace(an_actor(Role.PATIENT, patient=patient.id), purpose=Purpose.PATIENT_REQUEST),
    )


def given(consent: Consent) -> Callable[[UUID], Consent]:
    return lambda account: replace(consent, recorded_by=account)


async def test_a_consent_is_recorded_listed_and_withdrawn(consents: ConsentService, case: Case) -> None:
    assert (await consents.list(case.nurse, case.patient.id)).consents == ()
    consent = a_consent()
    recorded, version = await consents.record(case.nurse, case.patient.id, given(consent))
    assert (recorded, version) == (replace(consent, recorded_by=case.nurse.id), 1)
    other, version = await consents.record(case.self, case.patient.id, given(a_consent()))
    assert version == 2
    register = await consents.list(case.clinician, case.patient.id)
    assert (register.consents, register.version) == ((recorded, other), 2)
    withdrawn, version = await consents.withdraw(case.self, case.patient.id, recorded.id)
    assert (withdrawn.withdrawn_at, withdrawn.withdrawn_by, version) == (NOW, case.self.id, 3)
    assert (await consents.list(case.self, case.patient.id)).consents == (withdrawn, other)
    with pytest.raises(Conflict):
        await consents.withdraw(case.nurse, case.patient.id, recorded.id)
    with pytest.raises(NotFound):
        await consents.withdraw(case.nurse, case.patient.id, a_consent().id)


async def test_the_record_is_seen_from_the_consent_to_its_withdrawal(
    consents: ConsentService, charts: PatientService, case: Case
) -> None:
    with pytest.raises(NotFound):
        await charts.view(case.clinician, case.patient.id)
    consent, _ = await consents.record(case.self, case.patient.id, given(a_consent()))
    seen = await charts.view(case.clinician, case.patient.id)
    assert seen.notes == case.patient.notes
    assert seen.notice is not None
    assert (seen.notice.text, seen.notice.consent) == (PART2_NOTICE, consent.id)
    for words in (consent.what, consent.from_whom, consent.to_whom, "treatment", consent.ends_with):
        assert words in seen.notice.scope
    await consents.withdraw(case.self, case.patient.id, consent.id)
    with pytest.raises(NotFound):
        await charts.view(case.clinician, case.patient.id)
    own = await charts.view(case.self, case.patient.id)
    assert own.notice is None


async def test_a_consent_ends_by_itself(
    consents: ConsentService, charts: PatientService, case: Case, clock: Clock
) -> None:
    await consents.record(case.self, case.patient.id, given(a_consent(since=NOW, until=NOW + timedelta(days=1))))
    for at, holds in (
        (NOW - timedelta(microseconds=1), False),
        (NOW, True),
        (NOW + timedelta(days=1, microseconds=-1), True),
        (NOW + timedelta(days=1), False),
    ):
        clock.at = at
        found = await charts.list(case.clinician, conditions=_EVERYBODY)
        assert (len(found.items), found.count) == (holds, holds)


async def test_a_consent_reaches_whom_it_names_for_what_it_names(
    consents: ConsentService, charts: PatientService, case: Case
) -> None:
    assert case.clinician.practitioner is not None
    named = a_consent(recipients=(case.clinician.practitioner,))
    await consents.record(case.self, case.patient.id, given(named))
    assert (await charts.view(case.clinician, case.patient.id)).id == case.patient.id
    for actor in (case.nurse, replace(case.clinician, purpose=Purpose.OPERATIONS)):
        with pytest.raises(NotFound):
            await charts.view(actor, case.patient.id)


async def test_a_recipient_is_somebody_known(consents: ConsentService, case: Case) -> None:
    unknown = a_consent(recipients=(a_practitioner().id,))
    with pytest.raises(Invalid, match="recipients"):
        await consents.record(case.self, case.patient.id, given(unknown))
    assert (await consents.list(case.self, case.patient.id)).version == 0


async def test_nobody_signs_tomorrow(consents: ConsentService, case: Case) -> None:
    later = NOW + timedelta(days=3)
    with pytest.raises(Invalid, match="signed_on"):
        await consents.record(case.self, case.patient.id, given(a_consent(since=later)))


async def test_consents_are_for_the_patient_and_the_care_team(
    consents: ConsentService, practice: Practice, case: Case
) -> None:
    consent, _ = await consents.record(case.self, case.patient.id, given(a_consent()))
    stranger = an_actor(practitioner=a_practitioner().id)
    other = await practice.stored(a_patient())
    for actor in (
        stranger,
        an_actor(Role.FRONT_DESK),
        an_actor(Role.ADMINISTRATOR),
        an_actor(Role.COMPLIANCE_OFFICER),
        an_actor(Role.RESEARCHER),
        an_actor(Role.PATIENT, patient=other.id),
    ):
        for attempt in (
            consents.list(actor, case.patient.id),
            consents.record(actor, case.patient.id, given(a_consent())),
            consents.withdraw(actor, case.patient.id, consent.id),
        ):
            with pytest.raises(NotFound):
                await attempt
            assert (await practice.events())[-1].outcome is Outcome.REFUSED
    assert (await consents.list(case.self, case.patient.id)).version == 1


@pytest.mark.parametrize("deleted", [True, False])
async def test_whoever_is_not_there_gives_no_consent(
    consents: ConsentService, practice: Practice, case: Case, *, deleted: bool
) -> None:
    patient = case.patient.id if deleted else PatientId(a_patient().id)
    if deleted:
        await removed(practice.begin, patient)
    actor = replace(case.self, patient=patient)
    for attempt in (
        consents.list(actor, patient),
        consents.record(actor, patient, given(a_consent())),
        consents.withdraw(actor, patient, a_consent().id),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_a_request_that_comes_again_records_one_consent(consents: ConsentService, case: Case) -> None:
    repeat = RepeatKey(key="once", request=b"the same")
    first, _ = await consents.record(case.nurse, case.patient.id, given(a_consent()), repeat=repeat)
    again, version = await consents.record(case.nurse, case.patient.id, given(a_consent()), repeat=repeat)
    assert (again, version) == (first, 1)
    assert (await consents.list(case.nurse, case.patient.id)).consents == (first,)
    with pytest.raises(ReusedKey):
        await consents.record(
            case.nurse, case.patient.id, given(a_consent()), repeat=RepeatKey(key="once", request=b"another")
        )


async def test_what_is_done_with_consents_is_in_the_trail(
    consents: ConsentService, practice: Practice, case: Case
) -> None:
    before = len(await practice.events())
    consent, _ = await consents.record(case.nurse, case.patient.id, given(a_consent()))
    await consents.withdraw(case.nurse, case.patient.id, consent.id)
    await consents.list(case.nurse, case.patient.id)
    events = (await practice.events())[before:]
    assert [(event.action, event.version) for event in events] == [
        (Action.REGISTER, 1),
        (Action.WITHDRAW, 2),
        (Action.LIST, 0),
    ]
    for event in events:
        assert (event.resource, event.patient, event.outcome) == (Resource.CONSENT, case.patient.id, Outcome.SUCCEEDED)


async def test_a_refusal_for_want_of_a_consent_says_so_in_the_trail(
    charts: PatientService, practice: Practice, case: Case
) -> None:
    with pytest.raises(NotFound):
        await charts.view(case.nurse, case.patient.id)
    assert (await practice.events())[-1].reason is Reason.NO_CONSENT


async def test_first_consents_recorded_at_once_are_all_kept(consents: ConsentService, case: Case) -> None:
    given_at_once = [a_consent() for _ in range(3)]
    await asyncio.gather(*(consents.record(case.nurse, case.patient.id, given(one)) for one in given_at_once))
    register = await consents.list(case.nurse, case.patient.id)
    assert {one.id for one in register.consents} == {one.id for one in given_at_once}


async def test_a_withdrawal_holds_at_once_in_another_process(database: Database, keyring: Keyring) -> None:
    """Two practices over one database have nothing in common but what is in it."""
    async with (
        sql_practice(database, keyring) as here,
        sql_practice(database, keyring) as there,
        resident_search(there, keyring) as search,
    ):
        freud = await here.employed(a_practitioner())
        ada = await here.stored(a_patient(label=Label.PART2, care_team=frozenset({freud.id})))
        carer, herself = an_actor(practitioner=freud.id), an_actor(Role.PATIENT, patient=ada.id)
        recording = ConsentService(here.begin, here.reading, lambda: NOW)
        charts = PatientService(
            begin=there.begin,
            reading=there.reading,
            search_index=search,
            cursors=Cursors(keyring),
            limits=MemoryRateLimit(),
            now=lambda: NOW,
            today=lambda: TODAY,
        )
        consent, _ = await recording.record(herself, ada.id, given(a_consent()))
        assert (await charts.view(carer, ada.id)).id == ada.id
        assert (await charts.search(carer, PatientQuery(name="lovel"))).count == 1
        await recording.withdraw(herself, ada.id, consent.id)
        with pytest.raises(NotFound):
            await charts.view(carer, ada.id)
        assert (await charts.search(carer, PatientQuery(name="lovel"))).count == 0


async def test_nothing_of_a_consent_can_be_read_from_the_database(database: Database, keyring: Keyring) -> None:
    async with sql_practice(database, keyring) as practice:
        ada = await practice.stored(a_patient())
        herself = an_actor(Role.PATIENT, patient=ada.id)
        service = ConsentService(practice.begin, practice.reading, lambda: NOW)
        consent, _ = await service.record(herself, ada.id, given(a_consent()))
        await service.withdraw(herself, ada.id, consent.id)
        async with database.reading() as session:
            rows = [
                repr((await session.execute(table.select())).all())
                for table in (ConsentRow.__table__, RecordVersionRow.__table__, AuditEventRow.__table__)
            ]
        assert all(rows)
        for text in ("Harbor", "treating", "Substance", "part2", str(consent.id), consent.id.hex):
            assert not any(text in row for row in rows)


async def test_a_register_of_somebody_else_opens_nothing(database: Database, keyring: Keyring) -> None:
    async with sql_practice(database, keyring) as practice:
        freud = await practice.employed(a_practitioner())
        service = ConsentService(practice.begin, practice.reading, lambda: NOW)
        team = frozenset({freud.id})
        ada, bob = [await practice.stored(a_patient(label=Label.PART2, care_team=team)) for _ in range(2)]
        for patient in (ada, bob):
            await service.record(an_actor(Role.PATIENT, patient=patient.id), patient.id, given(a_consent()))
        async with tampering(database) as session:
            sealed = await session.scalar(select(ConsentRow.sealed).where(ConsentRow.id == bob.id))
            await session.execute(update(ConsentRow).where(ConsentRow.id == ada.id).values(sealed=sealed))
        async with practice.reading() as work:
            carer = an_actor(practitioner=freud.id)
            admitted = admit(work, carer, Action.VIEW, await work.patients.get(ada.id), at=NOW)
            with pytest.raises(CannotOpen):
                work.patients.open(admitted)
            admitted.attempt.fail(CannotOpen())
