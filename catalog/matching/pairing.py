"""Two tables, matched one to one as a whole: every pair competes with all that want one of its sides. The result does
not depend on the order of rows, nor on which table is called left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from zlib import crc32

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import connected_components

from catalog.matching.features import Rows, Weights, cosines, rarest_first, raw, top
from catalog.matching.reading import Offer, Reading, read_all
from catalog.matching.scoring import MATCH, REVIEW, Judgement, judge, settle_lists

CANDIDATES = 12  # of each row on the other side
_FEWEST = 4
_WORTH = 0.02  # a pair less likely than this is not looked at in the assignment
_LARGEST = 1500  # rows of a component that is assigned at once; a larger one takes the likeliest pair first
_BATCH = 2000
BUDGET = 20_000  # rows that a row's rarest words may bring up before commoner ones are left out
KEYED = 50  # more rows than this under one number: it is no number
Decision = Literal["match", "review", "new"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two offers that are, or may be, the same thing."""

    left: str
    right: str
    score: float
    decision: Decision
    judgement: Judgement


def match_tables(
    left: Sequence[Offer], right: Sequence[Offer], progress: Callable[[float], None] = lambda share: None
) -> list[Pair]:
    """The pairs of two tables, best first by left id. Ids are unique in each table."""
    lefts = [read_all(offer)[0] for offer in sorted(left, key=lambda o: o.id)]
    rights = [read_all(offer)[0] for offer in sorted(right, key=lambda o: o.id)]
    if not lefts or not rights:
        return []
    raw_left, raw_right = raw(lefts), raw(rights)
    weights = Weights([raw_left, raw_right])
    rows_left, rows_right = weights.rows(raw_left), weights.rows(raw_right)
    at_left, at_right, cosine = candidates(rows_left, rows_right, progress)
    if more := same_keys(lefts, rights) - set(zip(at_left.tolist(), at_right.tolist(), strict=True)):
        extra = np.array(sorted(more), np.int64)
        at_left, at_right = np.append(at_left, extra[:, 0]), np.append(at_right, extra[:, 1])
        cosine = np.append(cosine, cosines(rows_left, extra[:, 0], rows_right, extra[:, 1]))
    judged = judge_all(lefts, rights, weights, at_left, at_right, cosine, _shared_categories(lefts, rights), progress)
    strength = np.array([j.strength for j in judged])
    score = settle_lists(at_left, at_right, strength, len(lefts), len(rights))
    chosen = assign_one_to_one(lefts, rights, at_left, at_right, score)
    pairs = []
    for k in chosen:
        decision = decide(score[k], judged[k])
        if decision != "new":
            pairs.append(Pair(lefts[at_left[k]].id, rights[at_right[k]].id, float(score[k]), decision, judged[k]))
    return sorted(pairs, key=lambda p: (p.left, p.right))


def decide(score: float, judged: Judgement) -> Decision:
    """What a score means; doubts leave the last word to a person."""
    if score >= MATCH:
        return "review" if judged.doubts else "match"
    return "review" if score >= REVIEW else "new"


