"""Tables of sealed records: what fetches them, writes them and keeps their versions is the same for every kind."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, and_, any_, bindparam, column, func, insert, select, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from clarity.application.admission import Admitted
from clarity.application.ports import Clock
from clarity.domain.access import Consent, ConsentRegister
from clarity.domain.errors import CannotOpen, StaleWrite
from clarity.domain.ids import PatientId, PractitionerId
from clarity.domain.records import TOMBSTONE, Label, Resource, Standing
from clarity.persistence.break_glass.tables import emergencies_of
from clarity.persistence.care_team import care_team_of
from clarity.persistence.consents.tables import REGISTER_COLUMNS, register_is_as, register_of, with_consents
from clarity.persistence.direct import DirectStatement, Lent, array_of, on_postgresql, within
from clarity.persistence.history import RecordVersionRow, replacing
from clarity.persistence.keys import DataKeyRow, DataKeys, wrapped_key
from clarity.persistence.ledger import Ledger
from clarity.persistence.registry import number_of
from clarity.persistence.sealing import SealedMapper, SealedRecord
from clarity.persistence.tables import Stamp, require_one, table_of
from clarity.persistence.types import Uuid16
from clarity.security.vault import DataKey

# A record as large as most are: in place of what is absent, a large one would take longer than one that is refused, and
# whoever asks could have looked at their own just before.
_USUAL_BYTES = 4_096

# What comes with every sealed row; a table may fetch more behind that.
_COLUMNS = 14 + len(REGISTER_COLUMNS)

Entity = TypeVar("Entity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What is written beside the seal: the record's status and label, and the bits of the fields that changed.

    `beside` has the values of whatever other columns the table keeps.
    """

    status: str
    label: Label = Label.NORMAL
    fields: int = 0
    beside: Mapping[str, Any] = field(default_factory=dict)


class _Labelled(msgspec.Struct, frozen=True, gc=False):
    """The label alone, of whatever content has one."""

    label: Label = Label.NORMAL


def _present() -> datetime:
    return datetime.now(UTC)


