"""The policy from outside: every role, action with a route, relation and label, through HTTP, on SQLite and PostgreSQL.

What is expected stands in tests/policy.txt, and nowhere in the code.
"""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from operator import or_
from typing import Any
from uuid import UUID

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import update

from clarity.api.patients.shapes import PatientOut, RegistrationIn
from clarity.application.pages import MAX_PAGE
from clarity.domain.access import Action, Cell, Relation, Role
from clarity.domain.accounts import Account
from clarity.domain.identifiers import Identifier
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.patients import FIELD_BITS, LegalHold, PatientField
from clarity.domain.people import Gender
from clarity.domain.records import Label, Resource
from clarity.persistence.engine import Database
from clarity.persistence.patients.tables import PatientRow
from clarity.security.keyring import Keyring
from tests.api.clinic import WHOLE, Clinic, opened_clinic, seen
from tests.builders import NOW, TODAY, a_consent, a_practitioner, new_id
from tests.fakes.accounts import PASSWORD
from tests.policy_table import decided_cells
from tests.practice import Practice, sql_practice
from tests.ties import broke_glass, consented

ROLES = tuple(role for role in Role if role not in {Role.SYSTEM, Role.NOBODY})
SSN = "999-12-3456"
STALE = 7
"""A version at which no record here is."""

LABELS = ((Label.NORMAL, False), (Label.RESTRICTED, False), (Label.PART2, False), (Label.PART2, True))


@dataclass(slots=True, kw_only=True)
class Known:
    """A patient as the test knows them: how each account stands to them, and their label."""

    id: PatientId
    label: Label
    consent: bool
    tied: bool
    author: UUID | None = None
    broke: UUID | None = None

    def held_by(self, account: Account) -> frozenset[Relation]:
        """Return how an account stands to this patient."""
        held = {Relation.ANYBODY}
        if self.tied and account.practitioner is not None:
            held.add(Relation.CARE_TEAM)
        if account.patient == self.id:
            held.add(Relation.SELF)
        if account.id == self.author:
            held.add(Relation.AUTHOR)
        if account.id == self.broke:
            held.add(Relation.EMERGENCY)
        return frozenset(held)

    def expected(self, account: Account, action: Action) -> PatientField | None:
        """Return the fields that `action` covers for an account, or `None` if it is refused."""
        cells = [
            cell
            for relation in self.held_by(account)
            if (cell := decided_cells().get((account.role, Resource.PATIENT, action, relation, self.label)))
        ]
        free = [cell for cell in cells if not cell.needs_consent]
        # The consents here are to treatment, which is what clinicians and nurses are about.
        if free or (cells and self.consent):
            return _covered(free or cells)
        return None


def _covered(cells: Sequence[Cell]) -> PatientField:
    return reduce(or_, (cell.fields for cell in cells), PatientField(0))


@dataclass(slots=True)
class Caller:
    """Somebody with an account, and the patients to whom they stand in each relation."""

    account: Account
    http: AsyncClient
    patients: list[Known]


@dataclass(slots=True)
class House:
    """A practice with somebody in each role, and patients with every label in every relation to each of them."""

    clinic: Clinic
    team: frozenset[PractitionerId]
    stranger: PractitionerId
    known: list[Known]
    callers: list[Caller]

    def caller(self, role: Role) -> Caller:
        """Return the first with a role."""
        return next(caller for caller in self.callers if caller.account.role is role)


@pytest.fixture
async def practice(database: Database, keyring: Keyring) -> AsyncIterator[Practice]:
    async with sql_practice(database, keyring) as practice:
        yield practice


@pytest.fixture
async def house(practice: Practice, keyring: Keyring) -> AsyncIterator[House]:
    async with opened_clinic(practice, keyring) as clinic:
        yield await _furnished(clinic)


