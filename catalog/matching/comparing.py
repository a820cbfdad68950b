"""Two readings side by side: which words meet, which facts agree, which contradict each other. Symmetric: what is
found does not depend on which side is called left."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from catalog.matching import codes
from catalog.matching.evidence import Comparison, Difference
from catalog.matching.facts import compare_facts
from catalog.matching.quantities import Amount
from catalog.matching.reading import Reading, is_code
from catalog.matching.text import STOP
from catalog.matching.variants import WORDS
from catalog.matching.words import meet, nearness

_QUALIFIERS = frozenset(("professional", "max", "mini", "plus", "ultra", "lite", "deluxe", "premium", "platinum"))
_LITTLE = 1.2  # of the rarest word
_WHOLE = 0.9  # a word that was met but for a slip
_STEM = 0.7  # what a code is worth that both have but for its end


def compare(
    a: Reading, b: Reading, weights_a: Sequence[float], weights_b: Sequence[float], *, to_the_end: bool = False
) -> Comparison:
    """The weights are those of each title's words. Where facts contradict each other, words are not looked at any more,
    unless the comparison goes `to_the_end` (to measure what refusing is worth)."""
    found = Comparison()
    compare_facts(found, a, b)
    if found.conflicts and not to_the_end:
        return found  # near twins end here, which is most of what is compared
    met_a, met_b = meet(a.words, b.words)
    _codes(found, a, b, weights_a, weights_b, met_a, met_b)
    found.left, found.left_said, found.left_over = _share(a.words, weights_a, met_a, b)
    found.right, found.right_said, found.right_over = _share(b.words, weights_b, met_b, a)
    found.shared = sum(share >= _WHOLE for share in met_a)
    found.shared_weight = sum(w for w, share in zip(weights_a, met_a, strict=True) if share >= _WHOLE)
    _numbers(found, a, b, met_a, met_b)
    _letters(found, a, b, met_a, met_b)
    _qualified(found, a, b, met_a)
    _qualified(found, b, a, met_b)
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


def _letters(found: Comparison, a: Reading, b: Reading, met_a: Sequence[float], met_b: Sequence[float]) -> None:
    """ "Vitamin A" is not "vitamin B", nor "size S" "size M": letters that stand behind the same word."""
    left, right = _marks(a, met_a), _marks(b, met_b)
    for before in left.keys() & right.keys():
        if left[before] != right[before]:
            found.conflicts.append(Difference(f"letter after {before}", left[before], right[before]))
            return


def _marks(reading: Reading, met: Sequence[float]) -> dict[str, str]:
    """Letters that stand by themselves and were not met, by the word before them."""
    words = reading.words
    return {
        words[k - 1]: word
        for k, word in enumerate(words)
        if k and len(word) == 1 and word.isascii() and word.isalpha() and met[k] < 0.5 and len(words[k - 1]) > 1
    }


def _bare(reading: Reading, met: Sequence[float], other: Sequence[Amount]) -> list[int]:
    stated = {f"{x.value:g}" for x in other} if other else ()
    return [k for k in reading.numbers if met[k] < 0.5 and reading.words[k] not in stated]


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
