"""The two forms of a scope, in Python and in SQL, for whatever the policy gives anybody."""

from collections.abc import AsyncIterator
from dataclasses import fields
from datetime import timedelta
from itertools import product
from uuid import UUID

import pytest
from sqlalchemy import select, update

from clarity.bootstrap import opened_trail, units_of_work
from clarity.domain.access import POLICY, Action, Actor, Role, decide, scope_of
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.records import TOMBSTONE, Label, Resource
from clarity.persistence.all_tables import TABLES
from clarity.persistence.break_glass.tables import BreakGlassRow
from clarity.persistence.direct import DirectStatement, Lent
from clarity.persistence.engine import Database
from clarity.persistence.patients.mapping import PatientTable
from clarity.persistence.patients.tables import PatientRow
from clarity.persistence.records import SealedTable
from clarity.persistence.scopes import form_of, in_scope, values_of
from clarity.persistence.tables import SealedColumns
from clarity.security.keyring import Keyring
from tests.builders import NOW, a_patient, a_practitioner, an_actor, new_id
from tests.practice import Practice, sql_practice
from tests.servers import tampering
from tests.ties import LONG_AGO, NEVER, broke_glass


@pytest.fixture
async def practice(database: Database, keyring: Keyring) -> AsyncIterator[Practice]:
    async with sql_practice(database, keyring) as practice:
        yield practice


def everybody(account: UUID, practitioner: PractitionerId, patient: PatientId) -> list[Actor]:
    """Return one account in every role, with each link or without."""
    return [
        an_actor(role, practitioner=works_here, patient=comes_here, actor_id=account)
        for role, works_here, comes_here in product(Role, (None, practitioner), (None, patient))
    ]


async def marked(database: Database, patient: PatientId, **columns: object) -> None:
    async with tampering(database) as session:
        await session.execute(update(PatientRow).where(PatientRow.id == patient).values(columns))


async def test_a_scope_reaches_the_same_rows_in_sql_as_in_python(
    practice: Practice, database: Database, keyring: Keyring
) -> None:
    anna, account = await practice.employed(a_practitioner()), new_id()
    patients = []
    for team, label in product((frozenset[PractitionerId](), frozenset({anna.id})), (Label.NORMAL, Label.PART2)):
        # Nobody's but the care team's, the account's own work, reached in an emergency, and in one that is over.
        plain, written, broken, mended, closed, gone = [
            (await practice.stored(a_patient(care_team=team, label=label))).id for _ in range(6)
        ]
        await marked(database, written, created_by=account)
        await broke_glass(database, account, broken)
        await broke_glass(database, new_id(), plain)
        await broke_glass(database, account, mended, until=LONG_AGO)
        await broke_glass(database, account, closed, closed_at=NOW)
        await broke_glass(database, account, gone)
        await marked(database, gone, status=TOMBSTONE, created_by=account)
        patients += [plain, written, broken, mended, closed, gone]
    table = PatientTable(keyring, lambda: NOW)
    async with database.reading() as session:
        records = [table.record_of(row) for row in await session.execute(table.fetched.order_by(PatientRow.id))]
        assert [record.patient for record in records] == sorted(patients)
        for actor, action in product(everybody(account, anna.id, patients[0]), Action):
            scope = scope_of(actor, action, at=NOW)
            chosen = select(PatientRow.id).where(in_scope(scope, PatientRow, PatientRow.id)).order_by(PatientRow.id)
            in_sql = list(await session.scalars(chosen)) if worth_asking(actor, action) else []
            in_python = [record.patient for record in records if decide(scope, record).allowed]
            assert in_sql == in_python, (actor.role, action)


async def test_a_condition_that_was_built_for_one_actor_is_that_of_another_by_their_values(
    postgresql: Database, keyring: Keyring
) -> None:
    async with sql_practice(postgresql, keyring) as practice:
        ties = []
        for _ in range(2):
            account, anna = new_id(), await practice.employed(a_practitioner())
            mine, broken = [
                (await practice.stored(a_patient(care_team=team))).id for team in (frozenset({anna.id}), frozenset())
            ]
            await broke_glass(postgresql, account, broken, until=NOW + timedelta(minutes=1))
            ties.append((account, anna.id, mine))
        built: dict[object, DirectStatement] = {}
        async with postgresql.reading() as session:
            lent = Lent.to(session)
            assert lent is not None
            for at, (account, anna_id, mine) in product((NOW, NOW + timedelta(hours=1)), ties):
                for actor, action in product(everybody(account, anna_id, mine), (Action.LIST, Action.VIEW_TOMBSTONE)):
                    scope = scope_of(actor, action, at=at)
                    chosen = select(PatientRow.id).where(in_scope(scope, PatientRow, PatientRow.id))
                    statement = built.setdefault(form_of(scope), DirectStatement(chosen))
                    found = {row[0] for row in await lent.rows(statement, **values_of(scope))}
                    assert found == set(await session.scalars(chosen)), (actor.role, action)
        assert len(built) > len(ties)


async def test_the_author_of_a_record_is_who_made_it(practice: Practice, database: Database) -> None:
    """Of a patient's own record there is none."""
    account, ada = new_id(), (await practice.stored(a_patient(label=Label.PART2))).id
    await marked(database, ada, created_by=account)
    await broke_glass(database, new_id(), ada)
    mine = await broke_glass(database, account, ada, until=LONG_AGO)
    actor = an_actor(actor_id=account)
    grants, view = scope_of(actor, Action.LIST, Resource.BREAK_GLASS, at=NOW), scope_of(actor, Action.VIEW, at=NOW)
    async with database.reading() as session:
        condition = in_scope(grants, BreakGlassRow, BreakGlassRow.patient_id)
        assert list(await session.scalars(select(BreakGlassRow.id).where(condition))) == [mine]
        condition = in_scope(view, PatientRow, PatientRow.id)
        assert list(await session.scalars(select(PatientRow.id).where(condition))) == []


def worth_asking(actor: Actor, action: Action) -> bool:
    """Tell whether the role has any row for the action; one condition for all that have none is tried beside."""
    return POLICY.right(actor.role, Resource.PATIENT, action).exists or action is Action.LIST


async def test_broken_glass_is_mended_when_its_time_is_over_to_the_microsecond(
    practice: Practice, database: Database, keyring: Keyring
) -> None:
    account, ada = new_id(), (await practice.stored(a_patient())).id
    await broke_glass(database, account, ada, until=NOW)
    bob = (await practice.stored(a_patient())).id
    await broke_glass(database, account, bob, until=NEVER)
    table = PatientTable(keyring, lambda: NOW)
    async with database.reading() as session:
        rows = await session.execute(table.fetched)
        assert {row.id: set(row.emergencies) for row in rows} == {ada: set(), bob: {account}}


async def test_every_sealed_table_is_of_a_kind_of_record_that_the_policy_speaks_of(
    practice: Practice, database: Database, keyring: Keyring
) -> None:
    del practice
    async with opened_trail(database, keyring) as trail:
        tools = units_of_work(database, keyring, trail).tools
    tables = [table for item in fields(tools) if isinstance(table := getattr(tools, item.name), SealedTable)]
    assert {table.rows.__tablename__ for table in tables} == {row.__tablename__ for row in TABLES if is_sealed(row)}
    spoken_of = {(resource, role) for role, resource, *_ in POLICY.cells}
    for table in tables:
        # Somebody who logs in may do something to it, and the system may.
        assert {role for resource, role in spoken_of if resource is table.resource} > {Role.SYSTEM}


def is_sealed(row: type) -> bool:
    return issubclass(row, SealedColumns)
