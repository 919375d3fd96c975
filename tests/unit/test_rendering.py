"""Patients on a page and as JSON: nothing that is known of them is left out, and nothing breaks the page."""

import io
import json
from zoneinfo import ZoneInfo

from hypothesis import given
from rich.console import Console, RenderableType

from clarity.application.ports import Revision
from clarity.cli.rendering import as_json, history_table, patient_page, patients_table
from clarity.demo.practice import SyntheticPractice
from clarity.domain.access import OPERATOR
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.patients import FIELD_BITS, Patient
from clarity.domain.records import Label
from tests.builders import NOW, TODAY, a_name, a_patient, new_id
from tests.strategies import patients


def printed(page: RenderableType, width: int = 100) -> str:
    """Return what a terminal of some width shows."""
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    console.print(page)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@given(patients)
def test_whatever_a_record_holds_can_be_shown(patient: Patient) -> None:
    printed(patients_table([patient], TODAY))
    printed(patient_page(patient, {}, TODAY))
    shown = json.loads(as_json(patient))
    assert {name for name, bit in FIELD_BITS.items() if bit in patient.filled} <= shown.keys()


def test_a_page_has_every_part_of_a_record() -> None:
    generator, member = SyntheticPractice(1, TODAY), PractitionerId(new_id())
    for number in range(60):
        patient = generator.patient(number, PatientId(new_id()), [member])
        words = "".join(printed(patient_page(patient, {member: "Dr. Anna Freud"}, TODAY), 300).split())
        texts = [
            "Dr. Anna Freud",
            patient.notes.splitlines()[0],
            patient.mothers_maiden_name,
            str(patient.born),
            *(str(name) for name in patient.names),
            *(number.value for number in patient.identifiers),
            *(telecom.value for telecom in patient.telecoms),
            *(line for address in patient.addresses for line in (*address.lines, address.city, address.postal_code)),
            *(str(contact.name) for contact in patient.contacts),
            *(insurance.member_id for insurance in patient.insurances),
            *(category.text for category in (patient.race, patient.ethnicity) if category),
            str(patient.discharged or ""),
            str(patient.death.day) if patient.death else "",
            str(patient.status),
            "restricted" if patient.label is Label.RESTRICTED else "",
        ]
        for text in texts:
            assert "".join(text.split()) in words


def test_a_name_is_never_taken_for_markup() -> None:
    patient = a_patient(name=a_name("[bold]Tables[/bold]", ":smile:"), notes="[link=x]y[/link]")
    assert "[bold]Tables[/bold], :smile:" in printed(patients_table([patient], TODAY))
    assert "[link=x]y[/link]" in printed(patient_page(patient, {}, TODAY))


def test_a_date_keeps_its_precision_in_json() -> None:
    assert json.loads(as_json(a_patient(born="1985")))["born"] == "1985"


def test_a_history_names_what_each_version_changed() -> None:
    first = a_patient(notes="before")
    second = Revision(
        patient=a_patient(patient_id=first.id, notes="after", mrn="7"), version=2, written_at=NOW, written_by=new_id()
    )
    earlier = Revision(patient=first, version=1, written_at=NOW, written_by=OPERATOR)
    rows = printed(history_table([second, earlier], ZoneInfo("America/New_York")), 160).splitlines()
    assert any("2" in row and "identifiers, notes" in row and str(second.written_by) in row for row in rows)
    assert any("1" in row and "registered" in row and "operator" in row and "05:26:53" in row for row in rows)
