"""Whatever an index says, nobody is shown who is not the caller's to see, or does not match as they are opened."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pytest

from clarity.application.patients import PatientService
from clarity.application.ports import Found, FoundAlike, Work
from clarity.domain.access import Action, Actor, Role, Scope
from clarity.domain.dates import PartialDate
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.likeness import SimilarQuery
from clarity.domain.patients import Patient, PatientQuery, PatientStatus
from clarity.domain.people import BirthSex, Gender
from clarity.domain.records import Label
from clarity.search.streaming import StreamingSearch
from tests.builders import TODAY, a_name, a_patient, a_practitioner, an_actor, new_id, the_operator
from tests.practice import Practice

EVERYBODY = 8


@dataclass(frozen=True, slots=True)
class LyingSearch:
    """An index that has found the same patients whatever it is asked, and whoever asks."""

    patients: tuple[PatientId, ...]

    def needs_snapshot(self, query: PatientQuery | SimilarQuery) -> bool:
        """Tell that an answer from memory needs none."""
        del query
        return False

    async def find(
        self, work: Work, scope: Scope, query: PatientQuery, *, after: tuple[str, ...] | None, at_most: int
    ) -> Found:
        """Return all of them."""
        del work, scope, query, after, at_most
        keys = tuple((str(one),) for one in self.patients)
        return Found(patients=self.patients, keys=keys, count=len(keys), exact=True, more=False)

    async def similar(self, work: Work, scope: Scope, query: SimilarQuery, *, at_most: int) -> FoundAlike:
        """Return all of them."""
        del work, scope, query, at_most
        return FoundAlike(patients=self.patients, count=len(self.patients), exact=True)

    def score(self, query: SimilarQuery, patient: Patient) -> float:
        """Return what is true, since it is asked of the opened record."""
        return StreamingSearch(lambda: TODAY).score(query, patient)


@dataclass(frozen=True, slots=True)
class Told:
    """Somebody whom every question here should find, with others whom an index names besides."""

    practice: Practice
    service: PatientService
    right: Patient

    async def is_all_that_is_shown(self, actor: Actor, query: PatientQuery | SimilarQuery) -> bool:
        """Tell whether the right one alone comes out, and whether the event names them alone."""
        shown: Iterable[PatientId]
        if isinstance(query, SimilarQuery):
            shown = [one.patient.id for one in (await self.service.similar(actor, query)).items]
        else:
            shown = [one.id for one in (await self.service.search(actor, query)).items]
        event = (await self.practice.events())[-1]
        assert (event.action, event.ids_count) == (Action.SEARCH, len(event.ids))
        return list(shown) == [self.right.id] == list(event.ids)

    async def are_named(self, shown: list[Patient]) -> None:
        """Check that some were shown and others not, and that the event names those."""
        assert 0 < len(shown) < EVERYBODY
        assert sorted((await self.practice.events())[-1].ids) == sorted(patient.id for patient in shown)


@pytest.fixture
async def freud(practice: Practice) -> PractitionerId:
    return (await practice.employed(a_practitioner())).id


@pytest.fixture
async def told(practice: Practice, patients: PatientService, freud: PractitionerId) -> Told:
    team = frozenset({freud})
    right = replace(
        a_patient(name=a_name("Alcántar", "María"), born="1985-04-12", care_team=team), birth_sex=BirthSex.FEMALE
    )
    wrong = (
        replace(right, id=PatientId(new_id()), names=(a_name("Byron", "George"),)),
        replace(right, id=PatientId(new_id()), born=PartialDate.parse("1950-01-01")),
        replace(right, id=PatientId(new_id()), gender=Gender.MALE),
        replace(right, id=PatientId(new_id()), birth_sex=BirthSex.MALE),
        replace(right, id=PatientId(new_id()), discharged=TODAY),
        replace(right, id=PatientId(new_id()), care_team=frozenset()),
        replace(right, id=PatientId(new_id()), care_team=frozenset(), label=Label.RESTRICTED),
    )
    stored = [await practice.stored(replace(one, identifiers=())) for one in (right, *wrong)]
    ids = (PatientId(new_id()), *(one.id for one in stored), right.id)
    return Told(practice, replace(patients, search_index=LyingSearch(ids)), stored[0])


async def test_who_does_not_match_as_they_are_opened_is_neither_shown_nor_named(
    told: Told, freud: PractitionerId
) -> None:
    query = PatientQuery(
        name="alcan",
        min_age=30,
        born_from=TODAY.replace(year=1985, month=1, day=1),
        gender=Gender.FEMALE,
        birth_sex=BirthSex.FEMALE,
        status=PatientStatus.ACTIVE,
        practitioner=freud,
    )
    assert await told.is_all_that_is_shown(the_operator(), query)


async def test_each_condition_is_asked_again(told: Told) -> None:
    for query in (
        PatientQuery(name="alcan"),
        PatientQuery(min_age=30, max_age=50),
        PatientQuery(born_to=TODAY.replace(year=1980)),
        PatientQuery(gender=Gender.FEMALE),
        PatientQuery(birth_sex=BirthSex.FEMALE),
        PatientQuery(status=PatientStatus.ACTIVE),
    ):
        shown = list((await told.service.search(the_operator(), query)).items)
        assert all(query.is_still_met_by(patient, TODAY) for patient in shown), query.normalised
        await told.are_named(shown)
    heard = SimilarQuery(name="alkanter")
    alike = [one.patient for one in (await told.service.similar(the_operator(), heard)).items]
    assert all(told.service.search_index.score(heard, patient) > 0 for patient in alike)
    await told.are_named(alike)


@pytest.mark.parametrize("query", [PatientQuery(), SimilarQuery(name="alcántar")], ids=["search", "similar"])
async def test_who_is_not_the_callers_to_see_is_neither_shown_nor_named(
    told: Told, query: PatientQuery | SimilarQuery
) -> None:
    herself = an_actor(Role.PATIENT, patient=told.right.id)
    assert await told.is_all_that_is_shown(herself, query)
