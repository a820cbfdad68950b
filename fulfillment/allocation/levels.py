"""The level of a block: the one share at which all of its claims together take exactly what the block has. Exact: a
level is a fraction of two integers, and every comparison is between products of integers below 2^63."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np

from fulfillment.allocation.tables import Ints


@dataclass(frozen=True, eq=False)
class Claims:
    """Claims that share, all for packs of one size. At level t a claim takes t * weight - other units, in packs, but
    at least `low` and at most `high` packs. `weight` is what its share is measured against, `other` what its site has
    from elsewhere; both are units."""

    weight: Ints
    other: Ints
    low: Ints
    high: Ints
    pack: int

    def part(self, at: Ints) -> Claims:
        """These of the claims."""
        return Claims(self.weight[at], self.other[at], self.low[at], self.high[at], self.pack)

    def at(self, level: Level) -> Ints:
        """What each takes at a level, times `scale(level)`."""
        scale = self.pack * level.below
        taken: Ints = np.clip(level.above * self.weight - level.below * self.other, self.low * scale, self.high * scale)
        return taken

    def scale(self, level: Level) -> int:
        """How many parts a pack is cut into so that `at` is whole."""
        return self.pack * level.below


@dataclass(frozen=True, order=False)
class Level:
    """The fraction above / below."""

    above: int
    below: int


def level_of(claims: Claims, packs: int) -> Level:
    """The lowest level at which the claims take `packs` together; between the sums of `low` and `high`."""
    if packs <= int(claims.low.sum()):
        return Level(0, 1)
    free = np.ones(len(claims.weight), dtype=np.bool_)
    level = _solve(claims, packs, free, 0)
    taken = level.above * claims.weight - level.below * claims.other
    scale = claims.scale(level)
    if bool((taken >= claims.low * scale).all()) and bool((taken <= claims.high * scale).all()):
        return level
    return _between_turns(claims, packs)


def _between_turns(claims: Claims, packs: int) -> Level:
    """The level where some claims stand at their low or high: search the turning points for the last one below it."""
    low, high = claims.pack * claims.low + claims.other, claims.pack * claims.high + claims.other
    above, below = np.concatenate([low, high]), np.concatenate([claims.weight, claims.weight])
    order = np.argsort(above / below, kind="stable")

    def reaches(at: int) -> bool:
        level = Level(int(above[order[at]]), int(below[order[at]]))
        return int(claims.at(level).sum()) >= packs * claims.scale(level)

    first, last = 0, len(order) - 1  # the last turning point has everybody at their high
    while first < last:
        middle = (first + last) // 2
        if reaches(middle):
            last = middle
        else:
            first = middle + 1
    while first and reaches(first - 1):  # turning points that a float cannot tell apart may be out of order
        first -= 1
    turn = Level(int(above[order[first]]), int(below[order[first]]))
    at_high = high * turn.below < turn.above * claims.weight
    at_low = ~at_high & (low * turn.below >= turn.above * claims.weight)
    free = ~at_high & ~at_low
    if not free.any():
        return _reduced(turn.above, turn.below)
    standing = int(claims.high[at_high].sum()) + int(claims.low[at_low].sum())
    return _solve(claims, packs, free, standing)


def _solve(claims: Claims, packs: int, free: np.ndarray[tuple[int], np.dtype[np.bool_]], standing: int) -> Level:
    """The level at which the free claims take what the standing ones leave."""
    above = claims.pack * (packs - standing) + int(claims.other[free].sum())
    return _reduced(above, int(claims.weight[free].sum()))


def _reduced(above: int, below: int) -> Level:
    common = gcd(above, below) or 1
    return Level(above // common, below // common)
