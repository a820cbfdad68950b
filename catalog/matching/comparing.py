"""Two readings side by side: which words meet, which facts agree, which contradict each other. Symmetric: what is
found does not depend on which side is called left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from catalog.matching import codes
from catalog.matching.quantities import IDENTITY, Amount, same_amount
from catalog.matching.reading import Reading, is_code, is_number
from catalog.matching.text import STOP
from catalog.matching.words import meet

REFUSING = frozenset(
    ("colour", "edition", "licence", "platform", "language", "wearer", "condition", "flavour")
)  # classes of variants whose members exclude each other
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
    codes_apart: bool = False
    numbers_apart: bool = False


def compare(a: Reading, b: Reading, weights_a: Sequence[float], weights_b: Sequence[float]) -> Comparison:
    """The weights are those of each title's words."""
    found = Comparison()
    met_a, met_b = meet(a.words, b.words)
    _codes(found, a, b, weights_a, weights_b, met_a, met_b)
    found.left, found.left_said = _share(a.words, weights_a, met_a, b)
    found.right, found.right_said = _share(b.words, weights_b, met_b, a)
    if a.amounts or b.amounts:
        _amounts(found, a, b)
    _numbers(found, a, b, met_a, met_b)
    if a.variants or b.variants:
        _variants(found, a, b)
    return found


def _share(words: Sequence[str], weights: Sequence[float], met: Sequence[float], other: Reading) -> tuple[float, float]:
    total = sum(weights)
    if not total:
        return 0.0, 0.0
    have = told = 0.0
    said, brand = other.said, other.brand
    for word, weight, share in zip(words, weights, met, strict=True):
        have += weight * share
        if share < 1 and (word in said or word in brand):
            told += weight * (1 - share)
    return have / total, told / total


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
    for x in codes.candidates(a.words, met_a, a.amounts):
        for y in codes.candidates(b.words, met_b, b.amounts):
            kind = codes.rivals(x, y)
            if kind and not any(codes.rivals(x, z) for z in shared_a) and not any(codes.rivals(y, z) for z in shared_b):
                found.codes_apart = True
                if kind == "model":
                    found.conflicts.append(Difference("model", x, y))
                    return
    for rest, weights, said in ((rest_a, weights_a, b.said), (rest_b, weights_b, a.said)):
        for word, k in rest:
            if word in said:
                found.code = max(found.code, 0.9 * weights[k])


def _split(
    found: Comparison, reading: Reading, weights: Sequence[float], met: Sequence[float]
) -> tuple[list[tuple[str, int]], list[str]]:
    """The codes of a title that the other one does not have, with their positions, and those that it has."""
    rest, shared = [], []
    for k, word in enumerate(reading.words):
        if is_code(word):
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


def _same_major(one: str, other: str) -> bool:
    """ "7" and "7.2" may be one version, told with more or less care."""
    short, long = (one, other) if len(one) <= len(other) else (other, one)
    return long.startswith(short + ".")


def _variants(found: Comparison, a: Reading, b: Reading) -> None:
    for kind in sorted(a.variants.keys() | b.variants.keys()):
        left, right = a.variants.get(kind), b.variants.get(kind)
        if left and right:
            told = Difference(kind, " ".join(sorted(left)), " ".join(sorted(right)))
            if left & right:
                found.agreeing.append(told)
            elif kind in REFUSING:
                found.conflicts.append(told)
            else:
                found.one_sided.append(kind)
        else:
            said = (b.said_variants if left else a.said_variants).get(kind)
            if not said or not said & (left or right or frozenset()):
                found.one_sided.append(kind)


def _amounts(found: Comparison, a: Reading, b: Reading) -> None:
    left, right = by_dimension(a.amounts), by_dimension(b.amounts)
    for dimension in sorted(left.keys() | right.keys()):
        ours, theirs = left.get(dimension), right.get(dimension)
        if ours and theirs:
            told = Difference(dimension, " ".join(x.word for x in ours), " ".join(x.word for x in theirs))
            if any(same_amount(x, y) for x in ours for y in theirs):
                found.agreeing.append(told)
            elif dimension in IDENTITY:
                found.conflicts.append(told)
            else:
                found.one_sided.append(dimension)
        else:
            said = b.said_amounts if ours else a.said_amounts
            if not any(x.dimension == dimension and same_amount(x, y) for x in said for y in ours or theirs or ()):
                found.one_sided.append(dimension)


def by_dimension(amounts: Sequence[Amount]) -> Mapping[str, list[Amount]]:
    found: dict[str, list[Amount]] = {}
    for amount in amounts:
        found.setdefault(amount.dimension, []).append(amount)
    return found
