"""Words of titles and of queries. Both sides are folded by the same rules (folding.py: half width, simplified, no
accents; here: lower case, light English plurals), so a query can only miss words that really differ. Chinese is cut
by dictionary alone, without guessing new words: the same characters then fall apart in the same way wherever they
stand. Every token is letters and digits (and, once, the hyphenated model itself), so `tokens::tsvector` stores exactly
these lexemes and PostgreSQL's own parser is not needed (it costs four times as much)."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

import rjieba

from catalog.folding import plain

RULES = 2  # raise it when the same title gives other words than before: `supplyhub reindex` then has work to do
MAX_QUERY_WORDS = 16
STOP = frozenset(("the", "a", "an", "of", "for", "and", "with", "in", "on", "to", "的", "了", "和", "与", "及", "之"))
CJK = "\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af\U00020000-\U0003ffff"
_RUNS = re.compile(f"[{CJK}]+")
_LATIN = re.compile(rf"[^\W_{CJK}]+(?:[-'&+][^\W_{CJK}]+)*")
_DECIMAL = re.compile(r"(?<=\d)\.(?=\d)")
_UNITS = r"(?:ml|l|kg|g|mg|mcg|oz|lb|cm|mm|gb|tb|mah|w|v|pcs?|ct)\b"
_UNIT = re.compile(rf"(\d) (?={_UNITS})")
_STARTS_WITH_UNIT = re.compile(_UNITS).match
_JOINTS = re.compile(r"[-'&+]")
_LONGEST = 64  # a longer run of letters is no word; PostgreSQL refuses lexemes past 2 KB
_COMMON = 24  # characters: a piece of text up to this length may well come again in another title


def fold(text: str) -> str:
    """`text` as its words are compared: plain, lower case, decimals and units drawn together."""
    text = plain(text).lower()
    if "." in text:
        text = _DECIMAL.sub("p", text)  # 0.3g is one word, "0p3g"; the letter survives every parser
    return _UNIT.sub(r"\1", text) if " " in text else text  # "500 ml" and "500ml" are the same word


def singular(word: str) -> str:
    """An English word without its plural."""
    if len(word) < 4 or word[-1] != "s" or word[-2] in "sui" or not word.isalpha():
        return word[:_LONGEST]
    word = word[:_LONGEST]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1]


def _forms(word: str) -> tuple[str, ...]:
    """A word without its plural, in both spellings where the plural does not tell ("berries", "hoodies")."""
    if len(word) > 4 and word.endswith("ies") and word.isalpha():
        return singular(word), word[:_LONGEST].removesuffix("s")
    return (singular(word),)


def search_tokens(
    title: str,
    title_en: str | None = None,
    brand: str | None = None,
    model: str | None = None,
    category: str | None = None,
    pack: str | None = None,
) -> str:
    """The words under which a product is found, space-separated and without repeats: store them as
    `tokens::tsvector`. "WH-1000XM5" gives `wh-1000xm5 wh 1000xm5 wh1000xm5`."""
    tokens = _tokens(title)
    if title_en:
        tokens += _tokens(title_en)
    for text in (brand, category, pack):
        if text:
            tokens += _known_tokens(text) if len(text) <= _COMMON else _tokens(text)
    if model:
        tokens += _tokens(model, remember=False)  # hardly any two products share it
    return " ".join(dict.fromkeys(tokens))


class _Piece(NamedTuple):
    """What stands between two spaces: folded, as words, and whether it begins with a unit of measure."""

    folded: str
    words: tuple[str, ...]
    unit: bool


def _tokens(text: str, remember: bool = True) -> list[str]:
    """The words of one text. No word spans a space but a number and its unit, so pieces are folded and cut on their
    own, and those that come in title after title only once."""
    tokens: list[str] = []
    number = ""  # the piece before, which a unit may follow
    start = 0  # where its words begin
    for raw in text.split(" "):
        folded, words, unit = _known_piece(raw) if remember and len(raw) <= _COMMON else _piece(raw)
        if unit and number[-1:].isdecimal():
            number += folded
            tokens[start:] = _words(number)
        else:
            number, start = folded, len(tokens)
            tokens += words
    return tokens


_known_tokens = functools.lru_cache(maxsize=4096)(_tokens)


def _piece(raw: str) -> _Piece:
    if raw.isalnum() and raw.isascii():
        folded = raw.lower()
        return _Piece(folded, _forms(folded), _STARTS_WITH_UNIT(folded) is not None)
    folded = fold(raw)
    return _Piece(folded, tuple(_words(folded)), _STARTS_WITH_UNIT(folded) is not None)


_known_piece = functools.lru_cache(maxsize=16_384)(_piece)


def _words(text: str) -> list[str]:
    """The words of folded text, Chinese ones first."""
    tokens: list[str] = []
    if not text.isascii():
        runs = _RUNS.findall(text)
        if runs:
            tokens += (word for word in rjieba.cut_for_search(" ".join(runs), False) if word != " ")
    for word in _LATIN.findall(text):
        if word.isalnum():
            tokens += _forms(word)
            continue
        parts = _JOINTS.split(word)
        if "-" in word and len(parts) == word.count("-") + 1 and len(word) <= _LONGEST:
            tokens.append(word)
        tokens += map(singular, parts)
        tokens.append(singular("".join(parts)))
    return tokens


def query_tokens(q: str) -> list[str]:
    """The words of a query, in order and without repeats, at most `MAX_QUERY_WORDS`; a hyphenated model stays
    one entry ("wh-1000xm5"). Empty when `q` has no words at all."""
    text = fold(q[:400])
    found: list[tuple[float, str]] = []
    for run in _RUNS.finditer(text):
        words = rjieba.cut(run.group(), False)
        found += [(run.start() + i / 1000, word) for i, word in enumerate(words)]
    for match in _LATIN.finditer(text):
        word = match.group()
        found.append((match.start(), singular(word) if word.isalnum() and not word.endswith("ies") else word))
    words = list(dict.fromkeys(word for _, word in sorted(found)))
    kept = [word for word in words if word not in STOP]
    return (kept or words)[:MAX_QUERY_WORDS]


class Term(NamedTuple):
    """One word of a query: any of these ways of writing it, each needing all of its lexemes; the last lexeme may
    be unfinished when `prefix` is set."""

    ways: tuple[tuple[str, ...], ...]
    prefix: bool


def terms(words: list[str]) -> list[Term]:
    """The words as PostgreSQL stores them. Only the last may be unfinished, and only when it is Latin: nobody
    types half a number or half a Chinese word and means it."""
    found = []
    for i, word in enumerate(words):
        prefix = i == len(words) - 1 and len(word) > 1 and word[-1].isascii() and not word.isdigit()
        if word.isalnum():
            forms = _forms(word) if word.endswith("ies") else (word,)
            found.append(Term(tuple((form,) for form in forms), prefix))
        else:
            parts = tuple(singular(part) for part in _JOINTS.split(word))
            found.append(Term((("".join(parts),), parts), prefix))
    return found


def tsquery(found: list[Term]) -> str:
    """The terms as the text of a tsquery that needs them all, for a `::tsquery` cast."""
    return " & ".join("(" + " | ".join(_all_of(way, term.prefix) for way in term.ways) + ")" for term in found)


def _all_of(lexemes: tuple[str, ...], prefix: bool) -> str:
    text = " & ".join(f"'{lexeme}'" for lexeme in lexemes) + (":*" if prefix else "")
    return f"({text})" if len(lexemes) > 1 else text
