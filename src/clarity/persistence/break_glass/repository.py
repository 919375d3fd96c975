"""The broken glass of one unit of work."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from clarity.application.admission import Admitted
from clarity.application.ports import Clock, QueuePlace
from clarity.domain.access import Action, Scope
from clarity.domain.audit import AuditEvent, Outcome
from clarity.domain.break_glass import BreakGlass, BreakGlassStatus, Uses
from clarity.domain.errors import CannotOpen, StaleWrite, Transient, UnauditedAccess
from clarity.domain.ids import AccountId, BreakGlassId, PatientId
from clarity.domain.records import Resource, Sealed
from clarity.persistence.audit import AuditEventRow
from clarity.persistence.break_glass.tables import BreakGlassRow
from clarity.persistence.keys import DataKeys
from clarity.persistence.ledger import Ledger
from clarity.persistence.records import SealedTable, Written, as_stored
from clarity.persistence.scopes import in_scope
from clarity.persistence.sealing import SealedRecord
from clarity.persistence.tables import UNTRACKED, write_one

_NOBODY = PatientId(UUID(int=0))
_OUTSIDE = frozenset({"id", "patient", "account", "closed_at", "version"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _GlassRecord(SealedRecord):
    """A fetched row with the instants beside its seal, by which the policy decides."""

    expires_at: datetime
    closed_at: datetime | None


class BreakGlassTable(SealedTable[BreakGlass]):
    """The broken glass. Until when it lasts stands beside the seal, where the policy can compare it, and inside."""

    beside = (BreakGlassRow.expires_at, BreakGlassRow.closed_at)

    def __init__(self, keys: DataKeys, now: Clock) -> None:
        super().__init__(BreakGlassRow, BreakGlass, Resource.BREAK_GLASS, keys, outside=_OUTSIDE, now=now)

    def record_of(self, row: Any) -> SealedRecord:
        """Return a fetched row as a record still closed."""
        record = super().record_of(row)
        common = {item.name: getattr(record, item.name) for item in fields(record)}
        expires_at, closed_at = row[-2:]
        return _GlassRecord(**common, expires_at=expires_at, closed_at=closed_at)

    def open_glass(self, record: SealedRecord) -> BreakGlass:
        """Return what is inside `record`. Raises `CannotOpen` if the row says that it lasts longer than the seal."""
        author = record.standing.author if record.standing is not None else None
        if not isinstance(record, _GlassRecord) or author is None:
            raise CannotOpen
        glass = self.open(
            record,
            id=BreakGlassId(record.id),
            patient=record.patient,
            account=AccountId(author),
            closed_at=record.closed_at,
            version=record.version,
        )
        if glass.expires_at != record.expires_at:
            raise CannotOpen
        return glass


@dataclass(frozen=True, slots=True)
class SqlBreakGlassRepository:
    """`BreakGlassRepository` over one session. Enters in the ledger everything it hands out or writes.

    `decode` reads an event of the trail.
    """

    session: AsyncSession
    table: BreakGlassTable
    ledger: Ledger
    decode: Callable[[bytes], AuditEvent]
    _opened: dict[BreakGlassId, SealedRecord] = field(default_factory=dict, init=False)

    async def add(self, admitted: Admitted, glass: BreakGlass) -> BreakGlass:
        """Store that the glass was broken for the admitted patient, sealed under their key."""
        key = self.table.key_of(as_stored(admitted))
        await self.table.insert(self.session, self.ledger, key, glass.id, glass, _written(glass))
        return replace(glass, version=1)

    async def get(self, glass: BreakGlassId) -> Sealed:
        """Fetch one by its id."""
        found = await self.table.find(self.session, glass)
        return found or Sealed(resource=Resource.BREAK_GLASS, id=glass, patient=_NOBODY)

    async def find_page(
        self, scope: Scope, status: BreakGlassStatus | None, *, after: QueuePlace | None, at_most: int
    ) -> list[tuple[QueuePlace, Sealed]]:
        """Return at most `at_most` in `scope` in the order of the queue behind `after`."""
        page: list[tuple[QueuePlace, Sealed]] = []
        order = list(BreakGlassStatus) if status is None else [status]
        if after is not None and after.status in order:
            order = order[order.index(after.status) :]
        for one in order:
            statement = self.table.fetched.where(_chosen(scope), BreakGlassRow.status == one.value)
            if after is not None and after.status is one:
                statement = statement.where(BreakGlassRow.id > after.id)
            statement = statement.order_by(BreakGlassRow.id).limit(at_most - len(page))
            rows = await self.session.execute(statement)
            page.extend((QueuePlace(one, BreakGlassId(row.id)), self.table.record_of(row)) for row in rows)
            if len(page) == at_most:
                break
        return page

    async def count(self, scope: Scope, status: BreakGlassStatus | None) -> int:
        """Return how many there are in `scope`."""
        statement = select(func.count()).select_from(BreakGlassRow).where(_chosen(scope))
        if status is not None:
            statement = statement.where(BreakGlassRow.status == status.value)
        return int((await self.session.execute(statement)).scalar_one())

    def open(self, admitted: Admitted) -> BreakGlass:
        """Return what is inside."""
        record = as_stored(admitted)
        glass = self.table.open_glass(record)
        self.ledger.disclose(Resource.BREAK_GLASS, glass.id)
        self._opened[glass.id] = record
        return glass

    async def close(self, glass: BreakGlass) -> None:
        """Write when one was closed. What is sealed stays as it is, and so does its version."""
        self._require_opened(glass)
        stamp = self.ledger.stamp()
        statement = update(BreakGlassRow).where(BreakGlassRow.id == glass.id, BreakGlassRow.closed_at.is_(None))
        try:
            await write_one(
                self.session, statement.values(closed_at=glass.closed_at, updated_at=stamp.at, updated_by=stamp.by)
            )
        except StaleWrite:
            raise Transient from None  # what was read has to be read again
        self.ledger.change(Resource.BREAK_GLASS, glass.id, version=glass.version)

    async def close_all(self, account: AccountId, at: datetime) -> int:
        """End everything that an account may see in an emergency."""
        statement = update(BreakGlassRow).where(
            BreakGlassRow.created_by == account, BreakGlassRow.closed_at.is_(None), BreakGlassRow.expires_at > at
        )
        result = await self.session.execute(statement.values(closed_at=at), execution_options=UNTRACKED)
        return cast("CursorResult[Any]", result).rowcount

    async def save_review(self, glass: BreakGlass) -> BreakGlass:
        """Write the review as the next version."""
        record = self._require_opened(glass)
        written = _written(glass)
        if isinstance(record, _GlassRecord) and glass.closed_at != record.closed_at:
            written = replace(written, beside={"closed_at": glass.closed_at})
        try:
            version = await self.table.replace(self.session, self.ledger, record, glass, written)
        except StaleWrite:
            raise Transient from None
        return replace(glass, version=version)

    async def uses_of(self, glass: BreakGlass) -> Uses:
        """Return what its account did for the purpose of an emergency with records of its patient in its time.

        If it was closed before it began, a clock was set back meanwhile: then all is told that it may have served for.
        """
        until = glass.ends_at if glass.opened_at < glass.ends_at else glass.expires_at
        events = AuditEventRow
        rows = await self.session.scalars(
            select(events.encoded)
            .where(events.patient_id == glass.patient, events.actor_id == glass.account)
            .where(events.at >= glass.usable_from, events.at < until)
            .where(events.outcome == int(Outcome.SUCCEEDED), events.action != int(Action.BREAK_GLASS))
            .order_by(events.at)
        )
        instants = [event.at for event in map(self.decode, rows) if event.purpose is glass.purpose]
        return Uses(count=len(instants), first_at=instants[0], last_at=instants[-1]) if instants else Uses()

    def _require_opened(self, glass: BreakGlass) -> SealedRecord:
        if glass.id not in self._opened:
            raise UnauditedAccess
        return self._opened[glass.id]


def _written(glass: BreakGlass) -> Written:
    beside = {"expires_at": glass.expires_at} if not glass.version else {}
    return Written(status=glass.status.value, beside=beside)


def _chosen(scope: Scope) -> Any:
    return in_scope(scope, BreakGlassRow, BreakGlassRow.patient_id)
