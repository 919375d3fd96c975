"""A pytest plugin: nothing but the properties, each again and again with other examples while its time lasts."""

import time
from typing import Any

import pytest
from hypothesis import is_hypothesis_test, settings

_ROUNDS = pytest.StashKey[list[int]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say how long all of them may take."""
    parser.addoption("--fuzz-seconds", type=float, default=60.0)
    parser.addoption("--fuzz-seed", type=int, default=0)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is no property."""
    kept = [item for item in items if is_hypothesis_test(getattr(item, "obj", None))]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
    config.stash[_ROUNDS] = []


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Run a property again and again, each time with another seed, until its part of the time is over."""
    function, config = pyfuncitem.obj, pyfuncitem.config
    share = config.getoption("--fuzz-seconds") / max(1, len(pyfuncitem.session.items))
    until, seed = time.monotonic() + share, config.getoption("--fuzz-seed")
    chosen: Any = getattr(function, "_hypothesis_internal_use_settings", settings.default)
    # What failed once is not to be tried first in every round, and a slow machine is no fault.
    function._hypothesis_internal_use_settings = settings(chosen, database=None, deadline=None)  # noqa: SLF001 - as its own plugin does
    names = pyfuncitem._fixtureinfo.argnames  # noqa: SLF001 - there is no other way to the arguments
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    while True:
        seed += 1
        function._hypothesis_internal_use_seed = seed  # noqa: SLF001 - as its own plugin does
        function(**arguments)
        config.stash[_ROUNDS].append(chosen.max_examples)
        if time.monotonic() > until:
            return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how much was tried."""
    rounds = config.stash.get(_ROUNDS, [])
    terminalreporter.write_line(f"fuzzed: {len(rounds)} rounds, {sum(rounds)} examples")
