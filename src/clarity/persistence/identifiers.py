"""Exact look-ups: the blind indexes of a record's identifiers, kept in step with its versions."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self
from uuid import UUID

from sqlalchemy import CheckConstraint, ColumnElement, Index, Select, and_, false, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from clarity.application.ports import NewId
from clarity.domain.errors import Invalid
from clarity.domain.identifiers import IndexKind, IndexTerm
from clarity.persistence.tables import UNTRACKED, IdentifierColumns, table_of
from clarity.security.blind_index import IndexValue


class BlindIndexing(Protocol):
    """What persistence needs of the blind index."""

    def candidates(self, kind: IndexKind, text: str) -> tuple[IndexValue, ...]:
        """Return the digests under every live index root, newest first; raises `Invalid` if the text says nothing."""
        ...


def identifier_rules(table: str) -> tuple[Index | CheckConstraint, ...]:
    """Return what a table of identifiers must hold to, and the indexes it is searched by, for each slot.

    The indexes of unique kinds differ in the order of their columns, because SQLite tells a broken index by its
    columns alone.
    """
    checks = (
        CheckConstraint("length(digest_a) = 16 AND (digest_b IS NULL OR length(digest_b) = 16)", name="digests"),
        CheckConstraint("(digest_b IS NULL) = (generation_b IS NULL)", name="slot_b"),
    )
    return checks + tuple(
        index
        for slot in ("a", "b")
        for index in (
            Index(None, f"digest_{slot}", f"generation_{slot}", "kind"),
            _unique(f"uq_{table}_mrn_{slot}", IndexKind.MRN, "kind", f"generation_{slot}", f"digest_{slot}"),
            _unique(f"uq_{table}_source_{slot}", IndexKind.SOURCE, f"generation_{slot}", f"digest_{slot}", "kind"),
        )
    )


def _unique(name: str, kind: IndexKind, *columns: str) -> Index:
    holds = text(f"kind = {kind.value} AND until_version IS NULL")
    return Index(name, *columns, unique=True, postgresql_where=holds, sqlite_where=holds)


@dataclass(frozen=True, slots=True)
class IdentifierTable:
    """The identifiers of one kind of record. `rows` is its table, `owner` the column that names the record."""

    rows: type[IdentifierColumns]
    owner: str
    index: BlindIndexing
    new_id: NewId

    @property
    def owner_column(self) -> Any:
        """The column that names the record."""
        return getattr(self.rows, self.owner)

    def remembering(self) -> Self:
        """Return the same for one change of one record, of which each text is digested once."""
        return replace(self, index=_Remembering(self.index))

    def locks_of(self, terms: Iterable[IndexTerm]) -> list[int]:
        """Return the numbers by which those who write `terms` take turns: the first 8 bytes of their digests.

        They are in the order in which everybody takes them.
        """
        digests = {value.digest[:8] for term in terms for value in self.candidates(term)}
        return sorted(int.from_bytes(digest, signed=True) for digest in digests)

    def owners_of(self, *terms: IndexTerm) -> Select[UUID]:
        """Return the select of the records that have any of `terms` now."""
        rows = self.rows
        matches = [
            self.has(digest=value.digest, generation=value.generation, kind=term.kind)
            for term in terms
            for value in self.candidates(term)
        ]
        return select(getattr(rows, self.owner)).where(rows.until_version.is_(None), or_(false(), *matches))

    def has(self, *, digest: Any, generation: Any, kind: Any) -> ColumnElement[bool]:
        """Return the condition that a row has a digest, in whichever slot."""
        rows = self.rows
        return or_(
            and_(rows.digest_a == digest, rows.generation_a == generation, rows.kind == kind),
            and_(rows.digest_b == digest, rows.generation_b == generation, rows.kind == kind),
        )

    async def change(
        self,
        session: AsyncSession,
        owner: UUID,
        *,
        before: Iterable[IndexTerm],
        after: Iterable[IndexTerm],
        version: int,
    ) -> None:
        """Give `owner` the identifiers `after` instead of `before` as of its `version`.

        Breaks a unique index if one is taken.
        """
        had, has = frozenset(before), frozenset(after)
        if had == has:
            return
        old, new = self._digests(had), self._digests(has)
        await self._retire(session, owner, [term for key, (term, _) in old.items() if key not in new], version)
        gained = [value for key, value in new.items() if key not in old]
        if gained:
            await session.execute(insert(table_of(self.rows)), [self._row(owner, *one, version) for one in gained])

    def new_rows(self, owner: UUID, terms: Iterable[IndexTerm]) -> list[dict[str, Any]]:
        """Return the rows of the identifiers of a record that is new."""
        return [self._row(owner, *one, 1) for one in self._digests(terms).values()]

    def _row(self, owner: UUID, term: IndexTerm, value: IndexValue, version: int) -> dict[str, Any]:
        return {
            "id": self.new_id(),
            self.owner: owner,
            "kind": int(term.kind),
            "generation_a": value.generation,
            "digest_a": value.digest,
            "since_version": version,
        }

    async def _retire(self, session: AsyncSession, owner: UUID, terms: Iterable[IndexTerm], version: int) -> None:
        rows = self.rows
        digests = [value.digest for term in terms for value in self.candidates(term)]
        if digests:
            statement = update(rows).where(
                getattr(rows, self.owner) == owner,
                rows.until_version.is_(None),
                or_(rows.digest_a.in_(digests), rows.digest_b.in_(digests)),
            )
            await session.execute(statement.values(until_version=version), execution_options=UNTRACKED)

    def _digests(self, terms: Iterable[IndexTerm]) -> dict[bytes, tuple[IndexTerm, IndexValue]]:
        """Return each digest once: two spellings of one telephone number are one identifier.

        What normalises to nothing ("n/a" as a telephone number) is kept in the record but cannot be found.
        """
        found = {}
        for term in terms:
            for value in self.candidates(term)[:1]:
                found[value.digest] = (term, value)
        return found

    def candidates(self, term: IndexTerm) -> tuple[IndexValue, ...]:
        """Return the digests under which `term` may be kept, the newest first; none of what says nothing."""
        try:
            return self.index.candidates(term.kind, term.text)
        except Invalid:
            return ()


class _Remembering:
    """A blind index that remembers what it was asked, for as long as a record is written that has it in plain."""

    def __init__(self, index: BlindIndexing) -> None:
        self._index = index
        self._known: dict[tuple[IndexKind, str], tuple[IndexValue, ...]] = {}

    def candidates(self, kind: IndexKind, text: str) -> tuple[IndexValue, ...]:
        """Return the digests, computed once."""
        known = self._known.get((kind, text))
        if known is None:
            known = self._known[kind, text] = self._index.candidates(kind, text)
        return known
