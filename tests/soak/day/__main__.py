"""`python -m tests.soak.day`: a day of a practice within an hour, while memory, connections and the trail are watched.

Starts a PostgreSQL of its own, `clarity serve` on it, and the people of the practice in a third process. They ask by
the course of a day (`course.py`), and in the evening other processes import patients. Meanwhile the server is looked at
every few seconds. When the day is over it is judged (`judging.py`), and drawn.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from httpx import AsyncClient
from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.driver import connected
from benchmarks.growth import Line, followed
from benchmarks.overload import Measured
from clarity.bootstrap import operator, running
from clarity.config import Settings
from clarity.domain.access import Action, Role
from clarity.domain.audit import Outcome
from clarity.upkeep import make_keys
from tests.builders import a_name, a_patient, a_practitioner
from tests.bundles import a_fhir_patient
from tests.servers import PostgresDatabases, postgres_server
from tests.serving import Clinic, figures
from tests.shells import PASSWORD, surroundings
from tests.soak.day.clients import FAMILIES, ROOT, Plan
from tests.soak.day.course import DAY, HOURS, Thing, part_at
from tests.soak.day.judging import Attempt, Day, Sample, Stored, Written, growth_bytes

_DESKS, _CLINICIANS = 10, 14
_PATIENTS, _IMPORTED = 500, 300
_DURABLE = {"fsync": "on", "full_page_writes": "on", "autovacuum": "on"}
# They are about the clients of a practice, and here one address is everybody.
_SETTINGS = {"REQUESTS_PER_MINUTE_OF_ACCOUNT": "0", "REQUESTS_PER_MINUTE_FROM_ADDRESS": "0"}
_READS = (Action.VIEW, Action.LIST, Action.SEARCH, Action.VIEW_HISTORY)
_OPEN = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'clarity' AND datname = current_database()"
_SAMPLES = 1_800
_LEAST_PAUSE_SECONDS = 0.5
_OWN_REQUESTS = 2


@dataclass(slots=True)
class Practice:
    """A practice that is served while its day goes by."""

    clinic: Clinic
    server: Measured
    http: AsyncClient
    database: Any
    people: dict[str, str]
    patients: dict[str, list[str]]
    samples: list[Sample] = field(default_factory=list)
    imported: int = 0
    complaints: list[str] = field(default_factory=list)

    async def look(self, began: float) -> Sample:
        """Look at the server once."""
        asked = time.perf_counter()
        (await self.http.get("/health")).raise_for_status()
        health_ms = 1_000 * (time.perf_counter() - asked)
        told = await figures(self.http)
        sample = Sample(
            seconds=time.monotonic() - began,
            memory_bytes=told["process_resident_memory_bytes"],
            connections=await self.database.fetchval(_OPEN),
            queue=told["clarity_audit_queue_depth"],
            answered=told["clarity_requests_total"] - _OWN_REQUESTS * len(self.samples),
            health_ms=health_ms,
        )
        self.samples.append(sample)
        return sample

    async def import_some(self, seed: int) -> None:
        """Import patients as an operator does, in a process of its own."""
        chance = random.Random(seed)
        lines = (json.dumps(a_fhir_patient(family=chance.choice(FAMILIES))) for _ in range(_IMPORTED))
        file = self.clinic.folder / f"import-{seed}.ndjson"
        await asyncio.to_thread(file.write_text, "\n".join(lines))
        command = (sys.executable, "-m", "clarity", "import", str(file))
        quiet = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self.clinic.folder, env=self.clinic.environment, stdin=quiet, stdout=quiet, stderr=quiet
        )
        if status := await process.wait():
            self.complaints.append(f"an import ended with status {status}")
        self.imported += _IMPORTED

    async def stored(self) -> dict[str, Stored]:
        """Return everybody, as the front desk lists them."""
        desk = next(email for email, practitioner in self.people.items() if not practitioner)
        answer = await self.http.post(f"{ROOT}/sessions", json={"email": desk, "password": PASSWORD})
        headers = {"Authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}
        found: dict[str, Stored] = {}
        query: dict[str, Any] = {"limit": 100}
        while True:
            page = (await self.http.get(f"{ROOT}/patients", params=query, headers=headers)).raise_for_status().json()
            for item in page["items"]:
                found[item["id"]] = Stored(item["version"], next((one["value"] for one in item["telecoms"]), ""))
            if not page["next_cursor"]:
                return found
            query["cursor"] = page["next_cursor"]

    async def recorded(self) -> list[tuple[str, bool]]:
        """Return the request of each event of what was done, and whether it tells of patients that somebody read."""
        events = await self.database.fetch(
            "SELECT request_id, role, action FROM audit_events WHERE outcome = $1", Outcome.SUCCEEDED
        )
        people = (Role.FRONT_DESK, Role.CLINICIAN)
        return [(str(one["request_id"]), one["role"] in people and one["action"] in _READS) for one in events]


@asynccontextmanager
async def practising(folder: Path) -> AsyncIterator[Practice]:
    """Serve a practice with people and some patients while the block runs."""
    async with AsyncExitStack() as stack:
        databases = PostgresDatabases(stack.enter_context(postgres_server(_DURABLE)), "file_copy")
        await databases.prepare()
        name = await databases.create()
        url = databases.application_of(name).url
        settings = Settings(data_dir=folder / "data", async_database_uri=SecretStr(url))
        make_keys(settings)
        people, patients = await _settled(settings)
        given = {"DATA_DIR": str(settings.data_dir), "ASYNC_DATABASE_URI": url}
        clinic = Clinic(folder, surroundings() | _SETTINGS | given)
        process, address = await stack.enter_async_context(clinic.serving())
        http = await stack.enter_async_context(AsyncClient(base_url=address, timeout=30, trust_env=False))
        while not (await http.get("/ready")).is_success:
            await asyncio.sleep(0.1)
        database = await stack.enter_async_context(connected(databases.owner_of(name).url))
        server = Measured(process.pid, url, {"address": address})
        yield Practice(clinic, server, http, database, people, patients)


async def _settled(settings: Settings) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Make accounts and the first patients; return the practitioner behind each, and the care team of each."""
    people, patients, chance = {}, {}, random.Random(1)
    async with running(settings) as services:
        for number in range(_DESKS + _CLINICIANS):
            desk = number < _DESKS
            practitioner = None if desk else await services.practitioners.register(operator(), a_practitioner())
            email = f"{'desk' if desk else 'clinician'}{number}@clinic.example"
            await services.accounts.add(
                operator(),
                email=email,
                name=email,
                role=Role.FRONT_DESK if desk else Role.CLINICIAN,
                password=PASSWORD,
                practitioner=practitioner.id if practitioner else None,
            )
            people[email] = practitioner.id if practitioner else None
        clinicians = [one for one in people.values() if one]
        for _ in range(_PATIENTS):
            team = frozenset(chance.sample(clinicians, 2))
            patient = a_patient(name=a_name(chance.choice(FAMILIES)), care_team=team)
            patients[str((await services.patients.register(operator(), patient)).id)] = [str(one) for one in team]
    return {email: str(one or "") for email, one in people.items()}, patients


