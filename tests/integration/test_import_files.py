"""Files as they come: plain, packed, damaged, hostile, many at once. One bad file harms no other."""

import gzip
import json
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from clarity.application.imports import BadInput, Incoming
from clarity.domain.errors import Invalid
from clarity.domain.identifiers import IndexKind, IndexTerm
from clarity.domain.records import Resource
from clarity.fhir import files, folders
from clarity.fhir.files import Form, form_of, list_files
from tests.bundles import (
    NPI_SYSTEM,
    VALID_NPI,
    Json,
    a_bundle,
    a_document,
    a_fhir_patient,
    a_fhir_practitioner,
    a_visit,
    an_encounter,
    an_order,
    inputs_of,
    write_lines,
)


def write(path: Path, resource: Json | bytes, *, indent: int | None = None) -> Path:
    content = resource if isinstance(resource, bytes) else json.dumps(resource, indent=indent).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def units(*paths: Path, strict: bool = False) -> list[Incoming | BadInput]:
    return list(inputs_of(*paths, strict=strict).units())


def patients_in(found: list[Incoming | BadInput]) -> list[str]:
    return [one.patient.sources[0] for unit in found if isinstance(unit, Incoming) for one in unit.patients]


def problems_in(found: list[Incoming | BadInput]) -> list[str]:
    return [
        f"{unit.place.label.position}/{unit.place.entry} {unit.problem}" for unit in found if isinstance(unit, BadInput)
    ]


def test_a_folder_is_read_in_order_and_through_its_folders(tmp_path: Path) -> None:
    wanted = [
        write(tmp_path / "a.json", a_visit()),
        write(tmp_path / "b" / "c.ndjson.gz", a_fhir_patient()),
        write(tmp_path / "b" / "d.json.gz", a_visit()),
        write(tmp_path / "z.ndjson", a_fhir_patient()),
    ]
    for name in ("README.md", ".hidden.json", ".git/a.json", "a.json.bak"):
        write(tmp_path / name, a_visit())
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert list_files([tmp_path]) == wanted
    assert list_files([wanted[3], tmp_path, wanted[0]]) == [wanted[3], *wanted[:3]]


def test_a_file_named_outright_is_read_whatever_its_name(tmp_path: Path) -> None:
    assert len(patients_in(units(write(tmp_path / "bundle.txt", a_visit())))) == 1


@pytest.mark.parametrize("name", ["x.json", "x.json.gz", "x.ndjson", "misnamed"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_bundle_is_told_by_its_content(tmp_path: Path, name: str, indent: int | None) -> None:
    assert form_of(write(tmp_path / name, a_visit(), indent=indent)) is Form.DOCUMENT


@pytest.mark.parametrize("name", ["x.ndjson", "x.ndjson.gz", "x.json", "misnamed"])
def test_lines_are_told_by_their_content(tmp_path: Path, name: str) -> None:
    lines = b"".join(json.dumps(a_fhir_patient()).encode() + b"\n" for _ in range(3))
    assert form_of(write(tmp_path / name, lines)) is Form.LINES
    assert len(patients_in(units(tmp_path / name))) == 3


def test_compression_is_told_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(gzip.compress(json.dumps(a_visit()).encode()))
    (tmp_path / "b.json.gz").write_bytes(json.dumps(a_visit()).encode())
    assert len(patients_in(units(tmp_path))) == 2


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    write(tmp_path / "a.json", mark + json.dumps(a_visit()).encode())
    write(
        tmp_path / "b.ndjson",
        mark + json.dumps(a_fhir_patient()).encode() + b"\n" + json.dumps(a_fhir_patient()).encode(),
    )
    assert len(patients_in(units(tmp_path))) == 3


def test_a_file_is_named_by_place_and_digest(tmp_path: Path) -> None:
    path = write(tmp_path / "Ada_Lovelace.json", b"{")
    (bad,) = units(path)
    assert str(bad) == f"input 1 ({sha256(b'{').hexdigest()[:12]}): breaks off or is not JSON, at character 1"
    assert bad.place.label.path == str(path)


PACKED = gzip.compress(json.dumps(a_visit()).encode(), mtime=0)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (PACKED[:-200], "breaks off: the compressed data has no end"),
        (PACKED[:200] + b"\0\0\0" + PACKED[203:], "is damaged: the compressed data does not unpack"),
        (PACKED[:-8] + b"\0" * 8, "is damaged: the compressed data does not unpack"),
        (PACKED[:2], "breaks off: the compressed data has no end"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b'{"some": "settings"}', "resourceType: is missing"),
    ],
)
def test_a_damaged_file_harms_no_other(tmp_path: Path, content: bytes, problem: str) -> None:
    write(tmp_path / "1.json", a_visit())
    write(tmp_path / "2.json", content)
    write(tmp_path / "3.json", a_visit())
    found = units(tmp_path)
    assert problems_in(found) == [f"2/None {problem}"]
    assert len(patients_in(found)) == 2


