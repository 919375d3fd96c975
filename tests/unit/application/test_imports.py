"""An import takes one unit after the other, tells how far it is, and says at the end what it did."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from clarity.application.imports import BadInput, ImportReport, ImportService, Incoming, InputLabel, Place, Tally
from clarity.application.ports import Work
from clarity.domain.access import Role
from clarity.domain.errors import (
    ClarityError,
    Forbidden,
    OutcomeUnknown,
    PoolExhausted,
    StaleWrite,
    StorageFailed,
    Transient,
)
from tests.builders import NOW, an_actor, the_operator
from tests.bundles import LABEL, a_fhir_patient, a_fhir_practitioner, an_encounter, incoming, urn
from tests.fakes.work import MemoryUnitsOfWork

BAD = BadInput(Place(InputLabel(2, "ba987654321f")), "is empty", patients=2, practitioners=1)


@dataclass
class Listed:
    """`Inputs` from a list."""

    listed: Sequence[Incoming | BadInput]
    expected: int = field(init=False)

    def __post_init__(self) -> None:
        self.expected = len(self.listed)

    def units(self) -> Iterator[Incoming | BadInput]:
        return iter(self.listed)


@pytest.fixture
def imports(units: MemoryUnitsOfWork) -> ImportService:
    return ImportService(units.begin, lambda: NOW)


def a_unit(name: str = "ada") -> Incoming:
    ada, anna = a_fhir_patient(name), a_fhir_practitioner(f"doctor-of-{name}")
    return incoming(ada, anna, an_encounter(urn(ada), urn(anna)))


def repeatable(unit: Incoming, again: Callable[[], Incoming | BadInput] | None = None) -> Incoming:
    return replace(unit, again=again or (lambda: unit))


async def test_a_bad_input_harms_no_other_and_everything_is_counted(imports: ImportService) -> None:
    told: list[tuple[int, int]] = []
    report = await imports.run(
        the_operator(),
        Listed([a_unit("a"), BAD, a_unit("b")]),
        on_progress=lambda done, expected: told.append((done, expected)),
    )
    assert report.patients == Tally(added=2, refused=2)
    assert report.practitioners == Tally(added=2, refused=1)
    assert report.bad == [BAD]
    assert report.unplaced == {"Encounter": 2}
    assert report.units == 3
    assert not report.ok
    assert told == [(1, 3), (2, 3), (3, 3)]


async def test_importing_again_changes_nothing_and_says_so(imports: ImportService, units: MemoryUnitsOfWork) -> None:
    first = await imports.run(the_operator(), Listed([a_unit()]))
    before = dict(units.tables.patients)
    second = await imports.run(the_operator(), Listed([a_unit()]))
    assert (first.changed_nothing, second.changed_nothing) == (False, True)
    assert second.patients == second.practitioners == Tally(unchanged=1)
    assert units.tables.patients == before


async def test_a_report_with_something_bad_does_not_claim_that_nothing_changed(imports: ImportService) -> None:
    report = await imports.run(the_operator(), Listed([BAD]))
    assert not report.changed_nothing
    assert ImportReport().changed_nothing


async def test_what_refers_to_somebody_who_comes_later_is_taken_at_the_end(imports: ImportService) -> None:
    ada = a_fhir_patient("ada")
    early = repeatable(incoming(ada, an_encounter(urn(ada), "Practitioner/anna")))
    told: list[int] = []
    report = await imports.run(
        the_operator(),
        Listed([early, incoming(a_fhir_practitioner("anna"))]),
        on_progress=lambda done, _: told.append(done),
    )
    assert report.ok
    assert report.patients == Tally(added=1)
    assert told == [1, 2]


async def test_what_refers_to_somebody_who_never_comes_is_bad_in_the_end(imports: ImportService) -> None:
    ada = a_fhir_patient("ada")
    early = repeatable(incoming(ada, an_encounter(urn(ada), "Practitioner/anna")))
    gone = repeatable(early, lambda: BAD)
    once = replace(early, again=None)
    report = await imports.run(the_operator(), Listed([once, early, gone]))
    problem = "Encounter.participant.0.individual: refers to nobody who is known here"
    assert [bad.problem for bad in report.bad] == [problem, problem, BAD.problem]
    assert report.bad[0].place == Place(LABEL, 2, "Encounter.participant.0.individual")
    assert report.patients == Tally(refused=4)


async def test_only_the_system_imports(imports: ImportService, units: MemoryUnitsOfWork) -> None:
    for role in Role:
        if role is not Role.SYSTEM:
            for unit in (a_unit(), incoming(a_fhir_patient()), incoming(a_fhir_practitioner())):
                with pytest.raises(Forbidden):
                    await imports.run(an_actor(role), Listed([unit]))
    assert units.tables.patients == {}
    await imports.take(the_operator(), a_unit())
    for unit in (a_unit(), incoming(an_encounter("Patient/ada"))):
        with pytest.raises(Forbidden):
            await imports.take(an_actor(Role.FRONT_DESK), unit)


async def test_what_brings_nothing_is_no_unit_of_work(imports: ImportService, units: MemoryUnitsOfWork) -> None:
    nothing = incoming(an_encounter("Group/1"), {"resourceType": "Basic", "id": "b"})
    report = await imports.run(the_operator(), Listed([nothing]))
    assert report.unplaced == {"Basic": 1, "Encounter": 1}
    assert units.trail.events == []


@dataclass
class Troubled:
    """Units of work of which the first end with `troubles`."""

    units: MemoryUnitsOfWork
    troubles: list[ClarityError]

    def begin(self) -> AbstractAsyncContextManager[Work]:
        return self._begin()

    @asynccontextmanager
    async def _begin(self) -> AsyncIterator[Work]:
        async with self.units.begin() as work:
            yield work
            if self.troubles:
                raise self.troubles.pop(0)


async def taken(units: MemoryUnitsOfWork, *troubles: ClarityError) -> ImportReport:
    service = ImportService(Troubled(units, list(troubles)).begin, lambda: NOW)
    return await service.run(the_operator(), Listed([a_unit("a"), a_unit("b")]))


@pytest.mark.parametrize("trouble", [Transient(), StaleWrite()])
async def test_a_lost_race_is_run_again(units: MemoryUnitsOfWork, trouble: ClarityError) -> None:
    report = await taken(units, trouble, trouble)
    assert report.ok
    assert report.patients == Tally(added=2)


async def test_a_race_that_is_always_lost_is_given_up(units: MemoryUnitsOfWork) -> None:
    report = await taken(units, *(StaleWrite() for _ in range(5)))
    assert [bad.problem for bad in report.bad] == ["others kept changing the same records; import it again"]
    assert report.patients == Tally(added=1, refused=1)


async def test_a_unit_that_the_database_refuses_harms_no_other(units: MemoryUnitsOfWork) -> None:
    report = await taken(units, StorageFailed("22P05"))
    assert [bad.problem for bad in report.bad] == ["The database refused a statement (22P05)."]
    assert report.patients == Tally(added=1, refused=1)


@pytest.mark.parametrize("trouble", [PoolExhausted(), OutcomeUnknown()])
async def test_an_import_ends_when_the_database_is_gone(units: MemoryUnitsOfWork, trouble: ClarityError) -> None:
    with pytest.raises(type(trouble)):
        await taken(units, trouble)