async def _furnished(clinic: Clinic) -> House:
    stranger, *practitioners = [(await clinic.practice.employed(a_practitioner())).id for _ in range(3)]
    house = House(clinic, frozenset(practitioners), stranger, [], [])
    everybodys = [
        await _patient(house, label, consent=consent, tied=tied)
        for tied, (label, consent) in product((False, True), LABELS)
    ]
    for role in ROLES:
        practitioner = practitioners.pop() if role in {Role.CLINICIAN, Role.NURSE} else None
        if role is Role.PATIENT:
            for label, consent in LABELS:
                own = await _patient(house, label, consent=consent)
                await _employ(house, role, own, everybodys)
            continue
        caller = await _employ(house, role, None, everybodys, practitioner)
        for label, consent in LABELS:
            account = caller.account.id
            caller.patients += [
                await _patient(house, label, consent=consent, author=account),
                await _patient(house, label, consent=consent, broke=account),
                await _patient(house, label, consent=consent, broke=account, tied=True),
            ]
    return house


async def _employ(
    house: House,
    role: Role,
    own: Known | None,
    everybodys: Sequence[Known],
    practitioner: PractitionerId | None = None,
) -> Caller:
    account = await house.clinic.door.employed(role, practitioner=practitioner, patient=own.id if own else None)
    opened = await house.clinic.caller().post("/sessions", json={"email": account.email, "password": PASSWORD})
    http = house.clinic.caller(opened.json()["access_token"])
    caller = Caller(account, http, [*everybodys, *([own] if own else [])])
    house.callers.append(caller)
    return caller


async def _patient(
    house: House,
    label: Label,
    *,
    consent: bool,
    tied: bool = False,
    author: UUID | None = None,
    broke: UUID | None = None,
) -> Known:
    """Store a patient of whom everything is recorded that can be, and tie them as wanted."""
    practice, identity = house.clinic.practice, PatientId(new_id())
    whole = RegistrationIn.model_validate_json(json.dumps(WHOLE)).patient(identity)
    await practice.stored(
        replace(
            whole,
            identifiers=(Identifier.mrn(f"MRN-{identity.hex}"), Identifier.ssn(SSN)),
            discharged=TODAY,
            notes="Sleeps badly since October.",
            label=label,
            sources=(f"urn:elsewhere#{identity}",),
            legal_hold=LegalHold(basis="Docket 26-117", since=NOW, by=new_id()),
            care_team=house.team if tied else frozenset({house.stranger}),
        )
    )
    assert practice.database is not None
    if author is not None:
        async with practice.database.turn(), practice.database.writing() as session:
            await session.execute(update(PatientRow).where(PatientRow.id == identity).values(created_by=author))
            await session.commit()
    if broke is not None:
        await broke_glass(practice.database, broke, identity)
    if consent:
        await consented(practice, identity, a_consent())
    known = Known(id=identity, label=label, consent=consent, tied=tied, author=author, broke=broke)
    house.known.append(known)
    return known


@dataclass(frozen=True, slots=True)
class Attempted:
    """How an action on one patient is tried: what is sent, and what is answered to whoever may."""

    method: str
    path: str
    body: Any = None
    version: int = 0
    answer: int = 200
    shows: str = ""

    async def by(self, caller: Caller, patient: UUID) -> Response:
        """Try it."""
        headers = {"Content-Type": "application/merge-patch+json" if self.method == "PATCH" else "application/json"}
        if self.version:
            headers |= seen(self.version)
        path = f"/patients/{patient}{self.path}"
        content = None if self.body is None else json.dumps(self.body)
        return await caller.http.request(self.method, path, headers=headers, content=content)


def attempts(house: House) -> dict[Action, Attempted]:
    """Return how each action on one patient is tried without changing anybody.

    What nobody could do twice is asked for at another version: whoever may is told that the record has changed, and
    all others that there is none.
    """
    unchanged: dict[str, Any] = {}
    team = {"practitioners": sorted(str(member) for member in house.team)}
    return {
        Action.VIEW: Attempted("GET", "", shows="patient"),
        Action.VIEW_HISTORY: Attempted("GET", "/history", shows="history"),
        Action.CHANGE: Attempted("PATCH", "", unchanged, version=1, shows="patient"),
        Action.CHANGE_CARE_TEAM: Attempted("PUT", "/care-team", team, version=STALE, answer=412),
        Action.DISCHARGE: Attempted("POST", "/discharge", {"day": str(TODAY)}, version=STALE, answer=412),
    }


