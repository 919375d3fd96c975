"""Engines for tests that do not compile every statement anew.

Each test opens its own database, with engines of its own. What takes most of the time of a short test is what an engine
learns about itself at first: what the server can do, and the text of each statement. It learns that with its dialect,
so a dialect whose engine belonged to a test that is over serves the next engine of the same kind. At no time have two
engines one dialect, as in production: by it the encrypted columns know their keys.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Dialect
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import LRUCache

from clarity.persistence import types

_STATEMENTS = 2_000

Kind = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Used:
    """A dialect, and the statements that were compiled with it."""

    kind: Kind
    dialect: Any
    statements: Any = field(default_factory=lambda: LRUCache(_STATEMENTS))


@dataclass(slots=True)
class Recycling:
    """Makes engines with the dialects of former ones."""

    _free: dict[Kind, list[Used]] = field(default_factory=dict)
    _in_use: list[Used] = field(default_factory=list)

    def engine(self, url: str, **options: Any) -> AsyncEngine:
        """Make an engine as `create_async_engine` does."""
        made = create_async_engine(url, **options)
        fresh: Any = made.sync_engine.dialect
        kind = _kind_of(fresh)
        free = self._free.setdefault(kind, [])
        if free:
            used = free.pop()
            fresh.initialize = _known
            made.sync_engine.dialect = used.dialect
        else:
            used = Used(kind, fresh)
        made.sync_engine.update_execution_options(compiled_cache=used.statements)
        self._in_use.append(used)
        return made

    @contextmanager
    def during_a_test(self) -> Iterator[None]:
        """Take back at the end the dialects of the engines that were made in the block."""
        before = len(self._in_use)
        yield
        made = self._in_use[before:]
        del self._in_use[before:]
        for used in made:
            if used.dialect.server_version_info is not None:  # it was connected
                _forget_the_engine(used.dialect)
                self._free[used.kind].append(used)


def _kind_of(dialect: Dialect) -> Kind:
    """Return all that the engine's maker said of a dialect that has not seen a server yet."""
    told = {name: value for name, value in vars(dialect).items() if isinstance(value, bool | int | str | None)}
    return type(dialect), *sorted(told.items(), key=lambda item: item[0])


def _known(_connection: object) -> None:
    """Ask the server nothing: the dialect that is used instead knows."""


def _forget_the_engine(dialect: Any) -> None:
    vars(types)["_SEALS"].pop(dialect, None)
    # Whoever listens to an engine's errors listens to its dialect.
    for name in ("dispatch", "_has_events"):
        vars(dialect).pop(name, None)


@contextmanager
def recycling() -> Iterator[Recycling]:
    """Make every engine of this process with the dialect of a former one while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        recycled = Recycling()
        patch.setattr("clarity.persistence.engine.create_async_engine", recycled.engine)
        yield recycled