def test_what_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    write(tmp_path / "good.json", a_visit())
    (tmp_path / "dangling.json").symlink_to(tmp_path / "nowhere")
    found = units(tmp_path / "absent.json", tmp_path)
    assert problems_in(found) == [
        "1/None cannot be read (No such file or directory)",
        "2/None cannot be read (No such file or directory)",
    ]
    assert "unreadable" in str(found[0])
    assert len(patients_in(found)) == 1


def test_a_bomb_is_left_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "DOCUMENT_LIMIT", 1024**2)
    monkeypatch.setattr(files, "LINE_LIMIT", 1024**2)
    filler = b'{"resourceType": "Binary", "id": "x", "data": "' + b"0" * 50 * 1024**2 + b'"}'
    write(tmp_path / "a.json.gz", filler)
    patient = json.dumps(a_fhir_patient()).encode()
    write(tmp_path / "b.ndjson.gz", patient + b"\n" + filler + b"\n" + patient.replace(b'"id": "', b'"id": "2'))
    found = units(tmp_path)
    assert problems_in(found) == ["1/None is larger than 1 MiB", "2/2 is longer than 64 MiB"]
    assert len(patients_in(found)) == 2


def write_export(folder: Path) -> tuple[Json, Json, Json]:
    """Write a bulk export of two patients whose encounters name one practitioner in two ways."""
    folder.mkdir(exist_ok=True)
    ada, byron, anna = a_fhir_patient("ada"), a_fhir_patient("byron"), a_fhir_practitioner("anna", npi=VALID_NPI)
    write_lines(
        folder / "Encounter.ndjson",
        an_encounter("Patient/ada", f"Practitioner?identifier={NPI_SYSTEM}|{VALID_NPI}"),
        an_encounter("Patient/ada", "Practitioner/anna", "Practitioner/before"),
        an_encounter("Patient/byron", "PractitionerRole/role"),
    )
    write_lines(folder / "Patient.ndjson", ada, byron)
    write_lines(folder / "Practitioner.ndjson", anna)
    role = {"resourceType": "PractitionerRole", "id": "role", "practitioner": {"reference": "Practitioner/anna"}}
    write_lines(folder / "PractitionerRole.ndjson", role)
    return ada, byron, anna


def source(text: str) -> IndexTerm:
    return IndexTerm(IndexKind.SOURCE, text)


def test_the_files_of_a_folder_belong_together(tmp_path: Path) -> None:
    write_export(tmp_path)
    inputs = inputs_of(tmp_path)
    found = [unit for unit in inputs.units() if isinstance(unit, Incoming)]
    assert [len(unit.practitioners) for unit in found if unit.practitioners] == [1]
    teams = {one.patient.sources[0]: set(one.caregivers) for unit in found for one in unit.patients}
    assert teams == {
        "import|Patient/ada": {source("import|Practitioner/anna"), source("import|Practitioner/before")},
        "import|Patient/byron": {source("import|Practitioner/anna")},
    }
    assert {name: count for unit in found for name, count in unit.unplaced.items()} == {
        "Encounter": 3,
        "PractitionerRole": 1,
    }
    first_patient = next(index for index, unit in enumerate(found) if unit.patients)
    assert all(not unit.practitioners for unit in found[first_patient:])
    assert len(found) == inputs.expected == 4 + 1 + 2


def test_files_named_one_by_one_belong_together_too(tmp_path: Path) -> None:
    write_export(tmp_path)
    found = units(*sorted(tmp_path.iterdir()))
    assert len(patients_in(found)) == 2
    assert problems_in(found) == []


def test_folders_do_not_belong_together(tmp_path: Path) -> None:
    write_export(tmp_path / "a")
    write_export(tmp_path / "b")
    assert problems_in(units(tmp_path)) == []


