"""The import contract that we wrote ourselves, tried on small graphs."""

import pytest
from grimp import ImportGraph

from tests.import_rules import ImportsOnly


def kept(*imports: tuple[str, str]) -> bool:
    """Tell whether the rule for `house.core` holds in a graph of these imports."""
    graph = ImportGraph()
    graph.add_module("house.core")
    for importer, imported in imports:
        graph.add_import(importer=importer, imported=imported)
    rule = ImportsOnly(
        name="core",
        session_options={},
        contract_options={"modules": ["house.core"], "also": ["house.words"], "not_even": ["hmac"]},
    )
    return rule.check(graph, verbose=False).kept


@pytest.mark.parametrize("imported", ["dataclasses", "house.core.ids", "house.words", "house.words.verbs"])
def test_what_is_allowed_may_be_imported(imported: str) -> None:
    assert kept(("house.core.people", imported))


@pytest.mark.parametrize("imported", ["sqlalchemy", "house.api", "house.words_of_others", "hmac"])
def test_everything_else_may_not(imported: str) -> None:
    assert not kept(("house.core.people", imported))


def test_others_may_import_what_they_like() -> None:
    assert kept(("house.api", "fastapi"), ("house.api", "house.core"))
