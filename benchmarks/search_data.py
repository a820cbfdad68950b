"""Queries as shoppers of the assortment of `read_data` would type them: words as unevenly chosen as they are sold, in
Chinese and English, from one broad word to a model number, some with a filter, some unfinished, and category pages."""

from __future__ import annotations

import random
from collections.abc import Callable
from urllib.parse import urlencode

from benchmarks.read_data import BRANDS, NOUNS, TRAITS, brands

Asked = dict[str, str]


def _shoppers(rng: random.Random) -> list[tuple[float, Callable[[int], Asked]]]:
    """How often a kind of query comes, and one of that kind in language 0 (Chinese) or 1 (English)."""
    names = brands(BRANDS, random.Random(20260501))
    name_weights = [1 / (i + 3) for i in range(len(names))]
    noun_weights = [1 / (i + 4) for i in range(len(NOUNS))]

    def noun(language: int) -> str:
        return rng.choices(NOUNS, noun_weights)[0][language]

    def trait(language: int) -> str:
        return rng.choice(TRAITS)[language]

    def brand(language: int) -> str:
        return rng.choices(names, name_weights)[0].split()[language]

    def of(*parts: Callable[[int], str]) -> Callable[[int], Asked]:
        return lambda language: {"q": " ".join(part(language) for part in parts)}

    def unfinished(_language: int) -> Asked:
        word = f"{brand(1)} {noun(1)}"
        return {"q": word[: -rng.randint(1, 3)]}

    def model(_language: int) -> Asked:
        return {"q": f"{rng.choice('ABKNSW')}{rng.choice('XTRM')}-{rng.randrange(100, 9999)}"}

    def category(_language: int) -> Asked:
        asked = {"category": rng.choices(NOUNS, noun_weights)[0][2]}
        return asked | {"price_max": str(rng.randrange(50, 900))}

    return [
        (0.14, of(noun)), (0.22, of(trait, noun)), (0.22, of(brand, noun)), (0.10, of(brand)),
        (0.09, of(brand, trait, noun)), (0.05, of(trait, trait, noun)), (0.08, model), (0.05, unfinished),
        (0.05, category),
    ]  # fmt: skip


def _filtered(asked: Asked, rng: random.Random) -> Asked:
    if rng.random() < 0.12:
        return asked | rng.choice(({"in_stock": "1"}, {"price_max": str(rng.randrange(50, 900))}, {"sort": "price"}))
    return asked


def distinct(count: int, seed: int) -> list[str]:
    """`count` query strings, no two the same. Broad words run out; when one comes again it comes with a price limit,
    which no cache can know."""
    rng = random.Random(seed)
    kinds = _shoppers(rng)
    seen: dict[str, None] = {}
    while len(seen) < count:
        asked = _filtered(rng.choices([k for _, k in kinds], [w for w, _ in kinds])[0](rng.randrange(2)), rng)
        text = urlencode(asked)
        if text in seen:
            text = urlencode(asked | {"price_max": f"{rng.randrange(5000, 90000) / 100}"})
        seen[text] = None
    return list(seen)


def repeated(count: int, seed: int) -> list[str]:
    """`count` query strings of which some come again and again, as they do in a shop."""
    some = distinct(max(1, count // 3), seed)
    return random.Random(seed).choices(some, [1 / (i + 10) for i in range(len(some))], k=count)


def mistyped(count: int, seed: int) -> list[str]:
    """Queries with two letters of a long word swapped."""
    rng = random.Random(seed)
    found: list[str] = []
    while len(found) < count:
        word = rng.choice([noun[1] for noun in NOUNS] + [trait[1] for trait in TRAITS]).split()[-1]
        at = rng.randrange(1, len(word) - 1)
        typed = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        if len(word) > 4 and typed != word:
            found.append(urlencode({"q": f"{rng.choice(TRAITS)[1]} {typed}"}))
    return found
