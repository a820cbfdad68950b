"""Model codes: words of letters and digits by which makers tell their goods apart. The end of a code often names a
colour or a country ("KX-TG8232B", "HT-Z410/XAA"); a code built alike with other digits is another model."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

_TAIL = re.compile(r"(?<=\d)[a-z]{1,4}$")
_NOT_DIGITS = re.compile(r"\D")
_NOT_LETTERS = re.compile(r"[^a-z]")
_COLOUR_TAILS = {
    **dict.fromkeys(("b", "bk", "blk", "bb"), "black"), **dict.fromkeys(("w", "wh", "wht", "whi", "ww"), "white"),
    **dict.fromkeys(("sl", "sv", "slv"), "silver"), "ss": "stainless", **dict.fromkeys(("rd", "red"), "red"),
    **dict.fromkeys(("pk", "pnk"), "pink"),
    **dict.fromkeys(("blu", "blue", "bu"), "blue"), **dict.fromkeys(("gy", "gry"), "grey"),
    **dict.fromkeys(("gd", "gld"), "gold"),
}  # fmt: skip
_JOIN = 3
_LONGEST = 20


def stems(words: Sequence[str], met: Sequence[float]) -> dict[str, tuple[int, int, str]]:
    """The codes of a title that were not met, alone or joined with their neighbours, without their ends:
    stem -> (first word, behind the last word, end)."""
    found: dict[str, tuple[int, int, str]] = {}
    for start in range(len(words)):
        joined = ""
        for end in range(start + 1, min(len(words), start + _JOIN) + 1):
            joined += words[end - 1]
            if len(joined) > _LONGEST:
                break
            if len(joined) < 4 or all(met[k] >= 0.9 for k in range(start, end)):
                continue
            stem, tail = _cut(joined)
            if stem and (stem not in found or end - start < found[stem][1] - found[stem][0]):
                found[stem] = (start, end, tail)
    return found


@functools.lru_cache(maxsize=65_536)
def _cut(code: str) -> tuple[str, str]:
    """A code as (stem, end); no stem where it is no code."""
    if code.isalpha() or code.isdigit() or not code.isascii() or not code.isalnum():
        return "", ""
    match = _TAIL.search(code)
    stem = code[: match.start()] if match else code
    return (stem, code[len(stem) :]) if len(stem) >= 4 and not stem.isdigit() else ("", "")


def candidates(words: Sequence[str], met: Sequence[float], coded: Sequence[int]) -> list[str]:
    """The codes of a title, short ones too, that the other title does not have in any form."""
    return [words[k] for k in coded if met[k] < 0.5 and words[k].isalnum() and not words[k].isdigit()]


def parted(words: Sequence[str], met: Sequence[float]) -> list[str]:
    """Codes written apart ("XDK 4096"): a few letters and the number behind them, where neither was met."""
    return [
        words[k - 1] + word
        for k, word in enumerate(words)
        if k and met[k] < 0.5 and len(word) > 1 and word.isdigit() and len(words[k - 1]) < 4 and words[k - 1].isalpha()
        and words[k - 1].isascii()
    ]  # fmt: skip


def same_letters(one: str, other: str) -> bool:
    """Two codes of one series: the same letters, other digits, as many of them give or take one."""
    return (
        one != other
        and abs(len(one) - len(other)) <= 1
        and _NOT_LETTERS.sub("", one) == _NOT_LETTERS.sub("", other)
        and _NOT_DIGITS.sub("", one) != _NOT_DIGITS.sub("", other)
    )


@functools.lru_cache(maxsize=65_536)
def rivals(one: str, other: str) -> str:
    """What two codes built alike differ in: "model" for another of the same series or colour, "end" for another end
    that says nothing, empty for codes that have nothing to do with each other."""
    if one == other:
        return ""
    head_one, head_other = _TAIL.sub("", one), _TAIL.sub("", other)
    if head_one == head_other:
        if min(len(one), len(other)) < 4:
            return ""
        return "model" if colours_differ(one[len(head_one) :], other[len(head_other) :]) else "end"
    digits_one, digits_other = _NOT_DIGITS.sub("", one), _NOT_DIGITS.sub("", other)
    letters_one, letters_other = _NOT_LETTERS.sub("", one), _NOT_LETTERS.sub("", other)
    if letters_one == letters_other:
        return "model" if digits_one != digits_other and abs(len(one) - len(other)) <= 1 else "end"
    common = 0
    for x, y in zip(one, other, strict=False):
        if x != y:
            break
        common += 1
    if common >= 3 and one[0].isalpha():
        return "model" if digits_one != digits_other and len(digits_one) == len(digits_other) else "end"
    return ""


def colours_differ(tail_one: str, tail_other: str) -> bool:
    """Whether two ends of one code name two colours."""
    one, other = _COLOUR_TAILS.get(tail_one), _COLOUR_TAILS.get(tail_other)
    return one is not None and other is not None and one != other
