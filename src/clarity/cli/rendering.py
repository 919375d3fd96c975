"""Patients as a clinician reads them, and as another program does."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from itertools import zip_longest
from uuid import UUID
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from clarity.application.ports import Revision
from clarity.domain.access import OPERATOR, Purpose, Role
from clarity.domain.dates import PartialDate
from clarity.domain.ids import PractitionerId
from clarity.domain.names import HumanName, Period
from clarity.domain.patients import FIELD_BITS, Patient, PatientStatus
from clarity.domain.people import Address, Category, EmergencyContact, Insurance, Telecom
from clarity.domain.records import Label, Notice

_STYLES = {
    PatientStatus.ACTIVE: "green",
    PatientStatus.DISCHARGED: "yellow",
    PatientStatus.DECEASED: "dim",
    PatientStatus.DELETED: "dim",
}
_FIELD_OF = {
    "Numbers": "identifiers",
    "Reached at": "telecoms",
    "Lives at": "addresses",
    "Died": "death",
    "Race, ethnicity": "race",
    "Mother's maiden name": "mothers_maiden_name",
    "In an emergency": "contacts",
    "Insurance": "insurances",
}
"""The fields that the sheet of a patient calls by a title of its own."""


def as_json(value: object) -> str:
    """Return a domain object as JSON, in the names of its fields; what is blank is left out."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=2)


def patients_table(patients: Sequence[Patient], today: date, scores: Sequence[float] = ()) -> Table:
    """Return one row for each patient, the id beneath the name; `scores` say how much each is like what was asked."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("Patient", min_width=36, overflow="fold")
    table.add_column("Born", min_width=15)
    table.add_column("MRN", overflow="fold")
    table.add_column("Status", no_wrap=True)
    if scores:
        table.add_column("Alike", justify="right", no_wrap=True)
    for patient, score in zip_longest(patients, scores):
        notice = f"\n{notice_line(patient.notice)}" if patient.notice else ""
        table.add_row(
            Text.assemble((_indexed(patient.name), "bold"), "\n", (str(patient.id), "dim"), (notice, "bold red")),
            f"{patient.born} ({patient.age_on(today)})\n{patient.gender}",
            patient.mrns[0].value if patient.mrns else "",
            _status(patient),
            *([] if score is None else [f"{score:.0%}"]),
        )
    return table


def patient_page(patient: Patient, team: Mapping[PractitionerId, str], today: date) -> RenderableType:
    """Return everything the reader may see of one patient; `team` has the names that are known of the care team."""
    facts = _sheet()
    for label, lines in _facts(patient, team, today):
        if lines:
            facts.add_row(label, "\n".join(lines))
    title = Text.assemble((str(patient.name), "bold"), "  ", _status(patient))
    parts: list[RenderableType] = [Text(notice_line(patient.notice), "bold red")] if patient.notice else []
    parts.append(facts)
    if patient.notes:
        parts.append(Panel(Text(patient.notes), title="Notes", title_align="left", box=box.ROUNDED))
    return Panel(Group(*parts), title=title, title_align="left", subtitle=f"version {patient.version}", box=box.ROUNDED)


def side_by_side(records: Sequence[Patient], likeness: Mapping[str, Text], today: date) -> Table:
    """Return one column for each record and one row for each thing known of any; `likeness` says how fields compare."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("", style="dim", no_wrap=True)
    for record in records:
        table.add_column(str(record.name), overflow="fold")
    table.add_column("")
    for rows in zip(*(_facts(record, {}, today) for record in records), strict=True):
        title = rows[0][0]
        if any(lines for _, lines in rows):
            shown = likeness.get(_FIELD_OF.get(title, title.lower().replace(" ", "_")), Text())
            table.add_row(title, *("\n".join(lines) for _, lines in rows), shown)
    return table


def history_table(revisions: Sequence[Revision], zone: ZoneInfo) -> Table:
    """Return one row for each version, the newest first, with the fields it changed."""
    table = Table(box=box.SIMPLE, pad_edge=False, title="History", title_justify="left")
    table.add_column("Version", justify="right")
    table.add_column("Written", no_wrap=True)
    table.add_column("By", no_wrap=True)
    table.add_column("Changed")
    for revision, before in zip(revisions, (*revisions[1:], None), strict=True):
        table.add_row(
            str(revision.version),
            revision.written_at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S"),
            "operator" if revision.written_by == OPERATOR else str(revision.written_by),
            _changed(revision, before),
        )
    notices = dict.fromkeys(notice_line(one.patient.notice) for one in revisions if one.patient.notice)
    if notices:
        table.caption, table.caption_justify = Text("\n".join(notices), "bold red"), "left"
    return table


def notice_line(notice: Notice) -> str:
    """Return what goes with a record under 42 CFR Part 2: the statement, and the scope of the consent."""
    return _joined(notice.text, f"consent {notice.consent}" if notice.consent else "", notice.scope)


