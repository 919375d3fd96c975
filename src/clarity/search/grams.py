"""Which blocks of a segment can hold a fragment at all, by the one, two or three bytes that follow each other in it.

A segment's patients fall into 64 blocks. For each of some thousand grams, one 64-bit number says in which blocks it
occurs; a fragment can only occur where all its grams do. Grams are of UTF-8, so that one table serves every script: a
Chinese character is one gram of three bytes. Longer grams share places (a hash), which lets some blocks through
that need not be looked at, and never keeps one away. The longest have two places each, and hardly ever share both.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

BLOCKS = 64
ALL_BLOCKS = (1 << BLOCKS) - 1

_PAIR_BITS, _TRIPLE_BITS = 11, 14
_PAIRS, _TRIPLES = 256, 256 + (1 << _PAIR_BITS)
_PLACES = _TRIPLES + (1 << _TRIPLE_BITS)
# Odd numbers by which to multiply mixes upwards: next to 2^32 over the golden ratio, and one of MurmurHash3's.
_SPREAD, _SPREAD_AGAIN = 0x9E3779B1, 0x85EBCA6B
_WORD = 0xFFFFFFFF
_CHUNK = 1 << 14
"""How many bytes are taken at a time: a step of well below a millisecond."""


def grams_of(fragment: bytes) -> tuple[int, ...]:
    """Return the places in a table of the longest grams of `fragment`; none if it is empty."""
    if len(fragment) == 1:
        return (fragment[0],)
    if len(fragment) == 2:
        return (_PAIRS + _mixed(int.from_bytes(fragment, "big"), _SPREAD, _PAIR_BITS),)
    triples = [int.from_bytes(fragment[place : place + 3], "big") for place in range(len(fragment) - 2)]
    places = [_TRIPLES + _mixed(triple, by, _TRIPLE_BITS) for triple in triples for by in (_SPREAD, _SPREAD_AGAIN)]
    return tuple(dict.fromkeys(places))


def rows_in_a_block(rows: int) -> int:
    """Return how many rows of a segment of `rows` share a block."""
    return max(1, -(-rows // BLOCKS))


def tabulate(text: bytes, starts: NDArray[np.uint32]) -> Iterator[NDArray[np.uint64] | None]:
    """Make the table of the rows of `text` that begin at `starts`: `None` after each step, the table at last."""
    seen = np.zeros((_PLACES, BLOCKS), np.bool_)
    flat, letters = seen.ravel(), np.frombuffer(text, np.uint8)
    begins = starts[np.minimum(np.arange(BLOCKS + 1) * rows_in_a_block(len(starts) - 1), len(starts) - 1)]
    for low in range(0, len(text), _CHUNK):
        some = letters[low : low + _CHUNK + 2]
        blocks = np.searchsorted(begins, np.arange(low, low + len(some), dtype=np.uint32), side="right") - 1
        _mark(flat, blocks, some)
        yield None
    table = np.empty(_PLACES, np.uint64)
    for low in range(0, _PLACES, 1 << 12):
        packed = np.packbits(seen[low : low + (1 << 12)], axis=1, bitorder="little")
        table[low : low + (1 << 12)] = packed.view(np.dtype("<u8")).ravel()
        yield None
    yield table


def _mark(seen: NDArray[np.bool_], blocks: NDArray[np.intp], letters: NDArray[np.uint8]) -> None:
    """Mark the grams of `letters` as seen, each in the block that it begins in."""
    seen[letters.astype(np.intp) * BLOCKS + blocks] = True
    wide = letters.astype(np.uint32)
    pairs = (wide[:-1] << np.uint32(8)) | wide[1:]
    seen[(_PAIRS + _all_mixed(pairs, _SPREAD, _PAIR_BITS)) * BLOCKS + blocks[:-1]] = True
    triples = (pairs[:-1] << np.uint32(8)) | wide[2:]
    for by in (_SPREAD, _SPREAD_AGAIN):
        seen[(_TRIPLES + _all_mixed(triples, by, _TRIPLE_BITS)) * BLOCKS + blocks[:-2]] = True


def _mixed(gram: int, by: int, bits: int) -> int:
    return ((gram * by) & _WORD) >> (32 - bits)


def _all_mixed(grams: NDArray[np.uint32], by: int, bits: int) -> NDArray[np.intp]:
    return ((grams * np.uint32(by)) >> np.uint32(32 - bits)).astype(np.intp)


def blocks_with(table: memoryview, grams: Sequence[int]) -> int:
    """Return the blocks in which all `grams` occur, as bits: all blocks if there are no grams."""
    blocks = ALL_BLOCKS
    for gram in grams:
        blocks &= table[gram]
        if not blocks:
            break
    return blocks


def runs(blocks: int) -> Iterator[tuple[int, int]]:
    """Return the first and the end of each run of bits that are set, upwards."""
    first = 0
    while blocks:
        skipped = (blocks & -blocks).bit_length() - 1
        blocks >>= skipped
        length = (~blocks & (blocks + 1)).bit_length() - 1
        first += skipped
        yield first, first + length
        blocks >>= length
        first += length
