"""Patients in columns: what an index holds of some thousand of them, packed and in the order of a card index."""

import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import chain
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from clarity.application.ports.search import IndexEntry
from clarity.domain.patients import PatientSort, PatientStatus, sort_key
from clarity.domain.people import BirthSex, Gender
from clarity.domain.records import Label
from clarity.domain.values import Confidential

ROW_END, NAME_END, LINE_END = 0xFF, 0xFE, 0x0A
"""What ends a patient, a name and a line in the text. The first two occur in no UTF-8, the third in nothing folded."""

# What these lone surrogates become when they are "escaped" into UTF-8: the bytes above.
_ROW_END, _NAME_END = "\udcff", "\udcfe"

_STATUSES, _LABELS, _GENDERS = tuple(PatientStatus), tuple(Label), tuple(Gender)
_BIRTH_SEXES: tuple[BirthSex | None, ...] = (None, *BirthSex)
SEVERAL = 1 << 9
"""The flag of a row that holds more than one name, or one in several ways of writing it."""

_HEADER = struct.Struct("<8sIIQ")
_MAGIC = b"clarity\x01"
_LAYOUT = zlib.crc32(repr((_STATUSES, _LABELS, _GENDERS, _BIRTH_SEXES)).encode())

Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]


class Unreadable(ValueError):
    """These bytes are not columns of patients as this version writes them."""


# Where each property stands in the flags. Members are looked up by identity: there is one of each, and their own hash
# is a function in Python.
_KINDS: tuple[tuple[int, Sequence[Enum | None]], ...] = (
    (0, _STATUSES),
    (2, _LABELS),
    (4, _GENDERS),
    (6, _BIRTH_SEXES),
)
_CODES = {id(member): place << shift for shift, members in _KINDS for place, member in enumerate(members)}
_MASKS = {id(member): 7 << 6 if shift == 6 else 3 << shift for shift, members in _KINDS for member in members}
_ALL_FLAGS = np.arange(1 << 10)


def flags_with(*members: PatientStatus | Label | Gender | BirthSex) -> Mask:
    """Tell of each value that flags can have whether it stands for one of the members, all of one kind."""
    # By what they are: members of two kinds may be spelt alike, and would be equal.
    return _flags_with(tuple(map(id, members)))


@lru_cache(maxsize=256)
def _flags_with(members: tuple[int, ...]) -> Mask:
    mask = 0
    for member in members:
        mask |= _MASKS[member]
    flags = np.isin(_ALL_FLAGS & mask, [_CODES[member] for member in members])
    flags.flags.writeable = False  # whoever asks for the same is given the same
    return flags


def key_of(family: str, given: str, patient: bytes) -> bytes:
    """Return what puts patients in the order of `PatientSort.NAME`. Names hold no NUL."""
    return b"%b\0%b\0%b" % (family.encode(), given.encode(), patient)