def candidates(
    left: Rows, right: Rows, progress: Callable[[float], None]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The pairs whose right is among the best of the left or the other way round, with their cosines, in order."""
    found: set[tuple[int, int]] = set()
    smaller = min(left.shape[0], right.shape[0])
    for one, other, turned_about in ((left, right, False), (right, left, True)):
        count = max(
            _FEWEST, round(CANDIDATES * smaller / one.shape[0])
        )  # most rows of a far longer table have no partner
        turned = other.T.tocsr()
        frequency = np.diff(turned.indptr)
        for start in range(0, one.shape[0], _BATCH):
            rows, columns, _ = top(rarest_first(one[start : start + _BATCH], frequency, BUDGET) @ turned, count)
            sides = (columns.tolist(), (rows + start).tolist())
            found.update(zip(*(sides if turned_about else sides[::-1]), strict=True))
            progress(0.15 * (start / one.shape[0] + turned_about))
    pairs = np.array(sorted(found), np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1], cosines(left, pairs[:, 0], right, pairs[:, 1])


def same_keys(one: Sequence[Reading], other: Sequence[Reading]) -> set[tuple[int, int]]:
    """The pairs that share a GTIN or a manufacturer's number, where few do."""
    by_key: dict[str, list[int]] = {}
    for j, reading in enumerate(other):
        for key in (reading.gtin, reading.mpn):
            if key:
                by_key.setdefault(key, []).append(j)
    return {
        (i, j)
        for i, reading in enumerate(one)
        for key in (reading.gtin, reading.mpn)
        if key and len(by_key.get(key, ())) <= KEYED
        for j in by_key.get(key, ())
    }


def judge_all(
    lefts: Sequence[Reading], rights: Sequence[Reading], weights: Weights, at_left: NDArray[np.int64],
    at_right: NDArray[np.int64], cosine: NDArray[np.float64], categories: frozenset[str],
    progress: Callable[[float], None] = lambda share: None,
) -> list[Judgement]:  # fmt: skip
    words_left, words_right = weights.of_words(lefts), weights.of_words(rights)
    judged = []
    for k, (i, j, value) in enumerate(zip(at_left.tolist(), at_right.tolist(), cosine.tolist(), strict=True)):
        if k % 5000 == 0:
            progress(0.3 + 0.65 * k / len(at_left))
        judged.append(judge(lefts[i], rights[j], words_left[i], words_right[j], value, weights.rarest, categories))
    return judged


def _shared_categories(lefts: Sequence[Reading], rights: Sequence[Reading]) -> frozenset[str]:
    """Categories that both tables use: they speak of one taxonomy."""
    return frozenset({r.category for r in lefts if r.category} & {r.category for r in rights if r.category})


def assign_one_to_one(
    lefts: Sequence[Reading], rights: Sequence[Reading], at_left: NDArray[np.int64], at_right: NDArray[np.int64],
    score: NDArray[np.float64],
) -> list[int]:  # fmt: skip
    """The pairs, by position, of the likeliest assignment; equals are told apart by their ids alone."""
    worth = np.flatnonzero(score >= _WORTH)
    if not len(worth):
        return []
    nodes = len(lefts) + len(rights)
    edges = (np.ones(len(worth)), (at_left[worth], at_right[worth] + len(lefts)))
    _, component = connected_components(sp.coo_matrix(edges, shape=(nodes, nodes)), directed=False)
    by_component: dict[int, list[int]] = {}
    for k in worth.tolist():
        by_component.setdefault(int(component[at_left[k]]), []).append(k)
    chosen: list[int] = []
    for members in by_component.values():
        if len(members) == 1:
            chosen += members
            continue
        value = {k: score[k] + 1e-6 * _coin(lefts[at_left[k]].id, rights[at_right[k]].id) for k in members}
        rows = {i: n for n, i in enumerate(sorted({int(at_left[k]) for k in members}))}
        columns = {j: n for n, j in enumerate(sorted({int(at_right[k]) for k in members}))}
        if max(len(rows), len(columns)) <= _LARGEST:
            gain = np.zeros((len(rows), len(columns)))
            where = {}
            for k in members:
                at = rows[int(at_left[k])], columns[int(at_right[k])]
                gain[at], where[at] = value[k], k
            picked = zip(*linear_sum_assignment(gain, maximize=True), strict=True)
            chosen += [where[at] for at in ((int(r), int(c)) for r, c in picked) if at in where]
        else:
            chosen += _greedy(members, value, at_left, at_right)
    return chosen


def _greedy(
    members: Sequence[int], value: dict[int, float], at_left: NDArray[np.int64], at_right: NDArray[np.int64]
) -> list[int]:
    taken: Counter[tuple[bool, int]] = Counter()
    chosen = []
    for k in sorted(members, key=lambda k: -value[k]):
        sides = (False, int(at_left[k])), (True, int(at_right[k]))
        if not any(taken[side] for side in sides):
            taken.update(sides)
            chosen.append(k)
    return chosen


def _coin(left: str, right: str) -> float:
    low, high = sorted((left, right))
    return crc32(f"{low}\x1f{high}".encode()) / 2**32
