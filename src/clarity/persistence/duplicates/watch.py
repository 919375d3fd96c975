"""What notices, while a patient is written, that somebody else has the same number or address."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    CompoundSelect,
    Integer,
    LargeBinary,
    Select,
    and_,
    any_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from clarity.application.ports import NewId
from clarity.domain.access import Action
from clarity.domain.audit import Attempt
from clarity.domain.duplicates import MOST_SHARING, Duplicate, in_order
from clarity.domain.identifiers import IndexKind, IndexTerm
from clarity.domain.ids import DuplicateId, PatientId
from clarity.domain.records import TOMBSTONE, Resource
from clarity.persistence.direct import DirectStatement, array_of, on_postgresql, within
from clarity.persistence.duplicates.mapping import DuplicateTable, written
from clarity.persistence.duplicates.tables import DuplicateRow
from clarity.persistence.identifiers import IdentifierTable
from clarity.persistence.keys import DataKeyRow, wrapped_key
from clarity.persistence.ledger import Ledger
from clarity.persistence.patients.tables import PatientRow
from clarity.persistence.sealing import SealedRecord
from clarity.security.blind_index import IndexValue

Pair = tuple[PatientId, PatientId]

# In the order of the array, which is the same for everybody.
_TURNS = DirectStatement(select(func.pg_advisory_xact_lock(func.unnest(bindparam("locks", type_=ARRAY(BigInteger))))))


@lru_cache(maxsize=8)
def _anybody(identifiers: IdentifierTable) -> DirectStatement:
    """Return the statement that tells whether anybody but the parameter `patient` has one of the `digests`.

    Mostly nobody has. To tell that takes the server a third of what it takes to find who.
    """
    rows, digests = identifiers.rows, bindparam("digests", type_=ARRAY(LargeBinary))
    others: Select[Any] = select(literal_column("1")).where(
        rows.until_version.is_(None), identifiers.owner_column != bindparam("patient")
    )
    has_one = (others.where(slot == any_(digests)).exists() for slot in (rows.digest_a, rows.digest_b))
    return DirectStatement(select(literal_column("1")).where(or_(*has_one)))


@lru_cache(maxsize=64)
def _sharing(identifiers: IdentifierTable, count: int) -> tuple[CompoundSelect[Any], DirectStatement]:
    """Return the statement that finds who but the parameter `patient` has each of so many digests, at most too many.

    To build it takes longer than all else that is done to register somebody, so it is built once for each `count`.
    """
    looked_up = []
    for position in range(count):
        condition = identifiers.has(
            digest=bindparam(f"digest_{position}", type_=LargeBinary),
            generation=bindparam(f"generation_{position}", type_=Integer),
            kind=bindparam(f"kind_{position}", type_=Integer),
        )
        found = (
            select(identifiers.owner_column)
            .join(PatientRow, PatientRow.id == identifiers.owner_column)
            .where(identifiers.rows.until_version.is_(None), condition)
            .where(PatientRow.status != TOMBSTONE, PatientRow.id != bindparam("patient"))
            .limit(MOST_SHARING + 1)
            .subquery(f"sharing_{position}")
        )
        looked_up.append(select(literal_column(str(position), Integer).label("position"), found.c[0].label("owner")))
    statement = union_all(*looked_up)
    return statement, DirectStatement(statement)


@dataclass(frozen=True, slots=True)
class DuplicateWatch:
    """Opens duplicate reviews in the transaction that makes them necessary.

    Whoever writes the patient learns nothing of it; the event says on whose occasion it happened.
    """

    session: AsyncSession
    table: DuplicateTable
    identifiers: IdentifierTable
    ledger: Ledger
    new_id: NewId

    async def take_turns(self, terms: Iterable[IndexTerm], by: IdentifierTable) -> None:
        """Wait for whoever else is writing one of `terms`: of two at once, neither would see the other.

        They are taken before identifiers are written, by everybody: who waits then holds none that others wait for.
        SQLite has one writer, who waited already.
        """
        if on_postgresql(self.session) and (locks := by.locks_of(terms)):
            await within(self.session, _TURNS, locks=locks)

    async def look(self, patient: PatientId, gained: Iterable[IndexTerm], by: IdentifierTable) -> None:
        """Open a review for each living patient who has one of the identifiers that `patient` has just gained.

        Whoever writes them has taken their turn.
        """
        pairs: dict[Pair, set[IndexKind]] = {}
        asked = [(term, value) for term in gained for value in by.candidates(term)]
        for owner, kind in await self._sharing(patient, asked):
            pairs.setdefault(in_order(patient, owner), set()).add(kind)
        if pairs:
            await self._open(pairs)

    async def _sharing(
        self, patient: PatientId, asked: list[tuple[IndexTerm, IndexValue]]
    ) -> set[tuple[PatientId, IndexKind]]:
        """Return who else has which kind of identifier, but for values that too many have to say anything."""
        if not asked:
            return set()
        on_server = on_postgresql(self.session)
        if on_server:
            digests = array_of([value.digest for _, value in asked])
            if not await within(self.session, _anybody(self.identifiers), digests=digests, patient=patient):
                return set()
        values: dict[str, Any] = {"patient": patient}
        for position, (term, value) in enumerate(asked):
            values |= {
                f"digest_{position}": value.digest,
                f"generation_{position}": value.generation,
                f"kind_{position}": int(term.kind),
            }
        statement, direct = _sharing(self.identifiers, len(asked))
        rows = await (within(self.session, direct, **values) if on_server else self.session.execute(statement, values))
        by_term: dict[IndexTerm, set[PatientId]] = {}
        for position, owner in rows:
            by_term.setdefault(asked[position][0], set()).add(PatientId(owner))
        return {
            (owner, term.kind)
            for term, owners_found in by_term.items()
            if len(owners_found) <= MOST_SHARING
            for owner in owners_found
        }

    async def _open(self, pairs: dict[Pair, set[IndexKind]]) -> None:
        at = self.ledger.stamp().at
        rows = DuplicateRow
        named = or_(*(and_(rows.patient_id == one, rows.other_id == other) for one, other in pairs))
        known: dict[Pair, tuple[Duplicate, SealedRecord]] = {}
        for row in await self.session.execute(self.table.fetched.where(named)):
            record = self.table.record_of(row)
            review = self.table.open_review(record)
            known[review.patient, review.other] = (review, record)
        for pair, (review, record) in known.items():
            collided = review.collided(pairs[pair], at)
            if collided is not review:
                self._note(collided)
                await self.table.replace(self.session, self.ledger, record, collided, written(collided))
        await self._insert({pair: kinds for pair, kinds in pairs.items() if pair not in known})

    async def _insert(self, pairs: dict[Pair, set[IndexKind]]) -> None:
        if not pairs:
            return
        at = self.ledger.stamp().at
        sealed_for = {one for one, _ in pairs}
        keys = await self.session.execute(
            select(PatientRow.id, PatientRow.key_generation, DataKeyRow.kek_generation, DataKeyRow.wrapped)
            .join(
                DataKeyRow,
                and_(DataKeyRow.subject_id == PatientRow.id, DataKeyRow.generation == PatientRow.key_generation),
            )
            .where(PatientRow.id.in_(sealed_for))
        )
        wrapped = {
            PatientId(row.id): wrapped_key(row.id, row.key_generation, row.kek_generation, row.wrapped) for row in keys
        }
        for (one, other), kinds in sorted(pairs.items()):
            key = wrapped.get(one)
            if key is None:
                continue  # they are forgotten, and nothing more can be sealed of them
            review = Duplicate(
                id=DuplicateId(self.new_id()), patient=one, other=other, kinds=tuple(sorted(kinds)), opened_at=at
            )
            self._note(review)
            unwrapped = self.table.keys.unwrap(key)
            await self.table.insert(self.session, self.ledger, unwrapped, review.id, review, written(review))

    def _note(self, review: Duplicate) -> None:
        """Let the trail say that a review opened, on the occasion of what was attempted last."""
        occasion = self.ledger.attempts[-1]
        self.ledger.note(
            Attempt(
                actor=occasion.actor,
                action=Action.REGISTER,
                at=occasion.at,
                resource=Resource.DUPLICATE,
                patient=review.patient,
                ids=(review.id,),
            )
        )
