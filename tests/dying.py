"""Signs notes in processes that are killed in the middle: at the first statement, the second, and so on.

Run by test_killed_signing with the practice in the environment. Prints how many of them were killed: the one after
these signed its note, and was killed as soon as that was acknowledged.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, event

from clarity.bootstrap import running
from clarity.config import Settings
from clarity.domain.access import Actor, Role
from clarity.domain.ids import NoteId, PatientId, PractitionerId, RequestId
from clarity.persistence.watch import Watch

_ACKNOWLEDGED = 7


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _dying_at(step: int) -> Callable[..., None]:
    """Return what dies when it is called the `step`th time."""
    steps = iter(range(1, step))

    def lived_through(*_: Any) -> None:
        if next(steps, None) is None:
            _die()

    return lived_through


async def _sign(step: int, actor: Actor, patient: PatientId, note: NoteId) -> None:
    async with running(Settings()) as services:
        lived_through, answered = _dying_at(step), Watch.answered

        def answered_and_lived_through(*told: Any) -> None:
            answered(*told)
            lived_through()

        Watch.answered = answered_and_lived_through  # type: ignore[assignment, method-assign]
        event.listen(Engine, "commit", lived_through)
        await services.notes.sign(actor, patient, note, version=1)
        os._exit(_ACKNOWLEDGED)


def _dies(step: int, actor: Actor, patient: PatientId, note: NoteId) -> bool:
    """Sign in a process of its own, and tell whether that was killed before it was told that the note is signed."""
    child = os.fork()
    if child == 0:
        asyncio.run(_sign(step, actor, patient, note))
        os._exit(1)
    _, status = os.waitpid(child, 0)
    ended = os.waitstatus_to_exitcode(status)
    if ended not in {-signal.SIGKILL, _ACKNOWLEDGED}:
        raise SystemExit(f"signing ended with {ended}")
    return ended == -signal.SIGKILL


def main() -> None:
    """Kill one process after another until one is done before it would be killed."""
    told = json.load(sys.stdin)
    actor = Actor(
        id=UUID(told["actor"]),
        role=Role.CLINICIAN,
        request=RequestId(UUID(told["actor"])),
        practitioner=PractitionerId(UUID(told["practitioner"])),
    )
    patient, notes = PatientId(UUID(told["patient"])), [NoteId(UUID(note)) for note in told["notes"]]
    killed = 0
    while _dies(killed + 1, actor, patient, notes[killed]):
        killed += 1
    sys.stdout.write(str(killed))


if __name__ == "__main__":
    main()
