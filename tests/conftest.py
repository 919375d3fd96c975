"""Databases for tests, migrated and empty. Whoever asks for `database` runs on SQLite and on PostgreSQL.

`database_url` is the address of the same one, for processes that a test starts.
"""

import gc
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from clarity.domain.errors import ClarityError
from clarity.persistence.engine import Database, EngineOptions
from clarity.security.keyring import Keyring
from tests.builders import COMMONEST, a_keyring
from tests.canaries import LogWatch, contents, hits, hits_in_files, planted, saw, watching
from tests.practice import Practice, memory_practice, sql_practice
from tests.recycling import Recycling, recycling
from tests.servers import PostgresDatabases, migrated_file, opened, postgres_databases

# Each of these takes seconds, and does on both databases what nothing but the other layers' tests could tell apart. The
# suite runs the rest of them; `make soak` runs these too.
_FOR_SOAK: dict[str, str | tuple[str, ...]] = {
    "test_everything_is_imported_once_found_again_and_nowhere_in_the_clear": "postgresql",
    "test_an_import_killed_in_the_middle_is_completed_by_the_next": "postgresql",
    "test_every_role_gets_what_was_decided_of_every_patient_and_no_more": "sqlite",
    "test_lists_searches_and_totals_have_whom_the_caller_may_see_and_nobody_else": "sqlite",
    "test_every_role_is_shown_of_charts_what_was_decided_and_no_more": "sqlite",
    "test_lists_searches_and_totals_of_charts_have_what_the_caller_may_see_and_nothing_else": "sqlite",
    "test_a_psychotherapy_note_is_in_nothing_of_anybody_else": "sqlite",
    "test_pages_of_charts_do_not_tell_how_much_is_left_out_of_them": "sqlite",
    "test_every_operation_lets_in_whom_the_policy_names_and_nobody_else": "sqlite",
    "test_what_needs_no_log_in_is_answered_without": "sqlite",
    "test_what_one_process_revokes_the_other_refuses_with_the_next_request": "sqlite",
    "test_importing_the_files_again_changes_nothing": "sqlite-synthea",
    "test_everything_in_the_files_is_in_the_practice": "memory-synthea",
    "test_every_fragment_finds_whom_a_plain_scan_finds": ("sqlite", "postgresql-resident"),
    "test_each_search_sees_what_another_process_has_committed_before": "sqlite",
    "test_the_published_data_is_valid_as_a_whole": "synthea",
    "test_what_was_acknowledged_survives_a_killed_server_and_nothing_else_is_half_there": "sqlite",
    "test_a_server_that_is_told_to_stop_answers_what_it_began": "sqlite",
    "test_a_note_whose_signing_was_killed_is_a_draft_or_signed_whole_with_its_event": "postgresql",
    "test_of_many_processes_that_migrate_at_once_each_succeeds": "postgresql",
    "test_a_scope_means_the_same_in_python_and_in_sql": "sqlite",
    "test_merging_and_unmerging_restores_both_field_by_field": "sqlite",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to `make soak` what the suite has no time for."""
    for item in items:
        name, _, case = item.name.partition("[")
        if case.startswith(_FOR_SOAK.get(name, "nothing")):
            item.add_marker(pytest.mark.soak)


# Where Linux keeps files in memory. A run has about half a gigabyte there at a time.
_MEMORY = Path("/dev", "shm")
_ROOM_BYTES = 2 * 1024**3
# A single statement makes thousands of objects. What holds files and connections is closed, not left to the collector.
_YOUNG = 20_000


def pytest_configure() -> None:
    """Let what tests start be interrupted, even if the shell that runs this in the background ignores that.

    Databases are made by the thousand and thrown away, and a disk takes longer for each than its test does: if there is
    room for them in memory, and nobody said where files that do not last are to be, they are there.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "TMPDIR" not in os.environ and _has_room(_MEMORY):
        os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Spare the collector of garbage what was imported and collected, which stays until the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)


