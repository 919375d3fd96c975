"""What lost a race is tried again, and nothing else."""

import pytest

from clarity.application.retry import retrying
from clarity.domain.errors import ClarityError, DuplicateMrn, OutcomeUnknown, Transient, Unavailable


class Racing:
    def __init__(self, *failures: type[ClarityError]) -> None:
        self.failures = list(failures)
        self.runs = 0

    @retrying
    async def run(self, answer: str, *, louder: bool = False) -> str:
        self.runs += 1
        if self.failures:
            raise self.failures.pop(0)
        return answer.upper() if louder else answer


async def test_a_lost_race_is_run_again_with_the_same_arguments() -> None:
    racing = Racing(Transient, Transient)
    assert await racing.run("done", louder=True) == "DONE"
    assert racing.runs == 3


async def test_who_loses_every_race_is_told() -> None:
    racing = Racing(*[Transient] * 9)
    with pytest.raises(Transient):
        await racing.run("done")
    assert racing.runs == 5


@pytest.mark.parametrize("failure", [DuplicateMrn, Unavailable, OutcomeUnknown])
async def test_what_was_no_race_is_not_run_again(failure: type[ClarityError]) -> None:
    racing = Racing(failure)
    with pytest.raises(failure):
        await racing.run("done")
    assert racing.runs == 1
