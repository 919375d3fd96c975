"""The sieve says of all segments at once what the table of each would say."""

from hypothesis import given
from hypothesis import strategies as st

from clarity.search.grams import ALL_BLOCKS, blocks_with
from clarity.search.sieve import MOST_KEPT, Sieve

NUMBERS = st.integers(0, ALL_BLOCKS)
PLACES = 8


def table(numbers: list[int]) -> memoryview:
    return memoryview(b"".join(number.to_bytes(8, "little") for number in numbers)).cast("Q")


@given(
    st.lists(st.lists(NUMBERS, min_size=PLACES, max_size=PLACES), max_size=4),
    st.lists(st.lists(st.integers(0, PLACES - 1), max_size=5), max_size=6),
)
def test_blocks_are_those_of_each_table(numbers: list[list[int]], asked: list[list[int]]) -> None:
    tables = [table(some) for some in numbers]
    sieve = Sieve(tables)
    for grams in asked:
        assert sieve.blocks_with(grams) == [blocks_with(one, grams) for one in tables]


def test_other_tables_want_another_sieve() -> None:
    one, other = table([1] * PLACES), table([1] * PLACES)
    sieve = Sieve([one, other])
    assert sieve.is_of([one, other])
    assert not sieve.is_of([other, one])
    assert not sieve.is_of([one])


def test_what_it_remembers_is_bounded() -> None:
    sieve = Sieve([table(list(range(MOST_KEPT + 10)))])
    for gram in range(MOST_KEPT + 10):
        assert sieve.blocks_with([gram]) == [gram]
        assert sieve.memory <= 8 * MOST_KEPT
    assert 0 < sieve.memory < 8 * MOST_KEPT
