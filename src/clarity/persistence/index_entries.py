"""From sealed rows of patients to what a search index holds of them: as little as it needs, as fast as it can be."""

from collections.abc import Iterable
from datetime import date
from functools import lru_cache
from typing import NamedTuple

import msgspec

from clarity.application.ports.search import Absence, IndexChange, IndexEntry, IndexGap
from clarity.domain.dates import PartialDate
from clarity.domain.errors import CannotOpen, Invalid
from clarity.domain.names import NameUse, fold, search_text_of, sort_key_of
from clarity.domain.patients import PatientStatus, called_first
from clarity.domain.people import BirthSex, Gender
from clarity.domain.records import TOMBSTONE, Label
from clarity.domain.values import Confidential
from clarity.persistence.registry import number_of
from clarity.persistence.sealing import SealedMapper
from clarity.security.keyring import Keyring

# More than there are common names in most countries, and few enough to be given up within a millisecond.
_REMEMBERED = 1 << 13
# Not opened; no msgpack, no text, no day of the calendar; nested or of a size without bounds; nobody's name.
_NOT_A_PATIENT = (CannotOpen, Invalid, ValueError, RecursionError, OverflowError, IndexError)
_STATUSES = {status.value: status for status in PatientStatus}


class StampedRow(NamedTuple):
    """A row of a patient with the key that opens it, as the drivers return it: its id as bytes, instants as numbers.

    `changed` is `updated_at` in microseconds since 1970 in UTC. `wrapped` is `None` if the key was destroyed.
    """

    id: bytes
    version: int
    status: str
    guarded: bool
    changed: int
    sealed: bytes
    key_generation: int
    kek_generation: int | None
    wrapped: bytes | None


class _Name(msgspec.Struct, frozen=True, gc=False):
    """The part of a name that is searched."""

    family: str = ""
    given: tuple[str, ...] = ()
    text: str = ""
    use: NameUse | None = None

    __repr__ = Confidential.__repr__


class _Born(msgspec.Struct, frozen=True, gc=False):
    """A date as the content has it."""

    year: int
    month: int | None = None
    day: int | None = None

    __repr__ = Confidential.__repr__


class _Content(msgspec.Struct, frozen=True, gc=False):
    """The part of the content that an index holds; reading only it is much faster than reading all."""

    names: tuple[_Name, ...]
    born: _Born
    gender: Gender = Gender.UNKNOWN
    birth_sex: BirthSex | None = None
    label: Label = Label.NORMAL

    __repr__ = Confidential.__repr__


class IndexEntries:
    """Opens rows of patients for an index, one after the other, past whatever remembers keys.

    It remembers parts of names, of which there are few, as long as it is there itself: a name that was forgotten must
    not stay in memory.
    """

    def __init__(self, keys: Keyring) -> None:
        """Open with `keys`."""
        self._open = keys.subject_opener(*number_of("patients")).open
        self._decode = msgspec.msgpack.Decoder(_Content).decode
        self._fold = lru_cache(_REMEMBERED)(fold)

    def of(self, rows: Iterable[StampedRow]) -> list[IndexChange]:
        """Return what an index holds of each of `rows`, or why it holds nothing."""
        return [self._change_of(row) for row in rows]

    def _change_of(self, row: StampedRow) -> IndexChange:
        patient, version, status, guarded, changed, sealed, generation, kek_generation, wrapped = row
        if status == TOMBSTONE:
            return IndexGap(patient, version, Absence.DELETED, changed)
        if kek_generation is None:
            return IndexGap(patient, version, Absence.UNOPENED, changed)
        if wrapped is None:
            return IndexGap(patient, version, Absence.FORGOTTEN, changed)
        try:
            plaintext = self._open(patient, version, sealed, generation, kek_generation, wrapped)
            if plaintext[0] != SealedMapper.schema:
                return IndexGap(patient, version, Absence.UNOPENED, changed)
            content = self._decode(memoryview(plaintext)[1:])
            names = content.names
            first = names[0] if len(names) == 1 else names[called_first(name.use for name in names)]
            family, given = sort_key_of(first.family, first.given, first.text, self._fold)
            texts: tuple[str, ...] = (search_text_of(family, given),)
            if len(names) > 1:
                texts += tuple(self._search_text(name) for name in names if name is not first)
            born_first, born_last = _span(content.born.year, content.born.month, content.born.day)
        except _NOT_A_PATIENT:
            return IndexGap(patient, version, Absence.UNOPENED, changed)
        label = content.label
        if guarded and label is Label.NORMAL:
            # The bit beside the seal is whoever writes the table's to change; the stricter of the two holds.
            label = Label.RESTRICTED
        return IndexEntry(
            patient,
            version,
            family,
            given,
            texts,
            born_first,
            born_last,
            _STATUSES[status],
            label,
            content.gender,
            content.birth_sex,
            changed,
        )

    def _search_text(self, name: _Name) -> str:
        return search_text_of(*sort_key_of(name.family, name.given, name.text, self._fold))


def _span(year: int, month: int | None, day: int | None) -> tuple[int, int]:
    if month is not None and day is not None:
        exactly = date(year, month, day).toordinal()
        return exactly, exactly
    born = PartialDate(year, month, day)
    return born.first.toordinal(), born.last.toordinal()
