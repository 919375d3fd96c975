"""What is shipped beside the code: lock files, image, composition, wheel."""

import json
import re
import tomllib
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.metadata import metadata
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hatchling.build import build_wheel
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from clarity.cli import main
from clarity.config import Environment, Settings
from clarity.domain.errors import Misconfigured

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-bench.lock")
PINNED = re.compile(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==[^\s;]+( ; [^#]+?)?( --hash=sha256:[0-9a-f]{64})+")


def locked(lock: str) -> list[str]:
    """Return the requirements of a lock file, each on one line, without comments."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / lock).read_text(), flags=re.MULTILINE)
    return [" ".join(line.split()) for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def versions(lock: str) -> dict[str, set[str]]:
    """Return the locked versions of each package; there are several where a marker chooses."""
    found: dict[str, set[str]] = {}
    for line in locked(lock):
        name, version = re.split(r"\[.*?\]==|==", line.split(" ")[0])
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


def requirements() -> Iterator[tuple[str, str]]:
    """Yield every requirement of `pyproject.toml` with the smallest lock file that must satisfy it."""
    project, groups = PROJECT["project"], PROJECT["dependency-groups"]
    for requirement in [*project["dependencies"], *PROJECT["build-system"]["requires"], *groups["build"]]:
        yield requirement, "requirements.lock"
    for extra in project["optional-dependencies"].values():
        yield from ((requirement, "requirements.lock") for requirement in extra)
    yield from ((requirement, "requirements-dev.lock") for requirement in groups["dev"])
    yield from ((requirement, "requirements-bench.lock") for requirement in groups["bench"])


def shipped_texts() -> Iterator[tuple[str, str]]:
    """Yield path and content of every text file a contributor writes."""
    patterns = ("*", ".ci/*", "docs/**/*", "src/**/*", "tests/**/*", "examples/*", "benchmarks/**/*")
    suffixes = {"", ".py", ".md", ".toml", ".yaml", ".yml", ".lock", ".mako", ".ini", ".sql", ".json"}
    local = {".env", ".coverage"}
    for path in sorted({path for pattern in patterns for path in ROOT.glob(pattern)}):
        if path.is_file() and path.suffix in suffixes and path.name not in local:
            yield str(path.relative_to(ROOT)), path.read_text()


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_requirement_is_one_version_with_its_hashes(lock: str) -> None:
    assert locked(lock)
    assert [line for line in locked(lock) if not PINNED.fullmatch(line)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_says_nothing_about_where_packages_come_from(lock: str) -> None:
    assert re.search(r"://|index-url|find-links|trusted-host", (ROOT / lock).read_text()) is None


@pytest.mark.parametrize(("smaller", "larger"), list(pairwise(LOCKS)))
def test_the_tools_are_locked_beside_the_very_same_dependencies(smaller: str, larger: str) -> None:
    assert set(locked(smaller)) <= set(locked(larger))


@pytest.mark.parametrize(("requirement", "lock"), list(requirements()))
def test_what_the_project_asks_for_is_locked(requirement: str, lock: str) -> None:
    wanted = Requirement(requirement)
    assert all(version in wanted.specifier for version in versions(lock)[canonicalize_name(wanted.name)])


@pytest.mark.parametrize("requirement", [requirement for requirement, _ in requirements() if "[" in requirement])
def test_an_extra_that_is_asked_for_exists(requirement: str) -> None:
    wanted = Requirement(requirement)
    if requirement in PROJECT["dependency-groups"]["bench"] and find_spec(wanted.name) is None:
        pytest.skip("what benchmarks compare with is installed for them alone")
    assert wanted.extras <= set(metadata(wanted.name).get_all("Provides-Extra", []))


@pytest.mark.parametrize(
    ("lock", "group"),
    [("requirements.lock", "dev"), ("requirements.lock", "bench"), ("requirements-dev.lock", "bench")],
)
def test_the_lock_holds_nothing_of_the_tools(lock: str, group: str) -> None:
    tools = {canonicalize_name(Requirement(tool).name) for tool in PROJECT["dependency-groups"][group]}
    assert versions(lock).keys().isdisjoint(tools)


def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with zipfile.ZipFile(tmp_path / build_wheel(str(tmp_path))) as wheel:
        built = {name for name in wheel.namelist() if ".dist-info/" not in name}
    source = ROOT / "src"
    files = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    assert built == {name for name in files if not name.endswith(".pyc")}
    assert "clarity/py.typed" in built


def dockerfile() -> list[list[str]]:
    """Return the instructions of the Dockerfile, split at white space."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [line.split() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def test_the_image_is_built_from_files_that_exist_and_that_the_build_may_see() -> None:
    copies = [words[1:-1] for words in dockerfile() if words[0] == "COPY" and "--from=build" not in words]
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    sources = [source for copy in copies for source in copy]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [source for source in sources if not any(fnmatch(source, name) for name in allowed)] == []


def test_the_image_installs_only_what_is_pinned() -> None:
    installs = [
        " ".join(words) for words in dockerfile() if words[0] == "RUN" and "install" in words and "pip" in words
    ]
    assert installs
    assert [step for step in installs if "--require-hashes" not in step and "--no-index" not in step] == []


def test_the_image_runs_as_nobody_special_and_tells_how_it_is() -> None:
    instructions = dockerfile()
    last_stage = instructions[max(at for at, words in enumerate(instructions) if words[0] == "FROM") :]
    assert ["USER", "clarity"] in last_stage
    assert any(words[0] == "HEALTHCHECK" and "/health" in " ".join(words) for words in last_stage)


COMPOSITION: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSITION["services"]
OURS = {name: service for name, service in SERVICES.items() if service.get("build") == "."}


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_given_settings_that_exist(name: str) -> None:
    given = {*map(str.lower, OURS[name]["environment"]), *OURS[name]["secrets"]}
    assert given <= set(Settings.model_fields)


@pytest.mark.parametrize("name", OURS)
def test_a_service_starts_in_development_and_is_refused_elsewhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for secret in OURS[name]["secrets"]:
        (tmp_path / secret).write_text("postgresql://somebody:b1f5e8d09c27@postgres/clarity\n")
    for setting in Settings.model_fields:
        monkeypatch.delenv(setting.upper(), raising=False)
    for setting, value in OURS[name]["environment"].items():
        monkeypatch.setenv(setting, value)
    settings = Settings(_env_file=None, _secrets_dir=tmp_path)
    settings.check_start()
    assert settings.database.dialect == settings.migration_database.dialect == "postgresql"
    with pytest.raises(Misconfigured, match="TLS"):
        settings.model_copy(update={"environment": Environment.STAGING}).check_start()


def started() -> list[list[str]]:
    """Return what the image and the services pass to the `clarity` command."""
    image = [json.loads(" ".join(words[1:])) for words in dockerfile() if words[0] == "CMD"]
    return [*image, *(service["command"] for service in OURS.values() if "command" in service)]


@pytest.mark.parametrize("arguments", started(), ids=" ".join)
def test_the_image_is_started_with_a_command_that_exists(arguments: list[str]) -> None:
    # Wrong options are refused before help is shown, and nothing runs.
    assert main([*arguments, "--help"]) == 0


def test_only_what_migrates_knows_the_owner_of_the_tables() -> None:
    assert [name for name, service in OURS.items() if "migration_database_uri" in service["secrets"]] == ["migrate"]


def test_every_service_that_stays_up_tells_how_it_is_and_waits_for_what_it_needs() -> None:
    finished = {"migrate"}
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == finished
    conditions = {
        (needed, how["condition"])
        for service in SERVICES.values()
        for needed, how in service.get("depends_on", {}).items()
    }
    assert conditions == {("postgres", "service_healthy"), ("migrate", "service_completed_successfully")}


def test_secrets_are_files_that_git_ignores() -> None:
    declared = COMPOSITION["secrets"]
    assert {secret for service in SERVICES.values() for secret in service.get("secrets", [])} == set(declared)
    assert all(secret["file"].startswith("./secrets/") for secret in declared.values())
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    inline = [value for service in SERVICES.values() for value in service.get("environment", {}).values()]
    assert [value for value in inline if "://" in value] == []


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    places = re.compile("|".join(rf"(?<![\w.~-])/{place}/" for place in ("work", "root", r"home/\w+", r"Users/\w+")))
    named = {path: places.findall(text) for path, text in shipped_texts()}
    assert {path: found for path, found in named.items() if found} == {}


def test_no_check_is_switched_off_in_the_source() -> None:
    switch = re.compile(r"#\s*(type:\s*ignore|noqa|ruff:|mypy:|pragma:\s*no cover)")
    sources = {path: switch.findall(text) for path, text in shipped_texts() if path.startswith("src/")}
    assert sources
    assert {path: found for path, found in sources.items() if found} == {}
