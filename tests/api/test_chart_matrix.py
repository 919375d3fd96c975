"""The policy from outside for what is in charts: every role, relation and label, for notes, prescriptions and the rest.

What is expected stands in tests/policy.txt, and nowhere in the code.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient, Response

from clarity.application.charts import Charting
from clarity.application.pages import MAX_PAGE
from clarity.domain.access import Action, Relation, Role
from clarity.domain.accounts import Account
from clarity.domain.ids import NoteId, PatientId, PractitionerId
from clarity.domain.notes import Note, NoteKind
from clarity.domain.records import Label, Resource
from clarity.persistence.engine import Database
from clarity.security.keyring import Keyring
from tests.api.clinic import Clinic, opened_clinic, told
from tests.api.house import ROLES
from tests.builders import (
    NOW,
    a_consent,
    a_patient,
    a_practitioner,
    a_prescription,
    an_actor,
    an_appointment,
    an_interaction,
    new_id,
)
from tests.canaries import plant
from tests.fakes.accounts import PASSWORD
from tests.policy_table import decided_cells
from tests.practice import sql_practice
from tests.ties import broke_glass, consented, withdrew

BODY = "Dreams of a lighthouse that is never lit."
PATHS = {
    Resource.NOTE: "notes",
    Resource.PRESCRIPTION: "prescriptions",
    Resource.APPOINTMENT: "appointments",
    Resource.INTERACTION: "interactions",
}
KEPT = {Resource.NOTE, Resource.PRESCRIPTION, Resource.APPOINTMENT}
"""What has earlier versions."""
SEARCHED = {Resource.NOTE: "lighthouse", Resource.PRESCRIPTION: "sertraline"}
"""What is searched, and a word that all of it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """A record in a chart, as the test knows it. Dora is whom the appointments are with, Eve wrote the notes."""

    id: UUID
    resource: Resource
    label: Label = Label.NORMAL
    draft: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Charted:
    """A patient, whether their team is there, who broke the glass, what they consent to, and what is in their chart."""

    id: PatientId
    label: Label
    tied: bool
    broken: bool
    consents: frozenset[Label] = frozenset()
    records: list[Filed] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody with an account."""

    name: str
    account: Account
    http: AsyncClient

    @property
    def inside(self) -> bool:
        """Whether there is a row of the policy by which they may look into charts."""
        return self.account.role in {Role.CLINICIAN, Role.NURSE, Role.FRONT_DESK, Role.PATIENT}

    def relations(self, patient: Charted, record: Filed | None = None) -> frozenset[Relation]:
        """Return how they stand to a record, or to a chart as a whole."""
        held = {Relation.ANYBODY}
        if self.name in {"anna", "nina"} and patient.tied:
            held.add(Relation.CARE_TEAM)
        if self.name == "carl" and patient.broken:
            held.add(Relation.EMERGENCY)
        if self.account.patient == patient.id:
            held.add(Relation.SELF)
        if record is not None and self.name == "eve":
            held.add(Relation.AUTHOR)
        if record is not None and self.name == "dora" and record.resource is Resource.APPOINTMENT:
            held.add(Relation.PARTICIPANT)
        return frozenset(held)

    def may(self, action: Action, resource: Resource, patient: Charted, record: Filed | None = None) -> bool:
        """Tell whether it was decided that they may do `action` to a record, or to a chart as a whole."""
        labels = {patient.label} if record is None else {patient.label, record.label}
        relations = self.relations(patient, record)
        if record is not None and record.draft:
            relations &= {Relation.AUTHOR}
        return all(self._covered(action, resource, relations, label, patient.consents) for label in labels)

    def needs_notice(self, patient: Charted, record: Filed) -> bool:
        """Tell whether 42 CFR 2.32 wants a notice to go with a record that they are shown."""
        return Label.PART2 in {patient.label, record.label} and Relation.SELF not in self.relations(patient)

    def _covered(
        self,
        action: Action,
        resource: Resource,
        relations: frozenset[Relation],
        label: Label,
        consents: frozenset[Label],
    ) -> bool:
        cells = (decided_cells().get((self.account.role, resource, action, one, label)) for one in relations)
        return any(not cell.needs_consent or label in consents for cell in cells if cell is not None)


@dataclass(frozen=True, slots=True)
class Ward:
    """A practice with a few charts of which each has every label, and somebody in each role and relation."""

    clinic: Clinic
    callers: list[Caller]
    patients: list[Charted]


@pytest.fixture
async def ward(database: Database, keyring: Keyring) -> AsyncIterator[Ward]:
    async with sql_practice(database, keyring) as practice, opened_clinic(practice, keyring) as clinic:
        yield await furnished(clinic)


async def furnished(clinic: Clinic) -> Ward:
    practice = clinic.practice
    staff = {name: (await practice.employed(a_practitioner())).id for name in ("anna", "nina", "carl", "dora", "eve")}
    plans = (
        # Two consents in force, none any more, and one who is not tied to anybody here.
        (Label.NORMAL, True, frozenset[Label]()),
        (Label.PART2, True, frozenset({Label.PART2, Label.PSYCHOTHERAPY})),
        (Label.PART2, True, frozenset[Label]()),
        (Label.RESTRICTED, False, frozenset[Label]()),
    )
    patients = [
        Charted(id=PatientId(new_id()), label=label, tied=tied, broken=not (tied and consents), consents=consents)
        for label, tied, consents in plans
    ]
    for patient in patients:
        await practice.stored(
            replace(a_patient(care_team=frozenset({staff["eve"]}), label=patient.label), id=patient.id)
        )
        await consented(practice, patient.id, *(a_consent(labels=(one,)) for one in (Label.PART2, Label.PSYCHOTHERAPY)))
    callers = await _employed(clinic, staff, patients)
    eve, carl = (next(one.account for one in callers if one.name == name) for name in ("eve", "carl"))
    for number, patient in enumerate(patients):
        await _filed(clinic, eve, patient, staff["dora"], number)
        team = frozenset({staff["anna"], staff["nina"]}) if patient.tied else frozenset[PractitionerId]()
        await practice.changed(patient.id, care_team=team)
        if not patient.consents:
            await withdrew(practice, patient.id)
        if patient.broken and practice.database is not None:
            await broke_glass(practice.database, carl.id, patient.id)
    return Ward(clinic, callers, patients)


async def _employed(clinic: Clinic, staff: dict[str, PractitionerId], patients: list[Charted]) -> list[Caller]:
    wanted = [(name, Role.NURSE if name == "nina" else Role.CLINICIAN) for name in staff]
    wanted += [(f"patient {number}", Role.PATIENT) for number in (0, 2)]
    wanted += [(role.title, role) for role in ROLES if role not in {Role.CLINICIAN, Role.NURSE, Role.PATIENT}]
    callers = []
    for name, role in wanted:
        own = patients[int(name[-1])].id if role is Role.PATIENT else None
        account = await clinic.door.employed(role, practitioner=staff.get(name), patient=own)
        opened = await clinic.caller().post("/sessions", json={"email": account.email, "password": PASSWORD})
        http = clinic.caller(opened.json()["access_token"])
        callers.append(Caller(name=name, account=account, http=http))
    return callers


async def _filed(clinic: Clinic, eve: Account, patient: Charted, dora: PractitionerId, number: int) -> None:
    """Let Eve file something of each kind and label, while she cares for the patient."""
    plant(BODY)
    actor = replace(an_actor(practitioner=eve.practitioner), id=eve.id)
    of: Any = patient.id
    async with clinic.practice.begin() as work:
        for hour, label in enumerate((Label.PART2, Label.PSYCHOTHERAPY, Label.NORMAL, Label.RESTRICTED)):
            kind = NoteKind.PSYCHOTHERAPY if label is Label.PSYCHOTHERAPY else NoteKind.PROGRESS
            note = Note(id=NoteId(new_id()), patient=of, kind=kind, body=BODY, label=label, signed_at=NOW)
            made: list[tuple[Any, Any]] = [(work.notes, note)]
            if label is Label.NORMAL:
                made.append((work.notes, replace(note, id=NoteId(new_id()), signed_at=None)))
            if label in {Label.NORMAL, Label.PART2}:
                starts_at = NOW + timedelta(days=1 + number, hours=hour)
                made += [
                    (work.prescriptions, a_prescription(of, label=label)),
                    (work.interactions, an_interaction(of, label=label)),
                    (work.appointments, an_appointment(of, dora, starts_at, label=label)),
                ]
            for records, entity in made:
                charting: Charting[Any, Any] = Charting(work, records, actor, NOW)
                await records.add(await charting.admit_new(entity), entity)
                draft = entity.status == "draft"
                patient.records.append(Filed(id=entity.id, resource=records.resource, label=label, draft=draft))


def shown(answer: Response) -> dict[str, bool]:
    """Return the ids in a list, and whether each goes with a notice; its total has to be that of what it has."""
    page = answer.json()
    found = {item["id"]: item["notice"] is not None for item in page["items"]}
    assert page["next_cursor"] is None
    assert page["total"]["count"] == len(page["items"]) == len(found)
    return found


def questions(ward: Ward) -> Iterator[tuple[Caller, Charted, Filed, Action]]:
    """Yield who asks about which record: of earlier versions, about psychotherapy notes and one of each kind."""
    for caller, patient in product(ward.callers, ward.patients):
        of_each_kind = {record.resource: record for record in reversed(patient.records)}.values()
        # Whoever has no row of the policy for charts is asked about one chart.
        if not caller.inside and patient is not ward.patients[0]:
            continue
        for record in patient.records if caller.inside else of_each_kind:
            yield caller, patient, record, Action.VIEW
            if record.label is Label.PSYCHOTHERAPY or (record in of_each_kind and record.resource in KEPT):
                yield caller, patient, record, Action.VIEW_HISTORY


async def test_every_role_is_shown_of_charts_what_was_decided_and_no_more(ward: Ward) -> None:
    asked, seen, refusals = 0, Counter[Resource](), list[tuple[int, dict[str, str], bytes]]()
    before = len(await ward.clinic.practice.events())
    for caller, patient, record, action in questions(ward):
        path = f"/patients/{patient.id}/{PATHS[record.resource]}"
        rest = "/history" if action is Action.VIEW_HISTORY else ""
        answer = await caller.http.get(f"{path}/{record.id}{rest}")
        asked += 1
        case = (caller.name, action, record.resource, patient.label, record.label, record.draft)
        if caller.may(action, record.resource, patient, record):
            assert answer.status_code == 200, case
            if action is Action.VIEW:
                assert (answer.json()["notice"] is not None) == caller.needs_notice(patient, record), case
            seen[record.resource] += 1
            continue
        assert answer.status_code == 404, case
        if told(answer) not in refusals:
            refusals.append(told(answer))
            asked += 1
            assert told(answer) == told(await caller.http.get(f"{path}/{new_id()}{rest}")), case
    events = (await ward.clinic.practice.events())[before:]
    assert len(events) == asked
    assert set(Counter(event.request for event in events).values()) == {1}
    # Whatever was refused, to whomever and why: byte for byte the same was said, and the same as of what is absent.
    assert len(refusals) == 1
    assert min(seen[resource] for resource in PATHS) > 10


async def found(caller: Caller, action: Action, resource: Resource, patient: UUID) -> Response:
    """List all of a kind in a chart, or search for a word that all of it has."""
    if action is Action.LIST:
        return await caller.http.get(f"/patients/{patient}/{PATHS[resource]}", params={"limit": MAX_PAGE})
    body = {"query": SEARCHED[resource], "kinds": [PATHS[resource].removesuffix("s")], "limit": MAX_PAGE}
    return await caller.http.post(f"/patients/{patient}/chart/search", json=body)


async def test_lists_searches_and_totals_of_charts_have_what_the_caller_may_see_and_nothing_else(ward: Ward) -> None:
    before, asked, refusals = len(await ward.clinic.practice.events()), 0, list[tuple[int, dict[str, str], bytes]]()
    lists = [(Action.LIST, resource) for resource in PATHS] + [(Action.SEARCH, resource) for resource in SEARCHED]
    for caller, (action, resource), patient in product(ward.callers, lists, ward.patients):
        if not caller.inside and patient is not ward.patients[0]:
            continue
        answer = await found(caller, action, resource, patient.id)
        asked += 1
        case = (caller.name, action, resource, patient.label, patient.tied, patient.consents)
        if caller.may(action, resource, patient):
            covered = {
                str(record.id): caller.needs_notice(patient, record)
                for record in patient.records
                if record.resource is resource and caller.may(action, resource, patient, record)
            }
            assert shown(answer) == covered, case
            continue
        assert answer.status_code == 404, case
        if told(answer) not in refusals:
            refusals.append(told(answer))
            asked += 1
            assert told(answer) == told(await found(caller, action, resource, new_id())), case
    assert len(refusals) == 1
    events = (await ward.clinic.practice.events())[before:]
    assert len(events) == asked
    assert set(Counter(event.request for event in events).values()) == {1}


async def test_pages_of_charts_do_not_tell_how_much_is_left_out_of_them(ward: Ward) -> None:
    anna, patients = ward.callers[0], ward.patients[:3]
    for resource, patient in product(PATHS, patients):
        if not anna.may(Action.LIST, resource, patient):
            continue
        of_kind = [one for one in patient.records if one.resource is resource]
        covered = [one for one in of_kind if anna.may(Action.LIST, resource, patient, one)]
        query: dict[str, Any] = {"limit": 1, "cursor": ""}
        pages = list[int]()
        while query["cursor"] is not None:
            page = (await anna.http.get(f"/patients/{patient.id}/{PATHS[resource]}", params=query)).json()
            pages.append(len(page["items"]))
            query["cursor"] = page["next_cursor"]
        assert pages == [1] * len(covered), (resource, patient.label)
