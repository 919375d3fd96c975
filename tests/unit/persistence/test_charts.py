"""Which records of a chart a scope reaches, by SQL and by what decides of each record."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any, cast
from uuid import UUID

import pytest
from sqlalchemy import Connection, create_engine, insert, select

from clarity.domain.access import POLICY, Action, Actor, Role, decide, scope_of
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.notes import Note
from clarity.domain.records import DRAFT, TOMBSTONE, Resource, Standing
from clarity.persistence.appointments.tables import AppointmentRow
from clarity.persistence.charts import ChartTable, SealedChartRecord, standing_as
from clarity.persistence.keys import DataKeyRow, DataKeys
from clarity.persistence.notes import NoteRow
from clarity.persistence.prescriptions import PrescriptionRow
from clarity.persistence.scopes import in_chart
from clarity.persistence.sealing import SealedRecord
from clarity.persistence.tables import table_of
from tests.builders import NOW, an_actor, new_id

ACCOUNT, ELSE = new_id(), new_id()
ANNA, OTTO = PractitionerId(new_id()), PractitionerId(new_id())
ADA = PatientId(new_id())
# Of each kind, how rows of it differ for the policy: some have authors' drafts, and some are about a practitioner.
KINDS: dict[Resource, tuple[Any, tuple[str, ...], dict[str, tuple[object, ...]]]] = {
    Resource.NOTE: (NoteRow, ("signed", DRAFT, TOMBSTONE), {}),
    Resource.PRESCRIPTION: (PrescriptionRow, ("active",), {}),
    Resource.APPOINTMENT: (
        AppointmentRow,
        ("booked",),
        {"practitioner_id": (ANNA, OTTO), "starts_at": (NOW,), "ends_at": (NOW.replace(year=2100),)},
    ),
}


@pytest.fixture
def connection() -> Iterator[Connection]:
    """Open tables of each kind, without the constraints that lead to others, in memory."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        for rows in (DataKeyRow, *(rows for rows, _, _ in KINDS.values())):
            table_of(rows).create(connection)
        yield connection
    engine.dispose()


def stored(connection: Connection, resource: Resource) -> list[SealedChartRecord]:
    """Store a record of every kind of standing, and fetch them all."""
    rows, statuses, columns = KINDS[resource]
    for author, guarded, status, *others in product((ACCOUNT, ELSE), (False, True), statuses, *columns.values()):
        values = dict(zip(columns, others, strict=True))
        values |= {"id": new_id(), "patient_id": ADA, "status": status, "guarded": guarded, "sealed": b"\0"}
        values |= {"version": 1, "key_generation": 1, "created_at": NOW, "created_by": author}
        connection.execute(insert(rows).values(**values, updated_at=NOW, updated_by=author))
    table: ChartTable[Note, None] = ChartTable(rows, Note, resource, cast("DataKeys", None))
    return [table.record_of(row) for row in connection.execute(table.fetched.order_by(rows.id))]


def whose(*, patient: UUID, standing: Standing) -> SealedRecord:
    return SealedRecord(
        resource=Resource.PATIENT,
        id=patient,
        patient=PatientId(patient),
        standing=standing,
        ciphertext=b"",
        wrapped=None,
        written_at=NOW,
        written_by=ELSE,
    )


def each_chart() -> Iterator[SealedRecord]:
    """Yield Ada's record in every standing, and that of somebody into whose record hers was merged."""
    for team, emergency, guarded, deleted in product((False, True), repeat=4):
        standing = Standing(
            care_team=frozenset({ANNA} if team else ()),
            emergencies=frozenset({ACCOUNT} if emergency else ()),
            guarded=guarded,
            deleted=deleted,
        )
        for patient in (ADA, ELSE):
            yield whose(patient=patient, standing=standing)


def each_actor(resource: Resource) -> Iterator[tuple[Actor, Action]]:
    """Yield somebody for every right that there is to this kind of record, linked to a practitioner and a patient."""
    seen = set()
    for role, of, action, *_ in POLICY.cells:
        right = POLICY.right(role, resource, action)
        unlike = right.unguarded, right.guarded
        if of is resource and unlike not in seen:
            seen.add(unlike)
            yield an_actor(role, practitioner=ANNA, patient=ADA, actor_id=ACCOUNT), action
            yield an_actor(role, actor_id=ACCOUNT), action


@pytest.mark.parametrize("resource", KINDS)
def test_a_scope_reaches_the_same_records_of_a_chart_in_sql_as_in_python(
    connection: Connection, resource: Resource
) -> None:
    rows, _, _ = KINDS[resource]
    records = stored(connection, resource)
    reached = set()
    for (actor, action), owner in product(each_actor(resource), each_chart()):
        scope = scope_of(actor, action, resource, at=NOW)
        chosen = select(rows.id).where(in_chart(scope, rows, owner)).order_by(rows.id)
        in_sql = list(connection.scalars(chosen))
        in_python = [one.id for one in records if decide(scope, standing_as(one, owner)).allowed]
        assert in_sql == in_python, (actor.role, action, owner.standing, owner.patient == ADA)
        reached |= set(in_sql)
    own = {one.id for one in records if one.status != DRAFT or (one.standing and one.standing.author == ACCOUNT)}
    assert reached == own - {one.id for one in records if one.status == TOMBSTONE}


def test_of_nobodys_chart_nothing_is_reached(connection: Connection) -> None:
    stored(connection, Resource.NOTE)
    scope = scope_of(an_actor(Role.SYSTEM), Action.LIST, Resource.NOTE, at=NOW)
    nobody = replace(whose(patient=ADA, standing=Standing()), standing=None)
    assert list(connection.scalars(select(NoteRow.id).where(in_chart(scope, NoteRow, nobody)))) == []
