"""Titles as words. Folding takes away what a vendor's keyboard adds (width, case, accents, trade marks, possessives);
amounts are drawn together with their unit ("64 GB" and "64gb" are one word); Chinese is cut by dictionary."""

from __future__ import annotations

import re

import rjieba

from catalog.folding import plain
from catalog.matching.quantities import Amount, draw_together
from catalog.matching.variants import WORDS

LONGEST_TITLE = 400  # characters; what stands behind them is advertising
_CJK = "\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af"
_MARKS = re.compile("[\u2122\u00ae\u00a9\u2120]|\\((?:tm|r|c)\\)")
_ATOM = re.compile(rf"[{_CJK}]+|\d+(?:\.\d+)+[a-z]*|[^\W_{_CJK}]+")
_IS_CJK = re.compile(rf"[{_CJK}]").match
_POSSESSIVE = re.compile(r"(?<=[a-z])['\u2019`\u00b4](?=[a-z])")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_VERSION = re.compile(
    r"\bv(?=\d+\.\d)|\b(?:v\.|v (?=\d{1,2}\b)|ver\.? ?|version )(?=\d)"
)  # but not V10, which may be a model
_FRACTION = re.compile(r"(?<![\d/])(\d{1,3})[- ]([1-7])/([248]|16)(?![\d/])")
_ROMAN = {"ii": "2", "iii": "3", "iv": "4", "vi": "6", "vii": "7", "viii": "8"}
_ALONE = frozenset("味大小新全双单高低长短")
STOP = frozenset(
    ("the", "a", "an", "of", "for", "and", "with", "w", "in", "on", "to", "by", "from", "or", "at", "is", "as", "it",
     "的", "了", "和", "与", "及", "之", "款", "版", "型", "装", "式")
)  # fmt: skip


def fold(text: str) -> str:
    """`text` in lower case, half width and simplified characters, without accents, trade marks and
    possessive apostrophes."""
    if text.isascii():
        text = text.lower()
    else:
        text = plain(_MARKS.sub(" ", text)).lower()
    if "'" in text or "\u2019" in text or "`" in text:
        text = _POSSESSIVE.sub("", text)
    if "(" in text:
        text = _MARKS.sub(" ", text)
    if "," in text:
        text = _THOUSANDS.sub("", text)
    if "/" in text:
        text = _FRACTION.sub(lambda m: f"{int(m[1]) + int(m[2]) / int(m[3]):g}", text)
    return _VERSION.sub(" ", text) if "v" in text else text


def atoms(text: str, longest: int = LONGEST_TITLE) -> tuple[list[str], list[Amount]]:
    """The words of a text in their order, and the amounts among them."""
    folded, amounts = draw_together(fold(text[:longest]))
    found: list[str] = []
    for word in _ATOM.findall(folded):
        if word.isascii():
            found.append(_plain(word))
        elif _IS_CJK(word):
            found += _whole_names(rjieba.cut(word, False))
        else:
            found.append(word)
    return found, amounts


def _whole_names(cut: list[str]) -> list[str]:
    """Chinese words; single characters in a row, into which the dictionary cuts a name that it does not know, stay
    one word."""
    if len(cut) < 2 or (len(cut[0]) > 1 and all(len(word) > 1 for word in cut)):
        return cut
    found: list[str] = []
    name = ""
    for word in cut:
        if len(word) == 1 and word not in STOP and word not in WORDS and word not in _ALONE:
            name += word
            continue
        if name:
            found.append(name)
            name = ""
        found.append(word)
    if name:
        found.append(name)
    return found


def _plain(word: str) -> str:
    """A Latin word without its plural, a version without its empty decimals, a small Roman number in digits."""
    if word.isalpha():
        if len(word) > 3 and word[-1] == "s" and word[-2] not in "sui":
            return word[:-1]
        return _ROMAN.get(word, word)
    if "." in word:
        while word.endswith(".0"):
            word = word[:-2]
    return word
