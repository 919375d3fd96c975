"""The life of a record: who ends, reopens, holds and removes it, and what is left."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from clarity.application.admission import admit
from clarity.application.life import LifeService
from clarity.application.patients import PatientService
from clarity.application.ports import PatientFilter
from clarity.domain.access import POLICY, Action, Actor, Policy, Reason, Relation, Role
from clarity.domain.audit import Outcome
from clarity.domain.dates import PartialDate
from clarity.domain.errors import (
    CannotOpen,
    Conflict,
    DuplicateIdentifier,
    DuplicateMrn,
    Forbidden,
    Invalid,
    NotFound,
    Retained,
    StaleWrite,
)
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.patients import Death, Patient, PatientField, PatientQuery, PatientStatus
from clarity.domain.records import Label, Resource
from tests.builders import NOW, TODAY, a_consent, a_patient, a_practitioner, an_actor, new_id, the_operator
from tests.lives import a_life_service, removed
from tests.practice import Practice
from tests.ties import consented

LONG_AFTER = date(2060, 1, 1)
DIED = Death(day=PartialDate.parse("2026-03"))


@pytest.fixture
def life(practice: Practice) -> LifeService:
    return a_life_service(practice)


@pytest.fixture
def later(practice: Practice) -> LifeService:
    """Return the same, long after every retention is over."""
    return a_life_service(practice, today=LONG_AFTER)


@pytest.fixture
async def anna(practice: Practice) -> Actor:
    """Return a clinician who works here."""
    return an_actor(practitioner=(await practice.employed(a_practitioner())).id)


@pytest.fixture
def desk() -> Actor:
    return an_actor(Role.FRONT_DESK)


@pytest.fixture
def officer() -> Actor:
    return an_actor(Role.COMPLIANCE_OFFICER)


@pytest.fixture
def administrator() -> Actor:
    return an_actor(Role.ADMINISTRATOR)


def team_of(actor: Actor) -> frozenset[PractitionerId]:
    assert actor.practitioner is not None
    return frozenset({actor.practitioner})


async def discharged(practice: Practice, **about: Any) -> Patient:
    """Return a stored patient whose care ended long ago, and whose record was changed at `NOW`."""
    return await practice.stored(a_patient(discharged=date(2020, 5, 1), **about))


async def test_a_patient_is_discharged_and_taken_back(practice: Practice, life: LifeService, anna: Actor) -> None:
    ada = await practice.stored(a_patient(care_team=team_of(anna)))
    gone = await life.discharge(anna, ada.id, TODAY, version=1)
    assert (gone.status, gone.discharged, gone.version) == (PatientStatus.DISCHARGED, TODAY, 2)
    with pytest.raises(Conflict):
        await life.discharge(anna, ada.id, TODAY, version=2)
    back = await life.reactivate(anna, ada.id, version=2)
    assert (back.status, back.discharged, back.version) == (PatientStatus.ACTIVE, None, 3)
    with pytest.raises(Conflict):
        await life.reactivate(anna, ada.id, version=3)
    actions = [event.action for event in await practice.events() if event.outcome is Outcome.SUCCEEDED]
    assert actions[-2:] == [Action.DISCHARGE, Action.REACTIVATE]


@pytest.mark.parametrize("day", [TODAY + timedelta(days=2), date(1985, 12, 9)])
async def test_nobody_is_discharged_on_a_day_that_cannot_be(
    practice: Practice, life: LifeService, anna: Actor, day: date
) -> None:
    ada = await practice.stored(a_patient(born="1985-12-10", care_team=team_of(anna)))
    with pytest.raises(Invalid) as refused:
        await life.discharge(anna, ada.id, day, version=1)
    assert refused.value.field == "day"


async def test_a_death_is_recorded_once_and_a_mistake_corrected(
    practice: Practice, life: LifeService, desk: Actor, anna: Actor
) -> None:
    ada = await practice.stored(a_patient(care_team=team_of(anna), discharged=TODAY, notes="prefers tea"))
    assert (await life.record_death(desk, ada.id, DIED, version=1)).status is PatientStatus.DECEASED
    with pytest.raises(Conflict):
        await life.record_death(desk, ada.id, DIED, version=2)
    with pytest.raises(Conflict, match="deceased"):
        await life.reactivate(anna, ada.id, version=2)
    alive = await life.correct_death(anna, ada.id, version=2)
    assert (alive.status, alive.notes) == (PatientStatus.DISCHARGED, "prefers tea")
    with pytest.raises(Conflict):
        await life.correct_death(desk, ada.id, version=3)


@pytest.mark.parametrize(
    ("death", "field"),
    [
        (Death(day=PartialDate.parse("2026-03-16")), "death.day"),
        (Death(day=PartialDate.parse("2027")), "death.day"),
        (Death(day=PartialDate.parse("1985-12-09")), "death.day"),
        (Death(day=PartialDate.parse("1984")), "death.day"),
        (Death(instant=NOW + timedelta(seconds=1)), "death.instant"),
        (Death(instant=datetime(1985, 12, 9, 9, tzinfo=UTC)), "death.instant"),
    ],
)
async def test_nobody_dies_in_the_future_or_before_birth(
    practice: Practice, life: LifeService, patients: PatientService, desk: Actor, death: Death, field: str
) -> None:
    ada = await practice.stored(a_patient(born="1985-12-10"))
    for attempt in (
        life.record_death(desk, ada.id, death, version=1),
        patients.change(desk, ada.id, lambda seen: replace(seen, death=death), version=1),
        patients.register(desk, replace(a_patient(born="1985-12-10"), death=death)),
    ):
        with pytest.raises(Invalid) as refused:
            await attempt
        assert refused.value.field == field


@pytest.mark.parametrize(
    "death", [Death(), Death(day=PartialDate.parse("1985")), Death(day=PartialDate.parse("2026")), Death(instant=NOW)]
)
async def test_a_death_is_as_exact_as_it_is_known(
    practice: Practice, life: LifeService, desk: Actor, death: Death
) -> None:
    ada = await practice.stored(a_patient(born="1985-12-10"))
    await life.record_death(desk, ada.id, death, version=1)
    assert (await practice.opened(ada.id)).death == death


async def test_who_may_change_a_record_may_not_let_the_patient_die(
    practice: Practice, patients: PatientService, anna: Actor
) -> None:
    ada = await practice.stored(a_patient(care_team=team_of(anna)))
    nurse = an_actor(Role.NURSE, practitioner=anna.practitioner)
    with pytest.raises(Forbidden):
        await patients.change(nurse, ada.id, lambda seen: replace(seen, death=DIED), version=1)
    assert (await practice.events())[-1].reason is Reason.NO_SUCH_RIGHT
    died = await patients.change(anna, ada.id, lambda seen: replace(seen, death=DIED), version=1)
    assert died.status is PatientStatus.DECEASED


async def test_a_death_beside_other_changes_is_decided_by_the_exact_label(
    practice: Practice, patients: PatientService, anna: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await practice.stored(a_patient(label=Label.PART2, care_team=team_of(anna)))
    await consented(practice, ada.id, a_consent())
    # As if deaths under Part 2 were for nobody on the care team to record, whose records may be changed otherwise.
    of_deaths = (Role.CLINICIAN, Resource.PATIENT, Action.RECORD_DEATH, Relation.CARE_TEAM, Label.PART2)
    cells = {place: cell for place, cell in POLICY.cells.items() if place != of_deaths}
    monkeypatch.setattr("clarity.domain.access.decisions.POLICY", Policy(cells))
    with pytest.raises(Forbidden):
        await patients.change(anna, ada.id, lambda seen: replace(seen, death=DIED, notes="Died."), version=1)
    assert (await practice.events())[-1].reason is Reason.NO_SUCH_RIGHT
    noted = await patients.change(anna, ada.id, lambda seen: replace(seen, notes="In hospital."), version=1)
    assert noted.version == 2


@pytest.mark.parametrize(
    "attempt",
    [
        lambda life, actor, patient: life.discharge(actor, patient, TODAY, version=1),
        lambda life, actor, patient: life.reactivate(actor, patient, version=1),
        lambda life, actor, patient: life.record_death(actor, patient, DIED, version=1),
        lambda life, actor, patient: life.correct_death(actor, patient, version=1),
    ],
)
async def test_a_step_is_made_on_the_version_that_was_seen(
    practice: Practice, life: LifeService, anna: Actor, attempt: Callable[..., Awaitable[object]]
) -> None:
    ada = await practice.stored(a_patient(care_team=team_of(anna)))
    await practice.changed(ada.id, notes="changed meanwhile")
    with pytest.raises(StaleWrite):
        await attempt(life, anna, ada.id)


async def test_a_hold_is_placed_listed_and_released(
    practice: Practice, life: LifeService, officer: Actor, anna: Actor
) -> None:
    ada = await practice.stored(a_patient(care_team=team_of(anna), notes="prefers tea", label=Label.RESTRICTED))
    await practice.stored(a_patient())
    await life.place_hold(officer, ada.id, "Docket 26-117")
    page = await life.holds(officer)
    (held,) = page.items
    assert (held.patient, held.hold.basis, held.hold.since, held.hold.by) == (ada.id, "Docket 26-117", NOW, officer.id)
    assert (page.count, page.next_cursor) == (1, "")
    seen = (await practice.events())[-1]
    assert (seen.action, seen.ids, seen.patient) == (Action.LIST_LEGAL_HOLDS, (ada.id,), None)
    with pytest.raises(Conflict):
        await life.place_hold(officer, ada.id, "Docket 26-118")
    after = await practice.opened(ada.id)
    assert (after.notes, after.care_team, after.label) == ("prefers tea", ada.care_team, Label.RESTRICTED)
    await life.release_hold(officer, ada.id)
    assert (await life.holds(officer)).count == 0
    with pytest.raises(Conflict):
        await life.release_hold(officer, ada.id)


async def test_holds_come_a_page_at_a_time(practice: Practice, life: LifeService, officer: Actor) -> None:
    ids = sorted([(await practice.stored(a_patient())).id for _ in range(3)])
    for patient in ids:
        await life.place_hold(officer, patient, "Docket 26-117")
    first = await life.holds(officer, at_most=2)
    second = await life.holds(officer, at_most=2, cursor=first.next_cursor)
    assert [held.patient for held in (*first.items, *second.items)] == ids
    named = [event.ids for event in await practice.events() if event.action is Action.LIST_LEGAL_HOLDS]
    assert named == [tuple(ids[:2]), tuple(ids[2:])], "the trail says what was shown, and no more"
    assert (first.count, second.count, second.next_cursor) == (3, 3, "")
    with pytest.raises(Invalid):
        await life.holds(an_actor(Role.COMPLIANCE_OFFICER), cursor=first.next_cursor)


async def test_nobody_who_cares_for_a_patient_sees_that_the_record_is_held(
    practice: Practice, life: LifeService, patients: PatientService, officer: Actor, anna: Actor, desk: Actor
) -> None:
    ada = await practice.stored(a_patient(care_team=team_of(anna)))
    await life.place_hold(officer, ada.id, "Docket 26-117")
    for actor in (anna, desk, an_actor(Role.PATIENT, patient=ada.id)):
        assert (await patients.view(actor, ada.id)).legal_hold is None
        with pytest.raises(Forbidden):
            await life.holds(actor)
    # What they change keeps it.
    await patients.change(anna, ada.id, lambda seen: replace(seen, notes="prefers tea"), version=2)
    assert (await practice.opened(ada.id)).legal_hold is not None


async def test_a_hold_and_a_removal_are_not_written_by_the_way(
    practice: Practice, life: LifeService, patients: PatientService, officer: Actor
) -> None:
    ada = await practice.stored(a_patient())
    await life.place_hold(officer, ada.id, "Docket 26-117")
    with pytest.raises(Invalid) as refused:
        await patients.change(the_operator(), ada.id, lambda seen: replace(seen, legal_hold=None), version=2)
    assert refused.value.field == "legal_hold"


@pytest.mark.parametrize("role", [Role.CLINICIAN, Role.NURSE, Role.FRONT_DESK, Role.RESEARCHER, Role.DEVICE])
async def test_nobody_else_holds_deletes_or_sees_why_a_record_went(
    practice: Practice, later: LifeService, role: Role
) -> None:
    doctor = await practice.employed(a_practitioner())
    ada = await discharged(practice, care_team=frozenset({doctor.id}))
    gone = await discharged(practice)
    await removed(practice.begin, gone.id)
    actor = an_actor(role, practitioner=doctor.id)
    for attempt in (
        later.place_hold(actor, ada.id, "Docket 26-117"),
        later.release_hold(actor, ada.id),
        later.delete(actor, ada.id, "entered twice"),
        later.delete(actor, PatientId(new_id()), "entered twice"),
        later.tombstone(actor, gone.id),
        later.tombstone(actor, PatientId(new_id())),
    ):
        with pytest.raises(NotFound):
            await attempt
        assert (await practice.events())[-1].outcome is Outcome.REFUSED
    assert (await practice.opened(ada.id)).version == 1


@pytest.mark.parametrize("role", [Role.ADMINISTRATOR, Role.COMPLIANCE_OFFICER, Role.SYSTEM])
async def test_a_record_whose_time_is_over_is_deleted_with_its_reason(
    practice: Practice, later: LifeService, patients: PatientService, anna: Actor, officer: Actor, role: Role
) -> None:
    ada = await discharged(practice, mrn="M-1", care_team=team_of(anna), notes="prefers tea")
    actor = an_actor(role)
    await later.delete(actor, ada.id, "entered twice")
    (event,) = [one for one in await practice.events() if one.action is Action.DELETE]
    assert (event.outcome, event.version, event.patient) == (Outcome.SUCCEEDED, 2, ada.id)
    assert event.fields == PatientField.REMOVAL | PatientField.CARE_TEAM
    tombstone = await later.tombstone(officer, ada.id)
    assert (tombstone.reason, tombstone.basis, tombstone.by, tombstone.at) == ("entered twice", "", actor.id, NOW)
    assert tombstone.merged_into is None
    last = (await practice.events())[-1]
    assert (last.action, last.patient, last.outcome) == (Action.VIEW_TOMBSTONE, ada.id, Outcome.SUCCEEDED)
    assert await later.tombstone(the_operator(), ada.id) == tombstone
    portal = an_actor(Role.PATIENT, patient=ada.id)
    for reader in (anna, portal, the_operator()):
        for attempt in (patients.view(reader, ada.id), patients.history(reader, ada.id)):
            with pytest.raises(NotFound):
                await attempt
        assert (await patients.list(reader, PatientFilter())).count == 0
        assert (await patients.search(reader, PatientQuery(name="ada"))).count == 0
    with pytest.raises(NotFound):
        await later.delete(actor, ada.id, "again")


async def test_the_history_of_a_deleted_record_stays(practice: Practice, later: LifeService) -> None:
    ada = await discharged(practice, mrn="M-1", notes="prefers tea")
    await later.delete(the_operator(), ada.id, "entered twice")
    async with practice.begin() as work:
        admitted = admit(work, the_operator(), Action.UNMERGE, await work.patients.get(ada.id), at=NOW)
        last, first = await work.patients.history(admitted)
    assert (first.patient, last.patient.notes, last.patient.identifiers) == (ada, "prefers tea", ada.identifiers)
    assert last.patient.removal is not None


async def test_what_a_deleted_record_was_called_by_is_free_and_where_it_came_from_is_not(
    practice: Practice, later: LifeService
) -> None:
    ada = await discharged(practice, mrn="M-1", sources=("ehr|Patient/1",))
    await later.delete(the_operator(), ada.id, "entered twice")
    await practice.stored(a_patient(mrn="M-1"))
    with pytest.raises(DuplicateIdentifier):
        await practice.stored(a_patient(sources=("ehr|Patient/1",)))


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({}, "as long as the patient is in care"),
        ({"discharged": date(2020, 5, 1)}, "kept into 2036"),
        ({"discharged": date(2020, 5, 1), "born": "2010-02"}, "kept into 2038"),
    ],
)
@pytest.mark.parametrize("role", [Role.ADMINISTRATOR, Role.COMPLIANCE_OFFICER, Role.SYSTEM])
async def test_what_has_to_be_kept_is_not_deleted(
    practice: Practice, life: LifeService, role: Role, about: dict[str, Any], told: str
) -> None:
    ada = await practice.stored(a_patient(**about))
    with pytest.raises(Retained, match=told):
        await life.delete(an_actor(role), ada.id, "asked to")
    event = (await practice.events())[-1]
    assert (event.action, event.outcome, event.reason) == (Action.DELETE, Outcome.FAILED, Reason.RETAINED)
    assert (await practice.opened(ada.id)).version == 1


@pytest.mark.parametrize(("days", "kept"), [(0, False), (-1, True)])
async def test_a_record_goes_from_the_day_that_its_time_is_over(
    practice: Practice, officer: Actor, *, days: int, kept: bool
) -> None:
    ada = await discharged(practice)
    today = date(2036, 3, 14) + timedelta(days=days)
    service = a_life_service(practice, today=today)
    if kept:
        with pytest.raises(Retained):
            await service.delete(officer, ada.id, "time is over")
    else:
        await service.delete(officer, ada.id, "time is over")


async def test_the_practice_sets_how_many_years(practice: Practice, administrator: Actor) -> None:
    ada = await discharged(practice)
    today = date(2033, 3, 14)
    with pytest.raises(Retained, match="into 2034"):
        await a_life_service(practice, years=8, today=today).delete(administrator, ada.id, "time is over")
    await a_life_service(practice, years=7, today=today).delete(administrator, ada.id, "time is over")


@pytest.mark.parametrize("held", [True, False])
async def test_a_compliance_officer_overrides_with_a_basis_that_is_recorded(
    practice: Practice, life: LifeService, officer: Actor, *, held: bool
) -> None:
    ada = await practice.stored(a_patient())
    if held:
        await life.place_hold(officer, ada.id, "Docket 26-117")
    await life.delete(officer, ada.id, "asked to", basis="Court order of 3 March")
    tombstone = await life.tombstone(officer, ada.id)
    assert (tombstone.reason, tombstone.basis) == ("asked to", "Court order of 3 March")
    override, deletion = [
        event
        for action in (Action.OVERRIDE_RETENTION, Action.DELETE)
        for event in await practice.events()
        if event.action is action
    ]
    assert (override.outcome, override.patient, override.actor) == (Outcome.SUCCEEDED, ada.id, officer.id)
    assert (deletion.version, deletion.ids) == (3 if held else 2, (ada.id,))


async def test_an_administrator_overrides_nothing(practice: Practice, life: LifeService, administrator: Actor) -> None:
    ada = await practice.stored(a_patient())
    with pytest.raises(Forbidden):
        await life.delete(administrator, ada.id, "asked to", basis="because")
    last = (await practice.events())[-1]
    assert (last.action, last.outcome, last.reason) == (
        Action.OVERRIDE_RETENTION,
        Outcome.REFUSED,
        Reason.NO_SUCH_RIGHT,
    )
    assert (await practice.opened(ada.id)).version == 1


async def test_a_held_record_stays_after_its_time_until_the_hold_is_released(
    practice: Practice, later: LifeService, officer: Actor, administrator: Actor
) -> None:
    ada = await discharged(practice)
    await later.place_hold(officer, ada.id, "Docket 26-117")
    for actor in (officer, administrator):
        with pytest.raises(Retained, match="legal hold"):
            await later.delete(actor, ada.id, "time is over")
    await later.release_hold(officer, ada.id)
    await later.delete(administrator, ada.id, "time is over")


async def test_nothing_goes_without_a_reason(practice: Practice, later: LifeService, officer: Actor) -> None:
    ada = await discharged(practice)
    for reason in ("", "   "):
        with pytest.raises(Invalid):
            await later.delete(officer, ada.id, reason)
    assert (await practice.opened(ada.id)).version == 1


async def test_a_record_that_stands_has_no_tombstone(practice: Practice, life: LifeService, officer: Actor) -> None:
    ada = await practice.stored(a_patient())
    for actor in (officer, the_operator()):
        with pytest.raises(NotFound):
            await life.tombstone(actor, ada.id)
        assert (await practice.events())[-1].outcome is Outcome.REFUSED


async def test_a_record_that_does_not_open_is_neither_deleted_nor_held(
    practice: Practice, later: LifeService, officer: Actor
) -> None:
    ada = await discharged(practice)
    await practice.broken(ada.id)
    for attempt in (later.delete(officer, ada.id, "time is over"), later.place_hold(officer, ada.id, "Docket 26-117")):
        with pytest.raises(CannotOpen):
            await attempt
    assert (await later.holds(officer)).count == 0


async def restored(practice: Practice, patient: PatientId) -> Patient:
    async with practice.begin() as work:
        admitted = admit(work, the_operator(), Action.UNMERGE, await work.patients.get(patient), at=NOW)
        return await work.patients.restore(work.patients.open(admitted))


async def test_a_removal_that_is_undone_leaves_everything_as_it_was(practice: Practice, anna: Actor) -> None:
    ada = await practice.stored(a_patient(mrn="M-1", care_team=team_of(anna), email="ada@example.org"))
    await removed(practice.begin, ada.id)
    assert (await restored(practice, ada.id)).version == 3
    assert await practice.opened(ada.id) == replace(ada, version=3)
    with pytest.raises(DuplicateMrn):
        await practice.stored(a_patient(mrn="M-1"))
    with pytest.raises(Conflict):
        await restored(practice, ada.id)


async def test_a_removal_is_not_undone_over_an_identifier_that_was_taken(practice: Practice) -> None:
    ada = await practice.stored(a_patient(mrn="M-1"))
    await removed(practice.begin, ada.id)
    await practice.stored(a_patient(mrn="M-1"))
    with pytest.raises(DuplicateMrn):
        await restored(practice, ada.id)


@pytest.mark.parametrize("label", [Label.NORMAL, Label.RESTRICTED])
async def test_a_guarded_record_is_not_left_without_anybody_who_cares(
    practice: Practice, patients: PatientService, anna: Actor, label: Label
) -> None:
    ada = await practice.stored(a_patient(care_team=team_of(anna), label=label))
    if label is Label.NORMAL:
        await patients.change_care_team(anna, ada.id, frozenset(), version=1)
    else:
        with pytest.raises(Conflict, match="nobody but the patient"):
            await patients.change_care_team(anna, ada.id, frozenset(), version=1)
        await patients.change_care_team(the_operator(), ada.id, frozenset(), version=1)
    assert (await practice.opened(ada.id)).care_team == frozenset()


async def outcomes(*attempts: Awaitable[object]) -> list[object]:
    """Return what each attempt came to: the kind of its error, or `None`."""
    ends = await asyncio.gather(*attempts, return_exceptions=True)
    return [type(end) if isinstance(end, BaseException) else None for end in ends]


# Units of work over memory do not wait for each other.
on_databases = pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)


@on_databases
async def test_of_two_deletions_one_is_done(practice: Practice, later: LifeService, officer: Actor) -> None:
    ada = await discharged(practice)
    ends = await outcomes(*(later.delete(officer, ada.id, f"reason {number}") for number in range(4)))
    assert sorted(ends, key=str) == sorted([None, NotFound, NotFound, NotFound], key=str)
    chosen = (await later.tombstone(officer, ada.id)).reason
    assert chosen == f"reason {ends.index(None)}"


@on_databases
async def test_a_hold_is_placed_before_a_deletion_or_the_record_is_gone(
    practice: Practice, later: LifeService, officer: Actor, administrator: Actor
) -> None:
    for _ in range(8):
        ada = await discharged(practice)
        ends = await outcomes(
            later.delete(administrator, ada.id, "time is over"), later.place_hold(officer, ada.id, "Docket 26-117")
        )
        assert ends in ([None, NotFound], [Retained, None])
        if ends[1] is None:
            assert (await practice.opened(ada.id)).legal_hold is not None
        else:
            assert (await later.tombstone(officer, ada.id)).reason == "time is over"


@on_databases
async def test_a_change_comes_before_a_deletion_or_the_record_is_gone(
    practice: Practice, later: LifeService, patients: PatientService, administrator: Actor, desk: Actor
) -> None:
    for _ in range(8):
        ada = await discharged(practice)
        ends = await outcomes(
            later.delete(administrator, ada.id, "time is over"),
            patients.change(desk, ada.id, lambda seen: replace(seen, mothers_maiden_name="Byron"), version=1),
        )
        assert ends[0] is None
        assert ends[1] in (None, StaleWrite, NotFound)
        async with practice.begin() as work:
            admitted = admit(work, the_operator(), Action.UNMERGE, await work.patients.get(ada.id), at=NOW)
            last = work.patients.open(admitted)
        assert last.removal is not None
        assert (last.mothers_maiden_name == "Byron") == (ends[1] is None)


async def test_a_tombstone_is_disclosed_only_with_its_event(practice: Practice, life: LifeService) -> None:
    ada = await practice.stored(a_patient())
    await removed(practice.begin, ada.id)
    practice.refuse_events()
    with pytest.raises(Exception, match="trail"):
        await life.tombstone(the_operator(), ada.id)


async def test_the_fields_a_hold_shows_and_changes_are_its_own(
    practice: Practice, life: LifeService, officer: Actor
) -> None:
    ada = await practice.stored(a_patient())
    await life.place_hold(officer, ada.id, "Docket 26-117")
    event = (await practice.events())[-1]
    assert (event.resource, event.fields, event.version) == (Resource.PATIENT, PatientField.LEGAL_HOLD, 2)
