"""Which listings are the same thing. Pure: words in, keys out. A GTIN decides first, then brand and model; a listing
with neither is its own product. Both keys fold width, case and punctuation, so that "3M / 8210-CN" from one vendor
meets "３Ｍ 8210 CN" from another."""

from __future__ import annotations

import functools
import hashlib
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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


def fingerprint(*said: str | None) -> bytes:
    """16 bytes that differ when anything of what was said differs."""
    return hashlib.blake2b(repr(said).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def conflict(gtin: str | None, other_gtin: str | None) -> bool:
    """True when two things cannot be the same although brand and model agree: both carry a GTIN and they differ (a
    pack of ten and the single piece often share the model)."""
    return gtin is not None and other_gtin is not None and gtin != other_gtin


class Keys(NamedTuple):
    """What a listing can be recognised by: its keys, and the product it belongs to so far. `pinned`: a person chose
    that product, and keys do not outrank a person."""

    gtin: str | None
    brand_model: str | None
    current: int | None = None
    sku: str = ""
    pinned: bool = False


@dataclass(slots=True)
class Product:
    """A product as matching sees it. `old_id` and its keys are those of a product that went into this one: what carries
    them belongs here. `fresh`: this assignment makes it; `adopted`: it was given a key here."""

    id: int
    gtin: str | None
    brand_model: str | None
    old_id: int | None = None
    old_gtin: str | None = None
    old_brand_model: str | None = None
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


class _Known:
    """Products by their ids and keys, and by those of products that went into them."""

    def __init__(self, existing: Iterable[Product]) -> None:
        self.by_id: dict[int, Product] = {}
        self.by_gtin: dict[str, Product] = {}
        self.by_brand_model: dict[str, Product] = {}
        for row in existing:
            product = self.by_id.setdefault(row.id, row)
            if row.old_id is not None:
                self.by_id[row.old_id] = product
            for gtin in (row.gtin, row.old_gtin):
                if gtin is not None:
                    self.by_gtin[gtin] = product
            for brand_model in (row.brand_model, row.old_brand_model):
                if brand_model is not None:
                    self.by_brand_model[brand_model] = product

    def found(self, gtin: str | None, brand_model: str | None) -> tuple[Product | None, bool]:
        """The product with one of these keys, and whether the GTIN said so."""
        product = self.by_gtin.get(gtin) if gtin is not None else None
        if product is not None or brand_model is None:
            return product, product is not None
        product = self.by_brand_model.get(brand_model)
        return (None if product is not None and conflict(gtin, product.gtin) else product), False


def assign(
    listings: Sequence[Keys],
    existing: Iterable[Product],
    new_id: Callable[[], int],
    places: Mapping[int, Collection[str]] | None = None,
) -> Assignment:
    """A product for each listing: by GTIN, then by brand and model, then the one it has, else a fresh one.

    A product found without one of the listing's keys adopts it, so that a third listing with only that key meets
    them too. Keys of `existing` are unique; `new_id` gives ids for fresh products. The listings are of one vendor,
    whose SKUs on existing products are `places`: brand and model do not bring two of its SKUs onto one product."""
    known = _Known(existing)
    taken = {product_id: set(skus) for product_id, skus in (places or {}).items()}
    done = Assignment()
    for i, (gtin, brand_model, current, sku, pinned) in enumerate(listings):
        here = known.by_id[current] if current is not None else None
        if pinned and here is not None:
            done.products.append(here)
            continue
        target, by_gtin = known.found(gtin, brand_model)
        if target is not None and not by_gtin and target is not here and not taken.get(target.id, set()) <= {sku}:
            target = None
        if target is None and here is not None and not conflict(gtin, here.gtin):
            target = here
        if target is None:
            target = Product(new_id(), None, None, fresh=True)
            done.makers.append(i)
        if gtin is not None and target.gtin is None and gtin not in known.by_gtin:
            target.gtin, target.adopted = gtin, True
            known.by_gtin[gtin] = target
        if brand_model is not None and target.brand_model is None and brand_model not in known.by_brand_model:
            target.brand_model, target.adopted = brand_model, True
            known.by_brand_model[brand_model] = target
        if sku:
            taken.setdefault(target.id, set()).add(sku)
        done.products.append(target)
    return done


def recognise(keys: Iterable[tuple[str | None, str | None]], existing: Iterable[Product]) -> list[Product | None]:
    """Which existing product each (gtin, brand_model) is, if any: by the same rules, making nothing."""
    known = _Known(existing)
    return [known.found(gtin, brand_model)[0] for gtin, brand_model in keys]
