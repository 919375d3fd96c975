"""What the index packs it gives back, and what is not its own it does not read."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarity.application.ports.search import IndexEntry
from clarity.domain.names import HumanName
from clarity.domain.patients import PatientSort, PatientStatus, sort_key
from clarity.domain.people import BirthSex, Gender
from clarity.domain.records import Label
from clarity.search.columns import Columns, Unreadable, key_of
from clarity.search.segments import KeptPart, Part, Unopened

letters = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12)
names = st.builds(lambda family, given_: HumanName(family=family, given=(given_,), text="?"), letters, letters)
entries = st.builds(
    lambda number, spoken, **rest: IndexEntry(
        id=number.to_bytes(16, "big"),
        family=spoken[0].sort_key[0],
        given=spoken[0].sort_key[1],
        names=tuple(name.search_text for name in spoken),
        **rest,
    ),
    st.integers(0, 2**128 - 1),
    st.lists(names, min_size=1, max_size=3),
    version=st.integers(0, 2**31 - 1),
    born_first=st.integers(1, 3_652_059),
    born_last=st.integers(1, 3_652_059),
    status=st.sampled_from(PatientStatus),
    label=st.sampled_from(Label),
    gender=st.sampled_from(Gender),
    birth_sex=st.sampled_from([None, *BirthSex]),
    changed=st.integers(-(2**40), 2**53),
)


@given(st.lists(entries, max_size=8))
def test_what_is_packed_is_given_back(some: list[IndexEntry]) -> None:
    columns = Columns.pack(some)
    again = Columns.of_bytes(columns.to_bytes())
    for packed in (columns, again):
        assert [packed.entry(row) for row in range(len(packed))] == some
    keys = [key_of(entry.family, entry.given, entry.id) for entry in some]
    assert columns.keys(0, len(some)) == keys == [columns.key(row) for row in range(len(some))]
    for row, entry in enumerate(some):
        name = (entry.family, entry.given, UUID(bytes=entry.id).hex)
        for sort in PatientSort:
            assert columns.sort_key(row, sort) == sort_key(sort, name, entry.born_first, entry.changed)


@given(st.lists(entries, min_size=1, max_size=4))
def test_rows_are_in_the_order_of_their_keys_exactly_when_their_names_are(some: list[IndexEntry]) -> None:
    by_key = sorted(some, key=lambda entry: key_of(entry.family, entry.given, entry.id))
    assert by_key == sorted(some, key=lambda entry: (entry.family, entry.given, entry.id.hex()))


@given(st.binary(max_size=200))
def test_bytes_of_something_else_are_not_read(frame: bytes) -> None:
    with pytest.raises(Unreadable):
        KeptPart.of_bytes(frame)


@given(st.lists(entries, min_size=1, max_size=3), st.data())
def test_a_part_that_was_cut_is_not_read(some: list[IndexEntry], data: st.DataObject) -> None:
    frame = Part(None, {entry.id: Unopened(entry.version, entry.changed) for entry in some}).to_bytes()
    frame = frame[:-1] if data.draw(st.booleans()) else frame + b"\0"
    with pytest.raises(Unreadable):
        KeptPart.of_bytes(frame)
    columns = Columns.pack(some).to_bytes()
    with pytest.raises(Unreadable):
        Columns.of_bytes(columns[: data.draw(st.integers(0, len(columns) - 1))])


def test_nothing_of_a_patient_shows_in_a_repr() -> None:
    names, active = ("ada lovelace",), PatientStatus.ACTIVE
    entry = IndexEntry(b"1" * 16, 1, "lovelace", "ada", names, 1, 1, active, Label.NORMAL, Gender.FEMALE, None, 0)
    columns = Columns.pack([entry])
    for shown in (entry, columns, KeptPart(columns, {}), Part(None, {entry.id: Unopened(1, 0)})):
        assert "ada" not in repr(shown)
