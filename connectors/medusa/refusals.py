"""Why a Medusa shop cannot fill an order, before it is asked to. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from connectors.contracts import PoLine, Receipt, ReceiptStatus
from connectors.medusa import shelf
from connectors.medusa.talking import Market

_UUID7 = re.compile(r"([0-9a-f]{12})7[0-9a-f]{19}$")


class No(Exception):
    """The shop will not sell this; `short` are the SKUs of which it has not enough."""

    def __init__(self, reason: str, short: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.short = tuple(short)

    def receipt(self) -> Receipt:
        """As the vendor's answer."""
        return Receipt(
            status=ReceiptStatus.REFUSED,
            reason=str(self)[:500],
            out_of_stock=bool(self.short),
            out_of_stock_skus=self.short,
        )


def refused_for(lines: Sequence[PoLine], variants: Mapping[str, Mapping[str, Any]], market: Market) -> None:
    """Raises No for lines that the shop cannot fill."""
    missing = sorted({line.vendor_sku for line in lines if line.vendor_sku not in variants})
    if missing:
        raise No(f"the shop has no {', '.join(missing)}")
    shut = sorted({line.vendor_sku for line in lines if not _for_sale(variants[line.vendor_sku])})
    if shut:
        raise No(f"the shop does not sell {', '.join(shut)} now")
    short = short_of(lines, variants, market)
    if short:
        raise No(f"the shop has not enough of {', '.join(short)}", short)


def short_of(lines: Sequence[PoLine], variants: Mapping[str, Mapping[str, Any]], market: Market) -> tuple[str, ...]:
    """The SKUs that no single location of the channel can fill, the lines of a SKU taken together. Variants that share
    an inventory item are short when all of it is not enough for all of them."""
    wanted: dict[str, int] = {}
    for line in lines:
        wanted[line.vendor_sku] = wanted.get(line.vendor_sku, 0) + line.quantity
    needed: dict[str, int] = {}
    there: dict[str, int] = {}
    short = set()
    for sku, quantity in wanted.items():
        variant = variants.get(sku)
        if variant is None or not shelf.counted(variant):
            continue
        if max(shelf.at_locations(variant, market.locations).values(), default=0) < quantity:
            short.add(sku)
        for item, each in shelf.items_of(variant).items():
            needed[item] = needed.get(item, 0) + each * quantity
        for item, free in shelf.free_items(variant, market.locations).items():
            there[item] = free
    for sku in wanted:
        items = shelf.items_of(variants[sku]) if sku in variants and shelf.counted(variants[sku]) else {}
        if any(needed[item] > there.get(item, 0) for item in items):
            short.add(sku)
    return tuple(sorted(short))


def made_at(key: str) -> datetime | None:
    """When our order number was made, if it ends in a time-ordered UUID (version 7)."""
    found = _UUID7.search(key.lower().replace("-", ""))
    if found is None:
        return None
    return datetime.fromtimestamp(int(found.group(1), 16) / 1000, UTC)


def _for_sale(variant: Mapping[str, Any]) -> bool:
    product = variant.get("product")
    return isinstance(product, Mapping) and product.get("status") == "published"
