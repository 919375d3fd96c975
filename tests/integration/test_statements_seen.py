"""What a server of PostgreSQL that writes everything down, values of parameters included, knows of anybody."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from clarity.api.patients.shapes import EXAMPLE
from clarity.domain.access import Role
from clarity.domain.records import Label
from clarity.security.keyring import Keyring
from tests.api.clinic import WHOLE, opened_clinic
from tests.api.house import SSN, furnished
from tests.canaries import contents, hits
from tests.fakes.accounts import ADDRESS, PASSWORD
from tests.practice import sql_practice
from tests.servers import PostgresDatabases, PostgresServer, opened, postgres_files

DEBIAN = Path("/usr/lib/postgresql/15")
TELL_TALE = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "all",
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
}
_OURS = {"official", "mobile", "nickname", "female"}
REASON = "Found unconscious; nobody of her team can be reached."
MRN = "MRN-551208"
TYPED = {SSN, MRN, SSN.replace("-", ""), PASSWORD, ADDRESS, REASON, "Sleeps badly", "Docket 26-117", "Grace Hopper"}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Run a server that keeps every statement, and every value that comes with one."""
    if not any(DEBIAN.rglob("pg_stat_statements.so")):
        pytest.skip("there is no PostgreSQL here that has pg_stat_statements")
    with postgres_files(TELL_TALE, programs=DEBIAN / "bin") as server:
        server.start()
        yield server


@pytest.mark.soak
async def test_neither_statements_nor_their_parameters_tell_of_anybody(
    server: PostgresServer, keyring: Keyring
) -> None:
    databases = PostgresDatabases(server.options, "wal_log")
    await asyncio.to_thread(lambda: asyncio.run(databases.prepare()))
    name = await databases.create()
    async with (
        opened(databases.application_of(name)) as database,
        sql_practice(database, keyring) as practice,
        opened_clinic(practice, keyring) as clinic,
    ):
        house = await furnished(clinic, ((Label.NORMAL, False), (Label.PART2, True)))
        doctor, desk = house.caller(Role.CLINICIAN), house.caller(Role.FRONT_DESK).http
        officer = house.caller(Role.COMPLIANCE_OFFICER).http
        patient, elsewhere = house.normal_patient_of(doctor).id, next(one.id for one in house.known if not one.tied)
        wrong = {"email": doctor.account.email, "password": PASSWORD[::-1]}
        answers = [
            await desk.post("/patients", json={**EXAMPLE, "identifiers": [{"kind": "mrn", "value": MRN}]}),
            await doctor.http.get(f"/patients/{patient}"),
            await doctor.http.get(f"/patients/{patient}/history"),
            await doctor.http.post("/patients/search", json={"name": WHOLE["names"][0]["family"][:4]}),
            await doctor.http.post("/patients/search", json={"ssn": SSN}),
            await doctor.http.post("/break-glass", json={"patient": str(elsewhere), "reason": REASON}),
            await officer.get("/audit", params={"patient": str(patient)}),
            await desk.post("/patients", json={**EXAMPLE, "identifiers": [{"kind": "mrn", "value": MRN}]}),
            await clinic.caller().post("/sessions", json=wrong),
        ]
        assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 200, 201, 200, 409, 401]
    async with opened(databases.owner_of(name)) as database, database.writing() as session:
        await session.execute(text("CREATE EXTENSION pg_stat_statements"))
        statements = (await session.scalars(text("SELECT query FROM pg_stat_statements"))).all()
    told = list(TYPED | set(_texts(WHOLE)))
    assert {"Alcántar", "48 Juniper Lane", "+1 617 555 0143"} <= set(told)
    assert any("INSERT INTO patients" in one for one in statements)
    assert b"parameters: $1 = " in server.log.read_bytes()
    assert not hits(told, ["\n".join(statements).encode(), *contents(server.log)], every_spelling=len(told))


def _texts(content: object) -> Iterator[str]:
    """Yield what somebody wrote in a registration, where it is long enough to be recognised."""
    values = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    for value in values:
        if isinstance(value, str) and len(value) >= 6 and value not in _OURS:
            yield value
        yield from _texts(value)
