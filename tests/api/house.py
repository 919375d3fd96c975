"""A practice with somebody in each role, and patients with every label in every relation to each of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from operator import or_
from uuid import UUID

from httpx import AsyncClient
from sqlalchemy import update

from clarity.api.patients.shapes import RegistrationIn
from clarity.domain.access import Action, Cell, Relation, Role
from clarity.domain.accounts import Account
from clarity.domain.identifiers import Identifier
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.patients import LegalHold, PatientField
from clarity.domain.records import Label, Resource
from clarity.persistence.patients.tables import PatientRow
from tests.api.clinic import WHOLE, Clinic
from tests.builders import NOW, TODAY, a_consent, a_practitioner, new_id
from tests.fakes.accounts import PASSWORD
from tests.policy_table import decided_cells
from tests.servers import tampering
from tests.ties import broke_glass, consented

ROLES = tuple(role for role in Role if role not in {Role.SYSTEM, Role.NOBODY})
SSN = "999-12-3456"
LABELS = ((Label.NORMAL, False), (Label.RESTRICTED, False), (Label.PART2, False), (Label.PART2, True))


@dataclass(slots=True, kw_only=True)
class Known:
    """A patient as the test knows them: how each account stands to them, and their label."""

    id: PatientId
    label: Label
    consent: bool
    tied: bool
    registrar: UUID | None = None
    broke: UUID | None = None

    def held_by(self, account: Account) -> frozenset[Relation]:
        """Return how an account stands to this patient. Who registered them authored nothing."""
        held = {Relation.ANYBODY}
        if self.tied and account.practitioner is not None:
            held.add(Relation.CARE_TEAM)
        if account.patient == self.id:
            held.add(Relation.SELF)
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
    """The practice, whom it knows, and who calls. `stranger` cares for patients for whom nobody here does."""

    clinic: Clinic
    team: frozenset[PractitionerId]
    stranger: PractitionerId
    known: list[Known]
    callers: list[Caller]

    def caller(self, role: Role) -> Caller:
        """Return the first with a role."""
        return next(caller for caller in self.callers if caller.account.role is role)

    def normal_patient_of(self, caller: Caller) -> Known:
        """Return a patient with the ordinary label: the caller's own, or one whom everybody here treats who treats."""
        own = caller.account.patient
        return next(
            one for one in caller.patients if one.label is Label.NORMAL and (one.tied if own is None else one.id == own)
        )

    async def logged_in_anew(self, caller: Caller) -> AsyncClient:
        """Return somebody in a session of its own."""
        return await _logged_in(self, caller.account)


async def furnished(clinic: Clinic, labels: Sequence[tuple[Label, bool]] = LABELS) -> House:
    """Fill an empty practice with patients of these labels, with a consent or without."""
    stranger, *practitioners = [(await clinic.practice.employed(a_practitioner())).id for _ in range(3)]
    house = House(clinic, frozenset(practitioners), stranger, [], [])
    everybodys = [
        await _patient(house, label, consent=consent, tied=tied)
        for tied, (label, consent) in product((False, True), labels)
    ]
    for role in ROLES:
        practitioner = practitioners.pop() if role in {Role.CLINICIAN, Role.NURSE} else None
        if role is Role.PATIENT:
            for label, consent in labels:
                own = await _patient(house, label, consent=consent)
                await _employ(house, role, own, everybodys)
            continue
        caller = await _employ(house, role, None, everybodys, practitioner)
        for label, consent in labels:
            account = caller.account.id
            caller.patients += [
                await _patient(house, label, consent=consent, registrar=account),
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
    caller = Caller(account, await _logged_in(house, account), [*everybodys, *([own] if own else [])])
    house.callers.append(caller)
    return caller


async def _logged_in(house: House, account: Account) -> AsyncClient:
    opened = await house.clinic.caller().post("/sessions", json={"email": account.email, "password": PASSWORD})
    return house.clinic.caller(opened.json()["access_token"])


async def _patient(
    house: House,
    label: Label,
    *,
    consent: bool,
    tied: bool = False,
    registrar: UUID | None = None,
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
    if registrar is not None:
        async with tampering(practice.database) as session:
            await session.execute(update(PatientRow).where(PatientRow.id == identity).values(created_by=registrar))
    if broke is not None:
        await broke_glass(practice.database, broke, identity)
    if consent:
        await consented(practice, identity, a_consent())
    known = Known(id=identity, label=label, consent=consent, tied=tied, registrar=registrar, broke=broke)
    house.known.append(known)
    return known
