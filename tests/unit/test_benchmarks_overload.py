"""The benchmark of overload would notice a leak, and takes nothing else for one."""

from dataclasses import replace

import pytest

from benchmarks.overload import Held

BEFORE = Held(sockets=4, in_use=0, of_no_pool=1)


@pytest.mark.parametrize("after", [BEFORE, replace(BEFORE, of_no_pool=2), replace(BEFORE, sockets=3)])
def test_what_the_server_needs_at_rest_is_no_leak(after: Held) -> None:
    assert after.leaked(BEFORE) == 0


@pytest.mark.parametrize(
    ("after", "leaked"),
    [
        (replace(BEFORE, sockets=5), 1),
        (replace(BEFORE, in_use=1), 1),
        (replace(BEFORE, of_no_pool=3), 1),
        (Held(sockets=6, in_use=3, of_no_pool=6), 9),
    ],
    ids=["a client's socket", "a connection nobody gave back", "a connection beside the pool", "all of them"],
)
def test_a_leak_of_one_is_noticed(after: Held, leaked: int) -> None:
    assert after.leaked(BEFORE) == leaked


def test_a_connection_that_was_missing_before_is_missing_still() -> None:
    leaking = Held(sockets=4, in_use=1, of_no_pool=3)
    assert leaking.leaked(leaking) == 2
