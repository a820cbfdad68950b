"""Offers of many vendors, put together where they are one product. Pairs are settled first as if every vendor had each
product once; then clusters grow from the likeliest pair on, and grow together only while nothing in one contradicts
anything in the other, no vendor comes in twice (the same GTIN aside), and on the whole their members fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from catalog.matching.features import Rows, Weights, cosines, rarest_first, raw, top
from catalog.matching.pairing import BUDGET, same_keys
from catalog.matching.reading import Offer, Reading, read_all
from catalog.matching.scoring import IMPOSSIBLE, MATCH, OPEN, judge, settle

_CANDIDATES = 25
_BATCH = 1000
_TOO_FAR = 0.08  # titles with less in common are not compared
_BOUND = 6.0  # one pair counts for no more than this, for or against
_CHECKED = 400  # cross pairs looked at when two clusters would meet


def cluster(offers: Sequence[Offer], progress: Callable[[float], None] = lambda share: None) -> dict[str, int]:
    """Offer id -> number of its cluster. Clusters are numbered by their smallest id; the result does not depend on
    the order of the offers. Ids are unique."""
    ordered = sorted(offers, key=lambda o: o.id)
    if not ordered:
        return {}
    work = _Work([read_all(offer)[0] for offer in ordered], progress)
    work.grow()
    numbers: dict[int, int] = {}
    found = {}
    for k, offer in enumerate(ordered):
        found[offer.id] = numbers.setdefault(work.root(k), len(numbers) + 1)
    return found


class _Work:
    """One clustering under way."""

    def __init__(self, readings: list[Reading], progress: Callable[[float], None]) -> None:
        self.readings = readings
        self._progress = progress
        features = raw(readings)
        self._weights = Weights([features])
        self._rows: Rows = self._weights.rows(features)
        self._words = self._weights.of_words(readings)
        self._strength: dict[tuple[int, int], float] = {}
        self._members: dict[int, list[int]] = {k: [k] for k in range(len(readings))}
        self._root = list(range(len(readings)))

    def root(self, k: int) -> int:
        return min(self._members[self._root[k]])

    def grow(self) -> None:
        """Let clusters grow, likeliest pair first."""
        left, right, score = self._edges()
        ids = [r.id for r in self.readings]
        coins = [crc32(f"{ids[i]}\x1f{ids[j]}".encode()) for i, j in zip(left.tolist(), right.tolist(), strict=True)]
        for k in np.lexsort((np.array(coins, np.int64), -score)).tolist():
            if score[k] < MATCH:
                break
            one, other = self._root[int(left[k])], self._root[int(right[k])]
            if one != other and self._fit(one, other):
                self._merge(one, other)

    def _edges(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Pairs of different vendors with what their settlement gives them."""
        turned = self._rows.T.tocsr()
        frequency = np.diff(turned.indptr)
        total = len(self.readings)
        pairs: set[tuple[int, int]] = {(i, j) for i, j in same_keys(self.readings, self.readings) if i < j}
        for start in range(0, total, _BATCH):
            rows, columns, _ = top(
                rarest_first(self._rows[start : start + _BATCH], frequency, BUDGET) @ turned, _CANDIDATES + 1
            )
            found = zip((rows + start).tolist(), columns.tolist(), strict=True)
            pairs.update((min(i, j), max(i, j)) for i, j in found if i != j)
            self._progress(0.3 * start / total)
        ordered = [pair for pair in sorted(pairs) if self._may_share_a_vendor(*pair)]
        near = np.array(ordered, np.int64).reshape(-1, 2)
        cosine = cosines(self._rows, near[:, 0], self._rows, near[:, 1]).tolist()
        kept = []
        for k, (i, j) in enumerate(ordered):
            if k % 5000 == 0:
                self._progress(0.3 + 0.5 * k / len(ordered))
            if cosine[k] >= _TOO_FAR and self._judged(i, j, cosine[k]) > IMPOSSIBLE:
                kept.append((i, j))
        ends = np.array(kept, np.int64).reshape(-1, 2)
        if not kept:
            return ends[:, 0], ends[:, 1], np.zeros(0)
        groups: dict[tuple[int, frozenset[str]], int] = {}
        left = [
            groups.setdefault((i, self.readings[j].vendors or frozenset((f"\x1f{j}",))), len(groups)) for i, j in kept
        ]
        right = [
            groups.setdefault((j, self.readings[i].vendors or frozenset((f"\x1f{i}",))), len(groups)) for i, j in kept
        ]
        strength = np.array([self._strength[pair] for pair in kept])
        score = settle(np.array(left), np.array(right), strength, len(groups), len(groups))
        return ends[:, 0], ends[:, 1], score

    def _may_share_a_vendor(self, i: int, j: int) -> bool:
        a, b = self.readings[i], self.readings[j]
        return not a.vendors & b.vendors or (a.gtin is not None and a.gtin == b.gtin)

    def _judged(self, i: int, j: int, cosine: float | None = None) -> float:
        pair = (i, j) if i < j else (j, i)
        known = self._strength.get(pair)
        if known is None:
            i, j = pair
            if cosine is None:
                cosine = float(cosines(self._rows, np.array([i]), self._rows, np.array([j]))[0])
            a, b = self.readings[i], self.readings[j]
            judged = judge(a, b, self._words[i], self._words[j], cosine, self._weights.rarest)
            known = judged.strength if judged.strength <= IMPOSSIBLE else judged.strength + OPEN
            if judged.doubts:
                known = min(known, -1.0)
            self._strength[pair] = known
        return known

    def _fit(self, one: int, other: int) -> bool:
        pairs = [(i, j) for i in self._members[one] for j in self._members[other]]
        if not all(self._may_share_a_vendor(i, j) for i, j in pairs):
            return False
        sum_ = 0.0
        for i, j in pairs[:: max(1, len(pairs) // _CHECKED)]:
            strength = self._judged(i, j)
            if strength <= IMPOSSIBLE:
                return False
            sum_ += max(-_BOUND, min(_BOUND, strength))
        return sum_ > 0

    def _merge(self, one: int, other: int) -> None:
        if len(self._members[one]) < len(self._members[other]):
            one, other = other, one
        for k in self._members[other]:
            self._root[k] = one
        self._members[one] = sorted(self._members[one] + self._members.pop(other))
