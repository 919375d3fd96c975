"""What changed in dictionaries: the states somebody has seen are kept, and compared with the present one."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from secrets import token_bytes

from clarity.application.ports.search import (
    Absence,
    Changes,
    ChangeStream,
    Horizon,
    IndexChange,
    IndexEntry,
    IndexGap,
    Tally,
    instant_in_tally,
)
from clarity.domain.dates import microseconds_of
from clarity.domain.errors import HorizonLost
from clarity.domain.ids import PatientId
from clarity.domain.names import search_text_of
from clarity.domain.patients import called_by
from clarity.persistence.changes import MOST_AT_ONCE
from tests.fakes.patients import MemoryTables, StoredVersion

State = dict[PatientId, tuple[StoredVersion, bool]]


@dataclass(slots=True)
class MemoryChangeFeed:
    """`ChangeFeed` over the tables that `tables` returns."""

    tables: Callable[[], MemoryTables]
    most_at_once: int = MOST_AT_ONCE
    store: bytes = field(default_factory=lambda: token_bytes(16))
    _states: list[State] = field(default_factory=list, init=False)

    async def since(self, horizon: Horizon) -> Changes:
        rows = list(self._since(horizon))
        complete = len(rows) <= self.most_at_once
        return Changes(
            self._place(),
            [change_of(stored, broken=broken) for stored, broken in rows] if complete else [],
            complete=complete,
        )

    @asynccontextmanager
    async def all_since(self, horizon: Horizon | None) -> AsyncIterator[ChangeStream]:
        changes = [change_of(stored, broken=broken) for stored, broken in self._since(horizon)]

        async def batches() -> AsyncIterator[Sequence[IndexChange]]:
            for first in range(0, len(changes), 100):
                yield changes[first : first + 100]

        yield ChangeStream(self._place(), batches())

    async def tally(self) -> Tally:
        there = [stored for stored, _ in self._present().values() if not stored.deleted]
        instants = (instant_in_tally(microseconds_of(stored.written_at)) for stored in there)
        return Tally(len(there), sum(stored.patient.version for stored in there), sum(instants))

    def _since(self, horizon: Horizon | None) -> Iterator[tuple[StoredVersion, bool]]:
        before: State = {}
        if horizon is not None:
            if horizon.store != self.store or int(horizon.place) >= len(self._states):
                raise HorizonLost
            before = self._states[int(horizon.place)]
        return (row for patient, row in self._present().items() if before.get(patient) != row)

    def _place(self) -> Horizon:
        self._states.append(self._present())
        return Horizon(self.store, str(len(self._states) - 1))

    def _present(self) -> State:
        tables = self.tables()
        return {patient: (versions[-1], patient in tables.broken) for patient, versions in tables.patients.items()}


def change_of(stored: StoredVersion, *, broken: bool = False) -> IndexChange:
    """Return what an index holds of a patient, by what the domain says of one."""
    patient, changed = stored.patient, microseconds_of(stored.written_at)
    if stored.deleted:
        return IndexGap(patient.id.bytes, patient.version, Absence.DELETED, changed)
    if broken:
        return IndexGap(patient.id.bytes, patient.version, Absence.UNOPENED, changed)
    first = called_by(patient.names)
    others = [name for name in patient.names if name is not first]
    return IndexEntry(
        id=patient.id.bytes,
        version=patient.version,
        family=first.sort_key[0],
        given=first.sort_key[1],
        names=tuple(search_text_of(*name.sort_key) for name in (first, *others)),
        born_first=patient.born.first.toordinal(),
        born_last=patient.born.last.toordinal(),
        status=patient.status,
        label=patient.label,
        gender=patient.gender,
        birth_sex=patient.birth_sex,
        changed=changed,
    )
