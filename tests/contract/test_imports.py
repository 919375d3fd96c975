"""What an import does to a practice: each unit whole or not at all, audited, and the same however often it is run."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from clarity.application.imports import BadInput, ImportService, Incoming, Taken, Tally
from clarity.application.ports import PatientFilter
from clarity.domain.access import Action, Reason, scope_of
from clarity.domain.audit import Attempt, Outcome
from clarity.domain.dates import PartialDate
from clarity.domain.identifiers import Identifier, IndexKind, IndexTerm
from clarity.domain.patients import Death, Patient
from clarity.domain.practitioners import PROVIDER_TAXONOMY, Practitioner
from clarity.domain.records import Label, Resource
from tests.builders import NOW, TODAY, a_practitioner, new_id, the_operator
from tests.bundles import (
    MRN_SYSTEM,
    NPI_SYSTEM,
    VALID_NPI,
    Json,
    a_fhir_patient,
    a_fhir_practitioner,
    a_full_fhir_patient,
    an_encounter,
    an_identifier,
    incoming,
    urn,
)
from tests.lives import a_life_service, removed
from tests.practice import Practice


@pytest.fixture
def imports(practice: Practice) -> ImportService:
    return ImportService(practice.begin, lambda: NOW)


async def take(imports: ImportService, unit: Incoming) -> Taken:
    outcome = await imports.take(the_operator(), unit)
    assert isinstance(outcome, Taken), outcome
    return outcome


async def refused(imports: ImportService, unit: Incoming) -> BadInput:
    outcome = await imports.take(the_operator(), unit)
    assert isinstance(outcome, BadInput)
    return outcome


async def imported(practice: Practice, source: str) -> Patient:
    async with practice.begin() as work:
        identity = await work.patients.find_by_source(source)
    assert identity is not None
    return await practice.opened(identity)


async def count(practice: Practice) -> int:
    async with practice.reading() as work:
        return await work.patients.count(scope_of(the_operator(), Action.LIST, at=NOW), PatientFilter())


async def staff(practice: Practice) -> list[Practitioner]:
    async with practice.reading() as work:
        return await work.practitioners.find_page(after=None, at_most=1_000)


def a_visit_of(ada: Json, *doctors: Json) -> Incoming:
    return incoming(ada, *doctors, an_encounter(urn(ada), *map(urn, doctors)))


async def test_a_unit_is_stored_whole(practice: Practice, imports: ImportService) -> None:
    taken = await take(imports, a_visit_of(a_full_fhir_patient(), a_fhir_practitioner("anna", npi="160")))
    assert (taken.patients, taken.practitioners) == (Tally(added=1), Tally(added=1))
    (anna,) = await staff(practice)
    assert taken.invalid_npis == {anna.id}
    assert (anna.npi, anna.npi_valid, anna.sources) == ("160", False, ("import|Practitioner/anna",))
    ada = await imported(practice, "import|Patient/p1")
    unit = incoming(a_full_fhir_patient())
    assert ada == replace(unit.patients[0].patient, id=ada.id, version=1, care_team=frozenset({anna.id}))


async def test_what_is_imported_is_found_by_its_identifiers(practice: Practice, imports: ImportService) -> None:
    await take(imports, incoming(a_full_fhir_patient()))
    ada = await imported(practice, "import|Patient/p1")
    for kind, text in (
        (IndexKind.MRN_VALUE, "S-1"),
        (IndexKind.MRN, f"{MRN_SYSTEM}|S-1"),
        (IndexKind.SSN, "999-16-5745"),
        (IndexKind.EXTERNAL, "E-1"),
        (IndexKind.EMAIL, "ada@example.com"),
    ):
        async with practice.reading() as work:
            work.note(Attempt(actor=the_operator(), action=Action.LIST, at=NOW))
            scope = scope_of(the_operator(), Action.LIST, at=NOW)
            conditions = PatientFilter(terms=(IndexTerm(kind, text),))
            found = await work.patients.find_page(scope, conditions, after=None, at_most=2)
        assert [sealed.id for sealed in found] == [ada.id], kind


async def test_importing_again_writes_nothing(practice: Practice, imports: ImportService) -> None:
    unit = a_visit_of(a_full_fhir_patient(), a_fhir_practitioner("anna"))
    await take(imports, unit)
    before, doctors = await imported(practice, "import|Patient/p1"), await staff(practice)
    told = len(await practice.events())
    taken = await take(imports, a_visit_of(a_full_fhir_patient(), a_fhir_practitioner("anna")))
    assert (taken.patients, taken.practitioners) == (Tally(unchanged=1), Tally(unchanged=1))
    assert await imported(practice, "import|Patient/p1") == before
    assert await staff(practice) == doctors
    # The record was opened to compare it, so the trail knows; nobody opened the doctor's.
    events = [event for event in (await practice.events())[told:] if event.action is Action.IMPORT]
    assert [(event.resource, event.patient, event.version) for event in events] == [(Resource.PATIENT, before.id, 0)]


async def test_every_record_written_is_in_the_trail(practice: Practice, imports: ImportService) -> None:
    ada, byron = a_fhir_patient("ada"), a_fhir_patient("byron")
    doctors = [a_fhir_practitioner(f"d{number}") for number in range(3)]
    await take(imports, incoming(ada, byron, *doctors))
    events = [event for event in await practice.events() if event.action is Action.IMPORT]
    told = {(event.resource, event.outcome, frozenset(event.ids)) for event in events}
    patients = {(await imported(practice, f"import|Patient/{name}")).id for name in ("ada", "byron")}
    assert told == {
        (Resource.PRACTITIONER, Outcome.SUCCEEDED, frozenset(one.id for one in await staff(practice))),
        *((Resource.PATIENT, Outcome.SUCCEEDED, frozenset({patient})) for patient in patients),
    }
    assert {event.version for event in events if event.resource is Resource.PATIENT} == {1}
    assert all(event.operator == "tester" for event in events)


async def test_what_the_source_changed_changes_here(practice: Practice, imports: ImportService) -> None:
    await take(imports, incoming(a_fhir_patient("ada", mrn="1"), a_fhir_practitioner("anna")))
    unit = incoming(a_fhir_patient("ada", mrn="1", family="King"), a_fhir_practitioner("anna", family="Klein"))
    taken = await take(imports, unit)
    assert (taken.patients, taken.practitioners) == (Tally(changed=1), Tally(changed=1))
    ada = await imported(practice, "import|Patient/ada")
    assert (ada.name.family, ada.version) == ("King", 2)
    assert [(one.name.family, one.version) for one in await staff(practice)] == [("Klein", 2)]


async def test_what_only_the_practice_says_stays(practice: Practice, imports: ImportService) -> None:
    await take(imports, a_visit_of(a_fhir_patient("ada", mrn="1"), a_fhir_practitioner("anna")))
    ada = await imported(practice, "import|Patient/ada")
    house = await practice.employed(a_practitioner())
    own = Identifier.mrn("OWN-7")
    kept = await practice.changed(
        ada.id,
        notes="sleeps badly",
        label=Label.RESTRICTED,
        discharged=TODAY,
        care_team=ada.care_team | {house.id},
        identifiers=(*ada.identifiers, own),
    )
    again = incoming(a_fhir_patient("ada", mrn="1", family="King"))
    assert (await take(imports, again)).patients == Tally(changed=1)
    now = await imported(practice, "import|Patient/ada")
    assert now.name.family == "King"
    assert (now.notes, now.label, now.discharged) == ("sleeps badly", Label.RESTRICTED, TODAY)
    assert now.care_team == kept.care_team
    assert own in now.identifiers
    assert (await take(imports, again)).patients == Tally(unchanged=1)


async def test_contacts_stay_unless_the_source_has_some(practice: Practice, imports: ImportService) -> None:
    contact: list[Json] = [{"name": {"family": "Milbanke"}}]
    await take(imports, incoming(a_fhir_patient("ada", mrn="1", contact=contact)))
    assert (await take(imports, incoming(a_fhir_patient("ada", mrn="1")))).patients == Tally(unchanged=1)
    contact = [{"name": {"family": "Byron"}}]
    assert (await take(imports, incoming(a_fhir_patient("ada", mrn="1", contact=contact)))).patients == Tally(changed=1)
    ada = await imported(practice, "import|Patient/ada")
    assert [one.name and one.name.family for one in ada.contacts] == ["Byron"]


async def test_caregivers_are_added_and_never_taken_away(practice: Practice, imports: ImportService) -> None:
    ada, anna, carl = a_fhir_patient("ada"), a_fhir_practitioner("anna"), a_fhir_practitioner("carl")
    await take(imports, a_visit_of(ada, anna))
    assert (await take(imports, a_visit_of(ada, carl))).patients == Tally(changed=1)
    assert (await take(imports, incoming(ada))).patients == Tally(unchanged=1)
    team = (await imported(practice, "import|Patient/ada")).care_team
    assert team == {one.id for one in await staff(practice)}
    assert len(team) == 2


async def test_encounters_alone_add_to_the_care_team(practice: Practice, imports: ImportService) -> None:
    await take(imports, incoming(a_fhir_patient("ada"), a_fhir_practitioner("anna")))
    visit = incoming(an_encounter("Patient/ada", "Practitioner/anna"))
    assert (await take(imports, visit)).patients == Tally(changed=1)
    assert (await take(imports, visit)).patients == Tally(unchanged=1)
    assert len((await imported(practice, "import|Patient/ada")).care_team) == 1


@pytest.mark.parametrize(
    ("visit", "element"),
    [
        (an_encounter("Patient/nobody"), "Encounter.subject"),
        (an_encounter("Patient/ada", "Practitioner/nobody"), "Encounter.participant.0.individual"),
        (
            an_encounter("Patient/ada", f"Practitioner?identifier={NPI_SYSTEM}|{VALID_NPI}"),
            "Encounter.participant.0.individual",
        ),
    ],
)
async def test_a_reference_to_nobody_refuses_the_unit(
    practice: Practice, imports: ImportService, visit: Json, element: str
) -> None:
    await take(imports, incoming(a_fhir_patient("ada")))
    bad = await refused(imports, incoming(a_fhir_patient("new"), a_fhir_practitioner("anna"), visit))
    assert bad.unresolved
    assert bad.problem == f"{element}: refers to nobody who is known here"
    assert (bad.place.entry, bad.patients, bad.practitioners) == (3, 1, 1)
    assert await count(practice) == 1
    assert await staff(practice) == []


async def test_a_practitioner_is_known_by_a_valid_npi(practice: Practice, imports: ImportService) -> None:
    await take(imports, incoming(a_fhir_practitioner("anna", npi=VALID_NPI)))
    ada = a_fhir_patient("ada")
    by_condition = an_encounter(urn(ada), f"Practitioner?identifier={NPI_SYSTEM}|{VALID_NPI}")
    await take(imports, incoming(ada, by_condition))
    elsewhere = a_fhir_practitioner("anna-elsewhere", npi=VALID_NPI, family="Klein")
    assert (await take(imports, incoming(elsewhere))).practitioners == Tally(changed=1)
    assert (await take(imports, incoming(elsewhere))).practitioners == Tally(unchanged=1)
    (anna,) = await staff(practice)
    assert anna.sources == ("import|Practitioner/anna", "import|Practitioner/anna-elsewhere")
    assert anna.name.family == "Freud"  # the source that came first is the one that is followed
    assert (await imported(practice, "import|Patient/ada")).care_team == {anna.id}


async def test_a_practitioner_made_here_follows_the_first_source(practice: Practice, imports: ImportService) -> None:
    made = await practice.employed(a_practitioner(npi=VALID_NPI))
    unit = incoming(a_fhir_practitioner("anna", npi=VALID_NPI, family="Klein"))
    assert (await take(imports, unit)).practitioners == Tally(changed=1)
    assert (await take(imports, unit)).practitioners == Tally(unchanged=1)
    (anna,) = await staff(practice)
    assert (anna.id, anna.name.family, anna.sources) == (made.id, "Klein", ("import|Practitioner/anna",))


async def test_an_npi_that_is_none_tells_nobody_apart(practice: Practice, imports: ImportService) -> None:
    await take(imports, incoming(a_fhir_practitioner("anna", npi="160"), a_fhir_practitioner("carl", npi="160")))
    assert len(await staff(practice)) == 2
    ada = a_fhir_patient()
    bad = await refused(imports, incoming(ada, an_encounter(urn(ada), f"Practitioner?identifier={NPI_SYSTEM}|160")))
    assert bad.unresolved


async def test_one_npi_is_one_practitioner_within_a_unit_too(practice: Practice, imports: ImportService) -> None:
    ada, twins = a_fhir_patient("ada"), [a_fhir_practitioner(name, npi=VALID_NPI) for name in ("a", "b")]
    taken = await take(imports, a_visit_of(ada, *twins))
    assert taken.practitioners == Tally(added=1, unchanged=1)
    (anna,) = await staff(practice)
    assert anna.sources == ("import|Practitioner/a", "import|Practitioner/b")
    assert (await imported(practice, "import|Patient/ada")).care_team == {anna.id}


async def test_a_practitioner_with_ever_new_ids_is_still_one(practice: Practice, imports: ImportService) -> None:
    ada = a_fhir_patient("ada")
    for number in range(103):
        unit = incoming(a_fhir_practitioner(f"d{number}", npi=VALID_NPI))
        assert (await take(imports, unit)).practitioners.refused == 0
    await take(imports, a_visit_of(ada, a_fhir_practitioner("another", npi=VALID_NPI)))
    (anna,) = await staff(practice)
    assert len(anna.sources) == 100
    assert (await imported(practice, "import|Patient/ada")).care_team == {anna.id}


async def test_a_duplicate_mrn_refuses_the_unit_and_nothing_of_it_stays(
    practice: Practice, imports: ImportService
) -> None:
    await take(imports, incoming(a_fhir_patient("ada", mrn="1")))
    bad = await refused(imports, a_visit_of(a_fhir_patient("eve", mrn="1"), a_fhir_practitioner("anna")))
    assert bad.problem == "A patient with this medical record number exists."
    assert bad.place.entry == 1
    assert not bad.unresolved
    within = await refused(imports, incoming(a_fhir_patient("b", mrn="2"), a_fhir_patient("c", mrn="2")))
    assert within.place.entry == 2
    assert (await count(practice), await staff(practice)) == (1, [])
    failed = [event for event in await practice.events() if event.outcome is Outcome.FAILED]
    assert {event.reason for event in failed} == {Reason.DUPLICATE}
    assert all(event.action is Action.IMPORT for event in failed)


async def test_the_same_numbers_from_two_assigners_are_two_numbers(practice: Practice, imports: ImportService) -> None:
    others = [an_identifier("1", system="http://other.example")]
    await take(imports, incoming(a_fhir_patient("ada", mrn="1"), a_fhir_patient("eve", identifier=others)))
    assert await count(practice) == 2


async def test_ids_of_two_systems_do_not_merge_patients(practice: Practice, imports: ImportService) -> None:
    await take(imports, incoming(a_fhir_patient("7", mrn="1")))
    bad = await refused(imports, incoming(a_fhir_patient("7", mrn="2", family="Babbage")))
    assert "name the source with --source" in bad.problem
    assert (await imported(practice, "import|Patient/7")).name.family == "Lovelace"
    await take(imports, incoming(a_fhir_patient("7", mrn="2", family="Babbage"), system="other"))
    assert (await imported(practice, "other|Patient/7")).name.family == "Babbage"


async def test_a_patient_may_get_further_numbers(practice: Practice, imports: ImportService) -> None:
    await take(imports, incoming(a_fhir_patient("7", mrn="1")))
    numbers = [an_identifier("1"), an_identifier("2")]
    await take(imports, incoming(a_fhir_patient("7", identifier=numbers)))
    assert {one.value for one in (await imported(practice, "import|Patient/7")).mrns} == {"1", "2"}
    assert (await take(imports, incoming(a_fhir_patient("7", identifier=[])))).patients == Tally(changed=1)


async def test_the_deleted_stay_deleted(practice: Practice, imports: ImportService) -> None:
    await take(imports, incoming(a_fhir_patient("ada", mrn="1")))
    ada = await imported(practice, "import|Patient/ada")
    await removed(practice.begin, ada.id)
    bad = await refused(imports, incoming(a_fhir_patient("ada", mrn="1")))
    assert bad.problem == "this patient was deleted or merged here, and an import does not bring them back"
    (event,) = [event for event in await practice.events() if event.outcome is Outcome.REFUSED]
    assert (event.action, event.reason, event.patient) == (Action.IMPORT, Reason.DELETED, ada.id)


async def test_an_import_lifts_no_hold_and_wakes_nobody(practice: Practice, imports: ImportService) -> None:
    await take(imports, incoming(a_fhir_patient("ada", mrn="1")))
    ada = await imported(practice, "import|Patient/ada")
    life = a_life_service(practice)
    await life.place_hold(the_operator(), ada.id, "Docket 26-117")
    await life.record_death(the_operator(), ada.id, Death(), version=2)
    await take(imports, incoming(a_fhir_patient("ada", mrn="1", gender="other")))
    after = await imported(practice, "import|Patient/ada")
    assert (after.legal_hold is not None, after.death, after.version) == (True, Death(), 4)
    await take(imports, incoming(a_fhir_patient("ada", mrn="1", deceasedDateTime="2026-03-01")))
    assert (await imported(practice, "import|Patient/ada")).death == Death(day=PartialDate.parse("2026-03-01"))


async def test_nobody_is_imported_who_is_not_born_yet(practice: Practice, imports: ImportService) -> None:
    bad = await refused(imports, incoming(a_fhir_patient("ada", birthDate="2985-12-10")))
    assert bad.problem == "born: must not be in the future"
    assert await count(practice) == 0


async def test_a_broken_record_harms_no_other(practice: Practice, imports: ImportService) -> None:
    await take(imports, incoming(a_fhir_patient("ada"), a_fhir_patient("eve")))
    await practice.broken((await imported(practice, "import|Patient/ada")).id)
    bad = await refused(imports, incoming(a_fhir_patient("ada")))
    assert "does not open" in bad.problem
    await take(imports, incoming(a_fhir_patient("eve")))


# Units of work over memory do not wait for each other.
@pytest.mark.parametrize("storage", ["sqlite", "postgresql"], indirect=True)
async def test_two_imports_at_once_make_one_patient(practice: Practice, imports: ImportService) -> None:
    units = [a_visit_of(a_fhir_patient("ada", mrn="1"), a_fhir_practitioner("anna")) for _ in range(6)]
    outcomes = await asyncio.gather(*(imports.take(the_operator(), unit) for unit in units))
    assert sum(isinstance(outcome, Taken) for outcome in outcomes) == len(units), outcomes
    added = [outcome.patients.added for outcome in outcomes if isinstance(outcome, Taken)]
    assert (sum(added), await count(practice), len(await staff(practice))) == (1, 1, 1)


def a_role(holder: Json, specialty: str = "Psychiatry", **more: Any) -> Json:
    """Return a `PractitionerRole`; `holder` is the reference to who has it."""
    return {
        "resourceType": "PractitionerRole",
        "id": str(new_id()),
        "practitioner": holder,
        "specialty": [{"coding": [{"system": PROVIDER_TAXONOMY, "code": "2084P0800X"}], "text": specialty}],
        **more,
    }


async def specialties(practice: Practice) -> dict[str, str]:
    """Return the specialties of all practitioners by their family names."""
    return {one.name.family: str(one.specialty or "") for one in await staff(practice)}


async def test_a_specialty_comes_with_the_role_of_a_practitioner(practice: Practice, imports: ImportService) -> None:
    anna, carl = (
        a_fhir_practitioner("anna", npi=VALID_NPI, family="Freud"),
        a_fhir_practitioner("carl", family="Young"),
    )
    by_number = {"identifier": {"system": NPI_SYSTEM, "value": VALID_NPI}}
    nobody = a_role({"reference": "Practitioner/nobody"})
    left = a_role({"reference": "Practitioner/carl"}, active=False)
    unit = incoming(anna, carl, a_role(by_number), nobody, left, a_role({"identifier": {"value": "x"}}), a_role({}))
    assert (await take(imports, unit)).practitioners == Tally(added=2)
    assert await specialties(practice) == {"Freud": "Psychiatry", "Young": ""}
    assert (await take(imports, unit)).practitioners == Tally(unchanged=2)
    later = incoming(a_role({"reference": "Practitioner/carl"}, "Nursing"))
    assert (await take(imports, later)).practitioners == Tally()
    assert await specialties(practice) == {"Freud": "Psychiatry", "Young": "Nursing"}
    assert (await take(imports, unit)).practitioners == Tally(unchanged=2)
    other = incoming(a_role({"reference": "Practitioner/carl"}, "Family medicine"))
    assert (await take(imports, other)).practitioners == Tally(changed=1)


async def test_another_source_fills_in_a_specialty_and_overwrites_none(
    practice: Practice, imports: ImportService
) -> None:
    await practice.employed(a_practitioner(npi=VALID_NPI))
    by_number = {"identifier": {"system": NPI_SYSTEM, "value": VALID_NPI}}
    await take(imports, incoming(a_role(by_number, "Psychiatry")))
    await take(imports, incoming(a_role(by_number, "Surgery")))
    assert list((await specialties(practice)).values()) == ["Psychiatry"]


async def test_an_import_takes_nobody_back_and_puts_nobody_on_a_team_who_was_sent_away(
    practice: Practice, imports: ImportService
) -> None:
    unit = a_visit_of(a_fhir_patient("ada"), a_fhir_practitioner("anna"))
    await take(imports, unit)
    (anna,) = await staff(practice)
    async with practice.begin() as work:
        work.note(
            Attempt(actor=the_operator(), action=Action.CHANGE, at=NOW, resource=Resource.PRACTITIONER, ids=(anna.id,))
        )
        await work.practitioners.save(replace(anna, active=False))
    again = a_visit_of(a_fhir_patient("ada"), a_fhir_practitioner("anna"))
    assert (await take(imports, again)).practitioners == Tally(unchanged=1)
    assert not (await staff(practice))[0].active
    await take(imports, a_visit_of(a_fhir_patient("bea"), a_fhir_practitioner("anna")))
    assert (await imported(practice, "import|Patient/ada")).care_team == {anna.id}
    assert (await imported(practice, "import|Patient/bea")).care_team == frozenset()
