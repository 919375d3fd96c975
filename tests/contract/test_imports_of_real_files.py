"""The published test data, imported into every kind of storage and compared with a plain scan of the files."""

import gzip
from base64 import b64decode
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from clarity.application.admission import admit_each
from clarity.application.imports import ImportReport, ImportService, Tally
from clarity.application.ports import Chart, ChartRepository
from clarity.domain.access import Action, scope_of
from clarity.domain.audit import Attempt
from clarity.domain.identifiers import npi_is_valid
from clarity.domain.medications import PrescriptionFilter
from clarity.domain.notes import NoteFilter
from clarity.domain.patients import Patient
from clarity.domain.practitioners import Practitioner
from clarity.domain.records import Resource, Sealed
from tests.builders import NOW, the_operator
from tests.bundles import NPI_SYSTEM, Json, inputs_of
from tests.data import real_files, resources_in
from tests.practice import Practice

MOST = 500
FOLDERS = ["synthea-r4", "bulk-r4-10-patients"]
SOME = 16
CHARTED = {"MedicationRequest": Resource.PRESCRIPTION, "DocumentReference": Resource.NOTE}


class Told(NamedTuple):
    """What a record in a chart tells: its kind, the resource it came from, when it is from, and its text."""

    kind: Resource
    source: str
    at: datetime
    text: str


@dataclass
class Scan:
    """What the files say, read without any of our code: resources by type and id, and teams of NPIs by patient."""

    resources: dict[str, dict[str, Json]] = field(default_factory=lambda: defaultdict(dict))
    types: Counter[str] = field(default_factory=Counter)
    teams: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    charts: dict[str, list[Told]] = field(default_factory=lambda: defaultdict(list))

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
    for resource in (*found.resources["MedicationRequest"].values(), *found.resources["DocumentReference"].values()):
        patient = resource["subject"]["reference"].replace("/", ":").rpartition(":")[2]
        found.charts[patient].append(told(resource))
    return found


def told(resource: Json) -> Told:
    kind = CHARTED[resource["resourceType"]]
    if kind is Resource.NOTE:
        at = resource["context"]["period"]["start"]
        text = b64decode(resource["content"][0]["attachment"]["data"]).decode()
    else:
        at, text = resource["authoredOn"], resource["medicationCodeableConcept"]["text"]
    source = f"import|{resource['resourceType']}/{resource['id']}"
    return Told(kind, source, datetime.fromisoformat(at), text)


async def in_chart(practice: Practice, patient: Patient) -> list[tuple[Resource, str, str]]:
    """Return the records in a chart, in the order in which they were recorded: kind, source and text of each."""
    actor = the_operator()
    async with practice.reading(snapshot=True) as work:
        chart = Chart(whose=await work.patients.get(patient.id), patients=(patient.id,))

        async def opened(records: ChartRepository[Any, Any], conditions: object) -> list[Any]:
            kind = records.resource
            attempt = work.note(
                Attempt(actor=actor, action=Action.LIST, at=NOW, patient=patient.id, resource=kind),
            )
            scope = scope_of(actor, Action.LIST, kind, at=NOW)
            closed: list[Sealed] = []
            after: UUID | None = None
            while True:
                page = await records.find_page(scope, chart, conditions, after=after, at_most=MOST)
                closed += page.records
                after = page.resume
                if after is None:
                    return [records.open(one) for one in admit_each(attempt, closed)][::-1]

        notes = await opened(work.notes, NoteFilter())
        prescriptions = await opened(work.prescriptions, PrescriptionFilter())
    return [
        *((Resource.NOTE, one.sources[0], one.body) for one in notes),
        *((Resource.PRESCRIPTION, one.sources[0], one.name) for one in prescriptions),
    ]


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


@pytest.fixture(params=[*FOLDERS, *(pytest.param(f"all of {one}", marks=pytest.mark.soak) for one in FOLDERS)])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a folder of files: some of the bundles, or an export with some of its records in charts."""
    name: str = request.param
    if name.startswith("all of "):
        return real_files(name.removeprefix("all of "))
    folder = real_files(name)
    some = tmp_path / "files"
    some.mkdir()
    for file in sorted(folder.iterdir())[:SOME]:
        (some / file.name).symlink_to(file)
    for kind in CHARTED:
        if (lines := some / f"{kind}.000.ndjson.gz").exists():
            kept = gzip.decompress(lines.read_bytes()).splitlines(keepends=True)[::7]
            lines.unlink()
            (some / f"{kind}.000.ndjson").write_bytes(b"".join(kept))
    return some


async def test_everything_in_the_files_is_in_the_practice(practice: Practice, path: Path) -> None:
    said = scan(path)
    report = await run(ImportService(practice.begin, lambda: NOW), path)

    assert report.bad == []
    assert report.patients == Tally(added=len(said.resources["Patient"]))
    assert report.practitioners.added == len(said.resources["Practitioner"])
    assert report.practitioners.added + report.practitioners.unchanged == said.types["Practitioner"]
    assert report.unplaced == {
        name: number for name, number in said.types.items() if name not in {"Patient", "Practitioner", *CHARTED}
    }
    assert report.left_out == Counter()
    for name, kind in CHARTED.items():
        assert report.records[kind] == Tally(added=said.types[name])
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
        found = await in_chart(practice, patient)
        assert sorted(found) == sorted((one.kind, one.source, one.text) for one in said.charts[name])
        assert len(found) == len(said.charts[name])
        moments = {one.source: one.at for one in said.charts[name]}
        for kind in CHARTED.values():
            times = [moments[source] for what, source, _ in found if what is kind]
            assert times == sorted(times)


async def test_importing_the_files_again_changes_nothing(practice: Practice, path: Path) -> None:
    imports = ImportService(practice.begin, lambda: NOW)
    first = await run(imports, path)
    second = await run(imports, path)
    assert second.changed_nothing
    assert second.patients == Tally(unchanged=first.patients.added)
    assert second.invalid_npis == first.invalid_npis
    assert second.unplaced == first.unplaced
    assert second.records == {kind: Tally(unchanged=tally.added) for kind, tally in first.records.items()}
