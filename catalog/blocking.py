"""Which words of a product to look up when its like is sought: the rarest, and codes in the ways that others write
them. Pure. A word that many products share brings up too many of them and says little."""

from __future__ import annotations

import math
import re
from typing import Any

from catalog.queryplan import Statistics
from catalog.segment import MAX_QUERY_WORDS

WORDS = 7  # of a product that are looked up
TOO_MANY = 400  # products that share a word, from which it is looked up only when there is no rarer one
LEAST = 2  # words that are looked up however common they are
_CODE = re.compile(r"([a-z]{1,8})[-/ ]?(\d{2,10}[a-z]{0,4})")


def queries(product: Any, statistics: Statistics) -> list[tuple[str, float]]:
    """tsqueries with the weight of a product that each finds, rarest first. `product` has lexemes, title and
    title_en."""
    total = max(statistics.rows, 1000.0)
    found: dict[str, float] = {}
    for lexeme in product["lexemes"]:
        share = statistics.lexeme(lexeme, False) if statistics.known else 0.0
        found[_quoted(lexeme)] = share * total
    for joined, head, tail in _codes(product):
        # written together here, apart there, or the other way round
        found.setdefault(_quoted(joined), 1.0)
        found.setdefault(f"{_quoted(head)} & {_quoted(tail)}", 1.0)
    ordered = sorted(found.items(), key=lambda item: (item[1], item[0]))
    chosen = [item for item in ordered if item[1] <= TOO_MANY][:WORDS]
    if len(chosen) < LEAST:
        chosen = ordered[:LEAST]
    return [(query, math.log((total + 1) / (hits + 1)) + 0.1) for query, hits in chosen]


def _codes(product: Any) -> list[tuple[str, str, str]]:
    text = f"{product['title']} {product['title_en'] or ''}".lower()
    codes = [(head + tail, head, tail) for head, tail in _CODE.findall(text)]
    return codes[:MAX_QUERY_WORDS]


def _quoted(lexeme: str) -> str:
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"