def _has_room(folder: Path) -> bool:
    """Return whether databases, and programs for them, may be put there."""
    return (
        os.access(folder, os.W_OK)
        and shutil.disk_usage(folder).free > _ROOM_BYTES
        and not os.statvfs(folder).f_flag & os.ST_NOEXEC
    )


@pytest.fixture(scope="session", autouse=True)
def _watched() -> Iterator[None]:
    """Hand over to whoever watches each line of the log and the text of each of our errors."""
    handler, say = LogWatch(), ClarityError.__init__
    ours = logging.getLogger("clarity")

    def overheard(error: ClarityError, message: str | None = None) -> None:
        say(error, message)
        saw("an error", f"{error!r}")

    ours.setLevel(logging.INFO)
    logging.getLogger().addHandler(handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClarityError, "__init__", overheard)
        yield
    logging.getLogger().removeHandler(handler)


@pytest.fixture(scope="session", autouse=True)
def _recycling() -> Iterator[Recycling]:
    with recycling() as engines:
        yield engines


@pytest.fixture(autouse=True)
def _engines(_recycling: Recycling) -> Iterator[None]:
    """Let the next test's engines know what those of this one learnt."""
    with _recycling.during_a_test():
        yield


@pytest.fixture(autouse=True)
def _canaries() -> Iterator[None]:
    """Fail a test in which content that it made up came out where none may be."""
    with watching():
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresDatabases]:
    with postgres_databases() as databases:
        yield databases
        found = hits_in_files(COMMONEST, *databases.folders)
        assert not found, f"the files of the server have {sorted(found)}"


@pytest.fixture
async def postgresql_options(postgres: PostgresDatabases) -> EngineOptions:
    return postgres.application_of(await postgres.create())


@pytest.fixture
async def postgresql(postgresql_options: EngineOptions) -> AsyncIterator[Database]:
    async with opened(postgresql_options) as database:
        yield database


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated_file(tmp_path_factory.mktemp("sqlite") / "template.db")


@pytest.fixture
def sqlite_options(sqlite_template: Path, tmp_path: Path) -> Iterator[EngineOptions]:
    path = shutil.copy(sqlite_template, tmp_path / "practice.db")
    yield EngineOptions(url=f"sqlite+aiosqlite:///{path}")
    found = hits(planted(), contents(*tmp_path.glob("practice.db*")), every_spelling=0)
    assert not found, f"the file of the database has {sorted(found)}"


@pytest.fixture
async def sqlite(sqlite_options: EngineOptions) -> AsyncIterator[Database]:
    async with opened(sqlite_options) as database:
        yield database


@pytest.fixture(params=["sqlite", "postgresql"])
def database_options(request: pytest.FixtureRequest) -> EngineOptions:
    options: EngineOptions = request.getfixturevalue(f"{request.param}_options")
    return options


@pytest.fixture
async def database(database_options: EngineOptions) -> AsyncIterator[Database]:
    async with opened(database_options) as database:
        yield database


@pytest.fixture
def owner_options(request: pytest.FixtureRequest, database_options: EngineOptions) -> EngineOptions:
    """Return how the owner of its tables connects to the database that the application has with `database`."""
    if database_options.dialect_name == "sqlite":
        return database_options
    postgres: PostgresDatabases = request.getfixturevalue("postgres")
    return postgres.as_owner(database_options)


@pytest.fixture
def database_url(database_options: EngineOptions) -> str:
    return database_options.url


@pytest.fixture(scope="session")
def keyring() -> Keyring:
    return a_keyring()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def storage(request: pytest.FixtureRequest) -> Database | None:
    return None if request.param == "memory" else request.getfixturevalue(request.param)


@pytest.fixture
async def practice(storage: Database | None, keyring: Keyring) -> AsyncIterator[Practice]:
    """Open a practice on each kind of storage in turn, for the tests that all of them have to pass."""
    if storage is None:
        yield memory_practice()
    else:
        async with sql_practice(storage, keyring) as practice:
            yield practice
