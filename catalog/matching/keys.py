"""Which listings are the same thing. Pure: words in, keys out. A GTIN decides first, then brand and model; a listing
with neither is its own product. Both keys fold width, case and punctuation, so that "3M / 8210-CN" from one vendor
meets "３Ｍ 8210 CN" from another."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

SEPARATOR = "\x1f"
_PLACEHOLDERS = frozenset(
    (
        "na", "none", "null", "unknown", "other", "others", "nobrand", "generic", "unbranded", "default", "test", "",
        "无", "其他", "其它", "无品牌", "未知", "通用", "暂无",
    )
)  # fmt: skip


_ASCII_JUNK = {i: None for i in range(128) if not chr(i).isalnum()}


def normal(text: str) -> str:
    """`text` with width and case folded and everything but letters, digits and marks removed."""
    if text.isascii():
        lower = text.lower()
        return lower if lower.isalnum() else lower.translate(_ASCII_JUNK)
    return _normal(text)


@functools.lru_cache(maxsize=16_384)
def _normal(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = "".join(c for c in folded if c.isalnum() or unicodedata.category(c)[0] == "M")
    return unicodedata.normalize("NFKC", kept)  # what stood apart may compose now


def brand_model_key(brand: str | None, model: str | None) -> str | None:
    """The key under which listings of one brand and model meet, or None when either says nothing.

    A model of a single character (a size, a colour letter) identifies nothing."""
    if not brand or not model:
        return None
    left, right = normal(brand), normal(model)
    if left in _PLACEHOLDERS or right in _PLACEHOLDERS or len(right) < 2:
        return None
    return f"{left}{SEPARATOR}{right}"


def conflict(gtin: str | None, other_gtin: str | None) -> bool:
    """True when two things cannot be the same although brand and model agree: both carry a GTIN and they differ (a
    pack of ten and the single piece often share the model)."""
    return gtin is not None and other_gtin is not None and gtin != other_gtin


class Keys(NamedTuple):
    """What a listing can be recognised by: its keys, and the product it belongs to so far."""

    gtin: str | None
    brand_model: str | None
    current: int | None = None


@dataclass(slots=True)
class Product:
    """A product as matching sees it. `fresh`: this assignment makes it; `adopted`: it was given a key here."""

    id: int
    gtin: str | None
    brand_model: str | None
    fresh: bool = False
    adopted: bool = False


@dataclass(slots=True)
class Assignment:
    """A product for each listing in order. `makers` are the indexes of the listings that make a fresh one."""

    products: list[Product] = field(default_factory=list)
    makers: list[int] = field(default_factory=list)

    @property
    def adopting(self) -> list[Product]:
        """Existing products that were given a key."""
        return list({p.id: p for p in self.products if p.adopted and not p.fresh}.values())


def assign(listings: Sequence[Keys], existing: Iterable[Product], new_id: Callable[[], int]) -> Assignment:
    """A product for each listing: by GTIN, then by brand and model, then the one it has, else a fresh one.

    A product found without one of the listing's keys adopts it, so that a third listing with only that key meets
    them too. Keys of `existing` are unique; `new_id` gives ids for fresh products."""
    by_id: dict[int, Product] = {}
    by_gtin: dict[str, Product] = {}
    by_brand_model: dict[str, Product] = {}
    for product in existing:
        if product.id in by_id:
            continue
        by_id[product.id] = product
        if product.gtin is not None:
            by_gtin[product.gtin] = product
        if product.brand_model is not None:
            by_brand_model[product.brand_model] = product
    done = Assignment()
    for i, (gtin, brand_model, current) in enumerate(listings):
        target = by_gtin.get(gtin) if gtin is not None else None
        if target is None and brand_model is not None:
            target = by_brand_model.get(brand_model)
            if target is not None and conflict(gtin, target.gtin):
                target = None
        if target is None and current is not None and not conflict(gtin, by_id[current].gtin):
            target = by_id[current]
        if target is None:
            target = Product(new_id(), None, None, fresh=True)
            done.makers.append(i)
        if gtin is not None and target.gtin is None:
            target.gtin, target.adopted = gtin, True
            by_gtin[gtin] = target
        if brand_model is not None and target.brand_model is None and brand_model not in by_brand_model:
            target.brand_model, target.adopted = brand_model, True
            by_brand_model[brand_model] = target
        done.products.append(target)
    return done


def recognise(keys: Iterable[tuple[str | None, str | None]], existing: Iterable[Product]) -> list[Product | None]:
    """Which existing product each (gtin, brand_model) is, if any: by the same rules, making nothing."""
    known = list(existing)
    by_gtin = {p.gtin: p for p in known if p.gtin is not None}
    by_brand_model = {p.brand_model: p for p in known if p.brand_model is not None}
    found: list[Product | None] = []
    for gtin, brand_model in keys:
        product = by_gtin.get(gtin) if gtin is not None else None
        if product is None and brand_model is not None:
            product = by_brand_model.get(brand_model)
            if product is not None and conflict(gtin, product.gtin):
                product = None
        found.append(product)
    return found