async def test_every_role_gets_what_was_decided_of_every_patient_and_no_more(house: House) -> None:
    tried = 0
    for caller, (action, attempted) in product(house.callers, attempts(house).items()):
        absent = await attempted.by(caller, new_id())
        assert absent.status_code == 404
        for patient in caller.patients:
            answer = await attempted.by(caller, patient.id)
            fields = patient.expected(caller.account, action)
            case = (caller.account.role, action, patient.held_by(caller.account), patient.label, patient.consent)
            tried += 1
            if fields is None:
                assert told(answer) == told(absent), case
                continue
            assert answer.status_code == attempted.answer, case
            for shown in shown_in(answer, attempted.shows):
                assert filled(shown) == visible(fields), case
                notice = patient.label is Label.PART2 and Relation.SELF not in patient.held_by(caller.account)
                assert (shown["notice"] is not None) == notice, case
    assert tried > 500


async def test_lists_searches_and_totals_have_whom_the_caller_may_see_and_nobody_else(house: House) -> None:
    for caller in house.callers:
        for action, answer in (
            (Action.LIST, await caller.http.get("/patients", params={"limit": MAX_PAGE})),
            (Action.SEARCH, await caller.http.post("/patients/search", json={"limit": MAX_PAGE})),
            (Action.SEARCH_BY_SSN, await caller.http.post("/patients/search", json={"ssn": SSN, "limit": MAX_PAGE})),
        ):
            covered = {
                str(patient.id): fields
                for patient in house.known
                if (fields := patient.expected(caller.account, action)) is not None
            }
            if action is Action.SEARCH_BY_SSN and not _has(caller.account.role, action):
                assert answer.status_code == 403
                continue
            page = answer.json()
            assert page["total"] == {"count": len(covered), "exact": True}, (caller.account.role, action)
            assert page["next_cursor"] in ("", None)
            assert {shown["id"] for shown in page["items"]} == set(covered), (caller.account.role, action)
            for shown in page["items"]:
                assert filled(shown) == visible(covered[shown["id"]]), (caller.account.role, action)


async def test_pages_join_to_what_a_long_one_has(house: House) -> None:
    for role in (Role.CLINICIAN, Role.FRONT_DESK, Role.PATIENT):
        http = house.caller(role).http
        whole = [shown["id"] for shown in (await http.get("/patients", params={"limit": MAX_PAGE})).json()["items"]]
        joined, cursor = list[str](), ""
        while True:
            page = (await http.get("/patients", params={"limit": 3, "cursor": cursor})).json()
            joined += [shown["id"] for shown in page["items"]]
            cursor = page["next_cursor"]
            if not cursor:
                break
        assert joined == whole


def _has(role: Role, action: Action) -> bool:
    return any(
        (role, Resource.PATIENT, action, relation, label) in decided_cells()
        for relation, label in product(Relation, Label)
    )


def told(answer: Response) -> tuple[int, dict[str, str], bytes]:
    """Return all that an answer tells but its own number and the time."""
    headers = {name: value for name, value in answer.headers.items() if name not in {"x-request-id", "date"}}
    return answer.status_code, headers, answer.content


def shown_in(answer: Response, shows: str) -> Iterator[dict[str, Any]]:
    """Yield every patient in an answer."""
    if shows == "patient":
        yield answer.json()
    elif shows == "history":
        yield from (revision["patient"] for revision in answer.json()["items"])


ON_THE_WIRE = {name: bit for name, bit in FIELD_BITS.items() if name in PatientOut.model_fields}
BLANK = (None, "", [], str(Gender.UNKNOWN), str(Label.NORMAL))


def filled(shown: dict[str, Any]) -> set[str]:
    """Return the fields of a patient that say something, but for the label, which may be normal."""
    return {name for name in ON_THE_WIRE if shown[name] not in BLANK} - {"label"}


def visible(fields: PatientField) -> set[str]:
    """Return the fields that say something to whoever may see `fields`; names and date of birth always do."""
    return {name for name, bit in ON_THE_WIRE.items() if bit in fields} - {"label"} | {"names", "born"}
