"""Readings as sparse rows. A feature is the 32-bit hash of a word, of neighbours written together, or of a word that
only the description has; its weight is how rare it is among titles. Nothing is kept but numbers, so that rows of
different moments can be compared and a vocabulary costs a few bytes a word."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from catalog.matching.reading import Reading

_WORD, _JOINED, _JOINED_DIGITS, _SAID = 0, 1, 2, 3
_FACTOR = np.array([1.0, 1.0, 0.5, 0.25], dtype=np.float32)
_LONGEST_JOIN = 24
_SMOOTH = 1000  # a small table does not know how rare its words are; this many more titles are imagined beside it
Rows = Any  # scipy.sparse.csr_matrix of float32


@dataclass(slots=True)
class Raw:
    """Features of many readings, one after the other: `ends[i]` is where those of reading i end."""

    hashes: NDArray[np.uint32]
    kinds: NDArray[np.uint8]
    ends: NDArray[np.int64]


def raw(readings: Iterable[Reading]) -> Raw:
    """The features of readings, each once, words before joins before what the description says."""
    hashes: list[int] = []
    kinds: list[int] = []
    ends: list[int] = []
    for reading in readings:
        found: dict[str, int] = dict.fromkeys(reading.words, _WORD)
        for word in reading.brand:
            found.setdefault(word, _WORD)
        _joins(reading.words, found)
        for word in reading.said:
            found.setdefault(word, _SAID)
        hashes += [crc32(word.encode()) for word in found]
        kinds += found.values()
        ends.append(len(hashes))
    return Raw(np.array(hashes, np.uint32), np.array(kinds, np.uint8), np.array(ends, np.int64))


def _joins(words: Sequence[str], found: dict[str, int]) -> None:
    count = len(words)
    for start in range(count - 1):
        joined = words[start]
        for end in range(start + 1, min(count, start + 4)):
            joined += words[end]
            if len(joined) > _LONGEST_JOIN:
                break
            if joined not in found:
                digits = end < start + 3 and len(joined) <= 16 and joined.isascii() and not joined.isalpha()
                digits = digits and not joined.isdigit()
                found[joined] = _JOINED_DIGITS if digits else _JOINED


class Weights:
    """How rare each feature is. Words of titles count, and numbers with their neighbour ("photoshop7"); what else is
    joined or described matters only where some title has it as a word."""

    def __init__(self, parts: Sequence[Raw]) -> None:
        hashes = np.concatenate([part.hashes for part in parts]) if parts else np.zeros(0, np.uint32)
        kinds = np.concatenate([part.kinds for part in parts]) if parts else np.zeros(0, np.uint8)
        titles = sum(len(part.ends) for part in parts)
        counted = (kinds == _WORD) | (kinds == _JOINED_DIGITS)
        self.hashes, positions = np.unique(hashes[counted], return_inverse=True)
        frequency = np.bincount(positions, minlength=len(self.hashes))
        self.is_word = np.zeros(len(self.hashes), bool)
        self.is_word[positions[kinds[counted] == _WORD]] = True
        # What else meets a word meets it in other titles too
        others = ~counted
        at, known = self._find(hashes[others])
        at = at[known]
        at = at[self.is_word[at] & (kinds[others][known] == _JOINED)]
        frequency += np.bincount(at, minlength=len(self.hashes))
        self.rarest = float(np.log(titles + _SMOOTH))
        self.weight = (self.rarest - np.log(np.maximum(frequency, 1)) + 0.1).astype(np.float32)

    def with_more(self, features: Raw) -> Weights:
        """These weights, and those of features that only `features` has."""
        other = Weights([features])
        more = Weights([])
        more.hashes = np.union1d(self.hashes, other.hashes)
        more.rarest = self.rarest
        more.weight = np.full(len(more.hashes), self.rarest + 0.1, np.float32)
        more.is_word = np.zeros(len(more.hashes), bool)
        for known in (other, self):
            at = np.searchsorted(more.hashes, known.hashes)
            more.is_word[at] |= known.is_word
        more.weight[at] = self.weight
        return more

    def _find(self, hashes: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        if not len(self.hashes):
            return np.zeros(len(hashes), np.int64), np.zeros(len(hashes), bool)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return at, self.hashes[at] == hashes

    def rows(self, features: Raw, *, unknown: bool = True) -> Rows:
        """Sparse rows of length one. Words that no title has count in the length alone."""
        at, known = self._find(features.hashes)
        kinds = features.kinds
        word = np.zeros(len(at), bool)
        word[known] = self.is_word[at[known]]
        factor = _FACTOR[kinds]
        factor[(kinds == _JOINED_DIGITS) & word] = 1.0
        kept = known & ((kinds == _WORD) | (kinds == _JOINED_DIGITS) | word)
        lost = ~known & (kinds == _WORD)
        value = np.zeros(len(at), np.float32)
        value[kept] = self.weight[at[kept]] * factor[kept]
        value[lost] = self.rarest
        row = np.repeat(np.arange(len(features.ends)), np.diff(features.ends, prepend=0))
        length = np.sqrt(np.bincount(row, value.astype(np.float64) ** 2, minlength=len(features.ends)))
        length[length == 0] = 1
        value /= length[row].astype(np.float32)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(row[kept], minlength=len(features.ends)))])
        shape = (len(features.ends), max(1, len(self.hashes)))
        return sp.csr_matrix((value[kept], at[kept].astype(np.int32), indptr), shape=shape)

    def flat_words(self, readings: Sequence[Reading]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The weight of each title word of all readings in one array, and where those of each begin."""
        counts = [len(reading.words) for reading in readings]
        flat = np.fromiter(
            (crc32(word.encode()) for reading in readings for word in reading.words), np.uint32, sum(counts)
        )
        at, known = self._find(flat)
        found = np.full(len(flat), self.rarest + 0.1, np.float32)
        found[known] = self.weight[at[known]]
        return found, np.cumsum([0, *counts], dtype=np.int64)

    def of_words(self, readings: Sequence[Reading]) -> list[list[float]]:
        """The weight of each title word of each reading."""
        flat, ends = self.flat_words(readings)
        weights: list[float] = flat.tolist()
        return [weights[start:end] for start, end in itertools.pairwise(ends.tolist())]


