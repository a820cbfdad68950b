"""Which words of two titles are the same although they are not written the same: joined ("print shop", "printshop"),
cut short ("prem", "premium"), or mistyped. Numbers are never nearly the same."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz.distance import JaroWinkler

_JOIN = 4  # words at most that one word of the other side may be cut into
LONGEST_JOIN = 24
_ALIKE = 0.93


def meet(left: Sequence[str], right: Sequence[str]) -> tuple[list[float], list[float]]:
    """How far each word is found on the other side: 1 as it stands or joined with its neighbours, less when it is
    nearly the same."""
    at_left, at_right = frozenset(left), frozenset(right)
    met_left = [1.0 if w in at_right else 0.0 for w in left]
    met_right = [1.0 if w in at_left else 0.0 for w in right]
    if 0.0 in met_left and 0.0 in met_right:
        rest_left = [i for i, m in enumerate(met_left) if not m]
        rest_right = [i for i, m in enumerate(met_right) if not m]
        _join(left, right, met_left, met_right, rest_left, rest_right)
        _join(right, left, met_right, met_left, rest_right, rest_left)
        _nearly(left, right, met_left, met_right, rest_left, rest_right)
    return met_left, met_right


def _join(
    one: Sequence[str], other: Sequence[str], met_one: list[float], met_other: list[float],
    rest_one: Sequence[int], rest_other: Sequence[int],
) -> None:  # fmt: skip
    """Where neighbours of `one`, not all of them met, are written together a word, or joined neighbours, of `other`."""
    heads = {word[0] for word in one}  # what is the same begins the same: many titles are done with here
    targets: dict[str, tuple[int, int]] = {}
    for j in rest_other:
        word = other[j]
        if word[0] not in heads:
            continue
        targets[word] = (j, j + 1)
        for k in range(j + 1, min(len(other), j + _JOIN)):
            word += other[k]
            targets.setdefault(word, (j, k + 1))
    if not targets:
        return
    heads = {word[0] for word in targets}
    tried = -1
    for i in rest_one:
        for start in range(max(tried + 1, i - _JOIN + 1), i + 1):
            tried = start
            word = one[start]
            if word[0] not in heads:
                continue
            for end in range(start + 1, min(len(one), start + _JOIN)):
                word += one[end]
                if len(word) > LONGEST_JOIN:
                    break
                span = targets.get(word)
                if span is not None and end >= i:
                    for k in range(start, end + 1):
                        met_one[k] = 1.0
                    for k in range(*span):
                        met_other[k] = 1.0


def _nearly(
    left: Sequence[str], right: Sequence[str], met_left: list[float], met_right: list[float],
    rest_left: Sequence[int], rest_right: Sequence[int],
) -> None:  # fmt: skip
    by_letter: dict[str, list[int]] = {}
    for j in rest_right:
        if met_right[j] < 1 and len(right[j]) > 2:
            by_letter.setdefault(right[j][0], []).append(j)
    for i in rest_left:
        word = left[i]
        if met_left[i] == 1 or len(word) < 3:
            continue
        for j in by_letter.get(word[0], ()):
            near = nearness(word, right[j])
            if near > met_left[i]:
                met_left[i] = near
            if near > met_right[j]:
                met_right[j] = near


def nearness(one: str, other: str) -> float:
    """How nearly two different words are one: a beginning of the other, or a slip of the keyboard."""
    short, long = (one, other) if len(one) <= len(other) else (other, one)
    if len(short) < 3 or not short.isascii() or not short.isalpha() or not long.isalpha():
        return 0.0
    if long.startswith(short):
        return 0.85 if len(short) > 3 else 0.6
    if len(short) >= 5 and short[0] == long[0] and JaroWinkler.similarity(short, long) >= _ALIKE:
        return 0.8
    return 0.0
