"""An offer as the catalogue or a vendor's price list states it, and what can be read from it. Everything is read once
and then compared many times, so a reading is small: words are shared strings, empty facts are one empty value."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from catalog.matching.gtin import trade_item
from catalog.matching.keys import normal
from catalog.matching.quantities import Amount
from catalog.matching.text import STOP, atoms
from catalog.matching.variants import variants

_DESCRIBED = 120  # words of a description that are looked at
_NONE: Mapping[str, frozenset[str]] = {}


@dataclass(frozen=True, slots=True)
class Offer:
    """Something for sale, as written. `titles` beyond the first are the same thing in other words or languages. A
    product of the catalogue is an offer too: of all `vendors` that have a listing on it."""

    id: str
    title: str
    vendor: str | None = None
    other_titles: tuple[str, ...] = ()
    brand: str | None = None
    gtin: str | None = None
    mpn: str | None = None
    pack: str | None = None
    category: str | None = None
    description: str | None = None
    price: Decimal | None = None
    currency: str | None = None
    vendors: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Reading:
    """What an offer says. `words` are those of the title in order, `said` those of the description that the title
    does not have, `coded` the positions of models among `words` (see `is_code`, and short ones like "cs3"),
    `numbers` those of bare numbers that may be a version, a year or a generation."""

    id: str
    vendors: frozenset[str]
    gtin: str | None
    mpn: str | None
    brand: tuple[str, ...]
    category: str | None
    words: tuple[str, ...]
    coded: tuple[int, ...]
    numbers: tuple[int, ...]
    said: frozenset[str]
    amounts: tuple[Amount, ...]
    said_amounts: tuple[Amount, ...]
    variants: Mapping[str, frozenset[str]]
    said_variants: Mapping[str, frozenset[str]]
    price: Decimal | None
    currency: str | None


def read(offer: Offer) -> Reading:
    """Everything that matching looks at."""
    title = f"{offer.title} {offer.pack}" if offer.pack and offer.pack not in offer.title else offer.title
    words, amounts = atoms(title)
    brand = _brand(offer.brand) if offer.brand else ()
    found = variants(words, brand)
    said: frozenset[str] = frozenset()
    said_amounts: list[Amount] = []
    said_variants: Mapping[str, frozenset[str]] = _NONE
    if offer.description:
        described, said_amounts = atoms(offer.description, 1500)
        described = described[:_DESCRIBED]
        said_variants = variants(described) or _NONE
        said = frozenset(map(sys.intern, described)) - frozenset(words) - STOP
    digits = any(map(_DIGIT, words))
    vendors = offer.vendors | {offer.vendor} if offer.vendor else offer.vendors
    return Reading(
        id=offer.id,
        vendors=vendors,
        gtin=trade_item(offer.gtin),
        mpn=_code(offer.mpn),
        brand=brand,
        category=offer.category.strip().casefold() or None if offer.category else None,
        words=tuple(map(sys.intern, words)),
        coded=_coded(words, amounts) if digits else (),
        numbers=tuple(k for k, w in enumerate(words) if len(w) < 5 and is_number(w)) if digits else (),
        said=said,
        amounts=tuple(amounts),
        said_amounts=tuple(said_amounts),
        variants=found or _NONE,
        said_variants=said_variants,
        price=offer.price,
        currency=offer.currency,
    )


def _code(raw: str | None) -> str | None:
    """A manufacturer's number folded, or None when it is too short to name anything."""
    if not raw:
        return None
    folded = normal(raw)
    return folded if len(folded) >= 3 and any(map(str.isdigit, folded)) else None


_FIRM = frozenset(
    ("inc", "ltd", "llc", "corp", "corporation", "co", "company", "gmbh", "ag", "sa", "srl", "bv", "plc", "limited",
     "the", "and", "group", "international", "公司", "有限公司", "集团", "股份", "有限", "旗舰店", "官方")
)  # fmt: skip
_NO_BRAND = frozenset(
    ("na", "none", "unknown", "other", "nobrand", "generic", "unbranded", "无", "其他", "其它", "无品牌")
)


@functools.lru_cache(maxsize=8192)
def _brand(raw: str) -> tuple[str, ...]:
    if normal(raw) in _NO_BRAND:
        return ()
    words, _ = atoms(raw, 80)
    return tuple(sys.intern(w) for w in words if w not in _FIRM) or tuple(words)


def read_all(offer: Offer) -> list[Reading]:
    """An offer's reading for each of its titles. A title in another language is another face of the same thing: what
    one face says of variants and amounts, all say."""
    readings = [read(offer)]
    for title in offer.other_titles:
        if title and title != offer.title:
            readings.append(read(Offer(**{name: getattr(offer, name) for name in Offer.__slots__} | {"title": title})))
    if len(readings) == 1:
        return readings
    kinds = {kind for reading in readings for kind in reading.variants}
    pooled = {kind: frozenset().union(*(r.variants.get(kind, ()) for r in readings)) for kind in sorted(kinds)}
    amounts = tuple(dict.fromkeys(amount for reading in readings for amount in reading.amounts))
    return [replace(reading, variants=pooled, amounts=amounts) for reading in readings]


_DIGIT = re.compile(r"\d").search


def is_number(word: str) -> bool:
    """A bare number: a version, a year, a count without its unit."""
    return word[0].isdigit() and word.replace(".", "").isdigit()


def _coded(words: Sequence[str], amounts: Sequence[Amount]) -> tuple[int, ...]:
    written = {amount.word for amount in amounts}
    return tuple(k for k, w in enumerate(words) if (is_code(w) or _short_code(w)) and w not in written)


def _short_code(word: str) -> bool:
    return len(word) > 1 and word.isascii() and word.isalnum() and not word.isalpha() and not word.isdigit()


def is_code(word: str) -> bool:
    """A word that looks like a model: letters and digits mixed, or a long number."""
    if len(word) < 4 or not _DIGIT(word):
        return False
    return not word.isdigit() or len(word) >= 5
