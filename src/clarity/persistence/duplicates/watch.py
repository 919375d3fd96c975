"""What notices, while a patient is written, that somebody else has the same number or address."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import and_, func, literal, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from clarity.application.ports import NewId
from clarity.domain.access import Action
from clarity.domain.audit import Attempt
from clarity.domain.duplicates import MOST_SHARING, Duplicate, in_order
from clarity.domain.identifiers import IndexKind, IndexTerm
from clarity.domain.ids import DuplicateId, PatientId
from clarity.domain.records import TOMBSTONE, Resource
from clarity.persistence.duplicates.mapping import DuplicateTable, written
from clarity.persistence.duplicates.tables import DuplicateRow
from clarity.persistence.identifiers import IdentifierTable
from clarity.persistence.keys import DataKeyRow, wrapped_key
from clarity.persistence.ledger import Ledger
from clarity.persistence.patients.tables import PatientRow
from clarity.persistence.sealing import SealedRecord

Pair = tuple[PatientId, PatientId]


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

    async def look(self, patient: PatientId, gained: Iterable[IndexTerm]) -> None:
        """Open a review for each living patient who has one of the identifiers that `patient` has just gained."""
        terms = sorted(gained, key=lambda term: (term.kind, term.text))
        if not terms:
            return
        await self._take_turns(terms)
        pairs: dict[Pair, set[IndexKind]] = {}
        for owner, kind in await self._sharing(patient, terms):
            pairs.setdefault(in_order(patient, owner), set()).add(kind)
        if pairs:
            await self._open(pairs)

    async def _take_turns(self, terms: list[IndexTerm]) -> None:
        """Wait for whoever else is writing one of `terms`: of two at once, neither would see the other.

        SQLite has one writer, who waited already.
        """
        if self.session.get_bind().dialect.name != "postgresql":
            return
        locks = sorted({lock for term in terms for lock in self.identifiers.locks_of(term)})
        if locks:
            await self.session.execute(select(*(func.pg_advisory_xact_lock(lock) for lock in locks)))

    async def _sharing(self, patient: PatientId, terms: list[IndexTerm]) -> list[tuple[PatientId, IndexKind]]:
        """Return who else has which kind of identifier, but for values that too many have to say anything."""
        looked_up = []
        for position, term in enumerate(terms):
            owners = self.identifiers.owners_of(term).join(PatientRow, PatientRow.id == self.identifiers.owner_column)
            owners = owners.where(PatientRow.status != TOMBSTONE, PatientRow.id != patient).limit(MOST_SHARING + 1)
            found = owners.subquery(f"sharing_{position}")
            looked_up.append(select(literal(position).label("position"), found.c[0].label("owner")))
        rows = (await self.session.execute(union_all(*looked_up))).all()
        by_term: dict[int, set[PatientId]] = {}
        for row in rows:
            by_term.setdefault(row.position, set()).add(PatientId(row.owner))
        return [
            (owner, terms[position].kind)
            for position, owners_found in by_term.items()
            if len(owners_found) <= MOST_SHARING
            for owner in sorted(owners_found)
        ]

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
