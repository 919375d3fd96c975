"""The published test data, imported into every kind of storage and compared with a plain scan of the files."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from clarity.application.imports import ImportReport, ImportService, Tally
from clarity.domain.access import Action
from clarity.domain.audit import Attempt
from clarity.domain.identifiers import npi_is_valid
from clarity.domain.patients import Patient
from clarity.domain.practitioners import Practitioner
from clarity.domain.records import Resource
from tests.builders import NOW, the_operator
from tests.bundles import NPI_SYSTEM, Json, inputs_of
from tests.data import real_files, resources_in
from tests.practice import Practice

FOLDERS = ["synthea-r4", "bulk-r4-10-patients"]


@dataclass
class Scan:
    """What the files say, read without any of our code: resources by type and id, and teams of NPIs by patient."""

    resources: dict[str, dict[str, Json]] = field(default_factory=lambda: defaultdict(dict))
    types: Counter[str] = field(default_factory=Counter)
    teams: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @property
    def npis(self) -> dict[str, str]:
        """The NPI of each practitioner, by id."""
        return {
            name: next(one["value"] for one in resource["identifier"] if one["system"] == NPI_SYSTEM)
            for name, resource in self.resources["Practitioner"].items()
        }


def scan(folder: Path) -> Scan:
    found = Scan()
    for resource in resources_in(folder):
        found.types[resource["resourceType"]] += 1
        found.resources[resource["resourceType"]][resource["id"]] = resource
    npis = found.npis
    for encounter in found.resources["Encounter"].values():
        for participant in encounter.get("participant", ()):
            practitioner = participant["individual"]["reference"].rpartition(":")[2]
            npi = npis.get(practitioner) or practitioner.rpartition("|")[2]
            found.teams[encounter["subject"]["reference"].replace("/", ":").rpartition(":")[2]].add(npi)
    return found


async def run(imports: ImportService, folder: Path) -> ImportReport:
    return await imports.run(the_operator(), inputs_of(folder))


async def everybody(practice: Practice, sources: list[str]) -> list[Patient]:
    async with practice.reading() as work:
        work.note(Attempt(actor=the_operator(), action=Action.LIST, at=NOW, resource=Resource.PRACTITIONER))
        found = [await work.patients.find_by_source(source) for source in sources]
    return [await practice.opened(patient) for patient in found if patient is not None]


async def staff(practice: Practice) -> list[Practitioner]:
    async with practice.reading() as work:
        return await work.practitioners.find_page(after=None, at_most=10_000)


@pytest.mark.parametrize("folder", FOLDERS)
async def test_everything_in_the_files_is_in_the_practice(practice: Practice, folder: str) -> None:
    path = real_files(folder)
    said = scan(path)
    report = await run(ImportService(practice.begin, lambda: NOW), path)

    assert report.bad == []
    assert report.patients == Tally(added=len(said.resources["Patient"]))
    assert report.practitioners.added == len(said.resources["Practitioner"])
    assert report.practitioners.added + report.practitioners.unchanged == said.types["Practitioner"]
    assert report.unplaced == {
        name: number for name, number in said.types.items() if name not in {"Patient", "Practitioner"}
    }
    assert len(report.invalid_npis) == sum(not npi_is_valid(npi) for npi in said.npis.values())

    doctors = {one.id: one for one in await staff(practice)}
    assert sorted(one.npi for one in doctors.values()) == sorted(said.npis.values())
    trained = {
        role["practitioner"]["identifier"]["value"]: role["specialty"][0]["text"]
        for role in said.resources["PractitionerRole"].values()
    }
    assert {one.npi: str(one.specialty or "") for one in doctors.values()} == {
        npi: trained.get(npi, "") for npi in said.npis.values()
    }
    patients = await everybody(practice, [f"import|Patient/{name}" for name in said.resources["Patient"]])
    assert len(patients) == len(said.resources["Patient"])
    for patient in patients:
        name = patient.sources[0].rpartition("/")[2]
        source: Any = said.resources["Patient"][name]
        assert {doctors[one].npi for one in patient.care_team} == said.teams[name]
        assert [(one.family, list(one.given)) for one in patient.names] == [
            (one["family"], one["given"]) for one in source["name"]
        ]
        assert [one.value for one in patient.identifiers] == [one["value"] for one in source["identifier"]]
        assert str(patient.born) == source["birthDate"]


@pytest.mark.parametrize("folder", FOLDERS)
async def test_importing_the_files_again_changes_nothing(practice: Practice, folder: str) -> None:
    path = real_files(folder)
    imports = ImportService(practice.begin, lambda: NOW)
    first = await run(imports, path)
    second = await run(imports, path)
    assert second.changed_nothing
    assert second.patients == Tally(unchanged=first.patients.added)
    assert second.invalid_npis == first.invalid_npis
    assert second.unplaced == first.unplaced
