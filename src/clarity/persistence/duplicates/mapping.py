"""From a duplicate review to the columns of a row and back."""

from dataclasses import dataclass, fields
from typing import Any, Final
from uuid import UUID

from clarity.domain.duplicates import Duplicate
from clarity.domain.errors import CannotOpen
from clarity.domain.ids import DuplicateId, PatientId
from clarity.domain.records import Resource, Sealed
from clarity.persistence.duplicates.tables import DuplicateRow
from clarity.persistence.keys import DataKeys
from clarity.persistence.records import SealedTable, Written
from clarity.persistence.sealing import SealedRecord

_OUTSIDE = frozenset({"id", "patient", "other", "version"})
NOBODY: Final = PatientId(UUID(int=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class _DuplicateRecord(SealedRecord):
    """A fetched row with the second of the two patients."""

    other: PatientId


class DuplicateTable(SealedTable[Duplicate]):
    """The reviews. The two patients stand beside the seal, and so does the status that is in it."""

    beside = (DuplicateRow.other_id,)

    def __init__(self, keys: DataKeys) -> None:
        super().__init__(DuplicateRow, Duplicate, Resource.DUPLICATE, keys, outside=_OUTSIDE)

    def record_of(self, row: Any) -> SealedRecord:
        """Return a fetched row as a record still closed."""
        record = super().record_of(row)
        common = {item.name: getattr(record, item.name) for item in fields(record)}
        return _DuplicateRecord(**common, other=PatientId(row[-1]))

    def open_review(self, record: Sealed) -> Duplicate:
        """Return the review inside `record`, or raise `CannotOpen`."""
        if not isinstance(record, _DuplicateRecord):
            raise CannotOpen
        return self.open(
            record,
            id=DuplicateId(record.id),
            patient=record.patient,
            other=record.other,
            version=record.version,
        )


def written(review: Duplicate) -> Written:
    """Return what is written of `review` beside the seal."""
    beside = {} if review.version else {"other_id": review.other}
    return Written(status=review.status.value, beside=beside)
