"""Amounts and variants side by side: what agrees, what refuses, what only one side says."""

from __future__ import annotations

import math
from collections.abc import Sequence

from catalog.matching.evidence import Comparison, Difference
from catalog.matching.quantities import IDENTITY, Amount, same_amount
from catalog.matching.reading import Reading

REFUSING = frozenset(
    ("colour", "edition", "licence", "platform", "language", "wearer", "condition", "flavour")
)  # classes of variants whose members exclude each other
_SEVERAL = ("colour", "flavour")  # a thing may have two; two that share one differ all the same
_LARGEST_PACK = 24
_STORAGE_SIZES = frozenset((4, 8, 16, 32, 64, 128, 256, 512))


def compare_facts(found: Comparison, a: Reading, b: Reading) -> None:
    """Add what amounts and variants say."""
    if a.variants or b.variants:
        _variants(found, a, b)
    if a.amounts or b.amounts:
        _amounts(found, a, b)


def _variants(found: Comparison, a: Reading, b: Reading) -> None:
    for kind in sorted(a.variants.keys() | b.variants.keys()):
        left, right = a.variants.get(kind), b.variants.get(kind)
        if left and right:
            told = Difference(kind, " ".join(sorted(left)), " ".join(sorted(right)))
            if not left & right or (kind in _SEVERAL and left - right and right - left):
                (found.conflicts if kind in REFUSING else found.unlike).append(told)
            else:
                found.agreeing.append(told)
            continue
        said = (b.said_variants if left else a.said_variants).get(kind)
        if not said or not said & (left or right or frozenset()):
            found.one_sided.append(kind)


def _amounts(found: Comparison, a: Reading, b: Reading) -> None:
    left, right = by_dimension(a.amounts), by_dimension(b.amounts)
    if ("storage" in left) != ("storage" in right):  # "64G" of a memory card is no mass
        left, right = _grams_as_storage(left, right), _grams_as_storage(right, left)
    measured = False  # both state the same mass or volume
    for dimension in sorted(left.keys() | right.keys(), key=lambda d: (d == "count", d)):
        ours, theirs = left.get(dimension), right.get(dimension)
        if ours and theirs:
            told = Difference(dimension, _told(ours), _told(theirs))
            if _agree(ours, theirs):
                found.agreeing.append(told)
                measured = measured or dimension in ("mass", "volume")
            else:
                (found.conflicts if dimension in IDENTITY else found.unlike).append(told)
            continue
        stated = ours or theirs or []
        said = b.said_amounts if ours else a.said_amounts
        if any(x.dimension == dimension and same_amount(x, y) for x in said for y in stated):
            continue
        if dimension == "count" and _multipack(stated, measured):
            found.conflicts.append(Difference("count", _told(ours or []) or "one", _told(theirs or []) or "one"))
        elif dimension != "count" or any(x.value != 1 for x in stated):
            found.one_sided.append(dimension)


def _multipack(stated: Sequence[Amount], measured: bool) -> bool:
    """Several of a thing that the other side has one of. "120 sheets" may be said of one by one side alone."""
    return any(x.value > 1 and (measured or (x.unit == "pack" and x.value <= _LARGEST_PACK)) for x in stated)


def _agree(ours: Sequence[Amount], theirs: Sequence[Amount]) -> bool:
    """Whether one side's amounts are all among the other's: "2 kg (4 x 500 g)" is "2 kg", "12+512GB" not "12+256GB".
    Counts may also come to the same: ten bags of five, fifty."""
    if {x.base for x in ours} == {y.base for y in theirs}:
        return True
    if all(any(same_amount(x, y) for y in theirs) for x in ours):
        return True
    if all(any(same_amount(x, y) for y in ours) for x in theirs):
        return True
    if ours[0].dimension != "count":
        return ours[0].dimension not in IDENTITY and any(same_amount(x, y) for x in ours for y in theirs)
    return math.prod(x.base for x in ours) == math.prod(x.base for x in theirs)


def _told(amounts: Sequence[Amount]) -> str:
    return " ".join(dict.fromkeys(x.word for x in amounts))


def _grams_as_storage(one: dict[str, list[Amount]], other: dict[str, list[Amount]]) -> dict[str, list[Amount]]:
    if "storage" not in other or "mass" not in one or "mass" in other:
        return one
    sizes = [x for x in one["mass"] if x.unit == "g" and x.value in _STORAGE_SIZES]
    if not sizes:
        return one
    storage = [Amount("storage", "gb", x.value, x.value * 1e9) for x in sizes]
    return {**one, "mass": [x for x in one["mass"] if x not in sizes] or [], "storage": storage}


def by_dimension(amounts: Sequence[Amount]) -> dict[str, list[Amount]]:
    found: dict[str, list[Amount]] = {}
    for amount in amounts:
        found.setdefault(amount.dimension, []).append(amount)
    return found
