"""What the documents say is there: every link, path, command, route, setting, guard and column they name."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from clarity.cli.app import app
from clarity.cli.endings import MEANING
from clarity.config import Settings
from clarity.persistence.all_tables import metadata
from clarity.serving import create_app
from tests.guards import REMOVALS

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")])
SHELL = {"sh", "console", ""}

# An example of what somebody is going to make, in the chapter on adding an aggregate.
IMAGINED = re.compile(r"(^|/)referrals\.py$")
PATH = re.compile(r"(?:[\w-]+/)*[\w-]+\.(?:py|md|toml|yaml|lock|txt)|(?:[\w-]+/)+[\w-]*")
COMMAND = re.compile(r"(?:^|\s)(?:\.venv/bin/)?clarity (?P<words>[a-z][^|>)#]*)")
MADE_LATER = ("clarity-data/", ".venv/", "benchmarks/", "bench-quick/", "bench-results/")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield the language and content of each fenced block."""
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE):
        yield match[1], match[2]


def spans(text: str) -> list[str]:
    """Return what stands between backticks."""
    return re.findall(r"`([^`\n]+)`", without_code(text))


def shell_lines(text: str) -> Iterator[str]:
    """Yield what a reader might type: code spans, and the lines of shell blocks and indented blocks."""
    yield from spans(text)
    for language, block in blocks(text):
        if language in SHELL:
            yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"^ {4}(\S.*)$", without_code(text), flags=re.MULTILINE)


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the tables below a heading, down to the next of the same or a higher level."""
    level = len(heading) - len(heading.lstrip("#"))
    section = text.split(f"\n{heading}\n", maxsplit=1)[1]
    section = re.split(rf"^#{{1,{level}}} ", section, maxsplit=1, flags=re.MULTILINE)[0]
    lines = (line for line in section.splitlines() if line.startswith("|") and not re.fullmatch(r"[|\s:-]+", line))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@cache
def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a document."""
    found = set()
    for heading in re.findall(r"^#{1,6} (.+)$", without_code(document.read_text()), flags=re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", words).replace(" ", "-"))
    return found


@cache
def names_of_tests(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(document.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (document.parent / path).resolve() if path else document
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_path_is_there(document: Path) -> None:
    homes = (document.parent, ROOT, ROOT / "src/clarity", ROOT / "src")
    for span in spans(document.read_text()):
        path = span.removeprefix("./")
        if PATH.fullmatch(path) and not IMAGINED.search(path) and not path.startswith(MADE_LATER):
            assert any((home / path).exists() for home in homes), span


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_command_and_option_can_be_given(document: Path) -> None:
    for line in shell_lines(document.read_text()):
        for match in COMMAND.finditer(line):
            known, rest = descend(match["words"].split())
            options = {option for parameter in known.params for option in (*parameter.opts, *parameter.secondary_opts)}
            given = {word.partition("=")[0] for word in rest if word.startswith("--")} - {"--help"}
            assert given <= options, line


def descend(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that `words` begin with, and the words behind it."""
    known = get_command(app)
    while words and hasattr(known, "commands"):
        assert words[0] in known.commands, words
        known, words = known.commands[words[0]], words[1:]
    return known, words


def test_the_readme_lists_every_command() -> None:
    listed = {cells[0].strip("`") for cells in rows((ROOT / "README.md").read_text(), "## Commands")}
    assert set(leaves(get_command(app), "clarity")) <= listed


def leaves(known: Any, name: str) -> Iterator[str]:
    if not hasattr(known, "commands"):
        yield name
    for word, below in getattr(known, "commands", {}).items():
        yield from leaves(below, f"{name} {word}")


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_target_of_make_is_there(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for line in shell_lines(document.read_text()):
        if match := re.match(r"make ([a-z-]+)", line):
            assert match[1] in targets, line


@pytest.mark.parametrize(
    ("document", "heading"), [("README.md", "## Commands"), ("docs/operations.md", "## Exit statuses")]
)
def test_exit_statuses_are_the_ones_that_are_given(document: str, heading: str) -> None:
    listed = {cells[0]: cells[1] for cells in rows((ROOT / document).read_text(), heading) if cells[0].isdigit()}
    assert listed == {str(status.value): meaning for status, meaning in MEANING.items()}


def test_every_setting_is_listed_with_its_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    settings = Settings()
    listed = {
        cells[0].strip("`"): cells[1].strip("`")
        for cells in rows((ROOT / "docs/operations.md").read_text(), "## Settings")
        if cells[0].startswith("`")
    }
    assert listed == {
        name.upper(): "–" if (value := getattr(settings, name)) is None else str(value)
        for name in Settings.model_fields
    }


def test_every_route_is_listed_and_nothing_else() -> None:
    routes = {
        f"{method.upper()} {path}"
        for path, operations in create_app(Settings()).openapi()["paths"].items()
        for method in operations
    }
    named_routes = re.compile(r"(?:GET|POST|PUT|PATCH|DELETE) /(?:api|health|ready|metrics)\S*")
    listed = {
        route
        for cells in rows((ROOT / "README.md").read_text(), "## API")
        for route in re.findall(named_routes, cells[0].replace("`", ""))
    }
    assert {route.rstrip(",") for route in listed} == routes


def test_every_table_and_column_outside_the_seal_is_listed() -> None:
    listed = {
        column
        for cells in rows((ROOT / "docs/security.md").read_text(), "## What stands outside the seal")
        for column in columns_in(re.findall(r"`([a-z_.*]+)`", cells[0]))
    }
    for table in metadata().sorted_tables:
        for column in table.columns:
            family = f"{column.name.partition('_')[0]}_*"
            assert {f"{table.name}.{name}" for name in ("*", column.name, family)} & listed, (
                f"{table.name}.{column.name}"
            )


def columns_in(names: list[str]) -> Iterator[str]:
    """Yield what a cell means: `table.one`, `two` are columns of one table, and `table` alone is all of it."""
    table, dot, _ = (names or [""])[0].partition(".")
    for name in names if dot else names[1:]:
        yield name if "." in name else f"{table}.{name}"
    if len(names) == 1 and not dot:
        yield f"{table}.*"


# OWASP ASVS 5.0.0: the requirements of levels 1 and 2 in chapters 6 to 8, by section the numbers they have there.
ASVS = {
    "6.1": (1, 2, 3),
    "6.2": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12),
    "6.3": (1, 2, 3, 4),
    "6.4": (1, 2, 3, 4),
    "6.5": (1, 2, 3, 4, 5),
    "6.6": (1, 2, 3),
    "6.8": (1, 2, 3, 4),
    "7.1": (1, 2, 3),
    "7.2": (1, 2, 3, 4),
    "7.3": (1, 2),
    "7.4": (1, 2, 3, 4, 5),
    "7.5": (1, 2),
    "7.6": (1, 2),
    "8.1": (1, 2),
    "8.2": (1, 2, 3),
    "8.3": (1,),
    "8.4": (1,),
}


def test_every_requirement_of_asvs_is_answered() -> None:
    answered = set()
    for title in ("### 6 Authentication", "### 7 Session management", "### 8 Authorization"):
        for requirement, how, held_by in rows((ROOT / "docs/security.md").read_text(), title):
            answered |= set(re.findall(r"\b\d\.\d+\.\d+\b", requirement))
            assert how
            assert "::" in held_by or how.startswith("there ") or requirement == "Requirement", requirement
    assert {f"{section}.{number}" for section, numbers in ASVS.items() for number in numbers} <= answered


GUARDS = ROOT / "docs/guards.md"


def test_every_guard_names_its_place_and_a_test_that_holds_it() -> None:
    guards = [cells for cells in rows("\n" + GUARDS.read_text(), "# Guards") if cells[0] not in {"Guard", ""}]
    assert len(guards) > 50
    for guard, place, held_by in guards:
        for path in re.findall(r"`([^`]+)`", place):
            assert (ROOT / "src/clarity" / path).exists() or (ROOT / path).exists(), guard
        held = re.findall(r"`([^`:]+)::(\w+)`", held_by)
        assert held, guard
        for path, test in held:
            assert test in names_of_tests(ROOT / "tests" / path), f"{guard}: {path}::{test}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_test_that_is_named_is_there(document: Path) -> None:
    for path, test in re.findall(r"`([\w/]+\.py)::(\w+)`", document.read_text()):
        assert test in names_of_tests(ROOT / "tests" / path), f"{path}::{test}"


def test_the_guards_that_can_be_removed_are_marked_and_held_by_the_same_test() -> None:
    marked = {
        (guard.removesuffix(" ✂"), place.strip("`"), held_by.strip("`"))
        for guard, place, held_by in rows("\n" + GUARDS.read_text(), "# Guards")
        if guard.endswith("✂")
    }
    assert marked == {(removal.guard, removal.path, removal.test) for removal in REMOVALS}
    for removal in REMOVALS:
        assert (ROOT / "src/clarity" / removal.path).read_text().count(removal.old) == 1, removal.guard


def test_the_example_of_a_table_is_the_file_that_a_test_runs() -> None:
    text = (ROOT / "docs/data-layer.md").read_text()
    assert f"```python\n{(ROOT / 'examples/own_table.py').read_text()}```" in text


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_python_in_a_document_is_python_and_imports_what_there_is(document: Path) -> None:
    for language, block in blocks(document.read_text()):
        if language == "python":
            tree = ast.parse(block)
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("clarity"):
                    module = __import__(node.module, fromlist=[alias.name for alias in node.names])
                    assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


def test_every_decision_is_in_the_index_under_its_title() -> None:
    index = (ROOT / "docs/adr/README.md").read_text()
    for record in sorted((ROOT / "docs/adr").glob("[0-9]*.md")):
        number, _, title = record.read_text().partition("\n")[0].removeprefix("# ").partition(": ")
        assert record.name.startswith(f"{number}-")
        assert f"| [{number}]({record.name}) | {title} |" in index
