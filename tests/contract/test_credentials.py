"""Credentials of machines, on every storage: shown once, good for what they were made for, and ended at once."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from clarity.application.credentials import FAILURES_FROM_ADDRESS, MOST_IN_FORCE, CredentialService, Issued
from clarity.application.patients import PatientService
from clarity.application.ports import PatientFilter
from clarity.application.sessions import REFUSALS_TOLD
from clarity.domain.access import ANONYMOUS, Action, Actor, Purpose, Reason, Role, right_to
from clarity.domain.accounts import Account, AccountStatus, Credentials
from clarity.domain.audit import Attempt, Outcome
from clarity.domain.credentials import LONGEST, PREFIX, MachineCredential, grantable, write_scope
from clarity.domain.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    TooMany,
    Unauthenticated,
)
from clarity.domain.ids import AccountId, CredentialId, PatientId, PractitionerId, RequestId
from clarity.domain.records import Resource
from clarity.security.cursors import Cursors
from clarity.security.keyring import Keyring
from clarity.security.machine_keys import MachineKeys
from tests.builders import NOW, a_patient, a_practitioner, an_actor, new_id, the_operator
from tests.fakes.accounts import ADDRESS, CountedLimits
from tests.practice import Practice

ADMINISTRATOR = an_actor(Role.ADMINISTRATOR)
DAY = timedelta(days=1)
ALL_OF_THE_DESK = ("patient:view", "patient:list", "patient:search")


class Machines:
    """Machines and their credentials in some storage. `at` is the time by its clock."""

    def __init__(self, practice: Practice, keyring: Keyring) -> None:
        self.practice = practice
        self.at = NOW
        self.limits = CountedLimits()
        self.credentials = CredentialService(
            begin=practice.begin,
            reading=practice.reading,
            keys=MachineKeys(),
            cursors=Cursors(keyring),
            limits=self.limits,
            now=lambda: self.at,
            new_id=new_id,
        )

    async def account(
        self,
        role: Role = Role.FRONT_DESK,
        *,
        machine: bool = True,
        practitioner: PractitionerId | None = None,
        patient: PatientId | None = None,
    ) -> Account:
        """Store the account of a machine."""
        account = Account(
            id=AccountId(new_id()),
            email=f"{new_id().hex}@example.org",
            name="Nightly report",
            role=role,
            machine=machine,
            practitioner=practitioner,
            patient=patient,
        )
        return await self.written(account, Action.REGISTER)

    async def written(self, account: Account, action: Action = Action.CHANGE_STATUS) -> Account:
        """Store an account as an administrator leaves it."""
        async with self.practice.begin() as work:
            actor = the_operator()
            work.note(Attempt(actor=actor, action=action, at=NOW, resource=Resource.ACCOUNT, ids=(account.id,)))
            if action is Action.REGISTER:
                return await work.accounts.add(Credentials(account=account, password_hash=None))
            return await work.accounts.save(account)

    async def issued(
        self, account: Account, scopes: Sequence[str] = ALL_OF_THE_DESK, *, expires_in: timedelta = DAY
    ) -> Issued:
        """Make a credential as an administrator."""
        return await self.credentials.issue(
            ADMINISTRATOR, account.id, name="Server 2", scopes=scopes, expires_in=expires_in
        )

    async def actor(self, text: str, address: str = ADDRESS) -> Actor:
        """Return who asks with the text of a credential."""
        return await self.credentials.resolve(text, RequestId(new_id()), address)

    async def holds(self, issued: Issued) -> bool:
        """Tell whether a credential is good for anything."""
        try:
            await self.actor(issued.text)
        except Unauthenticated:
            return False
        return True

    async def refusals(self) -> list[tuple[Reason, tuple[Any, ...]]]:
        """Return why credentials were refused, and which, as far as that was known."""
        return [
            (event.reason, event.ids)
            for event in await self.practice.events()
            if event.resource is Resource.CREDENTIAL and event.actor == ANONYMOUS
        ]


@pytest.fixture
def machines(practice: Practice, keyring: Keyring) -> Machines:
    return Machines(practice, keyring)


async def test_a_machine_acts_as_its_account_and_within_its_scopes(machines: Machines) -> None:
    practitioner = await machines.practice.employed(a_practitioner())
    account = await machines.account(Role.CLINICIAN, practitioner=practitioner.id)
    issued = await machines.issued(account, ["patient:view"])
    actor = await machines.actor(issued.text)
    assert (actor.id, actor.role, actor.practitioner, actor.patient) == (
        account.id,
        Role.CLINICIAN,
        practitioner.id,
        None,
    )
    assert (actor.session, actor.purpose) == (None, Purpose.TREATMENT)
    assert actor.operator == issued.credential.id.hex, "the trail must say which of its credentials a machine used"
    assert actor.only == frozenset({(Resource.PATIENT, Action.VIEW)})
    assert right_to(actor, Action.VIEW).exists
    assert not right_to(actor, Action.CHANGE).exists


async def test_a_credential_comes_back_as_it_was_issued_without_its_secret(machines: Machines) -> None:
    account = await machines.account()
    issued = await machines.issued(account, expires_in=LONGEST)
    assert issued.text.startswith(f"{PREFIX}{issued.credential.id.hex}_")
    assert issued.text not in repr(issued)
    assert issued.credential == MachineCredential(
        id=issued.credential.id,
        account=account.id,
        name="Server 2",
        scopes=frozenset({(Resource.PATIENT, action) for action in (Action.VIEW, Action.LIST, Action.SEARCH)}),
        created_at=NOW,
        created_by=ADMINISTRATOR.id,
        expires_at=NOW + LONGEST,
    )
    async with machines.practice.reading() as work:
        assert await work.credentials.get(issued.credential.id) == issued.credential
        found = await work.credentials.find(*MachineKeys().read(issued.text))
    assert found == (issued.credential, account)
    (event,) = [event for event in await machines.practice.events() if event.resource is Resource.CREDENTIAL]
    assert (event.action, event.actor, event.ids) == (Action.REGISTER, ADMINISTRATOR.id, (issued.credential.id,))


async def test_credentials_are_listed_the_newest_first_and_the_ended_ones_too(machines: Machines) -> None:
    account, other = await machines.account(), await machines.account()
    made = [(await machines.issued(account)).credential for _ in range(3)]
    await machines.issued(other)
    await machines.credentials.revoke(ADMINISTRATOR, made[0].id)
    listed, cursor = list[MachineCredential](), ""
    while True:
        page = await machines.credentials.list(ADMINISTRATOR, account.id, cursor=cursor, at_most=2)
        assert page.count == 3
        listed.extend(page.items)
        if not (cursor := page.next_cursor):
            break
    assert listed == [made[2], made[1], replace(made[0], revoked_at=NOW)]
    with pytest.raises(NotFound):
        await machines.credentials.list(ADMINISTRATOR, AccountId(new_id()))


async def test_a_revoked_credential_is_good_for_nothing_at_once(machines: Machines) -> None:
    account = await machines.account()
    issued, other = await machines.issued(account), await machines.issued(account)
    for minutes in range(2):
        machines.at = NOW + timedelta(minutes=minutes)
        await machines.credentials.revoke(ADMINISTRATOR, issued.credential.id)
    assert not await machines.holds(issued)
    assert await machines.holds(other)
    async with machines.practice.reading() as work:
        assert (await work.credentials.get(issued.credential.id)).revoked_at == NOW
    assert await machines.refusals() == [(Reason.DISABLED, (issued.credential.id,))]


async def test_a_credential_expires_to_the_microsecond(machines: Machines) -> None:
    issued = await machines.issued(await machines.account(), expires_in=DAY)
    machines.at = NOW + DAY - timedelta(microseconds=1)
    assert await machines.holds(issued)
    machines.at = NOW + DAY
    assert not await machines.holds(issued)
    assert await machines.refusals() == [(Reason.EXPIRED, (issued.credential.id,))]


async def test_the_credentials_of_a_disabled_account_are_good_for_nothing_at_once(machines: Machines) -> None:
    account = await machines.account()
    issued = await machines.issued(account)
    disabled = await machines.written(replace(account, status=AccountStatus.DISABLED))
    assert not await machines.holds(issued)
    with pytest.raises(Conflict):
        await machines.issued(disabled)
    await machines.written(replace(disabled, status=AccountStatus.ACTIVE))
    assert await machines.holds(issued)
    assert await machines.refusals() == [(Reason.DISABLED, (issued.credential.id,))]


async def test_people_have_no_credentials(machines: Machines) -> None:
    person = await machines.account(machine=False)
    with pytest.raises(Conflict):
        await machines.issued(person)
    machine = await machines.account()
    issued = await machines.issued(machine)
    await machines.written(replace(machine, machine=False))
    assert not await machines.holds(issued)


async def test_a_changed_role_takes_away_what_it_does_not_have(machines: Machines) -> None:
    account = await machines.account(Role.FRONT_DESK)
    issued = await machines.issued(account, ["patient:view", "patient:register", "practitioner:list"])
    account = await machines.written(replace(account, role=Role.COMPLIANCE_OFFICER), Action.CHANGE_ROLE)
    actor = await machines.actor(issued.text)
    assert (actor.role, actor.only) == (Role.COMPLIANCE_OFFICER, frozenset({(Resource.PRACTITIONER, Action.LIST)}))
    account = await machines.written(replace(account, role=Role.ADMINISTRATOR), Action.CHANGE_ROLE)
    actor = await machines.actor(issued.text)
    assert not right_to(actor, Action.DELETE).exists
    assert not right_to(actor, Action.REGISTER, Resource.PRACTITIONER).exists
    assert right_to(actor, Action.LIST, Resource.PRACTITIONER).exists


@pytest.mark.parametrize(
    ("role", "scope"),
    [
        (Role.FRONT_DESK, "patient:delete"),
        (Role.FRONT_DESK, "patient:everything"),
        (Role.FRONT_DESK, "*"),
        (Role.FRONT_DESK, ""),
        (Role.FRONT_DESK, "PATIENT:VIEW"),
        (Role.FRONT_DESK, " patient:view"),
        (Role.FRONT_DESK, "1:1"),
        (Role.FRONT_DESK, "session:list"),
        (Role.FRONT_DESK, "session:revoke"),
        (Role.FRONT_DESK, "account:change_password"),
        (Role.FRONT_DESK, "account:log_out"),
        (Role.FRONT_DESK, "account:enrol_second_factor"),
        (Role.ADMINISTRATOR, "patient:view"),
        (Role.ADMINISTRATOR, "account:register"),
        (Role.ADMINISTRATOR, "account:change_role"),
        (Role.ADMINISTRATOR, "account:reset_password"),
        (Role.ADMINISTRATOR, "credential:register"),
        (Role.ADMINISTRATOR, "credential:revoke"),
        (Role.COMPLIANCE_OFFICER, "patient:override_retention"),
        (Role.COMPLIANCE_OFFICER, "break_glass:review"),
        (Role.DEVICE, "patient:view"),
    ],
)
async def test_a_scope_that_the_role_has_not_or_that_is_for_people_is_refused(
    machines: Machines, role: Role, scope: str
) -> None:
    account = await machines.account(role)
    with pytest.raises(Invalid) as raised:
        await machines.issued(account, ["account:view", scope])
    assert raised.value.field == "scopes.1"
    page = await machines.credentials.list(ADMINISTRATOR, account.id)
    assert page.items == ()


@pytest.mark.parametrize("role", [role for role in Role if role not in {Role.SYSTEM, Role.NOBODY}])
def test_no_role_lets_a_machine_widen_its_own_reach(role: Role) -> None:
    of_identities = {Resource.ACCOUNT, Resource.SESSION, Resource.CREDENTIAL}
    reached = {scope for scope in grantable(role) if scope[0] in of_identities}
    assert reached <= {(Resource.ACCOUNT, Action.VIEW), (Resource.ACCOUNT, Action.LIST)}
    assert (Resource.ACCOUNT, Action.VIEW) in reached


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"scopes": []}, "scopes"),
        ({"expires_in": timedelta()}, "expires_at"),
        ({"expires_in": -DAY}, "expires_at"),
        ({"expires_in": LONGEST + timedelta(microseconds=1)}, "expires_at"),
    ],
)
async def test_a_credential_has_a_name_a_scope_and_an_end(
    machines: Machines, change: dict[str, Any], field: str
) -> None:
    account = await machines.account()
    wanted = {"name": "Server 2", "scopes": ["patient:view"], "expires_in": DAY, **change}
    with pytest.raises(Invalid) as raised:
        await machines.credentials.issue(ADMINISTRATOR, account.id, **wanted)
    assert raised.value.field == field


async def test_an_account_has_so_many_credentials_at_once_and_no_more(machines: Machines) -> None:
    account = await machines.account()
    issued = [await machines.issued(account) for _ in range(MOST_IN_FORCE)]
    with pytest.raises(Conflict):
        await machines.issued(account)
    await machines.credentials.revoke(ADMINISTRATOR, issued[0].credential.id)
    await machines.issued(account)
    machines.at = NOW + DAY
    await machines.issued(account)


@pytest.mark.parametrize("role", [role for role in Role if role not in {Role.SYSTEM, Role.ADMINISTRATOR}])
async def test_only_administrators_deal_in_credentials(machines: Machines, role: Role) -> None:
    account = await machines.account()
    issued = await machines.issued(account)
    actor = an_actor(role, actor_id=account.id)
    with pytest.raises(Forbidden):
        await machines.credentials.issue(actor, account.id, name="mine", scopes=["patient:view"], expires_in=DAY)
    with pytest.raises(Forbidden):
        await machines.credentials.list(actor, account.id)
    with pytest.raises(Forbidden):
        await machines.credentials.revoke(actor, issued.credential.id)
    assert await machines.holds(issued)


async def test_a_machine_of_an_administrator_makes_no_credentials(machines: Machines) -> None:
    account = await machines.account(Role.ADMINISTRATOR)
    scopes = sorted(map(write_scope, grantable(Role.ADMINISTRATOR)))
    actor = await machines.actor((await machines.issued(account, scopes)).text)
    with pytest.raises(Forbidden):
        await machines.credentials.issue(actor, account.id, name="wider", scopes=["patient:delete"], expires_in=DAY)
    with pytest.raises(Forbidden):
        await machines.credentials.list(actor, account.id)


async def test_a_secret_is_good_with_its_own_id_alone(machines: Machines) -> None:
    first, second = await machines.issued(await machines.account()), await machines.issued(await machines.account())
    head = len(PREFIX) + 33
    swapped = second.text[:head] + first.text[head:]
    flipped = first.text[:-1] + ("0" if first.text[-1] != "0" else "1")
    unknown = f"{PREFIX}{new_id().hex}_{first.text[head:]}"
    misspelt = (
        first.text.upper(),
        f"{first.text} ",
        f"{first.text}\n",
        first.text[:-1],
        first.text + "0",
        first.text.replace("_", "-"),
        PREFIX,
        f"{PREFIX}{first.credential.id}_{first.text[head:]}",
        first.text[:head] + "\u0661" * 64,
        f"{PREFIX}\ud800",
    )
    for text in (swapped, flipped, unknown, *misspelt):
        with pytest.raises(Unauthenticated):
            await machines.actor(text)
    assert await machines.holds(first)
    # Not even which credential was tried: whoever guesses writes no ids of their choosing into the trail.
    assert await machines.refusals() == [(Reason.WRONG_CREDENTIALS, ())] * (3 + len(misspelt))


async def test_failures_are_limited_by_network_and_told_once(machines: Machines) -> None:
    issued = await machines.issued(await machines.account())
    machines.limits.at_most = {FAILURES_FROM_ADDRESS: 2, REFUSALS_TOLD: 1}
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await machines.actor(f"{PREFIX}x", "2001:db8::1")
    for guess in range(3):
        with pytest.raises(TooMany):
            await machines.actor(f"{PREFIX}x", f"2001:db8::{guess}")
    with pytest.raises(Unauthenticated):
        await machines.actor(f"{PREFIX}x", "2001:db8:0:1::1")
    assert (await machines.actor(issued.text, "2001:db8::1")).id == issued.credential.account
    reasons = [reason for reason, _ in await machines.refusals()]
    assert reasons.count(Reason.TOO_MANY) == 1
    assert reasons.count(Reason.WRONG_CREDENTIALS) == 3


async def test_what_is_not_there_is_not_found_and_the_attempt_is_remembered(machines: Machines) -> None:
    with pytest.raises(NotFound):
        await machines.credentials.issue(
            ADMINISTRATOR, AccountId(new_id()), name="nobody's", scopes=["patient:view"], expires_in=DAY
        )
    with pytest.raises(NotFound):
        await machines.credentials.revoke(ADMINISTRATOR, CredentialId(new_id()))
    failed = [event for event in await machines.practice.events() if event.resource is Resource.CREDENTIAL]
    assert [(event.action, event.outcome, event.reason) for event in failed] == [
        (Action.REGISTER, Outcome.FAILED, Reason.NO_SUCH_RECORD),
        (Action.REVOKE, Outcome.FAILED, Reason.NO_SUCH_RECORD),
    ]


async def test_a_narrow_credential_of_a_clinician_sees_and_does_nothing_else(
    machines: Machines, patients: PatientService
) -> None:
    practitioner = await machines.practice.employed(a_practitioner())
    ours = await machines.practice.stored(a_patient(care_team=frozenset({practitioner.id})))
    theirs = await machines.practice.stored(a_patient())
    account = await machines.account(Role.CLINICIAN, practitioner=practitioner.id)
    actor = await machines.actor((await machines.issued(account, ["patient:view"])).text)
    assert (await patients.view(actor, ours.id)).id == ours.id
    with pytest.raises(NotFound):
        await patients.view(actor, theirs.id)
    with pytest.raises(NotFound):
        await patients.change(actor, ours.id, lambda one: replace(one, notes="x"), version=1)
    with pytest.raises(NotFound):
        await patients.history(actor, ours.id)
    assert (await patients.list(actor, PatientFilter())).items == ()
    assert (await machines.practice.opened(ours.id)).notes == ""


async def test_the_device_of_one_patient_reads_no_record(machines: Machines, patients: PatientService) -> None:
    wearer, other = await machines.practice.stored(a_patient()), await machines.practice.stored(a_patient())
    device = await machines.account(Role.DEVICE, patient=wearer.id)
    actor = await machines.actor((await machines.issued(device, ["account:view"])).text)
    assert actor.patient == wearer.id
    for patient in (wearer, other):
        with pytest.raises(NotFound):
            await patients.view(actor, patient.id)
    assert (await patients.list(actor, PatientFilter())).items == ()


async def test_the_machine_of_one_patient_reads_no_other(machines: Machines, patients: PatientService) -> None:
    own, other = await machines.practice.stored(a_patient()), await machines.practice.stored(a_patient())
    portal = await machines.account(Role.PATIENT, patient=own.id)
    actor = await machines.actor((await machines.issued(portal, ["patient:view", "patient:list"])).text)
    assert (await patients.view(actor, own.id)).id == own.id
    with pytest.raises(NotFound):
        await patients.view(actor, other.id)
    assert [one.id for one in (await patients.list(actor, PatientFilter())).items] == [own.id]


def test_nobody_is_a_practitioner_and_a_patient_in_one_account() -> None:
    for role in (Role.CLINICIAN, Role.NURSE, Role.PATIENT, Role.DEVICE, Role.FRONT_DESK):
        with pytest.raises(Invalid):
            Account(
                id=AccountId(new_id()),
                email="both@example.org",
                name="Both",
                role=role,
                machine=True,
                practitioner=PractitionerId(new_id()),
                patient=PatientId(new_id()),
            )