async def day_of(practice: Practice, options: argparse.Namespace) -> Day:
    """Let the day go by, and return all that is known of it."""
    folder, seconds = practice.clinic.folder, 60 * options.minutes
    before = await practice.server.at_rest()
    plan = Plan(
        address=str(practice.http.base_url),
        seconds=seconds,
        per_second=options.per_second,
        people=practice.people,
        patients=practice.patients,
        seed=options.seed,
        notes=str(folder / "notes.json"),
    )
    (folder / "plan.json").write_text(json.dumps(asdict(plan)))
    clients = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.soak.day.clients", str(folder / "plan.json")), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert clients.stdout is not None
        await clients.stdout.readline()
        began = time.monotonic()
        await _watched(practice, clients, began, seconds)
    finally:
        if clients.returncode is None:
            clients.kill()
        await clients.wait()
    if clients.returncode:
        practice.complaints.append(f"the clients ended with status {clients.returncode}")
    if any("Traceback" in log.read_text() for log in folder.glob("log-*")):
        practice.complaints.append("the server's log has a traceback")
    held = await practice.server.at_rest(before)
    notes = json.loads(await asyncio.to_thread(Path(plan.notes).read_text))
    recorded = await practice.recorded()
    return Day(
        samples=practice.samples,
        attempts=[Attempt(Thing(thing), *rest) for thing, *rest in notes["attempts"]],
        written=[Written(*one) for one in notes["written"]],
        stored=await practice.stored(),
        recorded={request for request, _ in recorded},
        reads=[request for request, is_read in recorded if is_read],
        leaked=held.leaked(before),
        queue=(await practice.look(began)).queue,
        before=len(practice.patients),
        imported=practice.imported,
        complaints=practice.complaints,
    )


async def _watched(practice: Practice, clients: asyncio.subprocess.Process, began: float, seconds: float) -> None:
    """Look at the server again and again until the clients have ended; show how late it is, and import in time."""
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description:>20}"), BarColumn(), TimeRemainingColumn())
    imports = [hour for part in DAY for hour in part.imports]
    importing: list[asyncio.Task[None]] = []
    shown = ""
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=seconds)
        while clients.returncode is None:
            hour = (time.monotonic() - began) / seconds * HOURS
            if imports and hour >= imports[0]:
                importing.append(asyncio.create_task(practice.import_some(imports.pop(0))))
            sample = await practice.look(began)
            part = part_at(hour).name
            bar.update(task, completed=sample.seconds, description=f"{int(hour) % HOURS:02}:00 {part}")
            if not console.is_terminal and part != shown:
                print(f"  {sample.seconds:6.0f} s  {part}", file=sys.stderr)
                shown = part
            with suppress(TimeoutError):
                await asyncio.wait_for(clients.wait(), max(_LEAST_PAUSE_SECONDS, seconds / _SAMPLES))
    await asyncio.gather(*importing)


