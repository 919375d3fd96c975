"""The real bundles, imported as an operator would: complete, found again, nowhere in the clear, hard to interrupt."""

import asyncio
import gzip
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, func, select, text

from clarity.audit.encoding import decode
from clarity.domain.access import Action
from clarity.domain.audit import Outcome
from clarity.domain.names import fold
from clarity.persistence.audit import AuditEventRow
from clarity.persistence.engine import Database
from clarity.persistence.patients.tables import PatientRow
from tests.canaries import content_of_resource, contents, hits
from tests.data import real_files


@pytest.fixture(scope="module")
def bundles() -> list[dict[str, Any]]:
    return [json.loads(gzip.decompress(path.read_bytes())) for path in sorted(real_files("synthea-r4").iterdir())]


def resources(bundles: list[dict[str, Any]], kind: str) -> Iterator[dict[str, Any]]:
    for bundle in bundles:
        yield from (entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind)


@pytest.fixture
def environment(tmp_path: Path, database: Database) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DATA_DIR": str(tmp_path / "keys"),
        "ASYNC_DATABASE_URI": address_of(database).render_as_string(hide_password=False),
    }


def clarity(environment: dict[str, str], *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "clarity", *arguments],
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=environment["HOME"],
    )


async def files_of(database: Database, tmp_path: Path) -> list[Path]:
    """Return everything this practice wrote: keys, the database with its log and write-ahead log, if they are ours."""
    folder = Path(str(address_of(database).query.get("host", "")))
    if database.dialect_name == "sqlite" or not (folder / "data").exists():
        return [tmp_path]
    async with database.reading() as session:
        number = await session.scalar(text("SELECT oid FROM pg_database WHERE datname = current_database()"))
    return [tmp_path, folder / "data" / "base" / str(number), folder / "data" / "pg_wal", folder / "log"]


def address_of(database: Database) -> URL:
    url: URL = database.reading.kw["bind"].url
    return url


async def counted(database: Database) -> tuple[int, int]:
    """Return how many patients there are, and how many the trail says were imported well."""
    async with database.reading() as session:
        patients = await session.scalar(select(func.count()).select_from(PatientRow))
        encoded = await session.scalars(select(AuditEventRow.encoded))
    events = [decode(data) for data in encoded]
    added = {
        event.patient
        for event in events
        if event.action is Action.IMPORT and event.outcome is Outcome.SUCCEEDED and event.version == 1 and event.patient
    }
    return patients or 0, len(added)


def found(environment: dict[str, str], password: str, *asked: str) -> list[dict[str, Any]]:
    """Search as the front desk through the command line."""
    answer = clarity(
        environment,
        *("patient", "find", *asked, "--as", "desk@clinic.example", "--password-stdin", "--json", "--limit", "100"),
        stdin=f"{password}\n",
    )
    assert answer.returncode == 0, answer.stderr
    items: list[dict[str, Any]] = json.loads(answer.stdout)["items"]
    return items


@pytest.fixture
def password(environment: dict[str, str]) -> str:
    """Make the keys and an account for the front desk, and return its password."""
    assert clarity(environment, "keys", "init").returncode == 0
    made = clarity(
        environment, "account", "add", "desk@clinic.example", "--role", "front-desk", "--name", "Desk", "--generate"
    )
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


async def test_everything_is_imported_once_found_again_and_nowhere_in_the_clear(
    environment: dict[str, str],
    password: str,
    bundles: list[dict[str, Any]],
    database: Database,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    people = (
        resource for kind in ("Patient", "Practitioner", "MedicationRequest") for resource in resources(bundles, kind)
    )
    secrets = {text for resource in people for text in content_of_resource(resource)}
    assert len(secrets) > 500
    # Some names are also those of time zones and the like, which PostgreSQL brings along.
    unrelated = hits(secrets, contents(*await files_of(database, tmp_path)))
    assert len(unrelated) < 10

    folder = str(real_files("synthea-r4"))
    first = clarity(environment, "import", folder)
    assert first.returncode == 0, first.stderr
    assert await counted(database) == (len(bundles), len(bundles))
    again = clarity(environment, "import", folder)
    assert again.returncode == 0
    assert "nothing has changed" in again.stderr + again.stdout
    assert await counted(database) == (len(bundles), len(bundles))

    _finds_whom_a_scan_finds(environment, password, bundles)
    _knows_the_care_teams_of_the_encounters(environment, password, bundles)

    if database.dialect_name == "postgresql":
        await request.getfixturevalue("postgres").run("CHECKPOINT")
    printed = [output.encode() for run in (first, again) for output in (run.stdout, run.stderr)]
    assert hits(secrets, [*printed, *contents(*await files_of(database, tmp_path))]) == unrelated


def _finds_whom_a_scan_finds(environment: dict[str, str], password: str, bundles: list[dict[str, Any]]) -> None:
    """Compare some fragments of names with a plain scan of the source files."""
    people = {
        resource["identifier"][0]["value"]: [
            fold(" ".join((*name.get("given", ()), name["family"]))) for name in resource["name"]
        ]
        for resource in resources(bundles, "Patient")
    }
    choose = random.Random(20260314)
    names = sorted({name for spoken in people.values() for name in spoken})
    name = choose.choice([name for name in names if len(name) > 3])
    start = choose.randrange(len(name) - 3)
    for fragment in ("alcantar", "a", name[start : start + 3]):
        expected = {
            who
            for who, spoken in people.items()
            if any(all(word in name for word in fragment.split()) for name in spoken)
        }
        items = found(environment, password, fragment)
        assert {item["identifiers"][0]["value"] for item in items} == expected, fragment


def _knows_the_care_teams_of_the_encounters(
    environment: dict[str, str], password: str, bundles: list[dict[str, Any]]
) -> None:
    """Compare the care team of every patient with who took part in their encounters."""
    expected = {}
    for bundle in bundles:
        (patient,) = resources([bundle], "Patient")
        seen = {
            participant["individual"]["reference"]
            for encounter in resources([bundle], "Encounter")
            for participant in encounter.get("participant", ())
        }
        expected[patient["identifier"][0]["value"]] = len(seen)
    items = found(environment, password)
    assert {item["identifiers"][0]["value"]: len(item["care_team"]) for item in items} == expected


@pytest.mark.usefixtures("password")
async def test_an_import_killed_in_the_middle_is_completed_by_the_next(
    environment: dict[str, str], bundles: list[dict[str, Any]], database: Database
) -> None:
    folder = str(real_files("synthea-r4"))
    importing = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "clarity", "import", folder),
        env=environment,
        cwd=environment["HOME"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wanted = random.Random(0).randrange(1, len(bundles) - 10)
    async with asyncio.timeout(60):
        while (await counted(database))[0] < wanted and importing.returncode is None:
            await asyncio.sleep(0.005)
    importing.kill()
    assert await importing.wait() == -signal.SIGKILL
    patients, audited = await counted(database)
    assert wanted <= patients == audited
    assert clarity(environment, "import", folder).returncode == 0
    assert await counted(database) == (len(bundles), len(bundles))