@dataclass(frozen=True, slots=True, repr=False)
class Columns(Confidential):
    """Patients by row, in order of family name, given names and id; immutable.

    A row of `text` is what `IndexEntry.names` is: names ended by 0xFE, the last by 0xFF, at `starts`. Family and given
    names are read off the first line, "given family", by the `family` name's length in bytes. `head` and `tail` are
    the halves of the id. The column `flags` holds status, label, gender and birth sex, and `SEVERAL`.
    """

    text: bytes
    starts: NDArray[np.uint32]
    family: NDArray[np.uint16]
    head: NDArray[np.uint64]
    tail: NDArray[np.uint64]
    born_first: NDArray[np.int32]
    born_last: NDArray[np.int32]
    flags: NDArray[np.uint16]
    changed: NDArray[np.int64]
    version: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.head)

    @property
    def memory(self) -> int:
        """How many bytes they take."""
        return len(self.text) + self.starts.nbytes + sum(column.nbytes for column in self._stored())

    @classmethod
    def pack(cls, entries: Sequence[IndexEntry]) -> Self:
        """Return the columns of `entries`, in the order these have."""
        if not entries:
            return cls.concat([])
        ids, versions, families, _, names, firsts, lasts, statuses, labels, genders, sexes, changes = zip(
            *entries, strict=True
        )
        text = _encoded(chain(map(_NAME_END.join, names), ("",)), _ROW_END)
        starts = _starts(text)
        lengths = _starts(_encoded(chain(families, ("",)), _ROW_END))
        codes = _CODES
        flags = [
            codes[a] | codes[b] | codes[c] | codes[d]
            for a, b, c, d in zip(map(id, statuses), map(id, labels), map(id, genders), map(id, sexes), strict=True)
        ]
        several = [SEVERAL if len(spoken) > 1 or "\n" in spoken[0] else 0 for spoken in names]
        halves = np.frombuffer(b"".join(ids), dtype=">u8").reshape(-1, 2)
        return cls(
            text=text,
            starts=starts,
            family=(np.diff(lengths) - 1).astype(np.uint16),
            head=halves[:, 0].astype(np.uint64),
            tail=halves[:, 1].astype(np.uint64),
            born_first=np.array(firsts, np.int32),
            born_last=np.array(lasts, np.int32),
            flags=np.array(flags, np.uint16) | np.array(several, np.uint16),
            changed=np.array(changes, np.int64),
            version=np.array(versions, np.int32),
        )

    @classmethod
    def concat(cls, pieces: Sequence[Self]) -> Self:
        """Return the rows of all `pieces`, one piece after the other."""
        text = b"".join(piece.text for piece in pieces)
        columns: list[Any] = [
            np.concatenate([getattr(piece, name) for piece in pieces]) if pieces else np.empty(0, kind)
            for name, kind in _STORED.items()
        ]
        return cls(text, _starts(text), *columns)

    def cut(self, first: int, end: int) -> Self:
        """Return copies of the rows from `first` to before `end`."""
        low, high = int(self.starts[first]), int(self.starts[end])
        starts = self.starts[first : end + 1] - self.starts[first]
        return type(self)(self.text[low:high], starts, *(column[first:end].copy() for column in self._stored()))

    def take(self, rows: Rows) -> Self:
        """Return copies of these rows, in this order."""
        texts = self.text.split(b"\xff")
        text = b"".join([texts[row] + b"\xff" for row in rows.tolist()])
        return type(self)(text, _starts(text), *(column[rows] for column in self._stored()))

    def row_text(self, row: int) -> bytes:
        """Return the names in a row, ended by 0xFE but for the last."""
        return self.text[self.starts[row] : self.starts[row + 1] - 1]

    def id_of(self, row: int) -> bytes:
        """Return the 16 bytes of the patient's id."""
        return b"%b%b" % (int(self.head[row]).to_bytes(8, "big"), int(self.tail[row]).to_bytes(8, "big"))

    def key(self, row: int) -> bytes:
        """Return what `key_of` returns of the patient."""
        family, given = self._called(row)
        return b"%b\0%b\0%b" % (family, given, self.id_of(row))

    def keys(self, first: int, end: int) -> list[bytes]:
        """Return the keys of the rows from `first` to before `end`, faster than one by one."""
        texts = self.text[self.starts[first] : self.starts[end]].split(b"\xff")
        halves = np.stack([self.head[first:end], self.tail[first:end]], axis=1)
        ids = halves.astype(">u8").tobytes()
        several = np.flatnonzero(self.flags[first:end] & SEVERAL)
        for row in several.tolist():
            texts[row] = _first_line(texts[row])
        lengths = self.family[first:end].tolist()
        return [
            b"\0".join((spoken[-length:], spoken[: -length - 1], ids[at : at + 16]))
            if length
            else b"\0".join((b"", spoken, ids[at : at + 16]))
            for spoken, length, at in zip(texts, lengths, range(0, len(ids), 16), strict=False)
        ]

    def sort_key(self, row: int, sort: PatientSort) -> tuple[str, ...]:
        """Return what `PatientCard.sort_key` returns of the patient."""
        family, given = self._called(row)
        name = (family.decode(), given.decode(), self.id_of(row).hex())
        return sort_key(sort, name, int(self.born_first[row]), int(self.changed[row]))

    def entry(self, row: int) -> IndexEntry:
        """Return what was packed."""
        family, given = self._called(row)
        flags = int(self.flags[row])
        return IndexEntry(
            id=self.id_of(row),
            version=int(self.version[row]),
            family=family.decode(),
            given=given.decode(),
            names=tuple(name.decode() for name in self.row_text(row).split(b"\xfe")),
            born_first=int(self.born_first[row]),
            born_last=int(self.born_last[row]),
            status=_STATUSES[flags & 3],
            label=_LABELS[flags >> 2 & 3],
            gender=_GENDERS[flags >> 4 & 3],
            birth_sex=_BIRTH_SEXES[flags >> 6 & 7],
            changed=int(self.changed[row]),
        )

    def place_of(self, key: bytes) -> int:
        """Return how many rows come before `key`."""
        return bisect_left(range(len(self)), key, key=self.key)

    def to_bytes(self) -> bytes:
        """Return the columns in one piece, as this machine has them in memory."""
        body = [column.tobytes() for column in self._stored()]
        return b"".join([_HEADER.pack(_MAGIC, _LAYOUT, len(self), len(self.text)), *body, self.text])

    @classmethod
    def of_bytes(cls, frame: bytes | memoryview) -> Self:
        """Return what `to_bytes` was made of, or raise `Unreadable`. Nothing of `frame` is kept."""
        view = memoryview(frame)
        try:
            magic, layout, rows, size = _HEADER.unpack_from(view)
        except struct.error:
            raise Unreadable from None
        widths = [np.dtype(kind).itemsize * rows for kind in _STORED.values()]
        if (magic, layout) != (_MAGIC, _LAYOUT) or len(view) != _HEADER.size + sum(widths) + size:
            raise Unreadable
        columns, place = [], _HEADER.size
        for kind, width in zip(_STORED.values(), widths, strict=True):
            columns.append(np.frombuffer(view[place : place + width], kind).copy())
            place += width
        text = bytes(view[place:])
        starts = _starts(text)
        if len(starts) != rows + 1:
            raise Unreadable
        return cls(text, starts, *columns)

    def _called(self, row: int) -> tuple[bytes, bytes]:
        spoken, length = self.row_text(row), int(self.family[row])
        if self.flags[row] & SEVERAL:
            spoken = _first_line(spoken)
        return (spoken[-length:], spoken[: -length - 1]) if length else (b"", spoken)

    def _stored(self) -> list[NDArray[Any]]:
        return [getattr(self, name) for name in _STORED]


# In the order of the fields.
_STORED: dict[str, type[np.number[Any]]] = {
    "family": np.uint16,
    "head": np.uint64,
    "tail": np.uint64,
    "born_first": np.int32,
    "born_last": np.int32,
    "flags": np.uint16,
    "changed": np.int64,
    "version": np.int32,
}


def _first_line(text: bytes) -> bytes:
    return text.partition(b"\xfe")[0].partition(b"\n")[0]


def _encoded(texts: Iterable[str], separator: str) -> bytes:
    return separator.join(texts).encode("utf-8", "surrogateescape")


def _starts(text: bytes) -> NDArray[np.uint32]:
    """Return where rows begin, and behind the last one where the next would."""
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ROW_END)
    starts = np.zeros(len(ends) + 1, np.uint32)
    starts[1:] = ends + 1
    return starts
