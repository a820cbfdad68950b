"""Which words of a product to look up when its like is sought, and what each says. Pure. Rare words are looked up one
by one, codes also as others write them. A word that many products share would bring up too many; where a
product has hardly any other (titles in Chinese, above all), two such words are looked up together. What has come up
is then weighed by all words."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any, NamedTuple

from catalog.rarity import Rarity
from catalog.segment import STOP

WORDS = 9  # of a product that are looked up
TOO_MANY = 400  # products that share a word, from which it is not looked up alone
ENOUGH = 4  # words looked up, from which no pairs are needed
PAIRED = 5  # words of which pairs are made
COMPANY = 4.0  # words of one title keep company: so many times more products have both than chance would have
LONGEST = 40  # words of a product that are weighed
_CODE = re.compile(r"(?<![a-z0-9])([a-z]{1,8})[-/ ]?(\d{2,10}[a-z]{0,4})(?![a-z0-9])")


class Word(NamedTuple):
    """A tsquery; what a product that it finds gains by it; whether it is looked up, or only weighed."""

    query: str
    weight: float
    looked_up: bool


def words(product: Any, rarity: Rarity) -> list[Word]:
    """What to ask for the like of `product`, which has lexemes, title and title_en."""
    total = max(rarity.products, 1000.0)
    said = [lexeme for lexeme in product["lexemes"][: 4 * LONGEST] if lexeme not in STOP]
    hits = {lexeme: rarity.hits(lexeme) for lexeme in said}
    ordered = sorted(hits, key=lambda lexeme: (hits[lexeme], lexeme))[:LONGEST]
    alone = [lexeme for lexeme in ordered if hits[lexeme] <= TOO_MANY][:WORDS]
    twice = {way for lexeme in said if "-" in lexeme for way in (lexeme, lexeme.replace("-", ""))}  # its parts weigh
    found = [
        Word(
            _quoted(lexeme),
            0.0 if lexeme in twice else math.log((total + 1) / (hits[lexeme] + 1)) + 0.1,
            lexeme in alone,
        )
        for lexeme in ordered
    ]
    for joined, head, tail in _codes(product)[:2]:  # written together here, apart there, or the other way round
        found += [Word(_quoted(way), 0.0, True) for way in (joined,) if joined not in hits]
        if min(hits.get(head, 1), hits.get(tail, 1)) * COMPANY <= TOO_MANY * 10:
            found.append(Word(f"{_quoted(head)} & {_quoted(tail)}", 0.0, True))
    if sum(hits[lexeme] > 1 for lexeme in alone) < ENOUGH:
        common = [lexeme for lexeme in ordered if hits[lexeme] > TOO_MANY or lexeme not in alone][:PAIRED]
        pairs = [(hits[a] * hits[b] / total * COMPANY, a, b) for a, b in itertools.combinations(common, 2)]
        begins = tuple(product["title"][:2])  # a brand in Chinese, which falls apart into its letters, as a rule
        if len(begins) == 2 and all(letter in hits for letter in begins):
            pairs.append((0.0, *begins))
        for expected, a, b in sorted(pairs)[:ENOUGH]:
            if expected <= 4 * TOO_MANY:
                found.append(Word(f"{_quoted(a)} & {_quoted(b)}", 0.0, True))
    if not any(word.looked_up for word in found) and ordered:
        found.append(Word(" & ".join(map(_quoted, ordered[:4])), 0.0, True))
    return found


def _codes(product: Any) -> list[tuple[str, str, str]]:
    text = f"{product['title']} {product['title_en'] or ''}".lower()
    return list(dict.fromkeys((head + tail, head, tail) for head, tail in _CODE.findall(text)))


def _quoted(lexeme: str) -> str:
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"