def test_a_bad_line_harms_no_other(tmp_path: Path) -> None:
    good = [a_fhir_patient("a"), a_fhir_patient("b")]
    lines = [
        json.dumps(good[0]),
        "",
        '{"resourceType": "Patient"',
        json.dumps(a_fhir_patient("c", gender="xx")),
        json.dumps(a_fhir_patient("d", birthDate=None)),
        json.dumps(good[0]),
        json.dumps(a_visit()),
        json.dumps({"resourceType": "Lovelace"}),
        json.dumps(good[1]),
        json.dumps(a_fhir_practitioner("e", name=None)),
    ]
    (tmp_path / "Patient.ndjson").write_text("\n".join(lines))
    inputs = inputs_of(tmp_path)
    found = list(inputs.units())
    assert patients_in(found) == ["import|Patient/a", "import|Patient/b"]
    assert sorted(problems_in(found)) == [
        "1/10 Practitioner.name: is missing",
        "1/3 breaks off or is not JSON, at character 27",
        "1/4 Patient.gender: must be one of the codes that FHIR defines for it",
        "1/5 Patient.birthDate: is missing",
        "1/6 Patient.id: was given before in this input",
        "1/7 must not be a bundle; give each a file of its own",
        "1/8 resourceType: is no type of resource in FHIR R4",
    ]
    refused = [(unit.patients, unit.practitioners) for unit in found if isinstance(unit, BadInput)]
    assert (sum(one for one, _ in refused), sum(one for _, one in refused)) == (2, 1)
    assert len(found) == inputs.expected


def test_lines_before_a_break_are_good(tmp_path: Path) -> None:
    noise = [a_fhir_patient(f"p-{number}", family=os.urandom(8).hex()) for number in range(400)]
    packed = gzip.compress("".join(json.dumps(one) + "\n" for one in noise).encode())
    write_export(tmp_path)
    (tmp_path / "Patient.ndjson").unlink()
    (tmp_path / "Patient.ndjson.gz").write_bytes(packed[: len(packed) // 2])
    found = units(tmp_path)
    assert problems_in(found)[0] == "2/None breaks off: the compressed data has no end"
    assert 100 < len(patients_in(found)) < 400
    assert len(problems_in(found)) == 1


def test_ties_to_patients_who_are_not_here_are_left_to_be_found(tmp_path: Path) -> None:
    write_export(tmp_path)
    (tmp_path / "Patient.ndjson").unlink()
    ties = [one for unit in units(tmp_path) if isinstance(unit, Incoming) for one in unit.ties]
    assert sorted(one.source for one in ties) == ["import|Patient/ada", "import|Patient/byron"]


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("Practitioner?identifier=http://licences.example|1", "refers to nobody in this input"),
        ("urn:uuid:gone", "refers to nobody in this input"),
        ("Doctor Freud", "is not a reference an import can follow"),
    ],
)
def test_a_patient_whose_encounter_leads_nowhere_is_refused(tmp_path: Path, reference: str, problem: str) -> None:
    write_lines(tmp_path / "Encounter.ndjson", an_encounter("Patient/ada", reference))
    write_lines(tmp_path / "Patient.ndjson", a_fhir_patient("ada"), a_fhir_patient("byron"))
    found = units(tmp_path)
    assert problems_in(found) == [f"1/1 Encounter.participant.0.individual: {problem}"]
    assert patients_in(found) == ["import|Patient/byron"]


def test_an_encounter_of_nobody_is_reported_once(tmp_path: Path) -> None:
    encounters = [an_encounter("urn:uuid:gone", "Practitioner/anna") for _ in range(3)]
    write_lines(tmp_path / "Encounter.ndjson", *encounters, an_encounter("Group/g", "urn:uuid:gone"))
    assert sorted(problems_in(units(tmp_path))) == [
        "1/1 Encounter.subject: refers to nobody in this input",
        "1/4 Encounter.participant.0.individual: refers to nobody in this input",
    ]


def test_a_file_of_nonsense_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MAX_BAD_LINES", 3)
    (tmp_path / "x.ndjson").write_text("nonsense\n" * 10 + json.dumps(a_fhir_patient()))
    found = units(tmp_path)
    assert problems_in(found)[-1] == "1/None has more than 3 bad lines; the rest was not read"
    assert len(problems_in(found)) == 5
    assert patients_in(found) == []


def test_strictness_reaches_lines_and_documents(tmp_path: Path) -> None:
    wrong = {"resourceType": "Observation", "id": "o"}
    write(tmp_path / "a.json", a_bundle(a_fhir_patient(), wrong))
    write_lines(tmp_path / "b.ndjson", a_fhir_patient(photo=7), a_fhir_patient())
    found = units(tmp_path, strict=True)
    assert problems_in(found) == [
        "1/2 Observation.code: is missing",
        "2/1 Patient.photo: has the wrong type or form",
    ]
    assert len(patients_in(found)) == 1
    assert problems_in(units(tmp_path)) == []


