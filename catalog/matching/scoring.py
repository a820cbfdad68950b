"""From evidence to a score. The ladder stands on top: the same GTIN, or brand and manufacturer number, decide unless
what is sold contradicts them; below it words, codes and facts add up. `strength` is in log odds: above nought a pair is
more likely one thing than two, as long as nothing else fits as well; `settle` weighs what else fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from catalog.matching.comparing import compare
from catalog.matching.evidence import Comparison, Difference
from catalog.matching.gtin import relation
from catalog.matching.reading import Reading

MATCH = 0.4  # score from which a pair is a match
REVIEW = 0.2  # score from which a person should look
GROSS_PRICE = Decimal(5)  # a dearer twin than this is looked at; no smaller gap says anything about identity
IMPOSSIBLE = -30.0
OPEN = -4.0  # added where nothing says that the two sides are lists of much the same goods, with one row a product
_ROUNDS = 40
_EXPECTED = 0.82  # share of the shorter list that has a partner, before anything is known
_IMAGINED = 50  # rows that this expectation weighs as much as
_LARGEST_SHIFT = 6.0
_NOTHING = -6.0  # two titles that share nothing
_TEXT = 12.0  # cosine of words and descriptions
_COVERED = 10.0  # share of the better covered title that the other one has
_CODE = 7.0  # the rarest model code that both have
_TOLD = 0.6  # a word found in a description, next to one found in a title
_ONE_SIDED = {"edition": -2.4, "licence": -2.4, "condition": -3.0, "bundle": -0.8, "users": -1.2, "wearer": -1.2}
_CODES_APART = -0.8
_CODES_FOREIGN = -2.4
_NUMBERS_APART = -1.6
_UNLIKE = -1.6
_BRANDS_APART = -4.0  # names that look like the makers' do not agree
_MAKERS_APART = -9.0  # so do the brands that both give, or nothing else differs
_SAME_GTIN = 20.0
_SAME_NUMBER = 12.0
_OTHER_NUMBER = -3.0
_NAMING = 0.5  # a code this rare, in rarest words, names a thing
_FEW = 3  # words that two titles share, below which they say little ("paper towels")
_SAYING = 1.5  # and what these must weigh together, in rarest words
_DOUBTED = ("count", "condition", "licence")  # said by one side alone: a person looks before two become one


@dataclass(slots=True)
class Judgement:
    """One pair: its strength, what agrees, what contradicts, and why it may not be decided without a person."""

    strength: float
    agreeing: list[Difference]
    conflicts: list[Difference]
    doubts: list[str]
    alike: float = 0.0  # cosine of what both say, for pairs that a conflict keeps apart
    thin: bool = False  # what they share could be said of many things


def judge(
    a: Reading, b: Reading, weights_a: Sequence[float], weights_b: Sequence[float], cosine: float, rarest: float,
    shared_categories: frozenset[str] = frozenset(),
) -> Judgement:  # fmt: skip
    """How likely `a` and `b` are one thing, and why. A conflict makes it impossible, but the same GTIN is not thrown
    away for one: such a pair is for a person."""
    found = compare(a, b, weights_a, weights_b)
    agreeing, conflicts = found.agreeing, found.conflicts
    doubts = [kind for kind in found.one_sided if kind in _DOUBTED]
    if a.category and b.category and _other_category(a.category, b.category, shared_categories):
        conflicts.append(Difference("category", a.category, b.category))
    gtins = relation(a.gtin, b.gtin)
    if gtins == "same":
        agreeing.insert(0, Difference("gtin", a.gtin or "", b.gtin or ""))
        strength = _SAME_GTIN
        if conflicts:
            doubts, strength = ["gtin against " + conflicts[0].field], _SAME_GTIN / 2
        else:
            doubts = []
        return _priced(a, b, Judgement(strength, agreeing, conflicts, doubts, cosine))
    if gtins is not None:
        name = "packaging level" if gtins == "other level" else "gtin"
        conflicts.insert(0, Difference(name, a.gtin or "", b.gtin or ""))
    if conflicts:
        return Judgement(IMPOSSIBLE, agreeing, conflicts, doubts, cosine)
    strength = _words(found, cosine, rarest) + _numbers(a, b, found, agreeing)
    if found.only_makers or (found.brands_apart and a.brand and b.brand):
        strength += _MAKERS_APART
    thin = (
        found.code < _NAMING * rarest
        and (found.shared < _FEW or found.shared_weight < _SAYING * rarest)
        and not any(d.field == "mpn" for d in agreeing)
    )
    return _priced(a, b, Judgement(strength, agreeing, conflicts, doubts, cosine, thin))


def _other_category(one: str, other: str, shared: frozenset[str]) -> bool:
    """Two shelves of one taxonomy, in one script. A shelf within the other's is not another one."""
    if one == other or not {one, other} <= shared or one.isascii() != other.isascii():
        return False
    return one not in other and other not in one