def _changed(revision: Revision, before: Revision | None) -> str:
    if before is None:
        return "registered" if revision.version == 1 else ""
    changed = revision.patient.changed_from(before.patient)
    return ", ".join(_words(name) for name, bit in FIELD_BITS.items() if bit in changed)


def _facts(patient: Patient, team: Mapping[PractitionerId, str], today: date) -> Sequence[tuple[str, Sequence[str]]]:
    birth_sex = f"born {patient.birth_sex.name.lower().replace('_', ' ')}" if patient.birth_sex else ""
    status = patient.marital_status
    place = patient.birth_place
    return (
        ("Id", [str(patient.id)]),
        ("Names", [_name(name) for name in patient.names]),
        ("Born", [_joined(f"{patient.born} ({patient.age_on(today)} years)", place and f"in {_address(place)}")]),
        ("Gender", [_joined(str(patient.gender), birth_sex)]),
        ("Died", [_death(patient)] if patient.death else []),
        ("Discharged", [str(patient.discharged)] if patient.discharged else []),
        ("Numbers", [_joined(f"{one.kind.upper()} {one.value}", one.system) for one in patient.identifiers]),
        ("Reached at", [_telecom(telecom) for telecom in patient.telecoms]),
        ("Lives at", [_joined(_address(address), address.use) for address in patient.addresses]),
        ("Languages", [_joined(str(one.language), "preferred" if one.preferred else "") for one in patient.languages]),
        ("Marital status", [str(status)] if status else []),
        ("Race, ethnicity", [category.text for category in _categories(patient)]),
        ("Mother's maiden name", [patient.mothers_maiden_name] if patient.mothers_maiden_name else []),
        ("Multiple birth", [_birth_order(patient)] if patient.multiple_birth is not None else []),
        ("In an emergency", [_contact(contact) for contact in patient.contacts]),
        ("Insurance", [_insurance(insurance) for insurance in patient.insurances]),
        ("Care team", sorted(team.get(member, str(member)) for member in patient.care_team)),
        ("Sources", list(patient.sources)),
    )


def _status(patient: Patient) -> Text:
    text = Text(str(patient.status), _STYLES[patient.status])
    if patient.label is not Label.NORMAL:
        text.append(f" {patient.label}", "bold red")
    return text


def _indexed(name: HumanName) -> str:
    """Return a name as a card index has it, the family name first."""
    given = " ".join((*name.given, *name.suffix))
    return f"{name.family}, {given}" if name.family and given else str(name)


def _name(name: HumanName) -> str:
    return _joined(str(name), name.use, _period(name.period))


def _telecom(telecom: Telecom) -> str:
    return _joined(telecom.value, f"{telecom.use or ''} {telecom.system}".strip(), _period(telecom.period))


def _address(address: Address) -> str:
    city = " ".join(part for part in (address.city, address.state, address.postal_code) if part)
    parts = (*address.lines, city, address.country)
    return ", ".join(part for part in parts if part) or address.text


def _categories(patient: Patient) -> list[Category]:
    return [category for category in (patient.race, patient.ethnicity) if category]


def _death(patient: Patient) -> str:
    death = patient.death
    if death is None or (death.day is None and death.instant is None):
        return "date unknown"
    return str(death.day or death.instant)


def _birth_order(patient: Patient) -> str:
    order = patient.multiple_birth
    if isinstance(order, bool):
        return "yes" if order else "no"
    return f"number {order}"


def _contact(contact: EmergencyContact) -> str:
    relation = ", ".join(str(relationship) for relationship in contact.relationships)
    reached = [telecom.value for telecom in contact.telecoms]
    if contact.address:
        reached.append(_address(contact.address))
    return _joined(str(contact.name or ""), relation, *reached)


def _insurance(insurance: Insurance) -> str:
    subscriber = f"subscriber {insurance.subscriber}" if insurance.subscriber else ""
    group = f"group {insurance.group}" if insurance.group else ""
    member = f"member {insurance.member_id}"
    return _joined(insurance.payer, insurance.plan, member, group, subscriber, _period(insurance.period))


def _period(period: Period | None) -> str:
    if period is None:
        return ""
    return " ".join(f"{word} {day}" for word, day in (("from", period.start), ("to", period.end)) if day)


def _joined(*parts: object) -> str:
    return " · ".join(str(part) for part in parts if part)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _sheet() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _plain(value: object) -> object:
    """Return what JSON can hold. A date of which only the year is known stays the year."""
    if isinstance(value, PartialDate | UUID | Decimal):
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Role):
        return value.title
    if isinstance(value, Purpose):
        return value.name.lower().replace("_", "-")
    if is_dataclass(value):
        held = {item.name: getattr(value, item.name) for item in fields(value)}
        # Bytes are what an import recognises by what it brought, and nobody's to read.
        plain = {name: _plain(part) for name, part in held.items() if not isinstance(part, bytes)}
        # Not what is empty inside: a death of which nothing is known is still a death.
        return {name: part for name, part in plain.items() if part not in ("", None, [])}
    return _plain_items(value)


def _plain_items(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, frozenset):
        return sorted(str(part) for part in value)
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