class SealedTable(Generic[Entity]):
    """One table of sealed records of patients.

    `rows` has the columns of `SealedColumns`, and in its column `patient` the patient whose data key seals the
    row. Of `entity`, every field is sealed but those in `outside`, which the table keeps in columns or elsewhere.
    """

    beside: Sequence[Any] = ()
    """Columns that are fetched too, last of all."""

    def __init__(
        self,
        rows: Any,
        entity: type[Entity],
        resource: Resource,
        keys: DataKeys,
        *,
        outside: frozenset[str],
        patient: str = "patient_id",
        now: Clock = _present,
    ) -> None:
        self.rows = rows
        self.resource = resource
        self.keys = keys
        self.mapper = SealedMapper(entity, rows.__tablename__, outside=outside)
        self._seen: UUID | None = None
        self._another = bindparam("another", callable_=lambda: self._seen, type_=Uuid16)
        self.patient = patient
        self._registers = SealedMapper(ConsentRegister, "consents", outside=frozenset({"patient", "version"}))
        self._label = msgspec.msgpack.Decoder(_Labelled)
        self._now = now

    # Whoever opens a practice does not ask for every kind of record: each statement is built when it is first asked.
    @cached_property
    def fetched(self) -> Select[Any]:
        """The statement that fetches records with what the policy must know and the key to open them."""
        return self.fetching(getattr(self.rows, self.patient), self._now)

    @cached_property
    def one(self) -> Select[Any]:
        """The same for the record with the parameter `id`; it runs with most requests."""
        return self.of_id(self.fetched)

    @cached_property
    def _one(self) -> DirectStatement:
        return DirectStatement(self.one)

    @cached_property
    def _each_lent(self) -> DirectStatement:
        return DirectStatement(self._of_each(self.fetched))

    @cached_property
    def _of_array(self) -> Select[Any]:
        return self.fetched.where(self.rows.id == any_(bindparam("ids", type_=ARRAY(Uuid16))))

    @cached_property
    def _some_lent(self) -> DirectStatement:
        return DirectStatement(self._of_array)

    @cached_property
    def _some(self) -> dict[str, Select[Any]]:
        in_list = self.fetched.where(self.rows.id.in_(bindparam("ids", expanding=True)))
        return {"postgresql": self._of_array, "sqlite": in_list}

    def fetching(self, owner: Any, now: Clock) -> Select[Any]:
        """Return the statement that fetches records of the patient in column `owner`."""
        rows = self.rows
        fetched: Select[Any] = (
            select(
                rows.id,
                owner.label("owner_id"),
                rows.status,
                rows.guarded,
                rows.version,
                rows.sealed,
                rows.key_generation,
                rows.created_by,
                rows.updated_at,
                rows.updated_by,
                DataKeyRow.kek_generation,
                DataKeyRow.wrapped,
                care_team_of(owner),
                emergencies_of(owner, now),
            )
            .select_from(rows)
            .outerjoin(DataKeyRow, opens(owner, rows.key_generation))
        )
        return with_consents(fetched, owner).add_columns(*self.beside)

    def of_id(self, fetched: Select[Any]) -> Select[Any]:
        """Return `fetched` for the record with the parameter `id`, or for another one if there is none with that id.

        An answer that found nothing would come sooner than one that found a record and refused it, by as much as the
        means of many requests tell. `find` returns only what was asked for.
        """
        there = aliased(self.rows)
        asked = select(there.id).where(there.id == bindparam("id")).scalar_subquery()
        return fetched.where(self.rows.id == func.coalesce(asked, self._another))

    def _of_each(self, fetched: Select[Any]) -> Select[Any]:
        """Return the same for each of the parameter `ids`; for what is not an id, nothing."""
        there = aliased(self.rows)
        unnested = func.unnest(bindparam("ids", type_=ARRAY(Uuid16))).table_valued(column("id", Uuid16), name="asked")
        asked = unnested.render_derived()
        wanted = (
            select(func.coalesce(there.id, self._another).label("id"))
            .select_from(asked.outerjoin(there, there.id == asked.c.id))
            .where(asked.c.id.is_not(None))
            .subquery("wanted")
        )
        return fetched.join(wanted, wanted.c.id == self.rows.id)

    async def find(self, session: AsyncSession, row_id: UUID) -> SealedRecord | None:
        """Fetch one record, still closed, after the same work whether there is one with this id or not."""
        if (lent := Lent.to(session)) is not None:
            row = await lent.gathered(self, self.fetch_each)(row_id)
        elif on_postgresql(session):
            row = next(iter(await within(session, self._one, id=row_id)), None)
        else:
            row = (await session.execute(self.one, {"id": row_id})).first()
        if row is None:
            return None  # the first request of all, before any record was seen
        record = self.record_of(row)
        if len(record.ciphertext) <= _USUAL_BYTES:
            self._seen = record.id
        return record if record.id == row_id else None

    async def fetch_each(self, lent: Lent, ids: Sequence[UUID]) -> dict[UUID, Any]:
        """Fetch the row of each id, or another one for it."""
        another = self._seen
        if len(ids) == 1:  # an array of one takes longer, on both sides
            return dict.fromkeys(ids, next(iter(await lent.rows(self._one, id=ids[0], another=another)), None))
        rows = await lent.rows(self._each_lent, ids=array_of(ids), another=another)
        found = {row[0]: row for row in rows}
        return {one: found.get(one) or found.get(another) for one in ids}

    async def find_some(self, session: AsyncSession, ids: Sequence[UUID]) -> dict[UUID, SealedRecord]:
        """Fetch the records that exist among `ids`, at least one, still closed."""
        if (lent := Lent.to(session)) is None:
            statement = self._some[session.get_bind().dialect.name]
            rows: Iterable[Any] = await session.execute(statement, {"ids": ids})
        else:
            rows = await lent.rows(self._some_lent, ids=array_of(ids))
        return {record.id: record for record in map(self.record_of, rows)}

    def record_of(self, row: Any) -> SealedRecord:
        """Return a fetched row as a record still closed."""
        (
            row_id,
            owner,
            status,
            guarded,
            version,
            sealed,
            generation,
            created_by,
            updated_at,
            updated_by,
            kek_generation,
            wrapped,
            care_team,
            emergencies,
            *consents,
        ) = row[:_COLUMNS]
        patient = PatientId(owner)
        return SealedRecord(
            resource=self.resource,
            id=row_id,
            patient=patient,
            # The driver gives lists of ids, and nothing for none.
            standing=_standing(
                tuple(care_team or ()),
                created_by if self.rows.authored else None,
                tuple(emergencies or ()),
                guarded=guarded,
                deleted=status == TOMBSTONE,
            ),
            version=version,
            ciphertext=sealed,
            wrapped=wrapped_key(patient, generation, kek_generation, wrapped),
            written_at=updated_at,
            written_by=updated_by,
            consents=register_of(consents, patient),
        )

    def label_of(self, record: SealedRecord) -> Label:
        """Return the exact label of `record`, or raise `CannotOpen`."""
        return self.mapper.decode(self.key_of(record), record, self._label).label

    def consents_of(self, record: SealedRecord) -> Callable[[], tuple[Consent, ...]]:
        """Return what opens the consents that came with `record`, of whoever needs them; it raises `CannotOpen`."""

        def opened() -> tuple[Consent, ...]:
            return self.register_in(record).consents

        return opened

    def register_in(self, record: SealedRecord) -> ConsentRegister:
        """Return all consents of the patient of `record`, or raise `CannotOpen`."""
        register = record.consents
        if register is None:
            return ConsentRegister(patient=record.patient)
        if register.wrapped is None:
            raise CannotOpen
        # Of a record that was merged into another, the consents are of whose it is now.
        patient, version = register.patient, register.version
        closed = replace(record, id=patient, patient=patient, version=version, ciphertext=register.ciphertext)
        return self._registers.open(self.keys.unwrap(register.wrapped), closed, patient=patient, version=version)

    def key_of(self, record: SealedRecord) -> DataKey:
        """Return the data key that the same statement fetched with `record`, or raise `CannotOpen`."""
        if record.wrapped is None:
            raise CannotOpen  # the key was destroyed: the patient is forgotten
        return self.keys.unwrap(record.wrapped)

    def open(self, record: SealedRecord, **outside: Any) -> Entity:
        """Return what is inside `record`, with the fields that are not sealed as given, or raise `CannotOpen`."""
        return self.mapper.open(self.key_of(record), record, **outside)

    def read(self, record: SealedRecord) -> Any:
        """Return the content of `record`, of which no entity is made yet, or raise `CannotOpen`."""
        return self.mapper.read(self.key_of(record), record)

    async def insert(
        self, session: AsyncSession, ledger: Ledger, key: DataKey, row: UUID, entity: Entity, written: Written
    ) -> None:
        """Write a new record of the key's patient as version 1, and enter it in the ledger."""
        await session.execute(insert(table_of(self.rows)), self.new_row(ledger, key, row, entity, written))

    def new_row(self, ledger: Ledger, key: DataKey, row: UUID, entity: Entity, written: Written) -> dict[str, Any]:
        """Return the columns of a new record of the key's patient as version 1, and enter it in the ledger."""
        stamp = ledger.stamp()
        sealed = self.mapper.seal(key, entity, row=row, version=1)
        ledger.change(self.resource, row, version=1, sealed=sealed, fields=written.fields)
        return {
            "id": row,
            self.patient: key.subject,
            "created_at": stamp.at,
            "created_by": stamp.by,
            **self._columns(stamp, key, sealed, 1, written),
        }

    async def replace(
        self, session: AsyncSession, ledger: Ledger, record: SealedRecord, entity: Entity, written: Written
    ) -> int:
        """Keep the version that was fetched, write `entity` as the next, and return its number.

        Raises `StaleWrite` if somebody else did so meanwhile, or if the record is guarded and the patient's consents
        are not those that came with it any more.
        """
        stamp, key, version = ledger.stamp(), self.key_of(record), record.version + 1
        sealed = self.mapper.seal(key, entity, row=record.id, version=version)
        columns = self._columns(stamp, key, sealed, version, written)
        statements = replacing(self.rows, tuple(columns), patient=self.patient)
        place = {"row": record.id, "was": record.version}
        values = {**place, **{f"new_{name}": value for name, value in columns.items()}}
        guarded = record.standing is not None and record.standing.guarded
        if on_postgresql(session) and not guarded:
            if not await within(session, statements.at_once, **values):
                raise StaleWrite
        else:
            await session.execute(statements.keep, place)
            # What the policy decided may rest on a consent, which does not outlast its withdrawal meanwhile.
            unchanged = register_is_as(record.consents, record.person) if guarded else true()
            require_one(await session.execute(statements.put.where(unchanged), values))
        ledger.change(self.resource, record.id, version=version, sealed=sealed, fields=written.fields)
        return version

    async def versions(
        self, session: AsyncSession, record: SealedRecord, *, before: int | None, at_most: int
    ) -> list[SealedRecord]:
        """Return `record` at its versions below `before`, the newest first."""
        newest = [record] if before is None or record.version < before else []
        kept = RecordVersionRow
        table, column = number_of(self.rows.__tablename__)
        rows = await session.execute(
            select(
                kept.version,
                kept.sealed,
                kept.key_generation,
                kept.written_at,
                kept.written_by,
                DataKeyRow.kek_generation,
                DataKeyRow.wrapped,
            )
            .outerjoin(DataKeyRow, opens(kept.patient_id, kept.key_generation))
            .where(kept.table_number == table, kept.column_number == column, kept.row_id == record.id)
            .where(kept.version < (record.version if before is None else min(before, record.version)))
            .order_by(kept.version.desc())
            .limit(at_most - len(newest))
        )
        return newest + [
            replace(
                record,
                version=row.version,
                ciphertext=row.sealed,
                wrapped=wrapped_key(record.patient, row.key_generation, row.kek_generation, row.wrapped),
                written_at=row.written_at,
                written_by=row.written_by,
            )
            for row in rows
        ]

    def _columns(self, stamp: Stamp, key: DataKey, sealed: bytes, version: int, written: Written) -> dict[str, Any]:
        return {
            "sealed": sealed,
            "key_generation": key.generation,
            "version": version,
            "status": written.status,
            "guarded": written.label is not Label.NORMAL,
            "updated_at": stamp.at,
            "updated_by": stamp.by,
            **written.beside,
        }


# Of a page most stand alike, and to make a standing takes four times as long as to look it up.
@lru_cache(maxsize=1024)
def _standing(
    care_team: tuple[PractitionerId, ...],
    author: UUID | None,
    emergencies: tuple[UUID, ...],
    *,
    guarded: bool,
    deleted: bool,
) -> Standing:
    return Standing(
        care_team=frozenset(care_team),
        author=author,
        guarded=guarded,
        deleted=deleted,
        emergencies=frozenset(emergencies),
    )


def opens(owner: Any, generation: Any) -> ColumnElement[bool]:
    """Return the condition under which a data key is the one of `owner` of a `generation`."""
    return and_(DataKeyRow.subject_id == owner, DataKeyRow.generation == generation)


def as_stored(admitted: Admitted) -> SealedRecord:
    """Return the admitted record as this package fetched it, or raise `CannotOpen` if it did not."""
    if not isinstance(admitted.record, SealedRecord):
        raise CannotOpen
    return admitted.record
