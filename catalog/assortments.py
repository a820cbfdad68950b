"""Which part of the catalogue a mall sells. Without rules it is everything. A rule names what it is about by one or
more of kind, category, brand, vendor and product, all of which must fit. When a mall has rules that include, an offer
must fit one of them; an offer that fits a rule that excludes is out, whatever else it fits. A product is sold when one
of its offers is, and it then shows those offers alone.

Pure but for `of_mall`; the same as SQL is in store/assortments.py, and the tests hold one against the other."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from catalog import store
from hub.kernel import db

CACHE_S = 2.0


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a mall's assortment."""

    include: bool
    kind: str | None = None
    category: str | None = None
    brand: str | None = None
    vendor_id: int | None = None
    product_id: int | None = None

    @property
    def given(self) -> dict[str, Any]:
        """What the rule names."""
        named = ("kind", "category", "brand", "vendor_id", "product_id")
        return {name: value for name in named if (value := getattr(self, name)) is not None}

    def fits(self, offer: Mapping[str, Any]) -> bool:
        """Whether an offer (kind, category and brand of its product, product_id, vendor_id) is what the rule names."""
        return all(offer[name] == value for name, value in self.given.items())


@dataclass(frozen=True)
class Assortment:
    """The rules of one mall, at least one."""

    rules: tuple[Rule, ...]

    @cached_property
    def by_vendor(self) -> bool:
        """Whether of one product some offers may be in and others out."""
        return any(rule.vendor_id is not None for rule in self.rules)

    @cached_property
    def by_product(self) -> bool:
        """Whether a rule names a single product."""
        return any(rule.product_id is not None for rule in self.rules)

    def sells(self, offer: Mapping[str, Any]) -> bool:
        """Whether an offer (see Rule.fits) is in."""
        fitting = [rule for rule in self.rules if rule.fits(offer)]
        if any(not rule.include for rule in fitting):
            return False
        return bool(fitting) or not any(rule.include for rule in self.rules)


def read(rules: Sequence[Mapping[str, Any]] | None) -> Assortment | None:
    """The assortment as it is kept; None, which is everything, when there is no rule."""
    return Assortment(tuple(Rule(**rule) for rule in rules)) if rules else None


def kept(assortment: Assortment | None) -> list[dict[str, Any]]:
    """The rules as they are kept."""
    return [asdict(rule) for rule in assortment.rules] if assortment is not None else []


async def of_mall_in(tx: db.Tx, mall_id: int) -> Assortment | None:
    """What the mall sells, as this transaction sees it."""
    return read(await store.rules_of(tx, mall_id))


_known: dict[int, tuple[db.Database, float, Assortment | None]] = {}


async def of_mall(mall_id: int | None) -> Assortment | None:
    """What the mall sells, for reading paths: outside any transaction, at most 2 s old. Staff see everything."""
    if mall_id is None:
        return None
    database, tick = db.database(), time.monotonic()
    hit = _known.get(mall_id)
    if hit is not None and hit[0] is database and hit[1] > tick:
        return hit[2]
    found = read(await store.rules_now(mall_id))
    if len(_known) > 10_000:
        _known.clear()
    _known[mall_id] = (database, tick + CACHE_S, found)
    return found


def forget() -> None:
    """Drop this process's cache (after a change)."""
    _known.clear()