def test_a_document_can_be_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", a_visit())
    (unit,) = units(path)
    assert isinstance(unit, Incoming)
    assert unit.again is not None
    again = unit.again()
    assert isinstance(again, Incoming)
    assert patients_in([again]) == patients_in([unit])
    path.unlink()
    assert isinstance(unit.again(), BadInput)


@pytest.mark.parametrize("system", ["", " ", "a|b", "x" * 101, "a\nb\0"])
def test_the_name_of_a_source_is_checked(system: str) -> None:
    with pytest.raises(Invalid, match="source"):
        inputs_of(system=system)


def test_reading_lazily_holds_one_unit_at_a_time(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.json", a_visit())
    found: Iterator[Incoming | BadInput] = inputs_of(tmp_path).units()
    next(found)
    (tmp_path / "2.json").unlink()
    assert [type(unit) for unit in found] == [Incoming, BadInput]


def write_charts(folder: Path) -> None:
    """Write an export of two patients with three records each, of which one stands in another file than the others."""
    folder.mkdir(exist_ok=True)
    write_lines(folder / "Patient.ndjson", a_fhir_patient("ada"), a_fhir_patient("byron"))
    orders = [an_order(f"Patient/{name}", id=f"{name}{day}") for day in (3, 1) for name in ("ada", "byron")]
    write_lines(folder / "MedicationRequest.ndjson", *orders)
    documents = [a_document(f"https://x.example/fhir/Patient/{name}", id=name) for name in ("ada", "byron")]
    write_lines(folder / "DocumentReference.ndjson", *documents, a_document("Group/g", id="g"))


def charts_in(found: list[Incoming | BadInput]) -> list[tuple[set[str], list[str]]]:
    """Return of each unit with records whose they are, and what they came from."""
    units = [unit.records for unit in found if isinstance(unit, Incoming) and unit.records]
    return [({one.subject for one in some}, [one.source.partition("|")[2] for one in some]) for some in units]


@pytest.mark.parametrize("limit", [1, folders.CHARTS_LIMIT])
def test_a_chart_is_put_together_from_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(folders, "CHARTS_LIMIT", limit)
    write_charts(tmp_path)
    inputs = inputs_of(tmp_path)
    found = list(inputs.units())
    assert problems_in(found) == []
    assert sorted(charts_in(found), key=str) == [
        (
            {f"import|Patient/{name}"},
            [f"DocumentReference/{name}", f"MedicationRequest/{name}3", f"MedicationRequest/{name}1"],
        )
        for name in ("ada", "byron")
    ]
    assert [str(one) for unit in found if isinstance(unit, Incoming) for one in unit.left_out] == [
        "DocumentReference (of no patient)"
    ]
    last_patient = max(number for number, unit in enumerate(found) if isinstance(unit, Incoming) and unit.patients)
    assert all(not unit.records for unit in found[:last_patient] if isinstance(unit, Incoming))
    assert len(found) == inputs.expected


def test_a_bad_line_harms_no_other_record_of_its_chart(tmp_path: Path) -> None:
    write_charts(tmp_path)
    bad = [
        an_order("Patient/ada", id="bad", authoredOn="soon"),
        an_order("Patient/ada", id="ada1"),
        an_order("Patient/ada", id=None),
        an_order("urn:uuid:gone", id="whose"),
    ]
    with (tmp_path / "MedicationRequest.ndjson").open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in bad)
    inputs = inputs_of(tmp_path)
    found = list(inputs.units())
    assert sorted(problems_in(found)) == [
        "2/5 MedicationRequest.authoredOn: must be a date, or a date and time with an offset from UTC",
        "2/6 MedicationRequest.id: was given before in this input",
        "2/7 MedicationRequest.id: is missing",
        "2/8 MedicationRequest.subject: refers to nobody in this input",
    ]
    assert sorted(len(sources) for _, sources in charts_in(found)) == [3, 3]
    refused = [kind for unit in found if isinstance(unit, BadInput) for kind in unit.records]
    assert refused == [Resource.PRESCRIPTION] * len(bad)
    assert len(found) == inputs.expected


def test_a_chart_that_does_not_fit_into_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_charts(tmp_path)
    with (tmp_path / "DocumentReference.ndjson").open("a") as file:
        file.write(json.dumps(a_document("Patient/ada", "a" * 10_000)) + "\n")
    monkeypatch.setattr(folders, "DOCUMENT_LIMIT", 9_000)
    found = units(tmp_path)
    (problem,) = problems_in(found)
    assert "begins a chart of more than" in problem
    assert [subjects for subjects, _ in charts_in(found)] == [{"import|Patient/byron"}]
