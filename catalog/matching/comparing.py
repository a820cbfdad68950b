"""Two readings side by side: which words meet, which facts agree, which contradict each other. Symmetric: what is
found does not depend on which side is called left."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from catalog.matching import codes
from catalog.matching.quantities import IDENTITY, Amount, same_amount
from catalog.matching.reading import Reading, is_code, is_number
from catalog.matching.text import STOP
from catalog.matching.variants import WORDS
from catalog.matching.words import meet, nearness

REFUSING = frozenset(
    ("colour", "edition", "licence", "platform", "language", "wearer", "condition", "flavour")
)  # classes of variants whose members exclude each other
_STORAGE_SIZES = frozenset((4, 8, 16, 32, 64, 128, 256, 512))
_QUALIFIERS = frozenset(("professional", "max", "mini", "plus", "ultra", "lite", "deluxe", "premium", "platinum"))
_SEVERAL = ("colour", "flavour")  # a thing may have two; two that share one differ all the same
_LARGEST_PACK = 24
_LITTLE = 1.2  # of the rarest word
_STEM = 0.7  # what a code is worth that both have but for its end


class Difference(NamedTuple):
    """A field on which both sides speak, and what each says."""

    field: str
    left: str
    right: str


@dataclass(slots=True)
class Comparison:
    """What two readings say of each other. `left` and `right` are the shares of each title's weight that the other
    title has; `left_said` and `right_said` count what only the other's description or brand has."""

    left: float = 0.0
    right: float = 0.0
    left_said: float = 0.0
    right_said: float = 0.0
    code: float = 0.0  # weight of the rarest code that both have
    agreeing: list[Difference] = field(default_factory=list)
    conflicts: list[Difference] = field(default_factory=list)  # each refuses
    one_sided: list[str] = field(default_factory=list)  # what only one says
    codes_foreign: bool = False  # both have codes, and none in common
    codes_apart: bool = False
    numbers_apart: bool = False
    unlike: list[Difference] = field(default_factory=list)  # on which both say something else, without refusing
    brands_apart: bool = False
    only_makers: bool = False  # and hardly anything else tells them apart
    left_over: float = 0.0  # weight of the words that the other title, description and brand do not have
    right_over: float = 0.0


def compare(a: Reading, b: Reading, weights_a: Sequence[float], weights_b: Sequence[float]) -> Comparison:
    """The weights are those of each title's words."""
    found = Comparison()
    met_a, met_b = meet(a.words, b.words)
    _codes(found, a, b, weights_a, weights_b, met_a, met_b)
    found.left, found.left_said, found.left_over = _share(a.words, weights_a, met_a, b)
    found.right, found.right_said, found.right_over = _share(b.words, weights_b, met_b, a)
    if a.amounts or b.amounts:
        _amounts(found, a, b)
    _numbers(found, a, b, met_a, met_b)
    _qualified(found, a, b, met_a)
    _qualified(found, b, a, met_b)
    if a.variants or b.variants:
        _variants(found, a, b)
    if "accessory" in found.one_sided:
        _accessory(found, a, b)
    found.brands_apart = _brands_apart(a, b, met_a, met_b)
    if found.brands_apart:
        found.only_makers = found.left_over <= _LITTLE * max(weights_a) and found.right_over <= _LITTLE * max(weights_b)
    return found


def _brands_apart(a: Reading, b: Reading, met_a: Sequence[float], met_b: Sequence[float]) -> bool:
    """Both name a maker, and neither's maker is found anywhere on the other side. Where no brand is given, a title
    begins with it more often than not; names in two scripts cannot be held against each other."""
    for ours in _makers(a, b, met_a):
        for theirs in _makers(b, a, met_b):
            if ours[0].isascii() != theirs[0].isascii():
                continue
            joined_ours, joined_theirs = "".join(ours), "".join(theirs)
            if joined_ours.startswith(joined_theirs) or joined_theirs.startswith(joined_ours):
                return False
            return not any(nearness(x, y) for x in ours for y in theirs)
    return False