def show(day: Day, seconds: float) -> None:
    """Print how the server stood in each part of the day, what was asked, and the verdict."""
    print(
        f"\n  {'':14}{'requests':>10}{'a second':>10}{'memory MB':>11}{'connections':>13}{'queue':>7}{'health ms':>14}"
    )
    begin = 0.0
    for part in DAY:
        end = part.until / HOURS * seconds
        some = [one for one in day.samples if begin <= one.seconds <= end]
        if len(some) > 1:
            count = some[-1].answered - some[0].answered
            health = [one.health_ms for one in some]
            print(
                f"  {part.name:14}{count:10,}{count / (some[-1].seconds - some[0].seconds):10.1f}"
                f"{some[-1].memory_bytes / 2**20:11.1f}{max(one.connections for one in some):13}"
                f"{max(one.queue for one in some):7}{median(health):7.1f}{max(health):7.0f}"
            )
        begin = end
    print(f"\n  {'':14}{'good':>10}{'others':>10}{'p50 ms':>10}{'p99 ms':>10}")
    for thing in Thing:
        took = sorted(1_000 * one.seconds for one in day.attempts if one.thing is thing)
        good = sum(one.is_good for one in day.attempts if one.thing is thing)
        if took:
            slow = took[int(0.99 * (len(took) - 1))]
            print(f"  {thing:14}{good:10,}{len(took) - good:10,}{median(took):10.1f}{slow:10.1f}")
    first, last = day.samples[0].connections, day.samples[-1].connections
    print(
        f"\n  memory grew by {growth_bytes(day.samples) / 2**20:.2f} MB in the second half;"
        f" {first} connections before, {last} after, {day.leaked} without use\n"
        f"  {len(day.written):,} acknowledged writes, {len(day.stored):,} patients; {len(day.reads):,} events of reads"
    )
    found = day.objections()
    for objection in found:
        print(f"  NOT AS IT MUST BE: {objection}")
    print("  verdict: " + (f"{len(found)} things are not as they must be" if found else "all is as it must be"))


def drawing(samples: list[Sample], seconds: float) -> str:
    """Return how the server stood over the day, as SVG."""

    def line(name: str, colour: str, points: list[tuple[float, float]]) -> Line:
        return Line(name, colour, "", [(at / seconds * HOURS, value) for at, value in points if at <= seconds])

    rates = [
        (later.seconds, (later.answered - sooner.answered) / (later.seconds - sooner.seconds))
        for sooner, later in pairwise(samples)
    ]
    lines = [
        line("requests a second", "#2f6690", rates),
        line("resident memory, MB", "#0b6e4f", [(one.seconds, one.memory_bytes / 2**20) for one in samples]),
        line("connections to the database", "#b3541e", [(one.seconds, one.connections) for one in samples]),
        line("events that are not durable yet", "#c9a227", [(one.seconds, one.queue) for one in samples]),
    ]
    hours = {float(hour): f"{hour:02}:00" for hour in range(0, HOURS + 1, 3)}
    return followed(f"A day of a practice in {seconds / 60:g} minutes", "time of day", hours, lines)


def main() -> int:
    """Let a day go by; return 1 if anything was not as it must be."""
    parser = argparse.ArgumentParser(prog="make day ARGS=...", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long the day takes (default 60)")
    parser.add_argument("--per-second", type=float, default=40.0, help="requests in the busiest hour (default 40)")
    parser.add_argument("--seed", type=int, default=1, help="what is asked follows from it")
    parser.add_argument("--plot", type=Path, default=Path("bench-results/day.svg"), help="the file to draw to")
    options = parser.parse_args()
    if not 1 <= options.minutes <= 1_440 or not 1 <= options.per_second <= 1_000:
        parser.error("--minutes is 1 to 1,440, --per-second 1 to 1,000")

    async def run() -> Day:
        with tempfile.TemporaryDirectory(prefix="clarity-day-") as name:
            async with practising(Path(name)) as practice:
                return await day_of(practice, options)

    day = asyncio.run(run())
    seconds = 60 * options.minutes
    show(day, seconds)
    options.plot.parent.mkdir(parents=True, exist_ok=True)
    options.plot.write_text(drawing(list(day.samples), seconds))
    print(f"  drawn to {options.plot}")
    return 1 if day.objections() else 0


if __name__ == "__main__":
    sys.exit(main())
