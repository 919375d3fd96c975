"""PostgreSQL itself commits no change of anything of a patient without an event of the same transaction."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy import insert, text, update
from sqlalchemy.exc import DBAPIError

from clarity.application.admission import admit
from clarity.domain.access import Action, Role
from clarity.domain.audit import Outcome
from clarity.domain.errors import UnauditedAccess
from clarity.domain.patients import Patient
from clarity.persistence import migrations
from clarity.persistence.all_tables import TABLES
from clarity.persistence.appointments.tables import AppointmentRow
from clarity.persistence.disclosures.tables import DisclosureEventRow, DisclosureRow
from clarity.persistence.duplicates.tables import DuplicateRow
from clarity.persistence.engine import Database, EngineOptions, unpooled
from clarity.persistence.errors import state_of
from clarity.persistence.interactions import InteractionRow
from clarity.persistence.notes import NoteRow
from clarity.persistence.patients.tables import PatientRow
from clarity.persistence.prescriptions import PrescriptionRow
from clarity.persistence.sources import ChartSourceRow
from clarity.persistence.tables import Base
from clarity.persistence.trail_guard import GUARDED, MIGRATING, UNGUARDED, check_guard
from clarity.persistence.unit_of_work import SqlWork
from clarity.security.keyring import Keyring
from tests.builders import NOW, a_consent, a_patient, a_practitioner, new_id, the_operator
from tests.practice import Practice, sql_practice
from tests.servers import PostgresDatabases, tampering
from tests.ties import broke_glass, consented

UNAUDITED = "UA001"
NOT_ALLOWED = "42501"
STILL_REFERRED_TO = "23503"
ONLY_ADDED_TO = "UA002"
TOUCH = "UPDATE patients SET status = status WHERE id = '{ada}'"
NEW_KEY = (
    "INSERT INTO data_keys SELECT subject_id, generation + 1, kek_generation, wrapped, created_at, destroyed_at"
    " FROM data_keys WHERE subject_id = '{ada}' ORDER BY generation DESC LIMIT 1"
)
TELL = "INSERT INTO audit_events SELECT gen_random_uuid(), AT, actor_id, VALUES FROM audit_events ORDER BY id LIMIT 1"
CHANGES = ("UPDATE ROWS SET COLUMN = COLUMN", "DELETE FROM ROWS", "INSERT INTO ROWS TABLE kept")
UNSEEN, SEEN = (f"SET LOCAL session_replication_role = {role}" for role in ("replica", "origin"))
MINE, NAMELESS = "xmin = pg_current_xact_id()::xid", "id NOT IN (SELECT event_id FROM audit_subjects)"
NAME_ADA = "INSERT INTO audit_subjects SELECT '{ada}', id, at FROM audit_events WHERE WHICH".replace("WHICH", MINE)


def tell(
    patient: str = "'{ada}'",
    *,
    role: Role = Role.FRONT_DESK,
    outcome: Outcome = Outcome.SUCCEEDED,
    apart: timedelta = timedelta(),
) -> str:
    """Return the statement that adds an event, like one that is there but for what is given."""
    values = f"{role.value}, action, resource, {outcome.value}, {patient}, request_id, encoded, leaf, mac"
    at = f"at + interval '{apart.total_seconds()} seconds'"
    return TELL.replace("AT", at).replace("VALUES", values)


@dataclass(slots=True)
class Ward:
    """Two patients, of whom there is a row in every table that holds something of one."""

    practice: Practice
    database: Database
    application: EngineOptions
    owner: EngineOptions
    ada: Patient
    bob: Patient

    async def tried(self, *statements: str, owner: bool = False) -> str:
        """Run statements in one transaction, and return the SQLSTATE with which it failed, or ""."""
        ids = {"ada": self.ada.id, "bob": self.bob.id}
        engine = unpooled(self.owner if owner else self.application)
        try:
            async with engine.begin() as connection:
                for statement in statements:
                    await connection.exec_driver_sql(statement.format_map(ids))
        except DBAPIError as exc:
            return state_of(exc)
        finally:
            await engine.dispose()
        return ""

    async def missed(self) -> list[str]:
        """Return what somebody who checks the guard finds."""
        async with unpooled(self.application).connect() as connection:
            return await check_guard(connection)


@pytest.fixture
async def ward(
    postgres: PostgresDatabases, postgresql: Database, postgresql_options: EngineOptions, keyring: Keyring
) -> AsyncIterator[Ward]:
    async with sql_practice(postgresql, keyring) as practice:
        practitioner = (await practice.employed(a_practitioner())).id
        team = frozenset({practitioner})
        ada, bob = [await practice.stored(a_patient(care_team=team)) for _ in range(2)]
        await practice.changed(ada.id, notes="Sleeps badly since October.")
        await consented(practice, ada.id, a_consent())
        await broke_glass(postgresql, new_id(), ada.id)
        row = {
            "id": new_id(),
            "patient_id": ada.id,
            "sealed": b"\0",
            "key_generation": 1,
            "version": 1,
            "guarded": False,
            **{f"{what}_at": NOW for what in ("created", "updated")},
            **{f"{what}_by": new_id() for what in ("created", "updated")},
        }
        async with tampering(postgresql) as session:
            await session.execute(insert(DuplicateRow).values(**row, status="open", other_id=bob.id))
            await session.execute(insert(DisclosureRow).values(**row, status="exempt"))
            await session.execute(insert(DisclosureEventRow).values(disclosure_id=row["id"], event_id=new_id()))
            booked = {"practitioner_id": practitioner, "starts_at": NOW, "ends_at": NOW + timedelta(hours=1)}
            await session.execute(insert(AppointmentRow).values(**row, **booked, status="booked"))
            for rows, status in ((NoteRow, "signed"), (PrescriptionRow, "active"), (InteractionRow, "recorded")):
                await session.execute(insert(rows).values(**row, status=status))
            digest = {"kind": 1, "generation_a": 1, "digest_a": bytes(16), "since_version": 1}
            source = {"id": new_id(), "patient_id": ada.id, "record_id": row["id"], **digest}
            await session.execute(insert(ChartSourceRow).values(source))
        yield Ward(practice, postgresql, postgresql_options, postgres.as_owner(postgresql_options), ada, bob)


# Which tables


def test_every_table_is_guarded_or_there_is_a_reason_why_not() -> None:
    assert GUARDED.keys() | UNGUARDED.keys() == set(TABLES)
    assert not GUARDED.keys() & UNGUARDED.keys()
    assert all(UNGUARDED.values())


def of_patients(rows: type[Base]) -> bool:
    """Tell whether a table is one of patients by what it says itself: its name, a column or what it refers to."""
    table = rows.__table__
    refers = {key.target_fullname for column in table.columns for key in column.foreign_keys}
    return "patients.id" in refers or "patient_id" in table.columns or "sealed" in table.columns


def test_no_table_of_patients_was_forgotten() -> None:
    looks_so = {rows.__tablename__ for rows in TABLES if of_patients(rows)}
    assert {rows.__tablename__ for rows in UNGUARDED} & looks_so == {"accounts", "practitioners", "audit_events"}


async def test_no_row_of_a_patient_is_changed_or_deleted_without_an_event(ward: Ward) -> None:
    for rows in GUARDED:
        name, column = rows.__tablename__, rows.__table__.columns.keys()[0]
        changed, deleted, again = (step.replace("ROWS", name).replace("COLUMN", column) for step in CHANGES)
        assert await ward.tried(changed) == UNAUDITED, name
        assert await ward.tried(changed, tell(), tell("'{bob}'")) == "", name
        assert await ward.tried(deleted, owner=True) in {UNAUDITED, STILL_REFERRED_TO, ONLY_ADDED_TO}, name
        kept = "CREATE TEMP TABLE kept ON COMMIT DROP AS TABLE " + name
        assert await ward.tried(kept, UNSEEN, deleted, SEEN, again, owner=True) == UNAUDITED, name


# Which events


ACCOUNTED_FOR = (
    (TOUCH, tell()),
    (tell(), TOUCH),
    (NEW_KEY, tell()),
    (NEW_KEY, tell("NULL"), NAME_ADA),
    (tell(apart=timedelta(days=-4000)), TOUCH),
    (tell(apart=timedelta(hours=1)), TOUCH),
    (TOUCH, tell("NULL"), NAME_ADA),
    (TOUCH, tell("NULL", role=Role.SYSTEM)),
    ("SAVEPOINT one", tell(), "RELEASE one", TOUCH),
    ("SAVEPOINT one", TOUCH, "SAVEPOINT two", "SAVEPOINT three", tell(), "RELEASE one"),
    ("SAVEPOINT one", TOUCH, tell("NULL"), NAME_ADA.replace(MINE, NAMELESS), "RELEASE one"),
    ("UPDATE duplicate_reviews SET version = version", tell("'{bob}'")),
    ("UPDATE break_glass SET patient_id = '{bob}'", tell(), tell("'{bob}'")),
    ("SAVEPOINT one", TOUCH, "ROLLBACK TO one"),
)


async def test_an_event_of_the_same_transaction_accounts_for_a_change(ward: Ward) -> None:
    for statements in ACCOUNTED_FOR:
        assert await ward.tried(*statements) == "", statements


UNACCOUNTED_FOR = (
    (TOUCH,),
    (TOUCH, tell("'{bob}'")),
    (NEW_KEY, tell("'{bob}'")),
    (NEW_KEY, tell(outcome=Outcome.REFUSED)),
    (TOUCH, tell(outcome=Outcome.REFUSED)),
    (TOUCH, tell(outcome=Outcome.FAILED)),
    (TOUCH, tell("NULL")),
    (TOUCH, tell("'{bob}'", role=Role.SYSTEM)),
    (TOUCH, "SAVEPOINT one", tell(), "ROLLBACK TO one"),
    (TOUCH, NAME_ADA.replace(MINE, NAMELESS)),
    ("UPDATE break_glass SET patient_id = '{bob}'", tell()),
    ("UPDATE break_glass SET patient_id = '{bob}'", tell("'{bob}'")),
    ("UPDATE patients SET status = status", tell()),
    (MIGRATING, TOUCH),
    ("CREATE TEMP TABLE audit_events (LIKE public.audit_events)", tell(), TOUCH),
    (
        "CREATE TEMP TABLE audit_events (LIKE public.audit_events)",
        "SET search_path = pg_temp, public",
        tell(),
        TOUCH,
    ),
)


async def test_nothing_else_accounts_for_it(ward: Ward) -> None:
    for statements in UNACCOUNTED_FOR:
        assert await ward.tried(*statements) == UNAUDITED, statements
        assert await ward.tried("SET CONSTRAINTS ALL IMMEDIATE", *statements) == UNAUDITED, statements


async def test_an_event_of_another_transaction_accounts_for_nothing(ward: Ward) -> None:
    assert await ward.tried(tell()) == ""
    for change in (TOUCH, NEW_KEY):
        assert await ward.tried(change) == UNAUDITED
    # Not even one of a transaction that is not over, nor one that ended while this one went on.
    async with unpooled(ward.application).connect() as telling, telling.begin():
        await telling.exec_driver_sql(tell().format(ada=ward.ada.id))
        assert await ward.tried(TOUCH) == UNAUDITED
    async with unpooled(ward.application).connect() as touching:
        transaction = await touching.begin()
        await touching.exec_driver_sql(TOUCH.format(ada=ward.ada.id))
        for _ in range(3):
            assert await ward.tried("SAVEPOINT one", tell(), "RELEASE one", tell()) == ""
        with pytest.raises(DBAPIError) as refused:
            await transaction.commit()
    assert state_of(refused.value) == UNAUDITED


async def test_the_owner_is_held_too_but_not_a_migration(ward: Ward) -> None:
    assert await ward.tried(TOUCH, owner=True) == UNAUDITED
    assert await ward.tried(MIGRATING, TOUCH, owner=True) == ""
    assert await ward.tried(TOUCH, owner=True) == UNAUDITED


async def test_many_at_once_write_one_patient(ward: Ward) -> None:
    ends = await asyncio.gather(
        *(ward.tried(*((TOUCH, tell(apart=timedelta(seconds=one))) if one % 2 else (TOUCH,))) for one in range(16))
    )
    assert ends == ["" if one % 2 else UNAUDITED for one in range(16)]


# Units of work


async def test_who_goes_around_the_repositories_is_refused_as_unaudited_and_told_of(ward: Ward) -> None:
    with pytest.raises(UnauditedAccess):
        async with ward.practice.begin() as work:
            assert isinstance(work, SqlWork)
            admitted = admit(work, the_operator(), Action.CHANGE, await work.patients.get(ward.ada.id), at=NOW)
            work.patients.open(admitted)
            await work.session.execute(update(PatientRow).values(status="deleted"))
    assert (await ward.practice.opened(ward.bob.id)).id == ward.bob.id
    told = (await ward.practice.events())[-2]
    assert (told.outcome, told.patient) == (Outcome.FAILED, ward.ada.id)


# Whether it is there


_ANOTHER = (
    "DROP TRIGGER patients_require_audit_event ON patients",
    (
        "CREATE CONSTRAINT TRIGGER patients_require_audit_event AFTER {when} ON patients DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW {condition} EXECUTE FUNCTION require_audit_event('{columns}')"
    ),
)
_IDLE = "CREATE OR REPLACE FUNCTION require_audit_event() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"


def another(
    when: str = "INSERT OR UPDATE OR DELETE", condition: str = "", columns: str = "id"
) -> tuple[tuple[str, ...], str]:
    """Return the statements that put another trigger in the place of the right one, and what is said of it."""
    statements = tuple(part.format(when=when, condition=condition, columns=columns) for part in _ANOTHER)
    return statements, "what keeps patients from"


TAKEN_AWAY = (
    (("DROP TRIGGER consents_require_audit_event ON consents",), "nothing keeps consents from"),
    (("DROP FUNCTION require_audit_event() CASCADE",), "nothing keeps appointments, break_glass, "),
    (("ALTER TABLE patients DISABLE TRIGGER ALL",), "what keeps patients from"),
    (("ALTER TABLE patients ENABLE REPLICA TRIGGER patients_require_audit_event",), "what keeps patients from"),
    (("ALTER FUNCTION require_audit_event() RESET search_path",), "altered or switched off"),
    (("ALTER FUNCTION require_audit_event() SET search_path = pg_temp, public",), "altered or switched off"),
    (("ALTER FUNCTION require_audit_event() SECURITY DEFINER",), "altered or switched off"),
    ((_IDLE,), "altered or switched off"),
    another(condition="WHEN (false)"),
    another(when="UPDATE OF sealed"),
    another(columns="subject_id"),
)


async def test_what_was_taken_away_is_missed_and_a_migration_puts_it_back(ward: Ward) -> None:
    assert await ward.missed() == []
    for statements, said in TAKEN_AWAY:
        assert await ward.tried(*statements, owner=True) == "", statements
        (problem,) = await ward.missed()
        assert said in problem, statements
        await migrations.upgrade(ward.owner)
        assert await ward.missed() == [], statements
    assert await ward.tried(TOUCH) == UNAUDITED


async def test_who_has_no_such_triggers_migrates_without(ward: Ward) -> None:
    await migrations.upgrade(ward.owner, trail_guard=False)
    assert await ward.tried(TOUCH) == ""
    assert len(await ward.missed()) == 1
    assert "require_audit_event() RETURNS" not in migrations.sql("postgresql", trail_guard=False)
    assert "require_audit_event() RETURNS" not in migrations.sql("postgresql", "0002")
    assert "require_audit_event() RETURNS" in migrations.sql("postgresql")


async def test_the_application_cannot_take_it_away(ward: Ward) -> None:
    for statement in (
        "ALTER TABLE patients DISABLE TRIGGER ALL",
        "ALTER TABLE patients DISABLE TRIGGER patients_require_audit_event",
        "DROP TRIGGER patients_require_audit_event ON patients",
        "DROP FUNCTION require_audit_event() CASCADE",
        "SET session_replication_role = replica",
        "TRUNCATE patients CASCADE",
        "ALTER FUNCTION require_audit_event() RESET search_path",
    ):
        assert await ward.tried(statement) == NOT_ALLOWED, statement


async def test_sqlite_has_none_and_misses_none(sqlite_options: EngineOptions) -> None:
    async with unpooled(sqlite_options).connect() as connection:
        assert await check_guard(connection) == []


async def test_the_trail_is_not_read_to_its_end_to_find_the_event_of_a_change(ward: Ward) -> None:
    """Hold the plan to the index from its newest entry on, even if it was made while the trail was short."""
    looked_for = "FROM audit_events WHERE patient_id = '{ada}' AND xmin = '1' AND outcome = 1 ORDER BY at DESC LIMIT 1"
    async with unpooled(ward.application).begin() as connection:
        for setting in ("enable_seqscan", "enable_bitmapscan"):
            await connection.execute(text(f"SET LOCAL {setting} = off"))
        plan = "\n".join(await connection.scalars(text(f"EXPLAIN SELECT {looked_for}".format(ada=ward.ada.id))))
    assert "Index Scan Backward using ix_audit_events_patient_id_at" in plan
    assert "Sort" not in plan
