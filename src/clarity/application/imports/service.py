"""The use-cases of importing."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from clarity.application.imports.charts import kind_of
from clarity.application.imports.incoming import BadInput, Incoming, Inputs, Place
from clarity.application.imports.intake import Intake
from clarity.application.imports.report import ImportReport, Taken
from clarity.application.ports import BeginWork, Clock
from clarity.domain.access import Actor
from clarity.domain.errors import CannotOpen, Conflict, DanglingReference, Invalid, StorageFailed, Transient

Progress = Callable[[int, int], None]
"""Told after each unit how many are done, and how many are expected by now."""


@dataclass(frozen=True, slots=True)
class ImportService:
    """The use-cases of importing."""

    begin: BeginWork
    now: Clock

    async def run(self, actor: Actor, inputs: Inputs, *, on_progress: Progress | None = None) -> ImportReport:
        """Import one unit after the other, each in a transaction of its own, and return what was done.

        A unit that refers to somebody unknown is tried once more when all others are through, so the order of
        the inputs does not matter. Importing again what is here already changes nothing. Raises `Forbidden`,
        and `Unavailable` if the database is gone: then what is done stands, and importing again completes it.
        """
        report = ImportReport()
        waiting: list[Callable[[], Incoming | BadInput]] = []
        units = inputs.units()
        while (unit := await asyncio.to_thread(next, units, None)) is not None:
            outcome = await self._outcome(actor, unit)
            if isinstance(unit, Incoming) and isinstance(outcome, BadInput) and outcome.unresolved and unit.again:
                waiting.append(unit.again)
                continue
            _count(report, unit, outcome)
            if on_progress is not None:
                on_progress(report.units, inputs.expected)
        for again in waiting:
            unit = await asyncio.to_thread(again)
            _count(report, unit, await self._outcome(actor, unit))
            if on_progress is not None:
                on_progress(report.units, inputs.expected)
        return report

    async def take(self, actor: Actor, unit: Incoming) -> Taken | BadInput:
        """Import one unit in one transaction; what is wrong with the unit itself is returned, not raised."""
        intake = Intake(self.begin, self.now, actor, unit)
        try:
            return await intake.run()
        except Transient:
            return _refused(unit, unit.place, "others kept changing the same records; import it again")
        except DanglingReference:
            problem = f"{intake.place.element}: refers to nobody who is known here"
            return _refused(unit, intake.place, problem, unresolved=True)
        except (CannotOpen, Conflict, Invalid, StorageFailed) as exc:
            return _refused(unit, intake.place, str(exc))

    async def _outcome(self, actor: Actor, unit: Incoming | BadInput) -> Taken | BadInput:
        return unit if isinstance(unit, BadInput) else await self.take(actor, unit)


def _count(report: ImportReport, unit: Incoming | BadInput, outcome: Taken | BadInput) -> None:
    if isinstance(outcome, BadInput):
        report.add_bad(outcome)
    elif isinstance(unit, Incoming):
        report.add(unit, outcome)


def _refused(unit: Incoming, place: Place, problem: str, *, unresolved: bool = False) -> BadInput:
    return BadInput(
        place,
        problem,
        patients=len(unit.patients),
        practitioners=len(unit.practitioners),
        records=Counter(kind_of(one.record) for one in unit.records),
        unresolved=unresolved,
    )