def _makers(one: Reading, other: Reading, met: Sequence[float]) -> list[tuple[str, ...]]:
    """What may be the maker of one side, where the other side does not have it: its brand, and its first word."""
    found = []
    if one.brand:
        if any(w in other.said or w in other.brand or w in other.words for w in one.brand):
            return []
        if "".join(one.brand) in other.words:
            return []
        found.append(one.brand)
    first = one.words[0] if one.words else ""
    if len(first) > 1 and not met[0] and first.isalpha() and first not in other.said and first not in other.brand:
        found.append((first,))
    return found


def _share(
    words: Sequence[str], weights: Sequence[float], met: Sequence[float], other: Reading
) -> tuple[float, float, float]:
    total = sum(weights)
    if not total:
        return 0.0, 0.0, 0.0
    have = told = 0.0
    said, brand = other.said, other.brand
    for word, weight, share in zip(words, weights, met, strict=True):
        have += weight * share
        if share < 1 and (word in said or word in brand):
            told += weight * (1 - share)
    return have / total, told / total, total - have - told


def _codes(
    found: Comparison, a: Reading, b: Reading, weights_a: Sequence[float], weights_b: Sequence[float],
    met_a: list[float], met_b: list[float],
) -> None:  # fmt: skip
    """Models: those that both have, those that differ only in their end, and those that rule each other out."""
    rest_a, shared_a = _split(found, a, weights_a, met_a)
    rest_b, shared_b = _split(found, b, weights_b, met_b)
    if not rest_a and not rest_b:
        return
    stems_a, stems_b = codes.stems(a.words, met_a), codes.stems(b.words, met_b)
    for stem in stems_a.keys() & stems_b.keys():
        (start_a, end_a, tail_a), (start_b, end_b, tail_b) = stems_a[stem], stems_b[stem]
        if codes.colours_differ(tail_a, tail_b):
            found.conflicts.append(Difference("model", stem + tail_a, stem + tail_b))
            return
        weight = max(*weights_a[start_a:end_a], *weights_b[start_b:end_b])
        found.code = max(found.code, _STEM * weight)
        for met, start, end in ((met_a, start_a, end_a), (met_b, start_b, end_b)):
            for k in range(start, end):
                met[k] = max(met[k], _STEM)
        shared_a.append(stem)
        shared_b.append(stem)
    codes_a, codes_b = codes.candidates(a.words, met_a, a.coded), codes.candidates(b.words, met_b, b.coded)
    parted_a, parted_b = codes.parted(a.words, met_a), codes.parted(b.words, met_b)
    if (parted_a and codes_b) or (parted_b and codes_a):
        for x, y in (*itertools.product(parted_a, codes_b), *itertools.product(codes_a, parted_b)):
            if codes.same_letters(x, y):
                found.codes_apart = True
                found.conflicts.append(Difference("model", x, y))
                return
    for x in codes_a:
        for y in codes_b:
            kind = codes.rivals(x, y)
            if kind and not any(codes.rivals(x, z) for z in shared_a) and not any(codes.rivals(y, z) for z in shared_b):
                found.codes_apart = True
                if kind == "model":
                    found.conflicts.append(Difference("model", x, y))
                    return
    if not shared_a and not shared_b:
        long_a = [x for x in (*codes_a, *parted_a) if len(x) > 3]
        found.codes_foreign = bool(long_a) and any(len(y) > 3 for y in (*codes_b, *parted_b))
    for rest, weights, said in ((rest_a, weights_a, b.said), (rest_b, weights_b, a.said)):
        for word, k in rest:
            if word in said:
                found.code = max(found.code, 0.9 * weights[k])


def _split(
    found: Comparison, reading: Reading, weights: Sequence[float], met: Sequence[float]
) -> tuple[list[tuple[str, int]], list[str]]:
    """The codes of a title that the other one does not have, with their positions, and those that it has."""
    rest, shared = [], []
    for k in reading.coded:
        word = reading.words[k]
        if not is_code(word):
            continue
        if met[k] >= 0.9:
            shared.append(word)
            found.code = max(found.code, weights[k] * met[k])
        else:
            rest.append((word, k))
    return rest, shared