def rarest_first(rows: Rows, frequency: NDArray[np.int64], budget: int) -> Rows:
    """Each row without its commonest features: as many of the rarest are kept as bring up `budget` others together,
    and one at least."""
    row = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    count = frequency[rows.indices]
    order = np.lexsort((count, row))
    total = np.cumsum(count[order])
    before = total - count[order]
    start = before[rows.indptr[:-1][np.diff(rows.indptr) > 0]]
    base = np.repeat(start, np.diff(rows.indptr)[np.diff(rows.indptr) > 0])
    kept = np.zeros(len(count), bool)
    kept[order] = (total - base <= budget) | (before == base)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row[kept], minlength=rows.shape[0]))])
    return sp.csr_matrix((rows.data[kept], rows.indices[kept], indptr), shape=rows.shape)


def cosines(left: Rows, at_left: NDArray[np.int64], right: Rows, at_right: NDArray[np.int64]) -> NDArray[np.float64]:
    """The products of pairs of rows."""
    found: NDArray[np.float64] = np.asarray(left[at_left].multiply(right[at_right]).sum(1)).ravel()
    return found


def top(rows: Rows, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The `count` largest entries of each row as (row, column, value), largest first, the lower column among equals."""
    indptr, indices, data = rows.indptr, rows.indices, rows.data
    found_rows, found_columns, found_values = [], [], []
    for row in range(rows.shape[0]):
        start, end = indptr[row], indptr[row + 1]
        if start == end:
            continue
        values, columns = data[start:end], indices[start:end]
        if end - start > count:
            cut = np.partition(values, -count)[-count]
            kept = values >= cut
            values, columns = values[kept], columns[kept]
        order = np.lexsort((columns, -values))[:count]
        found_rows.append(np.full(len(order), row))
        found_columns.append(columns[order])
        found_values.append(values[order])
    if not found_rows:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    return (
        np.concatenate(found_rows), np.concatenate(found_columns).astype(np.int64), np.concatenate(found_values)
    )  # fmt: skip
