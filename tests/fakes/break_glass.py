"""Broken glass in a dictionary."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from clarity.application.admission import Admitted
from clarity.application.ports import QueuePlace
from clarity.domain.access import Action, Scope, decide
from clarity.domain.audit import AuditEvent, Outcome
from clarity.domain.break_glass import BreakGlass, BreakGlassStatus, Uses
from clarity.domain.errors import CannotOpen, Transient, UnauditedAccess
from clarity.domain.ids import AccountId, BreakGlassId, PatientId
from clarity.domain.records import Resource, Sealed, Standing
from clarity.persistence.ledger import Ledger
from tests.fakes.patients import MemoryTables


@dataclass(slots=True)
class MemoryBreakGlassRepository:
    """`BreakGlassRepository` over `MemoryTables`. `events` returns the trail."""

    tables: MemoryTables
    ledger: Ledger
    events: Callable[[], Sequence[AuditEvent]]
    _opened: set[BreakGlassId] = field(default_factory=set)

    async def add(self, admitted: Admitted, glass: BreakGlass) -> BreakGlass:
        self.ledger.stamp()
        saved = replace(glass, patient=admitted.record.patient, version=1)
        self.tables.broken_glass[saved.id] = saved
        self.ledger.change(Resource.BREAK_GLASS, saved.id, version=1)
        return saved

    async def get(self, glass: BreakGlassId) -> Sealed:
        if glass not in self.tables.broken_glass:
            return Sealed(resource=Resource.BREAK_GLASS, id=glass, patient=PatientId(UUID(int=0)))
        return self._sealed(self.tables.broken_glass[glass])

    async def find_page(
        self, scope: Scope, status: BreakGlassStatus | None, *, after: QueuePlace | None, at_most: int
    ) -> list[tuple[QueuePlace, Sealed]]:
        order = list(BreakGlassStatus)
        found = sorted(self._chosen(scope, status), key=lambda one: (order.index(one.status), one.id))
        places = [(QueuePlace(one.status, one.id), self._sealed(one)) for one in found]
        if after is not None:
            passed = (order.index(after.status), after.id)
            places = [(place, one) for place, one in places if (order.index(place.status), place.id) > passed]
        return places[:at_most]

    async def count(self, scope: Scope, status: BreakGlassStatus | None) -> int:
        return len(self._chosen(scope, status))

    def open(self, admitted: Admitted) -> BreakGlass:
        glass = self.tables.broken_glass[BreakGlassId(admitted.record.id)]
        if glass.patient in self.tables.broken:
            raise CannotOpen
        self.ledger.disclose(Resource.BREAK_GLASS, glass.id)
        self._opened.add(glass.id)
        return glass

    async def close(self, glass: BreakGlass) -> None:
        stored = self._stored(glass)
        if stored.closed_at is not None:
            raise Transient
        self.tables.broken_glass[glass.id] = replace(stored, closed_at=glass.closed_at)
        self.ledger.change(Resource.BREAK_GLASS, glass.id, version=glass.version)

    async def close_all(self, account: AccountId, at: datetime) -> int:
        lasting = [one for one in self.tables.broken_glass.values() if one.account == account and not one.has_ended(at)]
        self.tables.broken_glass.update({one.id: replace(one, closed_at=at) for one in lasting})
        return len(lasting)

    async def save_review(self, glass: BreakGlass) -> BreakGlass:
        if self._stored(glass).version != glass.version:
            raise Transient
        saved = replace(glass, version=glass.version + 1)
        self.tables.broken_glass[glass.id] = saved
        self.ledger.change(Resource.BREAK_GLASS, glass.id, version=saved.version)
        return saved

    async def uses_of(self, glass: BreakGlass) -> Uses:
        until = glass.ends_at if glass.opened_at < glass.ends_at else glass.expires_at
        instants = sorted(
            event.at
            for event in self.events()
            if (event.patient, event.actor, event.purpose) == (glass.patient, glass.account, glass.purpose)
            and (event.outcome, glass.usable_from <= event.at < until) == (Outcome.SUCCEEDED, True)
            and event.action is not Action.BREAK_GLASS
        )
        return Uses(count=len(instants), first_at=instants[0], last_at=instants[-1]) if instants else Uses()

    def _stored(self, glass: BreakGlass) -> BreakGlass:
        if glass.id not in self._opened:
            raise UnauditedAccess
        self.ledger.stamp()
        return self.tables.broken_glass[glass.id]

    def _chosen(self, scope: Scope, status: BreakGlassStatus | None) -> list[BreakGlass]:
        return [
            one
            for one in self.tables.broken_glass.values()
            if (status is None or one.status is status) and decide(scope, self._sealed(one)).allowed
        ]

    def _sealed(self, glass: BreakGlass) -> Sealed:
        # The ties are the patient's, as in the database; the author is who broke the glass.
        of_patient = self.tables.sealed(self.tables.patients[glass.patient][-1]).standing or Standing()
        standing = replace(of_patient, author=glass.account, guarded=False, deleted=False)
        return Sealed(
            resource=Resource.BREAK_GLASS, id=glass.id, patient=glass.patient, standing=standing, version=glass.version
        )
