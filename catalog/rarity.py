"""How rare words are in the catalogue, by PostgreSQL's own statistics, read once a minute. What comes into question is
looked up by rare words; a guess that is off costs time, not truth."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from catalog.store import pairs
from hub.kernel import db

FOR_S = 60.0


@dataclass(frozen=True, slots=True)
class Rarity:
    """How many products there are, and the share of them that holds each common lexeme."""

    products: float  # 0: never analysed
    lexemes: Mapping[str, float] = field(default_factory=dict)
    rare: float = 0.0  # of a lexeme that is not among the common ones

    def hits(self, lexeme: str) -> float:
        """About how many products hold it; 0 where nothing is known."""
        return self.lexemes.get(lexeme, self.rare) * self.products if self.lexemes else 0.0


_held: tuple[db.Database, float, Rarity] | None = None


async def rarity() -> Rarity:
    """What is known now."""
    global _held
    if _held is not None and _held[0] is db.database() and _held[1] > time.monotonic():
        return _held[2]
    products, lexemes, shares = await pairs.common_lexemes()
    common = dict(zip(lexemes, shares, strict=False))  # behind the shares of the lexemes stand three totals
    found = Rarity(products, common, min(common.values(), default=0.0) / 2)
    _held = (db.database(), time.monotonic() + (FOR_S if lexemes else 1.0), found)
    return found