def _words(found: Comparison, cosine: float, rarest: float) -> float:
    covered = max(found.left + _TOLD * found.left_said, found.right + _TOLD * found.right_said)
    strength = _NOTHING + _TEXT * cosine + _COVERED * covered + _CODE * min(1.0, found.code / rarest)
    if found.codes_apart:
        strength += _CODES_APART
    if found.codes_foreign:
        strength += _CODES_FOREIGN
    if found.numbers_apart:
        strength += _NUMBERS_APART
    if found.unlike:
        strength += _UNLIKE
    if found.brands_apart:
        strength += _BRANDS_APART
    for kind in set(found.one_sided):
        strength += _ONE_SIDED.get(kind, 0.0)
    return strength


def _numbers(a: Reading, b: Reading, found: Comparison, agreeing: list[Difference]) -> float:
    """What the manufacturer's numbers add: much where they agree and the brand does not say otherwise."""
    if a.mpn is None or b.mpn is None:
        return 0.0
    related = (
        not a.brand
        or not b.brand
        or set(a.brand) & set(b.brand)
        or set(a.brand) & {*b.words}
        or {*a.words} & set(b.brand)
    )
    if a.mpn != b.mpn:
        return _OTHER_NUMBER
    if not related:
        return 0.0
    agreeing.insert(0, Difference("mpn", a.mpn, b.mpn))
    both = a.brand and b.brand
    return _SAME_NUMBER if both or len(a.mpn) >= 5 else _SAME_NUMBER / 2


def _priced(a: Reading, b: Reading, judged: Judgement) -> Judgement:
    if a.price and b.price and a.currency == b.currency:
        low, high = sorted((a.price, b.price))
        if high > GROSS_PRICE * low:
            judged.doubts.append("price")
    return judged


def settle(
    left: NDArray[np.int64], right: NDArray[np.int64], strength: NDArray[np.float64], lefts: int, rights: int
) -> NDArray[np.float64]:
    """The probability of each pair when no left and no right may have more than one partner: strengths compete with
    "none" (log odds nought) and with each other, on both sides until neither moves. The sides are treated alike."""
    odds = np.exp(np.clip(strength, -30, 30))
    free_left, free_right = np.ones(lefts), np.ones(rights)  # how far each is still without a partner
    for _ in range(_ROUNDS):
        wanted_left = 1 + np.bincount(left, odds * free_right[right], lefts)
        wanted_right = 1 + np.bincount(right, odds * free_left[left], rights)
        free_left, free_right = np.sqrt(free_left / wanted_left), np.sqrt(free_right / wanted_right)
    settled: NDArray[np.float64] = odds * free_left[left] * free_right[right]
    return np.minimum(settled, 1.0)


def settle_lists(
    left: NDArray[np.int64], right: NDArray[np.int64], strength: NDArray[np.float64], lefts: int, rights: int
) -> NDArray[np.float64]:
    """`settle` for two lists of which nobody knows how much they have in common. That is found from them: where few
    rows of the shorter one find a partner, each pair needs stronger evidence, and where nearly all do, less."""
    shift = 0.0
    smaller = min(lefts, rights)
    for _ in range(4):
        score = settle(left, right, strength + shift, lefts, rights)
        share = (score.sum() + _IMAGINED * _EXPECTED) / (smaller + _IMAGINED)
        share = min(0.98, max(0.02, float(share)))
        shift = 2 * (math.log(share / (1 - share)) - math.log(_EXPECTED / (1 - _EXPECTED)))
        shift = max(-_LARGEST_SHIFT, min(_LARGEST_SHIFT, shift))
    return settle(left, right, strength + shift, lefts, rights)