def _numbers(found: Comparison, a: Reading, b: Reading, met_a: Sequence[float], met_b: Sequence[float]) -> None:
    """Bare numbers that only one side has: two of them that stand in the same place rule each other out."""
    left = _bare(a, met_a, b.amounts)
    right = _bare(b, met_b, a.amounts)
    if not left or not right:
        if left or right:
            found.one_sided.append("number")
        return
    found.numbers_apart = True
    for i in left:
        for j in right:
            slot = _slot(a.words, i, b.words, j)
            if slot and not _same_major(a.words[i], b.words[j]):
                found.conflicts.append(Difference(slot, a.words[i], b.words[j]))
                return


def _bare(reading: Reading, met: Sequence[float], other: Sequence[Amount]) -> list[int]:
    return [
        k
        for k, word in enumerate(reading.words)
        if met[k] < 0.5 and len(word) < 5 and is_number(word) and not any(f"{x.value:g}" == word for x in other)
    ]


def _slot(left: Sequence[str], i: int, right: Sequence[str], j: int) -> str:
    """What two numbers answer to, when it is the same: the word before or behind both, or that they are years."""
    if len(left[i]) == 4 and len(right[j]) == 4 and left[i][:2] in ("19", "20") and right[j][:2] in ("19", "20"):
        return "year"
    before = left[i - 1] if i else ""
    if before and before not in STOP and j and right[j - 1] == before:
        return f"number after {before}"
    after = left[i + 1] if i + 1 < len(left) else ""
    if after and after not in STOP and j + 1 < len(right) and right[j + 1] == after:
        return f"number before {after}"
    return ""


def _qualified(found: Comparison, one: Reading, other: Reading, met: Sequence[float]) -> None:
    """ "13 Pro" is not "13": an edition that one side adds to the number or code that both have."""
    if "edition" not in one.variants or "edition" in other.variants or "edition" in other.said_variants:
        return
    for k, word in enumerate(one.words):
        if k and WORDS.get(word, ("", ""))[1] in _QUALIFIERS and met[k] < 0.5 and met[k - 1] == 1:
            before = one.words[k - 1]
            if before[-1].isdigit() and (before.isdigit() or before.isalnum()) and before[:2] not in ("19", "20"):
                found.conflicts.append(Difference("edition", word, "none"))
                return


def _same_major(one: str, other: str) -> bool:
    """ "7" and "7.2" may be one version, told with more or less care."""
    short, long = (one, other) if len(one) <= len(other) else (other, one)
    return long.startswith(short + ".")


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
    if all(any(same_amount(x, y) for y in theirs) for x in ours):
        return True
    if all(any(same_amount(x, y) for y in ours) for x in theirs):
        return True
    if ours[0].dimension != "count":
        return ours[0].dimension not in IDENTITY and any(same_amount(x, y) for x in ours for y in theirs)
    return math.prod(x.base for x in ours) == math.prod(x.base for x in theirs)


def _told(amounts: Sequence[Amount]) -> str:
    return " ".join(dict.fromkeys(x.word for x in amounts))


def _accessory(found: Comparison, a: Reading, b: Reading) -> None:
    """ "iPhone 13 case" says everything that "iPhone 13" says, and at its end that it is something else."""
    one, over = (a, found.right_over) if "accessory" in a.variants else (b, found.left_over)
    if over:
        return
    written = {x.word for x in one.amounts}
    ends = [w for w in one.words if w not in written and WORDS.get(w, ("",))[0] != "colour"][-1:]
    if ends and WORDS.get(ends[0], ("",))[0] == "accessory":
        names = " ".join(sorted(one.variants["accessory"]))
        found.conflicts.append(Difference("category", *((names, "none") if one is a else ("none", names))))


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
